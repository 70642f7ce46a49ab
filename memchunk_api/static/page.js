// The page put together: what is chosen, dropped and typed gets to where it belongs.

import { copy, part } from "./dom.js";
import { Files } from "./files.js";
import { Uploads } from "./uploads.js";

const TYPING_MS = 200;

const prefix = document.getElementById("prefix");
const chosen = document.getElementById("chosen");
const chosenAgain = document.getElementById("chosen-again");
const empty = part(document, "empty");
const commands = part(document, "commands");

const files = new Files(document.getElementById("files"), chooseAgain);
const uploads = new Uploads(document.getElementById("uploads"), (info) => files.put(info));

function upload(file, name) {
  uploads.add(file, name, document.getElementById("ttl").value);
}

// --- choosing

document.getElementById("choose").addEventListener("click", () => chosen.click());

chosen.addEventListener("change", () => {
  for (const file of chosen.files) upload(file, file.name);
  chosen.value = ""; // the same file may be chosen again
});

function chooseAgain(name) {
  chosenAgain.onchange = () => {
    upload(chosenAgain.files[0], name);
    chosenAgain.value = "";
  };
  chosenAgain.click();
}

// --- dropping, anywhere on the page

const carriesFiles = (event) => event.dataTransfer.types.includes("Files");

// Both: where what is under the pointer changes, it is asked by the first alone whether it takes files.
for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    document.body.dataset.dragging = "";
  });
}

addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) delete document.body.dataset.dragging; // it left the window
});

addEventListener("drop", async (event) => {
  if (!carriesFiles(event)) return;
  event.preventDefault();
  delete document.body.dataset.dragging;
  // All that was dropped is gone once this handler waits for anything.
  const dropped = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  for (const [entry, file] of dropped.map((item) => [item.webkitGetAsEntry(), item.getAsFile()])) {
    if (entry?.isDirectory) await uploadFolder(entry);
    else upload(file, file.name);
  }
});

/** Upload what is in a folder, under names that begin with the folder's. */
async function uploadFolder(folder) {
  const reader = folder.createReader();
  const read = () => new Promise((resolve, reject) => reader.readEntries(resolve, reject));
  // It gives some entries at a time, and none at the end.
  for (let entries = await read(); entries.length > 0; entries = await read()) {
    for (const entry of entries) {
      if (entry.isDirectory) await uploadFolder(entry);
      else upload(await new Promise((resolve, reject) => entry.file(resolve, reject)), entry.fullPath.slice(1));
    }
  }
}

// --- the filter, which is kept in the address

let typing;

prefix.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const query = prefix.value ? `?${new URLSearchParams({ prefix: prefix.value })}` : location.pathname;
    history.replaceState(null, "", query);
    files.load(prefix.value);
  }, TYPING_MS);
});

// --- the start

const here = new URL("files/", document.baseURI).href;
commands.textContent = `curl -T some.file ${here}\ncurl -O ${here}some.file`;
empty.querySelector("[data-do=copy-commands]").addEventListener("click", () => copy(commands.textContent, "Commands"));

prefix.value = new URLSearchParams(location.search).get("prefix") ?? "";
files.load(prefix.value);
