// One request whose progress is told, which fetch does not do; and its answer, or the Problem it is.

import { Problem } from "./api.js";

/**
 * Resolves to an answer that is a success: `body` is its text, `header(name)` one of its headers.
 *
 * `body` is what to send, a File or a part of one. `onProgress` gets the number of bytes sent so
 * far. `signal` cancels, with an AbortError. A Problem says how long the server wants to be left
 * alone, in `retryAfter` seconds.
 */
export async function exchange(method, url, options) {
  const { status, body, header } = await send(method, url, options);
  if (status > 199 && status < 300) return { body, header };
  if (status === 0) throw (await isReadable(options.body)) ? Problem.unreachable() : new Problem("unreadable");
  const problem = Problem.of(status, body);
  problem.retryAfter = Number(header("Retry-After")) || 0;
  throw problem;
}

function send(method, url, { headers = {}, body, signal, onProgress }) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    if (onProgress) request.upload.onprogress = (event) => onProgress(event.loaded);
    request.onloadend = () =>
      resolve({
        status: request.status,
        body: request.responseText,
        header: (name) => request.getResponseHeader(name),
      });
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.send(body);
  });
}

/** Whether a file is still there, unchanged since it was chosen; a browser says so on reading. */
async function isReadable(file) {
  try {
    await file?.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
