"""Serving one user at a time out of 100,000 items under a filter that keeps one item in a hundred, against the same without a filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.cases.serve import K, Once, one_at_a_time
from benchmarks.speed.harness import Case, Side

ITEMS, USERS, DIM, SHELVES = 100_000, 20_000, 64, 100
FILTER = "shelf == 7 and price < 1000"


def prepare(folder: Path, data: str, filter: str | None, kind: str | None) -> None:
    """Save a model of item ids after a few seconds (speed does not depend on what it learned), and its index of a kind."""
    from bertrec.models.registry import create
    from bertrec.retrieval.index import ItemIndex

    settings = {"item.width": DIM, "head.max_history": 50, "train.epochs": 1, "train.max_seconds": 5.0}
    model = create("idrec", settings=settings).fit(_interactions(), progress=False)
    model.save_pretrained(folder / "model")
    if kind is not None:
        known = model.known_items()
        vectors = model.item_embeddings()[known]
        ItemIndex.build(vectors, model.catalog.ids.decode(known), kind=kind, model_hash=model.model_hash).save(folder / "index")


def _interactions() -> Any:
    import pandas as pd

    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.interactions import Interactions

    items, generator = np.arange(ITEMS), np.random.default_rng(0)
    table = pd.DataFrame({"item_id": items, "title": [f"item {n}" for n in items], "shelf": items % SHELVES, "price": items % 997})
    frame = pd.DataFrame({"user_id": np.repeat(np.arange(USERS), 9), "item_id": generator.integers(0, ITEMS, USERS * 9)})
    return Interactions.from_frame(frame.assign(timestamp=np.arange(len(frame))), ItemCatalog.from_frame(table))


def one_under(*, data: str, folder: str, filter: str | None, kind: str | None) -> Once:
    """Median seconds of one user's list from the user's vector, under a filter or None."""
    from bertrec.models.base import Recommender
    from bertrec.retrieval.index import ItemIndex
    from bertrec.retrieval.rules import Rules

    model = Recommender.from_pretrained(Path(folder) / "model")
    histories = _interactions().sequences.slice(0, 1000)
    server = model.serve(None if kind is None else ItemIndex.load(Path(folder) / "index"))
    vectors, rules = model.user_embeddings(histories), None if filter is None else Rules(filter=filter)

    def answer(row: int) -> Any:
        return server.from_vectors(vectors[row : row + 1], histories.slice(row, row + 1), K, rules=rules).items[0]

    return one_at_a_time(answer, lambda items: model.catalog.ids.encode(items))


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """Every list under the filter is full and holds what the filter keeps; the others hold more than that."""
    kept, free = ((side["array"] - 1) % SHELVES == 7 for side in (ours, theirs))
    return {"kept": float(kept.mean()), "ok": bool(kept.all() and not free.all() and ours["array"].shape[1] == K)}


def _case(kind: str | None) -> Case:
    where = "without an index" if kind is None else f"with an index of kind {kind}"
    ours, theirs = (Side("benchmarks.speed.cases.filtered:one_under", {"filter": text, "kind": kind}) for text in (FILTER, None))
    return Case(
        name=f"serve-filtered{'' if kind is None else f'-{kind}'}",
        title=f"Top-10 of one user out of 100,000 items {where}, p50: a filter that keeps 1 % against no filter",
        ours=ours,
        theirs=theirs,
        goal=0.5,
        agree="benchmarks.speed.cases.filtered:agree",
        prepare="benchmarks.speed.cases.filtered:prepare",
    )


CASES = [_case(None), _case("flat"), _case("hnsw")]
