"""Labelled pairs of user and item, measured as predictions: order, probabilities, errors; intervals over users."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray
from bertrec.evaluation.intervals import resampled_means
from bertrec.evaluation.label_intervals import auc_interval
from bertrec.evaluation.labels import auc, user_auc
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.protocol import Protocol, manifest
from bertrec.evaluation.reliability import BINS, Equal, binned_residuals, checked_probabilities, error_of_bins
from bertrec.evaluation.report import MetricValue, Report, SliceResult, summarise
from bertrec.evaluation.slices import FEW_SHOT_MAX

BoolArray = npt.NDArray[np.bool_]
PAIR_METRICS = ("AUC", "UAUC", "logloss", "ECE", "RMSE", "MAE")
PAIR_SLICES = {
    "all": "every pair",
    "cold_items": "pairs of an item never in training",
    "few_shot_items": f"of an item 1 to {FEW_SHOT_MAX} times in training",
    "warm_items": f"of an item over {FEW_SHOT_MAX} times in training",
    "cold_users": "of a user never in training",
    "warm_pairs": "of a user and an item that training holds",
}
_EPS = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss keeps probabilities from 0 and 1
_LEVELS = (2.5, 97.5)


@dataclass(frozen=True)
class _Pairs:
    """Columns ``[n]`` each; probabilities and errors may be missing."""

    scores: Float64Array
    labels: Float64Array
    users: IntArray
    probabilities: Float64Array | None
    errors: Float64Array | None

    def where(self, keep: BoolArray) -> _Pairs:
        columns: dict[str, Any] = {name: None if column is None else column[keep] for name, column in vars(self).items()}
        return replace(self, **columns)


def evaluate_pairs(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    users: Sequence[str | int],
    protocol: Protocol,
    *,
    probabilities: npt.ArrayLike | None = None,
    ratings: npt.ArrayLike | None = None,
    predicted: npt.ArrayLike | None = None,
    items: npt.ArrayLike | None = None,
    item_counts: IntArray | None = None,
    trained_users: npt.ArrayLike | None = None,
    equal: Equal = "width",
    info: Mapping[str, Any] | None = None,
) -> Report:
    r"""Measure AUC and UAUC of scores, logloss and ECE of probabilities, RMSE and MAE of predicted ratings or of these.

    All but UAUC are figures over all pairs together:

    .. math:: \text{logloss} = -\frac1n \sum y \ln p + (1-y) \ln(1-p),\quad \text{RMSE} = \sqrt{\tfrac1n \sum e^2},\quad
        \text{MAE} = \tfrac1n \sum |e|

    where :math:`e` is predicted less given rating, or :math:`p - y` where there are no predicted ratings. ECE is that
    of `bertrec.evaluation.reliability.calibration_error`. UAUC is the mean AUC of users with both labels; the others
    are counted in ``protocol["left_out"]``. A slice lacks what cannot be said of it, such as the AUC of pairs with one
    label.

    Args:
        scores: ``[n]``, higher is better; AUC and UAUC are theirs.
        labels: ``[n]``, 0 or 1.
        users: external id of each pair's user, ``[n]``.
        protocol: seed and resamples are used; masking, candidates and cut-offs have no meaning here and stay out of the
            report.
        probabilities: ``[n]`` of label 1; without them logloss and ECE are left out, and so are RMSE and MAE without
            ``predicted``.
        ratings: ``[n]`` given ratings; with ``predicted``.
        predicted: ``[n]`` predicted ratings.
        items: ``[n]`` inner ids, for ``item_counts``.
        item_counts: ``[n_items + 1]``, how often training holds each item; adds the slices of items.
        trained_users: ``[n]``, whether training holds the pair's user; adds the slices of users.
        equal: how the bins of ECE are made: equal ``width`` or equal ``mass``.
        info: JSON values that join the report's protocol, such as the model's hash.

    Raises:
        DataError: lengths that do not fit, no pair, labels other than 0 and 1, or a rating that is missing.
        ModelError: a score or predicted rating is not finite, or a value is no probability.
        ConfigError: ``info`` holds a name that the evaluator itself records.
    """
    started = time.perf_counter()
    names = list(dict.fromkeys(users))
    places = {name: place for place, name in enumerate(names)}
    pairs = _checked(scores, labels, np.array([places[user] for user in users], np.int64), probabilities, ratings, predicted)
    masks = _slices(len(pairs.labels), items, item_counts, trained_users)
    slices = {name: _measured(pairs.where(keep), protocol, equal) for name, keep in masks.items()}
    described = _described(pairs, protocol, masks, by_rating=predicted is not None, equal=equal)
    if clash := sorted(described.keys() & (info or {}).keys()):
        raise ConfigError(f"info cannot replace what the evaluator itself records: {', '.join(clash)}")
    return Report(described | dict(info or {}), slices, time.perf_counter() - started, names)


def rmse_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, rows: npt.ArrayLike, *, resamples: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Return one model's RMSE less another's over the same pairs, and its 95 % interval, users resampled in pairs.

    Args:
        a: ``[n]`` errors of the first.
        b: ``[n]`` errors of the second.
        rows: ``[n]``, each pair's user.
        resamples: of the users; at least one.
        seed: of them.

    Raises:
        ModelError: an error is not finite.
        DataError: lengths differ, or there is no pair.
    """
    errors = [_finite(values, "error", ModelError) for values in (a, b)]
    _, owners = np.unique(np.asarray(rows), return_inverse=True)
    if not len(owners) or not len(errors[0]) == len(errors[1]) == len(owners):
        raise DataError(f"{len(errors[0])} and {len(errors[1])} errors for the users of {len(owners)} pairs")
    sums = np.stack([np.bincount(owners), *(np.bincount(owners, one**2) for one in errors)], axis=1).astype(np.float64)

    def difference(found: Float64Array) -> Float64Array:
        return np.sqrt(found[:, 1] / found[:, 0]) - np.sqrt(found[:, 2] / found[:, 0])

    low, high = np.percentile(difference(resampled_means(sums, resamples=resamples, seed=seed)), _LEVELS)
    return float(difference(sums.mean(axis=0)[None])[0]), (float(low), float(high))


