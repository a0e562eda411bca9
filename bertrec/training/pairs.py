"""Pairs of texts that belong together: items that the same user took one after the other, and reviews with their items.

Only training interactions are read. Hou et al. 2024, "Bridging Language and Items for Retrieval and Recommendation" (BLaIR),
has the pairs of review and item text, each of more than 30 characters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.distinct import among, distinct
from bertrec.core.errors import DataError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.encoders.batching import distinct_texts
from bertrec.training.adapt_config import PairKind
from bertrec.training.masked_lm import TokenMasking, padded_batch

REVIEW_CHARACTERS = 30


@dataclass(frozen=True)
class PairTexts:
    """The distinct texts that pairs are made of; equal texts are one, so that no text is a negative of itself.

    Attributes:
        texts: of the items, then of reviews.
        of_item: the number of each item's text by inner id, ``[n_items + 1]``; -1 for padding and for an item without text.
    """

    texts: list[str]
    of_item: IntArray

    @classmethod
    def of(cls, item_texts: list[str], reviews: list[str]) -> tuple[PairTexts, IntArray]:
        """Return the texts, and the number of each review's text, ``[len(reviews)]``."""
        texts, place = distinct_texts([*item_texts, *reviews])
        filled = np.array([bool(text.strip()) for text in texts], bool)
        of_item = np.where(filled[place[: len(item_texts)]], place[: len(item_texts)], -1)
        return cls(texts, np.concatenate([[-1], of_item]).astype(np.int64)), place[len(item_texts) :]


def item_pairs(sequences: Ragged, window: int) -> IntArray:
    """Return inner ids of items at most ``window`` places apart in a row, ``[n, 2]``, the earlier one first.

    >>> item_pairs(Ragged.from_rows([[1, 2, 3], [4]]), 2).tolist()
    [[1, 2], [2, 3], [1, 3]]
    """
    rows, values = sequences.rows, sequences.values
    found = [np.zeros((0, 2), np.int64)]
    for apart in range(1, min(window, int(sequences.lengths.max(initial=1)) - 1) + 1):
        same = rows[:-apart] == rows[apart:]
        found.append(np.stack([values[:-apart][same], values[apart:][same]], axis=1))
    return np.concatenate(found)


def reviews_of(train: Interactions) -> tuple[list[str], IntArray]:
    """Return the reviews of more than 30 characters whose item's text has as many, and their items' inner ids, ``[n]``."""
    long = np.array([False, *(len(text.strip()) > REVIEW_CHARACTERS for text in train.catalog.texts)])
    items = train.sequences.values
    rows = [row for row, text in enumerate(train.text or ()) if long[items[row]] and len(text.strip()) > REVIEW_CHARACTERS]
    return [(train.text or [])[row].strip() for row in rows], items[rows]


