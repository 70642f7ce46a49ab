// How one file gets to the server: in one request. Nothing else knows how.

import { MOST_BYTES, Problem, address } from "./api.js";

/**
 * Store `file` under `name`; resolves to what the server knows of it then.
 *
 * `ttl` is in seconds, "" leaves it to the server. An intact file under the name
 * stays, with the Problem "already_exists", unless `replace` is true. `onProgress`
 * gets the number of bytes sent so far. `signal` cancels, with an AbortError;
 * nothing is stored then.
 */
export async function send(file, name, { ttl, replace, signal, onProgress }) {
  if (file.size > MOST_BYTES) throw new Problem("too_large");
  const url = new URL(address(name));
  if (ttl) url.searchParams.set("ttl", ttl);
  const { status, body } = await exchange(replace ? "PUT" : "POST", url, file, signal, onProgress);
  if (status === 0) throw (await isReadable(file)) ? Problem.unreachable() : new Problem("unreadable");
  if (status < 200 || status > 299) throw Problem.of(status, body);
  return JSON.parse(body);
}

// fetch does not tell how much of a body it has sent.
function exchange(method, url, file, signal, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onloadend = () => resolve({ status: request.status, body: request.responseText });
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.open(method, url);
    request.send(file);
  });
}

/** Whether the file is still there, unchanged since it was chosen; a browser says so on reading. */
async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