def _checked(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    users: IntArray,
    probabilities: npt.ArrayLike | None,
    ratings: npt.ArrayLike | None,
    predicted: npt.ArrayLike | None,
) -> _Pairs:
    values = _finite(scores, "score", ModelError)
    _, given = checked_probabilities(np.zeros(np.shape(labels)), labels)
    if not len(given) or not len(values) == len(given) == len(users):
        raise DataError(f"one score, label and user for each pair is needed, not {len(values)}, {len(given)} and {len(users)}")
    likely = None if probabilities is None else checked_probabilities(probabilities, given)[0]
    if (ratings is None) != (predicted is None):
        raise DataError("errors of ratings need both, the given and the predicted ones")
    errors = None if likely is None else likely - given
    if ratings is not None and predicted is not None:
        known, said = _finite(ratings, "rating", DataError), _finite(predicted, "predicted rating", ModelError)
        if not len(known) == len(said) == len(given):
            raise DataError(f"{len(known)} ratings and {len(said)} predicted ones for {len(given)} pairs")
        errors = said - known
    return _Pairs(values, given, users, likely, errors)


def _finite(values: npt.ArrayLike, what: str, error: type[DataError] | type[ModelError]) -> Float64Array:
    found = np.asarray(values, np.float64)
    if found.ndim != 1:
        raise error(f"{what}s must be a list, not of shape {list(found.shape)}")
    if not np.isfinite(found).all():
        at = int(np.argmin(np.isfinite(found)))
        raise error(f"pair {at}: the {what} is {found[at]}; it must be finite")
    return found


def _slices(n: int, items: npt.ArrayLike | None, item_counts: IntArray | None, trained_users: npt.ArrayLike | None) -> dict[str, BoolArray]:
    masks: dict[str, BoolArray] = {"all": np.ones(n, bool)}
    there: BoolArray = np.ones(n, bool)
    if items is not None and item_counts is not None:
        counts = np.asarray(item_counts)[_column(items, n, "items")]
        few = (counts >= 1) & (counts <= FEW_SHOT_MAX)
        masks |= {"cold_items": counts == 0, "few_shot_items": few, "warm_items": counts > FEW_SHOT_MAX}
        there = counts > 0
    if trained_users is not None:
        known = _column(trained_users, n, "trained_users").astype(bool)
        masks |= {"cold_users": ~known, "warm_pairs": known & there}
    return masks


def _column(values: npt.ArrayLike, n: int, what: str) -> npt.NDArray[Any]:
    found = np.asarray(values)
    if found.shape != (n,):
        raise DataError(f"{what} must hold {n} values, one per pair, not shape {list(found.shape)}")
    return found


