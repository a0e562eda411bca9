"""Is one model better than another, or than chance? Paired over users, with an interval, two tests, an effect size and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.evaluation.intervals import bootstrap_intervals
from bertrec.evaluation.metrics import Float64Array

NO_DIFFERENCE = "no difference shown"
ALPHA = 0.05


@dataclass(frozen=True)
class PairedResult:
    """Two models on the same users.

    Attributes:
        names: what ``a`` and ``b`` are called in the verdict.
        users: number of pairs.
        mean_a: mean of the first.
        mean_b: mean of the second.
        difference: ``mean_a - mean_b``.
        ci95: percentile bootstrap interval of the difference, users resampled.
        t: statistic of the paired t test; None where all differences are equal or there is one user.
        p_t: its two-sided p; 1 where all differences are 0.
        p_wilcoxon: two-sided p of the signed-rank test, zeros ranked too (Pratt 1959); 1 where all differences are 0.
        wilcoxon_sign: 1 where the signed ranks favour ``a``, -1 where they favour ``b``, 0 where neither.
        effect_size: Cohen's d of the differences, mean over standard deviation; None where ``t`` is.
        p_holm: ``p_wilcoxon`` corrected for a family of comparisons by `with_holm`; None before.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """

    names: tuple[str, str]
    users: int
    mean_a: float
    mean_b: float
    difference: float
    ci95: tuple[float, float]
    t: float | None
    p_t: float | None
    p_wilcoxon: float
    wilcoxon_sign: int
    effect_size: float | None
    resamples: int
    seed: int
    p_holm: float | None = None

    @property
    def shown(self) -> bool:
        """Whether a family of comparisons shows this difference: corrected p, interval, and both tests in one direction."""
        return is_shown(self.p_holm, self.ci95) and self.wilcoxon_sign * self.difference > 0

    @property
    def verdict(self) -> str:
        """Say in words which is better, or ``no difference shown`` where the interval holds 0."""
        low, high = self.ci95
        if low <= 0.0 <= high:
            return NO_DIFFERENCE
        better, worse = self.names if low > 0 else self.names[::-1]
        return f"{better} is better than {worse}"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the verdict among them."""
        return {**asdict(self), "names": list(self.names), "ci95": list(self.ci95), "verdict": self.verdict}


@dataclass(frozen=True)
class ExpectationResult:
    """One model against a known expectation, such as that of a random order.

    Attributes:
        users: number of users.
        mean: the model's mean.
        expected: the mean expectation.
        ratio: ``mean / expected``; None where 0 is expected.
        difference: ``mean - expected``.
        ci95: percentile bootstrap interval of the difference.
        p: one-sided p of a t test that the model is above; None where it cannot be tested (one user, or all differences equal).
        alpha: the level of the verdict.
    """

    users: int
    mean: float
    expected: float
    ratio: float | None
    difference: float
    ci95: tuple[float, float]
    p: float | None
    alpha: float

    @property
    def verdict(self) -> str:
        """Say whether the model is shown to be above the expectation."""
        if self.p is None:
            return "cannot be tested: the differences do not vary"
        return "above the expectation" if self.p < self.alpha else "not shown to be above the expectation"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, the verdict among them."""
        return {**asdict(self), "ci95": list(self.ci95), "verdict": self.verdict}


def paired_comparison(
    a: npt.ArrayLike, b: npt.ArrayLike, *, names: tuple[str, str] = ("a", "b"), resamples: int = 10_000, seed: int = 0
) -> PairedResult:
    """Compare two models by the values of the same users.

    Args:
        a: ``[n]``, one value per user, as `Report.per_user` gives.
        b: ``[n]``, the other model's, in the same order.
        names: for the verdict.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: lengths differ, no user, or values that are not finite.

    >>> paired_comparison([0.5, 0.25, 1.0], [0.5, 0.25, 1.0]).verdict
    'no difference shown'
    """
    first, second = _values(a, "a"), _values(b, "b")
    if len(first) != len(second):
        raise DataError(f"a has {len(first)} users and b {len(second)}; compare the same users in the same order")
    return _paired(names, (first, second), _interval(first - second, resamples, seed), resamples, seed)


def _paired(
    names: tuple[str, str], columns: tuple[Float64Array, Float64Array], ci95: tuple[float, float], resamples: int, seed: int
) -> PairedResult:
    first, second = columns
    differences = first - second
    t, p_t, effect = _t_test(differences)
    return PairedResult(
        names=names,
        users=len(first),
        mean_a=float(first.mean()),
        mean_b=float(second.mean()),
        difference=float(differences.mean()),
        ci95=ci95,
        t=t,
        p_t=p_t,
        p_wilcoxon=_wilcoxon(differences),
        wilcoxon_sign=_wilcoxon_sign(differences),
        effect_size=effect,
        resamples=resamples,
        seed=seed,
    )


def above_expectation(
    values: npt.ArrayLike, expected: npt.ArrayLike, *, alpha: float = 0.001, resamples: int = 10_000, seed: int = 0
) -> ExpectationResult:
    """Test, one-sided, whether a model is above a known expectation.

    Args:
        values: ``[n]``, one value per user.
        expected: a constant or ``[n]``, as `random_expectation` and `Report.per_user_random` give.
        alpha: level of the verdict.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: lengths differ, no user, or values that are not finite.
    """
    from scipy import stats

    own = _values(values, "values")
    known = np.asarray(expected, dtype=np.float64)
    known = np.full(len(own), known) if known.ndim == 0 else _values(known, "expected")
    if len(known) != len(own):
        raise DataError(f"values has {len(own)} users and expected {len(known)}")
    differences = own - known
    t, _, _ = _t_test(differences)
    return ExpectationResult(
        users=len(own),
        mean=float(own.mean()),
        expected=float(known.mean()),
        ratio=float(own.mean() / known.mean()) if known.mean() else None,
        difference=float(differences.mean()),
        ci95=_interval(differences, resamples, seed),
        p=None if t is None else float(stats.t.sf(t, len(own) - 1)),
        alpha=alpha,
    )


def is_shown(p_holm: float | None, ci95: Sequence[float] | None, *, alpha: float = ALPHA) -> bool:
    """Say whether both a corrected test and its interval show a difference: p below ``alpha`` and an interval that leaves out 0.

    >>> is_shown(0.01, (0.1, 0.2)), is_shown(0.01, (-0.1, 0.2)), is_shown(0.2, (0.1, 0.2))
    (True, False, False)
    """
    return p_holm is not None and p_holm < alpha and ci95 is not None and not ci95[0] <= 0.0 <= ci95[1]


def holm(p_values: npt.ArrayLike) -> Float64Array:
    """Return p values corrected for their number, step-down (Holm 1979), ``[n]`` in the order given.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def with_holm(results: Sequence[PairedResult]) -> list[PairedResult]:
    """Return the results, one family of comparisons, with ``p_holm`` set from their ``p_wilcoxon``."""
    corrected = holm([result.p_wilcoxon for result in results])
    return [replace(result, p_holm=float(p)) for result, p in zip(results, corrected, strict=True)]


