"""Lists under rules: the same as from the full matrix of scores, whatever searches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from given_vectors import GivenLifts, GivenVectors
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError, IndexFileError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.models import serving
from bertrec.rerank import kinds
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules
from bertrec.retrieval.selection import EXACT_SHARE

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


def test_caps_and_diversity_ask_for_as_much_of_the_ranking_as_they_need() -> None:
    """The hundred best items are of one brand, so that a list of three brands begins at the bottom of the ranking."""
    count = 300
    brands = ["Acme"] * (count - 2) + ["Bolt", "Core"]
    catalog = ItemCatalog(IdMap(range(count)), {}, attributes=pa.table({"brand": brands}))
    model = GivenVectors(catalog)
    model.vectors = np.zeros((count + 1, 3), np.float32)
    model.vectors[1:, 0] = np.arange(count, 0, -1)
    for index in (None, flat(model, catalog)):
        found = model.recommend([[0]], 5, index=index, rules=Rules(at_most={"brand": 1}))
        assert found.items == [[1, count - 2, count - 1]]
        assert found.scores == [[float(count * (count - 1)), 2.0 * count, 1.0 * count]]
        varied = model.recommend([[0]], 5, index=index, rules=Rules(diversity=0.5))
        assert len(varied.items[0]) == 5


@pytest.mark.parametrize("metric", ["inner_product", "cosine"])
def test_items_that_only_the_index_knows_have_no_attributes(metric: str) -> None:
    model: Any = made("plain")
    index = flat(model, metric=metric)
    index.add(np.array([[90, 90, 90], [-90, -90, -90]], np.float32), ["new", "newer"])
    index.remove(["i1"])
    server = model.serve(index)

    def listed(**rules: Any) -> list[Any]:
        found: list[Any] = server.recommend([["i8", "i9"]], 100, rules=Rules(**rules)).items[0]
        return found

    everything = listed()
    assert {"new", "newer"} <= set(everything)
    assert "i1" not in everything
    assert set(listed(filter="price < 5")).isdisjoint({"new", "newer"})
    assert {"new", "newer"} <= set(listed(filter="price is None"))
    assert set(listed(exclude=["new", "i3"])) == set(everything) - {"new", "i3"}
    assert set(listed(only=["newer", "i10", "i1"])) == {"newer", "i10"}
    assert listed(boost={"price is None": 1e6})[0] in {"new", "newer", *(f"i{at}" for at in range(COUNT) if at % 9 == 4)}
    assert {"new", "newer"} <= set(listed(at_most={"brand": 1}, diversity=0.2))


@pytest.mark.parametrize("rules", [None, Rules(filter="price < 5"), Rules(at_most={"brand": 1}), Rules(diversity=0.5)])
def test_an_index_whose_items_were_all_removed_says_so(rules: Rules | None) -> None:
    index = flat(made("plain"))
    index.remove(index.ids)
    with pytest.raises(IndexFileError, match="the index is empty"):
        made("plain").serve(index).recommend([["i8"]], 5, rules=rules)


@pytest.mark.parametrize("kind", ["plain", "lifts"])
@pytest.mark.parametrize("rules", [None, Rules(filter="price < 5"), Rules(boost={"price": 1.0}, at_most={"brand": 2})])
def test_withdrawn_items_are_in_no_list_of_an_index_that_holds_them(kind: str, rules: Rules | None) -> None:
    gone = np.zeros(COUNT, bool)
    gone[::3] = True
    model: Any = (GivenLifts if kind == "lifts" else GivenVectors)(replace(CATALOG, withdrawn=gone))
    held = made(kind)
    index = flat(held)
    index.add(np.array([[90, 90, 90]], np.float32), ["new"])
    for histories in ([["i8", "i10"]], [[]]):
        there = model.serve(index).recommend(histories, 100, rules=rules)
        alone = model.serve().recommend(histories, 100, rules=rules)
        assert set(there.items[0]) - {"new"} == set(alone.items[0])
        assert not set(there.items[0]) & {f"i{at}" for at in range(0, COUNT, 3)}


@pytest.mark.parametrize("kind", ["ivf", "hnsw", "ivfpq"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_an_approximate_index_finds_what_rules_allow(kind: str, share: float) -> None:
    """Exactly where few items are left, with a recall near that without rules where many are; k items always."""
    draw, count, k = np.random.default_rng(4), 4000, 10
    centres = draw.standard_normal((40, 16))
    vectors = (centres[draw.integers(0, 40, count)] + 0.5 * draw.standard_normal((count, 16))).astype(np.float32)
    catalog = ItemCatalog(IdMap(range(count)), {}, attributes=pa.table({"luck": draw.random(count)}))
    model = GivenVectors(catalog)
    model.vectors = np.concatenate([np.zeros((1, 16), np.float32), vectors])
    model.user_vectors = lambda histories: model.vectors[histories.last(1).values]  # type: ignore[method-assign]
    rules = Rules(filter=f"luck < {share}")
    histories = [[item] for item in range(0, count, 40)]
    index = flat(model, catalog, kind, nlist=32, nprobe=8) if kind != "hnsw" else flat(model, catalog, kind)
    found = model.recommend(histories, k, index=index, rules=rules).items
    exact = model.recommend(histories, k, rules=rules).items
    luck = catalog.attributes["luck"].to_pylist()  # type: ignore[union-attr]
    assert all(len(row) == k and all(luck[item] < share for item in row) for row in found)
    recall = np.mean([len(set(one) & set(other)) / k for one, other in zip(found, exact, strict=True)])
    assert recall == 1 if share <= EXACT_SHARE else recall >= 0.98
    assert model.recommend(histories[:3], count, index=index, rules=rules).items == [
        *(model.recommend(histories[:3], count, rules=rules).items)
    ]


def test_k_items_are_given_where_only_few_of_an_approximate_index_are_left() -> None:
    model: Any = made("plain")
    index = flat(model, kind="ivf", nlist=8, nprobe=1)
    seen = CATALOG.ids.ids[9:50]
    found = model.recommend([seen], 20, index=index, rules=Rules(exclude=["i0", "i1"]))
    assert sorted(found.items[0]) == sorted(set(CATALOG.ids.ids) - set(seen) - {"i0", "i1", "i2", "i6"})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"only": []}, "only: none of its 0 ids is an item"),
        ({"only": ["x"]}, "only: none of its 1 ids is an item, such as 'x': ids are as 'i0'"),
        ({"exclude": [3, 4]}, "exclude: none of its 2 ids is an item, such as 3: ids are as 'i0'"),
        ({"filter": "prize < 3"}, "unknown attribute 'prize': did you mean 'price'?"),
        ({"at_most": {"brnd": 1}}, "at_most: unknown attribute 'brnd': did you mean 'brand'?"),
        ({"boost": {"brand": 1.0}}, "boost 'brand': 'brand' is text"),
        ({"boost": {"price": 1e300}}, "take smaller weights"),
    ],
)
def test_rules_that_do_not_fit_the_items_say_so(values: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        SERVERS["plain", "none"].recommend([["i8"]], rules=Rules(**values))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"only": "i1"}, "give a list of ids"),
        ({"exclude": [1.5]}, "exclude"),
        ({"exclude": [True]}, "exclude"),
        ({"at_most": {"brand": 0}}, "at_most.brand"),
        ({"diversity": 1.5}, "diversity"),
        ({"boost": {"price": float("nan")}}, "boost.price"),
        ({"atmost": {}}, "did you mean 'at_most'"),
    ],
)
def test_wrong_rules_are_configuration_errors(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Rules(**values)
    assert said in str(caught.value)


def test_rules_take_any_list_of_ids_and_round_trip() -> None:
    rules = Rules(exclude=np.array([3, 4]), only=(f"i{at}" for at in range(3)), at_most={"brand": 2})
    assert (rules.exclude, rules.only) == ((3, 4), ("i0", "i1", "i2"))
    assert Rules.from_dict(rules.to_dict()) == rules
    assert rules.key != Rules().key
    with pytest.raises(DataError, match="rules"):
        SERVERS["plain", "none"].recommend([["i8"]], rules={"filter": "price < 3"})


def test_a_server_keeps_what_rules_leave_and_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_BYTES_KEPT", 4000)
    server = made("plain").serve()
    for limit in range(40):
        found = server.recommend([["i8"], []], 5, rules=Rules(filter=f"price < {limit}"))
        again = server.recommend([["i8"], []], 5, rules=Rules(filter=f"price < {limit}"))
        assert found == again
    assert 1 < len(server._ruled) < 10


def test_attributes_of_today_are_what_filters_read() -> None:
    model: Any = made("plain")
    rules = Rules(filter="price == 7")
    before = model.recommend([["i8"]], 50, rules=rules).items[0]
    model.catalog = model.catalog.with_attributes(pa.table({"item_id": ["i20", "i21", "gone"], "price": [7, 8, 7]}))
    assert before != model.recommend([["i8"]], 50, rules=rules).items[0] == ["i20"]
    with pytest.raises(DataError, match="1 rows repeat an id"):
        model.catalog.with_attributes(pa.table({"item_id": ["i20", "i20"], "price": [7, 8]}))


class LargestFirst:
    """A reranker that likes items of large inner ids."""

    def score(self, histories: Ragged, candidates: Ragged) -> np.ndarray:
        return candidates.values / 10.0


def test_a_reranker_orders_what_the_rules_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own order with boosts beside it, of candidates that keep the caps, so that the list can be filled."""
    model: Any = made("plain")
    monkeypatch.setattr(kinds, "load_with_record", lambda folder, classes: kinds.LoadedReranker(LargestFirst(), 0.0, {}))  # type: ignore[arg-type]
    monkeypatch.setattr(kinds, "check_catalogs", lambda model, reranker: None)
    rules = Rules(filter="price < 7", at_most={"price": 2}, boost={"brand == 'Core'": 3.0})
    found = kinds.recommend_reranked(model, "folder", [["i8"]], 6, candidates=10, rules=rules)
    candidates = model.recommend([["i8"]], 10, rules=rules).items[0]
    rows = dict(zip(CATALOG.ids.ids, rows_of(CATALOG), strict=True))

    def worth(item: Any) -> float:
        return float(CATALOG.ids.encode([item])[0] / 10 + 3.0 * (rows[item]["brand"] == "Core"))

    expected = sorted(candidates, key=lambda item: -worth(item))[:6]
    assert found.items == [expected]
    assert found.scores[0] == pytest.approx([worth(item) for item in expected])
    assert len(candidates) == 10
    plain = kinds.recommend_reranked(model, "folder", [["i8"]], 6, candidates=10)
    varied = kinds.recommend_reranked(model, "folder", [["i8"]], 6, candidates=10, rules=Rules(diversity=0.9))
    assert plain.items[0][0] == varied.items[0][0]
    assert plain.items != varied.items


@pytest.mark.parametrize("rules", [None, Rules(filter="price < 9")])
def test_a_reranker_orders_neither_withdrawn_items_nor_those_that_the_index_alone_has(
    rules: Rules | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = np.arange(COUNT) % 3 == 0
    model: Any = GivenVectors(replace(CATALOG, withdrawn=gone))
    index = flat(model)
    index.add(np.array([[90, 90, 90], [-90, -90, -90]], np.float32), ["new", "newer"])
    monkeypatch.setattr(kinds, "load_with_record", lambda folder, classes: kinds.LoadedReranker(LargestFirst(), 0.0, {}))  # type: ignore[arg-type]
    monkeypatch.setattr(kinds, "check_catalogs", lambda model, reranker: None)
    lists = [kinds.recommend_reranked(model, "folder", [["i8"]], 99, rules=rules, index=one).items[0] for one in (None, index)]
    assert lists[0] == lists[1]
    assert lists[0][:3] == ["i59", "i58", "i56"] if rules is None else len(lists[0]) > 9
    assert not set(lists[0]) & {f"i{at}" for at in np.flatnonzero(gone)}
