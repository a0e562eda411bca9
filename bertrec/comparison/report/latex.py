"""The main table in LaTeX, for a paper: booktabs, the best figure bold, the second underlined."""

from __future__ import annotations

from collections.abc import Sequence

from bertrec.comparison.report.view import View, mean
from bertrec.pages.blocks import Json
from bertrec.pages.wording import number

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "–": "--",
}
_MARKS = {"▲": r"$^{\uparrow}$", "▼": r"$^{\downarrow}$", "": ""}


def escaped(text: str) -> str:
    r"""Return text that LaTeX sets as it is, on one line.

    >>> escaped("50% of a_b")
    '50\\% of a\\_b'
    """
    return "".join(_SPECIAL.get(letter, letter) for letter in " ".join(text.split()))


def latex_table(view: View) -> str:
    """Return a ``table`` environment with the ranked models; those without figures are named in a comment."""
    columns = "ll" + "r" * (len(view.metrics) + 1)
    head = " & ".join(["Model", "Family", *(escaped(name) for name in view.metrics), "Fit (min)"])
    lines = [
        "% needs \\usepackage{booktabs}",
        *(f"% not ranked: {' '.join(str(model['name']).split())} ({model.get('status')})" for model in view.unranked),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_caption(view)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *_rows(view),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
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


def _caption(view: View) -> str:
    marks = f" Arrows: better or worse than {view.best_id['name']} (Wilcoxon, Holm-corrected, p < 0.05)." if view.best_id else ""
    return escaped(f"{view.data_name}, {view.protocol.get('users', 'all')} users. Best figure bold, second underlined.{marks}")


def _rows(view: View) -> list[str]:
    ranks = {metric: places([mean(model, metric) for model in view.ranked]) for metric in view.metrics}
    return [_row(view, model, [ranks[metric][row] for metric in view.metrics]) for row, model in enumerate(view.ranked)]


def _row(view: View, model: Json, ranks: Sequence[int]) -> str:
    figures = [_figure(view, model, metric, rank) for metric, rank in zip(view.metrics, ranks, strict=True)]
    fit = model.get("fit_seconds")
    minutes = number(None if fit is None else fit / 60, 1)
    return " & ".join([*(escaped(str(text)) for text in (model["name"], model.get("family") or "")), *figures, escaped(minutes)]) + r" \\"


def _figure(view: View, model: Json, metric: str, rank: int) -> str:
    text = escaped(number(mean(model, metric)))
    outcome = view.against_best_id(model, metric)
    set_as = {1: rf"\textbf{{{text}}}", 2: rf"\underline{{{text}}}"}.get(rank, text)
    return set_as + _MARKS[outcome.mark if outcome else ""]
