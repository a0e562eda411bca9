"""Optuna's journal in a file that survives writers killed in mid-write.

Imports optuna: import this module only where optuna is known to be installed.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.storages.journal._file import get_lock_file
from optuna.storages.journal._storage import JournalOperation

from bertrec.core.errors import BertrecError
from bertrec.tuning.storages.address import Address
from bertrec.tuning.storages.claims import ClaimingJournal

_OPERATIONS = {int(operation) for operation in JournalOperation}
_KINDS = {
    **{"study_name": str, "directions": list, "study_id": int, "trial_id": int, "state": int, "param_name": str, "distribution": str},
    **{"param_value_internal": int | float, "intermediate_value": int | float, "values": list | None, "value": int | float | None},
    **dict.fromkeys(("user_attr", "system_attr", "user_attrs", "system_attrs", "params", "distributions", "intermediate_values"), dict),
}
"""What Optuna writes; it does not look at it again when it reads."""
_BEGIN = b'{"op_code":'
_MEND = "choose another --storage, or bring the file back from a copy"


class JournalFile(JournalFileBackend):
    """Optuna's file format and lock; what a killed writer or a full disk left half-written is cut off before the next record.

    Optuna itself would append to the half record, and the whole journal could not be read from then on.
    """

    def __init__(self, path: Path) -> None:
        # Windows lets only administrators make symbolic links. The path must be absolute: Optuna tells how old a lock is by following its
        # link, and with a relative one waits for ever for a worker that was killed while it wrote.
        super().__init__(str(path), JournalFileOpenLock(str(path)) if os.name == "nt" else None)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records; either all of them stand in the file or none.

        Raises:
            BertrecError: the disk is full or the file is gone; the journal is as it was.
        """
        data = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        try:
            with get_lock_file(self._lock), open(self._file_path, "r+b", buffering=0) as stream:
                _append_whole(stream, data)
        except OSError as error:
            reason = error.strerror or error
            raise BertrecError(
                f"cannot write the journal {self._file_path}: {reason}; the study goes on from there once that is mended"
            ) from error


def open_journal(address: Address) -> JournalStorage:
    """Open a journal file, or begin one.

    Raises:
        BertrecError: it is a folder, cannot be written, is damaged, or is no journal.
    """
    path = address.path
    assert path is not None
    try:
        if path.exists() and not path.is_file():
            example = path / "study.journal" if path.is_dir() else "study.journal"
            raise address.problem("it is a folder" if path.is_dir() else "it is no plain file", f"name a file, such as {example}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent), path.open("ab"):  # the folder, for the lock, and the file itself
            pass
        _check_records(path, address)
    except OSError as error:
        raise address.problem(f"{error.strerror or error} ({error.filename})", "choose a file in a folder that can be written") from error
    try:
        return ClaimingJournal(JournalFile(path))
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise address.problem(f"its records do not follow from one another ({type(error).__name__}: {error})", _MEND) from error


def _check_records(path: Path, address: Address) -> None:
    """Look at each line: Optuna takes a file of one line that is no record for an empty journal, and would write into it."""
    with path.open("rb") as stream:
        if stream.peek(1)[:1] not in (b"", b"{"):
            raise address.problem("the file is no Optuna journal", "choose another file")
        for number, line in enumerate(stream, 1):
            if _is_record(line) or (not line.endswith(b"\n") and _is_torn(line)):
                continue
            wrong = "the file is no Optuna journal" if number == 1 else f"line {number} is damaged"
            raise address.problem(wrong, "choose another file" if number == 1 else _MEND)


def _is_record(line: bytes) -> bool:
    try:
        record = json.loads(line)
    except ValueError:
        return False
    if not isinstance(record, dict) or record.get("op_code") not in _OPERATIONS or "worker_id" not in record:
        return False
    return all(isinstance(record[name], kind) for name, kind in _KINDS.items() if name in record) and all(
        isinstance(value, int | float) for value in record.get("values") or ()
    )


def _is_torn(line: bytes) -> bool:
    """Tell whether the last line, which has no end, may be the beginning of a record whose writer was killed or has not finished."""
    return line.startswith(_BEGIN) or _BEGIN.startswith(line)


def _append_whole(stream: BinaryIO, data: bytes) -> None:
    """Write ``data`` behind the last whole record. The caller holds the lock, so that what is torn has no writer any more."""
    end = _mended_end(stream)
    try:
        stream.truncate(end)
        stream.seek(end)
        rest = memoryview(data)
        while rest:
            rest = rest[stream.write(rest) :]
        os.fsync(stream.fileno())
    except OSError:
        with suppress(OSError):
            stream.truncate(end)
        raise


def _mended_end(stream: BinaryIO) -> int:
    """Return where the last whole record ends; one that lacks nothing but its line's end gets it."""
    size = stream.seek(0, os.SEEK_END)
    begin, tail = size, b""
    while begin and b"\n" not in tail:
        begin = max(0, begin - 4096)
        stream.seek(begin)
        tail = stream.read(size - begin)
        if tail.endswith(b"\n"):
            return size
    torn = tail.rpartition(b"\n")[2]
    if not torn or not _is_record(torn):
        return size - len(torn)
    stream.seek(size)
    stream.write(b"\n")
    return size + 1
