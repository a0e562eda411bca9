"""Why an item was recommended: what its score loses without each title of the history, and without each field of its own text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.models.base import FloatArray, Id, Recommender


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes:
        kind: ``history``, an item that the user had met, or ``field``, a part of the recommended item's text; ``member`` of a group.
        text: the title, or the field's name and content, or the member's id.
        contribution: the score with it minus the score without it; of a member their own score.
        item: the id of the item that the user had met.
    """

    kind: Literal["history", "field", "member"]
    text: str
    contribution: float
    item: Id | None = None


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
    return explain_list(model, model.histories([list(history)])[0], [item])[0]


def explain_list(model: Recommender, history: IntArray, items: Sequence[Id]) -> list[list[Reason]]:
    """Return what `explain` does for each of several items; a history is read once for all.

    Args:
        model: fitted.
        history: inner ids, oldest first.
        items: the recommended ones.
    """
    inner, vectors = model.catalog.ids.encode(list(items)), model.item_embeddings()
    for item, row in zip(items, inner.tolist(), strict=True):
        if not row:
            raise DataError(f"item {item!r} is not in the catalogue")
        if not np.isfinite(vectors[row]).all():
            raise DataError(f"item {item!r} gets no score from this model, which has never met it")
    met = Ragged.from_rows([history])
    user = model.user_embeddings(met)[0]
    parts = [_field_reasons(model, user, met, row, vectors[row]) for row in inner.tolist()]
    return [
        sorted(others + part, key=lambda reason: -reason.contribution)
        for others, part in zip(_history_reasons(model, history, inner), parts, strict=True)
    ]


def _history_reasons(model: Recommender, history: IntArray, inner: IntArray) -> list[list[Reason]]:
    others = [np.delete(history, place) for place in range(len(history))] if len(history) > 1 else []
    scores = np.stack(model.score(Ragged.from_rows([history, *others]), Ragged.from_rows([inner] * (1 + len(others)))))
    without = scores[1:] if others else np.zeros((len(history), len(inner)), scores.dtype)
    ids, titles, lost = model.catalog.ids.decode(history), model.catalog.titles, scores[0] - without
    met = list(zip(ids, (titles[row - 1] for row in history.tolist()), strict=True))
    return [[Reason("history", title, float(value), one) for (one, title), value in zip(met, column, strict=True)] for column in lost.T]


def _field_reasons(model: Recommender, user: FloatArray, met: Ragged, inner: int, target: FloatArray) -> list[Reason]:
    one = model.catalog.take([inner - 1])
    fields = [name for name, column in one.fields.items() if column[0]]
    if not fields:
        return []
    texts = [replace(one, fields={**one.fields, name: [""]}).texts[0] for name in fields]
    vectors = model.vectors_with_texts(inner, texts)
    if vectors is None:
        return []
    whole, *scores = model.scores_with_vectors(inner, np.concatenate([target[None], vectors]), user, met).tolist()
    return [Reason("field", f"{name}: {one.fields[name][0]}", whole - score) for name, score in zip(fields, scores, strict=True)]
