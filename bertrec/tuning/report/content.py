"""The sections of the report in their order, the same for the page and for the Markdown file, and what they say in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

from bertrec.pages.blocks import Block, Chart, Document, Section
from bertrec.pages.wording import counted, duration, figure_text, interval, listed, settings_text, signed, values_tables
from bertrec.tuning.report import charts, tables
from bertrec.tuning.statistics import LEAST_TRIALS, parameter_importances
from bertrec.tuning.study_view import STATES, StudyView, curve_of, parameters_of, seconds_of

_NOTHING = "No completed trial, so there is nothing to draw."
# Parts of ``about`` that stand in tables of their own; the test figures have a section.
_APART = {"space": "The search space", "versions": "Versions", "machine": "Machine"}


def document(view: StudyView) -> Document:
    """Return the whole report."""
    recorded = {name: value for name, value in view.about.items() if name != "test"}
    about = values_tables("What was tuned and how", recorded, _APART)
    importances = parameter_importances(view.study, view.measured)
    scales = charts.varied_scales(view, list(importances.shares))
    unvaried = "No parameter took several values in the completed trials." if view.measured else _NOTHING
    sections = [
        Section("not", "What not to conclude from this page", [cautions(view)]),
        Section("best", "The best trial" if view.single else "The Pareto front", _best(view)),
        Section("test", "The test split", _test(view.about.get("test"))),
        Section("history", "The search", [_history(view) if view.measured else _NOTHING]),
        Section("importances", "What mattered", _importances(importances)),
        Section("slices", "Figure by parameter", [_slices(view, scales, bool(importances.shares)) if scales else unvaried]),
        Section("parallel", "Settings of whole trials", [_parallel(view, scales) if scales else unvaried]),
        Section("curves", "Figures by chunk of users" if view.reports_chunks else "Learning curves", [_curves(view)]),
        Section("times", "Time per trial", _times(view)),
        Section("trials", "All trials", _trials(view)),
        Section("about", "Data, protocol and search", about or ["Nothing was recorded about data, protocol and search."]),
    ]
    return Document(title(view), verdict(view), _when(view), sections)


def title(view: StudyView) -> str:
    """Return the report's title: the model and the data where ``about`` names them, else the study."""
    data, model = view.about.get("data"), view.about.get("model")
    data = data.get("name") if isinstance(data, Mapping) else data
    return f"Tuning of {model} on {data}" if model and data else f"Tuning of {model or view.study.study_name}"


def _when(view: StudyView) -> str:
    started = min((trial.datetime_start for trial in view.trials if trial.datetime_start), default=None)
    ways = zip(view.objectives, view.larger_is_better, strict=True)
    parts = [f"Study {view.study.study_name}", f"started {started:%Y-%m-%d %H:%M:%S}" if started else ""]
    return " · ".join(part for part in [*parts, *(f"{name}: {'larger' if up else 'smaller'} is better" for name, up in ways)] if part)


def verdict(view: StudyView) -> str:
    """Say what was found, beside what, after how many trials and minutes, and how much of it may be luck."""
    if not view.trials:
        return "The study has no trials yet."
    count = {state: len(trials) for state, trials in view.by_state.items()}
    counts = f"{counted(count['complete'], 'trial')} done, {count['pruned']} pruned, {count['failed']} failed"
    counts += "".join(f", {count[state]} {state}" for state in STATES[3:] if count[state]) + f", in {duration(view.seconds)} of trials."
    if not view.measured:
        return f"No trial has a figure: {counts}"
    if view.best is None:
        return f"{_front(view)} {counts}"
    luck = f" Picking the best of {len(view.measured)} is expected to overstate it by up to {figure_text(view.regression)}."
    best = f"Best {view.objectives[0]} {figure_text(view.best.values[0])}, by trial {view.best.number}. {beside_default(view)} {counts}"
    return best + (luck if view.regression is not None else "")


