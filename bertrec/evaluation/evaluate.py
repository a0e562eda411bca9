"""From scores, ranks or labels to a report."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.labels import Ties, auc, user_auc
from bertrec.evaluation.lists import check_lists, list_metrics, top_k_items
from bertrec.evaluation.metrics import Float64Array, distinct_ranks, rank_metrics
from bertrec.evaluation.protocol import EvaluationData, Protocol, manifest
from bertrec.evaluation.ranks import (
    UNLISTED,
    BoolArray,
    FloatArray,
    as_scores,
    count_candidates,
    first_occurrences,
    rank_targets,
    unlisted,
    unseen_targets,
)
from bertrec.evaluation.report import MetricValue, Report, SliceResult, summarise
from bertrec.evaluation.slices import SLICES, Slice, make_slices


@dataclass(frozen=True)
class Task:
    """One evaluation set made ready: targets that are distinct candidates, and what was left out."""

    data: EvaluationData
    protocol: Protocol
    item_counts: IntArray
    targets: Ragged
    kept: BoolArray
    candidates: BoolArray | None
    left_out: dict[str, int]

    @property
    def n_items(self) -> int:
        """Number of items, padding not counted."""
        return len(self.item_counts) - 1

    @property
    def seen(self) -> Ragged | None:
        """What each user has seen, where that is masked."""
        return self.data.histories if self.protocol.mask_seen else None

    @property
    def candidate_mask(self) -> BoolArray:
        """The candidates, ``[n_items + 1]``."""
        return np.arange(self.n_items + 1) > 0 if self.candidates is None else self.candidates


def evaluate_scores(
    batches: Iterable[FloatArray],
    evaluation_set: EvaluationData,
    protocol: Protocol,
    item_counts: IntArray,
    *,
    held_out: IntArray | None = None,
    top_k_lists: bool | IntArray = False,
    info: Mapping[str, Any] | None = None,
) -> Report:
    """Measure a model from its scores of the whole catalogue.

    Repeated targets of a user count once; targets in a history that is masked are left out (see `Protocol.seen_targets`); with
    ``candidates="held_out"`` targets outside the held-out items are left out; users without any target left are left out.
    ``protocol["left_out"]`` of the report counts all four.

    Args:
        batches: float ``[b, n_items + 1]`` each, in the order of the evaluation set; column 0 is ignored.
        evaluation_set: users, histories (seen items, and the history length of the slices) and targets.
        protocol: settings.
        item_counts: ``[n_items + 1]``, how often training holds each item.
        held_out: inner ids that training never saw; needed for ``candidates="held_out"``.
        top_k_lists: True adds coverage, novelty and Gini from the scores (which costs a partial sort); or the lists themselves, ``[n, k]``.
        info: JSON values that join the report's protocol, such as the split's manifest and the model's hash.

    Raises:
        DataError: shapes that do not fit, an unusable evaluation set, too few or too many rows.
        ModelError: a score is NaN or +inf; the text names the user's row.
    """
    started = time.perf_counter()
    task = prepare(evaluation_set, protocol, item_counts, held_out)
    ranks, lists = _rank_batches(batches, task, with_lists=top_k_lists is True)
    if not isinstance(top_k_lists, bool):
        lists = top_k_lists
    return make_report(task, ranks, candidate_counts(task), lists, info, started)


def evaluate_ranks(
    ranks: Ragged,
    evaluation_set: EvaluationData,
    protocol: Protocol,
    item_counts: IntArray,
    *,
    held_out: IntArray | None = None,
    n_candidates: IntArray | None = None,
    top_k_lists: IntArray | None = None,
    item_groups: Mapping[str, BoolArray] | None = None,
    info: Mapping[str, Any] | None = None,
    seconds: float = 0.0,
) -> Report:
    """Measure a model that reports ranks only.

    Args:
        ranks: from 1, a rank for each value of ``evaluation_set.targets``, made under ``protocol`` (its masking, candidates and tie rule);
            from `bertrec.evaluation.ranks.UNLISTED` for a target that no list holds.
        evaluation_set: as in `evaluate_scores`.
        protocol: settings.
        item_counts: as in `evaluate_scores`.
        held_out: as in `evaluate_scores`.
        n_candidates: ``[n]``, among how many items the ranks were made; None takes what the protocol gives.
        top_k_lists: ``[n, k]`` inner ids padded with 0, for coverage, novelty and Gini.
        item_groups: more slices by target item, ``[n_items + 1]`` each, such as `bertrec.evaluation.slices.popularity_thirds` gives.
        info: as in `evaluate_scores`.
        seconds: what the ranking took, added to the report's wall time.

    Raises:
        DataError: shapes that do not fit, ranks outside 1 to the number of candidates, or two targets of a user on one rank.
    """
    started = time.perf_counter() - seconds
    if not np.array_equal(ranks.offsets, evaluation_set.targets.offsets):
        raise DataError(
            f"ranks ({len(ranks)} rows, {len(ranks.values)} values) do not match the targets of the evaluation set, one rank per target"
        )
    task = prepare(evaluation_set, protocol, item_counts, held_out)
    usable = ranks.where(task.kept)
    counts = candidate_counts(task) if n_candidates is None else np.asarray(n_candidates, dtype=np.int64)
    if counts.shape != (len(ranks),):
        raise DataError(f"n_candidates must hold {len(ranks)} numbers, one per user, not shape {list(counts.shape)}")
    if not distinct_ranks(usable):
        raise DataError("ranks must start at 1, and two targets of a user cannot share a rank: ties are broken before measuring")
    beyond = (usable.values > counts[usable.rows]) & (usable.values < UNLISTED)
    if np.any(beyond):
        at = int(np.argmax(beyond))
        row = usable.rows[at]
        raise DataError(f"row {row} (user {evaluation_set.users[row]!r}): rank {usable.values[at]} among only {counts[row]} candidates")
    return make_report(task, usable, counts, top_k_lists, info, started, item_groups)


def prepare(data: EvaluationData, protocol: Protocol, item_counts: IntArray, held_out: IntArray | None) -> Task:
    """Check an evaluation set against the catalogue and leave out what cannot be ranked.

    Raises:
        DataError: it does not fit, or no target is left.
    """
    item_counts = np.asarray(item_counts)
    if item_counts.ndim != 1 or len(item_counts) < 2:
        raise DataError(f"item_counts must be [n_items + 1] with at least one item, not of shape {list(item_counts.shape)}")
    if not len(data.users) == len(data.histories) == len(data.targets):
        raise DataError(
            f"the evaluation set has {len(data.users)} users, {len(data.histories)} histories and {len(data.targets)} target rows"
        )
    for what, items, least in (("targets", data.targets.values, 1), ("histories", data.histories.values, 0)):
        if len(items) and not least <= items.min() <= items.max() < len(item_counts):
            raise DataError(
                f"{what} of the evaluation set must be inner item ids {least} to {len(item_counts) - 1}, "
                f"found {items.min()} to {items.max()}"
            )
    candidates = _held_out_mask(held_out, len(item_counts)) if protocol.candidates == "held_out" else None
    first = first_occurrences(data.targets)
    dropping = protocol.mask_seen and protocol.seen_targets == "drop"
    unseen = first & unseen_targets(data.targets, data.histories) if dropping else first
    kept = unseen if candidates is None else unseen & candidates[data.targets.values]
    targets = data.targets if kept.all() else data.targets.where(kept)
    left_out = {
        "repeated_targets": int(np.count_nonzero(~first)),
        "seen_targets": int(np.count_nonzero(first & ~unseen)),
        "targets_outside_candidates": int(np.count_nonzero(unseen & ~kept)),
        "users_without_target": int(np.count_nonzero(targets.lengths == 0)),
    }
    if not len(targets.values):
        hint = "; with mask_seen off (--keep-seen) repeats count" if left_out["seen_targets"] else ""
        raise DataError(f"no target is left to evaluate: {left_out}{hint}")
    return Task(data, protocol, item_counts, targets, kept, candidates, left_out)


def _held_out_mask(held_out: IntArray | None, width: int) -> BoolArray:
    if held_out is None or not len(held_out):
        raise DataError("candidates='held_out' needs a split with held-out items (cold_items); this one has none")
    items = np.asarray(held_out, dtype=np.int64)
    if items.min() < 1 or items.max() >= width:
        raise DataError(f"held-out items must be inner item ids 1 to {width - 1}, found {items.min()} to {items.max()}")
    return np.bincount(items, minlength=width) > 0


def _rank_batches(batches: Iterable[FloatArray], task: Task, *, with_lists: bool) -> tuple[Ragged, IntArray | None]:
    """Rank batch after batch; at most one batch of scores is held."""
    parts: list[IntArray] = []
    lists: list[IntArray] = []
    start, total = 0, len(task.targets)
    for batch in batches:
        scores = as_scores(batch)
        stop = start + len(scores)
        if stop > total or scores.shape[1] != task.n_items + 1:
            raise DataError(
                f"scores [{len(scores)}, {scores.shape[1]}] from row {start} do not fit "
                f"{total} users and {task.n_items} items + 1 column of padding"
            )
        seen = None if task.seen is None else task.seen.slice(start, stop)
        users = task.data.users[start:stop]
        wanted = task.targets.slice(start, stop)
        ranks = rank_targets(scores, wanted, seen=seen, candidates=task.candidates, users=users, first_row=start)
        parts.append(unlisted(ranks, scores[wanted.rows, wanted.values] == -np.inf))
        if with_lists:
            lists.append(top_k_items(scores, max(task.protocol.ks), seen=seen, candidates=task.candidates))
        start = stop
    if start != total:
        raise DataError(f"scores for {start} users, but the evaluation set has {total}")
    return Ragged(np.concatenate(parts), task.targets.offsets), np.concatenate(lists) if with_lists else None


def candidate_counts(task: Task) -> IntArray:
    """Return ``[n]``: among how many items the targets of each user are ranked."""
    return count_candidates(task.targets, n_items=task.n_items, seen=task.seen, candidates=task.candidates)


def make_report(
    task: Task,
    ranks: Ragged,
    n_candidates: IntArray,
    lists: IntArray | None,
    info: Mapping[str, Any] | None,
    started: float,
    item_groups: Mapping[str, BoolArray] | None = None,
) -> Report:
    """Measure the ranks in every slice, and the lists, where there are any, in all."""
    protocol = task.protocol
    cuts = make_slices(ranks, task.targets, task.data.histories, task.item_counts, item_groups)
    values = rank_metrics(cuts["all"].ranks, protocol.ks)
    slices = {name: _measure(cut, _values_in(cut, cuts["all"], values, protocol), n_candidates, protocol) for name, cut in cuts.items()}
    if lists is not None:
        slices["all"] = _with_list_metrics(slices["all"], lists, task)
    sizes = {"users": slices["all"].users, "items": task.n_items}
    described = manifest(protocol, **sizes, left_out=task.left_out, slices={name: SLICES[name] for name in slices if name in SLICES})
    return Report(_joined(described, info), slices, time.perf_counter() - started, task.data.users)


def _measure(cut: Slice, values: dict[str, Float64Array], n_candidates: IntArray, protocol: Protocol) -> SliceResult:
    figures = summarise(values, resamples=protocol.bootstrap, seed=protocol.seed)
    return SliceResult(cut.rows, figures, values, n_candidates[cut.rows], cut.ranks.lengths)


def _values_in(cut: Slice, whole: Slice, values: dict[str, Float64Array], protocol: Protocol) -> dict[str, Float64Array]:
    """Return the metrics of a slice's users: those of all their targets where the slice leaves none of these out."""
    if not len(cut.rows):
        return {}
    if len(cut.ranks.values) == len(whole.ranks.values):
        return dict(values)
    place = np.searchsorted(whole.rows, cut.rows)
    if np.array_equal(cut.ranks.lengths, whole.ranks.lengths[place]):
        return {name: each[place] for name, each in values.items()}
    return rank_metrics(cut.ranks, protocol.ks)