def all_pairs(values: Mapping[str, npt.ArrayLike], *, resamples: int = 10_000, seed: int = 0) -> list[PairedResult]:
    """Compare every model with every other one by the same users, as `paired_comparison` does, corrected over all pairs.

    All pairs share one set of resamples, which costs little more than one pair alone.

    Args:
        values: ``[n]`` per model, one value per user, in one order; the better one of a pair by its mean comes first.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        DataError: lengths differ, no user, or values that are not finite.
    """
    columns = {name: _values(column, name) for name, column in values.items()}
    if len({len(column) for column in columns.values()}) > 1:
        raise DataError("the models were measured on different users: " + ", ".join(f"{name} {len(c)}" for name, c in columns.items()))
    ordered = sorted(columns, key=lambda name: -float(columns[name].mean()))
    pairs = list(combinations(ordered, 2))
    if not pairs:
        return []
    differences = np.stack([columns[a] - columns[b] for a, b in pairs], axis=1)
    bounds = bootstrap_intervals(differences, resamples=resamples, seed=seed)
    return with_holm(
        [
            _paired(pair, (columns[pair[0]], columns[pair[1]]), (float(low), float(high)), resamples, seed)
            for pair, (low, high) in zip(pairs, bounds, strict=True)
        ]
    )


def _values(values: npt.ArrayLike, name: str) -> Float64Array:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise DataError(f"{name} must be one value per user, at least one, not of shape {list(array.shape)}")
    if not np.all(np.isfinite(array)):
        raise DataError(f"{name}, row {int(np.argmin(np.isfinite(array)))}: the value is not finite")
    return array


def _interval(differences: Float64Array, resamples: int, seed: int) -> tuple[float, float]:
    low, high = bootstrap_intervals(differences[:, None], resamples=resamples, seed=seed)[0]
    return float(low), float(high)


def _t_test(differences: Float64Array) -> tuple[float | None, float | None, float | None]:
    """Return t, two-sided p and Cohen's d."""
    from scipy import stats

    if not np.any(differences):
        return None, 1.0, None
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None, None, None
    effect = float(differences.mean() / differences.std(ddof=1))
    t = effect * float(np.sqrt(len(differences)))
    return t, float(2.0 * stats.t.sf(abs(t), len(differences) - 1)), effect


def _wilcoxon_sign(differences: Float64Array) -> int:
    from scipy import stats

    return int(np.sign(np.round((np.sign(differences) * stats.rankdata(np.abs(differences))).sum(), 6)))


def _wilcoxon(differences: Float64Array) -> float:
    from scipy import stats

    if not np.any(differences):
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
