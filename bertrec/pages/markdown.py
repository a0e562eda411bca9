"""A report in Markdown, from the same blocks as its page."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bertrec.pages.blocks import Block, Bullets, Cell, Chart, Section, Table, Text

# A bracket needs it only where it would make a link: intervals stay legible in the file itself.
_SPECIAL = re.compile(r"([\\`*_|~$]|\](?=[(\[:]))")


def markdown_document(title: str, verdict: str, when: str, parts: Sequence[Section]) -> str:
    """Return any report of sections; its charts are looked for beside it, as ``charts/NAME.svg``."""
    head = [f"# {escaped(title)}", f"**{escaped(verdict)}**", escaped(when)]
    return "\n\n".join([*(text for text in head if text), *(_section(section) for section in parts if section.blocks)]) + "\n"


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line; no HTML of it survives.

    >>> print(escaped("a|b <i>"))
    a\|b &lt;i&gt;
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def _section(section: Section) -> str:
    return "\n\n".join([f"## {escaped(section.title)}", *(_block(block) for block in section.blocks)])


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return escaped(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {escaped(item)}" for item in block.items)
    if isinstance(block, Chart):
        return f"![{escaped(block.caption)}](charts/{block.name}.svg)\n\n{escaped(block.caption)}"
    return f"{escaped(block.summary or block.caption)}:\n\n{_table(block)}"


def _table(table: Table) -> str:
    head = _line([escaped(column.title) for column in table.columns])
    rule = _line(["---:" if column.numeric else "---" for column in table.columns])
    rows = [_row(row, len(table.columns)) for row in [*table.rows, *table.last]]
    return "\n".join([head, rule, *rows])


def _row(row: Sequence[Cell], columns: int) -> str:
    cells = [escaped(f"{cell.text} {cell.below}".strip()) for cell in row]
    return _line([*cells, *[""] * (columns - len(cells))])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
