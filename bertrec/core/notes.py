"""Lines for whoever runs a program: on standard error, where a service has its log too."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from bertrec.core.processes import is_first
from bertrec.core.shown import visible


def note(text: str) -> None:
    """Print one line on standard error, so that standard output stays fit for a pipe; of several processes the first prints."""
    if is_first():
        print(visible(text), file=sys.stderr, flush=True)


def note_each(lines: Iterable[str]) -> None:
    """Print what was noted on the way, such as the notes of a data set."""
    for line in lines:
        note(f"note: {line}")
