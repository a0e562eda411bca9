"""Settings of an index, and what ``auto`` and unset values become for a given number of items."""

from __future__ import annotations

import math
from typing import Literal, TypedDict

from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, unknown_name

KINDS = ("auto", "flat", "ivf", "hnsw", "ivfpq")
METRICS = ("inner_product", "cosine")
FLAT_BELOW = 200_000
"""``auto`` is an exact flat index below this number of items, HNSW from there on."""
_TRAINED_ON = (
    250_000  # vectors that k-means reads at most, unless a list has its fewest; 256 a list, FAISS's own rule, where they are fewer
)
_MOST_PER_LIST, _FEWEST_PER_LIST = 256, 39  # FAISS's own bounds


class IndexConfig(Config):
    """Settings of an index; a value left at None is chosen from the number of items."""

    kind: Literal["auto", "flat", "ivf", "hnsw", "ivfpq"] = Field(
        "auto",
        description="flat (exact), ivf (inverted lists), hnsw (graph), ivfpq (inverted lists of product codes), or "
        f"auto: flat below {FLAT_BELOW:,} items, hnsw from there on.",
    )
    metric: Literal["inner_product", "cosine"] = Field(
        "inner_product",
        description="inner_product, or cosine: items and queries are scaled to length 1, a zero vector stays zero.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Seed of k-means and of the graph's levels; a graph repeats only when one thread builds it.",
    )
    nlist: int | None = Field(
        None,
        ge=1,
        description="Inverted lists; null is about four times the root of the number of items.",
    )
    nprobe: int | None = Field(
        None,
        ge=1,
        description="Lists visited per query; null is a sixteenth of them, at least 16.",
    )
    train_per_list: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Vectors per inverted list that k-means is trained on, drawn by the seed; null is "
        f"{_MOST_PER_LIST}, less where that makes more than {_TRAINED_ON:,} in all, but at least {_FEWEST_PER_LIST}.",
    )
    train_rounds: int | None = Field(
        None, ge=1, le=1_000, description=f"Rounds of that k-means; null is 25 below {FLAT_BELOW:,} items, 10 from there on."
    )
    hnsw_links: int = Field(32, ge=2, le=512, description="Links per node of the hnsw graph.")
    ef_construction: int = Field(100, ge=1, le=1_000_000, description="Candidates looked at when a node of the hnsw graph is linked.")
    ef_search: int = Field(
        128,
        ge=1,
        le=1_000_000,
        description="Candidates looked at in a search of the hnsw graph, beyond as many as are fetched.",
    )
    pq_parts: int | None = Field(
        None,
        ge=1,
        description="Parts of a product code: a divisor of the dimension; null is about a quarter of it.",
    )
    pq_bits: int | None = Field(
        None,
        ge=1,
        le=12,
        description="Bits per part of a product code; null is 8, or less where there are too few items for it.",
    )
    refine: bool = Field(
        False,
        description="Keep the full vectors in the ivfpq index and rank refine_factor times as many items by them.",
    )
    refine_factor: int = Field(
        4,
        ge=1,
        le=10_000,
        description="How many times as many items are fetched to be ranked by full vectors (refine).",
    )
    recall_k: int = Field(10, ge=1, le=100_000, description="The k of the recall that is measured against exact search.")


class IndexParameters(TypedDict, total=False):
    """The keyword arguments of ``bertrec.retrieval.index.ItemIndex.build`` that go into ``IndexConfig``."""

    nlist: int | None
    nprobe: int | None
    train_per_list: int | None
    train_rounds: int | None
    hnsw_links: int
    ef_construction: int
    ef_search: int
    pq_parts: int | None
    pq_bits: int | None
    refine: bool
    refine_factor: int
    recall_k: int


def check_names(kind: str, metric: str) -> None:
    """Raise a ConfigError with the nearest right name where ``kind`` or ``metric`` is unknown."""
    if kind not in KINDS:
        raise ConfigError(unknown_name("index kind", kind, KINDS))
    if metric not in METRICS:
        raise ConfigError(unknown_name("metric", metric, METRICS))


def resolve(config: IndexConfig, count: int, dim: int) -> IndexConfig:
    """Return ``config`` with ``auto`` and None replaced for ``count`` vectors of ``dim`` dimensions.

    Raises:
        ConfigError: more lists or centroids than vectors, product codes for a single item, or code parts that do not divide the dimension.
    """
    kind = ("flat" if count < FLAT_BELOW else "hnsw") if config.kind == "auto" else config.kind
    resolved = config.model_copy(update={"kind": kind})
    if kind in ("ivf", "ivfpq"):
        resolved = _with_lists(resolved, count)
    return _with_codes(resolved, count, dim) if kind == "ivfpq" else resolved


def _with_lists(config: IndexConfig, count: int) -> IndexConfig:
    # 39 vectors per list is what FAISS's k-means asks for.
    nlist = config.nlist or max(1, min(round(4 * math.sqrt(count)), count // 39))
    if nlist > count:
        raise ConfigError(f"setting 'nlist': {nlist} lists cannot be trained on {count} items; choose at most {count}")
    return config.model_copy(
        update={
            "nlist": nlist,
            "nprobe": min(nlist, config.nprobe or max(16, nlist // 16)),
            "train_per_list": config.train_per_list or min(_MOST_PER_LIST, max(_FEWEST_PER_LIST, _TRAINED_ON // nlist)),
            "train_rounds": config.train_rounds or (25 if count < FLAT_BELOW else 10),
        }
    )


def _with_codes(config: IndexConfig, count: int, dim: int) -> IndexConfig:
    parts = config.pq_parts or max(part for part in range(1, max(1, dim // 4) + 1) if dim % part == 0)
    if dim % parts:
        fitting = [part for part in range(1, dim + 1) if dim % part == 0]
        raise ConfigError(f"setting 'pq_parts': {parts} does not divide the dimension {dim}; choose one of {fitting}")
    if count < 2:
        raise ConfigError("setting 'kind': ivfpq cannot be trained on a single item; choose flat")
    bits = config.pq_bits or min(8, int(math.log2(count)))
    if 2**bits > count:
        raise ConfigError(f"setting 'pq_bits': {bits} bits need at least {2**bits} items, there are {count}")
    return config.model_copy(update={"pq_parts": parts, "pq_bits": bits})
