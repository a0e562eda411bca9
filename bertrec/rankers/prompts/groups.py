"""Pairs in batches that fit: whole ones, or candidates of a history that is read once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.batching import token_budget_batches
from bertrec.encoders.masked.shared_prefix import Prefix
from bertrec.rankers.prompts.rows import Batch, PromptRows

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


class Asked(Protocol):
    """A network that gives a number for each pair."""

    def margins(self, items: Tensor, *, users: Tensor | None = None, **tokens: Tensor) -> Tensor:
        """Return ``[u, g]`` of whole pairs or of histories with their candidates."""

    def read(self, prefix: Tensor, prefix_mask: Tensor, users: Tensor | None = None) -> Prefix:
        """Read histories once."""

    def ask(self, shared: Prefix, items: Tensor, suffix: Tensor, suffix_mask: Tensor) -> Tensor:
        """Return ``[u, g]`` of candidates after histories that were read."""


def pair_margins(
    network: Asked, rows: PromptRows, candidates: Ragged, *, pad: int, budget: int, device: torch.device
) -> Iterator[tuple[IntArray, npt.NDArray[np.float32]]]:
    """Yield places among the candidates and their margins.

    Args:
        network: what is asked.
        rows: of the histories.
        candidates: inner ids, a row for each history.
        pad: the padding token.
        budget: padded tokens at a time.
        device: of the network.
    """

    def here(batch: Batch) -> Batch:
        return {name: tensor.to(device) for name, tensor in batch.items()}

    lengths = rows.pair_lengths(candidates.rows, candidates.values)
    if not rows.once:
        for places in token_budget_batches(lengths, budget):
            batch = rows.batch(candidates.rows[places], candidates.values[places][:, None], pad)
            yield places, network.margins(**here(batch))[:, 0].cpu().numpy()
        return
    asked = np.flatnonzero(candidates.lengths > 0)
    for picked in token_budget_batches(rows.lengths[asked], budget):
        shared = network.read(**here(rows.shared(asked[picked], pad)))
        for owner, places in candidate_groups(asked[picked], candidates, lengths, budget):
            inside = places >= 0
            own = here(rows.own(np.where(inside, candidates.values[places], 0), pad))
            found = network.ask(shared.take(torch.from_numpy(owner).to(device)), **own).cpu().numpy()
            yield places[inside], found[inside]
