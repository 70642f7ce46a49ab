// What the server can be asked, and what it answers. Nothing here touches the page.

export const MOST_BYTES = 52_428_800; // memchunk.MAX_FILE_BYTES, 50 MiB
const FILES_AT_ONCE = 100;

/** An answer that is no success: `code` is the problem document's, or one of ours below. */
export class Problem extends Error {
  constructor(code, { message = "", status = 0, server = "" } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.server = server;
    this.retryAfter = 0;
  }

  static unreachable() {
    return new Problem("unreachable");
  }

  /** Whatever went wrong, as a Problem. */
  static from(error) {
    return error instanceof Problem ? error : new Problem("unexpected", { message: String(error) });
  }

  /** What a body says that came with an error's status; a proxy's need not be a problem document. */
  static of(status, body) {
    try {
      const { code, message, server } = JSON.parse(body);
      if (typeof code === "string") return new Problem(code, { message, status, server });
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
    return new Problem("unexpected", { status });
  }
}

/** Where a file is. Relative, so that the page works behind a proxy that gives it a path. */
export function address(name, route = "files") {
  const path = name.split("/").map(encodeURIComponent).join("/");
  return new URL(`${route}/${path}`, document.baseURI).href;
}

async function ask(url, options) {
  let answer;
  try {
    answer = await fetch(url, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Problem.unreachable();
  }
  if (!answer.ok) throw Problem.of(answer.status, await answer.text());
  return answer;
}

/** One page of the list: `{files, next}`; `next` is what to give as `after` for the page that follows. */
export async function list(prefix, after, signal) {
  const query = new URLSearchParams({ limit: FILES_AT_ONCE });
  if (prefix) query.set("prefix", prefix);
  if (after) query.set("after", after);
  const url = new URL(`files?${query}`, document.baseURI);
  return (await ask(url, { headers: { Accept: "application/json" }, signal })).json();
}

/**
 * Resolves where the file can be downloaded, rejects with the Problem where it cannot.
 *
 * The server verifies all of a file before it answers a GET, so the status alone
 * tells. Then we hang up: moving the bytes is the browser's work, which shows
 * progress, can be paused, and goes on after an interruption.
 */
export async function vouch(name) {
  const call = new AbortController();
  await ask(address(name), { signal: call.signal });
  call.abort();
}

/** Give a file another name; `replace` is whether it may take the place of a file there. */
export async function rename(name, newName, replace) {
  const answer = await ask(address(name, "metadata"), {
    method: "PATCH",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ name: newName, replace }),
  });
  return answer.json();
}

/** Delete the file of this sha256, and no other that may have taken its place. */
export async function remove(name, sha256) {
  await ask(address(name), { method: "DELETE", headers: { "If-Match": `"${sha256}"` } });
}
