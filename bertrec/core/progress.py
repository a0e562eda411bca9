"""Progress bars of long work."""

from __future__ import annotations

import sys
from typing import Any

from bertrec.core.processes import is_first

_SECONDS_IN_A_LOG = 30.0


def progress_bar(show: bool, label: str, total: int, *, unit: str = "item") -> Any:
    """Return a bar with units per second and the time left, or one that shows nothing.

    Where standard error is a file and not a terminal or notebook, it is drawn at most twice per minute.
    """
    from tqdm.auto import tqdm

    moving = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, desc=label, unit=unit, disable=not (show and is_first()), mininterval=0.1 if moving else _SECONDS_IN_A_LOG)
