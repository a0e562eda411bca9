"""Tables of what was measured: the models, the slices, and the lists' figures beside accuracy."""

from __future__ import annotations

from bertrec.comparison.report.view import View, figure, is_beyond_accuracy, mean
from bertrec.pages import wording
from bertrec.pages.blocks import Block, Cell, Chart, Column, Json, Table, Text, label

_BADGES = {"text": "text", "id": "id"}


def main_blocks(view: View) -> list[Block]:
    """Return the main table, and the remaining metrics folded away."""
    if not view.models:
        return [Text("The run had no models.")]
    blocks: list[Block] = [] if view.ranked else [Text("No model has figures.")]
    blocks += [Table("The models, best first", _main_columns(view), _main_rows(view), last=_unranked_rows(view), sorted_by=view.primary)]
    blocks += [Text(_legend(view))]
    others = [name for name in view.measured if name not in view.metrics and not is_beyond_accuracy(name)]
    return [*blocks, metric_table(view, others, "All other metrics, over all users", fold=True)] if others else blocks


def slice_blocks(view: View) -> list[Block]:
    """Return the primary metric by slice, drawn and as a table with one slice a column."""
    if not view.slices:
        return [Text("No model has figures of a slice.")]
    columns = [Column("model"), *(Column(wording.slice_name(name), numeric=True) for name in view.slices)]
    users = [Cell("users"), *(Cell(str(view.slice_users(name))) for name in view.slices)]
    rows = [[label(str(model["name"])), *(metric_cell(model, view.primary, part=name) for name in view.slices)] for model in view.ranked]
    first = columns[1].title if len(columns) > 1 else None
    meanings = wording.slice_meanings(view.slices)
    return [
        Chart("slices", f"{view.primary} by slice, with its 95 % interval; models in the order of the main table."),
        *([Text(f"{meanings[0].upper()}{meanings[1:]}")] if meanings else []),
        Table(f"{view.primary} by slice", columns, rows, last=[users], sorted_by=first),
    ]


def beyond_accuracy_blocks(view: View) -> list[Block]:
    """Return coverage, Gini and novelty beside the primary metric."""
    found = [name for name in view.measured if is_beyond_accuracy(name)]
    if not found:
        return [Text("Neither coverage nor Gini was measured.")]
    text = (
        "Coverage is the share of all items that stand in some user's list; Gini is 0 where all items are recommended equally often "
        "and near 1 where few items fill all lists. Neither is better or worse by itself: one list for everybody covers little, "
        "random lists cover all."
    )
    return [Text(text), metric_table(view, [view.primary, *found], "Lists beside accuracy")]


def metric_table(view: View, metrics: list[str], caption: str, *, fold: bool = False) -> Table:
    """Return the ranked models with some metrics over all users."""
    columns = [Column("model"), Column("family"), *(Column(name, numeric=True) for name in metrics)]
    rows = [[*_name_cells(model), *(metric_cell(model, name) for name in metrics)] for model in view.ranked]
    return Table(caption, columns, rows, sorted_by=view.primary if view.primary in metrics else None, summary=caption if fold else None)


def metric_cell(model: Json, metric: str, *, part: str = "all", mark: str = "") -> Cell:
    """Return a figure with its spread over seeds, its mark, and its interval below."""
    found = figure(model, metric, part)
    text = wording.with_sd(found, len(model.get("seeds") or []))
    below = wording.interval(found.get("ci95")) if found else ""
    return Cell(f"{text} {mark}".strip(), key=mean(model, metric, part), below=below)


def _name_cells(model: Json) -> list[Cell]:
    family = str(model.get("family") or "unknown")
    return [label(str(model["name"])), label(family, badge=_BADGES.get(family, "other"))]


def _main_columns(view: View) -> list[Column]:
    against = [Column("against the best ID model", numeric=True)] if view.best_id else []
    metrics = [Column(name, numeric=True) for name in view.metrics]
    rest = [Column("seeds", numeric=True), Column("converged"), Column("fit minutes", numeric=True), Column("peak MiB", numeric=True)]
    return [Column("model"), Column("family"), *metrics, *against, *rest]


def _main_rows(view: View) -> list[list[Cell]]:
    return [
        [*_name_cells(model), *_metric_cells(view, model), *_against_cells(view, model), *_run_cells(view, model)] for model in view.ranked
    ]


def _metric_cells(view: View, model: Json) -> list[Cell]:
    outcomes = [view.against_best_id(model, metric) for metric in view.metrics]
    return [metric_cell(model, metric, mark=found.mark if found else "") for metric, found in zip(view.metrics, outcomes, strict=True)]


def _against_cells(view: View, model: Json) -> list[Cell]:
    if view.best_id is None:
        return []
    if model["name"] == view.best_id["name"]:
        return [Cell("is the best", key=0.0)]
    found = view.against_best_id(model, view.primary)
    if found is None:
        return [Cell("not tested")]
    words = ("better" if found.difference > 0 else "worse") if found.shown else wording.NO_DIFFERENCE
    return [Cell(wording.signed(found.difference), key=found.difference, below=words)]


def _run_cells(view: View, model: Json) -> list[Cell]:
    finished, asked = len(model.get("seeds") or []), len(view.protocol.get("seeds") or [])
    fit, peak = model.get("fit_seconds"), model.get("peak_mib")
    return [
        Cell(str(finished) if finished >= asked else f"{finished} of {asked}", key=float(finished)),
        label(wording.convergence(model)),
        Cell(wording.number(None if fit is None else fit / 60, 1), key=fit),
        Cell(wording.number(peak, 0), key=peak),
    ]


def _unranked_rows(view: View) -> list[list[Cell]]:
    return [
        [*_name_cells(model), Cell(str(model.get("status") or "unknown"), below=wording.reason(model, view.primary), badge="bad")]
        for model in view.unranked
    ]


def _legend(view: View) -> str:
    base = (
        f"Ranked by {view.primary} over all users. Below each figure is its 95 % interval over users; "
        "after ± is the standard deviation over seeds."
    )
    if view.best_id is None:
        return f"{base} No ID model has figures, so nothing is marked."
    marks = (
        f"▲ better, ▼ worse than {view.best_id['name']}, the best ID model: Holm-corrected Wilcoxon p below 0.05 and an interval without 0."
    )
    return f"{base} {marks}"