def _front(view: StudyView) -> str:
    ends = []
    for place, name in enumerate(view.objectives):
        best = max(view.front, key=lambda trial: view.gains(trial)[place], default=None)
        ends += [] if best is None else [f"{name} {figure_text(best.values[place])} (trial {best.number})"]
    return f"{counted(len(view.front), 'trial')} on the Pareto front; the best of each objective: {', '.join(ends)}."


def beside_default(view: StudyView) -> str:
    """Say how far the best stands above the default's trial."""
    if view.best is None:
        return ""
    if view.default is None:
        return "No trial of the default settings stands beside it."
    if view.default_value is None:
        return f"The default's trial {view.default.number} has no figure to hold it against."
    if view.best.number == view.default.number:
        return "No trial was better than the default's."
    gain = abs(view.best.values[0] - view.default_value)
    share = f" ({100 * gain / abs(view.default_value):.1f} %)" if view.default_value else ""
    side = "above" if view.larger_is_better[0] else "below"
    return f"That is {figure_text(gain)}{share} {side} the default's {figure_text(view.default_value)}."


def regression(view: StudyView) -> str:
    """Explain by how much the best figure is expected to overstate the truth, or why that cannot be said."""
    if view.best is None or view.regression is None:
        return "How much of the best figure is luck cannot be said: no completed trial recorded the standard error of its figure."
    best, less = view.best.values[0], view.regression if view.larger_is_better[0] else -view.regression
    return (
        f"Expected regression from picking the best: {figure_text(view.regression)}. Each figure has a standard error of "
        f"{figure_text(view.standard_error)} (median over trials), so the best of {counted(len(view.measured), 'completed trial')} is also "
        f"the luckiest. On other users about {figure_text(best - less)} is to be expected instead of {figure_text(best)}. This is a "
        "parametric bootstrap on figures shrunk towards their mean, with independent noise; trials are measured on the same users and "
        "share part of their noise, so it is an upper bound."
    )


def cautions(view: StudyView) -> list[str]:
    """Return one sentence per false conclusion; those that do not apply are left out."""
    if not view.measured:
        return ["Anything about the settings: no trial has a figure."]
    done, pruned = counted(len(view.measured), "completed trial"), counted(len(view.by_state["pruned"]), "pruned trial")
    found = {
        "That the best figure is what new users will see: it was chosen for being the highest.": view.best is not None,
        f"That these are the best settings there are: they are the best of {done} in this space.": True,
        f"How good the {pruned} could have become: each was stopped for being behind at its step.": bool(view.by_state["pruned"]),
        "That one parameter causes what a slice shows: the sampler changes all of them together and tries good regions more often.": True,
        "That a parameter of little importance does not matter elsewhere: importance is of this space, this budget and these data.": (
            len(view.measured) >= LEAST_TRIALS
        ),
        "Anything about the test split: it was not read.": not view.about.get("test"),
    }
    return [sentence for sentence, applies in found.items() if applies]


def _best(view: StudyView) -> list[Block]:
    if not (view.best or view.front):
        return ["No trial has a figure."]
    if view.best:
        return [tables.settings_table(view, view.best), beside_default(view), regression(view)]
    caption = "Every measured trial by its figures; no trial is at least as good as one of the front in both and better in one."
    chart = Chart("front", caption, partial(charts.front, view)) if len(view.objectives) == 2 else None
    return [chart, tables.front_table(view)]


def _test(test: Mapping[str, Any] | None) -> list[Block]:
    if not test:
        return []
    seeds, paired = [str(seed) for seed in test.get("seeds") or []], test.get("paired") or {}
    beside = ", and for the default settings beside it" if test.get("default") else ""
    spread = f" Mean over {counted(len(seeds), 'seed')} ({', '.join(seeds)})" if seeds else " Mean"
    spread += ", ± standard deviation over seeds" if len(seeds) > 1 else ""
    note = f"The test split was read once, after the search, for the winner{beside}: no trial was chosen by it.{spread}"
    difference = f"difference {signed(paired.get('difference'))} {interval(paired.get('ci95'))}."
    shown = f"Over the same users: {paired['verdict']}, {difference}" if paired.get("verdict") else ""
    return [f"{note}; 95 % intervals over users below.", shown, tables.test_table(test)]


