// What is looked at, kept in the address behind the # so that a view can be shared.

const PLAIN = { user: null, history: [], k: 10, filter: "", atMost: null, diversity: 0 };

// An id is a text or a number, and the text 7 is another id than the number 7: a number is written as *7.
function written(id) {
  if (typeof id === "number") return `*${id}`;
  return id.startsWith("*") ? `*${id}` : id;
}

function read(text) {
  if (text.startsWith("**")) return text.slice(1);
  return text.startsWith("*") ? Number(text.slice(1)) || 0 : text;
}

function within(text, low, high, otherwise) {
  const number = Number(text);
  return text !== null && number >= low && number <= high ? number : otherwise;
}

function rule(text) {
  const found = /^(\d+) (.+)$/s.exec(text ?? "");
  return found && { number: within(found[1], 1, 100, 1), attribute: found[2] };
}

export function fromHash(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    user: given.get("user"),
    history: given.has("user") ? [] : given.getAll("item").map(read),
    k: Math.round(within(given.get("k"), 1, 100, PLAIN.k)),
    filter: given.get("filter") ?? "",
    atMost: rule(given.get("at_most")),
    diversity: within(given.get("diversity"), 0, 1, 0),
  };
}

export function toHash(view) {
  const pairs = view.user === null ? view.history.map((id) => ["item", written(id)]) : [["user", view.user]];
  if (view.k !== PLAIN.k) pairs.push(["k", view.k]);
  if (view.filter) pairs.push(["filter", view.filter]);
  if (view.atMost) pairs.push(["at_most", `${view.atMost.number} ${view.atMost.attribute}`]);
  if (view.diversity) pairs.push(["diversity", view.diversity]);
  return `#${new URLSearchParams(pairs)}`;
}

// The body of a request for recommendations.
export function request(view) {
  return {
    ...(view.user === null ? { history: view.history } : { user: view.user }),
    k: view.k,
    why: true,
    ...(view.filter && { filter: view.filter }),
    ...(view.atMost && { at_most: { [view.atMost.attribute]: view.atMost.number } }),
    ...(view.diversity && { diversity: view.diversity }),
  };
}
