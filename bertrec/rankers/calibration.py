"""Scores into probabilities: temperature, Platt's scaling, isotonic regression; numbers in the run's record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError, ModelError
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.reliability import checked_probabilities

CalibrationKind = Literal["temperature", "platt", "isotonic"]
CALIBRATIONS: tuple[str, ...] = ("none", *get_args(CalibrationKind))
_NUMBERS = {"temperature": ("factor", "shift"), "platt": ("factor", "shift"), "isotonic": ("scores", "probabilities")}
_FLATTEST, _STEEPEST = 1e-3, 1e3  # of the slope on scores of spread 1
_EPS = 1e-12  # keeps the logit of a probability finite


@dataclass(frozen=True)
class Calibration:
    r"""A rising map from scores to probabilities of label 1.

    ``temperature`` is :math:`σ(a s)` with :math:`a = 1 / T` (Guo et al. 2017), ``platt`` :math:`σ(a s + b)` (Platt
    1999), both with :math:`a > 0`; :math:`s` is the score, or the logit of a score from 0 to 1 (`Ranker.squashes`). ``isotonic``
    is the rising step function of least squared error (Zadrozny & Elkan 2002), straight between its corners. It makes
    ties, so the raw scores give the order.

    Attributes:
        kind: which of the three.
        numbers: ``factor`` and ``shift``, or ``scores`` and ``probabilities`` of the corners; lists of equal length.
        of_probabilities: whether the scores are probabilities, or made of margins as if they were.
        pairs: how many it was fitted on.
    """

    kind: CalibrationKind
    numbers: Mapping[str, list[float]]
    of_probabilities: bool
    pairs: int

    @classmethod
    def fit(cls, kind: CalibrationKind, scores: npt.ArrayLike, labels: npt.ArrayLike, *, of_probabilities: bool = False) -> Calibration:
        """Fit to held-out pairs; never to those that are measured.

        Of probabilities, temperature and Platt's scaling start at the identity, so that their logloss on these pairs
        does not rise. The corners of isotonic regression are kept from 0 and 1 by ``1 / (pairs + 2)``.

        Args:
            kind: which map.
            scores: ``[n]``.
            labels: ``[n]``, 0 or 1, both of them.
            of_probabilities: whether the scores are probabilities.

        Raises:
            DataError: lengths differ, or the labels are all alike.
            ModelError: a score is not finite, or no probability.
        """
        _, given = checked_probabilities(np.zeros(np.shape(labels)), labels)
        if len(np.unique(given)) < 2:
            only = f"all {len(given)} pairs of the validation share have label {given[0]:.0f}" if len(given) else "there are no pairs"
            raise DataError(f"calibration needs both labels, and {only}: take a larger share, or --calibrate none")
        values = _as_read(scores, of_probabilities)
        if len(values) != len(given):
            raise DataError(f"{len(values)} scores for {len(given)} labels")
        numbers = _isotonic(values, given) if kind == "isotonic" else _logistic(values, given, shifted=kind == "platt")
        return cls(kind, numbers, of_probabilities, len(given))

    def apply(self, scores: npt.ArrayLike) -> Float64Array:
        """Return the probabilities, ``[n]``.

        Raises:
            ModelError: a score is not finite, or no probability where those are expected.
        """
        values = _as_read(scores, self.of_probabilities)
        if self.kind == "isotonic":
            return np.interp(values, self.numbers["scores"], self.numbers["probabilities"])
        return _sigmoid(self.numbers["factor"][0] * values + self.numbers["shift"][0])

    def to_json(self) -> dict[str, Any]:
        """Return its values."""
        return {"kind": self.kind, "numbers": dict(self.numbers), "of_probabilities": self.of_probabilities, "pairs": self.pairs}

    @classmethod
    def from_json(cls, value: Any, place: str) -> Calibration | None:
        """Return what `to_json` gave; None of None.

        Args:
            value: from a record.
            place: of the record, for errors.

        Raises:
            ModelError: it is damaged.
        """
        if value is None:
            return None
        try:
            names = _NUMBERS[value["kind"]]
            columns = [np.asarray(value["numbers"][name], np.float64) for name in names]
            found = cls(value["kind"], {n: c.tolist() for n, c in zip(names, columns, strict=True)}, bool(value["of_probabilities"]), 0)
            fine = all(c.ndim == 1 and len(c) and np.isfinite(c).all() for c in columns) and len(columns[0]) == len(columns[1])
            rising = value["kind"] != "isotonic" or all((np.diff(c) >= 0).all() for c in columns)
            pairs = int(value["pairs"])
        except (KeyError, TypeError, ValueError):
            fine = rising = False
        if not (fine and rising):
            raise ModelError(f"{place} is damaged: its calibration holds no such numbers as bertrec writes; train again")
        return cls(found.kind, found.numbers, found.of_probabilities, pairs)


def _as_read(scores: npt.ArrayLike, of_probabilities: bool) -> Float64Array:
    """Return scores as they are, or the logits of probabilities."""
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ModelError("scores must be a list of finite numbers to be made probabilities")
    if not of_probabilities:
        return values
    likely = np.clip(checked_probabilities(values, np.zeros(len(values)))[0], _EPS, 1 - _EPS)
    return np.log(likely) - np.log1p(-likely)


def _sigmoid(values: Float64Array) -> Float64Array:
    return np.exp(-np.logaddexp(0.0, -values))


def _isotonic(values: Float64Array, labels: Float64Array) -> dict[str, list[float]]:
    from sklearn.isotonic import IsotonicRegression

    edge = 1.0 / (len(values) + 2)
    fitted = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(values, labels)
    return {"scores": fitted.X_thresholds_.tolist(), "probabilities": fitted.y_thresholds_.tolist()}


def _logistic(values: Float64Array, labels: Float64Array, *, shifted: bool) -> dict[str, list[float]]:
    """Return slope and shift of least logloss, the slope above 0; the search starts at slope 1 and shift 0."""
    from scipy.optimize import minimize

    spread = float(values.std()) or 1.0
    scaled = values / spread
    design = np.stack([scaled, np.ones_like(scaled)], axis=1)[:, : 1 + shifted]

    def loss(found: Float64Array) -> tuple[float, Float64Array]:
        logits = design @ found
        value = np.mean(np.logaddexp(0.0, logits) - labels * logits)
        return float(value), design.T @ (_sigmoid(logits) - labels) / len(labels)

    begin = np.array([spread, 0.0])[: 1 + shifted]
    bounds = [(_FLATTEST, max(_STEEPEST, spread)), (None, None)][: 1 + shifted]
    found = minimize(loss, begin, jac=True, method="L-BFGS-B", bounds=bounds).x
    if loss(found)[0] > loss(begin)[0]:
        found = begin
    return {"factor": [float(found[0]) / spread], "shift": [float(found[1]) if shifted else 0.0]}
