"""What a user likes, in words, from a template: the labels that the history holds most of, or those that tell the user from others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import ItemLabels, item_labels
from bertrec.data.templates import template_fields

TEMPLATE = "likes {top}"
_TELLING = 1.0  # standard errors above which a label tells something of a user


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
    _check(top, template)
    found = item_labels(catalog, field)
    labels, names = found.by_inner_id, found.names
    catalog.ids.decode(histories.values[histories.values > 0])  # says which id is outside the catalogue
    texts = []
    for history in histories:
        best = _most_frequent(labels.take(history).values, len(names), top)
        texts.append(template.format(top=separator.join(names[label] for label in best)) if len(best) else "")
    return texts


def profile_keywords(
    histories: Ragged,
    labels: ItemLabels,
    counts: npt.NDArray[np.integer[Any]],
    *,
    top: int = 5,
    prior: float = 10.0,
    template: str = TEMPLATE,
    separator: str = ", ",
) -> list[str]:
    r"""Say what tells each user from others: log-odds with an informative Dirichlet prior (Monroe et al. 2008, "Fightin' Words").

    With a label on :math:`y` of the :math:`n` items of the history and on :math:`b` of the :math:`B` of all interactions,
    :math:`a = a_0 b / B` and :math:`c = a_0 - a`, it is worth

    .. math::
        z = \frac{\ln \frac{y + a}{n - y + c} - \ln \frac{b + a}{B - b + c}}
        {\sqrt{1 / (y + a) + 1 / (n - y + c) + 1 / (b + a) + 1 / (B - b + c)}}

    (the paper leaves the second and the fourth part of the variance out, for words are rare; labels need not be). Those with the largest
    :math:`z` above 1, a standard error, are named; of equals the one on more items of the history, then the first by name. A label that
    is as frequent among all interactions as in the history is worth about 0: it tells nothing of the user.

    Args:
        histories: ``[n]`` rows of inner ids; 0 is ignored, an item that stands there twice counts twice.
        labels: of the items, or the words of their texts.
        counts: ``[n_items + 1]`` interactions of each inner id; one with each label and one without are added.
        top: how many, at most.
        prior: a_0, how many items the prior weighs: the larger, the oftener a label must occur to be believed.
        template: with the placeholder ``{top}``.
        separator: stands between labels.

    Returns:
        ``[n]``; ``""`` where nothing tells the history from others.

    Raises:
        ConfigError: ``top`` is below 1, ``prior`` is not above 0, or the template has no ``{top}`` or another placeholder.
        DataError: an item that the labels lack, or counts of another length.
    """
    _check(top, template)
    if not prior > 0:
        raise ConfigError(f"prior is {prior}: it must be above 0")
    met, y = _label_counts(histories, labels)
    counts = np.asarray(counts)
    b = (1.0 + _background(labels, counts))[met.values]
    total = 2.0 + counts[1:].sum()
    n = np.bincount(histories.rows, histories.values > 0, minlength=len(histories))[met.rows]
    a = prior * b / total
    parts = (y + a, n - y + prior - a, b + a, total - b + prior - a)
    odds = np.log(parts[0] / parts[1]) - np.log(parts[2] / parts[3])
    chosen = _best(met, odds / np.sqrt(sum(1 / part for part in parts)), y, top)
    return [template.format(top=separator.join(labels.names[label] for label in row)) if len(row) else "" for row in chosen]


def _check(top: int, template: str) -> None:
    if top < 1:
        raise ConfigError(f"top is {top}: a profile names at least one label")
    if template_fields(template) != ["top"]:
        raise ConfigError(f"profile template {template!r}: it has the placeholder {{top}}, once, and no other")


def _label_counts(histories: Ragged, labels: ItemLabels) -> tuple[Ragged, npt.NDArray[np.float64]]:
    """Return the distinct labels of each history, in order, and how often each occurs, ``[total]``."""
    by_item = labels.by_inner_id
    if len(histories.values) and not 0 <= histories.values.min() <= histories.values.max() < len(by_item):
        raise DataError(f"a history holds an id outside 0 to {len(by_item) - 1}: the labels are of other items")
    of_place = by_item.take(histories.values)
    width = len(labels.names)
    cells, times = np.unique(histories.rows[of_place.rows] * width + of_place.values, return_counts=True)
    lengths = np.bincount(cells // width, minlength=len(histories)).astype(np.int64)
    return Ragged.from_lengths(cells % width, lengths), times.astype(np.float64)


def _background(labels: ItemLabels, counts: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
    """Return the interactions of each label's items, ``[labels]``."""
    if counts.shape != (len(labels.items) + 1,):
        raise DataError(f"counts must hold {len(labels.items) + 1} numbers, one per item and one for padding, not {list(counts.shape)}")
    taken = counts[1:][labels.items.rows].astype(np.float64)
    return np.bincount(labels.items.values, taken, minlength=len(labels.names)).astype(np.float64)


def _best(met: Ragged, worth: npt.NDArray[np.float64], times: npt.NDArray[np.float64], top: int) -> Ragged:
    """Return up to ``top`` labels of each row that tell something, the best first."""
    order = np.lexsort(
        (met.values, -times, -worth.round(9), met.rows)
    )  # rounded, so that equals are equal in whatever order they are summed
    place = np.arange(len(order)) - met.offsets[:-1][met.rows]
    return Ragged(met.values[order], met.offsets).where((place < top) & (worth[order] > _TELLING))


def _most_frequent(met: IntArray, total: int, top: int) -> npt.NDArray[np.int64]:
    """Return up to ``top`` label numbers, most frequent first, equals by their last occurrence."""
    counts = np.bincount(met, minlength=total)
    last = np.full(total, -1, np.int64)
    last[met] = np.arange(len(met))  # the last assignment of an index wins
    order = np.lexsort((-last, -counts))[:top]
    return order[counts[order] > 0]
