"""Ranks and exact lists computed on another device are those of the CPU, to the last one; the device is a pretended one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import pretended

from bertrec.core.devices import product_device
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


def test_products_of_a_shorter_format_are_the_cpus(monkeypatch):
    with pretended(monkeypatch) as device:
        assert product_device() == device
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
        assert product_device() is None
    assert product_device() is None
