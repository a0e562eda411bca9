"""Every kind beside a brute force that shares no code with the index."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError, IndexFileError
from bertrec.core.ragged import Ragged
from bertrec.retrieval import filtered
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.recall import recall_at_k

Vectors = npt.NDArray[np.float32]


def brute_force(queries: Vectors, vectors: Vectors, k: int, left_out: list[set[int]], metric: str = "inner_product") -> list[list[int]]:
    """Sort all positions by (score in float64, position), one query at a time."""
    q, v = queries.astype(np.float64), vectors.astype(np.float64)
    if metric == "cosine":
        q, v = q / np.linalg.norm(q, axis=1, keepdims=True), v / np.linalg.norm(v, axis=1, keepdims=True)
    found = []
    for row, out in zip((q @ v.T).tolist(), left_out, strict=True):
        found.append(sorted((p for p in range(len(v)) if p not in out), key=lambda p: (-row[p], p))[:k])
    return found


def rows_of(positions: npt.NDArray[np.int64]) -> list[list[int]]:
    return [[p for p in row if p >= 0] for row in positions.tolist()]


@st.composite
def small_searches(draw: st.DrawFn) -> tuple[Vectors, Vectors, int, list[list[int]], list[int]]:
    """Whole numbers, so that every score is exact in float32 and ties are many."""
    count, dim, batch = draw(st.integers(1, 40)), draw(st.integers(1, 3)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    spread = draw(st.integers(0, 3))
    vectors = rng.integers(-spread, spread + 1, (count, dim)).astype(np.float32)
    queries = rng.integers(-2, 3, (batch, dim)).astype(np.float32)
    exclude = draw(st.lists(st.lists(st.integers(0, count + 3), max_size=count + 2), min_size=batch, max_size=batch))
    removed = draw(st.lists(st.integers(0, count - 1), unique=True, max_size=count - 1))
    return vectors, queries, draw(st.integers(1, count + 3)), exclude, removed


@pytest.mark.parametrize("through_faiss", [False, True], ids=["small-goes-exact", "always-faiss"])
@settings(max_examples=120, deadline=None)
@given(case=small_searches())
def test_flat_equals_brute_force_with_seen_and_removed_items_left_out(
    through_faiss: bool, case: tuple[Vectors, Vectors, int, list[list[int]], list[int]]
) -> None:
    vectors, queries, k, exclude, removed = case
    with pytest.MonkeyPatch.context() as patch:
        if through_faiss:  # as for a large catalogue: fetch a little, mask, refill
            patch.setattr(filtered, "_EXACT_SHARE", 0)
            patch.setattr(filtered, "_MARGIN", 1)
        index = ItemIndex.build(vectors, range(len(vectors)), kind="flat")
        index.remove(removed)
        found = index.search(queries, k, exclude=exclude)
    expected = brute_force(queries, vectors, k, [{*row, *removed} for row in exclude])
    assert rows_of(found.positions) == expected
    assert found.ids == expected  # the ids are the positions here
    for row, (query, positions) in enumerate(zip(queries, expected, strict=True)):
        assert found.scores[row, : len(positions)].tolist() == (vectors[positions] @ query).tolist()
        assert np.isneginf(found.scores[row, len(positions) :]).all()
    assert found.positions.shape == found.scores.shape == (len(queries), k)


@pytest.mark.parametrize("metric", ["inner_product", "cosine"])
def test_each_kind_finds_what_brute_force_finds(each_kind: dict[str, object], metric: str, clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(3000), clustered(100, seed=1)
    rng = np.random.default_rng(2)
    exclude = [rng.integers(0, 3000, size).tolist() for size in rng.integers(0, 60, 100)]
    index = ItemIndex.build(vectors, range(3000), metric=metric, **each_kind)
    found = index.search(queries, 10, exclude=exclude)
    expected = brute_force(queries, vectors, 10, [set(row) for row in exclude], metric)
    hits = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, expected, strict=True)])
    assert hits == 1.0 if each_kind["kind"] == "flat" else hits >= 0.95
    assert all(len(row) == 10 and not set(row) & set(out) for row, out in zip(found.ids, exclude, strict=True))


def test_scores_are_exact_for_every_kind(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(2000), clustered(20, seed=1)
    found = ItemIndex.build(vectors, range(2000), **each_kind).search(queries, 5)
    true = np.einsum("bd,bkd->bk", queries.astype(np.float64), vectors[found.positions].astype(np.float64))
    np.testing.assert_allclose(found.scores, true, rtol=1e-5, atol=1e-5)
    assert (np.diff(found.scores, axis=1) <= 0).all()


def test_k_are_found_even_where_all_near_items_are_seen(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(2000), clustered(8, seed=1)
    near = brute_force(queries, vectors, 1995, [set()] * 8)
    found = ItemIndex.build(vectors, range(2000), **each_kind).search(queries, 5, exclude=near)
    assert found.ids == brute_force(queries, vectors, 5, [set(row) for row in near])
    assert (found.positions >= 0).all()


def test_k_are_found_when_faiss_gives_up_early(each_kind: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Two far groups and one probed list: FAISS alone finds too few, a refill finds the rest."""
    monkeypatch.setattr(filtered, "_EXACT_SHARE", 0)
    rng = np.random.default_rng(0)
    vectors = (np.repeat([[9.0] * 8, [-9.0] * 8], 500, axis=0) + rng.normal(size=(1000, 8))).astype(np.float32)
    parameters = {**each_kind, "nlist": 2, "nprobe": 1} if "nlist" in each_kind else each_kind
    index = ItemIndex.build(vectors, range(1000), **parameters)
    seen = [[], [0, 1], list(range(500))]
    found = index.search(np.ones((3, 8), np.float32), 600, exclude=seen)
    assert [len(row) for row in found.ids] == [600, 600, 500]
    if each_kind["kind"] != "hnsw":  # a graph may have lost a few items for good; it still finds as many
        for row, (ids, out) in enumerate(zip(found.ids, seen, strict=True)):
            near = set(range(500)) - set(out)
            assert near <= set(ids), row


