"""What a catalogue says, as vectors: its texts whole, or each of its fields by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bertrec.core.errors import DataError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.known import encode_unknown
from bertrec.encoders.registry import make_encoder
from bertrec.models.serving import FloatArray


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
    """Return the raw text vectors of a catalogue, ``[n_items, dim]``; of fields apart ``[n_items, len(fields) · dim]``.

    Args:
        encoder: reads the texts; what it read before comes from the cache.
        catalog: the items.
        fields: read one by one, vectors side by side, zeros where a field is empty; none reads whole texts.
        progress: show bars.

    Raises:
        DataError: the catalogue lacks one of the fields.
    """
    if not fields:
        return encoder.encode_items(catalog, progress=progress)
    _check_fields(catalog, fields)
    encoder.warn_of_texts([text for name in fields for text in catalog.fields[name]])
    return np.concatenate([_field(encoder, catalog.fields[name], progress) for name in fields], axis=1)


def reread(
    encoder: Callable[[], Encoder], catalog: ItemCatalog, fields: Sequence[str] = (), *, known: ItemCatalog, vectors: FloatArray
) -> FloatArray:
    """Return what `read_catalog` does, where a catalogue was read before: texts that it holds are not encoded again.

    Args:
        encoder: gives the encoder; not called where all texts are known.
        catalog: the items.
        fields: as there.
        known: the catalogue of before.
        vectors: of that, as `read_catalog` gave them.

    Raises:
        DataError: the catalogue lacks one of the fields.
    """

    def encode(texts: list[str]) -> FloatArray:
        reader = encoder()
        reader.warn_of_texts(texts)
        return reader.encode_kept(texts)

    if not fields:
        return encode_unknown(catalog.texts, known.texts, vectors, encode)
    _check_fields(catalog, fields)
    parts = zip(fields, np.split(vectors, len(fields), axis=1), strict=True)
    return np.concatenate([_field_again(catalog.fields[name], known.fields[name], part, encode) for name, part in parts], axis=1)


def _field_again(texts: list[str], known: list[str], vectors: FloatArray, encode: Callable[[list[str]], FloatArray]) -> FloatArray:
    """Return the vectors of a field, of which some texts are known; the empty one always is, and zero."""
    return encode_unknown(texts, ["", *known], np.concatenate([np.zeros_like(vectors[:1]), vectors]), encode)


def _check_fields(catalog: ItemCatalog, fields: Sequence[str]) -> None:
    if absent := [name for name in fields if name not in catalog.fields]:
        told = f"the model reads the text fields {', '.join(fields)} apart, and the catalogue has no '{absent[0]}'"
        raise DataError(f"{told}: add that column, empty where nothing is known")


def _field(encoder: Encoder, texts: list[str], progress: bool) -> FloatArray:
    vectors = np.zeros((len(texts), encoder.dim), np.float32)
    if there := [row for row, text in enumerate(texts) if text]:
        vectors[there] = encoder.encode_kept([texts[row] for row in there], progress=progress)
    return vectors
