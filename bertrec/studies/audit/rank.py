"""Rank a catalogue for request texts, by an encoder alone or by a trained text model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bertrec.core.errors import ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.encoders.base import Encoder
from bertrec.models.base import Recommender
from bertrec.retrieval.exact import top_k

Rank = Callable[[Sequence[str], int], IntArray]
_AT_ONCE = 512


def encoder_rank(encoder: Encoder, catalog: ItemCatalog, *, progress: bool = False) -> Rank:
    """Return a ranking by the cosine of a request's vector with each item's, the encoder as it is.

    The returned function takes ``n`` texts and ``k`` and gives ``[n, k]`` inner item ids, the best first.
    """
    items = _unit(encoder.encode(catalog.texts, progress=progress))

    def rank(texts: Sequence[str], k: int) -> IntArray:
        requests = _unit(encoder.encode(list(texts)))
        found = [_best(requests[start : start + _AT_ONCE] @ items.T, k) for start in range(0, len(requests), _AT_ONCE)]
        return np.concatenate(found)

    return rank


def recommender_rank(model: Recommender) -> Rank:
    """Return a ranking by a trained model that reads what items say: each request is the one item of a history.

    The requests join the catalogue as items of no interactions, so that they pass the model's own encoder, adaptor and user head; none of
    them can be recommended, nor a vanished item. A text-similarity model with whitening fits it on items and requests together.

    Raises:
        ModelError: on use, where the model does not read texts.
    """

    def rank(texts: Sequence[str], k: int) -> IntArray:
        items = len(model.catalog)
        both = _with_requests(model, texts)
        histories = Ragged.from_rows([[items + 1 + row] for row in range(len(texts))])
        most = min(k, int(model.catalog.listed.sum()))
        found = [top_k(scores[:, : items + 1], most, seen=None)[0] for scores in both.score_all(histories)]
        return np.concatenate(found)

    return rank


def _with_requests(model: Recommender, texts: Sequence[str]) -> Recommender:
    known = {str(external) for external in model.catalog.ids.ids}
    mark = "request"
    while any(external.startswith(f"{mark}:") for external in known):
        mark += "_"
    ids = [*model.catalog.ids.ids, *(f"{mark}:{row}" for row in range(len(texts)))]
    try:
        gone = model.catalog.withdrawn
        withdrawn = None if gone is None else np.concatenate([gone, np.zeros(len(texts), bool)])
        return model.with_catalog(ItemCatalog(IdMap(ids), {"text": [*model.catalog.texts, *texts]}, withdrawn=withdrawn))
    except ModelError as error:
        raise ModelError(f"a {model.name} model cannot be asked in words: it reads no text; audit an encoder or a text model") from error


def _best(scores: np.ndarray, k: int) -> IntArray:
    padded = np.concatenate([np.full((len(scores), 1), -np.inf, np.float32), scores], axis=1)
    return top_k(padded, min(k, scores.shape[1]), seen=None)[0]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)
