// One file as a row of the list.

import { address } from "./api.js";
import { clone, part, put, tell } from "./dom.js";
import { age, expiry, inFull, legible, size } from "./words.js";

const SHORT_SHA = 8;

/** A row that shows a file. */
export function rowOf(info) {
  const row = clone("file");
  const name = legible(info.name);
  const cut = name.lastIndexOf("/") + 1;
  row.dataset.name = info.name;
  put(row, "folder", name.slice(0, cut));
  put(row, "base", name.slice(cut));
  put(row, "size", size(info.size));
  put(row, "type", info.content_type);
  put(row, "sha", info.sha256.slice(0, SHORT_SHA));
  row.querySelector(".name a").title = name;
  part(row, "size").title = `${info.size.toLocaleString("en")} bytes`;
  part(row, "type").title = info.content_type;
  const digest = row.querySelector("[data-do=copy-sha]");
  digest.title = `Copy ${info.sha256}`;
  digest.ariaLabel = `Copy SHA-256 of ${name}`;
  for (const link of row.querySelectorAll("[data-do=download]")) link.href = address(info.name);
  for (const tool of row.querySelectorAll("button.tool")) tool.ariaLabel = `${tool.title}: ${name}`;
  showTimes(row, info);
  return row;
}

/** Bring age and expiry up to date. */
export function showTimes(row, info) {
  const now = new Date();
  const created = part(row, "age");
  created.dateTime = info.created_at;
  created.title = inFull(info.created_at);
  created.textContent = age(info.created_at, now);
  const expires = part(row, "expires");
  if (info.expires_at === null) {
    expires.title = "It stays for as long as memcached has room for it";
    expires.textContent = "–";
    expires.dataset.never = "";
  } else {
    expires.dateTime = info.expires_at;
    expires.title = inFull(info.expires_at);
    expires.textContent = expiry(info.expires_at, now);
  }
}

/** Say in a row what went wrong with its file, and offer what helps. */
export function complain(row, problem) {
  const isLost = problem.code === "evicted" || problem.code === "corrupt";
  row.querySelector("[data-do=upload-again]").hidden = !isLost;
  row.querySelector("[data-do=try-again]").hidden = isLost;
  tell(row, problem);
}
