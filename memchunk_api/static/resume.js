// How a large file gets to the server: by tus 1.0, going on after a break where it was.

import { exchange } from "./exchange.js";

const TUS = { "Tus-Resumable": "1.0.0" };

// A server that is started anew is back by then, and the lock of one that was killed is gone.
const PATIENCE_MS = 45_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 4_000;

// After these it may go on, for the server has kept what came; the statuses are a proxy's.
const BREAKS = new Set(["unreachable", "unavailable", "busy", "locked", "wrong_offset"]);
const AWAY = new Set([502, 503, 504]);

const begun = new WeakMap(); // files, and where on the server they are, until they are given up

/**
 * Make a file of `file` on the server; resolves to what the server says at `result` then.
 *
 * `metadata` are what tus calls so. After a Problem that may pass, the next call for the same
 * `file` goes on; after any other, and when `signal` cancels, the server has nothing of it.
 */
export async function resume(file, metadata, result, call) {
  try {
    return await insist(file, metadata, result, call);
  } catch (error) {
    if (isBreak(error)) throw error;
    giveUp(file);
    if (error.code !== "not_found") throw error;
    return insist(file, metadata, result, call); // the server had forgotten what it had
  }
}

async function insist(file, metadata, result, { signal, onProgress }) {
  let offset = null; // which only the server knows
  if (!begun.has(file)) {
    begun.set(file, await create(file, metadata, signal));
    offset = 0;
  }
  let most = 0, pause = FIRST_PAUSE_MS, end = Infinity;
  while (true) {
    try {
      offset ??= await ask(file, signal);
      onProgress(offset);
      if (offset > most) [most, pause, end] = [offset, FIRST_PAUSE_MS, Infinity];
      if (offset === file.size) return await exchange("GET", result, { signal });
      offset = await sendFrom(offset, file, signal, onProgress);
    } catch (error) {
      if (!isBreak(error)) throw error;
      const wait = Math.max(pause, 1000 * error.retryAfter);
      end = Math.min(end, Date.now() + PATIENCE_MS);
      if (Date.now() + wait > end) throw error;
      await sleep(wait, signal);
      offset = null;
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    }
  }
}

const isBreak = ({ code, status }) => BREAKS.has(code) || AWAY.has(status);

async function create(file, metadata, signal) {
  const pairs = Object.entries(metadata).map(([key, value]) => `${key} ${base64(value)}`);
  const headers = { ...TUS, "Upload-Length": file.size, "Upload-Metadata": pairs.join() };
  const answer = await exchange("POST", new URL("uploads", document.baseURI), { headers, signal });
  const id = answer.header("Location").split("/").pop();
  return new URL(`uploads/${id}`, document.baseURI);
}

async function ask(file, signal) {
  const headers = { ...TUS, "X-HTTP-Method-Override": "HEAD" }; // whose answer could not say what is wrong
  return offsetOf(await exchange("POST", begun.get(file), { headers, signal }));
}

async function sendFrom(offset, file, signal, onProgress) {
  const headers = { ...TUS, "Upload-Offset": offset, "Content-Type": "application/offset+octet-stream" };
  return offsetOf(
    await exchange("PATCH", begun.get(file), {
      headers,
      body: file.slice(offset),
      signal,
      onProgress: (sent) => onProgress(offset + sent),
    }),
  );
}

/** Let the server forget what it has; one that does not hear it forgets it later by itself. */
function giveUp(file) {
  const url = begun.get(file);
  if (url) fetch(url, { method: "DELETE", headers: TUS, keepalive: true }).catch(() => {});
  begun.delete(file);
}

const offsetOf = (answer) => Number(answer.header("Upload-Offset"));

const base64 = (text) => btoa(String.fromCharCode(...new TextEncoder().encode(text)));

function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