def test_what_a_query_gets_does_not_depend_on_the_batch(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(2500), clustered(60, seed=1)
    vectors[1000:1500] = vectors[0]  # equal scores, also beyond the k-th place
    exclude = [list(range(size)) for size in range(60)]
    index = ItemIndex.build(vectors, range(2500), **each_kind)
    together = index.search(queries, 10, exclude=exclude)
    for row in (0, 17, 59):
        alone = index.search(queries[row : row + 1], 10, exclude=exclude[row : row + 1])
        assert alone.ids[0] == together.ids[row]
        assert alone.scores[0].tolist() == together.scores[row].tolist()


def test_equal_scores_are_ordered_by_position() -> None:
    index = ItemIndex.build(np.ones((300, 4)), range(300), kind="flat")
    assert index.search(np.ones((30, 4)), 5, exclude=[[0, 2]] * 30).ids == [[1, 3, 4, 5, 6]] * 30


def test_checkerboard_gives_each_group_its_own_items() -> None:
    groups = np.tile(np.eye(2), (50, 1))  # even items belong to group 0, odd ones to group 1
    index = ItemIndex.build(groups, [f"item {i}" for i in range(100)])
    seen = [[f"item {i}" for i in range(0, 96, 2)], [f"item {i}" for i in range(1, 97, 2)]]
    assert index.search(np.eye(2), 2, exclude=seen).ids == [["item 96", "item 98"], ["item 97", "item 99"]]


def test_inner_ids_and_external_ids_exclude_the_same() -> None:
    ids = ["가", "나", 7, "7", "😀"]
    index = ItemIndex.build(np.diag([1.0, 2, 3, 4, 5]), ids)
    by_id = index.search(np.ones((2, 5)), 5, exclude=[["가", 7], ["😀", "not there"]])
    by_inner = index.search(np.ones((2, 5)), 5, exclude=Ragged.from_rows([[1, 3, 0], [5, 0]]))
    assert by_id.ids == by_inner.ids == [["😀", "7", "나"], ["7", 7, "나", "가"]]


def test_k_above_the_catalogue_returns_all_items(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    found = ItemIndex.build(clustered(200), range(200), **each_kind).search(clustered(3, seed=1), 250)
    assert [sorted(row) for row in found.ids] == [list(range(200))] * 3
    assert (found.positions[:, 200:] == -1).all()
    assert np.isneginf(found.scores[:, 200:]).all()


def test_all_items_seen_gives_an_empty_list() -> None:
    found = ItemIndex.build(np.eye(3), ["abc", "d", "e"]).search(np.eye(3)[:2], 2, exclude=[["abc", "d", "e"], []])
    assert [len(row) for row in found.ids] == [0, 2]


def test_cosine_ignores_lengths_however_extreme() -> None:
    vectors = np.array([[1e-30, 0], [1e30, 1e30], [0, 0], [0, 5]])
    found = ItemIndex.build(vectors, ["a", "b", "zero", "c"], metric="cosine").search(np.array([[1e20, 0.0]]), 4)
    assert found.ids == [["a", "b", "zero", "c"]]
    np.testing.assert_allclose(found.scores, [[1, np.sqrt(0.5), 0, 0]], atol=1e-6)


def test_no_queries_give_no_rows() -> None:
    found = ItemIndex.build(np.eye(3), range(3)).search(np.zeros((0, 3)), 2, exclude=[])
    assert found.ids == []
    assert found.positions.shape == (0, 2)


def test_recall_is_one_for_flat_and_falls_with_fewer_probes(clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(3000, clusters=1), clustered(100, clusters=1, seed=1)
    flat = ItemIndex.build(vectors, range(3000), kind="flat")
    poor = ItemIndex.build(vectors, range(3000), kind="ivf", nlist=60, nprobe=1, recall_queries=queries)
    assert recall_at_k(flat, queries, 10) == 1.0
    truth = brute_force(queries, vectors, 10, [set()] * 100)
    by_hand = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(poor.search(queries, 10).ids, truth, strict=True)])
    assert recall_at_k(poor, queries, 10) == pytest.approx(by_hand)
    assert poor.recall == pytest.approx(by_hand)
    assert by_hand < 0.9


@pytest.mark.parametrize("call", ["k", "dims", "nan", "rows", "vector", "string", "inner"])
def test_unusable_searches_say_what_is_wrong(call: str) -> None:
    index = ItemIndex.build(np.eye(3), ["a", "b", "c"])
    calls = {
        "k": (ConfigError, "k must be", lambda: index.search(np.eye(3), 0)),
        "dims": (IndexFileError, "queries have 2 dimensions, the index has 3", lambda: index.search(np.eye(2), 1)),
        "nan": (DataError, "queries: row 1 holds NaN", lambda: index.search([[0, 0, 0], [0, np.nan, 0]], 1)),
        "rows": (DataError, "exclude has 1 rows for 3 queries", lambda: index.search(np.eye(3), 1, exclude=[["a"]])),
        "vector": (DataError, r"shape \[n, dimensions\]", lambda: index.search(np.ones(3), 1)),
        "string": (
            DataError,
            "are lists of item ids, one list per user",
            lambda: index.search(np.eye(3), 1, exclude=["a", "b", "c"]),
        ),
        "inner": (DataError, "inner id 4 is outside the 3", lambda: index.search(np.eye(3)[:1], 1, exclude=Ragged.from_rows([[4]]))),
    }
    error, text, action = calls[call]
    with pytest.raises(error, match=text):
        action()


def test_many_queries_of_a_flat_index_are_scored_without_faiss_and_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    vectors, queries = (generator.integers(-3, 4, (n, 3)).astype(np.float32) for n in (200, 70))  # many ties
    exclude = [generator.integers(0, 200, 5).tolist() for _ in range(70)]
    index = ItemIndex.build(vectors, range(200), kind="flat")
    index.remove(range(0, 200, 7))
    one_by_one = [index.search(queries[row : row + 1], 10, exclude=exclude[row : row + 1]) for row in range(70)]
    monkeypatch.setattr("bertrec.retrieval.index.search_filtered", None)
    together = index.search(queries, 10, exclude=exclude)
    np.testing.assert_array_equal(together.positions, np.concatenate([found.positions for found in one_by_one]))
    np.testing.assert_array_equal(together.scores, np.concatenate([found.scores for found in one_by_one]))


def test_a_selection_is_found_alone_by_each_kind(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(1000), clustered(20, seed=1)
    index = ItemIndex.build(vectors, range(1000), **each_kind)  # type: ignore[arg-type]
    index.remove([3])
    few = index.select(range(0, 200, 2))
    found = index.search(queries, 5, within=few, exclude=[[0, 7, 999]] * 20)
    left = [set(range(1000)) - set(range(2, 200, 2))] * 20
    assert rows_of(found.positions) == brute_force(queries, vectors, 5, left)
    assert [len(row) for row in index.search(queries, 500, within=few).ids] == [100] * 20
    many = np.arange(1000) % 3 > 0
    ids = index.search(queries, 400, within=index.select(many)).ids
    assert all(len(row) == 400 and all(item % 3 > 0 and item != 3 for item in row) for row in ids)
    nothing = index.search(queries, 5, within=index.select([3, "other"]))
    assert nothing.ids == [[]] * 20
    assert nothing.positions.shape == (20, 5)


def test_a_boost_is_added_to_the_scores_of_positions(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(600), clustered(10, seed=1)
    index = ItemIndex.build(vectors, range(600), **each_kind)  # type: ignore[arg-type]
    boost = np.random.default_rng(3).normal(size=600).astype(np.float32) * 5
    found = index.search(queries, 8, within=index.select(np.ones(600, bool), boost))
    scores = queries @ vectors.T + boost
    assert found.positions.tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :8].tolist()
    assert np.allclose(found.scores, np.sort(scores, axis=1)[:, ::-1][:, :8], atol=1e-4)


def test_a_selection_follows_removals_and_refuses_other_positions(clustered: Callable[..., Vectors]) -> None:
    vectors = clustered(100)
    index = ItemIndex.build(vectors, range(100))
    some = index.select([1, 2, 3])
    assert sorted(index.search(vectors[:1], 5, within=some).ids[0]) == [1, 2, 3]
    index.remove([2])
    assert sorted(index.search(vectors[:1], 5, within=some).ids[0]) == [1, 3]
    index.add(vectors[:1], [200])
    with pytest.raises(DataError, match="select them again"):
        index.search(vectors[:1], 5, within=some)
    with pytest.raises(DataError, match="101 positions"):
        index.select(np.ones(5, bool))
