"""What the towers read of a catalogue: the word pieces of its texts and of its labels, each item's in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import ItemLabels, item_labels
from bertrec.encoders.text import TextEncoder


@dataclass(frozen=True, eq=False)
class ItemTexts:
    """The views of all items.

    Attributes:
        tokens: word pieces of all distinct texts, names of labels included.
        views: ``[n_items]`` the row of ``tokens`` of each item in each view of text; -1 where it has no such text.
        labels: what each field of labels says of the items.
        names: ``[labels]`` the row of ``tokens`` of each label's name, for each field.
    """

    tokens: Ragged
    views: tuple[IntArray, ...]
    labels: tuple[ItemLabels, ...] = ()
    names: tuple[IntArray, ...] = ()


def read_texts(
    catalog: ItemCatalog,
    encoder: TextEncoder,
    views: Sequence[Sequence[str]],
    fields: Sequence[str] = (),
) -> ItemTexts:
    """Cut the texts of items into word pieces.

    Args:
        catalog: the items.
        encoder: whose word pieces.
        views: ``[n_items]`` texts each; an empty text of any view but the first is no view of its item.
        fields: of labels; those that the catalogue lacks or that are empty for all items are left out.
    """
    labels = tuple(item_labels(catalog, field) for field in fields if has_labels(catalog, field))
    columns = [*views, *(one.names for one in labels)]
    stops = np.cumsum([len(column) for column in columns]).tolist()
    rows = [np.arange(stop - len(column), stop) for column, stop in zip(columns, stops, strict=True)]
    held = [np.array([bool(text.strip()) or not number for text in view], bool) for number, view in enumerate(views)]
    kept = tuple(np.where(there, row, -1) for there, row in zip(held, rows, strict=False))
    tokens = encoder.tokenize([text for column in columns for text in column])
    return ItemTexts(tokens, kept, labels, tuple(rows[len(views) :]))


def has_labels(catalog: ItemCatalog, field: str) -> bool:
    """Say whether the catalogue has a field of labels that is not empty for all items."""
    return any(text.strip() for text in catalog.fields.get(field, ()))


def check_fields(catalog: ItemCatalog, fields: Sequence[str], setting: str) -> None:
    """See that the catalogue has the fields that a setting names.

    Raises:
        DataError: it lacks one.
    """
    for field in fields:
        if field not in catalog.fields:
            have = ", ".join(catalog.fields) or "no text"
            raise DataError(f"{setting} names '{field}', and the items have {have}: name one of these")


class TextVectors:
    """Vectors of length 1 of texts; a frozen encoder reads each text once for the whole training.

    Args:
        encoder: what reads them.
        tokens: the word pieces of the texts.
    """

    def __init__(self, encoder: TextEncoder, tokens: Ragged) -> None:
        self.encoder, self.tokens = encoder, tokens
        self._frozen: Tensor | None = None

    def __call__(self, rows: IntArray) -> Tensor:
        """Return the vectors of some texts, ``[n, dim]``; zeros for row -1."""
        there = rows >= 0
        found = self._vectors(rows if there.all() else np.maximum(rows, 0))
        return found if there.all() else found * torch.from_numpy(there).to(found.device)[:, None]

    def _vectors(self, rows: IntArray) -> Tensor:
        if not len(rows):
            return torch.zeros(0, self.encoder.dim, device=self.encoder.device)
        if self.encoder.trainable:
            return normalize(self.encoder.encode_tokens(self.tokens, rows), dim=1)
        if self._frozen is None:
            with torch.no_grad():
                self._frozen = normalize(self.encoder.encode_tokens(self.tokens), dim=1)
        return self._frozen[torch.from_numpy(rows).to(self._frozen.device)]


def mean_of_labels(items: Ragged, rows: IntArray, vectors: Tensor, place: IntArray) -> Tensor:
    """Return the mean vector of each item's labels, ``[m, dim]``; zeros for an item without any.

    Args:
        items: numbers of labels, a row for each item.
        rows: ``[m]`` which items.
        vectors: ``[l, dim]`` of some labels.
        place: ``[labels]`` the row in ``vectors`` of a label.
    """
    own = items.take(rows)
    to, of = (torch.from_numpy(array).to(vectors.device) for array in (own.rows, place[own.values]))
    total = vectors.new_zeros(len(rows), vectors.shape[1]).index_add(0, to, vectors[of])
    return total / torch.from_numpy(np.maximum(own.lengths, 1)).to(vectors.device)[:, None]


def labels_in_use(items: Ragged, rows: IntArray, count: int) -> tuple[IntArray, IntArray]:
    """Return the distinct labels of some items, and of all ``count`` labels the place in these, ``[count]``."""
    used = np.unique(items.take(rows).values)
    place = np.zeros(count, np.int64)
    place[used] = np.arange(len(used))
    return used, place
