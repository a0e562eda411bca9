"""Serving and measuring from vectors: the same lists, scores and figures as from the full matrix of scores."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from given_vectors import GivenLifts, GivenVectors

from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.products import pair_scores
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.evaluate import evaluate_scores
from bertrec.evaluation.lists import top_k_items
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.best_items import BestItems
from bertrec.models.evaluate import evaluate
from bertrec.retrieval import scan
from bertrec.retrieval.index import ItemIndex


@pytest.fixture
def data(catalog: ItemCatalog) -> EvaluationSet:
    generator = np.random.default_rng(5)
    histories = Ragged.from_rows([generator.integers(1, len(catalog) + 1, row % 6) for row in range(40)])
    targets = Ragged.from_rows([generator.permutation(len(catalog))[: row % 3] + 1 for row in range(40)])
    return EvaluationSet([f"u{row}" for row in range(40)], histories, targets)


@pytest.mark.parametrize("bias", [0.0, -3.0, 2.0])
@pytest.mark.parametrize("mask_seen", [True, False])
@pytest.mark.parametrize("candidates", ["all", "held_out"])
def test_measuring_from_vectors_gives_what_scores_give(
    catalog: ItemCatalog, data: EvaluationSet, bias: float, mask_seen: bool, candidates: Any
) -> None:
    model = GivenVectors(catalog, bias)
    counts, protocol = np.arange(len(catalog) + 1), Protocol(mask_seen=mask_seen, candidates=candidates, ks=(1, 4, 30), bootstrap=20)
    held_out = np.arange(1, len(catalog), 2)
    slow = evaluate_scores(
        model.score_all(data.histories), data, protocol, counts, held_out=held_out, top_k_lists=True, info={"model": {}}
    ).to_json()
    fast = evaluate(model, data, protocol=protocol, item_counts=counts, held_out=held_out).to_json()
    assert fast["slices"] == slow["slices"]
    assert fast["protocol"]["left_out"] == slow["protocol"]["left_out"]
    assert "Coverage@4" in fast["slices"]["all"]["metrics"]


@pytest.mark.parametrize("bias", [0.0, -3.0, 2.0])
@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 5, 99])
def test_lists_are_those_of_the_full_matrix(catalog: ItemCatalog, data: EvaluationSet, bias: float, exclude_seen: bool, k: int) -> None:
    model = GivenVectors(catalog, bias)
    scores = np.concatenate(list(model.score_all(data.histories)))
    lists = top_k_items(scores, k, seen=data.histories if exclude_seen else None)
    expected = [catalog.ids.decode(row[row > 0]) for row in lists]
    server = model.serve()
    found = server.recommend(data.histories, k, exclude_seen=exclude_seen)
    assert found.items == expected
    assert found.scores == [scores[row, best[best > 0]].tolist() for row, best in enumerate(lists)]
    each = [server.recommend(data.histories.slice(row, row + 1), k, exclude_seen=exclude_seen) for row in range(len(data.histories))]
    assert [one.items[0] for one in each] == expected
    assert model.recommend(data.histories, k, exclude_seen=exclude_seen) == found


@pytest.mark.parametrize("bias", [-3.0, 2.0])
@pytest.mark.parametrize("k", [1, 5, 99])
def test_without_what_was_seen_the_bias_of_what_was_read_changes_nothing(
    catalog: ItemCatalog, data: EvaluationSet, bias: float, k: int
) -> None:
    """Histories are empty, as long as what is read of them (two items) and longer."""
    model, histories = GivenVectors(catalog, bias), data.histories
    read = model.read_histories(histories)
    assert {0, 1, 2, 5} <= set(histories.lengths)
    assert read.lengths.max() == 2
    best, users = BestItems(model.item_embeddings()), model.user_embeddings(histories)
    items, scores = best.search(users, k, seen=histories, lifts=model.lifts(read))
    found = best.search(users, k, seen=histories)
    assert found[0].tolist() == items.tolist()
    assert found[1].tolist() == scores.tolist()
    served = model.serve().from_vectors(users, histories, k)
    assert served.items == [[*catalog.ids.decode(row[row > 0])] for row in items]


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("count", "n_items", "k"), [(700, 1500, 1), (300, 900, 3), (1, 700, 2), (150, 20, 30)])
def test_lists_of_many_items_are_those_of_sorting(
    monkeypatch: pytest.MonkeyPatch, half: bool, whole: bool, count: int, n_items: int, k: int
) -> None:
    """Several blocks and groups of groups, in either format; whole numbers tie often."""
    monkeypatch.setattr(scan, "_half_is_fast", lambda: half)
    monkeypatch.setattr(scan, "_SCORES_AT_ONCE", 200 * n_items)
    generator = np.random.default_rng(2)
    users, vectors = generator.standard_normal((count, 6)) + 0.5, generator.standard_normal((n_items + 1, 6)) + 0.3
    users, vectors = ((np.round(array) if whole else array).astype(np.float32) for array in (users, vectors))
    vectors[[2, 9]] = np.nan
    seen = Ragged.from_rows([generator.integers(1, n_items + 1, row % 8) for row in range(count)])
    rows, columns = np.divmod(np.arange(count * (n_items + 1)), n_items + 1)
    scores = pair_scores(users, np.nan_to_num(vectors), rows, columns).reshape(count, -1)
    scores[:, [0, 2, 9]] = -np.inf
    scores[seen.rows, seen.values] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(scores, expected, axis=1)
    found = BestItems(vectors).search(users, min(k, n_items), seen=seen)
    width = found[0].shape[1]
    assert found[0].tolist() == np.where(np.isfinite(values), expected, 0)[:, :width].tolist()
    assert found[1].tolist() == values[:, :width].tolist()


def test_an_item_that_bfloat16_rounds_down_is_found_among_others_that_it_rounds_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """In units of 2^-8 the best item's coordinates round from 5 to 4, those of the others from 3 to 4 and from 7 to 8."""
    monkeypatch.setattr(scan, "_half_is_fast", lambda: True)
    units = np.array([[0] * 8] + [[3, 3, 3, 3, 7, 7, 7, 6]] * 299 + [[5] * 8], np.float32)
    found, scores = BestItems(1 + units / 256).search(np.ones((200, 8), np.float32), 1, seen=None)
    assert set(found[:, 0].tolist()) == {300}
    assert set(scores[:, 0].tolist()) == {8 + 40 / 256}


