"""What every encoder of texts has; the least that another package's has to give."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.checks import expect
from bertrec.core.described import Described
from bertrec.core.devices import chosen_device, device_of
from bertrec.core.errors import ModelError
from bertrec.core.foreign import guard_results, matrix
from bertrec.core.plugins import path_of
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.batching import distinct_texts
from bertrec.encoders.cache import EmbeddingCache, keeps_vectors
from bertrec.encoders.config import EncoderConfig

Vectors = npt.NDArray[np.float32]
_TEXTS_AT_ONCE = 1024

logger = logging.getLogger(__name__)
_warned = ContextVar("_warned", default=False)


@contextmanager
def texts_warned_of() -> Iterator[None]:
    """Within this nothing is said of texts: they are some of those that were read before."""
    before = _warned.set(True)
    try:
        yield
    finally:
        _warned.reset(before)


class Encoder(Described, torch.nn.Module, ABC):
    """Texts to raw vectors; ``encoder.name`` names a class derived from it.

    Its weights are never tuned: a model reads each text once and keeps the vectors. A saved model keeps the encoder's
    name and not the encoder. What can be tuned derives from `bertrec.encoders.text.TextEncoder`.

    Args:
        config: the settings ``encoder.*``; an encoder reads those that mean something to it.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard_results(cls, {"embed": matrix})

    def _facts(self) -> dict[str, object]:
        return {"name": self.config.name, "dim": self.dim, "tune": self.config.tune}

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: torch.device | str | None = None) -> Self:
        """Make the encoder with these settings, on this device or where the process computes."""
        return cls(config).to(chosen_device(device))

    @property
    @abstractmethod
    def dim(self) -> int:
        """Width of a vector."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Name what the encoder computes, settings included: whatever changes a vector changes the name too."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors of ``n`` distinct texts, ``[n, dim]``; called without gradients. A text may be empty."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return device_of(self)

    @property
    def trainable(self) -> bool:
        """Whether any weight is tuned."""
        return False

    def script_note(self, texts: Sequence[str]) -> str | None:
        """Return a note where most of ``texts`` is in a script that the encoder hardly reads; None for encoders without a vocabulary."""
        return None

    def length_note(self, texts: Sequence[str]) -> str | None:
        """Return a note where more than a tenth of ``texts`` is longer than what is read of them; None for encoders that cut nothing."""
        return None

    def knows_nothing_of(self, text: str) -> bool:
        """Say whether no word of a text is in the encoder's vocabulary; False for encoders without one."""
        return False

    def encode(self, texts: Sequence[str], *, cache: EmbeddingCache | None = None, progress: bool = False) -> Vectors:
        """Encode texts for inference, equal texts once.

        Args:
            texts: ``n`` texts.
            cache: where vectors are looked up and kept.
            progress: show a bar with items per second and the time left.

        Returns:
            ``[n, dim]`` float32 raw vectors.

        Raises:
            DataError: an element is not a text.
            ModelError: the encoder gives values that are not finite, or vectors of another shape than it says.
        """
        if cache is not None:
            expect(cache, EmbeddingCache, f"{type(self).__name__}.encode: cache")
            return cache.get_or_encode(self, texts, progress=progress)
        distinct, place = distinct_texts(texts)
        return self._gathered(distinct, progress)[place]

    def encode_items(self, catalog: ItemCatalog, *, progress: bool = False) -> Vectors:
        """Return the vectors of a catalogue's texts, ``[n_items, dim]``, by way of the cache; see `warn_of_texts`."""
        self.warn_of_texts(catalog.texts)
        return self.encode_kept(catalog.texts, progress=progress)

    def warn_of_texts(self, texts: Sequence[str]) -> None:
        """Log what `script_note` and `length_note` say."""
        if _warned.get():
            return
        for note in (self.script_note(texts), self.length_note(texts)):
            if note:
                logger.warning(note)

    def encode_kept(self, texts: Sequence[str], *, progress: bool = False) -> Vectors:
        """Return the vectors of texts, ``[n, dim]``, as in use, by way of the cache; a training goes on as it was."""
        was_training = self.training
        vectors = self.eval().encode(texts, cache=EmbeddingCache() if keeps_vectors() else None, progress=progress)
        self.train(was_training)
        return vectors

    def encode_batches(self, texts: Sequence[str], *, progress: bool = False) -> Iterator[tuple[IntArray, Vectors]]:
        """Yield ``(rows [b], vectors [b, dim])`` until each of ``texts``, which are distinct, was encoded once."""
        with progress_bar(progress, "encode", len(texts)) as bar:
            for start in range(0, len(texts), _TEXTS_AT_ONCE):
                part = texts[start : start + _TEXTS_AT_ONCE]
                yield np.arange(start, start + len(part)), self._embedded(part)
                bar.update(len(part))

    def _gathered(self, texts: Sequence[str], progress: bool) -> Vectors:
        vectors = np.zeros((len(texts), self.dim), np.float32)
        for rows, batch in self.encode_batches(texts, progress=progress):
            vectors[rows] = batch
        return vectors

    @torch.no_grad()
    def _embedded(self, texts: Sequence[str]) -> Vectors:
        vectors = np.asarray(self.embed(texts), np.float32)
        if vectors.shape != (len(texts), self.dim):
            shapes = f"{list(vectors.shape)}, not {[len(texts), self.dim]}: [texts, dim]"
            raise ModelError(f"{path_of(type(self))}.embed gives vectors of shape {shapes}")
        if not np.isfinite(vectors).all():
            raise ModelError(f"{path_of(type(self))}.embed gives values that are not finite")
        return vectors
