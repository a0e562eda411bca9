"""The figures as CSV, unrounded: one row a model, a test, or a figure of a slice."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from bertrec.comparison.report.tables_tests import ordered_tests
from bertrec.comparison.report.view import View, figure
from bertrec.pages.blocks import Json

_RUN = ("name", "family", "source", "status", "reason", "converged", "ended_by")
_COST = ("fit_seconds", "search_seconds", "evaluate_seconds", "peak_mib")
_TEST = ("a", "b", "metric", "slice", "users", "difference", "low", "high", "p_t", "p_wilcoxon", "p_holm", "effect_size", "verdict")


def results_csv(view: View) -> str:
    """Return every model with its costs and all figures over all users; ``rank`` is empty where a model is not ranked."""
    figures = [f"{metric}{part}" for metric in view.measured for part in ("", " low", " high", " sd")]
    head = ["rank", *_RUN, "seeds", *_COST, *figures]
    ranks = {id(model): place for place, model in enumerate(view.ranked, start=1)}
    rows = ([ranks.get(id(model)), *_run(model), *_figures(view, model)] for model in [*view.ranked, *view.unranked])
    return _text(head, rows)


def tests_csv(view: View) -> str:
    """Return every pairwise test."""
    return _text(_TEST, ([_test(test, name) for name in _TEST] for test in ordered_tests(view)))


def slices_csv(view: View) -> str:
    """Return every figure of every slice, one a row."""
    return _text(["model", "slice", "users", "metric", "mean", "low", "high", "sd"], _slice_rows(view))


def _slice_rows(view: View) -> Iterable[Sequence[Any]]:
    for model in [*view.ranked, *view.unranked]:
        for name, part in (model.get("slices") or {}).items():
            for metric, found in (part.get("metrics") or {}).items():
                yield [model["name"], name, part.get("users"), metric, *_parts(found)]


def _run(model: Json) -> list[Any]:
    seeds = " ".join(str(seed) for seed in model.get("seeds") or [])
    return [*(model.get(name) for name in _RUN), seeds, *(model.get(name) for name in _COST)]


def _figures(view: View, model: Json) -> list[Any]:
    return [part for metric in view.measured for part in _parts(figure(model, metric))]


def _parts(found: Json | None) -> list[Any]:
    if found is None:
        return [None] * 4
    low, high = found.get("ci95") or (None, None)
    return [found.get("mean"), low, high, found.get("sd")]


def _test(test: Json, name: str) -> Any:
    low, high = test.get("ci95") or (None, None)
    return {"low": low, "high": high}.get(name, test.get(name))


def _text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return stream.getvalue()
