"""What the report says in words: the outcome in a sentence, when it was found, and what not to conclude from it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from bertrec.pages.wording import duration, interval, signed
from bertrec.tuning.report.importances import LEAST_TRIALS
from bertrec.tuning.report.view import STATES, StudyView, seconds_of
from bertrec.tuning.report.wording import counted, figure_text


def title(view: StudyView) -> str:
    """Return the report's title: the model and the data where ``about`` names them, else the study."""
    data = view.about.get("data")
    data = data.get("name") if isinstance(data, Mapping) else data
    model = view.about.get("model")
    if model and data:
        return f"Tuning of {model} on {data}"
    return f"Tuning of {model or view.study.study_name}"


def verdict(view: StudyView) -> str:
    """Say what was found, beside what, after how many trials and minutes, and how much of it may be luck."""
    if not view.trials:
        return "The study has no trials yet."
    if not view.measured:
        return f"No trial has a figure: {_counts(view)}."
    if not view.single:
        return f"{_front(view)} {_counts(view)}."
    return " ".join(part for part in (f"{_best(view)} {_counts(view)}.", _luck(view)) if part)


def when(view: StudyView) -> str:
    """Say when the study began and what it is called."""
    parts = [f"Study {view.study.study_name}"]
    if view.started is not None:
        parts.append(f"started {view.started:%Y-%m-%d %H:%M:%S}")
    ways = zip(view.objectives, view.larger_is_better, strict=True)
    parts += [f"{name}: {'larger' if up else 'smaller'} is better" for name, up in ways]
    return " · ".join(parts)


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
    if view.best is None:
        return ""
    count = counted(len(view.measured), "completed trial")
    if view.regression is None or view.standard_error is None:
        return "How much of the best figure is luck cannot be said: no completed trial recorded the standard error of its figure."
    best, less = view.best.values[0], view.regression if view.larger_is_better[0] else -view.regression
    return (
        f"Expected regression from picking the best: {figure_text(view.regression)}. Each figure has a standard error of "
        f"{figure_text(view.standard_error)} (median over trials), so the best of {count} is also the luckiest. On other users about "
        f"{figure_text(best - less)} is to be expected instead of {figure_text(best)}. This is a parametric bootstrap on figures shrunk "
        "towards their mean, with independent noise; trials are measured on the same users and share part of their noise, so it is an "
        "upper bound."
    )


def trial_times(view: StudyView) -> str:
    """Say how long trials took."""
    parts = []
    for state in ("complete", "pruned", "failed"):
        found = [seconds for seconds in map(seconds_of, view.by_state[state]) if seconds is not None]
        if found:
            parts.append(f"{'completed' if state == 'complete' else state} ones {duration(statistics.median(found))}")
    return f"Median time a trial: {', '.join(parts)}; all together {duration(view.seconds)}." if parts else "No trial has finished."


def test_note(test: Mapping[str, Any]) -> str:
    """Say how the test split was used."""
    seeds = [str(seed) for seed in test.get("seeds") or []]
    beside = ", and for the default settings beside it" if test.get("default") else ""
    spread = f" Mean over {counted(len(seeds), 'seed')} ({', '.join(seeds)})" if seeds else " Mean"
    spread += ", ± standard deviation over seeds" if len(seeds) > 1 else ""
    return (
        f"The test split was read once, after the search, for the winner{beside}: no trial was chosen by it.{spread}; "
        "95 % intervals over users below."
    )


def test_verdict(test: Mapping[str, Any]) -> str:
    """Say whether a difference between winner and default is shown, where the two were tested in pairs."""
    paired = test.get("paired") or {}
    if not paired.get("verdict"):
        return ""
    span = interval(paired.get("ci95"))
    return f"Over the same users: {paired['verdict']}, difference {signed(paired.get('difference'))} {span}."


def cautions(view: StudyView) -> list[str]:
    """Return one sentence a false conclusion; those that do not apply are left out."""
    if not view.measured:
        return ["Anything about the settings: no trial has a figure."]
    found = [
        "That the best figure is what new users will see: it was chosen for being the highest." if view.best is not None else "",
        f"That these are the best settings there are: they are the best of {counted(len(view.measured), 'completed trial')} in this space.",
        _pruned(view),
        "That one parameter causes what a slice shows: the sampler changes all of them together and tries good regions more often.",
        "That a parameter of little importance does not matter elsewhere: importance is of this space, this budget and these data."
        if len(view.measured) >= LEAST_TRIALS
        else "",
        "" if view.about.get("test") else "Anything about the test split: it was not read.",
    ]
    return [sentence for sentence in found if sentence]


def _pruned(view: StudyView) -> str:
    count = len(view.by_state["pruned"])
    return (
        f"How good the {counted(count, 'pruned trial')} could have become: each was stopped for being behind at its step." if count else ""
    )


def _best(view: StudyView) -> str:
    assert view.best is not None
    return f"Best {view.objectives[0]} {figure_text(view.best.values[0])}, by trial {view.best.number}. {beside_default(view)}"


def _front(view: StudyView) -> str:
    ends = []
    for place, name in enumerate(view.objectives):
        best = max(view.front, key=lambda trial: view.gains(trial)[place], default=None)
        ends += [] if best is None else [f"{name} {figure_text(best.values[place])} (trial {best.number})"]
    return f"{counted(len(view.front), 'trial')} on the Pareto front; the best of each objective: {', '.join(ends)}."


def _luck(view: StudyView) -> str:
    if view.regression is None:
        return ""
    return f"Picking the best of {len(view.measured)} is expected to overstate it by up to {figure_text(view.regression)}."


def _counts(view: StudyView) -> str:
    counts = {state: len(view.by_state[state]) for state in STATES}
    always = f"{counted(counts['complete'], 'trial')} done, {counts['pruned']} pruned, {counts['failed']} failed"
    rest = "".join(f", {counts[state]} {state}" for state in ("running", "waiting") if counts[state])
    return f"{always}{rest}, in {duration(view.seconds)} of trials"
