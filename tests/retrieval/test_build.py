from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from bertrec.core.errors import ConfigError, DataError, MissingExtraError
from bertrec.retrieval import engine, parameters
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.parameters import IndexConfig, resolve

Vectors = npt.NDArray[np.float32]


def test_info_says_what_was_built(clustered: Callable[..., Vectors]) -> None:
    index = ItemIndex.build(clustered(500), range(500), kind="ivf", metric="cosine", model_hash="abc", nlist=10, nprobe=3, seed=7)
    info = index.info()
    assert {name: info[name] for name in ("kind", "metric", "items", "tombstones", "dim", "model_hash")} == {
        "kind": "ivf",
        "metric": "cosine",
        "items": 500,
        "tombstones": 0,
        "dim": 16,
        "model_hash": "abc",
    }
    assert info["settings"] == {"nlist": 10, "nprobe": 3, "train_per_list": 256, "train_rounds": 25, "seed": 7}
    assert info["recall"]["k"] == 10
    assert 0 < info["recall"]["value"] <= 1


def test_auto_is_flat_below_the_limit_and_hnsw_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parameters.FLAT_BELOW == 200_000
    assert resolve(IndexConfig(), 199_999, 8).kind == "flat"
    assert resolve(IndexConfig(), 200_000, 8).kind == "hnsw"
    monkeypatch.setattr(parameters, "FLAT_BELOW", 20)
    index = ItemIndex.build(np.eye(19), range(19))
    assert index.kind == "flat"
    index.add(np.eye(19)[:1], ["new"])
    assert index.kind == "flat"
    index.compact()
    assert index.kind == "hnsw"


@pytest.mark.parametrize(
    ("kind", "count"), [*itertools.product(["flat", "ivf", "hnsw"], [1, 2, 7, 300]), ("ivfpq", 2), ("ivfpq", 7), ("ivfpq", 300)]
)
def test_every_kind_takes_few_items(kind: str, count: int, clustered: Callable[..., Vectors], capfd: pytest.CaptureFixture[str]) -> None:
    vectors = clustered(count)
    index = ItemIndex.build(vectors, range(count), kind=kind)
    found = index.search(vectors[:1], count)
    assert sorted(found.ids[0]) == list(range(count))
    assert "WARNING" not in capfd.readouterr().err


def test_the_same_seed_gives_the_same_index(clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(1000), clustered(30, seed=1)
    first, second = (ItemIndex.build(vectors, range(1000), kind="ivfpq", seed=3, pq_parts=4, pq_bits=4) for _ in range(2))
    assert first.search(queries, 10).ids == second.search(queries, 10).ids
    assert first.recall == second.recall


def test_the_callers_arrays_are_neither_changed_nor_kept(each_kind: dict[str, object], clustered: Callable[..., Vectors]) -> None:
    vectors, queries = clustered(500), clustered(5, seed=1)
    for metric in ("inner_product", "cosine"):
        mine, asked = vectors.copy(), queries.copy()
        index = ItemIndex.build(mine, range(500), metric=metric, **each_kind)
        before = index.search(asked, 5)
        assert (mine == vectors).all()
        assert (asked == queries).all()
        mine[:] = 0
        after = index.search(asked, 5)
        assert after.ids == before.ids
        assert (after.scores == before.scores).all()


def test_ids_keep_their_type_and_script() -> None:
    ids = [1, "1", "영화", "фильм", "🎬", -5, 2**70, np.int64(9)]
    index = ItemIndex.build(np.eye(8), ids)
    assert index.ids == [1, "1", "영화", "фильм", "🎬", -5, 2**70, 9]
    assert [type(item) for item in index.ids] == [int, str, str, str, str, int, int, int]
    assert 1 in index
    assert 2 not in index


@pytest.mark.parametrize(
    ("vectors", "ids", "text"),
    [
        ([[1.0, np.nan], [1, 1]], [1, 2], "row 0 holds NaN or an infinite value"),
        ([[1.0, 1], [1, np.inf]], [1, 2], "row 1 holds NaN"),
        ([[1.0, 1], [1, 1e300]], [1, 2], "row 1 holds NaN or an infinite value"),
        ([[1.0, 1], [1, -1e20]], [1, 2], "row 1 holds 1e.20, too large"),
        ([[1.0, 1], [2, 2]], [1, 1], "id 1 is given more than once"),
        ([[1.0, 1], [2, 2]], [1], "2 vectors but 1 ids"),
        ([1.0, 2], [1, 2], "shape"),
        (np.zeros((2, 0)), [1, 2], "shape"),
        ([["a"], ["b"]], [1, 2], "no matrix of numbers"),
        ([[1.0, 2], [3]], [1, 2], "no matrix of numbers"),
        ([[1.0], [2]], "ab", "not the single str"),
        ([[1.0], [2]], [1, 2.5], "id 2.5 at place 1 is a float"),
        ([[1.0], [2]], [None, 1], "id None at place 0"),
        ([[1.0], [2]], [True, 2], "id True at place 0 is a bool"),
        (np.zeros((0, 3)), [], "no items to index"),
    ],
)
def test_unusable_vectors_and_ids_say_where(vectors: object, ids: list[object], text: str) -> None:
    with pytest.raises(DataError, match=text):
        ItemIndex.build(vectors, ids)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"kind": "hsnw"}, "unknown index kind 'hsnw': did you mean 'hnsw'"),
        ({"metric": "dot"}, "unknown metric 'dot'"),
        ({"kind": "ivf", "nprob": 3}, "did you mean 'nprobe'"),
        ({"kind": "ivf", "nlist": 0}, "setting 'nlist'"),
        ({"kind": "ivf", "nlist": 50}, "50 lists cannot be trained on 20 items"),
        ({"kind": "ivfpq", "pq_parts": 3}, r"3 does not divide the dimension 4; choose one of \[1, 2, 4\]"),
        ({"kind": "ivfpq", "pq_bits": 8}, "8 bits need at least 256 items, there are 20"),
    ],
)
def test_unusable_settings_say_what_is_right(options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        ItemIndex.build(np.random.default_rng(0).normal(size=(20, 4)), range(20), **options)  # type: ignore[arg-type]


def test_product_codes_for_one_item_are_an_error() -> None:
    with pytest.raises(ConfigError, match="ivfpq cannot be trained on a single item; choose flat"):
        ItemIndex.build(np.ones((1, 4)), ["a"], kind="ivfpq")


def test_without_faiss_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"bertrec\[cpu\].*bertrec\[gpu\]"):
        ItemIndex.build(np.eye(2), [1, 2])


