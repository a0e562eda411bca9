"""Write the report of a comparison into a folder, each file whole or not at all."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.comparison.report.charts_svg import svg_charts
from bertrec.comparison.report.csv_files import results_csv, slices_csv, tests_csv
from bertrec.comparison.report.latex import latex_table
from bertrec.comparison.report.markdown import markdown_report
from bertrec.comparison.report.page import html_page
from bertrec.comparison.report.view import View
from bertrec.core.errors import MissingExtraError
from bertrec.core.files import atomic_file
from bertrec.pages.document import plotly_script


def check_extras() -> None:
    """See that a report can be written, before hours are spent on what it would hold.

    Raises:
        MissingExtraError: plotly or matplotlib is not installed.
    """
    for package in ("plotly", "matplotlib"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "report")


def write_report(comparison: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a comparison as a page, as Markdown, as charts and as tables.

    Args:
        comparison: what ``comparison.json`` holds; any list of it may be empty.
        folder: is made where it is absent; files of the same names are replaced.

    Returns:
        The files: ``index.html``, ``report.md``, ``charts/*.svg`` and ``tables/*``.

    Raises:
        MissingExtraError: plotly or matplotlib is not installed; nothing is written then.
        BertrecError: a file cannot be written.
    """
    view = View(comparison)
    script = plotly_script()
    svg = svg_charts(view)
    files: dict[str, bytes] = {
        "index.html": html_page(view, svg, script).encode(),
        "report.md": markdown_report(view).encode(),
        **{f"charts/{name}.svg": chart for name, chart in svg.items()},
        "tables/results.csv": results_csv(view).encode(),
        "tables/tests.csv": tests_csv(view).encode(),
        "tables/slices.csv": slices_csv(view).encode(),
        "tables/results.tex": latex_table(view).encode(),
    }
    return [_written(Path(folder) / name, content) for name, content in files.items()]


def _written(target: Path, content: bytes) -> Path:
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)
    return target
