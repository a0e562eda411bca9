r"""Is what one group's requests bring another mix than what another group's bring? By words: distances, intervals, permutation tests.

The unit is the word. Each word has one profile, the mean over the templates, so that a template can be no reason for a difference: every
word is filled into all of them. Under the hypothesis that a word's group does not matter, the groups are labels that may be dealt out
anew among the words; a permutation test needs no more than that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError

Float64Array = npt.NDArray[np.float64]
_EQUAL = 1e-12  # sums in another order differ by so much


@dataclass(frozen=True)
class GroupShift:
    """Two groups of words compared.

    Attributes:
        distance: total variation between the groups' mean profiles, 0 (the same) to 1 (nothing in common).
        ci95: percentile bootstrap interval of ``distance``, words resampled within each group. A distance is never below 0 and its
            resamples lie above it on the whole, so judge by ``p`` and ``by_chance``.
        by_chance: mean distance under the permutations: what words of no group would show.
        p: of the permutation test of ``distance``.
        smallest_p: what ``p`` could reach at best with so few words.
        differences: ``[columns]``, first group less second.
        intervals: ``[columns, 2]``, their percentile bootstrap intervals.
        p_columns: ``[columns]``, two-sided permutation tests of ``differences``.
    """

    distance: float
    ci95: tuple[float, float]
    by_chance: float
    p: float
    smallest_p: float
    differences: Float64Array
    intervals: Float64Array
    p_columns: Float64Array

    def to_json(self) -> dict[str, Any]:
        """Return the figures of the whole profile as plain values."""
        return {
            "distance": self.distance,
            "ci95": list(self.ci95),
            "by_chance": self.by_chance,
            "p": self.p,
            "smallest_p": self.smallest_p,
        }


def total_variation(differences: Float64Array) -> Float64Array:
    """Return half the sum of absolute differences over the last axis.

    >>> float(total_variation(np.array([0.5, -0.25, -0.25])))
    0.5
    """
    return np.asarray(0.5 * np.abs(differences).sum(axis=-1))


def compare_groups(
    first: Float64Array, second: Float64Array, *, permutations: int = 9999, bootstrap: int = 1000, seed: int = 0
) -> GroupShift:
    """Compare the profiles of two groups of words.

    Args:
        first: ``[words, columns]``, each row one word's profile.
        second: ``[other words, columns]``.
        permutations: drawn at random, the observed deal counted with them; where there are no more deals than that, all are taken.
        bootstrap: resamples behind the intervals.
        seed: of both.

    Raises:
        DataError: fewer than two words in a group, other columns, or values that are not finite.
    """
    if min(len(first), len(second)) < 2 or first.shape[1:] != second.shape[1:]:
        raise DataError(f"two groups need two words or more each and the same columns, got {list(first.shape)} and {list(second.shape)}")
    both = np.concatenate([first, second])
    if not np.isfinite(both).all():
        raise DataError("a profile is not finite")
    differences = first.mean(axis=0) - second.mean(axis=0)
    deals, exact = _deals(len(first), len(both), permutations, seed)
    dealt = _differences(deals, both)
    distances = total_variation(dealt)
    observed = float(total_variation(differences))
    resampled = _resampled(first, bootstrap, seed) - _resampled(second, bootstrap, seed + 1)
    return GroupShift(
        distance=observed,
        ci95=_percentiles(total_variation(resampled)[:, None])[0] if bootstrap else (observed, observed),
        by_chance=float(distances.mean()),
        p=float(_p_values(distances[:, None], np.array([observed]), exact=exact)[0]),
        smallest_p=(2.0 if len(first) == len(second) else 1.0) / comb(len(both), len(first)) if exact else 1.0 / (len(deals) + 1),
        differences=differences,
        intervals=np.array(_percentiles(resampled) if bootstrap else [(float(d), float(d)) for d in differences]).reshape(-1, 2),
        p_columns=_p_values(np.abs(dealt), np.abs(differences), exact=exact),
    )


def _deals(size: int, total: int, permutations: int, seed: int) -> tuple[Float64Array, bool]:
    """Return ``[deals, total]``, 1 where a word is dealt to the first group; and whether these are all deals there are."""
    if comb(total, size) <= permutations + 1:
        chosen = np.array(list(combinations(range(total), size)), dtype=np.int64)
        exact = True
    else:
        order = np.random.default_rng(seed).permuted(np.tile(np.arange(total), (permutations, 1)), axis=1)
        chosen, exact = order[:, :size], False
    deals = np.zeros((len(chosen), total))
    np.put_along_axis(deals, chosen, 1.0, axis=1)
    return deals, exact


def _differences(deals: Float64Array, profiles: Float64Array) -> Float64Array:
    size = deals[0].sum()
    sums = deals @ profiles
    return np.asarray(sums / size - (profiles.sum(axis=0) - sums) / (len(profiles) - size))


def _p_values(dealt: Float64Array, observed: Float64Array, *, exact: bool) -> Float64Array:
    """Return the share of deals at or above what was observed; a random sample of deals counts the observed one too."""
    above = (dealt >= observed - _EQUAL).sum(axis=0)
    return np.asarray(above / len(dealt) if exact else (above + 1) / (len(dealt) + 1), dtype=np.float64)


def _resampled(profiles: Float64Array, resamples: int, seed: int) -> Float64Array:
    counts = np.random.default_rng(seed).multinomial(len(profiles), np.full(len(profiles), 1 / len(profiles)), size=resamples)
    return np.asarray(counts @ profiles / len(profiles))


def _percentiles(values: Float64Array) -> list[tuple[float, float]]:
    return [(float(low), float(high)) for low, high in np.percentile(values, [2.5, 97.5], axis=0).T]
