"""Serving exact top-10 lists without seen items, in one call and one user at a time, against a FAISS search per user."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.harness import Case, Side

K = 10
ONE_AT_A_TIME = 500
Once = Callable[[], dict[str, Any]]


def prepare(folder: Path, data: str, head: bool, users: int = 0, items: int = 0) -> None:
    """Save a model of item ids after one short epoch (speed does not depend on how well it learned), for both sides."""
    from bertrec.models.registry import create

    settings = {"item.width": 64, "head.max_history": 50, "train.epochs": 1, "train.max_seconds": 5.0}
    create("idrec", settings=settings).fit(_interactions(data, users, items), progress=False).save_pretrained(folder / "model")


def _interactions(data: str, users: int, items: int) -> Any:
    """Return amazon-beauty's interactions, or generated ones of ``users`` users with nine items each."""
    import pandas as pd

    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.interactions import Interactions
    from bertrec.data.load import load

    if not users:
        return load(str(Path(data) / "amazon-beauty")).interactions
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"user_id": np.repeat(np.arange(users), 9), "item_id": generator.integers(0, items, users * 9)})
    frame["timestamp"] = np.arange(len(frame))
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": np.arange(items), "title": [f"item {n}" for n in range(items)]}))
    return Interactions.from_frame(frame, catalog)


def _served(data: str, folder: str, users: int, items: int) -> tuple[Any, Any]:
    """Return the prepared model and the histories of all users."""
    from bertrec.models.base import Recommender

    return Recommender.from_pretrained(Path(folder) / "model"), _interactions(data, users, items).sequences


def batch_ours(*, data: str, folder: str, head: bool, users: int = 0, items: int = 0) -> Once:
    """All users in one call of `Server.recommend`, or, without the head, of `Server.from_vectors`."""
    model, histories = _served(data, folder, users, items)
    server, vectors = model.serve(), model.user_embeddings(histories)

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        found = server.recommend(histories, K) if head else server.from_vectors(vectors, histories, K)
        seconds = time.perf_counter() - started  # inner ids are for comparing alone
        return {"seconds": seconds, "users": len(histories), "array": _inner(model, found.items)}

    return once


def batch_faiss(*, data: str, folder: str, head: bool, users: int = 0, items: int = 0) -> Once:
    """What one writes first: a flat index, a search per user for k and as many more as were seen, a filter in Python.

    With the head all user vectors are made in one call first, as ours are.
    """
    import faiss

    model, histories = _served(data, folder, users, items)
    index, named = _faiss_index(faiss, model)
    vectors, rows = model.user_embeddings(histories), [row.tolist() for row in histories]

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        queries = model.user_embeddings(histories) if head else vectors
        lists = [_filtered(index, named, queries[at : at + 1], row) for at, row in enumerate(rows)]
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "users": len(rows), "array": np.array(lists)}

    return once


def _faiss_index(faiss: Any, model: Any) -> tuple[Any, list[int]]:
    named = model.known_items()
    index = faiss.IndexFlatIP(64)
    index.add(np.ascontiguousarray(model.item_embeddings()[named]))
    return index, named.tolist()


def _filtered(index: Any, named: list[int], query: Any, history: list[int]) -> list[int]:
    seen = set(history)
    _, found = index.search(query, K + len(seen))
    return [named[place] for place in found[0].tolist() if named[place] not in seen][:K]


def _inner(model: Any, items: list[list[Any]]) -> Any:
    return np.array([model.catalog.ids.encode(row) for row in items])


def one_ours(*, data: str, folder: str, head: bool, users: int = 0, items: int = 0) -> Once:
    """Median seconds of one user's call."""
    model, histories = _served(data, folder, users, items)
    server, vectors = model.serve(), model.user_embeddings(histories)
    named = [[model.catalog.ids.decode(histories[row])] for row in range(ONE_AT_A_TIME)]

    def answer(row: int) -> Any:
        if head:
            return server.recommend(named[row], K).items[0]
        return server.from_vectors(vectors[row : row + 1], histories.slice(row, row + 1), K).items[0]

    return one_at_a_time(answer, lambda items: model.catalog.ids.encode(items))


def one_faiss(*, data: str, folder: str, head: bool, users: int = 0, items: int = 0) -> Once:
    """The same by a flat FAISS index and a filter in Python."""
    import faiss

    model, histories = _served(data, folder, users, items)
    index, named = _faiss_index(faiss, model)
    vectors = model.user_embeddings(histories)
    ids = [model.catalog.ids.decode(histories[row]) for row in range(ONE_AT_A_TIME)]

    def answer(row: int) -> Any:
        query = model.user_embeddings([ids[row]]) if head else vectors[row : row + 1]
        return _filtered(index, named, query, histories[row].tolist())

    return one_at_a_time(answer, np.asarray)


def one_at_a_time(answer: Callable[[int], Any], inner: Callable[[Any], Any]) -> Once:
    """Return what times ``answer`` for one user after the other; ``inner`` turns the items of a list into inner ids."""

    def once() -> dict[str, Any]:
        taken, lists = [], []
        for row in range(ONE_AT_A_TIME):
            started = time.perf_counter()
            lists.append(answer(row))
            taken.append(time.perf_counter() - started)
        p50, p99 = (float(np.quantile(taken, share)) for share in (0.5, 0.99))
        return {"seconds": p50, "p50_ms": p50 * 1e3, "p99_ms": p99 * 1e3, "array": np.array([inner(items) for items in lists])}

    return once


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """The same items; two whose scores round alike may stand in either order, or change places at the end of the list."""
    same = np.array([len(set(a) & set(b)) for a, b in zip(ours["array"].tolist(), theirs["array"].tolist(), strict=True)]) / K
    return {
        "same_items": float(same.mean()),
        "same_lists": float((ours["array"] == theirs["array"]).all(axis=1).mean()),
        "ok": same.mean() > 0.9999,
    }


def _case(name: str, title: str, sides: tuple[str, str], *, head: bool, goal: float | None = None, **more: Any) -> Case:
    ours, theirs = (Side(f"benchmarks.speed.cases.serve:{side}", {"head": head}) for side in sides)
    return Case(
        name=name,
        title=title,
        ours=ours,
        theirs=theirs,
        goal=goal,
        stretch=None,
        repeats=6,
        suite="bench",
        needs=("amazon-beauty",),
        fallback={"users": 22_363, "items": 12_101},
        agree="benchmarks.speed.cases.serve:agree",
        prepare="benchmarks.speed.cases.serve:prepare",
        **more,
    )


_BATCH, _ONE = ("batch_ours", "batch_faiss"), ("one_ours", "one_faiss")
CASES = [
    _case("serve-batch", "Top-10 of all users from user vectors: one call against a FAISS search per user", _BATCH, head=False, goal=30.0),
    _case("serve-batch-head", "Top-10 of all users from histories: one call against a FAISS search per user", _BATCH, head=True),
    _case(
        "serve-one", "Top-10 of one user from the user vector, p50 (goal 2 ms), against FAISS", _ONE, head=False, limits={"seconds": 0.002}
    ),
    _case("serve-one-head", "Top-10 of one user from the history, p50, against the head and FAISS", _ONE, head=True),
]
