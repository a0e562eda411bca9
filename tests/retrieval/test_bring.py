"""An index is brought to a state: what it holds then is what an index built of that state holds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from bertrec.core.errors import DataError, IndexFileError
from bertrec.retrieval.index import ItemIndex

Vectors = npt.NDArray[np.float32]


def state(clustered: Callable[..., Vectors]) -> tuple[Vectors, list[int], Vectors, list[int]]:
    """1,500 items; of these 100 go, 50 change, 1,350 stay, and 200 come."""
    old = clustered(1500)
    new = np.concatenate([old[100:], clustered(200, seed=5)])
    new[:50] = clustered(50, seed=6)
    return old, list(range(1500)), new, [*range(100, 1500), *range(2000, 2200)]


def test_an_index_holds_what_it_is_brought_to(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    old, old_ids, new, new_ids = state(clustered)
    index = ItemIndex.build(old, old_ids, model_hash="old", **each_kind)
    assert index.bring(new, new_ids, model_hash="new") == {"added": 200, "replaced": 50, "removed": 100}
    assert sorted(index.ids) == new_ids
    assert index.model_hash == "new"
    query = clustered(3, seed=1)
    exact = index.search(query, 20, exact=True)
    best = np.argsort(-(query.astype(np.float64) @ new.T.astype(np.float64)), axis=1)[:, :20]
    assert exact.ids == [[new_ids[row] for row in rows] for rows in best]
    assert index.info()["tombstones"] == (0 if each_kind["kind"] == "flat" else 150)
    assert index.bring(new, new_ids, model_hash="new") == {"added": 0, "replaced": 0, "removed": 0}


def test_a_graph_of_which_a_third_would_be_dead_is_built_anew(clustered: Callable[..., Vectors]) -> None:
    index = ItemIndex.build(clustered(300), range(300), kind="hnsw")
    assert index.bring(clustered(300, seed=9), range(300), model_hash="") == {"added": 0, "replaced": 300, "removed": 0}
    assert index.info()["tombstones"] == 0


def test_a_cosine_index_compares_directions(clustered: Callable[..., Vectors]) -> None:
    index = ItemIndex.build(clustered(30), range(30), metric="cosine", kind="hnsw")
    assert index.bring(clustered(30) * 3, range(30), model_hash="m")["replaced"] == 0


@pytest.mark.parametrize(
    ("vectors", "ids", "error"),
    [
        (np.ones((2, 16)), [1, 1], DataError),
        (np.ones((2, 16)), [1], DataError),
        (np.full((1, 16), np.nan), [1], DataError),
        (np.ones((1, 15)), [1], IndexFileError),
    ],
)
def test_what_cannot_be_held_leaves_the_index(
    vectors: Vectors, ids: list[int], error: type[Exception], clustered: Callable[..., Vectors]
) -> None:
    index = ItemIndex.build(clustered(30), range(30), model_hash="old")
    with pytest.raises(error):
        index.bring(vectors, ids, model_hash="new")
    assert (index.ids, index.model_hash) == (list(range(30)), "old")
