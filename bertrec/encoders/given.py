"""Item vectors made elsewhere, by any model of anything, in place of an encoder of texts."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.readers.vectors import is_vector_file, read_vector_file
from bertrec.encoders.base import Encoder, Vectors
from bertrec.encoders.config import EncoderConfig

logger = logging.getLogger(__name__)
_NAMED = 3
_WHOLE = re.compile("0|-?[1-9][0-9]{0,18}")


class GivenVectors(Encoder):
    """Vectors by item id; ``encoder.name`` is the ``.parquet`` or ``.npy`` that holds them. No text is read.

    Args:
        config: its ``truncate_dim`` is followed; all other settings are of encoders that read texts.
        ids: of the rows; None where the rows stand in the order of the catalogue.
        values: ``[n, d]``, finite.

    Raises:
        ConfigError: ``truncate_dim`` is above the width.
        DataError: a value is not finite, or there is not one id for each row.
    """

    def __init__(self, config: EncoderConfig, ids: IdMap | None, values: npt.ArrayLike) -> None:
        super().__init__(config)
        rows = np.ascontiguousarray(values, np.float32)
        if rows.ndim != 2 or not rows.size or (ids is not None and len(ids) != len(rows)) or not np.isfinite(rows).all():
            raise DataError(f"item vectors: give a finite matrix with one row for each id, not one of shape {list(rows.shape)}")
        if config.truncate_dim is not None and config.truncate_dim > rows.shape[1]:
            raise ConfigError(f"encoder.truncate_dim {config.truncate_dim} is above the {rows.shape[1]} dimensions of {config.name}")
        self.ids, self.values = ids, rows[:, : config.truncate_dim]

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: torch.device | str | None = None) -> Self:
        """Read the file that ``config`` names; `bertrec.data.readers.vectors` says in which forms.

        Raises:
            DataError: there is no such file, or it is not as it should be.
        """
        return cls(config, *read_vector_file(config.name))

    @classmethod
    def of(cls, ids: Sequence[str | int], values: npt.ArrayLike) -> Self:
        """Take vectors ``[n, d]`` from memory, of items with these ids."""
        return cls(EncoderConfig(name="vectors.npy"), IdMap(ids), values)

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.values.shape[1])

    @property
    def fingerprint(self) -> str:
        """SHA-256 over ids and vectors."""
        digest = hashlib.sha256(f"{self.values.shape}\0".encode())
        for external in () if self.ids is None else self.ids.ids:
            digest.update(f"{type(external).__name__}:{external}\0".encode())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Say that no text can be read.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"{self.config.name} holds vectors of items and reads no text: name an encoder of texts in its place")

    def encode_items(self, catalog: ItemCatalog, *, progress: bool = False) -> Vectors:
        """Return the vectors of a catalogue's items, ``[n_items, dim]``.

        Raises:
            DataError: an item has none; the text counts and names them.
        """
        rows = self._rows(catalog.ids)
        if (rows < 0).any():
            mend = "add them to the file, or leave these items out of the data"
            raise DataError(f"{self.config.name}: {lost_items(catalog.ids, rows)}: {mend}")
        return np.ascontiguousarray(self.values[rows])

    def missing(self, ids: IdMap) -> str:
        """Say which items have no vector, and how many; empty where all have one."""
        rows = self._rows(ids)
        return lost_items(ids, rows) if (rows < 0).any() else ""

    def joined(self, more: GivenVectors) -> GivenVectors:
        """Return the vectors of both; of an item that both hold, those of ``more``.

        Raises:
            DataError: the widths differ, or one of them names no ids.
        """
        expect(more, GivenVectors, "GivenVectors.joined: more")
        if self.dim != more.dim:
            raise DataError(f"{more.config.name} holds vectors of {more.dim} numbers, not {self.dim} as the model's: take the same encoder")
        if self.ids is None or more.ids is None:
            raise DataError(f"{more.config.name} names no ids: write them beside it, one on each line of NAME.ids.txt")
        kept = np.flatnonzero(more._rows(self.ids) < 0)
        ids = IdMap([*(self.ids.ids[row] for row in kept), *more.ids.ids])
        config = self.config.updated({"truncate_dim": None})
        return GivenVectors(config, ids, np.concatenate([self.values[kept], more.values]))

    def _rows(self, wanted: IdMap) -> IntArray:
        """Return the row of each id, -1 where there is none; ``7`` stands for ``"7"`` where only one of them is there."""
        if self.ids is None:
            return self._in_order(wanted)
        rows = self.ids.encode(wanted.ids) - 1
        lost = np.flatnonzero(rows < 0)
        rows[lost] = self.ids.encode([_otherwise(wanted.ids[row]) for row in lost]) - 1
        return rows

    def _in_order(self, wanted: IdMap) -> IntArray:
        if len(wanted) != len(self.values):
            raise DataError(
                f"{self.config.name} has {len(self.values)} rows for {len(wanted)} items and names no ids: "
                f"write these to {Path(self.config.name).stem}.ids.txt beside it, one on each line"
            )
        logger.warning("%s names no ids: row 1 is taken for item %r, and so on in the catalogue's order", self.config.name, wanted.ids[0])
        return np.arange(len(wanted))


def lost_items(ids: IdMap, rows: IntArray) -> str:
    """Say how many items have no row, and name the first of them."""
    lost = np.flatnonzero(rows < 0)
    named = ", ".join(repr(ids.ids[row]) for row in lost[:_NAMED])
    return f"{len(lost)} of {len(ids)} items have no vector, such as {named}"


def _otherwise(external: str | int) -> str | int:
    """Return the same id in the other type, where that is written in one way only."""
    if isinstance(external, int):
        return str(external)
    return int(external) if _WHOLE.fullmatch(external) else external


def reads_vectors(config: Any) -> bool:
    """Say whether these settings of an encoder name a file of item vectors."""
    return isinstance(config, EncoderConfig) and is_vector_file(config.name)
