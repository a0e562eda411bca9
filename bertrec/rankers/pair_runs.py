"""Runs of rankers measured on labelled pairs: rated ones, or all candidates of impressions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset
from bertrec.data.ratings import LIKED_FROM, rated_parts
from bertrec.evaluation.label_intervals import auc_difference
from bertrec.evaluation.pairs import evaluate_pairs, rmse_difference
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.reliability import Bin, Equal, reliability_bins
from bertrec.evaluation.report import Report
from bertrec.rankers.base import Ranker, Scores, labels_of
from bertrec.rankers.calibration import Calibration
from bertrec.rankers.context import Context, Known
from bertrec.rankers.ensemble import Ensemble, together
from bertrec.rankers.runs import RATINGS, RECORD, TOGETHER, Measured, named_members

CLICKS = "clicks"
PAIRS = (RATINGS, CLICKS)
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs that a run is measured on.

    Attributes:
        impressions: whose candidates are the pairs.
        ratings: ``[total candidates]``, or None.
        item_counts: ``[n_items + 1]``, how often training holds each item; None where the training part is not known.
        trained_users: whom training holds.
        rating_range: lowest and highest training rating; predictions are cut to it.
        about: how the pairs were made, JSON values.
        past: of rated pairs, the interactions of the training part.
    """

    impressions: Impressions
    ratings: npt.NDArray[np.float32] | None = None
    item_counts: IntArray | None = None
    trained_users: frozenset[str | int] | None = None
    rating_range: tuple[float, float] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    past: Interactions | None = None

    @property
    def users(self) -> list[str | int]:
        """The user of each pair."""
        return [self.impressions.users[row] for row in self.impressions.candidates.rows]

    def predicted(self, ranker: Ranker, scores: Scores) -> Float64Array | None:
        """Return the ratings that scores stand for, ``[n]``; None where they stand for none or the pairs have none."""
        if not ranker.predicts_ratings or self.ratings is None or self.rating_range is None:
            return None
        return np.clip(np.asarray(scores, np.float64), *self.rating_range)


def rated_pairs(dataset: Dataset, part: str, *, record: Mapping[str, Any] | None = None, liked_from: float | None = None) -> JudgedPairs:
    """Return the rated pairs of one part of time.

    Args:
        dataset: with ratings and times.
        part: ``train``, ``valid`` or ``test``.
        record: what runs that were trained on rated pairs keep of them; the moments and ``liked_from`` are taken.
        liked_from: the lowest rating with label 1; None takes the record's, else 4.

    Raises:
        ConfigError: another ``liked_from`` than the run was trained with.
        DataError: as `rated_parts`.
    """
    record = record or {}
    own = record.get("liked_from")
    if own is not None and liked_from not in (None, own):
        raise ConfigError(f"--liked-from {liked_from}: the run was trained with {own}; leave the option out")
    lowest = next((value for value in (liked_from, own) if value is not None), LIKED_FROM)
    moments = record.get("moments")
    found = rated_parts(dataset.interactions, liked_from=lowest, moments=None if moments is None else (moments[0], moments[1]))
    past, pairs = found.past, found.parts[part]
    assert past.rating is not None
    seen = np.flatnonzero(past.sequences.lengths > 0)
    return JudgedPairs(
        pairs.impressions,
        pairs.ratings,
        past.item_counts,
        frozenset(past.users.decode(seen + 1)),
        (float(past.rating.min()), float(past.rating.max())),
        {"pairs_of": RATINGS, "liked_from": lowest, "validation_from": found.moments[0], "test_from": found.moments[1]},
        past,
    )


