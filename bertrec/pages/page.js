// A click on a column's title sorts; rows without a figure stay last either way.
(function () {
  "use strict";
  function key(row, column, numeric) {
    const cell = row.cells[column];
    const found = cell.dataset.key ?? cell.firstChild.textContent;
    return numeric ? (isNaN(found) ? null : Number(found)) : found === "–" ? null : found;
  }

  function compare(a, b) {
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  function sort(head) {
    const body = head.closest("table").tBodies[0];
    const numeric = head.classList.contains("number");
    const turned = { none: numeric ? "descending" : "ascending", ascending: "descending", descending: "ascending" };
    const order = turned[head.getAttribute("aria-sort")];
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows, (row) => [key(row, head.cellIndex, numeric), row]);
    rows.sort(function ([a], [b]) {
      return a === null || b === null ? (a === null) - (b === null) : sign * compare(a, b);
    });
    body.append(...rows.map((pair) => pair[1]));
  }
  for (const button of document.querySelectorAll("th button")) {
    button.addEventListener("click", () => sort(button.parentNode));
  }
})();
