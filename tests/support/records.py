"""JSON records that are changed as whoever made them would change them: the hash of the record itself is left out or made anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bertrec.core.seal import SEAL, sealed


def change(path: Path, /, **values: Any) -> None:
    """Write a record again with other values, and with the hash that they give."""
    record = {**json.loads(path.read_text(encoding="utf-8")), **values}
    held = SEAL in record
    record.pop(SEAL, None)
    path.write_text(json.dumps(sealed(record) if held else record), encoding="utf-8")