def pairs_to_judge(names: Sequence[str], records: Sequence[Mapping[str, Any]], own: Sequence[bool]) -> dict[str, Any]:
    """Return what all of the runs keep of their rated pairs, for `rated_pairs`: ``liked_from``, and ``moments`` of their own data.

    Args:
        names: of the runs, for errors.
        records: of the runs.
        own: whether each was trained on the data that are now asked about; the moments of others do not count.

    Raises:
        ConfigError: a run may have learned the pairs as clicks, or the runs' pairs differ.
    """
    kept = [dict(record.get("pairs") or {}) for record in records]
    for name, pairs, here in zip(names, kept, own, strict=True):
        if here and not pairs:
            raise ConfigError(f"{name} was trained on clicks of these data, rated pairs of the test among them: train with --pairs ratings")
    found: dict[str, Any] = {}
    for key in ("liked_from", "moments"):
        of_runs = {n: one[key] for n, one, here in zip(names, kept, own, strict=True) if key in one and (here or key != "moments")}
        first = next(iter(of_runs), "")
        if other := next((name for name, value in of_runs.items() if value != of_runs[first]), None):
            told = f"{key} {of_runs[first]} and {of_runs[other]}"
            raise ConfigError(f"{first} and {other} were trained on different rated pairs ({told}): measure each alone")
        found |= {key: of_runs[first]} if of_runs else {}
    return found


def clicked_pairs(dataset: Dataset, impressions: Impressions) -> JudgedPairs:
    """Return all candidates of impressions as pairs; cold is what the training impressions do not show."""
    train = dataset.impressions.get("train")
    if train is None or train.catalog.content_hash != impressions.catalog.content_hash:
        return JudgedPairs(impressions, about={"pairs_of": CLICKS})
    counts = np.bincount(train.candidates.values, minlength=len(train.catalog) + 1).astype(np.int64)
    return JudgedPairs(impressions, None, counts, frozenset(train.users), None, {"pairs_of": CLICKS})


def calibrations_of(records: Sequence[Mapping[str, Any]], names: Sequence[str] = ()) -> list[Calibration | None]:
    """Return how the scores of each member become probabilities; None where the run was not calibrated.

    Args:
        records: of the runs.
        names: their folders, for errors.

    Raises:
        ModelError: a record is damaged.
    """
    places = [f"{name}/{RECORD}" for name in names] or [f"a {RECORD}"] * len(records)
    members = [(member, place) for record, place in zip(records, places, strict=True) for member in record["members"]]
    return [Calibration.from_json(member.get("calibration") if isinstance(member, dict) else {}, place) for member, place in members]


def member_probabilities(ranker: Ranker, calibration: Calibration | None, scores: Scores) -> Float64Array | None:
    """Return the probabilities of a ranker's scores, ``[n]``; None where they are none and were not calibrated."""
    if calibration is not None:
        return calibration.apply(scores)
    return np.asarray(scores, np.float64) if ranker.gives_probabilities else None


def joint_probabilities(each: Sequence[Float64Array | None]) -> Float64Array | None:
    """Return the mean of the members' probabilities, ``[n]``; None where a member has none."""
    there = [found for found in each if found is not None]
    return np.mean(there, axis=0) if there and len(there) == len(each) else None


