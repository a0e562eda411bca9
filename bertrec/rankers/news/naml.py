"""NAML (Wu et al., IJCAI 2019) over a pretrained encoder: an item is seen in several views, which attention joins.

Views are the title, the body (all other texts), and each field of labels, such as category and subcategory. The first
two are vectors of the text encoder; that of a label is the encoder's vector of its name, plus a vector that is learned
and begins at 0, so that a label that training never saw still has a view. A view that an item lacks does not count. The
vectors of the views are pooled by additive attention, which begins with equal weights, and the result has length 1. The
user vector is additive attention over the history, as in the paper; untrained it is the mean of the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertrec.core.config import Config
from bertrec.core.ragged import IntArray
from bertrec.data.attributes import LABEL_FIELDS
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.item_labels import ItemLabels, item_labels
from bertrec.encoders.text import TextEncoder
from bertrec.models.folder import SavedParts
from bertrec.rankers.news.config import NewsConfig
from bertrec.rankers.news.texts import (
    ItemTexts,
    TextVectors,
    check_fields,
    has_labels,
    labels_in_use,
    mean_of_labels,
    read_texts,
)
from bertrec.rankers.news.towers import AttentiveTower, ItemTower, UserTower, additive_attention
from bertrec.rankers.news.two_tower import TwoTower

_NAMES = "labels"  # among the values of config.json


class NAMLConfig(NewsConfig):
    """Settings of NAML."""

    label_fields: tuple[str, ...] | None = Field(
        None,
        description="Text fields with labels, a view each; null takes all known ones, such as category, () none.",
    )
    body_fields: tuple[str, ...] | None = Field(
        None,
        description="Text fields that make the view of the body; null takes all but title and labels, () none.",
    )


class ViewTower(ItemTower):
    """Title, body and labels, pooled by additive attention.

    Args:
        dim: of the vectors.
        texts: of the items: views of text, then labels.
        known: the labels of each field that have weights of their own.
    """

    def __init__(self, dim: int, texts: ItemTexts, known: dict[str, list[str]]) -> None:
        super().__init__(texts)
        pairs = ((field, name.casefold()) for field, names in known.items() for name in names)
        self.numbers = {pair: number for number, pair in enumerate(pairs, start=1)}
        self.learned = nn.Embedding(len(self.numbers) + 1, dim, padding_idx=0)
        self.project, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)
        for begins_at_0 in (self.learned.weight, self.query.weight):
            nn.init.zeros_(begins_at_0)

    def forward(self, vectors: TextVectors, rows: IntArray) -> Tensor:
        """Return vectors of length 1, ``[m, dim]``, of items numbered from 0."""
        texts = [vectors(view[rows]) for view in self.texts.views]
        fields = zip(self.texts.labels, self.texts.names, strict=True)
        labels = [self._of_labels(vectors, *field, rows) for field in fields]
        there = [view[rows] >= 0 for view in self.texts.views]
        there += [one.items.lengths[rows] > 0 for one in self.texts.labels]
        held, views = torch.from_numpy(np.stack(there, axis=1)), torch.stack([*texts, *labels], dim=1)
        return normalize(additive_attention(views, held.to(views.device), self.project, self.query), dim=1)

    def _of_labels(self, vectors: TextVectors, labels: ItemLabels, names: IntArray, rows: IntArray) -> Tensor:
        """Return the view of a field of labels, ``[m, dim]``: the mean over the labels of an item."""
        used, place = labels_in_use(labels.items, rows, len(labels.names))
        numbers = [self.numbers.get((labels.field, labels.names[label].casefold()), 0) for label in used.tolist()]
        learned = self.learned(torch.tensor(numbers, dtype=torch.int64, device=self.learned.weight.device))
        return mean_of_labels(labels.items, rows, vectors(names[used]) + learned, place)


class NAML(TwoTower):
    """Title, body and categories as views of an item, pooled by attention; attention over the history."""

    name: ClassVar[str] = "naml"
    config_class: ClassVar[type[Config]] = NAMLConfig
    config: NAMLConfig

    def __init__(self, config: NAMLConfig | None = None) -> None:
        super().__init__(config)
        self._names: dict[str, list[str]] = {}

    def learn_names(self, impressions: Impressions, options: Mapping[str, Any]) -> None:
        """Take the labels of the catalogue.

        Raises:
            DataError: a field that the settings name is missing.
        """
        catalog = impressions.catalog
        for setting in ("label_fields", "body_fields"):
            check_fields(catalog, getattr(self.config, setting) or (), setting)
        fields = LABEL_FIELDS if self.config.label_fields is None else self.config.label_fields
        self._names = {field: item_labels(catalog, field).names for field in fields if has_labels(catalog, field)}

    def take_names(self, parts: SavedParts) -> None:
        """Take the labels that were saved."""
        self._names = {str(field): [str(name) for name in names] for field, names in parts.about[_NAMES].items()}

    def saved_values(self) -> dict[str, Any]:
        """Return the labels that have weights beside all else."""
        return {**super().saved_values(), _NAMES: self._names}

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._names = {}

    def read_items(self, catalog: ItemCatalog, encoder: TextEncoder) -> ItemTexts:
        """Cut titles, bodies and names of labels into word pieces."""
        others = [name for name in list(catalog.fields)[1:] if name not in self._names]
        body = others if self.config.body_fields is None else self.config.body_fields
        views = [self.own_texts(catalog)]
        if held := [catalog.fields[name] for name in body if name in catalog.fields]:
            views.append([" ".join(filter(None, texts)) for texts in zip(*held, strict=True)])
        return read_texts(catalog, encoder, views, tuple(self._names))

    def item_tower(self, dim: int, texts: ItemTexts) -> ItemTower:
        """Make the tower of views."""
        return ViewTower(dim, texts, self._names)

    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the attention over the history."""
        return AttentiveTower(dim)
