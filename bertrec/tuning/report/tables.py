"""The tables of a study: the best settings beside the default's, importances, the front, the test figures, and every trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bertrec.pages.blocks import Cell, Row, Table, label
from bertrec.pages.wording import ABSENT, duration, figure_cell, figure_text, one_line, setting_cell, setting_text, settings_text, signed
from bertrec.tuning.study_view import StudyView, parameters_of, reason_of, seconds_of, state_of

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

FOLDED_FROM = 50
_BADGES = {"complete": "text", "pruned": "other", "failed": "bad", "running": "id", "waiting": "other"}


def settings_table(view: StudyView, best: FrozenTrial) -> Table:
    """Return the best trial's parameters beside the default's."""
    shown = {f"best, trial {best.number}": parameters_of(best)}
    if view.default is not None:
        shown[f"default, trial {view.default.number}"] = parameters_of(view.default)
    names = dict.fromkeys(name for found in shown.values() for name in found)
    rows = [[name, *(setting_text(found[name]) if name in found else "not used" for found in shown.values())] for name in names]
    return Table("The best parameters" + (" beside the default's" if view.default else ""), ["parameter", *shown], rows, sortable=False)


def importance_table(shares: Mapping[str, float]) -> Table:
    """Return the share of each parameter."""
    rows = [[name, Cell(f"{100 * share:.1f} %", share)] for name, share in shares.items()]
    summary = "The importances as a table"
    return Table("Importance of the parameters", ["parameter", "share"], rows, sorted_by="share", summary=summary)


def front_table(view: StudyView) -> Table:
    """Return the trials of the Pareto front with their settings."""
    rows = [[_number(trial), *_figures(trial), _settings(trial)] for trial in view.front]
    return Table(f"Trials of the front, the best {view.objectives[0]} first", ["trial", *view.objectives, "parameters"], rows)


def trials_table(view: StudyView) -> Table:
    """Return every trial, folded away where there are more than `FOLDED_FROM`; parameters that never changed are left out."""
    columns = ["trial", "state", *view.objectives, "seconds", "reported", *view.varying]
    rows = [_trial_row(view, trial) for trial in view.trials]
    return Table("All trials", columns, rows, summary=f"All {len(rows)} trials" if len(rows) > FOLDED_FROM else None)


def _trial_row(view: StudyView, trial: FrozenTrial) -> Row:
    state, used, seconds = state_of(trial), parameters_of(trial), seconds_of(trial)
    marks = {"best": trial is view.best, "default": trial is view.default, "Pareto front": not view.single and trial in view.front}
    below = ", ".join(name for name, holds in marks.items() if holds)
    # What a pruned trial last reported is no figure of a finished one: it stands among the learning curves.
    figures = _figures(trial) if state == "complete" else [Cell(ABSENT)] * len(view.objectives)
    steps = len(trial.intermediate_values)
    costs = [Cell(ABSENT) if seconds is None else Cell(f"{seconds:.1f}", seconds), Cell(str(steps), steps)]
    settings = [setting_cell(used[name]) if name in used else Cell(ABSENT) for name in view.varying]
    return [_number(trial), label(state, below=below, badge=_BADGES[state]), *figures, *costs, *settings]


def failed_table(view: StudyView) -> Table:
    """Return the failed trials with their reasons."""
    trials = [(trial, one_line(reason_of(trial) or "no reason was recorded")) for trial in view.by_state["failed"]]
    rows = [[_number(trial), reason, duration(seconds_of(trial)), _settings(trial)] for trial, reason in trials]
    return Table("Failed trials", ["trial", "reason", "after", "parameters"], rows, sortable=False)


def test_table(test: Mapping[str, Any]) -> Table:
    """Return the test figures of the winner and, where given, of the default."""
    winner, default = test.get("metrics") or {}, test.get("default") or {}
    default, seeds = default.get("metrics", default), len(test.get("seeds") or [])
    rows = []
    for name, figure in winner.items():
        cells = [figure_cell(figure, seeds), *([figure_cell(default.get(name), seeds)] if default else [])]
        known = [float(cell.key) for cell in cells if cell.key is not None]
        difference = known[0] - known[1] if len(known) > 1 else None
        rows.append([name, *cells, *([Cell(signed(difference), difference)] if default else [])])
    return Table(
        "Figures on the test split", ["metric", "winner", *(["default", "winner above default"] if default else [])], rows, sortable=False
    )


def _number(trial: FrozenTrial) -> Cell:
    return Cell(str(trial.number), trial.number)


def _figures(trial: FrozenTrial) -> list[Cell]:
    return [Cell(figure_text(value), setting_cell(value).key) for value in trial.values or []]


def _settings(trial: FrozenTrial) -> str:
    return settings_text(parameters_of(trial), none="no parameters")
