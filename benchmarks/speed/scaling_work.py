"""The work of `benchmarks.speed.scaling`, on generated data: each prepares one size, warms up on a small one and returns what is timed."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet

Once = Callable[[], dict[str, Any]]
_WIDTH, _EVENTS, _K = 64, 10, 10
_SMALL = 64
_USERS_AT_ONCE = 1 << 15
# One word piece each in MiniLM's vocabulary, so that a text of n words has n + 2 tokens.
_WORDS = (
    *("red", "blue", "green", "small", "large", "soft", "hard", "cotton", "wool", "steel", "glass", "paper", "shirt", "shoe", "lamp"),
    *("table", "chair", "book", "music", "water", "light", "night", "day", "hand"),
)


def encode(*, size: int, words: int) -> Once:
    """Encode ``size`` texts of ``words`` words."""
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    encoder = TextEncoder.from_config(EncoderConfig(max_length=256))
    texts = _texts(size, words)
    encoder.encode(texts[:_SMALL])
    return _watched(lambda: encoder.encode(texts))


def encode_long(*, size: int, items: int) -> Once:
    """Encode ``items`` texts of ``size`` words."""
    return encode(size=items, words=size)


def train_users(*, size: int, items: int) -> Once:
    """Train one epoch on ``size`` users over ``items`` items."""
    from bertrec.models.idrec import IDRec

    sizes = {"item.width": _WIDTH, "head.max_history": 50, "train.epochs": 1, "train.save_every_epoch": False}
    config = IDRec.default_config().updated(sizes)
    IDRec(config).fit(_interactions(_SMALL, _SMALL), progress=False)
    train = _interactions(size, items)
    return _watched(lambda: IDRec(config).fit(train, progress=False))


def train_items(*, size: int, users: int) -> Once:
    """Train one epoch on ``users`` users over ``size`` items."""
    return train_users(size=users, items=size)


def evaluate_users(*, size: int, items: int) -> Once:
    """Rank one target each of ``size`` users among ``items`` items."""
    from bertrec.evaluation.by_vectors import evaluate_vectors
    from bertrec.evaluation.protocol import Protocol

    def work(n_users: int, n_items: int) -> Callable[[], Any]:
        users, vectors, test = _vectors(n_users), _vectors(n_items + 1), _evaluation_set(n_users, n_items)
        protocol, counts = Protocol(ks=(_K,), bootstrap=0), np.ones(n_items + 1, np.int64)
        return lambda: evaluate_vectors(_batches(users), vectors, test, protocol, counts)

    work(_SMALL, _SMALL)()
    return _watched(work(size, items))


def evaluate_items(*, size: int, users: int) -> Once:
    """Rank one target each of ``users`` users among ``size`` items."""
    return evaluate_users(size=users, items=size)


def topk_items(*, size: int, users: int) -> Once:
    """Find the best unseen items of ``users`` users among ``size`` items."""
    from bertrec.retrieval.index import ItemIndex

    index = ItemIndex.build(_vectors(size), list(range(size)), kind="flat")
    queries, seen = _vectors(users), _histories(users, size)
    index.search(queries[:1], _K)
    return _watched(lambda: index.search(queries, _K, exclude=seen))


def _watched(work: Callable[[], Any]) -> Once:
    """Report the peak memory of the process, and how far the work raised it."""

    def once() -> dict[str, Any]:
        before = _peak_mib()
        work()
        after = _peak_mib()
        return {"peak_mib": after, "grown_mib": after - before}

    return once


def _peak_mib() -> float:
    """Return the peak resident memory of this program; Linux's own count begins anew with it, that of ``getrusage`` with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _texts(count: int, words: int) -> list[str]:
    drawn = np.random.default_rng(0).integers(len(_WORDS), size=(count, words))
    return [" ".join(_WORDS[word] for word in row) for row in drawn.tolist()]


def _vectors(count: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(count).standard_normal((count, _WIDTH), dtype=np.float32)


def _histories(users: int, items: int) -> Ragged:
    """Draw ``_EVENTS`` items per user, the first ones more often, as in a log-normal popularity."""
    popularity = np.random.default_rng(1).lognormal(sigma=1.0, size=items)
    drawn = np.random.default_rng(2).choice(items, size=users * _EVENTS, p=popularity / popularity.sum()) + 1
    return Ragged.from_lengths(drawn.astype(np.int64), np.full(users, _EVENTS, np.int64))


def _interactions(users: int, items: int) -> Interactions:
    catalog = ItemCatalog(IdMap(range(items)), {}, None)
    return Interactions(catalog, IdMap(range(users)), _histories(users, items))


def _evaluation_set(users: int, items: int) -> EvaluationSet:
    targets = np.random.default_rng(3).integers(1, items + 1, size=users)
    return EvaluationSet(list(range(users)), _histories(users, items), Ragged.from_lengths(targets, np.ones(users, np.int64)))


def _batches(users: npt.NDArray[np.float32]) -> Iterator[tuple[npt.NDArray[np.float32], None]]:
    for start in range(0, len(users), _USERS_AT_ONCE):
        yield users[start : start + _USERS_AT_ONCE], None
