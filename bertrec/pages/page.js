(function () {
  "use strict";
  document.documentElement.classList.add("scripted");
  const stored = JSON.parse(document.getElementById("figures").textContent);
  const boxes = Array.from(document.querySelectorAll(".chart"));

  // Figures name their colours as CSS variables; plotly wants the colours themselves.
  function coloured(value, style) {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)$/.exec(value);
      return name ? style.getPropertyValue(name[1]).trim() : value;
    }
    if (Array.isArray(value)) return value.map((part) => coloured(part, style));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, coloured(part, style)]));
  }

  // Labels were placed for some widths: the widest that fits is taken.
  function labels(figure, width) {
    if (!figure.labels) return [];
    const widths = Object.keys(figure.labels).map(Number).sort((a, b) => a - b);
    const fitting = widths.filter((known) => known <= width);
    return figure.labels[fitting.length ? fitting[fitting.length - 1] : widths[0]];
  }

  function draw(box) {
    const figure = stored.figures[box.dataset.figure];
    const width = box.clientWidth;
    if (!width) return; // hidden, as in print
    const layout = Object.assign({}, figure.layout, { width: width, annotations: labels(figure, width) });
    const data = figure.context ? stored.context.concat(figure.data) : figure.data;
    const style = getComputedStyle(document.documentElement);
    Plotly.react(box, coloured(data, style), coloured(layout, style), { displayModeBar: false });
  }

  // One chart a turn, so that the page stays alive while many are drawn.
  let turn = 0;
  function drawAll() {
    const mine = ++turn;
    let next = 0;
    (function step() {
      if (mine !== turn || next >= boxes.length) return;
      draw(boxes[next++]);
      setTimeout(step, 0);
    })();
  }

  let waiting;
  let known = window.innerWidth;
  window.addEventListener("resize", function () {
    if (window.innerWidth === known) return; // a phone's address bar changes the height only
    known = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function key(row, column, numeric) {
    const text = row.cells[column].dataset.key;
    if (text === undefined) return null;
    return numeric ? Number(text) : text;
  }

  function sort(head) {
    const table = head.closest("table");
    const numeric = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const order = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = Array.from(table.tBodies[0].rows, (row) => [key(row, head.cellIndex, numeric), row]);
    rows.sort(function (a, b) {
      if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
      return sign * compare(a[0], b[0]);
    });
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  }
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.parentNode));
  }

  // Nothing may be missing on paper: what is folded away is unfolded for print only.
  let unfolded = [];
  window.addEventListener("beforeprint", function () {
    unfolded = Array.from(document.querySelectorAll("details:not([open])"));
    for (const details of unfolded) details.open = true;
  });
  window.addEventListener("afterprint", function () {
    for (const details of unfolded) details.open = false;
  });
})();
