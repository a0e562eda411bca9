// Search as you type: the combobox with a list of WAI-ARIA 1.2. Arrows move, Enter picks or searches, Escape closes.

import { make, visible } from "./dom.js";

const PAUSE = 120; // ms between the last key and the question

export class Combobox {
  #items = [];
  #at = -1;
  #timer;
  #asking;
  searches = true; // whether words that are no title can be searched for

  // suggest(words, signal) -> items with a title; pick(item); search(words); say(message)
  constructor({ input, list, suggest, pick, search, say }) {
    Object.assign(this, { input, list, suggest, pick, search, say });
    input.addEventListener("input", () => this.#later());
    input.addEventListener("keydown", (event) => this.#key(event));
    input.addEventListener("blur", () => this.close());
    input.addEventListener("focus", () => input.value.trim() && this.#later());
    list.addEventListener("mousedown", (event) => event.preventDefault()); // the field keeps the focus
    list.addEventListener("click", (event) => this.#clicked(event));
  }

  close() {
    clearTimeout(this.#timer);
    this.#asking?.abort();
    this.list.hidden = true;
    this.#at = -1;
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ask(), PAUSE);
  }

  async #ask() {
    const words = this.input.value.trim();
    if (!words) return this.close();
    this.#asking?.abort();
    this.#asking = new AbortController();
    const { signal } = this.#asking;
    const items = await this.suggest(words, signal).catch((error) => (error.name === "AbortError" ? null : []));
    if (items && !signal.aborted) this.#show(items, words);
  }

  #show(items, words) {
    this.#items = this.searches ? [...items, null] : items;
    const options = items.map((item, place) => this.#option(place, marked(item.title, words), item.title));
    if (this.searches) options.push(this.#option(items.length, [`Search “${visible(words)}” by meaning`], null));
    this.say(items.length === 1 ? "1 title" : `${items.length || "No"} titles`);
    if (!options.length) return this.close();
    this.list.replaceChildren(...options);
    this.list.hidden = false;
    this.list.scrollTop = 0;
    this.input.setAttribute("aria-expanded", "true");
    this.#move(-1);
  }

  #option(place, children, title) {
    const kind = title === null ? "meaning" : null;
    return make("li", {
      role: "option",
      id: `suggestion-${place}`,
      "aria-selected": "false",
      dir: "auto",
      class: kind,
      children,
    });
  }

  #move(to) {
    this.#at = to;
    this.input.removeAttribute("aria-activedescendant");
    for (const [place, option] of [...this.list.children].entries()) {
      option.setAttribute("aria-selected", String(place === to));
      if (place !== to) continue;
      this.input.setAttribute("aria-activedescendant", option.id);
      option.scrollIntoView({ block: "nearest" });
    }
  }

  #key(event) {
    if (event.isComposing) return;
    const open = !this.list.hidden;
    const last = this.#items.length - 1;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (!open) return void this.#ask();
      const down = event.key === "ArrowDown";
      this.#move(down ? (this.#at === last ? -1 : this.#at + 1) : this.#at === -1 ? last : this.#at - 1);
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#take(open ? this.#at : -1);
    } else if (event.key === "Escape") {
      event.preventDefault();
      if (open) this.close();
      else this.input.value = "";
    }
  }

  #take(place) {
    const item = place < 0 ? null : this.#items[place];
    const words = this.input.value.trim();
    this.close();
    if (item) {
      this.input.value = "";
      this.pick(item);
    } else if (words && this.searches) {
      this.search(words);
    }
  }

  #clicked(event) {
    const option = event.target.closest("[role=option]");
    if (option) this.#take([...this.list.children].indexOf(option));
  }
}

// The title with the typed words marked in it.
function marked(title, words) {
  const shown = visible(title);
  const parts = words.split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(${parts.sort((a, b) => b.length - a.length).join("|")})`, "giu");
  return shown.split(pattern).map((part, place) => (place % 2 ? make("mark", { text: part }) : part));
}
