"""Errors that a user can mend. The command line prints one as a single line and exits with code 2."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_BREAKS = re.compile(r"\s*[\n\r]+\s*")
_SHOWN = 100  # letters of a name


class BertrecError(Exception):
    """Base of every error that bertrec raises on purpose: its text says what, where and how to mend it, in one line."""

    def __init__(self, text: object = "") -> None:
        # What other libraries say, which many texts quote, may have several lines.
        super().__init__(_BREAKS.sub(" ", str(text).strip()))


class DataError(BertrecError):
    """A table, file or split cannot be used as it is."""


class ConfigError(BertrecError):
    """A setting has an unknown name or a value outside its range."""


class ModelError(BertrecError):
    """A model folder, checkpoint or encoder cannot be loaded or used."""


class NotFiniteError(ModelError):
    """A loss, a score or a figure is no number: the model has no result that could be used."""


class IndexFileError(BertrecError):
    """A retrieval index cannot be read, or does not fit the model it is used with."""


class MissingExtraError(BertrecError):
    """An optional package is not installed; the text names the exact ``pip install``."""

    def __init__(self, package: str, extra: str, note: str = "") -> None:
        hint = f"{package} is not installed: run  pip install 'bertrec[{extra}]'"
        super().__init__(f"{hint}  ({note})" if note else hint)


def unknown_name(kind: str, name: str, options: Iterable[str]) -> str:
    """Say that ``name`` is no ``kind``, with the nearest right name first and then all of them.

    >>> unknown_name("model", "unisrek", ["morec", "unisrec"])
    "unknown model 'unisrek': did you mean 'unisrec'? (one of: morec, unisrec)"
    """
    known, name = sorted(str(option) for option in options), f"{name:.{_SHOWN}}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f": did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{name}'{guess} (one of: {', '.join(known)})"