def _with_list_metrics(result: SliceResult, lists: IntArray, task: Task) -> SliceResult:
    protocol = task.protocol
    checked = check_lists(lists, rows=len(task.targets), k=max(protocol.ks), n_items=task.n_items)[result.rows]
    each, together = list_metrics(checked, protocol.ks, item_counts=task.item_counts, candidates=task.candidate_mask)
    figures = summarise(each, resamples=protocol.bootstrap, seed=protocol.seed)
    whole = {name: MetricValue(value, None) for name, value in together.items()}
    return replace(result, metrics=result.metrics | figures | whole, values=result.values | each)


def evaluate_labels(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    rows: IntArray,
    users: list[str | int],
    protocol: Protocol,
    *,
    ties: Ties = "half",
    info: Mapping[str, Any] | None = None,
) -> Report:
    """Measure AUC over all pairs and UAUC (its mean over users) on labelled pairs; slice ``all`` holds the users with both labels.

    Args:
        scores: ``[total]``.
        labels: ``[total]``, 0 or 1.
        rows: ``[total]``, which of ``users`` a pair belongs to.
        users: external ids, ``[n]``.
        protocol: seed and resamples are used; masking, candidates and cut-offs have no meaning here and stay out of the report.
        ties: ``half`` (the usual AUC) or ``against``.
        info: JSON values that join the report's protocol.

    Raises:
        DataError: lengths differ, labels other than 0 and 1, only one class, or no user with both.
        ModelError: a score is NaN or +inf.
    """
    started = time.perf_counter()
    pooled = auc(scores, labels, ties=ties)
    by_user = user_auc(scores, labels, rows, len(users), ties=ties)
    kept = np.flatnonzero(~np.isnan(by_user.per_user)).astype(np.int64)
    if not len(kept):
        raise DataError("UAUC needs a user with both labels; every user has one only")
    values = {"UAUC": by_user.per_user[kept]}
    figures = {"AUC": MetricValue(pooled, None)} | summarise(values, resamples=protocol.bootstrap, seed=protocol.seed)
    described = manifest(protocol, users=len(kept), items=0, left_out={"users_with_one_label": by_user.skipped})
    for name in ("mask_seen", "seen_targets", "ks", "candidates", "items"):
        described.pop(name)
    described |= {"ties": "count half" if ties == "half" else "against the model", "pairs": int(np.size(scores))}
    return Report(_joined(described, info), {"all": SliceResult(kept, figures, values)}, time.perf_counter() - started, users)


def _joined(described: dict[str, Any], info: Mapping[str, Any] | None) -> dict[str, Any]:
    clash = sorted(described.keys() & dict(info or {}).keys())
    if clash:
        raise ConfigError(f"info cannot replace what the evaluator itself records: {', '.join(clash)}")
    return described | dict(info or {})
