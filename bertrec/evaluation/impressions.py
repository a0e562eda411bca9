"""Impressions measured as MIND's own scorer does: AUC, MRR, nDCG@5 and nDCG@10 within each impression, then their mean over impressions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.labels import user_auc
from bertrec.evaluation.metrics import Float64Array, ndcg
from bertrec.evaluation.protocol import Protocol, manifest
from bertrec.evaluation.report import Report, SliceResult, summarise
from bertrec.evaluation.slices import LONG_HISTORY_ABOVE, SHORT_HISTORY_MAX

BoolArray = npt.NDArray[np.bool_]
IMPRESSION_METRICS = ("AUC", "MRR", "nDCG@5", "nDCG@10")
IMPRESSION_TIES = (
    "MRR and nDCG: against the model, a click is placed after every other candidate of the same score; AUC: equal scores count half"
)
IMPRESSION_SLICES = {
    "all": "every impression with a click and another candidate",
    "empty_histories": "those with no item before",
    "short_histories": f"those with 1 to {SHORT_HISTORY_MAX} items before",
    "long_histories": f"those with over {LONG_HISTORY_ABOVE} items before",
}


def impression_metrics(scores: npt.ArrayLike, labels: npt.ArrayLike, offsets: npt.ArrayLike) -> dict[str, Float64Array]:
    r"""Return AUC, MRR, nDCG@5 and nDCG@10 of each impression; NaN where it lacks a click or a candidate that was not clicked.

    MIND's ``mrr_score`` is the mean of :math:`1 / rank` over the clicks, not that of the first click. nDCG has binary gains and the ideal
    list of that impression (Wu et al., 2020; https://github.com/msnews/MIND/blob/master/evaluate.py). A click is placed after every other
    candidate of the same score in MRR and nDCG; AUC counts equal scores half.

    Args:
        scores: ``[total]`` finite, higher is better.
        labels: ``[total]``, 1 for a click, 0 for none.
        offsets: ``[n + 1]``; row ``i`` is ``scores[offsets[i]:offsets[i + 1]]``.

    Returns:
        Four arrays ``[n]``.

    Raises:
        DataError: lengths that do not fit, or labels other than 0 and 1.
        ModelError: a score is not finite.

    >>> found = impression_metrics([0.1, 0.9, 0.5, 0.2], [1, 0, 1, 0], [0, 4])
    >>> {name: round(float(values[0]), 4) for name, values in found.items()}
    {'AUC': 0.25, 'MRR': 0.375, 'nDCG@5': 0.6509, 'nDCG@10': 0.6509}
    """
    values, positive, edges = _checked(scores, labels, offsets, None, None)
    return _metrics(values, positive, Ragged(np.arange(len(values)), edges))


def evaluate_impressions(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    offsets: npt.ArrayLike,
    users: Sequence[str | int],
    protocol: Protocol,
    *,
    ids: Sequence[str] | None = None,
    history_lengths: npt.ArrayLike | None = None,
    info: Mapping[str, Any] | None = None,
) -> Report:
    """Measure a model on impressions; every figure is a mean over impressions, with a bootstrap interval over them.

    An impression with no click, or with clicks only, has no AUC: it is left out of every metric and counted in ``protocol["left_out"]``.
    In the report and its JSON, ``users`` of a slice counts impressions, and `Report.per_user` gives a value per
    impression, ready for `bertrec.evaluation.significance.paired_comparison`.

    Args:
        scores: ``[total]`` finite, higher is better; the candidates of all impressions one after another.
        labels: ``[total]``, 1 for a click, 0 for none.
        offsets: ``[n + 1]``; impression ``i`` is ``scores[offsets[i]:offsets[i + 1]]``.
        users: external id of the user of each impression, ``[n]``; one may occur often.
        protocol: seed and resamples are used; masking, candidates and cut-offs have no meaning here and stay out of the report.
        ids: names of the impressions for error messages, ``[n]``.
        history_lengths: ``[n]``, items before each impression; adds the slices ``empty_histories``, ``short_histories`` (1 to 5) and
            ``long_histories`` (over 20).
        info: JSON values that join the report's protocol, such as the model's hash.

    Raises:
        DataError: lengths that do not fit, labels that are withheld or other than 0 and 1, or no impression with a value.
        ModelError: a score is not finite; the text names the impression.
        ConfigError: ``info`` holds a name that the evaluator itself records.
    """
    started = time.perf_counter()
    values, positive, edges = _checked(scores, labels, offsets, users, ids)
    shown = Ragged(np.arange(len(values)), edges)
    metrics = _metrics(values, positive, shown)
    measured = ~np.isnan(metrics["AUC"])
    left_out = _left_out(positive, shown)
    if not measured.any():
        counts = [f"{count} {name.replace('_', ' ')}" for name, count in left_out.items() if count]
        raise DataError(f"no impression holds both a click and another candidate: {', '.join(counts) or 'there is none'}")
    slices = {name: _measure(metrics, rows & measured, protocol) for name, rows in _slices(history_lengths, len(shown)).items()}
    described = _described(protocol, users, slices["all"].rows, left_out, int(shown.lengths[measured].sum()))
    if clash := sorted(described.keys() & (info or {}).keys()):
        raise ConfigError(f"info cannot replace what the evaluator itself records: {', '.join(clash)}")
    return Report(described | dict(info or {}), slices, time.perf_counter() - started, users)


def _checked(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    offsets: npt.ArrayLike,
    users: Sequence[str | int] | None,
    ids: Sequence[str] | None,
) -> tuple[Float64Array, BoolArray, IntArray]:
    if labels is None:
        raise DataError("these impressions have no labels: they can be scored and submitted, not measured")
    values, given, edges = np.asarray(scores, dtype=np.float64), np.asarray(labels), np.asarray(offsets, dtype=np.int64)
    if values.ndim != 1 or given.shape != values.shape:
        raise DataError(f"scores and labels must be two lists of one length, not of shapes {list(values.shape)} and {list(given.shape)}")
    if edges.ndim != 1 or not len(edges) or edges[0] != 0 or edges[-1] != len(values) or np.any(np.diff(edges) < 0):
        raise DataError(f"offsets must run from 0 to the {len(values)} scores without decreasing")
    for what, column in (("users", users), ("ids", ids)):
        if column is not None and len(column) != len(edges) - 1:
            raise DataError(f"{len(column)} {what} for {len(edges) - 1} impressions")
    right = (given == 0) | (given == 1)
    if not right.all():
        at = int(np.argmin(right))
        raise DataError(f"{_place(at, edges, users, ids)}: label {given[at]} is neither 0 nor 1")
    finite = np.isfinite(values)
    if not finite.all():
        at = int(np.argmin(finite))
        raise ModelError(f"{_place(at, edges, users, ids)}: the score is {values[at]}; scores must be finite")
    return values, given.astype(bool), edges


def _place(at: int, edges: IntArray, users: Sequence[str | int] | None, ids: Sequence[str] | None) -> str:
    row = int(np.searchsorted(edges, at, side="right")) - 1
    name = f"row {row}" if ids is None else f"{ids[row]!r} (row {row})"
    user = "" if users is None else f" of user {users[row]!r}"
    return f"impression {name}{user}, candidate {at - int(edges[row]) + 1}"


def _metrics(scores: Float64Array, positive: BoolArray, shown: Ragged) -> dict[str, Float64Array]:
    ranks = _click_ranks(scores, positive, shown)
    auc = user_auc(scores, positive, shown.rows, len(shown)).per_user
    total = np.bincount(ranks.rows, weights=1.0 / ranks.values, minlength=len(shown))
    mrr = np.divide(total, ranks.lengths, out=np.full(len(shown), np.nan), where=ranks.lengths > 0)
    found = {"AUC": auc, "MRR": mrr, "nDCG@5": ndcg(ranks, 5), "nDCG@10": ndcg(ranks, 10)}
    return {name: np.where(np.isnan(auc), np.nan, found[name]) for name in IMPRESSION_METRICS}


def _click_ranks(scores: Float64Array, positive: BoolArray, shown: Ragged) -> Ragged:
    """Return the rank of each click in its impression, from 1, best first; among equal scores clicks come last."""
    rows = shown.rows
    clicked = positive[np.lexsort((positive, -scores, rows))]
    rank = np.arange(1, len(rows) + 1) - shown.offsets[rows]  # sorting keeps every impression in its place
    return Ragged(rank, shown.offsets).where(clicked)


def _left_out(positive: BoolArray, shown: Ragged) -> dict[str, int]:
    clicks = np.bincount(shown.rows[positive], minlength=len(shown))
    filled = shown.lengths > 0
    return {
        "impressions_without_candidate": int(np.count_nonzero(~filled)),
        "impressions_without_click": int(np.count_nonzero(filled & (clicks == 0))),
        "impressions_with_clicks_only": int(np.count_nonzero(filled & (clicks == shown.lengths))),
    }


def _slices(history_lengths: npt.ArrayLike | None, n: int) -> dict[str, BoolArray]:
    every = {"all": np.ones(n, dtype=bool)}
    if history_lengths is None:
        return every
    length = np.asarray(history_lengths)
    if length.shape != (n,):
        raise DataError(f"history_lengths must hold {n} numbers, one per impression, not shape {list(length.shape)}")
    return every | {
        "empty_histories": length == 0,
        "short_histories": (length >= 1) & (length <= SHORT_HISTORY_MAX),
        "long_histories": length > LONG_HISTORY_ABOVE,
    }


def _measure(metrics: Mapping[str, Float64Array], keep: BoolArray, protocol: Protocol) -> SliceResult:
    rows = np.flatnonzero(keep).astype(np.int64)
    values = {name: column[rows] for name, column in metrics.items()} if len(rows) else {}
    return SliceResult(rows, summarise(values, resamples=protocol.bootstrap, seed=protocol.seed), values)


def _described(protocol: Protocol, users: Sequence[str | int], rows: IntArray, left_out: dict[str, int], pairs: int) -> dict[str, Any]:
    described = manifest(protocol, users=len({users[row] for row in rows}), items=0, left_out=left_out)
    for name in ("mask_seen", "ks", "items"):
        described.pop(name)
    return described | {
        "candidates": "those of each impression",
        "ties": IMPRESSION_TIES,
        "unit": "impression: 'users' of a slice counts impressions",
        "interval": "percentile bootstrap over impressions",
        "impressions": len(rows),
        "pairs": pairs,
    }
