"""A report as files: one HTML page that needs no network, the same in Markdown, and its charts as SVG in both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bertrec.core.files import atomic_file
from bertrec.pages.blocks import Block, Cell, Chart, Document, Table
from bertrec.pages.charts import DARK, LIGHT, drawn, inline_svg

_HERE = Path(__file__).parent
# A bracket needs it only where it would make a link: intervals stay legible in the file itself.
_SPECIAL = re.compile(r"([\\`*_|~$]|\](?=[(\[:]))")


def write_document(document: Document, folder: str | Path, more: Mapping[str, str] | None = None) -> list[Path]:
    """Write a report into a folder, each file whole or not at all.

    Args:
        document: the report.
        folder: is made where it is absent; files of the same names are replaced.
        more: further files, text by path in the folder.

    Returns:
        ``index.html``, ``report.md``, ``charts/*.svg``, then ``more``.

    Raises:
        MissingExtraError: there is a chart and matplotlib is not installed; nothing is written then.
        BertrecError: a file cannot be written.
    """
    charts = [block for section in document.sections for block in section.blocks if isinstance(block, Chart)]
    svg = drawn({chart.name: chart.draw for chart in charts})
    files = {"index.html": html_page(document, svg), "report.md": markdown_text(document)}
    files |= {f"charts/{name}.svg": text for name, text in svg.items()} | dict(more or {})
    for name, text in files.items():
        with atomic_file(Path(folder) / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    return [Path(folder) / name for name in files]


def html_page(document: Document, svg: Mapping[str, str]) -> str:
    """Return the page; ``svg`` holds its charts by name."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests |= {"chart": lambda block: isinstance(block, Chart), "table": lambda block: isinstance(block, Table)}
    resources = {name: (_HERE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    inline = {chart: inline_svg(text, chart) for chart, text in svg.items()}
    return environment.get_template("page.html").render(document=document, svg=inline, light=LIGHT, dark=DARK, **resources)


def markdown_text(document: Document) -> str:
    """Return the report in Markdown; its charts are looked for beside it, as ``charts/NAME.svg``."""
    parts = [f"# {escaped(document.title)}", f"**{escaped(document.verdict)}**" if document.verdict else "", escaped(document.when)]
    for section in document.sections:
        blocks = [_block(block) for block in section.blocks if block]
        parts += [f"## {escaped(section.title)}", *blocks] if blocks else []
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line; no HTML of it survives.

    >>> print(escaped("a|b <i>"))
    a\|b &lt;i&gt;
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", line)


def _block(block: Block) -> str:
    if isinstance(block, Table):
        return "" if block.page_only else f"{escaped(block.summary or block.caption)}:\n\n{_table(block)}"
    if isinstance(block, Chart):
        return f"![{escaped(block.caption)}](charts/{block.name}.svg)\n\n{escaped(block.caption)}"
    return escaped(block) if isinstance(block, str) else "\n".join(f"- {escaped(item)}" for item in block or [])


def _table(table: Table) -> str:
    rule = ["---:" if numeric else "---" for _, numeric in table.heads]
    rows = [[_cell(cell) for cell in table.cells(row)] for row in [*table.rows, *table.last]]
    return "\n".join(_line(row, len(rule)) for row in ([escaped(title) for title in table.columns], rule, *rows))


def _cell(cell: Cell) -> str:
    return escaped(f"{cell.text} {cell.below}".strip())


def _line(cells: Sequence[str], columns: int) -> str:
    return f"| {' | '.join([*cells, *[''] * (columns - len(cells))])} |"
