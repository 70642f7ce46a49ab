// Files on their way to the server: a queue, and what is seen of it.

import { Problem } from "./api.js";
import { clone, part, put, say, tell } from "./dom.js";
import { send } from "./send.js";
import { explain, legible, size } from "./words.js";

const AT_ONCE = 3;

// What may be done in each state.
const CHOICES = {
  waiting: ["cancel"],
  sending: ["cancel"],
  stored: [],
  cancelled: ["retry", "dismiss"],
  failed: ["retry", "dismiss"],
  taken: ["replace", "dismiss"], // another file has the name
  hopeless: ["dismiss"], // and it would fail again
};
const HOPELESS = new Set(["too_large", "invalid_name", "unreadable"]);

class Upload {
  constructor(file, name, ttl, onChange) {
    this.file = file;
    this.name = name;
    this.title = legible(name);
    this.ttl = ttl;
    this.replace = false;
    this.sent = 0;
    this.onChange = onChange;
    this.element = clone("upload");
    put(this.element, "name", this.title);
    this.element.addEventListener("click", ({ target }) => this.#do(target.closest("[data-do]")?.dataset.do));
    this.#enter("waiting");
  }

  /** Send it; resolves to the stored file's description, or to nothing where that failed. */
  async run() {
    this.call = new AbortController();
    this.#progress(0);
    this.#enter("sending");
    try {
      const info = await send(this.file, this.name, {
        ttl: this.ttl,
        replace: this.replace,
        signal: this.call.signal,
        onProgress: (sent) => this.#progress(sent),
      });
      this.#enter("stored");
      say(`${this.title} is stored.`);
      return info;
    } catch (error) {
      if (error.name === "AbortError") this.#enter("cancelled");
      else this.#fail(Problem.from(error));
    }
  }

  remove() {
    this.element.remove();
    this.onChange(this);
  }

  #fail(problem) {
    tell(this.element, problem);
    say(`${this.title}: ${explain(problem).join(" ")}`);
    const taken = problem.code === "already_exists";
    this.#enter(taken ? "taken" : HOPELESS.has(problem.code) ? "hopeless" : "failed");
  }

  #do(choice) {
    if (choice === "cancel") {
      if (this.state === "sending") this.call.abort(); // `run` finds out
      else this.#enter("cancelled");
    } else if (choice === "retry") {
      this.#enter("waiting");
    } else if (choice === "replace") {
      this.replace = true;
      this.#enter("waiting");
    } else if (choice === "dismiss") {
      this.remove();
    }
  }

  #progress(sent) {
    this.sent = Math.min(sent, this.file.size);
    part(this.element, "progress").value = this.file.size ? this.sent / this.file.size : 0;
    this.#describe();
  }

  #enter(state) {
    const hadFocus = this.element.contains(document.activeElement);
    this.state = state;
    this.element.dataset.state = state;
    for (const button of this.element.querySelectorAll("[data-do]")) {
      button.hidden = !CHOICES[state].includes(button.dataset.do);
      button.ariaLabel = `${button.textContent}: ${this.title}`;
    }
    const bar = part(this.element, "progress");
    bar.hidden = state !== "sending" && state !== "waiting";
    bar.ariaLabel = `Upload of ${this.title}`;
    part(this.element, "trouble").hidden = !["failed", "taken", "hopeless"].includes(state);
    this.#describe();
    if (hadFocus) this.element.querySelector("[data-do]:not([hidden])")?.focus();
    this.onChange(this);
  }

  #describe() {
    const all = size(this.file.size);
    const isSent = this.sent === this.file.size;
    const words = {
      waiting: `${all}, waiting`,
      sending: isSent ? `${all}, storing …` : `${size(this.sent)} of ${all}`,
      stored: `${all}, stored`,
      cancelled: "Cancelled; nothing was stored",
    };
    put(this.element, "detail", words[this.state] ?? all);
  }
}

/** The section of uploads. `onStored` is called with the description of each stored file. */
export class Uploads {
  #uploads = new Set();

  constructor(section, onStored) {
    this.section = section;
    this.onStored = onStored;
    this.clear = section.querySelector("[data-do=clear]");
    this.clear.addEventListener("click", () => this.#clear());
    // What is under way would be lost with the page.
    addEventListener("beforeunload", (event) => this.#count("waiting", "sending") && event.preventDefault());
  }

  /** Upload `file` as `name`, as soon as it is its turn. */
  add(file, name, ttl) {
    const upload = new Upload(file, name, ttl, (changed) => this.#changed(changed));
    this.#uploads.add(upload);
    this.section.querySelector("ul").append(upload.element);
    this.#changed(upload);
  }

  #count(...states) {
    return [...this.#uploads].filter((upload) => states.includes(upload.state)).length;
  }

  #changed(upload) {
    if (!upload.element.isConnected && this.#uploads.delete(upload)) {
      this.section.querySelector("h2").focus();
    }
    this.section.hidden = this.#uploads.size === 0;
    this.clear.hidden = this.#count("stored") === 0;
    this.#startNext();
  }

  async #startNext() {
    if (this.#count("sending") >= AT_ONCE) return;
    const next = [...this.#uploads].find((upload) => upload.state === "waiting");
    if (!next) return;
    const info = await next.run();
    if (info) this.onStored(info);
  }

  #clear() {
    for (const upload of [...this.#uploads]) {
      if (upload.state === "stored") upload.remove();
    }
  }
}
