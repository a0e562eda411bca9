"""Ranks and exact lists computed on another device are those of the CPU, to the last one; the device is a pretended one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import DEVICE, pretended

from bertrec.core import devices
from bertrec.core.devices import computed_there, product_device
from bertrec.core.ragged import Ragged
from bertrec.evaluation import count_above
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors
from bertrec.retrieval import scan


def drawn(seed, rows, most, least=0):
    draw = np.random.default_rng(seed)
    return Ragged.from_rows([draw.choice(np.arange(1, 201), draw.integers(least, most + 1), replace=False) for _ in range(rows)])


@pytest.fixture
def vectors():
    """Whole numbers, so that many items tie and are settled pair by pair, and others that hardly differ."""
    draw = np.random.default_rng(0)
    items = draw.integers(-2, 3, (201, 6)).astype(np.float32)
    items[100:] += draw.normal(scale=1e-7, size=(101, 6)).astype(np.float32)
    return draw.integers(-2, 3, (90, 6)).astype(np.float32) * np.float32(0.3), items


@pytest.mark.parametrize("cells", [1 << 26, 1000])
@pytest.mark.parametrize("seen", [None, 5, 150])
def test_ranks_are_those_of_the_cpu(vectors, monkeypatch, cells, seen):
    users, items = vectors
    items[7] = np.nan  # without a score
    targets, masked = drawn(1, 90, 3), None if seen is None else drawn(2, 90, seen)
    table = RankedItems.of(items)
    wanted = rank_vectors(users, table, targets, seen=masked)
    monkeypatch.setattr(count_above, "_CELLS_THERE", cells)
    counted = []
    with pretended(monkeypatch, counted):
        found = rank_vectors(users, table, targets, seen=masked)
    assert "mm" in counted
    assert found.tolist() == wanted.tolist()


@pytest.mark.parametrize("cells", [1 << 26, 1000])
def test_exact_lists_are_those_of_the_cpu(vectors, monkeypatch, cells):
    queries, items = vectors
    alive = np.random.default_rng(3).random(201) < 0.9
    how = {"alive": alive, "banned": drawn(4, 90, 150), "largest_norm": float(np.linalg.norm(items, axis=1).max())}
    monkeypatch.setattr(scan, "_SCORES_THERE", cells)
    for k in (1, 10, 100, 500):
        wanted, counted = scan.search_vectors(queries, items, k, **how), []
        with pretended(monkeypatch, counted):
            found = scan.search_vectors(queries, items, k, **how)
        assert "mm" in counted
        assert found[0].tolist() == wanted[0].tolist()
        assert found[1].tolist() == wanted[1].tolist()


@pytest.fixture(params=[1, 2, 3])
def full(request, monkeypatch):
    """Let the device run out of memory at its first, second or third upload; each fixture's test must come so far."""
    uploads, real = [], torch.Tensor.to

    def to(tensor, *args, **how):
        if DEVICE in (*args, *how.values()):
            uploads.append(tensor.shape)
            if len(uploads) == request.param:
                raise torch.OutOfMemoryError("tried to allocate 40 GiB")
        return real(tensor, *args, **how)

    monkeypatch.setattr(torch.Tensor, "to", to)
    yield
    assert len(uploads) == request.param  # and none after the error


@pytest.mark.usefixtures("full")
def test_a_device_without_memory_leaves_ranks_to_the_cpu(vectors, monkeypatch):
    users, items = vectors
    targets, table = drawn(1, 90, 3), RankedItems.of(items)
    wanted = rank_vectors(users, table, targets, seen=drawn(2, 90, 5))
    with pretended(monkeypatch):
        found = rank_vectors(users, table, targets, seen=drawn(2, 90, 5))
    assert found.tolist() == wanted.tolist()


@pytest.mark.usefixtures("full")
def test_a_device_without_memory_leaves_lists_to_the_cpu(vectors, monkeypatch):
    queries, items = vectors
    how = {"alive": np.arange(201) % 9 > 0, "banned": drawn(4, 90, 50), "largest_norm": float(np.linalg.norm(items, axis=1).max())}
    wanted = scan.search_vectors(queries, items, 10, **how)
    with pretended(monkeypatch):
        found = scan.search_vectors(queries, items, 10, **how)
    assert found[0].tolist() == wanted[0].tolist()
    assert found[1].tolist() == wanted[1].tolist()


@pytest.mark.parametrize(("size", "goes"), [(500, True), (501, False)])
def test_a_gpu_gets_no_more_than_half_of_its_free_memory(monkeypatch, size, goes):
    """Free are 700 bytes and the 300 that torch holds of tensors that are gone."""
    device = torch.device("cuda", 0)
    gpu = {"mem_get_info": (700, 9000), "memory_reserved": 1300, "memory_allocated": 1000}
    monkeypatch.setattr(devices, "chosen_device", lambda: device)
    for name, value in gpu.items():
        monkeypatch.setattr(torch.cuda, name, lambda asked, value=value: value if asked == device else pytest.fail("another"))
    assert product_device(size) == computed_there(size, lambda there: there) == (device if goes else None)


@pytest.mark.parametrize(
    "text", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
)
def test_only_a_want_of_memory_is_passed_over(monkeypatch, text):
    def failing(said):
        def compute(device):
            raise RuntimeError(said)

        return compute

    with pretended(monkeypatch):
        assert computed_there(1, failing(text)) is None
        with pytest.raises(RuntimeError, match="device-side assert"):
            computed_there(1, failing("CUDA error: device-side assert triggered"))
    assert computed_there(1, lambda device: pytest.fail("there is none")) is None


def test_products_of_a_shorter_format_are_the_cpus(monkeypatch):
    with pretended(monkeypatch) as device:
        assert product_device() == device
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
        assert product_device() is None
    assert product_device() is None


def test_products_of_a_format_without_an_older_name_are_the_cpus(monkeypatch):
    """What torch's newer switch is set to, its older one refuses to name."""
    before = torch.backends.cuda.matmul.fp32_precision
    with pretended(monkeypatch) as device:
        assert product_device() == device
        try:
            torch.backends.cuda.matmul.fp32_precision = "tf32"
            with pytest.raises(RuntimeError):
                torch.get_float32_matmul_precision()
            assert product_device() is None
        finally:
            torch.backends.cuda.matmul.fp32_precision = before
        assert product_device() == device
