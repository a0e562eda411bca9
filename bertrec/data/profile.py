"""What a user likes, in words: the labels that the history holds most of, from a template."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import item_labels
from bertrec.data.templates import template_fields

TEMPLATE = "likes {top}"


def profile_text(
    history: Sequence[int] | IntArray, catalog: ItemCatalog, *, field: str, top: int = 3, template: str = TEMPLATE, separator: str = ", "
) -> str:
    """Say what a history holds most of, such as ``likes Comedy, Drama``.

    Args:
        history: inner item ids, oldest first; 0 is ignored, an item that stands there twice counts twice.
        catalog: the items.
        field: the text field with the labels, see `bertrec.data.item_labels.split_labels`.
        top: how many labels; of equally frequent ones the label met last comes first.
        template: with the placeholder ``{top}``.
        separator: stands between labels.

    Returns:
        The text; ``""`` for a history without any label.

    Raises:
        DataError: no such field, an item that the catalogue lacks, or braces in the template that do not match.
        ConfigError: the template has no ``{top}`` or another placeholder, or ``top`` is below 1.
    """
    return profile_texts(
        Ragged.from_rows([np.asarray(history, np.int64)]), catalog, field=field, top=top, template=template, separator=separator
    )[0]


def profile_texts(
    histories: Ragged, catalog: ItemCatalog, *, field: str, top: int = 3, template: str = TEMPLATE, separator: str = ", "
) -> list[str]:
    """Do as `profile_text` for ``n`` histories."""
    if top < 1:
        raise ConfigError(f"top is {top}: a profile names at least one label")
    if template_fields(template) != ["top"]:
        raise ConfigError(f"profile template {template!r}: it has the placeholder {{top}}, once, and no other")
    found = item_labels(catalog, field)
    labels, names = found.by_inner_id, found.names
    catalog.ids.decode(histories.values[histories.values > 0])  # says which id is outside the catalogue
    texts = []
    for history in histories:
        best = _most_frequent(labels.take(history).values, len(names), top)
        texts.append(template.format(top=separator.join(names[label] for label in best)) if len(best) else "")
    return texts


def _most_frequent(met: IntArray, total: int, top: int) -> npt.NDArray[np.int64]:
    """Return up to ``top`` label numbers, most frequent first, equals by their last occurrence."""
    counts = np.bincount(met, minlength=total)
    last = np.full(total, -1, np.int64)
    last[met] = np.arange(len(met))  # the last assignment of an index wins
    order = np.lexsort((-last, -counts))[:top]
    return order[counts[order] > 0]
