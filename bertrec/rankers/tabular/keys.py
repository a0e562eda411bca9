"""Ids as 64-bit hashes: those that training met are known again in any catalogue, and no id of a user is saved."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np

from bertrec.core.ragged import IntArray


def hashed(ids: Iterable[str | int]) -> IntArray:
    """Return a 64-bit hash of each id, ``[n]``; the text ``"7"`` is another id than the number 7."""
    texts = (f"s{external}" if isinstance(external, str) else f"i{external}" for external in ids)
    digests = b"".join(blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def places(known: IntArray, ids: Iterable[str | int]) -> IntArray:
    """Return the place of each id among the sorted hashes ``known``, counted from 1, and 0 where it is not among them.

    >>> places(np.sort(hashed(["a", "b"])), ["c", "b", "a", "b"]).astype(bool).tolist()
    [False, True, True, True]
    """
    asked = list(ids)
    distinct = dict.fromkeys(asked)
    found = hashed(distinct)
    if not len(known):
        return np.zeros(len(asked), np.int64)
    at = np.minimum(np.searchsorted(known, found), len(known) - 1)
    number = dict(zip(distinct, np.where(known[at] == found, at + 1, 0).tolist(), strict=True))
    return np.array([number[external] for external in asked], np.int64)
