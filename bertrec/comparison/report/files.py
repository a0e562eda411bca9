"""The figures for other programs and for papers: unrounded as CSV, the main table in LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertrec.comparison.report.view import View, figure, mean
from bertrec.pages.blocks import Json
from bertrec.pages.wording import number

_RUN = ("name", "family", "source", "status", "reason", "converged", "ended_by", "seeds")
_COST = ("fit_seconds", "search_seconds", "evaluate_seconds", "peak_mib")
_TEST = ("a", "b", "metric", "slice", "users", "difference", "low", "high", "p_t", "p_wilcoxon", "p_holm", "effect_size", "verdict")
_SLICE = ("model", "slice", "users", "metric", "mean", "low", "high", "sd")
_ESCAPES = {letter: f"\\{letter}" for letter in "{}$&#_%"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
}
_MARKS = {"▲": r"$^{\uparrow}$", "▼": r"$^{\downarrow}$", "": ""}
_TABLE = r"""% needs \usepackage{{booktabs}}
{lost}\begin{{table}}
\centering
\caption{{{caption}}}
\begin{{tabular}}{{{columns}}}
\toprule
{head} \\
\midrule
{rows}\bottomrule
\end{{tabular}}
\end{{table}}
"""


def results_csv(view: View) -> str:
    """Return every model with its costs and all figures over all users; ``rank`` is empty where a model is not ranked."""
    ranks = {id(model): place for place, model in enumerate(view.ranked, start=1)}
    figures = [f"{metric}{part}" for metric in view.measured for part in ("", " low", " high", " sd")]
    rows = []
    for model in [*view.ranked, *view.unranked]:
        seeds = " ".join(str(seed) for seed in model.get("seeds") or [])
        row = {**model, "rank": ranks.get(id(model)), "seeds": seeds}
        for metric in view.measured:
            row |= {f"{metric}{part}".removesuffix(" mean"): value for part, value in _parts(figure(model, metric), " ").items()}
        rows.append(row)
    return _csv(["rank", *_RUN, *_COST, *figures], rows)


def tests_csv(view: View) -> str:
    """Return every pairwise test."""
    return _csv(_TEST, ({**test, **_ends(test)} for test in view.tests))


def slices_csv(view: View) -> str:
    """Return every figure of every slice, one a row."""
    parts = [
        {"model": model["name"], "slice": name, "users": part.get("users"), "metric": metric, **_parts(found)}
        for model in [*view.ranked, *view.unranked]
        for name, part in (model.get("slices") or {}).items()
        for metric, found in (part.get("metrics") or {}).items()
    ]
    return _csv(_SLICE, parts)


def _parts(found: Json | None, prefix: str = "") -> dict[str, Any]:
    found = found or {}
    return {f"{prefix}{name}": value for name, value in {"mean": found.get("mean"), **_ends(found), "sd": found.get("sd")}.items()}


def _ends(found: Json) -> dict[str, Any]:
    low, high = found.get("ci95") or (None, None)
    return {"low": low, "high": high}


def _csv(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, head, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def latex(text: str) -> str:
    r"""Return text that LaTeX sets as it is, on one line.

    >>> latex("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in " ".join(text.split()))


def latex_table(view: View) -> str:
    """Return a ``table`` environment by booktabs with the ranked models, the best figure bold, the second underlined.

    Models without figures are named in a comment.
    """
    marks = f" Arrows: better or worse than {view.best_id['name']} (Wilcoxon, Holm-corrected, p < 0.05)." if view.best_id else ""
    caption = f"{view.data_name}, {view.protocol.get('users', 'all')} users. Best figure bold, second underlined.{marks}"
    ranks = {metric: places([mean(model, metric) for model in view.ranked]) for metric in view.metrics}
    rows = [_row(view, model, {metric: ranks[metric][row] for metric in view.metrics}) for row, model in enumerate(view.ranked)]
    return _TABLE.format(
        lost="".join(f"% not ranked: {' '.join(str(model['name']).split())} ({model.get('status')})\n" for model in view.unranked),
        caption=latex(caption),
        columns="ll" + "r" * (len(view.metrics) + 1),
        head=" & ".join(["Model", "Family", *(latex(name) for name in view.metrics), "Fit (min)"]),
        rows="".join(rows),
    )


def places(values: Sequence[float | None]) -> list[int]:
    """Return 1 for the best as displayed (four decimals), 2 for the second, else 0; equals share a place.

    >>> places([0.2, 0.1, None, 0.20001])
    [1, 2, 0, 1]
    """
    shown = [None if value is None else number(value) for value in values]
    order = sorted({text for text in shown if text is not None}, key=float, reverse=True)
    return [order.index(text) + 1 if text in order[:2] else 0 for text in shown]


def _row(view: View, model: Json, ranks: Mapping[str, int]) -> str:
    fit = model.get("fit_seconds")
    minutes = number(None if fit is None else fit / 60, 1)
    names = [latex(str(text)) for text in (model["name"], model.get("family") or "")]
    return " & ".join([*names, *(_figure(view, model, metric, rank) for metric, rank in ranks.items()), latex(minutes)]) + " \\\\\n"


def _figure(view: View, model: Json, metric: str, rank: int) -> str:
    text = latex(number(mean(model, metric)))
    set_as = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(rank, text)
    return set_as + _MARKS[(view.against_best_id(model, metric) or (0.0, ""))[1]]