def _measured(pairs: _Pairs, protocol: Protocol, equal: Equal) -> SliceResult:
    rows, owners = np.unique(pairs.users, return_inverse=True)
    if not len(rows):
        return SliceResult(rows)
    found = _order(pairs, owners, len(rows), protocol) | _over_pairs(pairs, owners, len(rows), protocol, equal)
    return SliceResult(rows, {name: found[name] for name in PAIR_METRICS if name in found})


def _order(pairs: _Pairs, owners: IntArray, n_users: int, protocol: Protocol) -> dict[str, MetricValue]:
    """Return AUC and UAUC, as far as there are both labels."""
    if len(np.unique(pairs.labels)) < 2:
        return {}
    interval = None
    if protocol.bootstrap and n_users > 1:
        try:
            interval = auc_interval(pairs.scores, pairs.labels, owners, resamples=protocol.bootstrap, seed=protocol.seed)
        except DataError:  # no resample holds both labels
            interval = None
    each = user_auc(pairs.scores, pairs.labels, owners, n_users).per_user
    by_user = summarise({"UAUC": each[~np.isnan(each)]}, resamples=protocol.bootstrap, seed=protocol.seed)
    return {"AUC": MetricValue(auc(pairs.scores, pairs.labels), interval), **by_user}


def _over_pairs(pairs: _Pairs, owners: IntArray, n_users: int, protocol: Protocol, equal: Equal) -> dict[str, MetricValue]:
    """Return what is a function of sums over pairs, with intervals from resampled sums of users."""
    columns = _columns(pairs, equal)
    sums = np.stack([np.bincount(owners, column, n_users) for _, column in columns], axis=1).astype(np.float64)
    names = [name for name, _ in columns]
    point = _from_sums(sums.mean(axis=0)[None], names)
    if not protocol.bootstrap:
        return {name: MetricValue(float(value[0]), None) for name, value in point.items()}
    drawn = _from_sums(resampled_means(sums, resamples=protocol.bootstrap, seed=protocol.seed), names)
    bounds = {name: np.percentile(values, _LEVELS) for name, values in drawn.items()}
    return {name: MetricValue(float(value[0]), (float(bounds[name][0]), float(bounds[name][1]))) for name, value in point.items()}


def _columns(pairs: _Pairs, equal: Equal) -> list[tuple[str, Float64Array]]:
    """Return what is summed over pairs, ``[n]`` each, with names; residuals have a column for each bin."""
    columns = [("pairs", np.ones(len(pairs.labels)))]
    if pairs.errors is not None:
        columns += [("squares", pairs.errors**2), ("MAE", np.abs(pairs.errors))]
    if pairs.probabilities is not None:
        p, y = np.clip(pairs.probabilities, _EPS, 1 - _EPS), pairs.labels
        columns.append(("logloss", -(y * np.log(p) + (1 - y) * np.log1p(-p))))
        columns += [("bin", column) for column in binned_residuals(pairs.probabilities, y, equal=equal).T]
    return columns


def _from_sums(sums: Float64Array, names: Sequence[str]) -> dict[str, Float64Array]:
    """Return the metrics, ``[r]`` each, of sums ``[r, columns]`` over one set of pairs each."""
    of = {name: sums[:, place] / sums[:, 0] for place, name in enumerate(names) if name not in ("pairs", "bin")}
    found = {name: values for name, values in of.items() if name != "squares"}
    if "squares" in of:
        found["RMSE"] = np.sqrt(of["squares"])
    if "bin" in names:
        places = [place for place, name in enumerate(names) if name == "bin"]
        found["ECE"] = error_of_bins(sums[:, places], sums[:, 0])
    return found


def _described(pairs: _Pairs, protocol: Protocol, masks: Mapping[str, BoolArray], *, by_rating: bool, equal: Equal) -> dict[str, Any]:
    n_users = int(pairs.users.max()) + 1
    one_label = user_auc(pairs.scores, pairs.labels, pairs.users, n_users).skipped
    described = manifest(protocol, users=n_users, items=0, left_out={"users_with_one_label_of_UAUC": one_label})
    for name in ("mask_seen", "seen_targets", "ks", "candidates", "items"):
        described.pop(name)
    none = "none: logloss and ECE need them; rankers train --calibrate makes them of scores"
    return described | {
        "ties": "count half",
        "pairs": len(pairs.labels),
        "pairs_of_slices": {name: int(keep.sum()) for name, keep in masks.items()},
        "slices": {name: PAIR_SLICES[name] for name in masks},
        "probabilities": none if pairs.probabilities is None else "given",
        "errors": "predicted against given rating" if by_rating else "probability against label",
        "bins": f"{BINS} of equal {equal}",
    }
