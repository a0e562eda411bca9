"""Users that have weights of their own, found by a hash of their id: a saved ranker holds no id in plain words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np

from bertrec.core.ragged import IntArray

_BYTES = 8


def keys_of(users: Iterable[str | int]) -> IntArray:
    """Return the keys of users in rising order, each once, ``[n]``."""
    return np.unique([_key(user) for user in users]).astype(np.int64)


def numbers_of(users: Sequence[str | int], keys: IntArray) -> IntArray:
    """Return the place of each user among ``keys``, counted from 1; 0 for one who is not among them."""
    asked = np.array([_key(user) for user in users], np.int64)
    if not len(keys) or not len(asked):
        return np.zeros(len(asked), np.int64)
    place = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[place] == asked, place + 1, 0)


def _key(user: str | int) -> int:
    """Return 64 bits of BLAKE2 over the id with its type, so that 7 and "7" are two users."""
    kind = "text" if isinstance(user, str) else "number"
    digest = hashlib.blake2b(f"{kind}:{user}".encode(), digest_size=_BYTES).digest()
    return int.from_bytes(digest, "big", signed=True)
