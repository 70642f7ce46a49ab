// Sizes, times and errors in words. Pure: the time now is given.

const MINUTE = 60, HOUR = 3600, DAY = 86400;
const SPANS = [[365 * DAY, "year"], [30 * DAY, "month"], [DAY, "day"], [HOUR, "hour"], [MINUTE, "minute"]];
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

const relative = new Intl.RelativeTimeFormat("en", { style: "short" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "medium" });

/** 0 B, 9.8 KiB, 50 MiB. */
export function size(bytes) {
  let unit = 0;
  // 1023.5 would be shown as 1024, which is 1 of the next unit
  while (bytes >= 1023.5 && unit < UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${Number(bytes.toFixed(bytes < 100 ? 1 : 0))} ${UNITS[unit]}`;
}

/** 5 min. ago, in 2 hr.; clocks differ, so that a file may seem to come from the future. */
export function distance(iso, now) {
  const seconds = (new Date(iso) - now) / 1000;
  const rounded = Math.round(seconds / MINUTE) * MINUTE; // one hour is that also after its first second
  const found = SPANS.find(([span]) => Math.abs(rounded) >= span);
  if (!found) return seconds > 0 ? "in a moment" : "just now";
  const [span, unit] = found;
  return relative.format(Math.trunc(rounded / span), unit);
}

export function age(iso, now) {
  return distance(Math.min(new Date(iso), now), now);
}

export function expiry(iso, now) {
  return new Date(iso) > now ? distance(iso, now) : "expired";
}

/** A name as it may be shown: what would turn the order of letters, so that fdp.exe reads exe.pdf, is made visible. */
export function legible(name) {
  return name.replace(/[\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
}

/** Date and time in full, as people write them where the browser is. */
export function inFull(iso) {
  return moment.format(new Date(iso));
}

export function files(count) {
  return count === 1 ? "1 file" : `${count} files`;
}

const EXPLANATIONS = {
  not_found: ["It is gone.", "It was deleted, it expired, or memcached forgot it."],
  evicted: [
    "memcached needed the room.",
    "A part of this file was dropped to make space for newer ones, so that it cannot be downloaded any more. " +
      "Upload it again; with more memory (memcached -m) files stay longer.",
  ],
  corrupt: [
    "The file is damaged.",
    "What memcached holds is not what was stored, so it is not handed out. Upload it again.",
  ],
  digest_mismatch: ["It changed on its way.", "What arrived is not what was sent, so nothing was stored. Try again."],
  unavailable: ["memcached does not answer.", "Nothing has changed. Try again in a moment."],
  busy: ["The server is busy.", "Try again in a moment."],
  storage_full: [
    "memcached is full.",
    "There was no room for the file, so nothing was stored. Delete some files, or give memcached more memory (-m).",
  ],
  already_exists: ["The name is taken.", "There is a file of this name already."],
  changed: ["It is another file now.", "Somebody has replaced it since this list was made. Reload the page to see it."],
  too_large: ["It is too large.", "A file has at most 50 MiB (52,428,800 bytes). Split it, or compress it."],
  unauthorized: ["The server wants its token.", "Reload the page, and give the token as the password."],
  unreadable: ["This file cannot be read.", "It was changed, moved or deleted since you chose it. Choose it again."],
  unreachable: ["The connection failed.", "The server cannot be reached. Nothing has changed; try again."],
  request_timeout: ["The upload stalled.", "Nothing was stored. Try again."],
  invalid_name: ["The name cannot be used.", ""],
};

/** A Problem in plain words: what happened, and what to do. */
export function explain({ code, status, message, server }) {
  const known = EXPLANATIONS[code];
  if (!known) return ["It did not work.", message || `The server answered with status ${status}.`];
  const [headline, advice] = known;
  const where = code === "unavailable" && server ? ` (${server})` : "";
  return [headline, (advice || `${message}.`) + where];
}