def _history(view: StudyView) -> Chart:
    lost = len(view.trials) - len(view.measured)
    rest = f" {counted(lost, 'trial')} without a final figure (pruned, failed or unfinished) are left out." if lost else ""
    marked = "" if view.default is None else " The square is the default."
    said = f"{listed(view.objectives)} of each completed trial in the order in which they were started; the line is the best so far."
    return Chart("history", f"{said}{marked}{rest}", partial(charts.history, view))


def _importances(found: Any) -> list[Block]:
    if not found.shares:
        return [found.note]
    text = (
        f"The share of each parameter in what sets the best {found.best_trials} trials apart from the rest (PED-ANOVA). "
        f"It says how much a parameter mattered, not which of its values is good. {found.note}"
    )
    caption = "The most important parameter first; all shares add up to 1."
    return [text, Chart("importances", caption, partial(charts.importances, found.shares)), tables.importance_table(found.shares)]


def _slices(view: StudyView, scales: list[charts.Scale], ordered: bool) -> Chart:
    order = ", the most important first" if ordered else ""
    marks = ["the diamond is the best trial" if view.single else "", "the square is the default" if view.default is not None else ""]
    marked = " and ".join(mark for mark in marks if mark).capitalize()
    said = f"{listed(view.objectives)} against the value of each parameter that took several{order}."
    return Chart("slices", f"{said} {marked}." if marked else said, partial(charts.slices, view, scales))


def _parallel(view: StudyView, scales: list[charts.Scale]) -> Chart:
    unused = any(len(scale.places) < len(view.measured) for scale in scales)
    rest = " At “–” pass the lines of trials that do not use the parameter." if unused else ""
    said = f"A line per trial, from the settings down to {listed(view.objectives)}"
    rows = "in each row values grow to the right and choices stand in their order"
    return Chart("parallel", f"{said}; {rows}.{rest}", partial(charts.parallel, view, scales))


def _curves(view: StudyView) -> Block:
    if not view.single or not any(curve_of(trial) for trial in view.trials):
        return "No trial reported figures while it ran."
    steps = " Steps are chunks of users in an order that all trials share, not epochs." if view.reports_chunks else ""
    caption = (
        f"{view.objectives[0]} as reported while the trials ran, a line per trial. "
        "Dotted lines that end in a cross were pruned there: "
        f"the rule of the pruner judged them behind the others at that step.{steps}"
    )
    return Chart("curves", caption, partial(charts.curves, view))


def _times(view: StudyView) -> list[Block]:
    medians = []
    for state, name in (("complete", "completed"), ("pruned", "pruned"), ("failed", "failed")):
        found = [seconds for trial in view.by_state[state] if (seconds := seconds_of(trial)) is not None]
        medians += [f"{name} ones {duration(statistics.median(found))}"] if found else []
    if not medians:
        return ["No trial has finished."]
    lost = " Hatched bars are pruned or failed trials." if view.by_state["pruned"] or view.by_state["failed"] else ""
    chart = Chart("times", f"The time that each finished trial took.{lost}", partial(charts.times, view))
    return [f"Median time per trial: {', '.join(medians)}; all together {duration(view.seconds)}.", chart]


def _trials(view: StudyView) -> list[Block]:
    if not view.trials:
        return ["The study has no trials yet."]
    fixed = {name: value for name, value in parameters_of(view.trials[0]).items() if name not in view.varying}
    same = f"The same in all trials: {settings_text(fixed, none='')}." if fixed else ""
    return [same, tables.trials_table(view), tables.failed_table(view) if view.by_state["failed"] else "No trial failed."]
