// A page to try a model: a history on one side, what the model recommends for it on the other.

import { example, groups, showAttributes } from "./attributes.js";
import { Combobox } from "./combobox.js";
import { byId, make, quoted, visible } from "./dom.js";
import { focusChip, showHistory } from "./history.js";
import { row } from "./items.js";
import { openPanel, refreshPanel, setUpPanel } from "./panel.js";
import { ask, keep } from "./service.js";
import { fromHash, request, toHash } from "./view.js";

const TITLES = 8;
const LONGEST = 1000; // items of a history that the service reads

let view = fromHash(location.hash);
let shown = []; // the history as it stands: of the view, or of the user that was loaded
let allShown = false;
let running;
let combobox;

const does = {
  similar: (item) => openPanel({ kind: "similar", item }),
  add: (item) => add(item),
  has: (item) => shown.some((one) => one.id === item.id),
};
const editing = { move, remove };

function say(message) {
  byId("live").textContent = visible(message);
}

// The view changes: the address, the controls and the list follow.
function change(changes) {
  view = { ...view, ...changes };
  history.pushState(null, "", toHash(view));
  showControls();
  return refresh();
}

function setHistory(items) {
  shown = items.slice(-LONGEST);
  const done = change({ user: null, history: shown.map((item) => item.id) });
  showChips();
  refreshPanel();
  return done;
}

function add(item) {
  setHistory([...shown.filter((one) => one.id !== item.id), { id: item.id, title: item.title }]);
  say(`${item.title} is now the newest of the history`);
}

function move(from, to) {
  if (to < 0 || to >= shown.length) return;
  const items = [...shown];
  items.splice(to, 0, ...items.splice(from, 1));
  setHistory(items);
  focusChip(byId("history"), to, to < from ? "up" : "down");
  say(`${items[to].title} is now ${to + 1} of ${items.length}`);
}

function remove(place) {
  const gone = shown[place];
  setHistory(shown.filter((_, other) => other !== place));
  const left = Math.min(place, shown.length - 1);
  if (!focusChip(byId("history"), left, "remove")) byId("query").focus();
  say(`${gone.title} is taken out`);
}

function showChips() {
  const earlier = showHistory(byId("history"), shown, editing, allShown);
  byId("earlier").hidden = earlier === 0;
  byId("earlier").textContent = `Show ${earlier} earlier`;
  byId("clear").hidden = !shown.length && view.user === null;
  byId("history-title").replaceChildren(
    ...(view.user === null ? ["History"] : ["History of user ", quoted(view.user)]),
  );
  byId("history-note").textContent = historyNote();
}

function historyNote() {
  if (shown.length > 1) return "Newest last.";
  return shown.length || view.user !== null ? "" : "Nobody is known yet: a cold user. Add an item to begin.";
}

function showControls() {
  byId("filter").value = view.filter;
  byId("k").value = ensureOption(byId("k"), view.k);
  byId("diversity").value = view.diversity;
  showDiversity();
  byId("at-most-number").value = view.atMost?.number ?? "";
  byId("at-most-attribute").value = ensureOption(
    byId("at-most-attribute"),
    view.atMost?.attribute ?? byId("at-most-attribute").value,
  );
  byId("user").value = view.user ?? "";
  const active = [view.filter, view.atMost, view.diversity].filter(Boolean).length;
  byId("active").textContent = active ? `${active} in use` : "";
}

// A shared address may ask for what the list of choices lacks.
function ensureOption(select, value) {
  if (value !== "" && ![...select.options].some((option) => option.value === String(value)))
    select.append(make("option", { text: value }));
  return value;
}

function showDiversity() {
  byId("diversity-value").textContent = Number(byId("diversity").value).toFixed(1);
}

// Ask for recommendations; a question that is still open is given up.
async function refresh() {
  running?.abort();
  running = new AbortController();
  byId("items").setAttribute("aria-busy", "true");
  try {
    showAnswer(await ask("recommend", request(view), running.signal));
  } catch (error) {
    if (error.name !== "AbortError") showError(error);
  }
}

function showAnswer(answer) {
  shown = answer.history ?? [];
  byId("key").hidden = true;
  showProblem("", "");
  showChips();
  byId("summary").replaceChildren(...origin(answer));
  byId("notes").replaceChildren(...(answer.notes ?? []).map((text) => make("li", { text, dir: "auto" })));
  byId("items").replaceChildren(...answer.items.map((item) => row(item, does)));
  byId("items").setAttribute("aria-busy", "false");
}

function origin(answer) {
  const count = answer.items.length === 1 ? "1 item" : `${answer.items.length || "No"} items`;
  if (answer.from === "user") return [`${count} for user `, quoted(view.user ?? "")];
  if (answer.from === "history") return [`${count} that follow from the history`];
  if (answer.from === "popularity") return [`${count}: the most popular, since nothing is known of the user`];
  return [`${count}, ordered by ${visible(answer.from)}`];
}

