"""The tables of a study: the best settings beside the default's, importances, the front, the test figures, and every trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertrec.pages.blocks import Cell, Column, Table
from bertrec.pages.wording import ABSENT, duration, interval, signed, with_sd
from bertrec.tuning.report.importances import Importances
from bertrec.tuning.report.view import StudyView, parameters_of, reason_of, seconds_of, state_of
from bertrec.tuning.report.wording import figure_text, setting_text, settings_text, sort_key

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FOLDED_FROM = 50
_REASON_LENGTH = 300
_UNUSED = "not used"
_BADGES = {"complete": "text", "pruned": "other", "failed": "bad", "running": "id", "waiting": "other"}


def settings_table(view: StudyView, best: FrozenTrial) -> Table:
    """Return the best trial's parameters beside the default's."""
    default = {} if view.default is None else parameters_of(view.default)
    found = parameters_of(best)
    columns = [Column("parameter"), Column(f"best, trial {best.number}")]
    rows = [[Cell(name), _setting(found, name)] for name in {**found, **default}]
    if view.default is not None:
        columns.append(Column(f"default, trial {view.default.number}"))
        rows = [[*row, _setting(default, row[0].text)] for row in rows]
    return Table("The best parameters" + (" beside the default's" if view.default else ""), columns, rows, sortable=False)


def importance_table(found: Importances) -> Table:
    """Return the share of each parameter."""
    columns = [Column("parameter"), Column("share", numeric=True)]
    rows = [[_text(name), Cell(f"{100 * share:.1f} %", share)] for name, share in found.shares.items()]
    return Table("Importance of the parameters", columns, rows, sorted_by="share", summary="The importances as a table")


def front_table(view: StudyView) -> Table:
    """Return the trials of the Pareto front with their settings."""
    columns = [Column("trial", numeric=True), *(Column(name, numeric=True) for name in view.objectives), Column("parameters")]
    rows = [[_number(trial), *_figures(trial), _text(settings_text(parameters_of(trial)))] for trial in view.front]
    return Table(f"Trials of the front, the best {view.objectives[0]} first", columns, rows)


def trials_table(view: StudyView) -> Table:
    """Return every trial, folded away where there are more than `FOLDED_FROM`; parameters that never changed are left out."""
    shown = varying(view)
    columns = [Column("trial", numeric=True), Column("state"), *(Column(name, numeric=True) for name in view.objectives)]
    columns += [Column("seconds", numeric=True), Column("reported", numeric=True)]
    columns += [Column(name, numeric=_all_numbers(view, name)) for name in shown]
    rows = [_trial_row(view, trial, shown) for trial in view.trials]
    summary = f"All {len(rows)} trials" if len(rows) > FOLDED_FROM else None
    return Table("All trials", columns, rows, summary=summary)


def failed_table(view: StudyView) -> Table:
    """Return the failed trials with their reasons."""
    columns = [Column("trial", numeric=True), Column("reason"), Column("after"), Column("parameters")]
    rows = [
        [_number(trial), Cell(_reason(trial)), _seconds(trial, duration), _text(settings_text(parameters_of(trial)))]
        for trial in view.by_state["failed"]
    ]
    return Table("Failed trials", columns, rows, sortable=False)


def test_table(test: Mapping[str, Any]) -> Table:
    """Return the test figures of the winner and, where given, of the default."""
    winner, default = test.get("metrics") or {}, test.get("default") or {}
    default = default.get("metrics", default)
    seeds = len(test.get("seeds") or [])
    columns = [Column("metric"), Column("winner", numeric=True)]
    rows = [[Cell(name), _test_figure(figure, seeds)] for name, figure in winner.items()]
    if default:
        columns += [Column("default", numeric=True), Column("winner above default", numeric=True)]
        for row, (name, figure) in zip(rows, winner.items(), strict=True):
            other = default.get(name)
            row += [_test_figure(other, seeds), Cell(signed(_difference(figure, other)))]
    return Table("Figures on the test split", columns, rows, sortable=False)


def varying(view: StudyView) -> list[str]:
    """Return the parameters that some trial sets otherwise than another, or does not use."""
    used = [parameters_of(trial) for trial in view.trials]
    different = {name: {json.dumps(one[name], default=str) if name in one else None for one in used} for name in view.parameters}
    return [name for name, values in different.items() if len(values) > 1]


def _trial_row(view: StudyView, trial: FrozenTrial, shown: Sequence[str]) -> list[Cell]:
    state, found = state_of(trial), parameters_of(trial)
    badge = Cell(state, key=state, badge=_BADGES[state], below=_marks(view, trial))
    absent = [Cell(ABSENT)] * len(view.objectives)
    # What a pruned trial last reported is no figure of a finished one: it stands among the learning curves.
    figures = _figures(trial) if state == "complete" else absent
    steps = len(trial.intermediate_values)
    cells = [_number(trial), badge, *figures, _seconds(trial, lambda value: f"{value:.1f}"), Cell(str(steps), steps)]
    return [*cells, *(_parameter(found, name) for name in shown)]


def _marks(view: StudyView, trial: FrozenTrial) -> str:
    marks = {"best": view.best is not None and trial.number == view.best.number, "default": trial is view.default}
    marks["Pareto front"] = not view.single and trial in view.front
    return ", ".join(name for name, holds in marks.items() if holds)


def _number(trial: FrozenTrial) -> Cell:
    return Cell(str(trial.number), key=trial.number)


def _figures(trial: FrozenTrial) -> list[Cell]:
    return [Cell(figure_text(value), sort_key(value)) for value in trial.values or []]


def _seconds(trial: FrozenTrial, written: Any) -> Cell:
    seconds = seconds_of(trial)
    return Cell(ABSENT) if seconds is None else Cell(written(seconds), seconds)


def _setting(found: Mapping[str, Any], name: str) -> Cell:
    return Cell(setting_text(found[name]) if name in found else _UNUSED)


def _parameter(found: Mapping[str, Any], name: str) -> Cell:
    return Cell(setting_text(found[name]), sort_key(found[name])) if name in found else Cell(ABSENT)


def _all_numbers(view: StudyView, name: str) -> bool:
    used = [parameters_of(trial) for trial in view.trials]
    return all(isinstance(sort_key(one[name]), (float, type(None))) and one[name] is not None for one in used if name in one)


def _reason(trial: FrozenTrial) -> str:
    found = " ".join((reason_of(trial) or "no reason was recorded").split())
    return found if len(found) <= _REASON_LENGTH else found[: _REASON_LENGTH - 1] + "…"


def _text(text: str) -> Cell:
    return Cell(text, key=text.casefold())


def _test_figure(figure: Mapping[str, Any] | None, seeds: int) -> Cell:
    if not figure or figure.get("mean") is None:
        return Cell(ABSENT)
    return Cell(with_sd(figure, seeds), key=float(figure["mean"]), below=interval(figure.get("ci95")))


def _difference(a: Mapping[str, Any] | None, b: Mapping[str, Any] | None) -> float | None:
    means = [None if figure is None else figure.get("mean") for figure in (a, b)]
    return None if means[0] is None or means[1] is None else float(means[0]) - float(means[1])
