"""The sections of a report in their order, the same for the page and for the Markdown file, and what not to conclude from them."""

from __future__ import annotations

from functools import partial

from bertrec.comparison.report import charts, tables
from bertrec.comparison.view import SLICES, View, not_converged
from bertrec.pages.blocks import Block, Chart, Document, Json, Section
from bertrec.pages.wording import duration, listed, values_tables

_TESTS = (
    "The difference is a minus b, paired over users, with its bootstrap 95 % interval. p (Holm) is the Wilcoxon p corrected for the "
    "number of comparisons; the effect size is Cohen's d of the differences."
)
_CROSS_CHECK = (
    "RecBole's own evaluation of its models beside ours on the same scores. The two may differ where users have tied scores: "
    "ours places the target last among equals."
)
_BEYOND = (
    "Coverage is the share of all items that stand in some user's list; Gini is 0 where all items are recommended equally often "
    "and near 1 where few items fill all lists. Neither is better or worse by itself: one list for everybody covers little, "
    "random lists cover all."
)


def document(view: View) -> Document:
    """Return the whole report."""
    searches, check, tests = tables.search_tables(view), tables.check_table(view), tables.test_tables(view)
    unsearched = "" if searches else "No model's settings were searched: each was trained with the settings given."
    checked = [_CROSS_CHECK, check] if check.rows else ["No RecBole model was cross-checked."]
    protocol = values_tables("What the figures were measured under", view.protocol, {"versions": "Versions", "machine": "Machine"})
    sections = [
        Section("not", "What not to conclude from this page", [cautions(view)]),
        Section("models", "The models", _models(view)),
        Section("time", "Quality against training time", _time(view)),
        Section("slices", "Slices", _slices(view)),
        Section("curves", "Learning curves", _curves(view)),
        Section("tests", "Pairwise tests", [_TESTS, *tests] if tests else ["No two models were tested against one another."]),
        Section("searches", "Searches and cross-check", [unsearched, *searches, *checked]),
        Section("beyond", "Coverage and Gini beside accuracy", _beyond(view)),
        Section("protocol", "Protocol", protocol or ["No protocol was recorded."]),
    ]
    return Document(f"Comparison on {view.data_name}", view.verdict, _when(view), sections)


def _when(view: View) -> str:
    protocol = view.protocol
    parts = {
        "started": lambda value: f"Started {str(value).replace('T', ' ')}",
        "seconds": lambda value: f"took {duration(value)}",
        "users": lambda value: f"{value} users",
        "items": lambda value: f"{value} items",
    }
    known = [said(protocol[name]) for name, said in parts.items() if protocol.get(name) is not None]
    return " · ".join([*known, f"{len(view.ranked)} of {len(view.models)} models ranked"])


def _models(view: View) -> list[Block]:
    if not view.models:
        return ["The run had no models."]
    others = [name for name in view.measured if name not in view.metrics and not _is_beyond(name)]
    rest = tables.metric_table(view, others, "All other metrics, over all users", fold=True) if others else None
    return ["" if view.ranked else "No model has figures.", tables.main_table(view), _legend(view), rest]


def _legend(view: View) -> str:
    base = (
        f"Ranked by {view.primary} over all users. Below each figure is its 95 % interval over users; "
        "after ± is the standard deviation over seeds."
    )
    if view.best_id is None:
        return f"{base} No ID model has figures, so nothing is marked."
    name = view.best_id["name"]
    return f"{base} ▲ better, ▼ worse than {name}, the best ID model: Holm-corrected Wilcoxon p below 0.05 and an interval without 0."


def _time(view: View) -> list[Block]:
    if not charts.timed(view):
        return ["No model has both a figure and a training time, so there is nothing to draw."]
    caption = (
        f"{view.primary} over all users, with its 95 % interval, against the time of all training: every seed and the search included. "
        "Text models are circles, ID models are diamonds; the time axis is logarithmic. The names stand in the order of the main table."
    )
    return [Chart("quality_time", caption, partial(charts.quality_time, view))]


def _slices(view: View) -> list[Block]:
    if not view.ranked:
        return ["No model has figures of a slice."]
    caption = f"{view.primary} by slice, with its 95 % interval; models in the order of the main table."
    meanings = "; ".join(f"{view.slice_title(name)}: {SLICES[name]}" for name in view.slices if name in SLICES)
    said = f"{meanings[0].upper()}{meanings[1:]}." if meanings else ""
    return [Chart("slices", caption, partial(charts.slices, view)), said, tables.slice_table(view)]


def _curves(view: View) -> list[Block]:
    if not charts.with_curves(view):
        return ["No learning curve was recorded."]
    caption = (
        f"Validation {view.primary} against elapsed seconds of the run: a panel per model, a line per seed, "
        "all other models' lines in grey. Thin lines are settings that the search did not choose."
    )
    slow = [model for model in view.ranked if not_converged(model)]
    note = f"Not converged when training ended: {_listed(slow)}." if slow else "No ranked model was stopped before it had converged."
    return [Chart("curves", caption, partial(charts.curves, view)), note]


def _beyond(view: View) -> list[Block]:
    found = [name for name in view.measured if _is_beyond(name)]
    if not found:
        return ["Neither coverage nor Gini was measured."]
    return [_BEYOND, tables.metric_table(view, [view.primary, *found], "Lists beside accuracy")]


def _is_beyond(metric: str) -> bool:
    # Figures of the lists, not of the hits: they stand beside accuracy and never rank a model.
    return metric.split("@")[0] in ("Coverage", "Gini", "Novelty")


def cautions(view: View) -> list[str]:
    """Return one sentence per false conclusion; those that do not apply are left out."""
    untested = (
        "That models are equally good where no difference is shown: there may be too few users to see one. "
        "Nor are overlapping intervals a test: the pairwise tests are."
        if len(view.ranked) > 1
        else "That a model is better than another: fewer than two models have figures."
    )
    lost = f"Anything about {_listed(view.unranked)}: without valid figures they are neither good nor bad." if view.unranked else ""
    elsewhere = f"That the order holds elsewhere: it was measured on {view.data_name}, under this one split and protocol."
    found = [elsewhere, untested, lost, *_cautions_of_figures(view)] if view.ranked else [untested, lost]
    return [sentence for sentence in found if sentence]


def _cautions_of_figures(view: View) -> list[str]:
    stopped = [model for model in view.ranked if not_converged(model)]
    differing = [model for model in view.ranked if (model.get("cross_check") or {}).get("agrees") is False]
    once = max(len(model.get("seeds") or []) for model in view.ranked) < 2
    cold = "cold_items" in view.slices and view.slice_users("cold_items") > 0
    cores = (view.protocol.get("machine") or {}).get("cores")
    return [
        f"What {_listed(stopped)} could reach with more time: training ended before it had converged." if stopped else "",
        "That another seed gives the same figures: each model was trained once. The intervals cover the choice of users only."
        if once
        else "That the intervals cover training noise: they cover the choice of users. The spread over seeds is the figure after ±.",
        "" if cold else "Anything about new items: no test target was absent from training.",
        f"That times carry over: they are of this machine{f' ({cores} cores)' if cores else ''}, and the settings tried are those that "
        "the budget allowed.",
        f"That our figures for {_listed(differing)} are RecBole's: where scores tie, the two order equals differently, see the cross-check."
        if differing
        else "",
    ]


def _listed(models: list[Json]) -> str:
    return listed([str(model["name"]) for model in models])