def test_importing_the_module_does_not_import_faiss() -> None:
    code = "import sys, bertrec.retrieval.index, bertrec.retrieval.exact; sys.exit('faiss' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _FakeGpu:
    """Stands in for faiss-gpu: "copies to the GPU" are CPU clones that count their searches and refuse what a GPU refuses."""

    def __init__(self, faiss: ModuleType, *, refuse: bool = False) -> None:
        self.faiss, self.refuse, self.searches = faiss, refuse, 0

    def to_gpu(self, resources: object, device: int, index: object) -> _FakeGpu:
        if self.refuse:
            raise RuntimeError("not implemented on the GPU\nmore")
        self.index = self.faiss.clone_index(index)
        return self

    def search(self, queries: Vectors, count: int, params: object = None) -> tuple[Vectors, npt.NDArray[np.int64]]:
        assert count <= 2048
        self.searches += 1
        return self.index.search(queries, count, params=params)


def _install(monkeypatch: pytest.MonkeyPatch, gpu: _FakeGpu) -> None:
    monkeypatch.setattr(gpu.faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(gpu.faiss, "StandardGpuResources", object, raising=False)
    monkeypatch.setattr(gpu.faiss, "index_cpu_to_gpu", gpu.to_gpu, raising=False)


def test_a_gpu_is_used_where_faiss_sees_one(
    each_kind: dict[str, object], clustered: Callable[..., Vectors], monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, queries = clustered(3000), clustered(30, seed=1)
    on_cpu = ItemIndex.build(vectors, range(3000), **each_kind)
    gpu = _FakeGpu(engine.import_faiss())
    _install(monkeypatch, gpu)
    index = ItemIndex.build(vectors, range(3000), **each_kind)
    found = index.search(queries, 10)
    assert index.info()["gpu"] == (each_kind["kind"] != "hnsw")  # FAISS has no graph index on GPUs
    assert (gpu.searches > 0) == (each_kind["kind"] != "hnsw")
    same = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found.ids, on_cpu.search(queries, 10).ids, strict=True)])
    assert same == 1.0 if each_kind["kind"] in ("flat", "ivf") else same > 0.95


def test_an_index_that_the_gpu_refuses_stays_on_the_cpu(clustered: Callable[..., Vectors], monkeypatch: pytest.MonkeyPatch) -> None:
    _install(monkeypatch, _FakeGpu(engine.import_faiss(), refuse=True))
    with pytest.warns(UserWarning, match="stays on the CPU.*not implemented on the GPU$"):
        index = ItemIndex.build(clustered(500), range(500), kind="flat")
    assert index.info()["gpu"] is False
    assert index.search(clustered(500)[:1], 1).scores.shape == (1, 1)


def test_progress_is_shown_only_when_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    ItemIndex.build(np.eye(3), range(3))
    assert capfd.readouterr() == ("", "")
    ItemIndex.build(np.eye(3), range(3), progress=True)
    assert "index: 100%" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("count", "lists", "per_list", "rounds"),
    [(500, 12, 256, 25), (199_999, 1789, 139, 25), (200_000, 1789, 139, 10), (1_000_000, 4000, 62, 10), (10_000_000, 12_649, 39, 10)],
)
def test_kmeans_of_large_indexes_reads_a_sample(count, lists, per_list, rounds):
    found = resolve(IndexConfig(kind="ivf"), count, 64)
    assert (found.nlist, found.train_per_list, found.train_rounds) == (lists, per_list, rounds)


def test_settings_of_the_training_reach_kmeans():
    config = resolve(IndexConfig(kind="ivfpq", train_per_list=7, train_rounds=3), 1000, 8)
    clustering = engine.make_index(config, 8).cp
    assert (clustering.max_points_per_centroid, clustering.niter) == (7, 3)
