"""Texts to token ids, equal texts once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertrec.core.errors import ModelError
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import Ragged
from bertrec.encoders.batching import distinct_texts

_TOKENIZER_BATCH = 4096


def tokenize_texts(tokenizer: Any, texts: Sequence[str], max_length: int, *, prompt: str = "", progress: bool = False) -> Ragged:
    """Return token ids with special tokens, each text cut to ``max_length``; equal texts are tokenized once.

    Args:
        tokenizer: of Hugging Face.
        texts: ``n`` texts.
        max_length: tokens per text, those of ``prompt`` included.
        prompt: put before each text.
        progress: show a bar.

    Raises:
        DataError: an element is not a text; the message names its position.
    """
    distinct, place = distinct_texts(texts)
    rows: list[list[int]] = []
    with progress_bar(progress, "tokenize", len(distinct)) as bar:
        for start in range(0, len(distinct), _TOKENIZER_BATCH):
            part = [prompt + text for text in distinct[start : start + _TOKENIZER_BATCH]]
            rows += token_ids(tokenizer, part, truncation=True, max_length=max_length)
            bar.update(len(rows) - bar.n)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    values = np.fromiter((token for row in rows for token in row), np.int64, int(lengths.sum()))
    return Ragged.from_lengths(values, lengths).take(place)


def word_numbers(tokenizer: Any, texts: Sequence[str], max_length: int) -> Ragged:
    """Return of each token that `tokenize_texts` gives which word of its text it is a piece of, -1 for special tokens.

    Args:
        tokenizer: a fast one of Hugging Face; what a word is, its pre-tokenizer says.
        texts: ``n`` texts.
        max_length: tokens per text.
    """
    rows: list[list[int]] = []
    for start in range(0, len(texts), _TOKENIZER_BATCH):
        found = _encoded(tokenizer, list(texts[start : start + _TOKENIZER_BATCH]), {"truncation": True, "max_length": max_length})
        rows += [[-1 if word is None else word for word in found.word_ids(row)] for row in range(len(found["input_ids"]))]
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    return Ragged.from_lengths(np.fromiter((word for row in rows for word in row), np.int64, int(lengths.sum())), lengths)


def token_ids(tokenizer: Any, texts: list[str], **options: Any) -> list[list[int]]:
    """Return the token ids of each text; ``options`` are the tokenizer's.

    Raises:
        ModelError: the tokenizer is damaged.
    """
    ids: list[list[int]] = _encoded(tokenizer, texts, options)["input_ids"]
    return ids


def _encoded(tokenizer: Any, texts: list[str], options: dict[str, Any]) -> Any:
    options = options | {"return_attention_mask": False, "return_token_type_ids": False}
    try:
        return _asked(tokenizer, texts, options)
    except (TypeError, UnicodeEncodeError):
        # Half of a surrogate pair, as broken JSON escapes leave it, is no Unicode text: the replacement character stands for it.
        clean = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
        return _asked(tokenizer, clean, options)


def _asked(tokenizer: Any, texts: list[str], options: dict[str, Any]) -> Any:
    try:
        return tokenizer(texts, **options)
    except BaseException as error:
        # What a damaged tokenizer.json makes of the library written in Rust is no Exception, and its class is not public.
        if type(error).__name__ != "PanicException":
            raise
        where = getattr(tokenizer, "name_or_path", "") or "the encoder"
        raise ModelError(f"the tokenizer of {where} is damaged (tokenizer.json): {error}") from error
