// The panel at the side: items like one, or items that words ask for.

import { byId, quoted, visible } from "./dom.js";
import { row } from "./items.js";
import { ask } from "./service.js";

const COUNT = 10;
let asked; // { kind: "similar", item } or { kind: "search", text }
let found = [];
let opener;
let running;
let does;

function by() {
  return document.querySelector("input[name=by]:checked").value;
}

function question() {
  if (asked.kind === "search") return ["search", { text: asked.text, k: COUNT }];
  return ["similar", { item: asked.item.id, k: COUNT, ...(by() && { by: by() }) }];
}

async function load() {
  running?.abort();
  running = new AbortController();
  byId("panel-items").setAttribute("aria-busy", "true");
  try {
    const answer = await ask(...question(), running.signal);
    show(answer.items, answer.notes ?? [], "");
  } catch (error) {
    if (error.name !== "AbortError") show([], [], error.message);
  }
}

function show(items, notes, problem) {
  found = items;
  byId("panel-problem").textContent = visible(problem);
  const count = items.length === 1 ? "1 item" : `${items.length || "No"} items`;
  byId("panel-summary").textContent = problem ? "" : visible([count, ...notes].join("; "));
  byId("panel-items").setAttribute("aria-busy", "false");
  refreshPanel();
}

// Draw the rows again, since the history has changed.
export function refreshPanel() {
  if (!byId("panel").open) return;
  const place = [...byId("panel-items").children].findIndex((one) => one.contains(document.activeElement));
  byId("panel-items").replaceChildren(...found.map((item) => row(item, does)));
  byId("panel-items").children[place]?.querySelector("button").focus();
}

export function openPanel(what) {
  const panel = byId("panel");
  asked = what;
  found = [];
  byId("by").hidden = what.kind !== "similar";
  byId("panel-title").replaceChildren(
    ...(what.kind === "search" ? ["Found for “", quoted(what.text), "”"] : ["Like ", quoted(what.item.title)]),
  );
  byId("panel-summary").textContent = "";
  byId("panel-items").replaceChildren();
  if (!panel.open) {
    opener = document.activeElement;
    panel.showModal();
  }
  panel.scrollTop = 0;
  byId("close").focus();
  return load();
}

export function setUpPanel(actions) {
  does = actions;
  const panel = byId("panel");
  byId("close").addEventListener("click", () => panel.close());
  byId("by").addEventListener("change", load);
  panel.addEventListener("click", (event) => event.target === panel && panel.close());
  panel.addEventListener("close", () => {
    running?.abort();
    (opener?.isConnected ? opener : byId("results")).focus();
  });
}
