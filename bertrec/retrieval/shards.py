"""An index in shards: trained once, filled with some of the items each, here or on several machines, and merged by FAISS."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.errors import ConfigError, DataError, IndexFileError
from bertrec.core.files import room_for
from bertrec.core.partial import recover
from bertrec.core.progress import progress_bar
from bertrec.core.together import settle_target
from bertrec.retrieval import engine, storage
from bertrec.retrieval.checks import Id
from bertrec.retrieval.exact import FloatArray
from bertrec.retrieval.ids import IdTable
from bertrec.retrieval.joined_file import JoinedFile, list_sizes
from bertrec.retrieval.parameters import IndexConfig, resolve
from bertrec.retrieval.storage import IndexMeta, IndexParts

TRAINED = ("ivf", "ivfpq")
"""Kinds that learn centroids from vectors."""
_ALIKE = ("kind", "metric", "nlist", "pq_parts", "pq_bits", "refine")  # what FAISS's lists and codes are made by
_PLANNED = ("resolved", "model_hash", "dim", "rows", "items")  # what a merge reads before it loads
_LONGEST_NUMBER = 20  # characters of a whole number in 64 bits, the sign included
_GRAPH = "a graph (hnsw) cannot be merged of shards: choose ivf, ivfpq or flat, or build one index of all parts"


def trained(config: IndexConfig, vectors: FloatArray, *, items: int | None, model_hash: str) -> IndexParts:
    """Return an index of no items, trained on ``vectors`` ``[n, d]`` for so many ``items``.

    Raises:
        ConfigError: its kind is not trained, or settings do not fit the items or the vectors.
        DataError: there are no vectors.
    """
    if config.kind not in TRAINED:
        raise ConfigError(f"kind {config.kind} is not trained: choose one of {', '.join(TRAINED)}")
    if not len(vectors):
        raise DataError("no vectors to train an index on")
    resolved = resolve(config, items or len(vectors), vectors.shape[1])
    fewest = max(resolved.nlist or 1, 2 ** (resolved.pq_bits or 0) if resolved.kind == "ivfpq" else 1)
    if len(vectors) < fewest:
        raise ConfigError(f"{fewest} centroids cannot be trained on {len(vectors)} vectors: give more, or set a lower nlist and pq_bits")
    index = engine.make_index(resolved, vectors.shape[1])
    index.train(vectors)
    return IndexParts(config, resolved, index, IdTable([]), kept_beside(index, vectors[:0]), None, model_hash, None)


def filled(like: IndexParts, vectors: FloatArray, table: IdTable, *, progress: bool, copy: bool) -> IndexParts:
    """Return an index of ``vectors`` ``[n, d]`` with the settings, the training and the model of ``like``.

    Raises:
        ConfigError: it is a graph.
    """
    if like.resolved.kind == "hnsw":
        raise ConfigError(_GRAPH)
    index = engine.trained_alike(like.resolved, like.index)
    engine.fill(index, vectors, progress=progress)
    kept = kept_beside(index, vectors, copy=copy)
    return replace(like, index=index, table=table, vectors=kept, recall=None, largest_norm=None, mapped=False)


def kept_beside(index: Any, vectors: FloatArray, *, copy: bool = True) -> FloatArray | None:
    """Return the full vectors to hold beside a FAISS index: None where it holds them itself."""
    if engine.held_vectors(index) is not None:
        return None
    return vectors.copy() if copy else vectors  # a copy: the caller's array may change later


def merge(folders: Sequence[Path], *, scratch: Path | None, on_disk: bool, progress: bool) -> IndexParts:
    """Return one index of all rows of saved ones, in order.

    In memory are FAISS's part of the whole and of one shard at a time, and the ids; full vectors outside FAISS go to ``scratch``. With
    ``on_disk`` FAISS's part of the whole goes there too, and is mapped.

    Raises:
        ConfigError: ``on_disk`` without a ``scratch``, of another kind, or on a system without files for it.
        DataError: no folders, no items, or an id in two of them.
        IndexFileError: a folder is no index, is damaged, does not fit the first, or was changed meanwhile.
    """
    if scratch is not None and not scratch.is_dir():
        raise ConfigError(f"scratch: {scratch} is no folder")
    metas = _fitting(folders)
    joined = _joined_file(folders, metas, scratch) if on_disk else None
    merged = _load_planned(folders[0], metas[0], mapped=on_disk)
    room = None if merged.vectors is None else room_for((sum(meta.rows for meta in metas), metas[0].dim), scratch)
    tables, norms, owners, start = [], [], dict[Id, Path](), 0
    with progress_bar(progress, "shards", len(folders)) as bar:
        for number, folder in enumerate(folders):
            part = merged if number == 0 else _load_planned(folder, metas[number], mapped=on_disk)
            _claim(part.table, folder, owners)
            if room is not None and part.vectors is not None:
                room[start : start + len(part.vectors)] = part.vectors
            _check_training(merged, part, folders[0], folder)
            if joined is not None:
                if not joined.expects(part.index):
                    raise IndexFileError(_changed(folder))
                joined.take(part.index)
            elif number:
                engine.append(merged.index, part.index)
            tables.append(part.table)
            norms.append(part.largest_norm)
            start += len(part.table.ids)
            bar.update(1)
    index = merged.index if joined is None else joined.index()
    return replace(merged, index=index, table=_joined(tables), vectors=room, recall=None, largest_norm=_largest(norms))


def _joined_file(folders: Sequence[Path], metas: Sequence[IndexMeta], scratch: Path | None) -> JoinedFile:
    if metas[0].resolved.kind not in TRAINED:
        raise ConfigError(f"kind {metas[0].resolved.kind} is not joined on disk, which is for {' and '.join(TRAINED)}: leave out --on-disk")
    if scratch is None:
        raise ConfigError("on_disk needs a folder for a file of the whole: give scratch")
    if not hasattr(os, "pwrite") or not Path("/dev/fd").is_dir():
        raise ConfigError("this system has no files without a name that FAISS can map: leave out --on-disk")
    if not engine.can_map():
        raise ConfigError(f"FAISS {engine.version()} cannot map an index from its file: install 1.11 or later, or leave out --on-disk")
    sizes = []
    for folder, meta in zip(folders, metas, strict=True):
        part = _load_planned(folder, meta, mapped=True)
        sizes.append(list_sizes(part.index))
    return JoinedFile(metas[0].resolved, part.index, np.stack(sizes), scratch)


def _fitting(folders: Sequence[Path]) -> list[IndexMeta]:
    if not folders:
        raise DataError("no indexes to merge: name one or more")
    if twice := [folder for folder, times in Counter(folder.resolve() for folder in folders).items() if times > 1]:
        raise DataError(f"{twice[0]} is named more than once: name each index once")
    metas = [_meta(folder) for folder in folders]
    if metas[0].resolved.kind == "hnsw":
        raise IndexFileError(f"{folders[0]}: {_GRAPH}")
    for folder, meta in zip(folders, metas, strict=True):
        _check_alike(folders[0], metas[0], folder, meta)
    if not sum(meta.items for meta in metas):
        raise DataError("no items to merge: every index is empty")
    return metas


def _meta(folder: Path) -> IndexMeta:
    settle_target(folder)
    if not recover(folder).is_dir():
        raise IndexFileError(f"{folder} is no index: there is no such folder")
    return storage.read_meta(folder / storage.META)


def _load_planned(folder: Path, planned: IndexMeta, *, mapped: bool = False) -> IndexParts:
    """Load one index; another process may have saved it anew since ``planned`` was read.

    Raises:
        IndexFileError: it has, and it is not what the merge was planned for.
    """
    part = storage.load(folder, mapped=mapped)
    found = storage.described(part, {})
    if any(getattr(found, name) != getattr(planned, name) for name in _PLANNED):
        raise IndexFileError(_changed(folder))
    return part


def _changed(folder: Path) -> str:
    return f"{folder} was changed meanwhile: merge again"


def _check_alike(first: Path, wanted: IndexMeta, folder: Path, meta: IndexMeta) -> None:
    if meta.dim != wanted.dim:
        raise IndexFileError(f"{folder} has {meta.dim} dimensions, {first} has {wanted.dim}: they cannot be merged")
    if meta.model_hash != wanted.model_hash:
        names = meta.model_hash or "(none named)", wanted.model_hash or "(none named)"
        raise IndexFileError(f"{folder} was built with model {names[0]}, {first} with {names[1]}: build all shards with one model")
    for name in _ALIKE:
        found, asked = getattr(meta.resolved, name), getattr(wanted.resolved, name)
        if found != asked:
            raise IndexFileError(f"{folder} has {name} {found}, {first} has {asked}: build every shard with  --like {first}")


def _check_training(wanted: IndexParts, part: IndexParts, first: Path, folder: Path) -> None:
    if wanted.resolved.kind not in TRAINED:
        return
    pairs = zip(engine.training_of(wanted.index), engine.training_of(part.index), strict=True)
    if not all(np.array_equal(one, other) for one, other in pairs):
        raise IndexFileError(f"{folder} was trained apart from {first}: build every shard with  --like {first}")


def _claim(table: IdTable, folder: Path, owners: dict[Id, Path]) -> None:
    """Note whose ids they are.

    Raises:
        DataError: an id is another's already, as it is or with its number written as a text.
    """
    for item in table.ids[table.alive].tolist():
        if owners.setdefault(item, folder) is not folder:
            raise DataError(f"id {item!r} is in {owners[item]} and in {folder}: remove it from one of them")
        if (twin := _twin(item)) is not None and owners.get(twin, folder) is not folder:
            where = f"id {twin!r} is in {owners[twin]} and {item!r} in {folder}"
            raise DataError(f"{where}: build both with ids of one type")


def _twin(item: Id) -> Id | None:
    """Return the text of a number, or the number that a text is written of; None where it is no number's text."""
    if isinstance(item, int):
        return str(item)
    if len(item) > _LONGEST_NUMBER or not item.removeprefix("-").isdecimal():
        return None
    return number if str(number := int(item)) == item else None


def _joined(tables: Sequence[IdTable]) -> IdTable:
    ids = [item for table in tables for item in table.ids.tolist()]
    return IdTable(ids, alive=np.concatenate([table.alive for table in tables]))


def _largest(norms: Sequence[float | None]) -> float | None:
    known = [norm for norm in norms if norm is not None]
    return max(known) if len(known) == len(norms) else None
