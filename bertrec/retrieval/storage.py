"""An index on disk: a folder with FAISS's file, the ids, tombstones, vectors where FAISS keeps none, and a description with checksums."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import BertrecError, DataError, IndexFileError, ModelError
from bertrec.core.files import atomic_folder, read_json, sha256_file, write_json
from bertrec.core.partial import recover
from bertrec.core.resuming import in_turn
from bertrec.core.seal import SEAL, check_seal, sealed
from bertrec.core.together import settle_target
from bertrec.retrieval import engine
from bertrec.retrieval.checks import Id, check_ids
from bertrec.retrieval.exact import FloatArray
from bertrec.retrieval.ids import IdTable
from bertrec.retrieval.parameters import IndexConfig

FORMAT = "bertrec-index"
FORMAT_VERSION = 1
META, FAISS, IDS, TOMBSTONES, VECTORS, PROBES = (
    "meta.json",
    "index.faiss",
    "ids.json",
    "tombstones.npy",
    "vectors.npy",
    "recall_queries.npy",
)


@dataclass
class IndexParts:
    """All that an index is.

    Attributes:
        config: as asked for.
        resolved: with ``auto`` and None replaced.
        index: the FAISS index (on the CPU).
        table: ids and tombstones.
        vectors: ``[rows, d]`` where the FAISS index does not hold the full vectors, else None.
        probes: the queries that recall is measured with, None for a sample of items.
        model_hash: of the model that made the vectors.
        recall: the measured recall.
        largest_norm: the largest length of a vector; None where it was not looked for.
        mapped: whether the FAISS index lies in a mapped file, so that nothing can be added to it.
    """

    config: IndexConfig
    resolved: IndexConfig
    index: Any
    table: IdTable
    vectors: FloatArray | None
    probes: FloatArray | None
    model_hash: str
    recall: float | None
    largest_norm: float | None = None
    mapped: bool = False


class IndexMeta(Config):
    """The content of ``meta.json``."""

    format: str = pydantic.Field(description="What the folder holds: the name of the form of an index.")
    format_version: int = pydantic.Field(description="Version of that form.")
    config: IndexConfig = pydantic.Field(description="Settings as they were asked for.")
    resolved: IndexConfig = pydantic.Field(
        description="Settings with auto and null replaced for the items of the build.",
    )
    model_hash: str = pydantic.Field(description="Hash of the model that made the vectors; empty where none is known.")
    dim: int = pydantic.Field(description="Components of a vector.")
    rows: int = pydantic.Field(description="Vectors in the index, those of removed items included.")
    items: int = pydantic.Field(description="Items that can be found, without the removed ones.")
    recall: float | None = pydantic.Field(
        description="Recall measured against exact search, from 0 to 1; null where it was not measured.",
    )
    largest_norm: float | None = pydantic.Field(
        None, ge=0, description="The largest length of a vector; null where it was not noted, and is looked for in a first search."
    )
    faiss: str = pydantic.Field(description="Version of FAISS that wrote the index.")
    sha256: dict[str, str] = pydantic.Field(description="SHA-256 of each file of the folder, by name.")


def settings(resolved: IndexConfig) -> dict[str, Any]:
    """Return the settings that matter to a kind."""
    lists = ("nlist", "nprobe", "train_per_list", "train_rounds")
    names = {
        "flat": (),
        "ivf": lists,
        "hnsw": ("hnsw_links", "ef_construction", "ef_search"),
        "ivfpq": (*lists, "pq_parts", "pq_bits", "refine", "refine_factor"),
    }[resolved.kind]
    return {name: getattr(resolved, name) for name in (*names, "seed")}


def save(parts: IndexParts, folder: Path) -> None:
    """Write ``parts`` as ``folder``, whole or not at all.

    Raises:
        IndexFileError: ``folder`` is a file, or a folder that holds something else than an index.
        BertrecError: it cannot be written, or another process has been changing it for ten minutes.
    """
    _refuse_to_replace(folder)
    with in_turn(folder, str(folder)), atomic_folder(folder) as temporary:
        engine.to_file(parts.index, str(temporary / FAISS))
        (temporary / IDS).write_bytes(_ids_json(parts.table))
        np.save(temporary / TOMBSTONES, np.flatnonzero(~parts.table.alive))
        if parts.vectors is not None:
            np.save(temporary / VECTORS, parts.vectors)
        if parts.probes is not None:
            np.save(temporary / PROBES, parts.probes)
        hashes = {path.name: sha256_file(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / META, sealed(described(parts, hashes).to_dict()))


def _refuse_to_replace(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise IndexFileError(f"{folder} is a file; an index is saved as a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FAISS).exists() and not (folder / META).exists():
        raise IndexFileError(f"{folder} holds something else than an index and is not replaced; choose another folder")


def described(parts: IndexParts, hashes: dict[str, str]) -> IndexMeta:
    """Return the description of an index whose files have these checksums, by name."""
    return IndexMeta(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        config=parts.config,
        resolved=parts.resolved,
        model_hash=parts.model_hash,
        dim=int(parts.index.d),
        rows=len(parts.table.ids),
        items=len(parts.table),
        recall=parts.recall,
        largest_norm=parts.largest_norm,
        faiss=engine.version(),
        sha256=hashes,
    )


def _ids_json(table: IdTable) -> bytes:
    rows, built = table.ids.tolist(), table.built.tolist()
    same = built == rows[: len(built)]  # as long as nothing was compacted, the build's ids are the first rows
    text = json.dumps({"rows": rows, "built": len(built) if same else built}, ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass")


def load(folder: Path, *, verify: bool = True, mapped: bool = False) -> IndexParts:
    """Read what ``save`` wrote; ``mapped`` leaves FAISS's part in its file, too.

    Raises:
        IndexFileError: a file is missing, damaged or does not fit the others; the text names it.
    """
    while True:
        settle_target(folder)
        if not recover(folder).is_dir():
            raise IndexFileError(f"{folder} is no index: there is no such folder")
        found = _identity(folder)
        try:
            parts = _read(folder, verify=verify, mapped=mapped)
        except (IndexFileError, FileNotFoundError):
            if _identity(folder) == found:
                raise
        else:
            if _identity(folder) == found:
                return parts
        # Another process has saved it anew meanwhile, and what was read is of both.


def _identity(folder: Path) -> tuple[int, ...] | None:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns  # the number alone is soon another folder's


def _read(folder: Path, *, verify: bool, mapped: bool) -> IndexParts:
    meta = read_meta(folder / META)
    _check_files(folder, meta, verify=verify)
    index = _read_faiss(folder / FAISS, meta, mapped=mapped)
    table = _read_table(folder, meta)
    vectors = _read_array(folder / VECTORS, (meta.rows, meta.dim), mapped=True) if VECTORS in meta.sha256 else None
    if vectors is None and engine.held_vectors(index) is None:
        raise IndexFileError(f"{folder / VECTORS} is missing")
    probes = _read_array(folder / PROBES, (-1, meta.dim)) if PROBES in meta.sha256 else None
    known = meta.model_hash, meta.recall, meta.largest_norm
    return IndexParts(meta.config, meta.resolved, index, table, vectors, probes, *known, mapped=mapped)


def read_meta(path: Path) -> IndexMeta:
    """Read the description of an index alone.

    Raises:
        IndexFileError: it is missing, damaged or of another form; the text names it.
    """
    try:
        values = read_json(path)
    except ModelError as error:
        raise IndexFileError(str(error)) from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise IndexFileError(f"{path} does not describe a bertrec index")
    if values.get("format_version") != FORMAT_VERSION:
        found = values.get("format_version")
        raise IndexFileError(f"{path}: format version {found!r} is unknown to this bertrec, which reads {FORMAT_VERSION}: build it again")
    check_seal(values, path, error=IndexFileError)
    try:
        return IndexMeta.model_validate({name: value for name, value in values.items() if name != SEAL})
    except pydantic.ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise IndexFileError(f"{path} is damaged: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


def _check_files(folder: Path, meta: IndexMeta, *, verify: bool) -> None:
    for name in (FAISS, IDS, TOMBSTONES, VECTORS, PROBES):
        path, expected = folder / name, meta.sha256.get(name)
        if expected is None and name in (FAISS, IDS, TOMBSTONES):
            raise IndexFileError(f"{folder / META} is damaged: it has no checksum of {name}")
        if expected is None:
            continue
        if not path.is_file():
            raise IndexFileError(f"{path} is missing")
        if verify and sha256_file(path) != expected:
            raise IndexFileError(f"{path} is damaged: its SHA-256 is not the one that {META} names; build the index again")


def _read_faiss(path: Path, meta: IndexMeta, *, mapped: bool) -> Any:
    try:
        index = engine.from_file(str(path), mapped=mapped)
    except RuntimeError as error:
        raise IndexFileError(f"{path} is damaged: FAISS cannot read it") from error
    if (index.ntotal, index.d) != (meta.rows, meta.dim):
        raise IndexFileError(f"{path} holds {index.ntotal} vectors of {index.d} dimensions, {META} says {meta.rows} of {meta.dim}")
    return index


def _read_table(folder: Path, meta: IndexMeta) -> IdTable:
    rows, built = _read_ids(folder / IDS, meta.rows)
    dead = _read_array(folder / TOMBSTONES, (-1,), kind="i")
    alive = np.ones(meta.rows, dtype=np.bool_)
    if len(dead) and (dead.min() < 0 or dead.max() >= meta.rows):
        raise IndexFileError(f"{folder / TOMBSTONES} names rows that are not in the index")
    alive[dead] = False
    try:
        table = IdTable(rows, alive=alive, built=built)
    except DataError as error:
        raise IndexFileError(f"{folder / IDS} is damaged: {error}") from error
    if len(table) != meta.items:
        raise IndexFileError(f"{folder / TOMBSTONES} leaves {len(table)} items, {META} says {meta.items}")
    return table


def _read_ids(path: Path, count: int) -> tuple[list[Id], list[Id]]:
    try:
        values = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
        rows, built = check_ids(values["rows"]), values["built"]
        built = rows[:built] if isinstance(built, int) else check_ids(built)
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, BertrecError) as error:
        raise IndexFileError(f"{path} is damaged: {error}") from error
    if len(rows) != count:
        raise IndexFileError(f"{path} holds {len(rows)} ids, {META} says {count}")
    return rows, built


def _read_array(path: Path, shape: tuple[int, ...], *, kind: str = "f", mapped: bool = False) -> npt.NDArray[Any]:
    """Read an array of a known shape, -1 for any length."""
    try:
        # Mapped first: a header may name more rows than there is memory.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        array = array if mapped else np.array(array)
    except (OSError, OverflowError, ValueError, EOFError) as error:
        raise IndexFileError(f"{path} is damaged: {error}") from error
    fits = len(shape) == array.ndim and all(want in (-1, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind != kind:
        raise IndexFileError(f"{path} holds {array.dtype} {list(array.shape)}, not what {META} says")
    return array
