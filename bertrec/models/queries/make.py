"""Queries made of what items say, for data without any: fields, and a phrase that is then out of the item's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bertrec.core.checks import expect, expect_whole
from bertrec.core.errors import DataError, unknown_name
from bertrec.data.catalog import ItemCatalog
from bertrec.models.queries.pairs import QueryPairs, dealt
from bertrec.models.queries.phrases import holds, without_phrases
from bertrec.retrieval.words import words_of

_TRIES = 5  # places of a phrase, where the item's text still holds it after it was taken out


def make_pairs(catalog: ItemCatalog, fields: Sequence[str] = (), *, phrase: str | None = None, words: int = 6, seed: int = 0) -> QueryPairs:
    """Make a query for each item that says enough.

    Args:
        catalog: the items.
        fields: text fields whose values stand in the query; an empty value is left out.
        phrase: the field that so many words in a row are taken from, at a place of the seed; an item whose field is
            not longer has no query. They are in ``phrases``, so that the indexed text is without them.
        words: of the phrase, as white space separates them.
        seed: of the places, and of the parts, into which items are dealt.

    Raises:
        DataError: no such field, nothing to make queries of, or fewer than three items that say enough.
    """
    expect(catalog, ItemCatalog, "make_pairs: catalog")
    words = expect_whole(words, "words", least=1, error=DataError)
    for name in (*fields, *([] if phrase is None else [phrase])):
        if name not in catalog.fields:
            raise DataError(unknown_name("text field", name, catalog.fields))
    if not fields and phrase is None:
        raise DataError("there is nothing to make queries of: name fields, or the field of a phrase")
    rng = np.random.default_rng([seed, 22])
    rows = [_of_item(catalog, row, fields, phrase, words, rng) for row in range(len(catalog))]
    found = {row: made for row, made in enumerate(rows) if made is not None}
    if len(found) < 3:
        raise DataError(f"only {len(found)} of {len(catalog)} items say enough for a query: take other fields, or fewer words")
    items = np.array(list(found), np.int64) + 1
    queries, phrases = (list(column) for column in zip(*found.values(), strict=True))
    left = len(catalog) - len(found)
    notes = (f"{left} of {len(catalog)} items say too little for a query (they are ranked all the same)",) if left else ()
    return QueryPairs(catalog, queries, items, dealt(items, seed), phrases, notes)


def _of_item(
    catalog: ItemCatalog, row: int, fields: Sequence[str], phrase: str | None, words: int, rng: np.random.Generator
) -> tuple[str, str] | None:
    """Return the query of an item and the phrase in it; None where it says too little."""
    values = [catalog.fields[name][row] for name in fields]
    taken = "" if phrase is None else _phrase(catalog, row, phrase, words, rng)
    query = " ".join(" ".join([*values, taken or ""]).split())
    return None if taken is None or not words_of(query) else (query, taken)


def _phrase(catalog: ItemCatalog, row: int, field: str, words: int, rng: np.random.Generator) -> str | None:
    pieces = catalog.fields[field][row].split()
    if len(pieces) <= words:
        return None
    for start in rng.permutation(len(pieces) - words + 1)[:_TRIES].tolist():
        taken = " ".join(pieces[start : start + words])
        if words_of(taken) and not holds(_indexed(catalog, row, taken), taken):
            return taken
    return None


def _indexed(catalog: ItemCatalog, row: int, phrase: str) -> str:
    """Return the text of one item without a phrase: fields that stand side by side may hold it together."""
    one = replace(catalog.take([row]), attributes=None)
    return without_phrases(one, np.array([1]), [phrase]).texts[0]
