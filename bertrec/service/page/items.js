// Rows of a list: rank, title, reason, attributes, score and what can be done with the item.

import { button, make, quoted, visible } from "./dom.js";

const MOST_ATTRIBUTES = 8;
const LONGEST_VALUE = 90; // characters

function shownScore(score) {
  if (typeof score !== "number") return "–";
  return Number.isInteger(score) ? String(score) : score.toFixed(Math.abs(score) < 10 ? 3 : 1);
}

function shownValue(value) {
  if (Array.isArray(value)) return value.map(shownValue).join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "number") return String(Number(value.toFixed(4)));
  if (typeof value === "object") return JSON.stringify(value);
  return String(value);
}

function cut(text) {
  return text.length > LONGEST_VALUE ? `${text.slice(0, LONGEST_VALUE).trimEnd()}…` : text;
}

function isTold(value) {
  return value !== null && value !== "" && !(Array.isArray(value) && !value.length);
}

function attributes(item) {
  const told = Object.entries(item.attributes ?? {}).filter(([, value]) => isTold(value) && value !== item.title);
  if (!told.length) return [];
  const pairs = told.slice(0, MOST_ATTRIBUTES).map(([name, value]) => {
    const whole = shownValue(value);
    const dd = make("dd", {
      text: cut(whole),
      dir: "auto",
      title: whole.length > LONGEST_VALUE ? visible(whole) : null,
    });
    return make("div", { children: [make("dt", { text: name }), dd] });
  });
  return [make("dl", { class: "attributes", children: pairs })];
}

// The part of the item's own text that counted most, such as "kind: wood"; the title stands above already.
function part(item) {
  const [name, ...content] = (item.why.words ?? "").split(": ");
  const text = content.join(": ");
  return text && text !== item.title ? [`, and its own ${visible(name)}: `, quoted(cut(text))] : [];
}

function reason(item) {
  if (!item.why) return [];
  return [make("p", { class: "because", children: ["because of ", quoted(item.why.title), ...part(item)] })];
}

// does: { similar(item), add(item), has(item) }
function actions(item, does) {
  const held = does.has(item);
  const add = button(
    held ? "In the history" : "Add to history",
    () => does.add(item),
    `${held ? "In the history" : "Add to history"}: ${item.title}`,
  );
  add.disabled = held;
  return make("div", {
    class: "actions",
    children: [button("Similar", () => does.similar(item), `Similar: ${item.title}`), add],
  });
}

export function row(item, does) {
  const title = make("h3", { children: [quoted(item.title)] });
  if (item.new)
    title.append(
      " ",
      make("span", { class: "badge", text: "new", title: "Not in the training: known by its text alone" }),
    );
  const body = make("div", { class: "body", children: [title, ...reason(item), ...attributes(item)] });
  const score = make("p", {
    class: "score",
    children: [make("span", { class: "unseen", text: "score " }), shownScore(item.score)],
  });
  const rank = make("span", { class: "rank", text: item.rank, "aria-hidden": "true" });
  return make("li", { class: "item", children: [rank, body, score, actions(item, does)] });
}
