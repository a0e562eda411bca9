"""The report of a comparison run: one HTML page, the same in Markdown, charts as SVG and tables as CSV and LaTeX."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.comparison.report.content import document
from bertrec.comparison.report.files import latex_table, results_csv, slices_csv, tests_csv
from bertrec.comparison.view import View
from bertrec.core.errors import MissingExtraError
from bertrec.pages.render import write_document

__all__ = ["check_extras", "write_report"]


def check_extras() -> None:
    """See that a report can be written, before hours are spent on what it would hold.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "report")


def write_report(comparison: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a comparison as a page, as Markdown, as charts and as tables.

    Args:
        comparison: what ``comparison.json`` holds; any list of it may be empty.
        folder: is made where it is absent; files of the same names are replaced.

    Returns:
        The files: ``index.html``, ``report.md``, ``charts/*.svg`` and ``tables/*``; a chart without anything to draw is left out.

    Raises:
        MissingExtraError: matplotlib is not installed; nothing is written then.
        BertrecError: a file cannot be written.
    """
    view = View(comparison)
    tables = {"results.csv": results_csv, "tests.csv": tests_csv, "slices.csv": slices_csv, "results.tex": latex_table}
    return write_document(document(view), folder, {f"tables/{name}": made(view) for name, made in tables.items()})
