"""Top-k lists, and what they say beyond accuracy: coverage, novelty, concentration."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.ranks import BoolArray, FloatArray, as_scores, blocks, masked_scores


def top_k_items(scores: FloatArray, k: int, *, seen: Ragged | None = None, candidates: BoolArray | None = None) -> IntArray:
    """Return the ``k`` best candidates of each row, best first, equals by the smaller id.

    Every seen item is left out, also one that is a target: a list is made without knowing the targets.

    Args:
        scores: ``[b, n_items + 1]``; column 0 is ignored, ``-inf`` is never listed.
        k: length of the lists.
        seen: ``b`` rows of inner item ids.
        candidates: ``[n_items + 1]``.

    Returns:
        ``[b, k]`` int64, padded with 0 on the right where fewer than ``k`` candidates have a score.

    >>> top_k_items(np.array([[9.0, 0.5, 0.7, 0.5]]), 2, seen=Ragged.from_rows([[2]]))
    array([[1, 3]])
    """
    scores = as_scores(scores)
    lists = np.zeros((len(scores), k), dtype=np.int64)
    for start, stop in blocks(scores):
        part = None if seen is None else seen.slice(start, stop)
        _fill_best(lists[start:stop], masked_scores(scores[start:stop], seen=part, candidates=candidates))
    return lists


def _fill_best(lists: IntArray, masked: FloatArray) -> None:
    np.copyto(masked, -np.inf, where=np.isnan(masked))
    width = min(lists.shape[1], masked.shape[1] - 1)
    last = masked.shape[1] - width
    least = np.partition(masked, last, axis=1)[:, last : last + 1]
    chosen = np.flatnonzero((masked >= least) & (masked > -np.inf))  # equals of the last place make some rows longer
    rows, items = np.divmod(chosen, masked.shape[1])
    order = np.lexsort((items, -masked[rows, items], rows))
    lengths = np.bincount(rows, minlength=len(masked))
    place = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    inside = place < width
    lists[rows[order][inside], place[inside]] = items[order][inside]


def _frequencies(lists: IntArray, n_items: int) -> IntArray:
    return np.bincount(lists.ravel(), minlength=n_items + 1)[1:]


def coverage(lists: IntArray, candidates: BoolArray) -> float:
    r"""Share of the candidates that stand in at least one list, :math:`|\bigcup_u L_u| / |C|`.

    >>> coverage(np.array([[1, 2], [2, 0]]), np.array([False, True, True, True, True]))
    0.5
    """
    shown = _frequencies(lists, len(candidates) - 1)[candidates[1:]]
    return float(np.count_nonzero(shown) / max(1, len(shown)))


def self_information(item_counts: IntArray) -> Float64Array:
    r"""Return the surprise of meeting each item in training, in bits, ``[n_items + 1]``; 0 for padding.

    :math:`-\log_2 \frac{c_i + 1}{\sum_j c_j + n}` over :math:`n` items: one is added to each count, so that an item never met is finite.
    """
    counts = np.asarray(item_counts[1:], dtype=np.float64) + 1.0
    return np.concatenate([[0.0], np.log2(counts.sum()) - np.log2(counts)])


def novelty(lists: IntArray, item_counts: IntArray) -> Float64Array:
    r"""Mean self-information of the items of each list, in bits, ``[n]`` (Zhou et al. 2010); 0 for an empty list.

    .. math:: \frac{1}{|L_u|} \sum_{i \in L_u} -\log_2 p(i)

    >>> novelty(np.array([[1, 2]]), np.array([0, 3, 1, 0]))  # p = 4/7, 2/7, 1/7
    array([1.30735492])
    """
    shown = np.count_nonzero(lists, axis=1)
    return np.asarray(self_information(item_counts)[lists].sum(axis=1) / np.maximum(shown, 1))


def gini(lists: IntArray, candidates: BoolArray) -> float:
    r"""Gini index of how often the candidates are listed: 0 all alike, towards 1 few items get everything.

    .. math:: \frac{\sum_{i=1}^{n} (2 i - n - 1) f_{(i)}}{n \sum_i f_{(i)}}, \quad f_{(1)} \le \dots \le f_{(n)}

    >>> gini(np.array([[1], [1]]), np.array([False, True, True]))
    0.5
    """
    shown = np.sort(_frequencies(lists, len(candidates) - 1)[candidates[1:]]).astype(np.float64)
    if not shown.sum():
        return 0.0
    places = 2.0 * np.arange(1, len(shown) + 1) - len(shown) - 1
    return float((places * shown).sum() / (len(shown) * shown.sum()))


def check_lists(lists: IntArray, *, rows: int, k: int, n_items: int) -> IntArray:
    """Return given lists as int64 after checking them.

    Raises:
        DataError: not ``[rows, at least k]`` inner item ids.
    """
    array = np.asarray(lists)
    if array.ndim != 2 or len(array) != rows or array.shape[1] < k or array.dtype.kind not in "iu":
        raise DataError(f"top-k lists must be whole numbers of shape [{rows}, {k} or more], not {array.dtype} of shape {list(array.shape)}")
    if array.size and (array.min() < 0 or array.max() > n_items):
        raise DataError(f"top-k lists must hold inner item ids up to {n_items}, found {array.min()} to {array.max()}")
    return array.astype(np.int64)


def list_metrics(
    lists: IntArray, ks: Iterable[int], *, item_counts: IntArray, candidates: BoolArray
) -> tuple[dict[str, Float64Array], dict[str, float]]:
    """Return the metrics with a value per user (``Novelty@k``) and those of all lists (``Coverage@k``, ``Gini@k``)."""
    cuts = list(ks)
    each = {f"Novelty@{k}": novelty(lists[:, :k], item_counts) for k in cuts}
    together = {f"Coverage@{k}": coverage(lists[:, :k], candidates) for k in cuts}
    return each, together | {f"Gini@{k}": gini(lists[:, :k], candidates) for k in cuts}
