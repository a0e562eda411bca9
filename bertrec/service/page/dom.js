// Elements made by hand. Every text goes in as text: a title comes from anywhere and is shown, never obeyed.

const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

// Control characters and bidirectional overrides are seen instead of obeyed, as bertrec.core.shown has it.
export function visible(text) {
  return String(text).replace(UNSAFE, (found) => {
    const code = found.charCodeAt(0);
    if (code < 32) return String.fromCharCode(0x2400 + code);
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}

export function make(tag, { text, children = [], on = {}, ...attributes } = {}) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  if (text !== undefined) element.textContent = visible(text);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children);
  return element;
}

// Text of others in a line of ours: its direction stays its own.
export function quoted(text, tag = "bdi") {
  return make(tag, { text, dir: "auto" });
}

export function button(label, does, name, attributes = {}) {
  return make("button", {
    type: "button",
    text: label,
    "aria-label": name && visible(name),
    on: { click: does },
    ...attributes,
  });
}

export function byId(id) {
  return document.getElementById(id);
}