@dataclass
class HiddenWords:
    """Hides words of texts anew in each epoch.

    Attributes:
        tokens: of all texts, as the masked encoder reads them.
        masking: hides them.
        pad: the padding token.
        drawn_by: seed and epoch, on which it depends with the texts of the batch alone.
    """

    tokens: Ragged
    masking: TokenMasking
    pad: int
    drawn_by: tuple[int, int] = (0, 0)

    def batch(self, rows: IntArray) -> dict[str, torch.Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels`` of the texts ``rows [m]``, ``[m, L]``."""
        rng = np.random.default_rng([*self.drawn_by, *rows[:4].tolist()])
        return padded_batch(self.masking.draw(self.tokens.take(rows), rng), np.arange(len(rows)), self.pad)


class PairDataset(torch.utils.data.Dataset[IntArray]):
    """Pairs of texts, in batches of one kind each.

    Attributes:
        texts: what ``pairs`` holds the numbers of.
        pairs: numbers of texts, ``[n, 2]``: items first, then reviews with their items.
        counts: pairs by kind, those that there are.
        left_out: pairs of items without text or with equal texts, which teach nothing.
        hidden_words: where set, batches also have each text with some words hidden; its rows are those of ``texts``.
    """

    hidden_words: HiddenWords | None = None
    whole_batches: ClassVar[bool] = True

    def __init__(self, texts: PairTexts, kinds: dict[str, IntArray], *, an_epoch: int = 0, left_out: int = 0) -> None:
        self.texts, self.an_epoch, self.left_out = texts, an_epoch, left_out
        self.counts = {name: len(pairs) for name, pairs in kinds.items() if len(pairs)}
        self.pairs: IntArray = np.concatenate([np.zeros((0, 2), np.int64), *kinds.values()])

    @classmethod
    def of(cls, train: Interactions, *, kind: PairKind = "auto", window: int = 1, an_epoch: int = 0) -> PairDataset:
        """Make the pairs of training interactions.

        Args:
            train: the training part of a split.
            kind: ``items``, ``reviews``, ``both``; ``auto`` takes reviews where there are any.
            window: places between two items of a pair, at most.
            an_epoch: pairs that an epoch takes, at most; 0 takes all.

        Raises:
            DataError: reviews are asked for and there are none, or there are fewer than two different pairs.
        """
        if kind in ("reviews", "both") and train.text is None:
            raise DataError(f"pairs={kind}: the data have no reviews (a column of texts beside the interactions): take pairs=items")
        reviews, items = reviews_of(train) if kind != "items" else ([], np.zeros(0, np.int64))
        texts, numbers = PairTexts.of(train.catalog.texts, reviews)
        taken = texts.of_item[item_pairs(train.sequences, window) if kind != "reviews" else np.zeros((0, 2), np.int64)]
        use = (taken >= 0).all(axis=1) & (taken[:, 0] != taken[:, 1])
        told = np.stack([numbers, texts.of_item[items]], axis=1)
        told = told[told[:, 0] != told[:, 1]]
        made = cls(texts, {"items": taken[use], "reviews": told}, an_epoch=an_epoch, left_out=int((~use).sum()))
        if len(made.positives) < 2:
            few = "fewer than two different pairs of texts, and each needs another to be told from"
            raise DataError(f"the training part has {few}: take more data, loosen the filters, or raise the window")
        return made

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> IntArray:
        return np.asarray(self.pairs[int(index)])

    def __getitems__(self, indices: IntArray | list[int]) -> IntArray:  # torch's loader asks for a whole batch by this name
        return np.asarray(self.pairs[np.asarray(indices, np.int64)])

    @cached_property
    def positives(self) -> IntArray:
        """A number for each two texts that are a pair, whichever stands first, ascending."""
        return distinct(self._keys(self.pairs[:, 0], self.pairs[:, 1]))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over texts and pairs, by which a resumed run knows its data again."""
        return sha256_text(*self.texts.texts, hashlib.sha256(self.pairs.tobytes()).hexdigest(), str(self.an_epoch))

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the pairs of each batch; with ``an_epoch`` epochs go round each kind's pairs, which are in an order of the seed."""
        rng, start, batches = np.random.default_rng([seed, epoch]), 0, []
        if self.hidden_words is not None:
            self.hidden_words.drawn_by = (seed, epoch)
        for kind, count in enumerate(self.counts.values()):
            share = max(1, round(self.an_epoch * count / len(self))) if 0 < self.an_epoch < len(self) else count
            order = np.random.default_rng([seed, 1 << 31, kind]).permutation(count)
            picked = start + rng.permutation(order[(epoch * share + np.arange(share)) % count])
            batches += [picked[first : first + batch_size] for first in range(0, share, batch_size)]
            start += count
        return (batches[number] for number in rng.permutation(len(batches)))

    def collate(self, pairs: IntArray) -> dict[str, torch.Tensor]:
        """Make a batch of ``b`` pairs.

        Returns:
            ``rows [m]``, the distinct texts; ``left`` and ``right [b]``, places among them; ``masked [2, b, b]``. With ``hidden_words``
            also ``input_ids``, ``attention_mask`` and ``labels [m, L]``, as `bertrec.training.masked_lm` has them.
        """
        rows, places = np.unique(pairs, return_inverse=True)
        places = places.reshape(pairs.shape)
        arrays = {"rows": rows, "left": places[:, 0], "right": places[:, 1], "masked": self.masked(pairs)}
        batch = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        return batch if self.hidden_words is None else batch | self.hidden_words.batch(rows)

    def masked(self, pairs: IntArray) -> npt.NDArray[np.bool_]:
        """Say which texts of a batch are no negatives, ``[2, b, b]``, as `bertrec.heads.losses.symmetric_info_nce` takes it.

        For an anchor these are the text itself, its positive's, and every text that it is a pair with anywhere in the training part.
        """
        left, right = pairs[:, 0], pairs[:, 1]
        return np.stack([self._no_negatives(left, right), self._no_negatives(right, left)])

    def _no_negatives(self, anchors: IntArray, others: IntArray) -> npt.NDArray[np.bool_]:
        same = (anchors[:, None] == others) | (others[:, None] == others)
        keys = self._keys(np.repeat(anchors, len(others)), np.tile(others, len(anchors)))
        return same | among(keys, self.positives).reshape(same.shape)

    def _keys(self, first: IntArray, second: IntArray) -> IntArray:
        return np.minimum(first, second) * len(self.texts.texts) + np.maximum(first, second)


def held_out_pairs(validation: EvaluationSet, texts: PairTexts) -> IntArray:
    """Return for each validation user the texts of the newest item of the history and of the first target, ``[n, 2]``.

    Users whose two items have equal texts, or none, are left out.
    """
    known = (validation.histories.lengths > 0) & (validation.targets.lengths > 0)
    newest = validation.histories.values[validation.histories.offsets[1:][known] - 1]
    first = validation.targets.values[validation.targets.offsets[:-1][known]]
    pairs = texts.of_item[np.stack([newest, first], axis=1)]
    return np.asarray(pairs[(pairs >= 0).all(axis=1) & (pairs[:, 0] != pairs[:, 1])])
