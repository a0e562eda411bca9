"""Queries from what users did: the last step of a user against items that the user never had."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.interactions import Interactions
from bertrec.evaluation.ranks import rank_targets
from bertrec.studies.probes.figures import Float64Array, ProbeSlice, ranked_slice

FIRST, SECOND = 'If you liked "{}",', 'you will also like "{}".'


@dataclass(frozen=True)
class StepQueries:
    """Steps a -> b of users, b among random items.

    Attributes:
        given: ``[n]`` inner ids, the item before the last.
        candidates: ``[n, c]`` inner ids; column 0 is the right one.
        popularity: ``[n_items + 1]`` how often each item stands in a history, each user's last item left out.
        skipped: users without two different last items, or with too few items that they never had.
    """

    given: IntArray
    candidates: IntArray
    popularity: Float64Array
    skipped: dict[str, int]


def step_queries(interactions: Interactions, *, candidates: int = 5, limit: int = 1000, seed: int = 0) -> StepQueries:
    """Draw at most ``limit`` users, one query each: their last step, against ``candidates - 1`` items that they never had, drawn evenly.

    Raises:
        DataError: no user has two different last items and enough others to be asked about.
    """
    generator = np.random.default_rng(seed)
    sequences, items = interactions.sequences, len(interactions.catalog)
    long = np.flatnonzero(sequences.lengths >= 2)
    last = sequences.offsets[1:][long] - 1
    moving = long[sequences.values[last] != sequences.values[last - 1]] if len(long) else long
    given: list[int] = []
    rows: list[IntArray] = []
    full = 0
    for user in generator.permutation(moving):
        if len(given) == limit:
            break
        history = sequences[int(user)]
        others = np.setdiff1d(np.arange(1, items + 1), history)
        if len(others) < candidates - 1:
            full += 1
            continue
        given.append(int(history[-2]))
        rows.append(np.concatenate([history[-1:], generator.choice(others, candidates - 1, replace=False)]))
    if not given:
        raise DataError("no user has two different last items and enough items never had: this probe needs histories of two items or more")
    skipped = {"users without two different last items": len(sequences) - len(moving), "users with too few other items": full}
    return StepQueries(np.array(given, dtype=np.int64), np.stack(rows), _popularity(sequences, items), skipped)


def _popularity(sequences: Ragged, items: int) -> Float64Array:
    earlier = np.ones(len(sequences.values), dtype=bool)
    earlier[sequences.offsets[1:][sequences.lengths > 0] - 1] = False
    return np.bincount(sequences.values[earlier], minlength=items + 1).astype(np.float64)


def step_slice(scores: Float64Array) -> ProbeSlice:
    """Return the figures of scores ``[n, c]`` whose column 0 is the right answer; a tie counts against it."""
    padded = np.concatenate([np.zeros((len(scores), 1)), scores], axis=1)
    targets = Ragged.from_rows([[1]] * len(scores))
    ranks = rank_targets(padded, targets)
    return ranked_slice(Ragged(ranks, targets.offsets), scores.shape[1], (1,))


def popularity_slice(queries: StepQueries) -> ProbeSlice:
    """Return what counting alone reaches: the candidates by how often they stand in histories."""
    return step_slice(queries.popularity[queries.candidates])
