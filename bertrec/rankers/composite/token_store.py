"""Contextual token vectors of all item texts, computed once and kept small, and MaxSim between them.

After BECR (Yang et al. 2021, arXiv 2103.06499), where documents' tokens are kept as footprints of locality-sensitive hashing and no BERT
runs at query time; MaxSim is ColBERT's (Khattab & Zaharia 2020, arXiv 2004.12832).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.batching import distinct_texts, padded_tokens, token_budget_batches
from bertrec.encoders.text import TextEncoder

Kind = Literal["int8", "lsh"]
FloatArray = npt.NDArray[np.float32]
_BATCH_TOKENS = 4096
_SCALE = 127.0


def word_pieces(encoder: TextEncoder, texts: Sequence[str]) -> Ragged:
    """Return the word pieces of each text without special tokens, after an empty row 0 for padding, ``n + 1`` rows."""
    tokens = encoder.tokenize(texts, prompted=False)
    kept = tokens.where(~np.isin(tokens.values, encoder.tokenizer.all_special_ids))
    return Ragged(kept.values, np.concatenate([[0], kept.offsets]))


@dataclass(frozen=True)
class TokenStore:
    """Token vectors of length 1, as int8 or as bits.

    Attributes:
        kind: ``int8`` keeps 127 times each component, rounded; ``lsh`` keeps on which side of random planes a vector lies.
        codes: ``[total tokens, width]`` int8, or ``[total tokens, bits / 8]`` uint8.
        offsets: ``[n_items + 2]``; row ``i`` is inner item id ``i``, row 0 empty.
    """

    kind: Kind
    codes: npt.NDArray[Any]
    offsets: IntArray

    @classmethod
    def build(
        cls, encoder: TextEncoder, texts: Sequence[str], *, kind: Kind = "int8", bits: int = 256, seed: int = 0, progress: bool = False
    ) -> Self:
        """Encode the tokens of ``texts``, special tokens left out, equal texts once.

        Args:
            encoder: its last hidden states are taken.
            texts: row ``i`` belongs to inner id ``i + 1``.
            kind: ``int8`` or ``lsh``.
            bits: of a footprint; a multiple of 8.
            seed: of the planes.
            progress: show a bar.

        Raises:
            ConfigError: an unknown kind, or bits that are no positive multiple of 8.
            ModelError: the encoder gives values that are not finite.
        """
        if kind not in ("int8", "lsh") or bits < 8 or bits % 8:
            raise ConfigError(f"token vectors are kept as int8 or lsh with a multiple of 8 bits, not as {kind!r} with {bits}")
        distinct, place = distinct_texts(texts)
        width = int(encoder.model.config.hidden_size)
        planes = np.random.default_rng(seed).standard_normal((width, bits), np.float32) if kind == "lsh" else None
        rows, codes = _token_codes(encoder, encoder.tokenize(distinct, prompted=False), planes, progress)
        of_text = np.argsort(rows, kind="stable")
        lengths = np.bincount(rows, minlength=len(distinct)).astype(np.int64)
        at = Ragged.from_lengths(of_text, lengths).take(place)
        return cls(kind, codes[at.values], np.concatenate([[0], at.offsets]))

    def vectors(self, items: IntArray) -> tuple[FloatArray, IntArray]:
        """Return the token vectors of ``items`` one after the other, ``[tokens, d]``, and how many each has, ``[items]``."""
        at = self._places.take(items)
        codes = self.codes[at.values]
        if self.kind == "int8":
            return codes.astype(np.float32) / np.float32(_SCALE), at.lengths
        signs = np.unpackbits(codes, axis=1).astype(np.float32) * 2 - 1
        return signs / np.float32(np.sqrt(signs.shape[1])), at.lengths

    @cached_property
    def _places(self) -> Ragged:
        """Which codes are each item's; made once, for a catalogue has many."""
        return Ragged(np.arange(len(self.codes)), self.offsets)

    def maxsim(self, queries: IntArray, documents: IntArray) -> FloatArray:
        """Return MaxSim of every pair of items, ``[len(queries), len(documents)]``: see `maxsim`.

        With footprints the similarity of two tokens is ``cos(π · differing bits / bits)``, which estimates their cosine (Charikar 2002).
        """
        return maxsim(*self.vectors(queries), *self.vectors(documents), footprints=self.kind == "lsh")


def maxsim(
    queries: FloatArray, query_lengths: IntArray, documents: FloatArray, document_lengths: IntArray, *, footprints: bool
) -> FloatArray:
    """Return for each query item the mean over its tokens of the best similarity with a token of the document; 0 where either has none.

    Args:
        queries: ``[query tokens, d]``.
        query_lengths: tokens of each query item.
        documents: ``[document tokens, d]``.
        document_lengths: tokens of each document.
        footprints: the vectors are signs, scaled to length 1.
    """
    out = np.zeros((len(query_lengths), len(document_lengths)), np.float32)
    asked, there = np.flatnonzero(query_lengths), np.flatnonzero(document_lengths)
    if not len(asked) or not len(there):
        return out
    similar = queries @ documents.T
    best = np.maximum.reduceat(similar, np.cumsum(document_lengths[there]) - document_lengths[there], axis=1)
    if footprints:
        best = np.cos(np.float32(np.pi) * (1 - best) / 2)  # the share of differing bits is (1 - cosine of the signs) / 2
    sums = np.add.reduceat(best, np.cumsum(query_lengths[asked]) - query_lengths[asked], axis=0)
    out[np.ix_(asked, there)] = sums / query_lengths[asked][:, None]
    return out


def _token_codes(encoder: TextEncoder, tokens: Ragged, planes: FloatArray | None, progress: bool) -> tuple[IntArray, npt.NDArray[Any]]:
    """Return the row and the code of every token that is no special one; tokens of one row stand in their order."""
    special = np.array(encoder.tokenizer.all_special_ids)
    rows: list[IntArray] = [np.zeros(0, np.int64)]
    width = int(encoder.model.config.hidden_size) if planes is None else planes.shape[1] // 8
    codes: list[npt.NDArray[Any]] = [np.zeros((0, width), np.int8 if planes is None else np.uint8)]
    was_training = encoder.training
    encoder.eval()
    try:
        with progress_bar(progress, "token vectors", len(tokens)) as bar, torch.no_grad():
            for batch in token_budget_batches(tokens.lengths, encoder.config.batch_tokens or _BATCH_TOKENS):
                ids, mask = padded_tokens(tokens, batch, encoder.tokenizer.pad_token_id or 0)
                on_device = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
                output = encoder.model(**{name: value.to(encoder.device) for name, value in on_device.items()}, return_dict=True)
                there = (mask > 0) & ~np.isin(ids, special)
                vectors = output.last_hidden_state.float().cpu().numpy()[there]
                if not np.isfinite(vectors).all():
                    raise ModelError(f"encoder {encoder.config.name} gives values that are not finite: set precision to fp32")
                rows.append(batch[np.nonzero(there)[0]])
                codes.append(_coded(vectors, planes))
                bar.update(len(batch))
    finally:
        encoder.train(was_training)
    return np.concatenate(rows), np.concatenate(codes)


def _coded(vectors: FloatArray, planes: FloatArray | None) -> npt.NDArray[Any]:
    if planes is not None:
        return np.packbits(vectors @ planes > 0, axis=1)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return np.rint(unit * _SCALE).astype(np.int8)
