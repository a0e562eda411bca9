// What a filter can ask for: the attributes of the catalogue, with values to press.

import { button, make } from "./dom.js";

const VALUES = 6;
const LISTS = /^(list|large_list)/;

function asName(name) {
  return /^[A-Za-z_]\w*$/.test(name) ? name : `col(${asText(name)})`;
}

function asText(text) {
  return `'${text.replace(/[\\']/g, "\\$&").replace(/\n/g, "\\n")}'`;
}

function isNumber(type) {
  return /int|float|double|decimal/.test(type) && !LISTS.test(type);
}

function beginning({ name, type }) {
  if (LISTS.test(type)) return `'' in ${asName(name)}`;
  if (/bool/.test(type)) return asName(name);
  return isNumber(type) ? `${asName(name)} < ` : `${asName(name)} == ''`;
}

function condition({ name, type }, value) {
  const literal = typeof value === "string" ? asText(value) : String(value);
  return LISTS.test(type) ? `${literal} in ${asName(name)}` : `${asName(name)} == ${literal}`;
}

// insert(text, whole): a whole condition can be applied at once.
export function showAttributes(list, attributes, insert) {
  const rows = attributes.map((one) => {
    const name = button(
      one.name,
      () => insert(beginning(one), /bool/.test(one.type)),
      `${one.name}, ${one.type}: put into the filter`,
      { class: "code" },
    );
    const values = (one.values ?? [])
      .slice(0, VALUES)
      .map((value) => button(value, () => insert(condition(one, value), true), `${one.name} is ${value}`));
    return make("li", {
      children: [
        name,
        make("span", { class: "type", text: one.type }),
        ...(values.length ? [make("div", { class: "values", children: values })] : []),
      ],
    });
  });
  list.replaceChildren(...rows);
}

// A condition to show what one looks like.
export function example(attributes) {
  const one =
    attributes.find(({ values }) => typeof values?.[0] === "string") ?? attributes.find(({ values }) => values?.length);
  return one ? condition(one, one.values[0]) : "";
}

// Attributes of which a list may hold only so many with the same value: those that come in few values.
export function groups(attributes) {
  return attributes.filter((one) => one.values?.length && !/bool/.test(one.type)).map((one) => one.name);
}