def measure_pairs(
    ensemble: Ensemble,
    judged: JudgedPairs,
    calibrations: Sequence[Calibration | None],
    *,
    bootstrap: int = 1000,
    members: bool = False,
    known: Known | None = None,
    equal: Equal = "width",
    info: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure an ensemble and, where asked for, each of its members on the same pairs.

    The order is that of the raw scores, for isotonic calibration makes ties.

    Args:
        ensemble: over the items of the pairs.
        judged: the pairs, with labels.
        calibrations: one for each member, see `calibrations_of`.
        bootstrap: resamples of the users behind each interval.
        members: measure each ranker too, and compare their AUC and the RMSE of predicted ratings.
        known: what is known of the users, for members that read it.
        equal: how the bins of the calibration error are made.
        info: JSON values that join each report's protocol.

    Raises:
        DataError: the labels are withheld.
    """
    shown = judged.impressions
    labels, users = labels_of(shown), judged.users
    each = ensemble.member_scores(shown.histories, shown.candidates, context=Context.of(shown, known), progress=True)
    likely = [member_probabilities(*one) for one in zip(ensemble.members, calibrations, each, strict=True)]
    asked: dict[str, tuple[Ranker, Scores, Float64Array | None]] = {TOGETHER: (ensemble, together(each), joint_probabilities(likely))}
    if members and len(each) > 1:
        asked |= {name: (member, each[at], likely[at]) for at, (name, member) in enumerate(named_members(ensemble))}
    kinds = sorted({"none" if one is None else one.kind for one in calibrations})
    about = {**judged.about, "calibration": ", ".join(kinds), **(info or {})}
    protocol = Protocol(bootstrap=bootstrap)
    reports = {name: _report(*one, judged, users, protocol, equal, about) for name, one in asked.items()}
    bins = {name: reliability_bins(found, labels, equal=equal) for name, (_, _, found) in asked.items() if found is not None}
    return Measured(reports, _compared(asked, judged, users, bootstrap), bins)


def _report(
    ranker: Ranker,
    scores: Scores,
    probabilities: Float64Array | None,
    judged: JudgedPairs,
    users: list[str | int],
    protocol: Protocol,
    equal: Equal,
    about: Mapping[str, Any],
) -> Report:
    predicted = judged.predicted(ranker, scores)
    rated: dict[str, Any] = {} if predicted is None else {"ratings": judged.ratings, "predicted": predicted}
    known = judged.trained_users
    return evaluate_pairs(
        scores,
        labels_of(judged.impressions),
        users,
        protocol,
        probabilities=probabilities,
        items=judged.impressions.candidates.values,
        item_counts=judged.item_counts,
        trained_users=None if known is None else [user in known for user in users],
        equal=equal,
        info={**ranker.about(), "model_hash": ranker.model_hash, **about},
        **rated,
    )


def _compared(
    asked: Mapping[str, tuple[Ranker, Scores, Float64Array | None]], judged: JudgedPairs, users: Sequence[str | int], resamples: int
) -> list[str]:
    """Return lines for each two rankers: the difference of AUC and RMSE over all pairs, with intervals over users."""
    if not resamples:
        return []
    labels, numbers = labels_of(judged.impressions), {user: number for number, user in enumerate(dict.fromkeys(users))}
    rows, lines = [numbers[user] for user in users], []
    for one, other in combinations(asked, 2):
        if len(np.unique(labels)) > 1:
            found = auc_difference(asked[one][1], asked[other][1], labels, rows, resamples=resamples)
            lines.append(_difference("AUC", one, other, found.difference, found.ci95))
        first, second = (judged.predicted(*asked[name][:2]) for name in (one, other))
        if first is not None and second is not None and judged.ratings is not None:
            errors = first - judged.ratings, second - judged.ratings
            lines.append(_difference("RMSE", one, other, *rmse_difference(*errors, rows, resamples=resamples)))
    return lines


def _difference(metric: str, one: str, other: str, value: float, interval: tuple[float, float]) -> str:
    return f"{metric}: {one} - {other}: {value:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}]"


def reliability_json(bins: Mapping[str, Sequence[Bin]]) -> dict[str, list[dict[str, Any]]]:
    """Return the bins of each report as JSON values."""
    return {name: [one.to_json() for one in found] for name, found in bins.items()}


def scored_table(
    ensemble: Ensemble, impressions: Impressions, calibrations: Sequence[Calibration | None], *, known: Known | None = None
) -> pa.Table:
    """Return a row for each candidate: impression, user, item, ``score``, and ``probability`` where there is one."""
    each = ensemble.member_scores(impressions.histories, impressions.candidates, context=Context.of(impressions, known), progress=True)
    likely = joint_probabilities([member_probabilities(*one) for one in zip(ensemble.members, calibrations, each, strict=True)])
    rows = impressions.candidates.rows
    columns: dict[str, Any] = {"impression": [impressions.ids[row] for row in rows]}
    columns["user_id"] = _plain([impressions.users[row] for row in rows])
    columns |= {"item_id": _plain(impressions.catalog.ids.decode(impressions.candidates.values)), "score": together(each)}
    return pa.table(columns | ({} if likely is None else {"probability": likely}))


def _plain(ids: list[str | int]) -> list[Any]:
    """Return ids as one column holds them: as text where some are numbers and some are not."""
    return ids if len({type(one) for one in ids}) <= 1 else [str(one) for one in ids]
