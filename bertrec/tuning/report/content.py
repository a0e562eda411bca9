"""The sections of the report in their order, the same for the page and for the Markdown file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bertrec.pages.blocks import Block, Bullets, Chart, Section, Text
from bertrec.pages.drawing import Panel
from bertrec.pages.values import values_table
from bertrec.tuning.report import sentences, tables
from bertrec.tuning.report.charts_front import front
from bertrec.tuning.report.charts_parameters import importance_bars, parallel, slices
from bertrec.tuning.report.charts_trials import curves, history, reports_chunks, times
from bertrec.tuning.report.importances import Importances, parameter_importances
from bertrec.tuning.report.scales import varied_scales
from bertrec.tuning.report.view import StudyView, parameters_of
from bertrec.tuning.report.wording import counted, settings_text

_NOTHING = "No completed trial, so there is nothing to draw."
# Parts of `about` that stand in tables of their own; the test figures have a section.
_APART = {"space": "The search space", "versions": "Versions", "machine": "Machine"}


@dataclass(frozen=True)
class Content:
    """All that both files are made of.

    Attributes:
        sections: in order.
        drawn: the panels of each chart that a section names.
    """

    sections: list[Section]
    drawn: Mapping[str, list[Panel]]


def content(view: StudyView) -> Content:
    """Return the sections and the charts of a study."""
    importances = parameter_importances(view)
    first = list(importances.shares)
    drawn = {
        "front": front(view),
        "history": history(view),
        "importances": importance_bars(importances),
        "slices": slices(view, first),
        "parallel": parallel(view, first),
        "curves": curves(view),
        "times": times(view),
    }
    drawn = {name: panels for name, panels in drawn.items() if panels}
    return Content(_sections(view, importances, drawn), drawn)


def _sections(view: StudyView, importances: Importances, drawn: Mapping[str, list[Panel]]) -> list[Section]:
    found = [
        Section("not", "What not to conclude from this page", (Bullets(sentences.cautions(view)),)),
        Section("best", "The best trial" if view.single else "The Pareto front", _best_blocks(view, drawn)),
        Section("test", "The test split", _test_blocks(view)),
        Section("history", "The search", _charted(drawn, "history", _history_caption(view), _NOTHING)),
        Section("importances", "What mattered", _importance_blocks(importances, drawn)),
        Section(
            "slices",
            "Figure by parameter",
            _charted(drawn, "slices", _slices_caption(view, bool(importances.shares)), _no_parameters(view)),
        ),
        Section("parallel", "Settings of whole trials", _charted(drawn, "parallel", _parallel_caption(view), _no_parameters(view))),
        Section("curves", _curves_title(view), _charted(drawn, "curves", _curves_caption(view), "No trial reported figures while it ran.")),
        Section("times", "Time a trial", [Text(sentences.trial_times(view)), *_charted(drawn, "times", _times_caption(view), "")]),
        Section("trials", "All trials", _trial_blocks(view)),
        Section("about", "Data, protocol and search", _about_blocks(view)),
    ]
    return [section for section in found if section.blocks]


def _charted(drawn: Mapping[str, list[Panel]], name: str, caption: str, otherwise: str) -> list[Block]:
    if name in drawn:
        return [Chart(name, caption)]
    return [Text(otherwise)] if otherwise else []


def _best_blocks(view: StudyView, drawn: Mapping[str, list[Panel]]) -> list[Block]:
    if not view.single:
        caption = "Every measured trial by its figures; no trial is at least as good as one of the front in both and better in one."
        table = [tables.front_table(view)] if view.front else [Text("No trial has a figure.")]
        return [*_charted(drawn, "front", caption, ""), *table]
    if view.best is None:
        return [Text("No trial has a figure.")]
    said = [sentences.beside_default(view), sentences.regression(view)]
    return [tables.settings_table(view, view.best), *(Text(text) for text in said)]


def _test_blocks(view: StudyView) -> list[Block]:
    test = view.about.get("test")
    if not test:
        return []
    said = [sentences.test_note(test), sentences.test_verdict(test)]
    return [*(Text(text) for text in said if text), tables.test_table(test)]


def _importance_blocks(found: Importances, drawn: Mapping[str, list[Panel]]) -> list[Block]:
    if not found.shares:
        return [Text(found.note)]
    text = (
        f"The share of each parameter in what sets the best {found.best_trials} trials apart from the rest (PED-ANOVA). "
        f"It says how much a parameter mattered, not which of its values is good. {found.note}"
    )
    caption = "The most important parameter first; all shares add up to 1."
    return [Text(text.strip()), *_charted(drawn, "importances", caption, ""), tables.importance_table(found)]


def _trial_blocks(view: StudyView) -> list[Block]:
    if not view.trials:
        return [Text("The study has no trials yet.")]
    shown = tables.varying(view)
    fixed = {name: value for name, value in parameters_of(view.trials[0]).items() if name not in shown}
    said = [Text(f"The same in all trials: {settings_text(fixed)}.")] if fixed else []
    failed = view.by_state["failed"]
    lost: list[Block] = [tables.failed_table(view)] if failed else [Text("No trial failed.")]
    return [*said, tables.trials_table(view), *lost]


def _about_blocks(view: StudyView) -> list[Block]:
    rest = {name: value for name, value in view.about.items() if name not in _APART and name != "test"}
    found: list[Block] = [values_table("What was tuned and how", rest)] if rest else []
    found += [values_table(title, view.about[name]) for name, title in _APART.items() if view.about.get(name)]
    return found or [Text("Nothing was recorded about data, protocol and search.")]


def _history_caption(view: StudyView) -> str:
    marked = "" if view.single or view.default is None else " The square is the default."
    lost = len(view.trials) - len(view.measured)
    rest = f" {counted(lost, 'trial')} without a final figure (pruned, failed or unfinished) are left out." if lost else ""
    return f"{_names(view)} of each completed trial in the order in which they were started; the line is the best so far.{marked}{rest}"


def _slices_caption(view: StudyView, ordered: bool) -> str:
    order = ", the most important first" if ordered else ""
    marks = ["the diamond is the best trial" if view.single else "", "the square is the default" if view.default is not None else ""]
    marked = " and ".join(mark for mark in marks if mark)
    rest = f" {marked.capitalize()}." if marked else ""
    return f"{_names(view)} against the value of each parameter that took several{order}.{rest}"


def _parallel_caption(view: StudyView) -> str:
    unused = any(len(scale.used) < len(view.measured) for scale in varied_scales(view))
    rest = " At “–” pass the lines of trials that do not use the parameter." if unused else ""
    return (
        f"A line a trial, from the settings down to {_names(view)}; in each row values grow to the right and choices stand in their order."
        f"{rest}"
    )


def _curves_title(view: StudyView) -> str:
    return "Figures by chunk of users" if reports_chunks(view) else "Learning curves"


def _curves_caption(view: StudyView) -> str:
    steps = " Steps are chunks of users in an order that all trials share, not epochs." if reports_chunks(view) else ""
    return (
        f"{view.objectives[0]} as reported while the trials ran, a line a trial. Dotted lines that end in a cross were pruned there: "
        f"the rule of the pruner judged them behind the others at that step.{steps}"
    )


def _times_caption(view: StudyView) -> str:
    lost = view.by_state["pruned"] or view.by_state["failed"]
    return "The time that each finished trial took." + (" Hatched bars are pruned or failed trials." if lost else "")


def _no_parameters(view: StudyView) -> str:
    return "No parameter took several values in the completed trials." if view.measured else _NOTHING


def _names(view: StudyView) -> str:
    names: Sequence[str] = view.objectives
    return names[0] if len(names) == 1 else " and ".join([", ".join(names[:-1]), names[-1]])
