"""Give an encoder a masked-language-model head that knows the words of a catalogue, or bring its own closer to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.errors import DataError, NotFiniteError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.storage import HeadRecord
from bertrec.encoders.tokens import word_numbers
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.masked_lm import MaskedLanguageModel, MaskedTextDataset, TokenMasking, perplexity

HELD_OUT = 0.1


def adapt_masked_lm(
    encoder: MaskedEncoder,
    texts: Sequence[str],
    config: TrainConfig,
    *,
    data: str,
    new: bool,
    what: str = "item texts",
    whole_words: bool = False,
    run_dir: str | Path | None = None,
    resume: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: bool = True,
) -> HeadRecord:
    """Train the head's transform, and of the encoder what its depth tunes, on texts; ``encoder.head`` then tells of it.

    A tenth of the distinct texts is held out and measured on before and after; it has no part in the training, and chooses nothing.

    Args:
        encoder: trained in place; with ``tune="frozen"`` the transform and the words' biases alone, for the decoder is the word embeddings.
        texts: of the items, of reviews; equal and empty ones count once and not at all.
        config: the training's settings.
        data: name of the data, for the record.
        new: whether the encoder's head is one that was never trained.
        what: the texts in words.
        whole_words: hide all pieces of a word together, in training; what is measured hides tokens.
        run_dir: where checkpoints go, needed to resume.
        resume: go on from the newest one.
        say: told what is found, line by line.
        progress: show a progress line, where standard error is a terminal.

    Raises:
        DataError: fewer than two distinct texts have a word that the encoder knows.
        NotFiniteError: the loss or a perplexity is no number.
    """
    distinct = list(dict.fromkeys(texts))
    tokens = encoder.tokenize(distinct)
    learned, kept = _parts(encoder, tokens, config.seed)
    held_out = tokens.take(kept)
    say(f"{data}: {len(learned) + len(kept)} distinct {what}, {len(kept)} of them held out")
    encoder.tune_transform()
    before = _measured(encoder, held_out, config.seed)
    say(f"perplexity on the held-out texts before: {before:.4g}")
    pieces = word_numbers(encoder.tokenizer, distinct, encoder.config.max_length).take(learned) if whole_words else None
    dataset = MaskedTextDataset(tokens.take(learned), TokenMasking.of(encoder), encoder.tokenizer.pad_token_id or 0, pieces)
    how: dict[str, Any] = {"run_dir": run_dir, "resume": resume, "progress": progress}
    was_training = encoder.training
    log = fit_module(MaskedLanguageModel(encoder), dataset, dataset.collate, config, **how)
    encoder.train(was_training)  # a new module is in training mode, and takes its parts there
    after = _measured(encoder, held_out, config.seed)
    say(f"perplexity on the held-out texts after {len(log.epochs)} epochs ({log.seconds:.0f} s): {after:.4g}")
    settings = {"tune": encoder.config.tune, "encoder": encoder.config.name, "max_length": encoder.config.max_length}
    settings |= {
        "epochs": len(log.epochs),
        "seconds": round(log.seconds, 1),
        "texts": texts_hash(texts),
        "mask": "words" if whole_words else "tokens",
    }
    for name in ("batch_size", "learning_rate", "encoder_learning_rate", "schedule", "seed"):
        settings[name] = getattr(config, name)
    encoder.head = HeadRecord(data, len(learned), len(kept), before, after, new, settings)
    return encoder.head


def texts_hash(texts: Sequence[str]) -> str:
    """Return the SHA-256 over the texts, by which a head's record knows them again."""
    return sha256_text(*texts)


def _parts(encoder: MaskedEncoder, tokens: Ragged, seed: int) -> tuple[IntArray, IntArray]:
    """Return the rows that are learned and those that are held out."""
    masking = TokenMasking.of(encoder)
    words = np.bincount(tokens.rows[masking.is_word(tokens.values)], minlength=len(tokens))
    usable = np.flatnonzero(words)
    if len(usable) < 2:
        raise DataError(f"{len(usable)} distinct texts have a word that the encoder knows: at least two are needed, one of them held out")
    order = usable[np.random.default_rng(seed).permutation(len(usable))]
    count = max(1, round(HELD_OUT * len(usable)))
    return order[count:], order[:count]


def _measured(encoder: MaskedEncoder, tokens: Ragged, seed: int) -> float:
    value = perplexity(encoder, tokens, seed=seed)
    if not math.isfinite(value):
        raise NotFiniteError(f"the perplexity of {encoder.config.name} on the held-out texts is {value}")
    return value
