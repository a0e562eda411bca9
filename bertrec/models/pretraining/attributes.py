"""Attributes and times of a hidden purchase, predicted from the rest: ShopperBERT's tasks (Shin et al., 2021, arXiv:2106.00573)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from bertrec.core.errors import ConfigError, DataError, unknown_name
from bertrec.core.ragged import IntArray
from bertrec.data.attributes import LABEL_FIELDS
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import price_levels, split_labels
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.domains import Domain, Domains
from bertrec.models.pretraining.tasks import Task
from bertrec.models.pretraining.view import View

TIMES = ("year", "month", "weekday", "hour")
"""What is predicted of a purchase's time, in UTC."""
_LABELS = 1000
"""Of an attribute, the most frequent ones; a rarer one is none."""
_OF_ITEM = 8
"""Labels of an item, the most frequent ones."""


class AttributesTask(Task):
    """What a hidden item is and when it was taken, by a linear classifier for each attribute over the state at the sequence's end.

    The mean over attributes of the cross-entropies; an item with several labels has each of them in equal shares.
    """

    def __init__(self, config: PretrainConfig, domains: Domains) -> None:
        super().__init__(config, domains)
        self.known = wanted_attributes(config, domains)
        for number, one in enumerate(self.known):
            self.register_buffer(f"labels_{number}", torch.from_numpy(one.labels), persistent=False)

    @classmethod
    def examine(cls, config: PretrainConfig, domains: Domains) -> list[str]:
        """See that there is something to predict, and say what."""
        known = wanted_attributes(config, domains)
        timed = not config.attributes or any(one.of_time for one in known)
        lacking = {part.name: _lacking(part, known, timed=timed) for part in domains.parts}
        lines = [f"{name}: no {' and no '.join(what)}, of which the task attributes could learn" for name, what in lacking.items() if what]
        return ["attributes: " + ", ".join(f"{one.name} ({one.classes})" for one in known), *lines]

    def build(self, width: int) -> None:
        """Make a classifier for each attribute."""
        self.classifiers = nn.ModuleList(nn.Linear(width, one.classes) for one in self.known)

    @property
    def weight(self) -> float:
        """``pretrain.attributes_weight``."""
        return self.config.attributes_weight

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch; 0 where nothing is known of its hidden items."""
        assert view.hidden.places is not None  # every batch of a pre-training has them
        ids = view.ids[view.hidden.items]
        losses = []
        for number, (one, classifier) in enumerate(zip(self.known, self.classifiers, strict=True)):
            labels = self.get_buffer(f"labels_{number}")[view.hidden.places if one.of_time else ids]
            some = (labels >= 0).any(1)
            if some.any():
                losses.append(bag_loss(classifier(view.hidden.states[some]), labels[some]))
        return torch.stack(losses).mean() if losses else view.items.sum() * 0.0


def bag_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over rows of the cross-entropy to a row's labels in equal shares.

    Args:
        logits: ``[r, classes]``.
        labels: ``[r, most]``, at least one in each row; -1 is none.
    """
    present = labels >= 0
    chosen = logits.log_softmax(1).gather(1, labels.clamp(min=0)) * present
    return -(chosen.sum(1) / present.sum(1)).mean()


@dataclass(frozen=True, eq=False)
class Attribute:
    """What is predicted of interactions.

    Attributes:
        name: a column's, or one of `TIMES`.
        classes: how many labels there are.
        labels: ``[rows, most]`` the numbers of the labels, -1 where there is none. Rows are inner ids of the joined table, or, of a time,
            places among the training interactions; row 0 is padding.
        of_time: which of both.
    """

    name: str
    classes: int
    labels: IntArray
    of_time: bool = False


def wanted_attributes(config: PretrainConfig, domains: Domains) -> list[Attribute]:
    """Return the attributes that are asked for, or those of the usual names that have two labels or more.

    Raises:
        ConfigError: one that is asked for is in no data set.
        DataError: none is asked for and there is none.
    """
    if config.attributes:
        return [_asked_for(name, domains) for name in config.attributes]
    found = [one for name in (*LABEL_FIELDS, *TIMES) if (one := attribute(name, domains)) is not None]
    if not found:
        usual = f"no column of labels ({', '.join(LABEL_FIELDS)}) and no times"
        raise DataError(f"the task attributes has nothing to predict: {usual}; name columns with pretrain.attributes, or leave it out")
    return found