@pytest.mark.parametrize("running", [True, False])
def test_the_cycle_collector_is_left_as_it_was(catalog: ItemCatalog, data: EvaluationSet, running: bool) -> None:
    server, before = GivenVectors(catalog).serve(), gc.isenabled()
    try:
        (gc.enable if running else gc.disable)()
        server.recommend(data.histories, 3)
        assert gc.isenabled() == running
    finally:
        (gc.enable if before else gc.disable)()


def test_external_ids_and_inner_ids_serve_alike(catalog: ItemCatalog, data: EvaluationSet) -> None:
    server = GivenVectors(catalog).serve()
    assert server.recommend([catalog.ids.decode(row) for row in data.histories], 4) == server.recommend(data.histories, 4)
    assert server.recommend([], 4).items == []


def test_an_index_over_part_of_the_catalogue_in_another_order_leaves_out_what_was_seen(catalog: ItemCatalog, data: EvaluationSet) -> None:
    model = GivenVectors(catalog)
    rows = model.known_items()[::-1][:12]
    index = ItemIndex.build(model.vectors[rows], [*catalog.ids.decode(rows)], model_hash=model.model_hash, kind="flat")
    found = model.serve(index).recommend(data.histories, 20)
    scores = np.concatenate(list(model.score_all(data.histories)))
    for row, (items, values) in enumerate(zip(found.items, found.scores, strict=True)):
        inner = catalog.ids.encode(items)
        assert set(inner) == set(rows) - set(data.histories[row])
        assert values == scores[row, inner].tolist() == sorted(values, reverse=True)


