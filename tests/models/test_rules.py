"""Lists under rules: the same as from the full matrix of scores, whatever searches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from given_vectors import GivenLifts, GivenVectors
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules

COUNT = 60
BRANDS = ["Acme", "Bolt", "Core", None]


def shop(count: int = COUNT, seed: int = 0) -> ItemCatalog:
    draw = np.random.default_rng(seed)
    brands = [BRANDS[at] for at in draw.integers(0, len(BRANDS), count)]
    attributes = pa.table(
        {
            "price": pa.array([None if at % 9 == 4 else at % 12 for at in range(count)], pa.int64()),
            "in_stock": pa.array([None if at % 11 == 5 else bool(at % 3) for at in range(count)]),
            "brand": pa.array(brands, pa.string()),
            "tags": pa.array([None if at % 7 == 6 else [f"t{at % 4}", f"t{at % 5}"] for at in range(count)]),
        }
    )
    titles = [f"thing {at}" if at % 5 else "" for at in range(count)]
    return ItemCatalog(IdMap([f"i{at}" for at in range(count)]), {"title": titles}, attributes=attributes)


CATALOG = shop()
# What each expression says, once more in Python: a comparison with None is false.
FILTERS: dict[str, Any] = {
    "price < 7": lambda row: row["price"] is not None and row["price"] < 7,
    "price != 3 and in_stock": lambda row: row["price"] is not None and row["price"] != 3 and bool(row["in_stock"]),
    "not price < 7": lambda row: not (row["price"] is not None and row["price"] < 7),
    "brand in ('Acme', 'Bolt') or 't1' in tags": lambda row: row["brand"] in ("Acme", "Bolt") or "t1" in (row["tags"] or []),
    "brand is None": lambda row: row["brand"] is None,
    "price * 2 >= 10 and not in_stock == False": lambda row: (
        row["price"] is not None and row["price"] * 2 >= 10 and row["in_stock"] is not False
    ),
    "'9' in title": lambda row: "9" in row["title"],
    "price > 99": lambda row: False,
    "price == 1": lambda row: row["price"] == 1,
}
BOOSTS: dict[str, Any] = {
    "price": lambda row: row["price"] or 0,
    "in_stock": lambda row: float(bool(row["in_stock"])),
    "brand == 'Core'": lambda row: float(row["brand"] == "Core"),
}


def rows_of(catalog: ItemCatalog) -> list[dict[str, Any]]:
    return [
        {**row, "title": title}
        for row, title in zip(catalog.attributes.to_pylist(), catalog.fields["title"], strict=True)  # type: ignore[union-attr]
    ]


def brute_force(scores: np.ndarray, rules: Rules, catalog: ItemCatalog, vectors: np.ndarray, k: int) -> tuple[list[int], list[float]]:
    """One list from the scores of all items, by the definition: inner ids and scores."""
    rows = [{}, *rows_of(catalog)]
    total = scores.astype(np.float64)
    for text, weight in rules.boost.items():
        total[1:] += [weight * BOOSTS[text](row) for row in rows[1:]]
    allowed = [
        item
        for item in range(1, len(rows))
        if np.isfinite(scores[item])
        and (rules.filter is None or FILTERS[rules.filter](rows[item]))
        and (rules.only is None or catalog.ids.ids[item - 1] in rules.only)
        and catalog.ids.ids[item - 1] not in rules.exclude
    ]
    ranking = sorted(allowed, key=lambda item: (-total[item], item))

    def labels(item: int, name: str) -> set[Any]:
        value = rows[item][name]
        return set(value) if isinstance(value, list) else {value} - {None, ""}

    def fits(item: int, chosen: list[int]) -> bool:
        return all(
            sum(label in labels(other, name) for other in chosen) < limit
            for name, limit in rules.at_most.items()
            for label in labels(item, name)
        )

    plain: list[int] = []
    for item in ranking:
        if len(plain) < k and fits(item, plain):
            plain.append(item)
    if not rules.diversity or len(plain) < 2:
        return plain, [float(total[item]) for item in plain]
    spread = total[plain[0]] - total[plain[-1]] or 1.0
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    unit = vectors / np.where(lengths > 0, lengths, 1)[:, None]
    chosen: list[int] = []
    while len(chosen) < k:
        left = [item for item in ranking if item not in chosen and fits(item, chosen)]
        if not left:
            break
        gain = [
            (1 - rules.diversity) * (total[item] - total[plain[-1]]) / spread
            - (rules.diversity * max(unit[item] @ unit[other] for other in chosen) if chosen else 0)
            for item in left
        ]
        # Of items that are equal but for rounding the first one is taken, here and there.
        chosen.append(left[int(np.argmax(np.round(gain, 5)))])
    return chosen, [float(total[item]) for item in chosen]


IDS = st.lists(st.sampled_from([*CATALOG.ids.ids, "gone"]), max_size=30)
RULES = st.builds(
    Rules,
    exclude=IDS,
    only=st.none() | IDS.map(lambda ids: [*ids, "i1", "i8"]),
    filter=st.none() | st.sampled_from(sorted(FILTERS)),
    at_most=st.dictionaries(st.sampled_from(["brand", "tags", "price"]), st.integers(1, 3), max_size=2),
    boost=st.dictionaries(st.sampled_from(sorted(BOOSTS)), st.sampled_from([-2.0, 0.5, 3.0]), max_size=2),
)


def made(kind: str) -> Any:
    model = GivenLifts(CATALOG) if kind == "lifts" else GivenVectors(CATALOG)
    model._popularity = np.arange(COUNT + 1, dtype=np.float32) * 7 % 11
    return model


def flat(model: Any, catalog: ItemCatalog = CATALOG, kind: str = "flat", **settings: Any) -> ItemIndex:
    known = model.known_items()
    return ItemIndex.build(model.item_embeddings()[known], catalog.ids.decode(known), kind=kind, model_hash=model.model_hash, **settings)


SERVERS = {
    (kind, where): (model := made(kind)).serve(flat(model) if where == "flat" else None)
    for kind in ("plain", "lifts")
    for where in ("none", "flat")
}


@settings(max_examples=150, deadline=None)
@given(
    rules=RULES,
    kind=st.sampled_from(["plain", "lifts"]),
    where=st.sampled_from(["none", "flat"]),
    histories=st.lists(st.lists(st.integers(1, COUNT), max_size=5), min_size=1, max_size=3),
    k=st.sampled_from([1, 3, 8, 100]),
    exclude_seen=st.booleans(),
)
def test_lists_are_those_of_brute_force(
    rules: Rules, kind: str, where: str, histories: list[list[int]], k: int, exclude_seen: bool
) -> None:
    server = SERVERS[kind, where]
    model: Any = server.model
    rows = Ragged.from_rows(histories)
    found = server.recommend(rows, k, exclude_seen=exclude_seen, rules=rules)
    scores = np.concatenate(list(model.score_all(rows)))
    for row, history in enumerate(histories):
        if exclude_seen:
            scores[row, history] = -np.inf
        items, values = brute_force(scores[row], rules, CATALOG, np.nan_to_num(model.vectors), k)
        assert found.items[row] == CATALOG.ids.decode(items)
        assert found.scores[row] == pytest.approx(values)


class FloatVectors(GivenVectors):
    """Vectors of which no two are equally near, so that no list hangs on rounding."""

    def __init__(self, catalog: ItemCatalog) -> None:
        super().__init__(catalog)
        known = np.isfinite(self.vectors)
        self.vectors = np.where(known, np.random.default_rng(3).standard_normal(self.vectors.shape), np.nan).astype(np.float32)
        self.vectors[0] = 0


FLOATS = [(model := FloatVectors(CATALOG)).serve(index) for index in (None, flat(FloatVectors(CATALOG)))]


@settings(max_examples=100, deadline=None)
@given(
    rules=RULES,
    weight=st.sampled_from([0.05, 0.3, 0.5, 0.9, 1.0]),
    history=st.lists(st.integers(8, COUNT), min_size=1, max_size=5),
    k=st.sampled_from([2, 5, 9]),
    where=st.sampled_from([0, 1]),
)
def test_varied_lists_are_those_of_brute_force(rules: Rules, weight: float, history: list[int], k: int, where: int) -> None:
    rules = rules.model_copy(update={"diversity": weight})
    server = FLOATS[where]
    model: Any = server.model
    rows = Ragged.from_rows([history])
    found = server.recommend(rows, k, rules=rules)
    scores = next(model.score_all(rows))
    scores[0, history] = -np.inf
    items, values = brute_force(scores[0], rules, CATALOG, np.nan_to_num(model.vectors), k)
    assert found.items[0] == CATALOG.ids.decode(items)
    assert found.scores[0] == pytest.approx(values, abs=1e-4)
