"""Which candidates of a history are read together, where the history is read once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.batching import token_budget_batches

_GROUP = 16  # candidates of one history that are read together


def candidate_groups(rows: IntArray, candidates: Ragged, lengths: IntArray, budget: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Divide the candidates of some rows into groups of one row and similar length, and yield several groups at a time.

    Args:
        rows: ``[u]`` row numbers.
        candidates: of all rows.
        lengths: tokens of each candidate, ``[total]``.
        budget: padded tokens at a time.

    Yields:
        For each group its row's number among ``rows``, ``[c]``, and its places among the candidates, ``[c, g]``, -1 for none.
    """
    groups, owners = [], []
    for number, row in enumerate(rows):
        places = np.arange(candidates.offsets[row], candidates.offsets[row + 1])
        parts = np.array_split(places[np.argsort(lengths[places], kind="stable")], -(-len(places) // _GROUP))
        groups += parts
        owners += [number] * len(parts)
    longest = np.array([lengths[group[-1]] for group in groups])
    for batch in token_budget_batches(longest * _GROUP, budget):
        width = max(len(groups[at]) for at in batch)
        places = np.full((len(batch), width), -1, np.int64)
        for at, number in enumerate(batch):
            places[at, : len(groups[number])] = groups[number]
        yield np.array([owners[at] for at in batch], np.int64), places
