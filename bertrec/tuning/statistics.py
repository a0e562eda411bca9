"""How much the best of several noisy figures promises too much, and which parameters mattered."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bertrec.core.errors import ConfigError
from bertrec.pages.wording import counted

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

LEAST_TRIALS = 10
_RESAMPLES = 20_000
# Normals drawn at once: memory stays the same however many trials there are.
_CHUNK = 1 << 20
# Optuna's advice: at least five trials among the best that the rest are held against, which is a tenth of the trials or more.
_LEAST_BEST, _BEST_SHARE = 5, 0.1
_STEADY_TRIALS = 50


def expected_regression(values: Sequence[float], noise_sd: float) -> float:
    r"""Return by how much the best of ``values`` is expected to overstate its own true value.

    With figure = true value + noise of standard deviation ``noise_sd``, the true values are estimated by shrinking the figures towards
    their mean by the positive-part James-Stein factor, and the choice is repeated on them with new noise (a parametric bootstrap)::

        c    = max(0, 1 - noise_sd^2 / var(values))          # var with n - 1; c = 0 where all figures are equal
        t[i] = mean(values) + c (values[i] - mean(values))
        result = mean over draws of  (t[j] + e[j]) - t[j] = e[j],   j = argmax(t + e),  e ~ Normal(0, noise_sd^2)

    It assumes normal noise that is independent between trials. Trials that are measured on the same users share most of their noise,
    which moves all of them together and favours none: the result is then an upper bound. 20 000 draws with a fixed seed: the same
    figures give the same result.

    Args:
        values: validation figures of the trials one may pick from, [n]; larger is better (negate them where smaller is).
        noise_sd: standard error of one figure, in the units of ``values``.

    Returns:
        The expected overstatement, 0 or more, in the units of ``values``; 0 for fewer than two trials.

    Raises:
        ConfigError: a figure or ``noise_sd`` is not finite, or ``noise_sd`` is negative.
    """
    figures = np.asarray(list(values), dtype=np.float64)
    if not np.isfinite(figures).all():
        raise ConfigError("expected_regression: a figure is not finite; leave out trials without a figure")
    if not (math.isfinite(noise_sd) and noise_sd >= 0):
        raise ConfigError(f"expected_regression: noise_sd must be a number from 0, not {noise_sd}")
    if len(figures) < 2 or noise_sd == 0:
        return 0.0
    observed = float(figures.var(ddof=1))
    factor = max(0.0, 1.0 - noise_sd**2 / observed) if observed > 0 else 0.0
    true = figures.mean() + factor * (figures - figures.mean())
    generator = np.random.default_rng(0)
    rows = max(1, _CHUNK // len(true))
    total = 0.0
    for start in range(0, _RESAMPLES, rows):
        noise = generator.normal(0.0, noise_sd, (min(rows, _RESAMPLES - start), len(true)))
        picked = (true + noise).argmax(axis=1)
        total += float(np.take_along_axis(noise, picked[:, None], axis=1).sum())
    # The pick's expected noise is never negative; a few draws may be.
    return max(0.0, total / _RESAMPLES)


@dataclass(frozen=True)
class Importances:
    """Shares of the parameters, from the largest and adding up to 1, or why there are none.

    Attributes:
        note: why there are no shares, or how far they can be trusted.
        shares: by parameter.
        best_trials: how many trials count as the best ones.
    """

    note: str
    shares: dict[str, float]
    best_trials: int = 0


def parameter_importances(study: Study, measured: Sequence[FrozenTrial]) -> Importances:
    """Return how much of being among the best trials each parameter explains (Watanabe et al. 2023, PED-ANOVA)."""
    count = len(measured)
    if count < LEAST_TRIALS:
        few = f"{counted(count, 'trial')}, and {LEAST_TRIALS} are needed"
        return Importances(f"Too few completed trials to say which parameters mattered: {few}.", {})
    if len({tuple(trial.values) for trial in measured}) == 1:
        return Importances("All completed trials have the same figure: nothing tells the parameters apart.", {})
    share = max(_BEST_SHARE, _LEAST_BEST / count)
    found = _evaluated(study, share)
    total = sum(found.values())
    if not total:
        return Importances("No parameter took different values in the best trials and in the others.", {})
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    rough = f"With fewer than {_STEADY_TRIALS} completed trials they are rough." if count < _STEADY_TRIALS else ""
    return Importances(rough, {name: value / total for name, value in ordered}, max(1, round(share * count)))


def _evaluated(study: Study, share: float) -> dict[str, float]:
    from optuna.importance import PedAnovaImportanceEvaluator

    with warnings.catch_warnings():
        # What they warn of, few trials of a conditional parameter, is said in the report.
        warnings.simplefilter("ignore")
        return dict(PedAnovaImportanceEvaluator(target_quantile=share).evaluate(study))
