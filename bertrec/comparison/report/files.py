"""The figures for other programs and for papers: unrounded as CSV, the main table in LaTeX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bertrec.comparison.view import View, figure, mean
from bertrec.core.shown import csv_text, visible
from bertrec.pages.blocks import Json
from bertrec.pages.wording import number

_RUN = ("name", "family", "source", "status", "reason", "converged", "ended_by", "seeds")
_COST = ("fit_seconds", "search_seconds", "evaluate_seconds", "peak_mib")
_TEST = ("a", "b", "metric", "slice", "users", "difference", "low", "high", "p_t", "p_wilcoxon", "p_holm", "effect_size", "verdict")
_FIGURE = ("mean", "low", "high", "sd")
_ESCAPES = {letter: f"\\{letter}" for letter in "{}$&#_%"} | {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "–": "--", "|": r"\textbar{}", '"': "''"},
    # Such a bracket after a line break would be its optional argument.
    **{"[": "{[}", "]": "{]}"},
}
_MARKS = {"▲": r"$^{\uparrow}$", "▼": r"$^{\downarrow}$", "": ""}


def results_csv(view: View) -> str:
    """Return every model with its costs and all figures over all users; ``rank`` is empty where a model is not ranked."""
    columns = {metric: (metric, *(f"{metric} {part}" for part in _FIGURE[1:])) for metric in view.measured}
    rows = []
    for place, model in enumerate([*view.ranked, *view.unranked], start=1):
        seeds = " ".join(str(seed) for seed in model.get("seeds") or [])
        rows.append({**model, "seeds": seeds, "rank": place if place <= len(view.ranked) else None})
        for metric, names in columns.items():
            rows[-1] |= _parts(figure(model, metric), names)
    return _csv(["rank", *_RUN, *_COST, *(name for names in columns.values() for name in names)], rows)


def tests_csv(view: View) -> str:
    """Return every pairwise test."""
    return _csv(_TEST, ({**test, **_parts(test, _FIGURE)} for test in view.tests))


def slices_csv(view: View) -> str:
    """Return every figure of every slice, one per row."""
    rows = [
        {"model": model["name"], "slice": name, "users": part.get("users"), "metric": metric, **_parts(found, _FIGURE)}
        for model in [*view.ranked, *view.unranked]
        for name, part in (model.get("slices") or {}).items()
        for metric, found in (part.get("metrics") or {}).items()
    ]
    return _csv(["model", "slice", "users", "metric", *_FIGURE], rows)


def _parts(found: Json | None, names: Sequence[str]) -> dict[str, Any]:
    """Return mean, ends of the interval and standard deviation under four names."""
    found = found or {}
    return dict(zip(names, (found.get("mean"), *(found.get("ci95") or (None, None)), found.get("sd")), strict=True))


def _csv(head: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    return csv_text([list(head), *([row.get(name, "") for name in head] for row in rows)])


def latex(text: str) -> str:
    r"""Return text that LaTeX sets as it is, on one line.

    >>> latex("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(_ESCAPES.get(letter, letter) for letter in visible(" ".join(text.split())))


def latex_table(view: View) -> str:
    """Return a ``table`` environment with the ranked models; those without figures are named in a comment."""
    marks = f" Arrows: better or worse than {view.best_id['name']} (Wilcoxon, Holm-corrected, p < 0.05)." if view.best_id else ""
    caption = f"{view.data_name}, {view.protocol.get('users', 'all')} users. Best figure bold, second underlined.{marks}"
    ranks = [places([mean(model, metric) for model in view.ranked]) for metric in view.metrics]
    head = " & ".join(["Model", "Family", *(latex(name) for name in view.metrics), "Fit (min)"])
    lines = [
        r"% needs \usepackage{booktabs}",
        *(f"% not ranked: {visible(' '.join(str(model['name']).split()))} ({model.get('status')})" for model in view.unranked),
        "\\begin{table}\n\\centering",
        rf"\caption{{{latex(caption)}}}",
        rf"\begin{{tabular}}{{ll{'r' * (len(view.metrics) + 1)}}}",
        f"\\toprule\n{head} \\\\\n\\midrule",
        *(_row(view, model, placed) for model, *placed in zip(view.ranked, *ranks, strict=True)),
        "\\bottomrule\n\\end{tabular}\n\\end{table}",
    ]
    return "\n".join(lines) + "\n"


def places(values: Sequence[float | None]) -> list[int]:
    """Return 1 for the best as displayed (four decimals), 2 for the second, else 0; equals share a place.

    >>> places([0.2, 0.1, None, 0.20001])
    [1, 2, 0, 1]
    """
    shown = [None if value is None else number(value) for value in values]
    order = sorted({text for text in shown if text is not None}, key=float, reverse=True)
    return [order.index(text) + 1 if text in order[:2] else 0 for text in shown]


def _row(view: View, model: Json, placed: Sequence[int]) -> str:
    figures = []
    for metric, place in zip(view.metrics, placed, strict=True):
        text = latex(number(mean(model, metric)))
        set_as = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(place, text)
        figures.append(set_as + _MARKS[(view.against_best_id(model, metric) or (0.0, ""))[1]])
    fit = model.get("fit_seconds")
    names = [latex(str(text)) for text in (model["name"], model.get("family") or "")]
    return " & ".join([*names, *figures, latex(number(None if fit is None else fit / 60, 1))]) + r" \\"
