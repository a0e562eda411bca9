"""How much the best of several noisy figures promises too much: the winner was also the luckiest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError

_RESAMPLES = 20_000
# Normals drawn at once: memory stays the same however many trials there are.
_CHUNK = 1 << 20


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
    return _mean_noise_of_the_pick(_shrunk(figures, noise_sd), noise_sd)


def _shrunk(figures: npt.NDArray[np.float64], noise_sd: float) -> npt.NDArray[np.float64]:
    observed = float(figures.var(ddof=1))
    factor = max(0.0, 1.0 - noise_sd**2 / observed) if observed > 0 else 0.0
    centre = figures.mean()
    return np.asarray(centre + factor * (figures - centre))


def _mean_noise_of_the_pick(true: npt.NDArray[np.float64], noise_sd: float) -> float:
    generator = np.random.default_rng(0)
    rows = max(1, _CHUNK // len(true))
    total = 0.0
    for start in range(0, _RESAMPLES, rows):
        noise = generator.normal(0.0, noise_sd, (min(rows, _RESAMPLES - start), len(true)))
        picked = (true + noise).argmax(axis=1)
        total += float(np.take_along_axis(noise, picked[:, None], axis=1).sum())
    # The pick's expected noise is never negative; a few draws may be.
    return max(0.0, total / _RESAMPLES)