def test_what_was_seen_is_left_out_of_an_index_that_was_added_to(catalog: ItemCatalog, data: EvaluationSet) -> None:
    model = GivenVectors(catalog)
    rows = model.known_items()
    ids = [*catalog.ids.decode(rows)]
    index = ItemIndex.build(model.vectors[rows[:5]], ids[:5], model_hash=model.model_hash, kind="flat")
    server = model.serve(index)
    index.add(model.vectors[rows[5:]], ids[5:])
    assert server.recommend(data.histories, 4) == model.serve().recommend(data.histories, 4)


def test_what_cannot_be_served_is_named(catalog: ItemCatalog, data: EvaluationSet) -> None:
    model = GivenVectors(catalog, -2.0)
    index = ItemIndex.build(np.ones((2, 3)), ["red-0", "red-1"], model_hash="another", kind="flat")
    with pytest.raises(IndexFileError, match="another model"):
        model.serve(index)
    with pytest.raises(DataError, match="of at least 1, not 0"):
        model.serve().recommend(data.histories, 0)
    own = ItemIndex.build(np.ones((2, 3)), ["red-0", "red-1"], model_hash=model.model_hash, kind="flat")
    with pytest.raises(DataError, match="repeat bias"):
        model.serve(own).recommend(data.histories, 2, exclude_seen=False)
    with pytest.raises(DataError, match="inner ids up to 3"):
        BestItems(np.ones((4, 2), np.float32)).search(np.ones((1, 2), np.float32), 1, seen=Ragged.from_rows([[9]]))


def test_a_fitted_model_serves_what_it_recommends(split: Split, small: dict[str, Any]) -> None:
    from bertrec.models.registry import create

    assert split.test is not None
    model: Recommender = create("unisrec", settings={**small, "train.epochs": 1}).fit(split.train, progress=False)
    scores = np.concatenate(list(model.score_all(split.test.histories)))
    found = model.serve().recommend(split.test.histories, 3)
    for row, values in enumerate(found.scores):
        unseen = np.delete(scores[row], [0, *split.test.histories[row]])
        np.testing.assert_allclose(values, np.sort(unseen)[::-1][:3], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("k", [1, 4, 99])
@pytest.mark.parametrize("added", [0, 6])
def test_an_index_serves_lifted_items_as_the_full_matrix_does(
    catalog: ItemCatalog, data: EvaluationSet, exclude_seen: bool, k: int, added: int
) -> None:
    """Lifts only raise, so that the best k are among the index's k and the lifted ones; also where items were added later."""
    model = GivenLifts(catalog)
    known = model.known_items()
    ids, vectors = catalog.ids.decode(known), model.item_embeddings()[known]
    first = len(known) - added
    index = ItemIndex.build(vectors[:first], ids[:first], kind="flat", model_hash=model.model_hash)
    if added:
        index.add(vectors[first:], ids[first:])
    warm = data.take(np.flatnonzero(model.user_embeddings(data.histories).any(axis=1)))
    whole = model.recommend(warm.histories, k, exclude_seen=exclude_seen)
    found = model.recommend(warm.histories, k, exclude_seen=exclude_seen, index=index)
    assert found.scores == whole.scores
    for row in range(len(warm)):  # equal scores may stand in another order, also at the end of the list
        last = whole.scores[row][-1]
        inside = [{item for item, score in zip(one.items[row], one.scores[row], strict=True) if score > last} for one in (whole, found)]
        assert inside[0] == inside[1]


def test_lifts_that_lower_are_refused_with_an_index(catalog: ItemCatalog) -> None:
    model = GivenVectors(catalog, -1.0)
    known = model.known_items()
    index = ItemIndex.build(model.item_embeddings()[known], catalog.ids.decode(known), kind="flat", model_hash=model.model_hash)
    with pytest.raises(DataError, match="repeat bias"):
        model.recommend([[catalog.ids.ids[0]]], 3, exclude_seen=False, index=index)
    raised = GivenVectors(catalog, 50.0)
    index = ItemIndex.build(raised.item_embeddings()[known], catalog.ids.decode(known), kind="flat", model_hash=raised.model_hash)
    assert raised.recommend([[catalog.ids.ids[0]]], 1, exclude_seen=False, index=index).items == [[catalog.ids.ids[0]]]
