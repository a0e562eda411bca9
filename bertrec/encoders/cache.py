"""Vectors of texts kept on disk: append-only, checksummed, addressed by encoder and text."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import warnings
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from bertrec.core.checks import expect_able, expect_path
from bertrec.core.errors import BertrecError, ModelError
from bertrec.core.files import sha256_text, write_json
from bertrec.core.plugins import path_of
from bertrec.core.ragged import IntArray
from bertrec.encoders.batching import distinct_texts
from bertrec.encoders.config import EncoderConfig

Vectors = npt.NDArray[np.float32]
_KEY_BYTES = 32
_RECORD = np.dtype([("key", f"S{_KEY_BYTES}"), ("check", "<u8")])
_FLUSH_SECONDS = 2.0
_LOCK_SECONDS = 60.0


_KEEPS: ContextVar[bool] = ContextVar("keeps", default=True)


def keeps_vectors() -> bool:
    """Say whether models keep the vectors that their encoders make."""
    return _KEEPS.get()


@contextlib.contextmanager
def keeping_nothing() -> Iterator[None]:
    """Let models encode without the cache while the block lasts: many processes that read each text once would wait for its lock."""
    token = _KEEPS.set(False)
    try:
        yield
    finally:
        _KEEPS.reset(token)


def default_folder() -> Path:
    """Return ``$BERTREC_CACHE``, or ``~/.cache/bertrec`` where that is not set."""
    return Path(os.environ.get("BERTREC_CACHE") or Path.home() / ".cache" / "bertrec")


class Encodes(Protocol):
    """What the cache asks of an encoder; `bertrec.encoders.base.Encoder` says what each part means."""

    config: EncoderConfig

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def fingerprint(self) -> str:
        """Name of what is computed."""

    def encode_batches(self, texts: Sequence[str], *, progress: bool = False) -> Iterator[tuple[IntArray, Vectors]]:
        """Yield row numbers ``[b]`` and vectors ``[b, dim]``."""


class EmbeddingCache:
    """Text vectors on disk, one sub-folder per encoder fingerprint, keyed by the SHA-256 of the text.

    A changed catalogue encodes its new texts only, and a killed run keeps what it had written (every two seconds). Each vector has a
    checksum: a damaged one is encoded again, with a warning, and an incomplete end is cut off. Several processes may share a folder: all
    access is under a file lock, which is not held while encoding. Where the folder cannot be written, vectors are computed without it, with
    a warning.

    Args:
        folder: where to keep the vectors; None takes ``default_folder()``.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = default_folder() if folder is None else expect_path(folder, "EmbeddingCache: folder")

    def get_or_encode(self, encoder: Encodes, texts: Sequence[str], *, progress: bool = False) -> Vectors:
        """Return the vectors of ``texts``, ``[n, dim]`` float32, encoding only those that are not kept yet.

        Raises:
            DataError: an element is not a text.
            ModelError: the encoder gives values that are not finite.
        """
        expect_able(encoder, "encode_batches", "TextEncoder", "EmbeddingCache.get_or_encode: encoder", error=ModelError)
        distinct, place = distinct_texts(texts)
        keys = _text_keys(distinct)
        vectors = np.zeros((len(distinct), encoder.dim), np.float32)
        store = _Store(self.folder / _folder_name(encoder), encoder.dim)
        with _usable(store.folder):
            store.prepare(encoder.fingerprint, encoder.config.name)
        known = np.zeros(len(distinct), bool)
        with _usable(store.folder), store.locked():
            known = store.read(keys, vectors)
        missing = np.flatnonzero(~known)
        pending = _Pending(store)
        try:
            for rows, batch in encoder.encode_batches([distinct[row] for row in missing], progress=progress) if len(missing) else ():
                vectors[missing[rows]] = batch
                pending.add(keys[missing[rows]], batch)
        finally:
            # Also on Ctrl-C: what was computed is kept.
            pending.flush()
        return vectors[place]


class _Pending:
    """Vectors computed and not yet written."""

    def __init__(self, store: _Store) -> None:
        self.store = store
        self.keys: list[npt.NDArray[np.bytes_]] = []
        self.vectors: list[Vectors] = []
        self.written = time.monotonic()

    def add(self, keys: npt.NDArray[np.bytes_], vectors: Vectors) -> None:
        self.keys.append(keys)
        self.vectors.append(vectors)
        if time.monotonic() - self.written > _FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        if self.keys:
            with _usable(self.store.folder), self.store.locked():
                self.store.write(np.concatenate(self.keys), np.concatenate(self.vectors))
        self.keys, self.vectors, self.written = [], [], time.monotonic()


