"""What a catalogue says, as vectors: its texts whole, or each of its fields by itself."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Sequence

import numpy as np

from bertrec.core.errors import DataError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.base import Encoder
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.models.serving import FloatArray

logger = logging.getLogger(__name__)


def same_encoder(config: EncoderConfig, fingerprint: str) -> Encoder:
    """Load the frozen encoder that a model was trained with.

    Args:
        config: names it.
        fingerprint: of the one in training.

    Raises:
        ModelError: the encoder of that name is another one.
    """
    encoder = make_encoder(config)
    if encoder.fingerprint != fingerprint:
        raise ModelError(f"encoder '{config.name}' is not the one that this model was trained with: its weights differ")
    return encoder


def read_catalog(encoder: Encoder, catalog: ItemCatalog, fields: Sequence[str] = (), *, progress: bool) -> FloatArray:
    """Return the raw text vectors of a catalogue, ``[n_items, dim]``, or of its fields apart, ``[n_items, len(fields) · dim]``.

    Args:
        encoder: reads the texts; what it read before comes from the cache.
        catalog: the items.
        fields: read one by one, their vectors side by side, and zeros where a field is empty; none reads the whole texts.
        progress: show bars.

    Raises:
        DataError: the catalogue lacks one of the fields.
    """
    if not fields:
        return encoder.encode_items(catalog, progress=progress)
    if note := encoder.script_note(catalog.texts):
        logger.warning(note)
    if absent := [name for name in fields if name not in catalog.fields]:
        told = f"the model reads the text fields {', '.join(fields)} apart, and the catalogue has no '{absent[0]}'"
        raise DataError(f"{told}: add that column, empty where nothing is known")
    return np.concatenate([_field(encoder, catalog.fields[name], progress) for name in fields], axis=1)


def what_is_said(catalog: ItemCatalog, fields: Sequence[str] = ()) -> Sequence[Hashable]:
    """Return for each item what its vector depends on: its text, or its fields where they are read apart."""
    return list(zip(*(catalog.fields.get(name, []) for name in fields), strict=True)) if fields else catalog.texts


def _field(encoder: Encoder, texts: list[str], progress: bool) -> FloatArray:
    vectors = np.zeros((len(texts), encoder.dim), np.float32)
    if there := [row for row, text in enumerate(texts) if text]:
        vectors[there] = _encoded(encoder, [texts[row] for row in there], progress)
    return vectors


def _encoded(encoder: Encoder, texts: list[str], progress: bool) -> FloatArray:
    was_training = encoder.training
    vectors = encoder.eval().encode(texts, cache=EmbeddingCache(), progress=progress)
    encoder.train(was_training)
    return vectors
