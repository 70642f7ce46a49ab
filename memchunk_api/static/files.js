// The list of files, and what can be done with each.

import { Problem, address, list, remove, vouch } from "./api.js";
import { ask, copy, part, put, say, tell } from "./dom.js";
import { rename } from "./rename.js";
import { complain, rowOf, showTimes } from "./row.js";
import { files, legible, size } from "./words.js";

const TICK_MS = 30_000;

/** The section of files. `onUploadAgain` is called with the name of a file that was lost. */
export class Files {
  #shown = new Map(); // name to {info, row}
  #prefix = "";
  #next = null; // where the list goes on, null where it ends
  #call = new AbortController();
  #news = new Map(); // since the list was asked for: name to info, or to nothing where it went
  #again = () => {}; // what failed, to be tried again

  constructor(section, onUploadAgain) {
    this.section = section;
    this.onUploadAgain = onUploadAgain;
    this.table = section.querySelector("table");
    this.body = section.querySelector("tbody");
    this.body.addEventListener("click", (event) => this.#click(event));
    section.querySelector("[data-do=more]").addEventListener("click", () => this.#more());
    section.querySelector("[data-do=reload]").addEventListener("click", () => this.#again());
    setInterval(() => this.#shown.forEach(({ info, row }) => showTimes(row, info)), TICK_MS);
  }

  /** Show the files whose names begin with `prefix`. */
  async load(prefix) {
    this.#prefix = prefix;
    await this.#fetch(null, () => {
      this.#shown.clear();
      this.body.replaceChildren();
    });
  }

  /** Show a file that was stored just now. */
  put(info) {
    this.#news.set(info.name, info);
    // Further down than what is seen: it comes with the rest.
    const isFurther = this.#next !== null && compare(info.name, this.#next) > 0;
    if (info.name.startsWith(this.#prefix) && !isFurther) this.#show(info);
    this.#summarize();
  }

  async #more() {
    const seen = this.#shown.size;
    await this.#fetch(this.#next, () => {});
    [...this.body.rows][seen]?.querySelector("a").focus();
  }

  /** Get the part of the list after `after`; `prepare` is called once it is there. */
  async #fetch(after, prepare) {
    this.#call.abort();
    this.#call = new AbortController();
    this.#news = new Map();
    this.section.ariaBusy = "true";
    try {
      const { files: infos, next } = await list(this.#prefix, after, this.#call.signal);
      prepare();
      this.#next = next;
      infos.forEach((info) => this.#show(info));
      // The server may have made the list before these came and went.
      this.#news.forEach((info, name) => (info ? this.put(info) : this.#drop(name)));
      part(this.section, "trouble").hidden = true;
    } catch (error) {
      if (error.name === "AbortError") return; // a later call took its place
      this.#again = () => this.#fetch(after, prepare);
      tell(part(this.section, "trouble").parentElement, Problem.from(error));
    }
    this.section.ariaBusy = "false";
    this.#summarize();
  }

  #show(info) {
    const row = rowOf(info);
    const old = this.#shown.get(info.name);
    if (old) old.row.replaceWith(row);
    else this.body.insertBefore(row, this.#rowAfter(info.name));
    this.#shown.set(info.name, { info, row });
  }

  #rowAfter(name) {
    const isAtEnd = !this.body.rows.length || compare(this.body.lastElementChild.dataset.name, name) < 0;
    return isAtEnd ? null : [...this.body.rows].find((row) => compare(row.dataset.name, name) > 0);
  }

  #drop(name) {
    this.#news.set(name, null);
    if (!this.#shown.has(name)) return;
    const { row } = this.#shown.get(name);
    const hadFocus = row.contains(document.activeElement);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    this.#shown.delete(name);
    this.#summarize();
    if (hadFocus) (neighbour?.querySelector("a") ?? this.section.querySelector("h2")).focus();
  }

  #summarize() {
    const isTroubled = !part(this.section, "trouble").hidden;
    const isEmpty = this.#shown.size === 0;
    const bytes = [...this.#shown.values()].reduce((sum, { info }) => sum + info.size, 0);
    const count = `${files(this.#shown.size)}, ${size(bytes)}`;
    put(this.section, "count", isEmpty ? "" : this.#next === null ? count : `the first ${count}`);
    put(this.section, "prefix", this.#prefix);
    this.table.hidden = isEmpty;
    part(this.section, "nothing").hidden = !isEmpty || isTroubled || this.#prefix === "";
    part(this.section, "empty").hidden = !isEmpty || isTroubled || this.#prefix !== "";
    this.section.querySelector("[data-do=more]").hidden = this.#next === null || isTroubled;
  }

  #click(event) {
    const choice = event.target.closest("[data-do]")?.dataset.do;
    if (!choice || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const { info, row } = this.#shown.get(event.target.closest("tr").dataset.name);
    event.preventDefault();
    const actions = {
      download: () => this.#download(row, info),
      "try-again": () => this.#download(row, info),
      "upload-again": () => this.onUploadAgain(info.name),
      "copy-link": () => copy(address(info.name), "Link"),
      "copy-sha": () => copy(info.sha256, "SHA-256"),
      rename: () => this.#rename(info),
      delete: () => this.#delete(row, info),
    };
    actions[choice]();
  }

  async #download(row, info) {
    part(row, "trouble").hidden = true;
    row.ariaBusy = "true";
    try {
      await vouch(info.name);
      const link = document.createElement("a");
      link.href = address(info.name);
      link.download = ""; // the server says how it is called
      link.click();
    } catch (error) {
      complain(row, Problem.from(error));
    }
    row.ariaBusy = "false";
  }

  async #delete(row, info) {
    const dialog = document.getElementById("delete");
    put(dialog, "name", legible(info.name));
    if ((await ask(dialog)) !== "yes") return;
    try {
      await remove(info.name, info.sha256);
    } catch (error) {
      const problem = Problem.from(error);
      if (problem.code !== "not_found") return complain(row, problem); // gone is what was wanted
    }
    this.#drop(info.name);
    say(`${legible(info.name)} is deleted.`);
  }

  async #rename(info) {
    const renamed = await rename(info.name);
    if (!renamed) return;
    if (renamed.name !== info.name) this.#drop(info.name);
    this.put(renamed);
    this.#shown.get(renamed.name)?.row.querySelector("[data-do=rename]").focus();
    say(`${legible(info.name)} is now ${legible(renamed.name)}.`);
  }
}

/** Order by code points, as the server does; < would go by UTF-16 units. */
function compare(one, other) {
  const left = [...one];
  const right = [...other];
  const at = left.findIndex((character, index) => character !== right[index]);
  if (at === -1) return left.length - right.length;
  return at < right.length ? left[at].codePointAt() - right[at].codePointAt() : 1;
}
