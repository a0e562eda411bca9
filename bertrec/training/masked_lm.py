"""The masked-language-model task: hide a share of the words and learn to say them.

Devlin et al. 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding", section 3.1: 15 % of the tokens
are chosen; of these 80 % become the mask token, 10 % a random word and 10 % stay as they are. The choice is drawn anew each epoch (Liu et
al. 2019, "RoBERTa: A Robustly Optimized BERT Pretraining Approach", section 4.1). With whole words all pieces of a word share its fate (Cui
et al. 2021, "Pre-Training with Whole Word Masking for Chinese BERT").
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.batching import padded_tokens, token_budget_batches
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.training.batches import Indices, similar_lengths

SHARE = 0.15
_MASKED, _REPLACED = 0.8, 0.1
_NO_LABEL = -100


@dataclass(frozen=True)
class MaskedTokens:
    """Rows of token ids, some of them hidden, beside what stood there.

    Attributes:
        inputs: the rows, hidden tokens replaced.
        labels: ``[total]``, the hidden token's id, -100 everywhere else.
    """

    inputs: Ragged
    labels: IntArray


@dataclass(frozen=True)
class TokenMasking:
    """Hides tokens of a tokenizer's rows.

    Attributes:
        mask_id: the mask token.
        special: ids that are never hidden and never drawn as random words, sorted, ``[s]``.
        vocabulary: random words are drawn from the other ids below this.
        share: of a row's words to hide; at least one, where it has any.
    """

    mask_id: int
    special: IntArray
    vocabulary: int
    share: float = SHARE

    @classmethod
    def of(cls, encoder: MaskedEncoder) -> TokenMasking:
        """Build for an encoder's tokenizer."""
        tokenizer = encoder.tokenizer
        return cls(int(tokenizer.mask_token_id), np.unique(np.asarray(tokenizer.all_special_ids, np.int64)), len(tokenizer))

    @cached_property
    def words(self) -> IntArray:
        """The ids that random words are drawn from."""
        return np.setdiff1d(np.arange(self.vocabulary, dtype=np.int64), self.special)

    def is_word(self, values: IntArray) -> npt.NDArray[np.bool_]:
        """Say of each token whether it may be hidden."""
        return ~np.isin(values, self.special)

    def draw(self, tokens: Ragged, rng: np.random.Generator, pieces: Ragged | None = None) -> MaskedTokens:
        """Hide ``round(share × words)`` words of each row, at least one, chosen evenly.

        Args:
            tokens: the rows.
            rng: draws.
            pieces: which word of its row each token is a piece of, -1 for none. Whole words are then hidden, as long as their pieces are
                no more than that number; where each has more, the shortest.
        """
        if pieces is None:
            hidden, fate = self._chosen(tokens, rng), rng.random(len(tokens.values))
        else:
            hidden, fate = self._whole(tokens, pieces, rng)
        random_words = self.words[rng.integers(len(self.words), size=len(tokens.values))] if len(self.words) else tokens.values
        values = np.where(hidden & (fate < _MASKED), self.mask_id, tokens.values)
        values = np.where(hidden & (fate >= 1 - _REPLACED), random_words, values)
        return MaskedTokens(Ragged(values, tokens.offsets), np.where(hidden, tokens.values, _NO_LABEL))

    def _chosen(self, tokens: Ragged, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        word = self.is_word(tokens.values)
        of_row = np.bincount(tokens.rows[word], minlength=len(tokens))
        count = np.where(of_row > 0, np.maximum(1, np.rint(self.share * of_row)), 0)
        # Words in random order first within each row: its first ``count`` tokens are the ones to hide.
        order = np.lexsort((np.where(word, rng.random(len(word)), 2.0), tokens.rows))
        place = np.arange(len(order)) - np.repeat(tokens.offsets[:-1], tokens.lengths)
        hidden = np.zeros(len(order), bool)
        hidden[order] = place < np.repeat(count, tokens.lengths)
        return hidden

    def _whole(self, tokens: Ragged, pieces: Ragged, rng: np.random.Generator) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
        """Return which tokens are hidden and a number between 0 and 1 for each, the same for all pieces of a word."""
        begins = np.ones(len(tokens.values), bool)
        begins[1:] = (np.diff(pieces.values) != 0) | (np.diff(tokens.rows) != 0)
        word = np.cumsum(begins) - 1
        starts = np.flatnonzero(begins)
        lengths = np.diff(np.append(starts, len(word)))
        usable = np.logical_and.reduceat(self.is_word(tokens.values) & (pieces.values >= 0), starts) if len(starts) else begins
        hidden = np.zeros(len(starts), bool)
        candidates = rng.permutation(np.flatnonzero(usable))
        by_row = candidates[np.argsort(tokens.rows[starts[candidates]], kind="stable")]
        for some in np.split(by_row, np.flatnonzero(np.diff(tokens.rows[starts[by_row]])) + 1):
            hidden[_up_to(some, lengths, max(1, round(self.share * int(lengths[some].sum()))))] = True
        return hidden[word], rng.random(len(starts))[word]


def _up_to(words: IntArray, lengths: IntArray, room: int) -> list[int]:
    """Return those of the words, in their order, that fit into the room that is left; the shortest where none does."""
    taken: list[int] = []
    for word in words.tolist():
        if lengths[word] <= room:
            taken.append(word)
            room -= int(lengths[word])
    return taken or words[np.argsort(lengths[words], kind="stable")[:1]].tolist()


class MaskedTextDataset(torch.utils.data.Dataset[IntArray]):
    """Token rows whose words are hidden anew each epoch; which ones depends on the seed and the epoch alone.

    Attributes:
        tokens: the rows that hold at least one word, ``[len(self)]``.
        dropped: rows without any.
    """

    def __init__(self, tokens: Ragged, masking: TokenMasking, pad: int, pieces: Ragged | None = None) -> None:
        """Keep the rows that hold a word; with ``pieces`` (see `TokenMasking.draw`) whole words are hidden.

        Raises:
            DataError: no row does.
        """
        words = np.bincount(tokens.rows[masking.is_word(tokens.values)], minlength=len(tokens))
        self.tokens = tokens.take(np.flatnonzero(words))
        self.pieces = None if pieces is None else pieces.take(np.flatnonzero(words))
        self.dropped = len(tokens) - len(self.tokens)
        if not len(self.tokens):
            raise DataError(f"none of the {len(tokens)} texts has a word that the encoder knows: there is nothing to learn from")
        self.masking, self.pad = masking, pad
        self._draw = (0, 0)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> IntArray:
        return self.tokens[int(index)]

    def __getitems__(self, indices: Indices) -> MaskedTokens:  # torch's loader asks for a whole batch by this name
        rows = np.asarray(indices, np.int64)
        # A row is in one batch of an epoch only, so its first row tells batches apart.
        rng = np.random.default_rng([*self._draw, int(rows[0])])
        return self.masking.draw(self.tokens.take(rows), rng, None if self.pieces is None else self.pieces.take(rows))

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the rows, by which a resumed run knows its data again."""
        whole = b"" if self.pieces is None else self.pieces.values.tobytes()
        return hashlib.sha256(self.tokens.offsets.tobytes() + self.tokens.values.tobytes() + whole).hexdigest()

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the rows of each batch, of similar length; what is fetched from now on is hidden as this epoch has it."""
        self._draw = (seed, epoch)
        return similar_lengths(self.tokens.lengths, epoch, batch_size, seed)

    def collate(self, batch: MaskedTokens) -> dict[str, Tensor]:
        """Pad a batch on the right.

        Returns:
            ``input_ids``, ``attention_mask`` and ``labels``, int64 ``[b, L]``; labels are -100 where nothing was hidden.
        """
        return padded_batch(batch, np.arange(len(batch.inputs)), self.pad)


class MaskedLanguageModel(nn.Module):
    """The task as a module that returns its loss: the mean cross-entropy over the hidden words (Devlin et al. 2019)."""

    def __init__(self, encoder: MaskedEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the encoder's tuned parameters; those of the head take the general learning rate."""
        return (parameter for parameter in self.encoder.base.parameters() if parameter.requires_grad)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``; the head sees the hidden positions only."""
        hidden = labels >= 0
        states = self.encoder.hidden(input_ids, attention_mask)[hidden]
        return {"loss": functional.cross_entropy(self.encoder.logits(states), labels[hidden])}


def perplexity(encoder: MaskedEncoder, tokens: Ragged, *, seed: int = 0) -> float:
    """Return ``exp`` of the mean cross-entropy over hidden words; the same seed hides the same words, whatever the encoder has learned.

    Args:
        encoder: is in evaluation mode meanwhile.
        tokens: rows of ``encoder.tokenize``.
        seed: of what is hidden.

    Raises:
        DataError: no row has a word.
    """
    dataset = MaskedTextDataset(tokens, TokenMasking.of(encoder), encoder.tokenizer.pad_token_id or 0)
    drawn = dataset.masking.draw(dataset.tokens, np.random.default_rng(seed))
    was_training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad():
            total = sum(_loss(encoder, drawn, rows) for rows in token_budget_batches(drawn.inputs.lengths, encoder.batch_tokens))
    finally:
        encoder.train(was_training)
    mean = total / int((drawn.labels >= 0).sum())
    return math.exp(mean) if mean < math.log(np.finfo(np.float64).max) else math.inf


def _loss(encoder: MaskedEncoder, drawn: MaskedTokens, rows: IntArray) -> float:
    """Return the summed cross-entropy of the hidden words in some rows."""
    batch = {name: tensor.to(encoder.device) for name, tensor in padded_batch(drawn, rows, encoder.tokenizer.pad_token_id or 0).items()}
    hidden = batch["labels"] >= 0
    logits = encoder.logits(encoder.hidden(batch["input_ids"], batch["attention_mask"])[hidden])
    return float(functional.cross_entropy(logits.double(), batch["labels"][hidden], reduction="sum"))


def padded_batch(drawn: MaskedTokens, rows: IntArray | Sequence[int], pad: int) -> dict[str, Tensor]:
    """Return ``input_ids``, ``attention_mask`` and ``labels`` of some rows, int64 ``[b, L]``, padded on the right."""
    picked = np.asarray(rows, np.int64)
    ids, mask = padded_tokens(drawn.inputs, picked, pad)
    labels, _ = padded_tokens(Ragged(drawn.labels, drawn.inputs.offsets), picked, _NO_LABEL)
    arrays: dict[str, Any] = {"input_ids": ids, "attention_mask": mask, "labels": labels}
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
