"""An index as a objective of a study: recall against exact search, and queries per second."""

from __future__ import annotations

import re
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import ConfigError
from bertrec.retrieval.engine import import_faiss
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.parameters import KINDS, IndexConfig, resolve
from bertrec.retrieval.recall import recall_each
from bertrec.retrieval.result import SearchResult
from bertrec.tuning.objectives.models import ReportEpoch, Result
from bertrec.tuning.space import Space
from bertrec.tuning.study_data import Vectors

SPEED = "queries_per_second"
_SEARCH_SETTINGS = ("nprobe", "ef_search", "refine_factor")
_KEPT_BYTES = 2 << 30  # of built indexes, by the size of their vectors
_KEPT = 8
_REPEATS, _SECONDS = 5, 0.5  # of searching all queries: at least so often, and until so much time has passed


@dataclass(frozen=True)
class IndexObjective:
    """An index of given vectors.

    What was built is kept for a while and searched again with other settings: two trials that differ in ``ef_search``, ``nprobe`` or
    ``refine_factor`` alone share their graph or lists.

    Attributes:
        first: settings that the first trial takes instead of the library's own.
        settings: that are not searched.
        seed: of k-means and of the graph's levels.
        threads: of a search that is timed; building takes all cores.
    """

    first: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    threads: int = 1
    _built: OrderedDict[str, tuple[ItemIndex, float]] = field(default_factory=OrderedDict, repr=False)
    _true: dict[tuple[str, int], SearchResult] = field(default_factory=dict, repr=False)

    @property
    def defaults(self) -> dict[str, Any]:
        """All settings with the values of the first trial.

        Raises:
            ConfigError: a setting that does not exist, or one outside its range.
        """
        return {**IndexConfig.from_dict({"seed": self.seed, **self.settings}).to_flat(), **self.first}

    def run(self, settings: Mapping[str, Any], data: Vectors, metrics: Sequence[str], report: ReportEpoch) -> Result:
        """Build the index, or take one that was built so before, and search it for all queries, again and again."""
        config = IndexConfig.from_dict({"seed": self.seed, **self.settings, **settings})
        k = recall_k(metrics)
        index, seconds = self._index(config, data)
        shared = recall_each(index.search(data.queries, k), self._exact(index, data.queries, k))
        figures = {SPEED: queries_per_second(index, data.queries, k, threads=self.threads)}
        values = [figures[metric] if metric in figures else float(shared.mean()) for metric in metrics]
        return Result(values, shared, notes={"build_seconds": seconds, "threads": self.threads})

    def _index(self, config: IndexConfig, data: Vectors) -> tuple[ItemIndex, float]:
        """Return the index and the seconds that it once took to build."""
        plain = config.model_copy(update={name: IndexConfig.model_fields[name].default for name in _SEARCH_SETTINGS})
        key = plain.model_dump_json()
        if key not in self._built:
            while len(self._built) >= max(1, min(_KEPT, _KEPT_BYTES // data.items.nbytes)):
                self._built.popitem(last=False)
            started = time.perf_counter()
            made = ItemIndex.build(data.items, range(len(data.items)), recall_queries=data.queries[:1], **plain.model_dump())
            self._built[key] = (made, time.perf_counter() - started)
        self._built.move_to_end(key)
        index, seconds = self._built[key]
        return index.searched_with(**{name: getattr(config, name) for name in _SEARCH_SETTINGS}), seconds

    def _exact(self, index: ItemIndex, queries: npt.NDArray[np.float32], k: int) -> SearchResult:
        """What is true of one index is true of all others over these vectors."""
        if (index.metric, k) not in self._true:
            self._true[index.metric, k] = index.search(queries, k, exact=True)
        return self._true[index.metric, k]


def queries_per_second(index: ItemIndex, queries: npt.NDArray[np.float32], k: int, *, threads: int) -> float:
    """Return how many queries per second the index answers, a median.

    All of them are asked at once; putting what was found in exact order is part of it.

    Args:
        index: of any kind.
        queries: ``[q, d]``.
        k: items per query.
        threads: of FAISS, and of torch, which settles what FAISS leaves open, while it is timed.
    """
    import torch

    faiss = import_faiss()
    before = faiss.omp_get_max_threads(), torch.get_num_threads()
    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    times: list[float] = []
    try:
        while len(times) <= _REPEATS or sum(times) < _SECONDS:
            started = time.perf_counter()
            index.search(queries, k)
            times.append(time.perf_counter() - started)
    finally:
        faiss.omp_set_num_threads(before[0])
        torch.set_num_threads(before[1])
    return len(queries) / float(np.median(times[1:]))  # the first one warms caches


def recall_k(metrics: Sequence[str]) -> int:
    """Return the k of ``recall@k`` among the metrics.

    Raises:
        ConfigError: there is none.
    """
    found = [re.fullmatch(r"recall@([1-9]\d*)", metric) for metric in metrics]
    k = next((int(match[1]) for match in found if match), None)
    if k is None or any(match is None and metric != SPEED for match, metric in zip(found, metrics, strict=True)):
        raise ConfigError(f"an index is tuned by recall@K and {SPEED}, not by {', '.join(metrics) or 'nothing'}")
    return k


def first_settings(kinds: Sequence[str], data: Vectors, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first trial takes: the kind that ``auto`` is for these vectors where it is searched, and what unset values become.

    Raises:
        ConfigError: a setting that does not exist, or that does not fit the vectors.
    """
    config = IndexConfig.from_dict(settings)
    chosen = resolve(config, *data.items.shape).kind
    kind = chosen if chosen in kinds else kinds[0]
    found = resolve(config.model_copy(update={"kind": kind}), *data.items.shape)
    wanted = {"kind": kind, "nlist": found.nlist, "nprobe": found.nprobe, "pq_parts": found.pq_parts}
    return {name: value for name, value in wanted.items() if name not in settings and value is not None}


def index_space(kinds: Sequence[str], data: Vectors, settings: Mapping[str, Any]) -> Space:
    """Return the space of these kinds for vectors of this number and width, without what is set already.

    Raises:
        ConfigError: no kind, one that does not exist, or one that is twice.
    """
    known = [kind for kind in KINDS if kind != "auto"]
    if not kinds or len(set(kinds)) < len(kinds) or not set(kinds) <= set(known):
        raise ConfigError(f"--kinds takes some of {', '.join(known)}, each once, not {', '.join(kinds) or 'none'}")
    count, dim = data.items.shape
    lists = ["ivf", "ivfpq"]
    most = max(1, min(count // 39, 65536))  # FAISS's k-means asks for 39 vectors per list
    usual = max(part for part in range(1, max(1, dim // 4) + 1) if dim % part == 0)  # the default, which is the first trial's
    parts = [part for part in range(1, dim + 1) if dim % part == 0 and (part >= dim / 16 or part in (1, usual))]
    at_most = settings.get("nlist") or most
    ranges: dict[str, tuple[list[str], dict[str, Any]]] = {
        "hnsw_links": (["hnsw"], {"choice": [8, 16, 32, 64]}),
        "ef_construction": (["hnsw"], {"int": [40, 400], "log": True}),
        "ef_search": (["hnsw"], {"int": [8, 512], "log": True}),
        "nlist": (lists, {"int": [1, most], "log": True}),
        "nprobe": (lists, {"int": [1, max(16, at_most // 4)], "log": True}),
        "pq_parts": (["ivfpq"], {"choice": parts}),
        "refine": (["ivfpq"], {"choice": [False, True]}),
        "refine_factor": (["ivfpq"], {"int": [2, 16]}),
    }
    space: dict[str, Any] = {"kind": {"choice": list(kinds)}}
    for name, (where, description) in ranges.items():
        held = [kind for kind in where if kind in kinds]
        if held and name not in settings:
            space[name] = {**description, "when": {"kind": held}}
    if "refine_factor" in space and "refine" in space:
        space["refine_factor"]["when"] = {"refine": [True]}
    return Space.from_dict(space)
