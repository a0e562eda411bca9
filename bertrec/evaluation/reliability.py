"""How far probabilities can be taken at their word: bins of pairs, the calibration error, and their picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import IntArray
from bertrec.evaluation.metrics import Float64Array

Equal = Literal["width", "mass"]
BINS = 10


@dataclass(frozen=True)
class Bin:
    """Pairs with alike probabilities.

    Attributes:
        pairs: how many.
        probability: the mean of their probabilities.
        label: the share of them with label 1.
    """

    pairs: int
    probability: float
    label: float

    def to_json(self) -> dict[str, Any]:
        """Return its values by name."""
        return asdict(self)


def bin_numbers(probabilities: Float64Array, *, bins: int = BINS, equal: Equal = "width") -> IntArray:
    """Return the bin of each probability, ``[n]`` from 0: of equal width from 0 to 1, or of equal numbers of pairs.

    Equal probabilities share a bin, so that bins of equal numbers differ where many are alike. 1 is in the last bin.

    >>> bin_numbers(np.array([0.0, 0.09, 0.1, 1.0])).tolist()
    [0, 0, 1, 9]
    >>> bin_numbers(np.array([0.4, 0.1, 0.3, 0.2]), bins=2, equal="mass").tolist()
    [1, 0, 1, 0]
    """
    if equal == "width":
        return np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    below = np.searchsorted(np.sort(probabilities), probabilities)  # how many are smaller
    return np.asarray(below * bins // max(1, len(probabilities)), np.int64)


def binned_residuals(probabilities: Float64Array, labels: Float64Array, *, bins: int = BINS, equal: Equal = "width") -> Float64Array:
    """Return ``[n, bins]``: probability less label in the column of its bin, else 0."""
    columns = np.zeros((len(labels), bins))
    columns[np.arange(len(labels)), bin_numbers(probabilities, bins=bins, equal=equal)] = probabilities - labels
    return columns


def error_of_bins(residuals: Float64Array, pairs: Float64Array | int) -> Float64Array:
    """Return the calibration errors ``[r]`` of sums ``[r, bins]`` of `binned_residuals` over ``pairs [r]``."""
    return np.asarray(np.abs(residuals).sum(axis=1) / pairs, np.float64)


def reliability_bins(probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, bins: int = BINS, equal: Equal = "width") -> list[Bin]:
    """Return the bins that hold a pair, by rising probability.

    Args:
        probabilities: ``[n]`` from 0 to 1.
        labels: ``[n]``, 0 or 1.
        bins: how many.
        equal: ``width``, or ``mass`` for equal numbers of pairs.

    Raises:
        DataError: lengths that differ, or labels other than 0 and 1.
        ModelError: a value is no probability.
    """
    values, given = checked_probabilities(probabilities, labels)
    numbers = bin_numbers(values, bins=bins, equal=equal)
    sizes, sums, ones = (np.bincount(numbers, weights) for weights in (None, values, given))
    return [Bin(int(n), float(total / n), float(hits / n)) for n, total, hits in zip(sizes, sums, ones, strict=True) if n]


def calibration_error(probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, bins: int = BINS, equal: Equal = "width") -> float:
    r"""Return the expected calibration error (Naeini et al. 2015; Guo et al. 2017), ECE, between 0 and 1.

    .. math:: \frac1n \sum_b \left| \sum_{i \in B_b} (y_i - p_i) \right|

    Arguments and errors are those of `reliability_bins`.

    >>> calibration_error([0.9, 0.95, 0.2, 0.3], [1, 0, 0, 1])  # bins of .925 (half are 1), .2 (none) and .3 (all)
    0.4375
    """
    residuals = binned_residuals(*checked_probabilities(probabilities, labels), bins=bins, equal=equal)
    return float(error_of_bins(residuals.sum(axis=0)[None], max(1, len(residuals)))[0])


def checked_probabilities(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return both as float64 ``[n]``.

    Raises:
        DataError: lengths that differ, or labels other than 0 and 1.
        ModelError: a value is no probability.
    """
    values, given = np.asarray(probabilities, np.float64), np.asarray(labels)
    if values.ndim != 1 or values.shape != given.shape:
        shapes = f"{list(values.shape)} and {list(given.shape)}"
        raise DataError(f"probabilities and labels must be two lists of one length, not of shapes {shapes}")
    if not (right := (given == 0) | (given == 1)).all():
        at = int(np.argmin(right))
        raise DataError(f"pair {at}: label {given[at]} is neither 0 nor 1")
    if not (right := (values >= 0) & (values <= 1)).all():
        at = int(np.argmin(right))
        raise ModelError(f"pair {at}: {values[at]} is no probability: give numbers from 0 to 1, or calibrate the scores first")
    return values, given.astype(np.float64)


def reliability_svg(named: Mapping[str, Sequence[Bin]]) -> bytes:
    """Draw the share of label 1 against the probability, a panel for each name; a mark's area follows its pairs.

    Raises:
        MissingExtraError: matplotlib is missing.
    """
    from bertrec.pages.charts import LIGHT, panel_grid, svg_bytes, svg_style

    with svg_style():
        drawn, panels = panel_grid(len(named), columns=3, height=3.6, sharex=True, sharey=True)
        for axes, (name, found) in zip(panels, named.items(), strict=True):
            pairs = np.array([one.pairs for one in found], np.float64)
            places = [one.probability for one in found], [one.label for one in found]
            axes.plot([0, 1], [0, 1], color=LIGHT["quiet"], linewidth=0.8, linestyle="--")
            axes.plot(*places, color=LIGHT["family-text"], linewidth=1)
            axes.scatter(*places, s=10 + 190 * pairs / max(1.0, pairs.max(initial=0)), color=LIGHT["family-text"])
            axes.set(title=name, xlabel="probability", ylabel="share of label 1", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        return svg_bytes(drawn)
