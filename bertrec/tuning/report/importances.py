"""Which parameters mattered, by Optuna's PED-ANOVA, or why that cannot be said."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

from bertrec.tuning.report.view import StudyView

LEAST_TRIALS = 10
# Optuna's advice: at least five trials among the best that the rest are held against, which is a tenth of the trials or more.
_LEAST_BEST, _BEST_SHARE = 5, 0.1
_STEADY_TRIALS = 50


@dataclass(frozen=True)
class Importances:
    """Shares of the parameters, or the reason why there are none.

    Attributes:
        shares: by parameter, from the largest; they add up to 1.
        best_trials: how many trials count as the best ones.
        note: why there are no shares, or how far they can be trusted.
    """

    shares: dict[str, float]
    best_trials: int
    note: str


def parameter_importances(view: StudyView) -> Importances:
    """Return how much of being among the best trials each parameter explains (Watanabe et al. 2023, PED-ANOVA)."""
    count = len(view.measured)
    if count < LEAST_TRIALS:
        trials = "trial" if count == 1 else "trials"
        return _none(f"Too few completed trials to say which parameters mattered: {count} {trials}, and {LEAST_TRIALS} are needed.")
    if all(len({trial.values[place] for trial in view.measured}) == 1 for place in range(len(view.objectives))):
        return _none("All completed trials have the same figure: nothing tells the parameters apart.")
    share = max(_BEST_SHARE, _LEAST_BEST / count)
    found = _evaluated(view, share)
    if not found or not any(found.values()):
        return _none("No parameter took different values in the best trials and in the others.")
    total = sum(found.values())
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    rough = f" With fewer than {_STEADY_TRIALS} completed trials they are rough." if count < _STEADY_TRIALS else ""
    return Importances({name: value / total for name, value in ordered}, max(1, round(share * count)), rough.strip())


def _none(note: str) -> Importances:
    return Importances({}, 0, note)


def _evaluated(view: StudyView, share: float) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator

    with warnings.catch_warnings():
        # What they warn of, few trials of a conditional parameter, is said in the report.
        warnings.simplefilter("ignore")
        return dict(PedAnovaImportanceEvaluator(target_quantile=share).evaluate(view.study))
