"""Where FAISS searches: which GPUs, in which precision. The GPUs are stand-ins that compute on the CPU."""

from __future__ import annotations

import copy
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest

from bertrec.core import devices
from bertrec.core.devices import DEVICE
from bertrec.core.errors import ConfigError
from bertrec.retrieval import ItemIndex, engine
from bertrec.retrieval.gpu import SEARCH, use_gpu_search


class Copy:
    """An index "on GPUs": it searches a rounded copy where float16 was asked for."""

    def __init__(self, faiss, index, where, options):
        self.where, self.half, self.shard = where, bool(getattr(options, "useFloat16", False)), getattr(options, "shard", False)
        self.index = faiss.clone_index(index)
        if self.half and hasattr(index, "get_xb"):
            vectors = faiss.rev_swig_ptr(index.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
            self.index.reset()
            self.index.add(vectors.astype(np.float16).astype(np.float32))

    def search(self, queries, count, params=None):
        return self.index.search(queries, count, params=params)


@pytest.fixture
def gpus(monkeypatch):
    """Return what was copied; ``count`` says how many GPUs there are."""
    faiss, made = engine.import_faiss(), SimpleNamespace(count=1, copies=[])

    def copied(where, index, options=None):
        made.copies.append(Copy(faiss, faiss.downcast_index(index), where, options))
        return made.copies[-1]

    stand_ins = {
        "get_num_gpus": lambda: made.count,
        "StandardGpuResources": object,
        "GpuClonerOptions": SimpleNamespace,
        "GpuMultipleClonerOptions": SimpleNamespace,
        "index_cpu_to_gpu": lambda resources, device, index, options=None: copied(device, index, options),
        "index_cpu_to_all_gpus": lambda index, co=None: copied("all", index, co),
    }
    for name, value in stand_ins.items():
        monkeypatch.setattr(faiss, name, value, raising=False)
    monkeypatch.setattr(devices, "product_device", lambda size: None)  # torch has no GPU here
    monkeypatch.setenv(SEARCH, "")
    monkeypatch.setenv(DEVICE, "")
    return made


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(0).normal(size=(800, 16)).astype(np.float32)


def lists(vectors, kind="flat"):
    return ItemIndex.build(vectors, range(len(vectors)), kind=kind).search(vectors[:30] + 0.1, 10)


@pytest.mark.parametrize(("device", "where"), [("", 0), ("cuda", 0), ("cuda:1", 1), ("cpu", None), ("mps", None)])
def test_the_chosen_device_is_searched_on(gpus, vectors, monkeypatch, device, where):
    monkeypatch.setenv(DEVICE, device)
    gpus.count = 2 if device == "cuda:1" else 1
    lists(vectors)
    assert {one.where for one in gpus.copies} == ({where} if where is not None else set())


def test_of_several_gpus_a_flat_index_takes_all_and_lists_one(gpus, vectors):
    gpus.count = 3
    lists(vectors)
    assert {(one.where, one.shard) for one in gpus.copies} == {("all", False)}
    use_gpu_search("shards,half")
    gpus.copies.clear()
    lists(vectors)
    assert {(one.where, one.shard, one.half) for one in gpus.copies} == {("all", True, True)}
    gpus.copies.clear()
    lists(vectors, "ivf")
    assert {one.where for one in gpus.copies} == {0}


def test_half_precision_finds_candidates_and_full_vectors_order_them(gpus, vectors, monkeypatch):
    wanted = lists(vectors)
    assert not any(one.half for one in gpus.copies)
    use_gpu_search("half")
    found = lists(vectors)
    assert gpus.copies[-1].half
    assert found.ids == wanted.ids
    np.testing.assert_array_equal(found.scores, wanted.scores)


def test_off_leaves_the_gpu_alone(gpus, vectors):
    use_gpu_search("off")
    lists(vectors)
    assert gpus.copies == []


def test_words_and_devices_that_are_none_are_errors(gpus, vectors, monkeypatch):
    with pytest.raises(ConfigError, match="unknown BERTREC_GPU_SEARCH 'hal': did you mean 'half'"):
        use_gpu_search("hal")
    lists(vectors)  # as before
    monkeypatch.setenv(SEARCH, "full")
    with pytest.raises(ConfigError, match="'full'"):
        lists(vectors)
    monkeypatch.setenv(SEARCH, "")
    monkeypatch.setenv(DEVICE, "cuda:4")
    with pytest.raises(ConfigError, match="cuda:4 is not there: faiss sees 1, take auto or cuda:0"):
        lists(vectors)


def test_a_gpu_index_is_searched_by_one_thread_at_a_time(gpus, vectors, monkeypatch):
    """Four threads start together, each with its own queries: neither copying nor searching overlaps, and each gets its own lists."""
    inside, most, start = [], [], Barrier(4)

    def watched(real):
        def call(*given, **how):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            found = real(*given, **how)
            inside.pop()
            return found

        return call

    monkeypatch.setattr(Copy, "search", watched(Copy.search))
    monkeypatch.setattr(Copy, "__init__", watched(Copy.__init__))
    index = ItemIndex.build(vectors, range(len(vectors)), metric="cosine")  # a vector's best item is its own
    index._forget()
    gpus.copies.clear()
    most.clear()

    def search(first):
        start.wait()
        return [index.search(vectors[row : row + 1], 1).ids for row in range(first, first + 5)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search, (0, 100, 200, 300)))
    assert found == [[[[row]] for row in range(first, first + 5)] for first in (0, 100, 200, 300)]
    assert len(most) >= 21
    assert set(most) == {1}
    assert len(gpus.copies) == 1


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))])
def test_an_index_that_was_searched_can_be_copied_still(gpus, vectors, copied):
    index = ItemIndex.build(vectors, range(len(vectors)), metric="cosine")
    assert copied(index).search(vectors[5:7], 1).ids == [[5], [6]]
