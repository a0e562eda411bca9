"""The sections of a report in their order, the same for the page and for the Markdown file."""

from __future__ import annotations

from bertrec.comparison.report.cautions import cautions
from bertrec.comparison.report.curves import with_curves
from bertrec.comparison.report.tables_checks import cross_check_blocks, search_blocks
from bertrec.comparison.report.tables_protocol import protocol_blocks
from bertrec.comparison.report.tables_quality import beyond_accuracy_blocks, main_blocks, slice_blocks
from bertrec.comparison.report.tables_tests import tests_blocks
from bertrec.comparison.report.view import View, not_converged
from bertrec.pages.blocks import Bullets, Chart, Section, Text
from bertrec.pages.wording import duration, names

CHARTS = ("quality_time", "slices", "curves")
_NOTHING_FINISHED = "No model finished, so there is nothing to draw."


def title(view: View) -> str:
    """Return the report's title."""
    return f"Comparison on {view.data_name}"


def verdict(view: View) -> str:
    """Return the verdict in a sentence."""
    return str(view.comparison.get("verdict") or "No verdict was recorded.")


def when(view: View) -> str:
    """Say when the run started, how long it took and over what."""
    protocol = view.protocol
    parts = [
        f"Started {str(protocol['started']).replace('T', ' ')}" if protocol.get("started") else "",
        f"took {duration(protocol['seconds'])}" if protocol.get("seconds") is not None else "",
        f"{protocol['users']} users" if protocol.get("users") is not None else "",
        f"{protocol['items']} items" if protocol.get("items") is not None else "",
        f"{len(view.ranked)} of {len(view.models)} models ranked",
    ]
    return " · ".join(part for part in parts if part)


def sections(view: View, *, all_tests: bool) -> list[Section]:
    """Return every section; ``all_tests`` shows the tests of all metrics, else those of the primary one."""
    return [
        Section("not", "What not to conclude from this page", (Bullets(cautions(view)),)),
        Section("models", "The models", main_blocks(view)),
        Section("time", "Quality against training time", _time_blocks(view)),
        Section("slices", "Slices", slice_blocks(view)),
        Section("curves", "Learning curves", _curve_blocks(view)),
        Section("tests", "Pairwise tests", tests_blocks(view, all_metrics=all_tests)),
        Section("searches", "Searches and cross-check", [*search_blocks(view), *cross_check_blocks(view)]),
        Section("beyond", "Coverage and Gini beside accuracy", beyond_accuracy_blocks(view)),
        Section("protocol", "Protocol", protocol_blocks(view)),
    ]


def _time_blocks(view: View) -> list[Text | Chart]:
    if not view.ranked:
        return [Text(_NOTHING_FINISHED)]
    caption = (
        f"{view.primary} over all users, with its 95 % interval, against the time of all training: every seed and the search included. "
        "Text models are circles, ID models are diamonds; the time axis is logarithmic."
    )
    return [Chart("quality_time", caption)]


def _curve_blocks(view: View) -> list[Text | Chart]:
    if not with_curves(view):
        return [Text("No learning curve was recorded.")]
    caption = (
        f"Validation {view.primary} against elapsed seconds of the run: a panel a model, a line a seed, all other models' lines in grey. "
        "Thin lines are settings that the search did not choose."
    )
    slow = [model for model in view.ranked if not_converged(model)]
    note = f"Not converged when training ended: {names(slow)}." if slow else "No ranked model was stopped before it had converged."
    return [Chart("curves", caption), Text(note)]
