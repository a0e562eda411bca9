"""Records that say of themselves what they held when they were written: JSON mappings with a SHA-256 of all else in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError, ModelError
from bertrec.core.files import sha256_text

SEAL = "record_sha256"


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of JSON values with its own hash in it."""
    return {**record, SEAL: _hash(record)}


def check_seal(record: Mapping[str, Any], path: Path, *, error: type[BertrecError] = ModelError) -> None:
    """See that a record is the one that was written. One without a hash, of a version before it, is taken as it is.

    Raises:
        BertrecError: it is not, as ``error``; the text names the file.
    """
    if SEAL in record and record[SEAL] != _hash(record):
        raise error(f"{path} was changed or damaged since it was written: it does not give its {SEAL}; restore it, or make it again")


def _hash(record: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps({name: value for name, value in record.items() if name != SEAL}))  # keys as they are read again
    return sha256_text(json.dumps(plain, sort_keys=True))
