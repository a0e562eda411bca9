"""Words taken out of a text, so that a query that has them cannot find them there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.retrieval.words import words_of


def holds(text: str, phrase: str) -> bool:
    """Say whether the words of a phrase stand in a text one after another, whatever their case and punctuation."""
    return bool(_places(words_of(text), words_of(phrase)))


def without_phrase(text: str, phrase: str) -> str:
    """Return a text without the words of a phrase, wherever they stand one after another.

    Pieces between white space go as a whole; what is left is joined by one space. Taking some out may bring others
    together, so this is done until none is left.

    >>> without_phrase("A toy cowboy, and a toy space ranger.", "toy space")
    'A toy cowboy, and a ranger.'
    """
    wanted, pieces = words_of(phrase), text.split()
    while True:
        words = [words_of(piece) for piece in pieces]
        owner = [number for number, some in enumerate(words) for _ in some]
        gone = {
            owner[at] for place in _places([word for some in words for word in some], wanted) for at in range(place, place + len(wanted))
        }
        if not gone:
            return " ".join(pieces)
        pieces = [piece for number, piece in enumerate(pieces) if number not in gone]


def _places(words: list[str], wanted: list[str]) -> list[int]:
    """Return where ``wanted`` begins among words; nowhere for no words."""
    size = len(wanted)
    return [at for at in range(len(words) - size + 1) if words[at : at + size] == wanted] if size else []


def without_phrases(catalog: ItemCatalog, items: IntArray, phrases: Sequence[str]) -> ItemCatalog:
    """Return the catalogue without phrases in the text fields of their items.

    Args:
        catalog: the items.
        items: ``[n]`` inner ids, repeats allowed.
        phrases: ``[n]``; an empty one takes nothing out.
    """
    of_row: dict[int, list[str]] = {}
    for row, phrase in zip((np.asarray(items) - 1).tolist(), phrases, strict=True):
        of_row.setdefault(row, []).append(phrase)
    fields = {name: list(column) for name, column in catalog.fields.items()}
    for column in fields.values():
        for row, own in of_row.items():
            column[row] = _without_all(column[row], own)
    return replace(catalog, fields=fields)


def _without_all(text: str, phrases: Sequence[str]) -> str:
    """Return a text without any of the phrases: to take one out may bring the words of another together."""
    while any(holds(text, phrase) for phrase in phrases):
        for phrase in phrases:
            text = without_phrase(text, phrase) if holds(text, phrase) else text
    return text
