"""MaxSimilarity against all cosines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.data.splits import Split
from bertrec.models.base import Recommender
from bertrec.models.explain import explain
from bertrec.models.max_similarity import MaxSimilarity
from bertrec.models.text_similarity import TextSimilarity


@pytest.fixture(scope="module")
def model(split: Split, encoder_name: str) -> Recommender:
    return MaxSimilarity.configured(settings={"encoder.name": encoder_name, "neighbours": 10}).fit(split.train, progress=False)


def test_scores_are_the_largest_cosine_and_a_thousandth_of_the_mean(model: Recommender, split: Split, encoder_name: str) -> None:
    plain = TextSimilarity.configured(settings={"encoder.name": encoder_name}).fit(split.train, progress=False)
    unit = plain.item_embeddings()
    histories = Ragged.from_rows([[1, 2], [7], [20, 3, 9]])
    for history, found in zip(histories, model.score_all(histories).__next__(), strict=True):
        cosines = unit @ unit[history].T
        cosines[history, np.arange(len(history))] = -1  # an item is not its own neighbour
        best = cosines.max(axis=1)
        rest = 1e-3 * (unit @ unit[history].mean(axis=0))
        near = np.argsort(-best[1:])[:7] + 1  # within the lists of ten
        assert found[near] == pytest.approx(best[near] + rest[near], abs=1e-5)
        off = [item for item in range(1, len(unit)) if found[item] < 0.01]
        assert found[off] == pytest.approx(rest[off], abs=1e-5)


def test_a_field_is_worth_what_the_largest_cosine_loses_without_it(model: Recommender, split: Split, encoder_name: str) -> None:
    plain = TextSimilarity.configured(settings={"encoder.name": encoder_name}).fit(split.train, progress=False)
    ids, unit = split.catalog.ids.ids, plain.item_embeddings()
    history, item = [1, 2, 5], 3
    found = [one for one in explain(model, [ids[row - 1] for row in history], ids[item - 1]) if one.kind == "field"]
    fields = split.catalog.take([item - 1]).fields
    assert {one.text.partition(": ")[0] for one in found} == set(fields)
    for one in found:
        bare = replace(split.catalog.take([item - 1]), fields=fields | {one.text.partition(": ")[0]: [""]}).texts[0]
        without = plain.encode_texts([bare])[0]
        vectors = np.stack([unit[item], without / np.linalg.norm(without)])
        cosines = vectors @ unit[history].T
        scores = np.maximum(cosines.max(axis=1), 0) + 1e-3 * cosines.mean(axis=1)
        assert one.contribution == pytest.approx(scores[0] - scores[1], abs=1e-5)
        assert abs(one.contribution) > 2e-3  # more than the thousandth that the mean counts


def test_it_is_saved_moved_and_listed(model: Recommender, split: Split, folder: Path) -> None:
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    histories: Any = [[split.catalog.ids.ids[0]], []]
    assert loaded.recommend(histories, 5) == model.recommend(histories, 5)
    assert loaded.model_hash == model.model_hash
    other = loaded.with_catalog(split.catalog.take(np.arange(3, 15)))
    assert other.recommend([[split.catalog.ids.ids[4]]], 3).items[0][0] in split.catalog.ids.ids[3:15]
