from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

Vectors = npt.NDArray[np.float32]
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "flat": ("flat", {}),
    "ivf": ("ivf", {"nlist": 24, "nprobe": 8}),
    "hnsw": ("hnsw", {}),
    "ivfpq": ("ivfpq", {"nlist": 24, "nprobe": 8, "pq_parts": 8, "pq_bits": 6}),
    "ivfpq-refined": ("ivfpq", {"nlist": 24, "nprobe": 8, "pq_parts": 8, "pq_bits": 6, "refine": True}),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def each_kind(request: pytest.FixtureRequest) -> dict[str, object]:
    """The keyword arguments of ``build`` for each kind in turn."""
    kind, parameters = request.param
    return {"kind": kind, **parameters}


@pytest.fixture(scope="session")
def clustered() -> Callable[..., Vectors]:
    """Vectors around a few centres, as the items of a catalogue lie."""

    def make(count: int, dim: int = 16, *, clusters: int = 20, seed: int = 0) -> Vectors:
        rng = np.random.default_rng(seed)
        centres = np.random.default_rng(99).normal(size=(clusters, dim))
        return (centres[rng.integers(0, clusters, count)] + 0.4 * rng.normal(size=(count, dim))).astype(np.float32)

    return make
