"""Tensors of prompts: what is said of users and their candidates, in pairs or with the users read once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.files import sha256_parts, sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.encoders.batching import padded_tokens
from bertrec.rankers.prompts.layout import Layout, UserWords
from bertrec.training.batches import similar_lengths

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class PromptRows:
    """Prompts of ``n`` rows over one catalogue.

    Attributes:
        layout: of the prompt.
        slots: the tokens of each slot, or of the whole shared prefix where ``once`` holds, ``[n]`` rows each.
        lengths: tokens of the slots together, ``[n]``.
        once: whether what is said of the user is read once for all candidates.
        vectors: one per row, ``[n, d]``, for prompts with a ``{user}`` slot; else None.
    """

    layout: Layout
    slots: tuple[Ragged, ...]
    lengths: IntArray
    once: bool
    vectors: Tensor | None = None

    @classmethod
    def of(
        cls, layout: Layout, histories: Ragged, *, once: bool, vectors: Tensor | None = None, words: UserWords | None = None
    ) -> PromptRows:
        """Tokenize the histories ``[n]`` of inner ids, oldest first, and what else is said of their users."""
        slots = layout.slots(histories, words)
        if once:
            slots = (layout.prefixes(slots),)
        lengths = np.sum([np.zeros(len(histories), np.int64), *(slot.lengths for slot in slots)], axis=0)
        return cls(layout, slots, lengths, once, vectors)

    def batch(self, rows: IntArray, items: IntArray, pad: int) -> Batch:
        """Return the tensors of some histories and as many candidates of each.

        Args:
            rows: ``[u]``.
            items: ``[u, g]`` inner ids, 0 for none.
            pad: the padding token.
        """
        if self.once:
            return {**self.shared(rows, pad), **self.own(items, pad)}
        place = np.flatnonzero(items)
        pairs = self.layout.pairs(self.slots, rows[place // items.shape[1]], items.reshape(-1)[place])
        tokens, mask = padded_tokens(pairs, np.arange(len(place)), pad)
        batch = _tensors({"items": items, "tokens": tokens, "tokens_mask": mask, "place": place})
        return batch if self.vectors is None else {**batch, "users": self.vectors[torch.from_numpy(rows)]}

    def shared(self, rows: IntArray, pad: int) -> Batch:
        """Return the tensors of some histories, ``[u]`` rows, for `PromptNetwork.read`."""
        prefix, mask = padded_tokens(self.slots[0], rows, pad)
        batch = _tensors({"prefix": prefix, "prefix_mask": mask})
        return batch if self.vectors is None else {**batch, "users": self.vectors[torch.from_numpy(rows)]}

    def own(self, items: IntArray, pad: int) -> Batch:
        """Return the tensors of candidates, ``[u, g]`` inner ids, 0 for none, for `PromptNetwork.ask`."""
        suffix, mask = padded_tokens(self._candidates, items.reshape(-1), pad)
        shape = (*items.shape, -1)
        return _tensors({"items": items, "suffix": suffix.reshape(shape), "suffix_mask": mask.reshape(shape)})

    def pair_lengths(self, rows: IntArray, items: IntArray) -> IntArray:
        """Return the tokens of each whole prompt, ``[n]``; without the shared part where the history is read once."""
        if self.once:
            return self.layout.after.lengths[items - 1]
        return np.asarray(self.lengths[rows] + self.layout.item_lengths[items - 1])

    @cached_property
    def _candidates(self) -> Ragged:
        """The part after the history of each item; row 0, of no item, is empty."""
        after = self.layout.after
        return Ragged(after.values, np.concatenate([[0], after.offsets]))


def _tensors(arrays: Mapping[str, IntArray]) -> Batch:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class ClickDataset(torch.utils.data.Dataset[int]):
    """Training data: a row per click, with its negatives (`bertrec.data.negatives.sample_negatives`).

    Attributes:
        content_hash: of the impressions, what is said of their users, the prior and the teacher, to recognise a run that goes on.
        prior: ``[n, g]`` scores of another model, 0 where there is no candidate; None without one.
        teacher: likewise, NaN where there is no candidate.

    Args:
        rows: of the impressions.
        impressions: with labels.
        pad: the padding token.
        prior: ``[total candidates]`` scores of another model.
        teacher: ``[total candidates]`` scores to learn the order of.
        remade: makes the rows of an epoch, where histories differ from one to the next.
    """

    def __init__(
        self,
        rows: PromptRows,
        impressions: Impressions,
        pad: int,
        prior: npt.NDArray[np.float64] | None = None,
        teacher: npt.NDArray[np.float64] | None = None,
        *,
        remade: Callable[[int], PromptRows] | None = None,
    ) -> None:
        self.rows, self._pad, self._remade = rows, pad, remade
        self.items = impressions.candidates.padded()
        assert impressions.labels is not None
        labels = Ragged(impressions.labels.astype(np.int64) + 1, impressions.candidates.offsets).padded()
        self.labels = labels - 1  # -1 where there is no candidate
        place = Ragged(np.arange(1, len(impressions.candidates.values) + 1), impressions.candidates.offsets).padded()
        self.prior = None if prior is None else np.append(0, prior).astype(np.float32)[place]
        self.teacher = None if teacher is None else np.append(np.nan, teacher).astype(np.float32)[place]
        self.content_hash = impressions.content_hash if prior is None else sha256_text(impressions.content_hash, prior.tobytes().hex())
        if teacher is not None:
            self.content_hash = sha256_text(self.content_hash, "teacher", teacher.tobytes().hex())
        if rows.layout.prompt.user_texts:  # which the impressions do not hold
            told = [array for slot in rows.slots for array in (slot.values, slot.offsets)]
            self.content_hash = sha256_parts([self.content_hash], told)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[IntArray]:
        """Return the rows of each batch, histories of similar length together."""
        if self._remade is not None:
            self.rows = self._remade(epoch)
        return similar_lengths(self.rows.lengths, epoch, batch_size, seed)

    def collate(self, indices: Sequence[int]) -> Batch:
        """Return the keyword arguments of the network."""
        rows = np.asarray(indices, np.int64)
        batch = {**self.rows.batch(rows, self.items[rows], self._pad), "labels": torch.from_numpy(self.labels[rows])}
        beside = {"prior": self.prior, "teacher": self.teacher}
        return batch | {name: torch.from_numpy(scores[rows]) for name, scores in beside.items() if scores is not None}
