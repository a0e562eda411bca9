"""Items come and go without a rebuild."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.ragged import Ragged
from bertrec.retrieval.index import ItemIndex

Vectors = npt.NDArray[np.float32]


def by_score(vectors: dict[object, Vectors], query: Vectors, k: int) -> list[object]:
    return sorted(vectors, key=lambda item: -float(vectors[item].astype(np.float64) @ query.astype(np.float64)))[:k]


def test_a_life_of_changes_leaves_what_a_dictionary_would_hold(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    first, more, query = clustered(1500), clustered(300, seed=5), clustered(1, seed=1)
    index = ItemIndex.build(first, range(1500), **each_kind)
    truth: dict[object, Vectors] = dict(enumerate(first))
    best = by_score(truth, query[0], 40)

    index.remove(best)  # the nearest items are the hard case
    for item in best:
        del truth[item]
    index.add(more, [f"new {i}" for i in range(300)])
    truth |= {f"new {i}": row for i, row in enumerate(more)}
    index.add(first[best[:3]] * 2, best[:3])  # removed ids come back with other vectors
    truth |= {item: first[item] * 2 for item in best[:3]}

    def check() -> None:
        assert len(index) == len(truth) == 1763
        assert set(index.ids) == set(truth)
        found = index.search(query, 50).ids[0]
        assert len(set(found) & set(by_score(truth, query[0], 50))) >= (50 if each_kind["kind"] == "flat" else 46)
        everything = index.search(query, 5000).ids[0]
        assert everything == by_score(truth, query[0], 5000)

    check()
    assert index.info()["tombstones"] == 40
    index.compact()
    check()
    assert index.info()["tombstones"] == 0


def test_inner_ids_mean_the_items_of_the_build_for_ever() -> None:
    index = ItemIndex.build(np.diag([5.0, 4, 3, 2]), ["a", "b", "c", "d"])
    everything = np.ones((1, 4))
    second_and_third = Ragged.from_rows([[2, 3]])
    index.remove(["a", "b"])
    assert index.search(everything, 4, exclude=second_and_third).ids == [["d"]]
    index.compact()
    assert index.search(everything, 4, exclude=second_and_third).ids == [["d"]]
    index.add(np.diag([5.0, 4, 3, 2])[:2], ["b", "new"])
    assert index.search(everything, 4).ids == [["b", "new", "c", "d"]]
    assert index.search(everything, 4, exclude=second_and_third).ids == [["new", "d"]]


def test_a_result_keeps_its_ids_when_the_index_changes() -> None:
    index = ItemIndex.build(np.diag([3.0, 2, 1]), ["a", "b", "c"])
    found = index.search(np.ones((1, 3)), 3)
    index.remove(["a"])
    index.compact()
    assert found.ids == [["a", "b", "c"]]


def test_recall_is_measured_again_after_changes(clustered: Callable[..., Vectors]) -> None:
    vectors = clustered(2000, clusters=1)
    index = ItemIndex.build(vectors, range(2000), kind="ivf", nlist=40, nprobe=40)
    assert index.recall == 1.0
    poor = ItemIndex.build(vectors, range(2000), kind="ivf", nlist=40, nprobe=1)
    before = poor.recall
    poor.remove(range(0, 2000, 2))
    assert poor.recall != before
    assert poor.info()["recall"]["value"] == poor.recall


def test_adding_what_is_there_is_an_error_and_changes_nothing(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    index = ItemIndex.build(clustered(300), range(300), **each_kind)
    for ids, text in [([300, 5], "id 5 is already in the index"), ([300, 300], "id 300 is given more than once"), ([1], "2 vectors but 1")]:
        with pytest.raises(DataError, match=text):
            index.add(clustered(2, seed=1), ids)
    with pytest.raises(IndexFileError, match="vectors have 3 dimensions, the index has 16"):
        index.add(np.ones((1, 3)), [300])
    with pytest.raises(DataError, match="row 0 holds NaN"):
        index.add(np.full((1, 16), np.nan), [300])
    assert index.ids == list(range(300))
    assert len(index.search(clustered(1), 400).ids[0]) == 300


def test_removing_what_is_not_there_names_it_and_changes_nothing() -> None:
    index = ItemIndex.build(np.eye(3), ["a", "b", 3])
    with pytest.raises(DataError, match="id '3' is not in the index"):
        index.remove(["a", "3"])  # the item is 3, not "3"
    with pytest.raises(DataError, match="id 'a' is given more than once"):
        index.remove(["a", "a"])
    with pytest.raises(DataError, match="not the single str"):
        index.remove("ab")
    assert index.ids == ["a", "b", 3]
    index.remove(["a"])
    with pytest.raises(DataError, match="id 'a' is not in the index"):
        index.remove(["a"])


def test_an_emptied_index_says_so_and_can_be_filled_again() -> None:
    index = ItemIndex.build(np.eye(2), ["a", "b"])
    index.remove(["a", "b"])
    assert len(index) == 0
    assert index.recall is None
    with pytest.raises(IndexFileError, match="the index is empty"):
        index.search(np.eye(2), 1)
    with pytest.raises(DataError, match="no items to index"):
        index.compact()
    index.add(np.eye(2)[:1], ["b"])
    assert index.search(np.eye(2), 5).ids == [["b"], ["b"]]


def test_nothing_to_change_changes_nothing() -> None:
    index = ItemIndex.build(np.eye(2), ["a", "b"])
    index.remove([])
    index.add(np.zeros((0, 2)), [])
    assert index.ids == ["a", "b"]