function showError(error) {
  byId("items").setAttribute("aria-busy", "false");
  if (error.status === 401) return askForKey(error.message);
  const ofFilter = view.filter && /^filter\b/.test(error.message);
  showProblem(ofFilter ? "" : error.message, ofFilter ? error.message.replace(/^filter .*?: (?=\S)/s, "") : "");
  byId("again").hidden = Boolean(ofFilter);
  if (ofFilter) byId("options").open = true;
}

function showProblem(general, ofFilter) {
  byId("problem").textContent = visible(general);
  byId("trouble").hidden = !general;
  byId("filter-problem").textContent = visible(ofFilter);
  byId("filter").toggleAttribute("aria-invalid", Boolean(ofFilter));
  byId("results").classList.toggle("stale", Boolean(general || ofFilter));
  if (general || ofFilter)
    byId("summary").textContent = byId("items").children.length
      ? "The list below is the one from before."
      : "No list yet.";
}

function askForKey(message) {
  const again = !byId("key").hidden;
  byId("key").hidden = false;
  byId("key-problem").textContent = again ? visible(message) : "";
  byId("summary").textContent = "The list comes once the service has its key.";
  byId("key-field").focus();
}

async function start() {
  try {
    showHealth(await ask("health"));
  } catch (error) {
    byId("facts").textContent = "";
    return showError(error);
  }
  return refresh();
}

function showHealth(health) {
  const facts = [
    health.model,
    `${health.items.toLocaleString("en")} items`,
    health.index ? `${health.index} index` : "exact search",
  ];
  byId("facts").replaceChildren(...facts.map((text) => make("span", { text })));
  document.title = `${visible(health.model)} – bertrec`;
  byId("known").hidden = health.users === 0;
  combobox.searches = health.reads_text ?? true;
  byId("query-hint").textContent = combobox.searches
    ? "Titles as you type; Enter searches by meaning."
    : "Titles as you type.";
  const attributes = health.attributes ?? [];
  byId("attributes").hidden = !attributes.length;
  showAttributes(byId("attribute-list"), attributes, insert);
  byId("filter").placeholder = example(attributes);
  const names = groups(attributes);
  byId("at-most").hidden = !names.length;
  byId("at-most-attribute").replaceChildren(...names.map((text) => make("option", { text, value: text })));
  showControls();
}

// Put a condition behind what the filter says; a whole one is applied at once.
function insert(text, whole) {
  const field = byId("filter");
  const before = field.value.trim();
  field.value = before && !/(\band|\bor|\bnot|\()$/.test(before) ? `${before} and ${text}` : `${before} ${text}`.trim();
  if (whole) return void change({ filter: field.value });
  field.focus();
  const quote = field.value.lastIndexOf("''");
  const end = text.includes("''") ? quote + 1 : field.value.length;
  field.setSelectionRange(end, end);
}

function rulesOfForm() {
  const number = Number(byId("at-most-number").value);
  const attribute = byId("at-most-attribute").value;
  return {
    filter: byId("filter").value.trim(),
    k: Number(byId("k").value),
    diversity: Number(byId("diversity").value),
    atMost: number >= 1 && attribute ? { number: Math.min(100, Math.round(number)), attribute } : null,
  };
}

function onSubmit(id, does) {
  byId(id).addEventListener("submit", (event) => {
    event.preventDefault();
    does();
  });
}

function applyRules() {
  const rules = rulesOfForm();
  if (Object.keys(rules).some((name) => JSON.stringify(rules[name]) !== JSON.stringify(view[name]))) change(rules);
}

function loadUser() {
  const user = byId("user").value.trim();
  if (!user) return;
  allShown = false;
  shown = [];
  change({ user, history: [] });
}

function setUp() {
  combobox = new Combobox({
    input: byId("query"),
    list: byId("suggestions"),
    suggest: async (words, signal) =>
      (await ask(`titles?${new URLSearchParams({ starts: words, k: TITLES })}`, undefined, signal)).items,
    pick: add,
    search: (text) => openPanel({ kind: "search", text }),
    say,
  });
  setUpPanel(does);
  onSubmit("find", () => {});
  onSubmit("known", loadUser);
  onSubmit("rules", applyRules);
  onSubmit("key", () => {
    keep(byId("key-field").value);
    byId("key-field").value = "";
    start().then(() => byId("key").hidden && byId("results").focus());
  });
  byId("rules").addEventListener("change", applyRules);
  byId("diversity").addEventListener("input", showDiversity);
  byId("again").addEventListener("click", start);
  byId("clear").addEventListener("click", () => {
    setHistory([]);
    byId("query").focus();
  });
  byId("earlier").addEventListener("click", () => {
    allShown = true;
    showChips();
    focusChip(byId("history"), 0, "remove");
  });
  window.addEventListener("popstate", () => {
    view = fromHash(location.hash);
    showControls();
    refresh();
  });
  byId("options").open = matchMedia("(min-width: 60rem)").matches;
  shown = view.history.map((id) => ({ id, title: String(id) }));
  showControls();
  showChips();
}

setUp();
start();
