// The dialog that gives a file another name.

import * as api from "./api.js";
import { ask, put } from "./dom.js";
import { explain, legible } from "./words.js";

const dialog = document.getElementById("rename");
const input = dialog.querySelector("input");
const trouble = document.getElementById("rename-trouble");
const replace = dialog.querySelector("[data-do=replace]");

let name, renamed; // of the file that the dialog is open for

/** Ask for a name until the server takes one; resolves to nothing where the user gives up. */
export async function rename(file) {
  name = file;
  renamed = undefined;
  put(dialog, "name", legible(name));
  input.value = name;
  clear();
  const closed = ask(dialog);
  // what is most often changed: the last segment without its ending
  const start = name.lastIndexOf("/") + 1;
  const end = name.lastIndexOf(".");
  input.setSelectionRange(start, end > start ? end : name.length);
  await closed;
  return renamed;
}

async function submit(mayReplace) {
  clear();
  try {
    renamed = await api.rename(name, input.value, mayReplace);
    dialog.close();
  } catch (error) {
    const problem = api.Problem.from(error);
    replace.hidden = problem.code !== "already_exists";
    trouble.textContent = explain(problem).join(" ");
    input.focus();
  }
}

function clear() {
  trouble.textContent = "";
  replace.hidden = true;
}

dialog.querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault(); // which would close the dialog
  submit(false);
});
replace.addEventListener("click", () => submit(true));
input.addEventListener("input", clear);
dialog.querySelector("[data-do=cancel]").addEventListener("click", () => dialog.close());
