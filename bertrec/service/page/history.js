// The history as a list of chips, oldest first: each can be moved and removed, by button or by key.

import { button, make, quoted } from "./dom.js";

const SHOWN = 10; // newest items that are shown before the earlier ones are asked for

function keyed(event, place, does) {
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (event.key === "Delete") does.remove(place);
  else if (event.altKey && step) does.move(place, place + step);
  else return;
  event.preventDefault();
}

function chip(item, place, last, does) {
  const up = button("↑", () => does.move(place, place - 1), `Earlier: ${item.title}`, {
    class: "icon",
    "data-does": "up",
  });
  const down = button("↓", () => does.move(place, place + 1), `Later: ${item.title}`, {
    class: "icon",
    "data-does": "down",
  });
  const remove = button("×", () => does.remove(place), `Remove: ${item.title}`, {
    class: "icon",
    "data-does": "remove",
  });
  up.disabled = place === 0;
  down.disabled = place === last;
  const on = { keydown: (event) => keyed(event, place, does) };
  return make("li", {
    class: "chip",
    "data-place": place,
    children: [quoted(item.title, "span"), up, down, remove],
    on,
  });
}

// Show the items; does: { move(from, to), remove(place) }. Returns how many earlier ones are left out.
export function showHistory(list, items, does, all) {
  const first = all ? 0 : Math.max(0, items.length - SHOWN);
  const chips = items.map((item, place) => place >= first && chip(item, place, items.length - 1, does));
  const held = list.contains(document.activeElement) && document.activeElement;
  list.replaceChildren(...chips.filter(Boolean));
  if (held) focusChip(list, held.closest("li").dataset.place, held.dataset.does);
  return first;
}

// Put the focus on a chip's button, or on the other one of the pair where that is at its end.
export function focusChip(list, place, does) {
  const found = list.querySelector(`[data-place="${place}"]`);
  const wanted =
    found?.querySelector(`[data-does=${does}]:not(:disabled)`) ?? found?.querySelector("button:not(:disabled)");
  wanted?.focus();
  return Boolean(wanted);
}
