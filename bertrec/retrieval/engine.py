"""The FAISS side: making, filling and searching an index of each kind, on a GPU where one is there."""

from __future__ import annotations

import copy
import math
from threading import Lock
from typing import Any

import numpy as np

from bertrec.core.errors import BertrecError, MissingExtraError
from bertrec.core.faiss_builds import BROKEN, installed_builds, mend_of
from bertrec.core.progress import progress_bar
from bertrec.retrieval.exact import BoolArray, FloatArray, IntArray
from bertrec.retrieval.gpu import gpu_copy
from bertrec.retrieval.parameters import IndexConfig

_ADD_AT_ONCE = 20_000
_GPU_LIMIT = 2048  # FAISS's kernels return, and probe, no more than this


def import_faiss() -> Any:
    """Return the faiss module.

    Raises:
        MissingExtraError: it is not installed; the text names the extra.
        BertrecError: it is installed and does not load, as a build for GPUs without CUDA's libraries; the text says what mends it.
    """
    try:
        import faiss
    except BROKEN as error:
        builds = installed_builds()
        if isinstance(error, ModuleNotFoundError) and error.name == "faiss":
            raise MissingExtraError("faiss", "cpu", "or 'bertrec[gpu]' for an NVIDIA GPU") from error
        listed = ", ".join(f"{name} {found}" for name, found in builds.items()) or "faiss"
        raise BertrecError(f"{listed} does not load ({' '.join(str(error).split())[:200]}): {mend_of(builds)}") from error
    return faiss


def make_index(config: IndexConfig, dim: int) -> Any:
    """Return an empty FAISS index for a resolved configuration."""
    makers = {"flat": _make_flat, "ivf": _make_ivf, "hnsw": _make_hnsw, "ivfpq": _make_ivfpq}
    return makers[config.kind](import_faiss(), config, dim)


def _make_flat(faiss: Any, config: IndexConfig, dim: int) -> Any:
    return faiss.IndexFlatIP(dim)


def _make_ivf(faiss: Any, config: IndexConfig, dim: int) -> Any:
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dim), dim, config.nlist, faiss.METRIC_INNER_PRODUCT)
    _plan_clustering(index.cp, config)
    return index