def _asked_for(name: str, domains: Domains) -> Attribute:
    found = attribute(name, domains)
    if found is not None:
        return found
    if name in TIMES and len(_untimed(domains)) == len(domains):
        raise ConfigError(f"pretrain.attributes: {name}: no data set has times of interactions: leave it out")
    names = _columns(domains)
    if name in (*names, *TIMES):
        raise ConfigError(f"pretrain.attributes: {name} has no two different values: leave it out")
    raise ConfigError(f"pretrain.attributes: {unknown_name('attribute', name, [*names, *TIMES])}")


def _lacking(part: Domain, known: Sequence[Attribute], *, timed: bool) -> list[str]:
    """Return the names of what a data set has nothing of."""
    names = [one.name for one in known if not one.of_time and (one.labels[part.rows] < 0).all()]
    return names + (["times of interactions"] if timed and part.split.train.timed.times is None else [])


def _columns(domains: Domains) -> list[str]:
    catalogs = [part.split.catalog for part in domains.parts]
    return list(dict.fromkeys(name for one in catalogs for name in (*one.fields, *one.attribute_names)))


def _untimed(domains: Domains) -> list[Domain]:
    return [part for part in domains.parts if part.split.train.timed.times is None]


def attribute(name: str, domains: Domains) -> Attribute | None:
    """Return one attribute over all data sets, times before columns of their names; None where it has no two labels."""
    found = (_time(name, domains) if name in TIMES else None) or _column(name, domains)
    return found if found is not None and found.classes > 1 else None


def _time(name: str, domains: Domains) -> Attribute | None:
    parts = [part.split.train.timed for part in domains.parts]
    if all(part.times is None for part in parts):
        return None
    values = [np.full(len(part.values), -1) if part.times is None else time_value(name, part.times) for part in parts]
    column = np.concatenate([[-1], *values])
    names = np.unique(column[column >= 0])
    labels = np.where(column >= 0, np.searchsorted(names, column), -1)
    return Attribute(name, len(names), labels[:, None].astype(np.int64), of_time=True)


def time_value(name: str, seconds: IntArray) -> IntArray:
    """Return years, months (0 is January), weekdays (0 is Monday) or hours of times in seconds since 1970, in UTC.

    >>> [int(time_value(name, np.array([1_000_000_000]))[0]) for name in TIMES]
    [2001, 8, 6, 1]
    """
    when = seconds.astype("datetime64[s]")
    values: IntArray = {
        "year": lambda: when.astype("datetime64[Y]").astype(np.int64) + 1970,
        "month": lambda: when.astype("datetime64[M]").astype(np.int64) % 12,
        "weekday": lambda: (seconds // 86_400 + 3) % 7,
        "hour": lambda: seconds // 3600 % 24,
    }[name]()
    return values


def _column(name: str, domains: Domains) -> Attribute | None:
    rows = [row for part in domains.parts for row in _labels(part.split.catalog, name)]
    counts = Counter(label for row in rows for label in row)
    number = {label: place for place, (label, _) in enumerate(counts.most_common(_LABELS))}
    if not number:
        return None
    numbered = [sorted(number[label] for label in row if label in number)[:_OF_ITEM] for row in rows]
    labels = np.full((1 + len(rows), max(map(len, numbered))), -1, dtype=np.int64)
    for place, row in enumerate(numbered, start=1):
        labels[place, : len(row)] = row
    return Attribute(name, len(number), labels)


def _labels(catalog: ItemCatalog, name: str) -> Sequence[set[str]]:
    """Return the labels of each item in small letters; none where the catalogue has no such column."""
    if catalog.attributes is not None and name in catalog.attribute_names:
        column = catalog.attributes[name]
        if pa.types.is_floating(column.type):
            levels = price_levels(["" if value is None else f"{value:f}" for value in column.to_pylist()])
            return [{str(level)} if level else set() for level in levels.tolist()]
        values = [value if isinstance(value, list) else [value] for value in column.to_pylist()]
        if name not in LABEL_FIELDS or pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            return [{str(one).casefold() for one in row if one not in (None, "")} for row in values]
        texts = ["" if row[0] is None else str(row[0]) for row in values]
    else:
        texts = catalog.fields.get(name, [""] * len(catalog))
    if name not in LABEL_FIELDS:
        return [{text.strip().casefold()} - {""} for text in texts]
    return _split(name, texts)


def _split(name: str, texts: Sequence[str]) -> Sequence[set[str]]:
    if not any(text.strip() for text in texts):
        return [set()] * len(texts)
    found = split_labels(name, texts, spaced=True)
    return [{found.names[label].casefold() for label in row.tolist()} for row in found.items]
