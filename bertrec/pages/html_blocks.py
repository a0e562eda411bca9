"""Blocks as HTML. Every text passes `html.escape` here and nowhere else."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from bertrec.pages.blocks import Block, Bullets, Cell, Chart, Column, Table, Text
from bertrec.pages.drawing import Panel


def embedded_json(value: Any) -> str:
    r"""Return JSON that may stand in a ``<script>``: no ``<`` is left that could close it or open a comment.

    >>> print(embedded_json("</script>"))
    "\u003c/script>"
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")


def block_html(block: Block, drawn: Mapping[str, Sequence[Panel]], svg: Mapping[str, bytes]) -> str:
    """Return one block as HTML; charts are looked up by name among ``drawn`` panels and ``svg`` bytes."""
    if isinstance(block, Text):
        return f"<p>{escape(block.text)}</p>"
    if isinstance(block, Bullets):
        return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in block.items)}</ul>"
    if isinstance(block, Chart):
        return _chart_html(block, drawn[block.name], svg[block.name])
    return table_html(block)


def table_html(table: Table) -> str:
    """Return a table in a box that scrolls by itself, folded away where it has a summary."""
    head = "".join(_head_cell(column, table) for column in table.columns)
    body = "".join(_row_html(row, table.columns) for row in table.rows)
    last = f'<tbody class="last">{"".join(_row_html(row, table.columns, span=True) for row in table.last)}</tbody>' if table.last else ""
    name = escape(table.caption)
    kind = "" if table.sortable else ' class="plain"'
    inner = f"<table{kind}><caption>{name}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody>{last}</table>"
    box = f'<div class="scroll" role="region" aria-label="{name}" tabindex="0">{inner}</div>'
    return box if table.summary is None else f"<details><summary>{escape(table.summary)}</summary>{box}</details>"


def _head_cell(column: Column, table: Table) -> str:
    kind = ' class="number"' if column.numeric else ""
    if not table.sortable:
        return f'<th scope="col"{kind}>{escape(column.title)}</th>'
    order = "descending" if column.title == table.sorted_by else "none"
    return f'<th scope="col"{kind} aria-sort="{order}"><button type="button">{escape(column.title)}</button></th>'


def _row_html(row: Sequence[Cell], columns: Sequence[Column], *, span: bool = False) -> str:
    cells = [_cell_html(cell, column, head=place == 0) for place, (cell, column) in enumerate(zip(row, columns, strict=False))]
    missing = len(columns) - len(row)
    if span and missing:
        cells[-1] = f'<td colspan="{missing + 1}">{_content(row[-1])}</td>'
    return f"<tr>{''.join(cells)}</tr>"


def _cell_html(cell: Cell, column: Column, *, head: bool) -> str:
    key = "" if cell.key is None else f' data-key="{escape(str(cell.key))}"'
    kind = ' class="number"' if column.numeric else ""
    opening, name = ('th scope="row"', "th") if head else ("td", "td")
    return f"<{opening}{kind}{key}>{_content(cell)}</{name}>"


def _content(cell: Cell) -> str:
    text = escape(cell.text)
    if cell.badge:
        text = f'<span class="badge {escape(cell.badge)}">{text}</span>'
    return text + (f"<small>{escape(cell.below)}</small>" if cell.below else "")


def _chart_html(chart: Chart, drawn: Sequence[Panel], svg: bytes) -> str:
    """Return the live chart and the still one, which print and readers without scripts see."""
    kind = "panels" if drawn and drawn[0].title else "single"
    inner = "".join(_panel_html(chart.name, number, panel) for number, panel in enumerate(drawn))
    still = f"data:image/svg+xml;base64,{base64.b64encode(svg).decode('ascii')}"
    image = f'<img class="still" alt="{escape(chart.caption)}" src="{still}">'
    return f'<figure><figcaption>{escape(chart.caption)}</figcaption><div class="live {kind}">{inner}</div>{image}</figure>'


def _panel_html(name: str, number: int, panel: Panel) -> str:
    heading = f"<h3>{escape(panel.title)}</h3>" if panel.title else ""
    said = f'role="img" aria-label="{escape(panel.description)}"'
    return f'<div class="panel">{heading}<div class="chart" data-figure="{name}-{number}" {said}></div></div>'
