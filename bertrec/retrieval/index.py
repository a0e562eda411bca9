"""The item index: external ids in, external ids out, whatever FAISS index stands behind it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, Self, Unpack

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_path, expect_whole, shown
from bertrec.core.described import Described
from bertrec.core.errors import DataError, IndexFileError
from bertrec.core.partial import recover
from bertrec.core.ragged import Ragged
from bertrec.core.resuming import in_turn
from bertrec.retrieval import engine, shards, storage
from bertrec.retrieval.checks import Id, check_ids, check_vectors
from bertrec.retrieval.exact import BoolArray, FloatArray, IntArray, check_k
from bertrec.retrieval.filtered import Stored, search_filtered
from bertrec.retrieval.ids import IdTable
from bertrec.retrieval.parameters import IndexConfig, IndexParameters, check_names, resolve
from bertrec.retrieval.recall import recall_at_k
from bertrec.retrieval.result import SearchResult
from bertrec.retrieval.scan import search_vectors
from bertrec.retrieval.selection import Selection

_RECALL_QUERIES = 200
_SCANNED_FROM = (
    64  # queries at once: where it was measured (AMX) one product is then many times as fast as FAISS, and as exact as its flat index
)
_MOST_DEAD = 1 / 3
_MAKING = Lock()  # held while an index is made ready for searches: threads that come together get one GPU copy


class ItemIndex(Described):
    """Vectors of items behind their external ids: search with exact filtering, add, remove, save, load.

    Removed items stay as tombstones, filtered exactly, until ``compact``. Make one with ``build`` or ``load``.
    """

    def __init__(self, parts: storage.IndexParts) -> None:
        """Take over the parts of an index; ``build`` and ``load`` are meant for callers."""
        self._parts = parts
        self._stored: Stored | None = None
        self._recall: float | None = parts.recall

    @classmethod
    def build(
        cls,
        vectors: npt.ArrayLike,
        ids: Iterable[Id],
        *,
        kind: str = "auto",
        metric: str = "inner_product",
        model_hash: str = "",
        seed: int = 0,
        progress: bool = False,
        recall_queries: npt.ArrayLike | None = None,
        copy: bool = True,
        **parameters: Unpack[IndexParameters],
    ) -> Self:
        """Build an index, and measure its recall against exact search.

        Args:
            vectors: ``[n, d]``, converted to float32.
            ids: ``n`` distinct str or int.
            kind: ``flat``, ``ivf``, ``hnsw``, ``ivfpq``, or ``auto`` (flat below 200,000 items, then hnsw).
            metric: ``inner_product`` or ``cosine``.
            model_hash: of the model that made the vectors; kept, so that another model's queries can be refused.
            seed: see ``IndexConfig``, also of the sample of items that recall is measured with.
            progress: show a progress bar.
            recall_queries: ``[q, d]`` to measure recall with, best the vectors of users; None takes a sample of the items.
            copy: False keeps ``vectors`` as they are, where the index holds none itself (``ivf``, ``ivfpq``): nobody may change them, and a
                mapped file has to stay.
            **parameters: further settings of ``IndexConfig``.

        Raises:
            ConfigError: an unknown kind, metric or setting, or a value that does not fit the vectors.
            DataError: no items, NaN or infinite values, as many ids as no vectors, or ids that are not distinct.
            MissingExtraError: FAISS is not installed.
        """
        check_names(kind, metric)
        expect(model_hash, str, "ItemIndex.build: model_hash", mend="model.model_hash")
        config = IndexConfig.from_dict({"kind": kind, "metric": metric, "seed": seed, **parameters})
        table, checked = _checked_items(vectors, ids, metric)
        probes = None
        if recall_queries is not None:
            probes = check_vectors(recall_queries, metric, dim=checked.shape[1], what="recall queries").copy()
        index = cls(_made_parts(config, checked, table, model_hash=model_hash, probes=probes, progress=progress, copy=copy))
        index._measure()
        return index

    @classmethod
    def trained(
        cls,
        vectors: npt.ArrayLike,
        *,
        items: int | None = None,
        kind: str = "ivf",
        metric: str = "inner_product",
        model_hash: str = "",
        seed: int = 0,
        **parameters: Unpack[IndexParameters],
    ) -> Self:
        """Train an index on some vectors and leave it empty, for `shard`.

        Args:
            vectors: ``[n, d]``, as many as k-means is to read, or more.
            items: how many there will be in all shards together, which settings left at None follow; None: as many as there are vectors.
            kind: ``ivf`` or ``ivfpq``, which alone are trained.
            metric: see `build`, as for the others.
            model_hash: of the model that made the vectors.
            seed: of k-means.
            **parameters: further settings of ``IndexConfig``.

        Raises:
            ConfigError: a kind that is not trained, or a setting that does not fit ``items`` or the vectors.
            DataError: no vectors, or NaN or infinite values.
            MissingExtraError: FAISS is not installed.
        """
        check_names(kind, metric)
        expect(model_hash, str, "ItemIndex.trained: model_hash", mend="model.model_hash")
        items = None if items is None else expect_whole(items, "ItemIndex.trained: items", least=1)
        config = IndexConfig.from_dict({"kind": kind, "metric": metric, "seed": seed, **parameters})
        return cls(shards.trained(config, check_vectors(vectors, metric), items=items, model_hash=model_hash))

    def shard(self, vectors: npt.ArrayLike, ids: Iterable[Id], *, model_hash: str = "", progress: bool = False, copy: bool = True) -> Self:
        """Build an index of other items with the settings and the training of this one; such indexes can be `merged`.

        Args:
            vectors: ``[n, d]``.
            ids: ``n`` distinct ids.
            model_hash: of the model that made the vectors; empty: that of this index.
            progress: show a progress bar.
            copy: see `build`.

        Raises:
            ConfigError: this index is a graph, which cannot be merged.
            DataError: no items, unusable vectors, or ids that are not distinct.
            IndexFileError: vectors of other dimensions or of another model than this index.
        """
        if model_hash and self.model_hash:
            self.require_model(model_hash)
        table, checked = _checked_items(vectors, ids, self.metric, dim=self.dim)
        like = replace(self._parts, model_hash=model_hash or self.model_hash)
        index = type(self)(shards.filled(like, checked, table, progress=progress, copy=copy))
        index._measure()
        return index

    @classmethod
    def merged(
        cls, folders: Iterable[str | Path], *, scratch: str | Path | None = None, on_disk: bool = False, progress: bool = False
    ) -> Self:
        """Read indexes that were trained alike and make one of them, in their order; it finds what one index of all items would find.

        Args:
            folders: of `shard`, `build` (kind ``flat``) or `merged`, saved.
            scratch: a folder for a file that holds full vectors outside FAISS in place of memory; it has no name and goes with the index.
            on_disk: keep lists and codes (kinds ``ivf`` and ``ivfpq``) in such a file, too, so that memory holds ids alone; the index is
                then as one loaded with ``mmap``.
            progress: show a progress bar.

        Raises:
            ConfigError: ``on_disk`` without ``scratch``, of another kind, or on a system that has no such files (Windows).
            DataError: no folders, no items in them, or an id that is in two of them.
            IndexFileError: a folder that is no index, or is damaged; indexes of different widths, kinds, settings, training or models; or
                graphs, which cannot be merged.
            BertrecError: the disk of ``scratch`` is full.
        """
        if isinstance(folders, str | bytes | os.PathLike) or not isinstance(folders, Iterable):
            given = shown(folders)
            raise IndexFileError(f"ItemIndex.merged: folders is {given}, not a list of folders: give [folder, …]")
        places = [expect_path(folder, "ItemIndex.merged: folders", error=IndexFileError) for folder in folders]
        index = cls(shards.merge(places, scratch=None if scratch is None else Path(scratch), on_disk=on_disk, progress=progress))
        index._measure()
        return index

    def __len__(self) -> int:
        return len(self._parts.table)

    def _facts(self) -> dict[str, object]:
        return {"kind": self.kind, "items": len(self), "dim": self.dim, "metric": self.metric, "recall": self._recall}

    def __contains__(self, item: object) -> bool:
        return isinstance(item, (str, int)) and bool(self._parts.table.rows_of([item])[0] >= 0)

    @property
    def ids(self) -> list[Id]:
        """External ids in the order of their positions, removed ones left out."""
        table = self._parts.table
        kept: list[Id] = table.ids[table.alive].tolist()
        return kept

    @property
    def built_ids(self) -> list[Id]:
        """The ids of the build, in order, removed ones too: the i-th is inner id ``i + 1`` of a Ragged ``exclude``."""
        built: list[Id] = self._parts.table.built.tolist()
        return built

    @property
    def all_ids(self) -> list[Id]:
        """The ids of all positions, removed ones too."""
        every: list[Id] = self._parts.table.ids.tolist()
        return every

    @property
    def only_built(self) -> bool:
        """Whether no item was added since the build, so that ``built_ids`` names all that are there."""
        return self._parts.table.only_built

    @property
    def dim(self) -> int:
        """Dimensions of the vectors."""
        return int(self._parts.index.d)

    @property
    def kind(self) -> str:
        """The kind that was built (never ``auto``)."""
        return self._parts.resolved.kind

    @property
    def metric(self) -> str:
        """``inner_product`` or ``cosine``."""
        return self._parts.config.metric

    @property
    def model_hash(self) -> str:
        """Hash of the model that made the vectors."""
        return self._parts.model_hash

    @property
    def recall(self) -> float | None:
        """Recall@``recall_k`` against exact search; measured again on the first look after a change. None while the index is empty."""
        if self._recall is None and len(self):
            self._measure()
        return self._recall

    def require_model(self, model_hash: str) -> None:
        """Raise an IndexFileError unless the index was built with this model."""
        if model_hash != self.model_hash:
            raise IndexFileError(f"the index was built with model {self.model_hash or '(none named)'}, not {model_hash}: build it again")

    def search(
        self,
        queries: npt.ArrayLike,
        k: int,
        *,
        exclude: Sequence[Sequence[Id]] | Ragged | None = None,
        exact: bool = False,
        within: Selection | None = None,
    ) -> SearchResult:
        """Return the ``k`` best items for each query, without those it excludes: always ``k`` where ``k`` exist.

        Args:
            queries: ``[b, d]``; scaled to length 1 for cosine.
            k: results per query; above the number of items all of them are returned.
            exclude: for each query the external ids not to return (ids that are not in the index are no error: they cannot be returned),
                or a Ragged of inner ids, where inner id ``i + 1`` is the i-th id of ``build`` and 0 is padding.
            exact: score every item instead of asking FAISS, as is done for many queries of a flat index on a CPU anyway.
            within: find these items alone, see ``select``.

        Raises:
            ConfigError: ``k`` below 1.
            DataError: queries that are no finite matrix, or ``exclude`` without a row for each query.
            IndexFileError: queries of other dimensions than the index, or an index without items.
        """
        k = check_k(k)
        checked = check_vectors(queries, self.metric, dim=self.dim, what="queries")
        if not len(self):
            raise IndexFileError("the index is empty: all its items were removed, or it was trained alone; add some")
        banned = self._banned(exclude, len(checked))
        stored, subset = self._searchable(), None
        if within is not None:
            stored, subset = within.at(stored)
            banned = banned.where(stored.alive[banned.values])
        width = min(k, int(stored.alive.sum()))
        many = stored.ordering == "exact" and len(checked) >= _SCANNED_FROM and not stored.searcher.on_gpu
        if not width:
            found = np.zeros((len(checked), 0), np.int64), np.zeros((len(checked), 0), np.float32)
        elif subset is not None:
            found = subset.search(checked, width, banned)
        elif exact or many:
            found = search_vectors(checked, stored.vectors, width, alive=stored.alive, banned=banned, largest_norm=stored.largest_norm)
        else:
            found = search_filtered(checked, width, banned, stored)
        padding = ((0, 0), (0, k - width))
        positions = np.pad(found[0], padding, constant_values=-1)
        return SearchResult(positions, np.pad(found[1], padding, constant_values=-np.inf), self._parts.table.ids)

    def select(self, allowed: BoolArray | Iterable[Id], boost: FloatArray | None = None) -> Selection:
        """Return some of the items, for ``search``: made once, it serves many searches, also after the index changed otherwise.

        The best of them are found exactly by a flat index, where there is a boost, and where they are at most a share of
        ``EXACT_SHARE`` of all items; else FAISS looks among them, with the recall of its kind.

        Args:
            allowed: ids, or ``[positions]`` (of ``all_ids``) which they are.
            boost: ``[positions]``, added to the scores.

        Raises:
            DataError: they are not as many as there are positions.
        """
        count = len(self._parts.table.ids)
        if not isinstance(allowed, np.ndarray) or allowed.dtype != bool:
            rows = self._parts.table.rows_of(check_ids(allowed))
            allowed = np.zeros(count, bool)
            allowed[rows[rows >= 0]] = True
        if any(len(array) != count for array in (allowed, allowed if boost is None else boost)):
            raise DataError(f"select: {count} positions of the index need as many values")
        return Selection(allowed, boost)

    def vectors_at(self, positions: IntArray) -> FloatArray:
        """Return the vectors of positions, ``[n, d]``."""
        return np.asarray(self._searchable().vectors[positions], np.float32)

    def searched_with(self, *, nprobe: int | None = None, ef_search: int | None = None, refine_factor: int | None = None) -> Self:
        """Return an index over the same items that searches with other settings; nothing is built.

        Both share what was built: add to, remove from or compact neither of them.

        Args:
            nprobe: see ``IndexConfig``, as for the others; None stays as it is.
            ef_search: the same of a graph.
            refine_factor: the same of product codes.

        Raises:
            ConfigError: a value outside its range.
        """
        given = {"nprobe": nprobe, "ef_search": ef_search, "refine_factor": refine_factor}
        changes = {name: value for name, value in given.items() if value is not None}
        config, resolved = self._parts.config.updated(changes), self._parts.resolved.updated(changes)
        return type(self)(replace(self._parts, config=config, resolved=resolved, recall=None))

    def add(self, vectors: npt.ArrayLike, ids: Iterable[Id]) -> None:
        """Add items; inverted lists and codes keep the centroids they were trained with until ``compact``.

        Args:
            vectors: ``[m, d]``.
            ids: ``m`` ids that are not in the index; removed ones may come back.

        Raises:
            DataError: an id that is there already or given twice, or unusable vectors; the index is then as it was.
            IndexFileError: vectors of other dimensions than the index, or a memory-mapped index.
        """
        self._check_writable()
        names = check_ids(ids)
        checked = check_vectors(vectors, self.metric, dim=self.dim)
        _check_lengths(checked, names)
        self._parts.table.check_new(names)
        if not names:
            return
        self._forget()
        engine.fill(self._parts.index, checked)
        if self._parts.vectors is not None:
            self._parts.vectors = np.concatenate([self._parts.vectors, checked])
        self._parts.largest_norm = None
        self._parts.table.extend(names)

    def remove(self, ids: Iterable[Id]) -> None:
        """Remove items, all or none of them. Their rows stay as tombstones until ``compact``.

        Raises:
            DataError: an id that is not in the index, or given twice; it is named.
        """
        self._parts.table.remove(check_ids(ids))
        self._forget()

    def bring(self, vectors: npt.ArrayLike, ids: Iterable[Id], *, model_hash: str) -> dict[str, int]:
        """Hold exactly these items, as cheaply as may be: vectors that are as they were stay where they are.

        A flat index, and one of which a third would be tombstones, is built anew.

        Args:
            vectors: ``[n, d]``.
            ids: ``n`` distinct ids.
            model_hash: of the model that made the vectors.

        Returns:
            How many items were ``added``, ``replaced`` (their vectors had changed) and ``removed``.

        Raises:
            DataError: ids that are not distinct, or unusable vectors; the index is then as it was.
            IndexFileError: vectors of other dimensions than the index, or a memory-mapped index.
            ConfigError: too few items for the settings.
        """
        self._check_writable()
        names = check_ids(ids)
        checked = check_vectors(vectors, self.metric, dim=self.dim)
        _check_lengths(checked, names)
        wanted, table = IdTable(names), self._parts.table
        rows = table.rows_of(names)
        there = np.flatnonzero(rows >= 0)
        moved = there[~np.isclose(checked[there], self._searchable().vectors[rows[there]], rtol=1e-4, atol=1e-6).all(axis=1)]
        fresh = np.sort(np.concatenate([np.flatnonzero(rows < 0), moved]))
        gone = [item for item in self.ids if item not in wanted] + [names[row] for row in moved]
        counts = {"added": len(fresh) - len(moved), "replaced": len(moved), "removed": len(gone) - len(moved)}
        dead = int((~table.alive).sum()) + len(gone)
        if self.kind == "flat" or dead > _MOST_DEAD * (len(table.ids) + len(fresh)):
            probes = self._parts.probes
            self._parts = _made_parts(self._parts.config, checked, wanted, model_hash=model_hash, probes=probes, progress=False)
        else:
            self.remove(gone)
            self.add(checked[fresh], [names[row] for row in fresh])
            self._parts = replace(self._parts, model_hash=model_hash)
        self._forget()
        return counts

    def compact(self, *, progress: bool = False) -> None:
        """Build the index anew from the items that are left: tombstones go, lists and codes are trained again, ``auto`` chooses again.

        Positions change; ids, and the inner ids of a Ragged ``exclude``, do not.

        Raises:
            DataError: no item is left.
            ConfigError: too few items are left for the settings; the index is then as it was.
        """
        table = self._parts.table
        if not len(table):
            raise DataError("no items to index: all were removed")
        fresh = IdTable(self.ids, built=table.built)
        vectors = self._searchable().vectors[table.alive]
        self._parts = _made_parts(
            self._parts.config, vectors, fresh, model_hash=self.model_hash, probes=self._parts.probes, progress=progress
        )
        self._forget()
        self._measure()

    def save(self, folder: str | Path) -> None:
        """Write the index as a folder, whole or not at all; an index that is there is replaced.

        Raises:
            IndexFileError: something that is no index stands in the way.
            BertrecError: the disk is full or the place cannot be written; what was there before is unchanged.
        """
        self._parts.recall, self._parts.largest_norm = self.recall, self._searchable().largest_norm
        storage.save(self._parts, expect_path(folder, "ItemIndex.save: folder", error=IndexFileError))

    @classmethod
    def load(cls, folder: str | Path, *, model_hash: str | None = None, verify: bool = True, mmap: bool = False) -> Self:
        """Read an index; full vectors outside FAISS's own file are memory-mapped.

        Args:
            folder: what ``save`` wrote.
            model_hash: refuse an index that was built with another model.
            verify: check every file's SHA-256, which reads all of them once.
            mmap: leave FAISS's part in its file, too: pages are read when a search comes by, the system may drop them again, and all
                processes that map the file share them. Results are the same. Nothing can be added; items can be removed.

        Raises:
            IndexFileError: a file is missing, damaged or does not fit the others (it is named), or the model is another.
            MissingExtraError: FAISS is not installed.
        """
        index = cls(storage.load(expect_path(folder, "ItemIndex.load: folder", error=IndexFileError), verify=verify, mapped=mmap))
        if model_hash is not None:
            index.require_model(model_hash)
        return index

    @classmethod
    @contextmanager
    def changing(cls, folder: str | Path) -> Iterator[Self]:
        """Read an index, yield it to be changed, and save it where the block ends without an error.

        From reading to saving no other process changes it so: two changes at once come one after the other, and none is lost.

        Raises:
            IndexFileError: as ``load``.
            BertrecError: another process holds it for more than ten minutes, or it cannot be written; it is then as it was.
        """
        place = expect_path(folder, "ItemIndex.changing: folder", error=IndexFileError)
        if not recover(place).exists():
            raise IndexFileError(f"{place} is no index: there is no such folder")
        with in_turn(place, str(place)):
            index = cls.load(place)
            yield index
            index.save(place)

    def info(self) -> dict[str, Any]:
        """Return what the index is, in JSON values: kind, metric, counts, dimensions, model hash, settings, recall and versions."""
        parts, recall = self._parts, self.recall
        return {
            "format_version": storage.FORMAT_VERSION,
            "kind": self.kind,
            "requested_kind": parts.config.kind,
            "metric": self.metric,
            "items": len(self),
            "tombstones": int((~parts.table.alive).sum()),
            "dim": self.dim,
            "model_hash": self.model_hash,
            "settings": storage.settings(parts.resolved),
            "recall": {"k": min(parts.config.recall_k, max(1, len(self))), "value": recall, "queries": self._probe_count()},
            "faiss": engine.version(),
            "gpu": self._searchable().searcher.on_gpu,
        }

    def _banned(self, exclude: Sequence[Sequence[Id]] | Ragged | None, count: int) -> Ragged:
        if exclude is None:
            return Ragged(np.zeros(0, np.int64), np.zeros(count + 1, np.int64))
        banned = self._parts.table.banned(exclude)
        if len(banned) != count:
            raise DataError(f"exclude has {len(banned)} rows for {count} queries")
        return banned

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_stored": None}  # a copy of the index makes its own GPU copy and lock

    def _searchable(self) -> Stored:
        with _MAKING:
            return self._stored or self._made_searchable()

    def _made_searchable(self) -> Stored:
        parts = self._parts
        # A plain array: every slice of a memmap object costs more.
        vectors = np.asarray(engine.held_vectors(parts.index) if parts.vectors is None else parts.vectors)
        searcher = engine.Searcher(parts.index, parts.resolved)
        ordering = "codes" if self.kind == "ivfpq" or searcher.rough else "exact" if self.kind == "flat" else "full"
        if parts.largest_norm is None:  # looked for once: of mapped vectors that reads them all
            parts.largest_norm = engine.largest_norm(vectors)
        self._stored = Stored(searcher, vectors, parts.table.alive, parts.largest_norm, ordering)
        return self._stored

    def _check_writable(self) -> None:
        if self._parts.mapped:
            raise IndexFileError("the index is memory-mapped, and nothing can be added to it: load it without mmap")

    def _forget(self) -> None:
        """Drop what a change makes wrong: the view of the vectors, a GPU copy, the recall."""
        self._stored = None
        self._recall = None

    def _probe_count(self) -> int:
        return min(_RECALL_QUERIES, len(self)) if self._parts.probes is None else len(self._parts.probes)

    def _measure(self) -> None:
        probes = self._parts.probes
        if probes is None:
            rng = np.random.default_rng(self._parts.config.seed)
            rows = rng.choice(np.flatnonzero(self._parts.table.alive), size=self._probe_count(), replace=False)
            probes = self._searchable().vectors[np.sort(rows)]
        self._recall = recall_at_k(self, probes, self._parts.config.recall_k)


def _checked_items(vectors: npt.ArrayLike, ids: Iterable[Id], metric: str, *, dim: int | None = None) -> tuple[IdTable, FloatArray]:
    names = check_ids(ids)
    if not names and not np.size(vectors):
        raise DataError("no items to index")
    checked = check_vectors(vectors, metric, dim=dim)
    _check_lengths(checked, names)
    return IdTable(names), checked


def _check_lengths(vectors: FloatArray, ids: Sequence[Id]) -> None:
    if len(vectors) != len(ids):
        raise DataError(f"{len(vectors)} vectors but {len(ids)} ids")


def _made_parts(
    config: IndexConfig,
    vectors: FloatArray,
    table: IdTable,
    *,
    model_hash: str,
    probes: FloatArray | None,
    progress: bool,
    copy: bool = True,
) -> storage.IndexParts:
    resolved = resolve(config, *vectors.shape)
    index = engine.make_index(resolved, vectors.shape[1])
    engine.fill(index, vectors, progress=progress)
    return storage.IndexParts(config, resolved, index, table, shards.kept_beside(index, vectors, copy=copy), probes, model_hash, None)
