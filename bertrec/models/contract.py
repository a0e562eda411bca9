"""What every retriever must do, as a check that its author runs: `check_recommender`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bertrec.core.ragged import Ragged
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.contract_parts import check_refit, check_saved, check_settings, close, must


def check_recommender(make: Callable[[], Recommender], train: Interactions, *, validation: EvaluationSet | None = None) -> None:
    """See that a retriever keeps the contract; it is fitted five times, so give it few data.

    Settings travel; a second fit starts anew; vectors have their shapes; scores are inner products, whatever else is in the batch; lists
    hold the best items, without those of the history; a saved model is the same one.

    Args:
        make: makes an untrained model, the same each time.
        train: at least two users.
        validation: for a model that cannot be fitted without.

    Raises:
        AssertionError: the contract is broken; the text says how.
        BertrecError: what the model itself raises.
    """
    must(len(train.sequences) > 1, "give at least two users")
    check_settings(make())
    model = make().fit(train, validation=validation)
    histories = Ragged.from_rows([*train.sequences.slice(0, 8), np.zeros(0, np.int64)])
    _check_vectors(model, train, histories)
    _check_scores(model, histories)
    _check_lists(model, histories)
    check_refit(make, lambda one, data: one.fit(data, validation=validation), train, _half(train), lambda one: _scores(one, histories))
    check_saved(model, lambda one: _scores(one, histories))


def _half(train: Interactions) -> Interactions:
    """Return the interactions of half of the users, over the same catalogue."""
    return train.where(train.sequences.rows % 2 == 0)


def _scores(model: Recommender, histories: Ragged) -> FloatArray:
    """Return all scores, ``[n, n_items + 1]``; 0 where an item has none."""
    return np.nan_to_num(np.concatenate(list(model.score_all(histories))), neginf=0.0)


def _check_vectors(model: Recommender, train: Interactions, histories: Ragged) -> None:
    items, users = model.item_embeddings(), model.user_vectors(histories)
    must(model.catalog.content_hash == train.catalog.content_hash, "fit has to set catalog to that of its data")
    must(items.shape[:1] == (len(train.catalog) + 1,), f"item_embeddings: {items.shape[0]} rows for {len(train.catalog)} items and padding")
    must(users.shape == (len(histories), items.shape[1]), f"user_vectors: {users.shape}, not {(len(histories), items.shape[1])}")
    must(items.dtype == users.dtype == np.float32, f"vectors are float32, not {items.dtype} and {users.dtype}")
    must(np.isfinite(users).all(), "user_vectors: every history has a vector, also an empty one")
    must(len(model.known_items()), "item_embeddings: all items are unknown (NaN)")


def _check_scores(model: Recommender, histories: Ragged) -> None:
    whole = _scores(model, histories)
    alone = np.concatenate([_scores(model, histories.slice(row, row + 1)) for row in range(len(histories))])
    close(alone, whole, "scores depend on what else is in the batch")
    candidates = Ragged.from_rows([model.known_items()] * len(histories))
    given = np.concatenate(model.score(histories, candidates))
    close(given, whole[candidates.rows, candidates.values], "score and score_all differ")


def _check_lists(model: Recommender, histories: Ragged) -> None:
    found = model.recommend(histories, 3)
    for row, (items, scores) in enumerate(zip(found.items, found.scores, strict=True)):
        inner = model.catalog.ids.encode(items)
        must(not np.isin(inner, histories[row]).any(), "recommend: a list holds an item of the history")
        must(scores == sorted(scores, reverse=True), "recommend: a list is not in the order of its scores")