def _make_hnsw(faiss: Any, config: IndexConfig, dim: int) -> Any:
    index = faiss.IndexHNSWFlat(dim, config.hnsw_links, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = config.ef_construction
    index.hnsw.rng = faiss.RandomGenerator(config.seed)
    return index


def _make_ivfpq(faiss: Any, config: IndexConfig, dim: int) -> Any:
    metric = faiss.METRIC_INNER_PRODUCT
    index = faiss.IndexIVFPQ(faiss.IndexFlatIP(dim), dim, config.nlist, config.pq_parts, config.pq_bits, metric)
    _plan_clustering(index.cp, config)
    _seed_clustering(index.pq.cp, config.seed)
    # A third of the training time of FAISS's own 25 rounds over 256 points per centroid, at the same recall on
    # 20,000 Gaussian vectors.
    index.pq.cp.niter, index.pq.cp.max_points_per_centroid = 10, 64
    return faiss.IndexRefineFlat(index) if config.refine else index


def _plan_clustering(parameters: Any, config: IndexConfig) -> None:
    _seed_clustering(parameters, config.seed)
    parameters.niter, parameters.max_points_per_centroid = config.train_rounds, config.train_per_list


def _seed_clustering(parameters: Any, seed: int) -> None:
    parameters.seed = seed
    parameters.min_points_per_centroid = 1  # few points are no cause for FAISS to print: the measured recall tells


def fill(index: Any, vectors: FloatArray, *, progress: bool = False) -> None:
    """Train the index where it needs it, and add ``vectors`` ``[n, d]``; ``progress`` shows a bar on standard error."""
    if not index.is_trained:
        index.train(vectors)
    with progress_bar(progress, "index", len(vectors)) as bar:
        for start in range(0, len(vectors), _ADD_AT_ONCE):
            part = vectors[start : start + _ADD_AT_ONCE]
            index.add(part)
            bar.update(len(part))


def lists_of(index: Any) -> Any:
    """Return the inverted lists inside an index of kind ``ivf`` or ``ivfpq``."""
    faiss = import_faiss()
    return faiss.downcast_index(getattr(index, "base_index", None) or index)


def training_of(index: Any) -> list[FloatArray]:
    """Return what k-means found: the lists' centroids ``[nlist, d]`` and, of product codes, those of their parts."""
    faiss, lists = import_faiss(), lists_of(index)
    found = [lists.quantizer.reconstruct_n(0, lists.nlist)]
    return [*found, faiss.vector_to_array(lists.pq.centroids)] if hasattr(lists, "pq") else found


def trained_alike(config: IndexConfig, index: Any) -> Any:
    """Return an empty index that is trained as ``index`` is, of the same resolved configuration."""
    faiss, fresh = import_faiss(), make_index(config, index.d)
    if config.kind not in ("ivf", "ivfpq"):
        return fresh
    lists, (centroids, *codes) = lists_of(fresh), training_of(index)
    lists.quantizer.add(centroids)
    if codes:
        faiss.copy_array_to_vector(codes[0], lists.pq.centroids)
    lists.is_trained = fresh.is_trained = True
    return fresh


def append(index: Any, other: Any) -> None:
    """Move the rows of ``other``, trained alike, behind those of ``index``; ``other`` is empty after it."""
    start = index.ntotal
    if hasattr(index, "refine_index"):
        append(lists_of(index), lists_of(other))
        append(import_faiss().downcast_index(index.refine_index), import_faiss().downcast_index(other.refine_index))
        index.ntotal = lists_of(index).ntotal
    else:
        index.merge_from(other, start if hasattr(index, "invlists") else 0)


def held_vectors(index: Any) -> FloatArray | None:
    """Return a view ``[n, d]`` of the full vectors inside an index, or None where it keeps them in lists or as codes.

    The view is good only until the index changes.
    """
    faiss = import_faiss()
    inner = getattr(index, "refine_index", None) or getattr(index, "storage", None) or index
    flat = faiss.downcast_index(inner)
    if not hasattr(flat, "get_xb"):
        return None
    view: FloatArray = faiss.rev_swig_ptr(flat.get_xb(), index.ntotal * index.d).reshape(index.ntotal, index.d)
    return view


class Searcher:
    """Searches a FAISS index: a GPU copy where FAISS can make one, else the index itself. Make a new one after each change.

    Threads may share one: FAISS searches a GPU copy for one caller at a time, so the others wait.

    Attributes:
        rough: whether the scores of the copy are of half precision, and items are to be ranked by their full vectors.
    """

    def __init__(self, index: Any, config: IndexConfig) -> None:
        self._index = index
        self._config = config
        self._gpu_index, self.rough = gpu_copy(import_faiss(), index, config)
        self._turn = Lock()
        self._selector: Any = None
        self._bits: Any = None
        self._widened = 1

    def within(self, allowed: BoolArray) -> Searcher:
        """Return one that finds the positions of ``allowed [n]`` alone, on the CPU; a graph is walked further the fewer they are."""
        other = copy.copy(self)
        other._gpu_index, other.rough = None, False
        other._bits = np.packbits(allowed, bitorder="little")  # which FAISS looks at and does not copy
        other._selector = import_faiss().IDSelectorBitmap(other._bits)
        other._widened = math.ceil(len(allowed) / max(1, int(allowed.sum())))
        return other

    @property
    def on_gpu(self) -> bool:
        """Whether searches run on a GPU."""
        return self._gpu_index is not None

    def search(self, queries: FloatArray, count: int, *, effort: int = 1) -> tuple[FloatArray, IntArray]:
        """Return ``(scores, positions)``, ``[b, count]``, best first, -1 where FAISS found none.

        Args:
            queries: ``[b, d]``.
            count: how many to fetch.
            effort: multiplies the lists probed or candidates looked at.
        """
        nprobe = min(self._config.nlist or 1, (self._config.nprobe or 1) * effort)
        if self._gpu_index is not None and max(count * self._refine, nprobe) <= _GPU_LIMIT:
            return self._search_gpu(queries, count, nprobe)
        scores, positions = self._index.search(queries, count, params=self._parameters(count, nprobe, effort))
        return scores, positions

    @property
    def _refine(self) -> int:
        return self._config.refine_factor if self._config.kind == "ivfpq" and self._config.refine else 1

    def _search_gpu(self, queries: FloatArray, count: int, nprobe: int) -> tuple[FloatArray, IntArray]:
        # The codes alone are on the GPU: the caller ranks what they find by the full vectors, which is all that refinement does.
        faiss = import_faiss()
        parameters = None if self._config.kind == "flat" else faiss.SearchParametersIVF(nprobe=nprobe)
        with self._turn:
            scores, positions = self._gpu_index.search(queries, count * self._refine, params=parameters)  # type: ignore[union-attr]
        return scores, positions

    def _parameters(self, count: int, nprobe: int, effort: int) -> Any:
        faiss = import_faiss()
        chosen = {} if self._selector is None else {"sel": self._selector}
        if self._config.kind == "flat":
            return faiss.SearchParameters(**chosen) if chosen else None
        if self._config.kind == "hnsw":
            # Beyond what is fetched: the last of a list as long as the candidates looked at are found badly.
            return faiss.SearchParametersHNSW(efSearch=(count + self._config.ef_search * effort) * self._widened, **chosen)
        lists = faiss.SearchParametersIVF(nprobe=nprobe, **chosen)
        if self._refine == 1:
            return lists
        return faiss.IndexRefineSearchParameters(k_factor=float(self._refine), base_index_params=lists)


def to_file(index: Any, path: str) -> None:
    """Write a FAISS index through Python's own file, whose errors on a full disk are raised, also those on closing."""
    faiss = import_faiss()
    problems: list[OSError] = []
    with open(path, "wb") as stream:

        def write(data: bytes) -> int:
            try:
                return stream.write(data)
            except OSError as error:
                problems.append(error)
                return 0

        try:
            faiss.write_index(index, faiss.PyCallbackIOWriter(write))
        except RuntimeError:
            if not problems:
                raise
    if problems:
        raise problems[0]


def from_file(path: str, *, mapped: bool = False) -> Any:
    """Read a FAISS index, or map its vectors, lists, codes and links from the file.

    Raises:
        RuntimeError: FAISS cannot read it.
        BertrecError: this FAISS cannot map it.
    """
    faiss = import_faiss()
    if not mapped:
        return faiss.read_index(path)
    if not can_map():
        raise BertrecError(f"FAISS {version()} cannot map an index from its file: install 1.11 or later, or leave out mmap")
    return faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)


def can_map() -> bool:
    """Say whether this FAISS can map an index from its file."""
    return hasattr(import_faiss(), "IO_FLAG_MMAP_IFC")


def version() -> str:
    """Return FAISS's version."""
    return str(import_faiss().__version__)


def largest_norm(vectors: FloatArray) -> float:
    """Return the largest length of a row, 0 without rows."""
    return float(np.sqrt(max((float(np.vecdot(part, part).max()) for part in _parts(vectors)), default=0.0)))


def _parts(vectors: FloatArray) -> list[FloatArray]:
    return [vectors[start : start + _ADD_AT_ONCE] for start in range(0, len(vectors), _ADD_AT_ONCE)]