@dataclass
class _Store:
    """Two files of one encoder: ``vectors.f32`` ``[n, dim]``, and ``keys.bin`` with a text hash and a checksum per row.

    Every method but ``prepare`` and ``locked`` is to be called under the lock.
    """

    folder: Path
    dim: int

    @property
    def keys_file(self) -> Path:
        return self.folder / "keys.bin"

    @property
    def vectors_file(self) -> Path:
        return self.folder / "vectors.f32"

    def prepare(self, fingerprint: str, name: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "about.json").exists():
            write_json(self.folder / "about.json", {"encoder": name, "fingerprint": fingerprint, "dim": self.dim, "dtype": "float32"})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with FileLock(str(self.folder / ".lock"), timeout=_LOCK_SECONDS):
            yield

    def read(self, keys: npt.NDArray[np.bytes_], out: Vectors) -> npt.NDArray[np.bool_]:
        """Copy the vectors of ``keys`` that are kept and whole into ``out``; return which were found."""
        records, stored = self._open()
        rows = _lookup(records["key"], keys)
        hits = np.flatnonzero(rows >= 0)
        # In order of the file: a cold read then is one pass over it.
        hits = hits[np.argsort(rows[hits], kind="stable")]
        found = np.ascontiguousarray(stored[rows[hits]])
        whole = _checksums(keys[hits], found) == records["check"][rows[hits]]
        out[hits[whole]] = found[whole]
        if damaged := int((~whole).sum()):
            _warn(f"{self.vectors_file}: {damaged} damaged vectors are encoded again")
        known = np.zeros(len(keys), bool)
        known[hits[whole]] = True
        return known

    def write(self, keys: npt.NDArray[np.bytes_], vectors: Vectors) -> None:
        """Append the vectors; one whose key is there already (damaged, or from another process meanwhile) is written in its place."""
        records, _ = self._open()
        rows = _lookup(records["key"], keys)
        new = rows < 0
        rows[new] = len(records) + np.arange(int(new.sum()))
        entries = np.empty(len(keys), _RECORD)
        entries["key"], entries["check"] = keys, _checksums(keys, vectors)
        # Vectors first: a key is there only when its vector is, and a kill in between leaves an end that the next run cuts off.
        _write_rows(self.vectors_file, rows, np.ascontiguousarray(vectors, "<f4"))
        _write_rows(self.keys_file, rows, entries)

    def _open(self) -> tuple[npt.NDArray[np.void], Vectors]:
        """Return both files memory-mapped, an incomplete end cut off."""
        width = 4 * self.dim
        for path in (self.keys_file, self.vectors_file):
            path.touch()
        sizes = self.keys_file.stat().st_size, self.vectors_file.stat().st_size
        count = min(sizes[0] // _RECORD.itemsize, sizes[1] // width)
        if sizes != (count * _RECORD.itemsize, count * width):
            _warn(f"{self.folder}: the incomplete end of an interrupted write was cut off; {count} vectors remain")
            os.truncate(self.keys_file, count * _RECORD.itemsize)
            os.truncate(self.vectors_file, count * width)
        if not count:
            return np.zeros(0, _RECORD), np.zeros((0, self.dim), np.float32)
        return np.fromfile(self.keys_file, _RECORD), np.memmap(self.vectors_file, "<f4", "r", shape=(count, self.dim))


def _folder_name(encoder: Encodes) -> str:
    """Return the start of the fingerprint, or, where that is no SHA-256 and may hold anything, of its hash with class and width."""
    name = encoder.fingerprint
    if not re.fullmatch("[0-9a-f]{64}", name):
        name = sha256_text(path_of(type(encoder)), str(encoder.dim), name)
    return name[:40]


def _text_keys(texts: Sequence[str]) -> npt.NDArray[np.bytes_]:
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    return np.frombuffer(b"".join(digests), f"S{_KEY_BYTES}")


def _lookup(known: npt.NDArray[np.bytes_], wanted: npt.NDArray[np.bytes_]) -> IntArray:
    """Return the first row of each wanted key, -1 where there is none."""
    if not len(known):
        return np.full(len(wanted), -1, np.int64)
    order = np.argsort(known, kind="stable")
    ranked = known[order]
    at = np.minimum(np.searchsorted(ranked, wanted), len(known) - 1)
    return np.where(ranked[at] == wanted, order[at], -1).astype(np.int64)


def _checksums(keys: npt.NDArray[np.bytes_], vectors: Vectors) -> npt.NDArray[np.uint64]:
    """Return one 64-bit sum per row over key and vector.

    It adds 32-bit words times fixed odd numbers, so that any one changed word changes it.
    """
    if not len(keys):
        return np.zeros(0, np.uint64)
    key_words = np.ascontiguousarray(keys).view("<u4").reshape(len(keys), -1)
    words = np.concatenate([key_words, np.ascontiguousarray(vectors, "<f4").view("<u4")], axis=1)
    odd = np.random.Generator(np.random.PCG64(20240229)).integers(0, 1 << 63, words.shape[1], dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    # Starting from a number other than 0: a row of zeros, as a crash of the machine may leave it, does not check.
    return np.uint64(0x9E3779B97F4A7C15) + np.einsum("ij,j->i", words, odd, dtype=np.uint64, casting="unsafe")


def _write_rows(path: Path, rows: IntArray, values: npt.NDArray[np.generic]) -> None:
    """Write ``values[i]`` at row ``rows[i]``, neighbouring rows in one piece, and hand them to the disk."""
    order = np.argsort(rows, kind="stable")
    rows, values = rows[order], values[order]
    breaks = np.flatnonzero(np.diff(rows, prepend=rows[:1] - 2) != 1)
    with open(path, "r+b") as stream:
        for start, stop in zip(breaks, [*breaks[1:], len(rows)], strict=True):
            stream.seek(int(rows[start]) * (values.nbytes // len(values)))
            stream.write(values[start:stop].tobytes())
        stream.flush()
        os.fsync(stream.fileno())


@contextlib.contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Turn a folder that cannot be used into a warning: vectors are then computed and not kept, which is slower and not wrong."""
    try:
        yield
    except (OSError, Timeout, BertrecError) as error:
        _warn(f"the embedding cache {folder} cannot be used, going on without it: {error}")


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)
