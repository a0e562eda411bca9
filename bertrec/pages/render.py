"""A report as files: one HTML page that needs no network, the same in Markdown, and its charts as SVG in both."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from bertrec.core.files import atomic_file
from bertrec.core.shown import visible
from bertrec.pages.blocks import Chart, Document, Table
from bertrec.pages.charts import DARK, LIGHT, inline_svg, svg_bytes, svg_style

# A bracket needs it only where it would make a link: intervals stay legible in the file itself.
_SPECIAL = re.compile(r"([\\`*_|~$]|\](?=[(\[:])|:(?=//)|(?<=\bwww)\.)")
_LEADING = re.compile(r"^(\d*)([#+\-.)])(?=#*\s)")  # of a heading or a list


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
    with svg_style() if charts else nullcontext():
        svg = {chart.name: visible(svg_bytes(chart.draw()).decode(), keep="\n\t") for chart in charts}
    files = {"index.html": rendered(document, "page.html", svg), "report.md": rendered(document, "page.md", svg)}
    files |= {f"charts/{name}.svg": text for name, text in svg.items()} | dict(more or {})
    for name, text in files.items():
        with atomic_file(Path(folder) / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    return [Path(folder) / name for name in files]


def rendered(document: Document, template: str, svg: Mapping[str, str]) -> str:
    """Return a report as text by a template beside this file; ``svg`` holds its charts by name."""
    from jinja2 import Environment, FileSystemLoader

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=template.endswith("html"), trim_blocks=True, lstrip_blocks=True)
    environment.finalize = _shown
    environment.tests |= {"chart": lambda block: isinstance(block, Chart), "table": lambda block: isinstance(block, Table)}
    environment.filters |= {"inline": inline_svg, "md": escaped}
    return environment.get_template(template).render(document=document, svg=svg, light=LIGHT, dark=DARK)


def _shown(value: Any) -> Any:
    """Make visible what a browser or a terminal would obey; what is of type str alone comes from the data."""
    return visible(value, keep="\n\t") if type(value) is str else value


def escaped(text: str) -> str:
    r"""Return text that Markdown shows as it is, on one line; no HTML of it survives.

    >>> print(escaped("a|b <i>"))
    a\|b &lt;i&gt;
    """
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LEADING.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))
