"""Why an item was recommended: what its score loses without each title of the history, and without each field of its own text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.models.base import Id, Recommender


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes:
        kind: ``history``, an item that the user had met, or ``field``, a part of the recommended item's text.
        text: the title, or the field's name and content.
        contribution: the score with it minus the score without it.
    """

    kind: Literal["history", "field"]
    text: str
    contribution: float


def explain(model: Recommender, history: Sequence[Id], item: Id) -> list[Reason]:
    """Return the reasons for one recommendation, those that raised the score most first.

    Each part is left out in turn and the score taken again (occlusion), so that contributions need not add up to the score. An only item of
    the history carries the whole score: without it the user would be served the popular items, whose scores are counts.

    Args:
        model: fitted.
        history: external ids, oldest first.
        item: the recommended item.

    Raises:
        DataError: the item or the whole history is unknown.
    """
    known = model.histories([list(history)])[0]
    inner = int(model.catalog.ids.encode([item])[0])
    if not inner:
        raise DataError(f"item {item!r} is not in the catalogue")
    target = model.item_embeddings()[inner]
    if not np.isfinite(target).all():
        raise DataError(f"item {item!r} gets no score from this model, which has never met it")
    reasons = _history_reasons(model, known, inner) + _field_reasons(model, known, inner, target)
    return sorted(reasons, key=lambda reason: -reason.contribution)


def _history_reasons(model: Recommender, history: np.ndarray, inner: int) -> list[Reason]:
    others = [np.delete(history, place) for place in range(len(history))] if len(history) > 1 else []
    rows = [history, *others]
    scores = np.concatenate(model.score(Ragged.from_rows(rows), Ragged.from_rows([[inner]] * len(rows))))
    without = scores[1:] if len(others) else np.zeros(len(history))
    titles = model.catalog.titles
    return [Reason("history", titles[item - 1], float(scores[0] - score)) for item, score in zip(history, without, strict=True)]


def _field_reasons(model: Recommender, history: np.ndarray, inner: int, target: np.ndarray) -> list[Reason]:
    one = model.catalog.take([inner - 1])
    fields = [name for name, column in one.fields.items() if column[0]]
    if not fields:
        return []
    texts = [replace(one, fields={**one.fields, name: [""]}).texts[0] for name in fields]
    vectors = model.vectors_with_texts(inner, texts)
    if vectors is None:
        return []
    user = model.user_embeddings(Ragged.from_rows([history]))[0]
    scores = vectors @ user
    whole = float(user @ target)
    return [Reason("field", f"{name}: {one.fields[name][0]}", whole - float(score)) for name, score in zip(fields, scores, strict=True)]
