"""A FAISS file of many indexes that were trained alike, written one index at a time: the bytes that FAISS writes of all of them joined.

Lists lie at the end of FAISS's form of an IVF index, and vectors at the end of its form of a flat one, behind their lengths. So the form of
an index without rows is FAISS's own, and what stands behind it is put where it belongs. Whatever has another form is refused.
"""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from bertrec.core.errors import BertrecError
from bertrec.core.files import disk_errors_named
from bertrec.retrieval import engine
from bertrec.retrieval.exact import IntArray
from bertrec.retrieval.parameters import IndexConfig

_ID_BYTES = 8
_NO_VECTORS = struct.pack("<Q", 0)
_OTHER_FORM = "this FAISS writes indexes in a form that cannot be joined on disk: leave out --on-disk"


def list_sizes(index: Any) -> IntArray:
    """Return how many rows each inverted list holds, ``[nlist]``."""
    lists = engine.lists_of(index)
    return np.array([lists.get_list_size(number) for number in range(lists.nlist)], np.int64)


class JoinedFile:
    """The file, without a name, in a folder; it goes when it is closed and no index maps it any more.

    Args:
        config: the resolved settings of all indexes.
        like: one of them, of kind ``ivf`` or ``ivfpq``, for its training.
        sizes: ``[indexes, nlist]`` the rows of their lists, in the order in which they are joined.
        folder: for the file.

    Raises:
        BertrecError: the disk is full, the folder cannot be written, or this FAISS writes another form.
    """

    def __init__(self, config: IndexConfig, like: Any, sizes: IntArray, folder: Path) -> None:
        self._folder, self._sizes, self._rows = folder, sizes, int(sizes.sum())
        self._code_bytes, self._row_bytes = int(engine.lists_of(like).code_size), 4 * int(like.d)
        start, middle, last = self._around_rows(engine.trained_alike(config, like))
        of_list = sizes.sum(axis=0)
        # Within a list all codes come first, then all ids.
        lengths = of_list * (self._code_bytes + _ID_BYTES)
        self._codes_at = len(start) + np.cumsum(lengths) - lengths
        self._ids_at = self._codes_at + of_list * self._code_bytes
        with disk_errors_named(folder):
            self._file: BinaryIO = tempfile.TemporaryFile(dir=folder, prefix="bertrec-")  # noqa: SIM115
            self._vectors_at = len(start) + int(lengths.sum()) + len(middle)
            size = self._vectors_at + (self._rows * self._row_bytes if middle else 0) + len(last)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._file.fileno(), 0, size)
            self._file.truncate(size)
            self._put(0, start)
            self._put(self._vectors_at - len(middle), middle)
            self._put(size - len(last), last)
        self._done, self._taken = np.zeros_like(of_list), 0

    def _around_rows(self, empty: Any) -> tuple[bytes, bytes, bytes]:
        """Return what stands before the lists, and behind them before and behind full vectors."""
        faiss, lists = engine.import_faiss(), engine.lists_of(empty)
        lists.ntotal = empty.ntotal = self._rows
        before = bytes(faiss.serialize_index(lists))
        no_lists = b"ilar" + struct.pack("<QQ", lists.nlist, self._code_bytes) + b"sprs" + struct.pack("<Q", 0)
        start = before.removesuffix(no_lists) + no_lists[:-12] + self._lengths()
        middle = last = b""
        whole = before
        if lists is not empty and hasattr(empty, "refine_index"):
            flat = faiss.downcast_index(empty.refine_index)
            flat.ntotal = self._rows
            vectors, whole = bytes(faiss.serialize_index(flat)), bytes(faiss.serialize_index(empty))
            outer, _, last = whole.partition(before + vectors)
            start, middle = outer + start, vectors.removesuffix(_NO_VECTORS) + struct.pack("<Q", self._rows * self._row_bytes // 4)
            whole = whole if vectors.endswith(_NO_VECTORS) and last else b""
        if not before.endswith(no_lists) or not whole:
            raise BertrecError(_OTHER_FORM)
        return start, middle, last

    def _lengths(self) -> bytes:
        of_list = self._sizes.sum(axis=0)
        held = np.flatnonzero(of_list)
        if len(held) > len(of_list) // 2:
            return b"full" + struct.pack("<Q", len(of_list)) + of_list.astype("<u8").tobytes()
        pairs = np.stack([held, of_list[held]], axis=1)
        return b"sprs" + struct.pack("<Q", pairs.size) + pairs.astype("<u8").tobytes()

    def expects(self, index: Any) -> bool:
        """Say whether the lists of the next index are as long as they were said to be."""
        return np.array_equal(list_sizes(index), self._sizes[self._taken])

    def take(self, index: Any) -> None:
        """Put the rows of the next index where they belong."""
        faiss, lists = engine.import_faiss(), engine.lists_of(index).invlists
        sizes, shift = self._sizes[self._taken], int(self._done.sum())
        with disk_errors_named(self._folder):
            for one in np.flatnonzero(sizes).tolist():
                rows, done = int(sizes[one]), int(self._done[one])
                codes = faiss.rev_swig_ptr(lists.get_codes(one), rows * self._code_bytes)
                ids = faiss.rev_swig_ptr(lists.get_ids(one), rows)
                self._put(int(self._codes_at[one]) + done * self._code_bytes, codes)
                self._put(int(self._ids_at[one]) + done * _ID_BYTES, ids + shift)
            full = engine.held_vectors(index)
            if full is not None:
                self._put(self._vectors_at + shift * self._row_bytes, full)
        self._done += sizes
        self._taken += 1

    def _put(self, place: int, data: Any) -> None:
        rest = memoryview(data).cast("B") if len(data) else memoryview(b"")
        while rest:
            written = os.pwrite(self._file.fileno(), rest, place)
            place, rest = place + written, rest[written:]

    def index(self) -> Any:
        """Return the index of all rows, mapped from the file.

        Raises:
            BertrecError: FAISS cannot map it.
        """
        try:
            index = engine.from_file(f"/dev/fd/{self._file.fileno()}", mapped=True)
        except RuntimeError as error:
            raise BertrecError(_OTHER_FORM) from error
        self._file.close()
        if index.ntotal != self._rows or not np.array_equal(list_sizes(index), self._sizes.sum(axis=0)):
            raise BertrecError(_OTHER_FORM)
        return index
