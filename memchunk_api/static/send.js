// How one file gets to the server: in one request, or a large one in as many as it takes.

import { MOST_BYTES, Problem, address } from "./api.js";
import { exchange } from "./exchange.js";
import { resume } from "./resume.js";

const ONE_REQUEST_BYTES = 8 * 1024 * 1024; // what is larger goes on after a break

/**
 * Store `file` under `name`; resolves to what the server knows of it then.
 *
 * `ttl` is in seconds, "" leaves it to the server. An intact file under the name
 * stays, with the Problem "already_exists", unless `replace` is true. `onProgress`
 * gets the number of bytes sent so far. `signal` cancels, with an AbortError;
 * nothing is stored then.
 */
export async function send(file, name, options) {
  if (file.size > MOST_BYTES) throw new Problem("too_large");
  const sending = file.size > ONE_REQUEST_BYTES ? sendResumably : sendAtOnce;
  return JSON.parse((await sending(file, name, options)).body);
}

function sendAtOnce(file, name, { ttl, replace, signal, onProgress }) {
  const url = new URL(address(name));
  if (ttl) url.searchParams.set("ttl", ttl);
  return exchange(replace ? "PUT" : "POST", url, { body: file, signal, onProgress });
}

function sendResumably(file, name, { ttl, replace, signal, onProgress }) {
  const metadata = { name, filetype: file.type, replace: String(replace) };
  if (ttl) metadata.ttl = ttl;
  return resume(file, metadata, address(name, "metadata"), { signal, onProgress });
}
