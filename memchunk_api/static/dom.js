// Small steps with the document. Text goes in as text, never as HTML.

import { explain } from "./words.js";

/** A new copy of the only element of a <template>. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** The element that plays a part in `root`: the one with data-part. */
export function part(root, name) {
  return root.querySelector(`[data-part=${name}]`);
}

export function put(root, name, text) {
  part(root, name).textContent = text;
}

/** Write a Problem in plain words where `root` has a place for it. */
export function tell(root, problem) {
  const [headline, advice] = explain(problem);
  put(root, "headline", headline);
  put(root, "advice", advice);
  part(root, "trouble").hidden = false;
}

let hush;

/** Show a short message for a moment; it is read out too. */
export function say(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  clearTimeout(hush);
  hush = setTimeout(() => (status.textContent = ""), 6000);
}

/** Put text on the clipboard, and say what was copied. */
export async function copy(text, what) {
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else copyAsOfOld(text);
  say(`${what} copied.`);
}

// navigator.clipboard is there over https and on this machine alone.
function copyAsOfOld(text) {
  const area = document.createElement("textarea");
  const focused = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  focused?.focus();
}

/** Open a dialog as a modal; resolves to its return value once it is closed, "" for Escape. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
  });
}
