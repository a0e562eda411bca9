"""What `evaluate` counts stands in what `recommend` gives: for every model, choice, index, reranker and output format."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from given_vectors import GivenLifts, GivenVectors
from hypothesis import given, settings
from hypothesis import strategies as st

import bertrec
from bertrec.cli.lists import give_out
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split, leave_one_out
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender
from bertrec.rerank.evaluation import evaluate_reranked
from bertrec.rerank.kinds import load_with_record, recommend_reranked, save_reranker, train_reranker
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.lists import Known, ListMaker, UserList, answering

KS = (1, 3, 10, 30)
CLOSED = ("ease", "ease-lists", "itemknn", "als", "ease-text")
SEQUENTIAL = ("idrec", "unisrec", "unisrec:text", "vqrec", "vqrec:id", "morec", "hstu", "bert4rec")
MODELS = ("popularity", "text-similarity", "max-similarity", *SEQUENTIAL, "alpharec", "svd", *CLOSED)
GIVEN = ("given", "given+3", "given-3", "lifts", "withdrawn")


@pytest.fixture(scope="module")
def shop(catalog: ItemCatalog) -> Split:
    """Orders with many repeats; two items were never sold before the end, so that an ID model does not know them."""
    draw = np.random.default_rng(3)
    rows = [(f"u{user}", catalog.ids.ids[int(draw.zipf(1.5)) % 18], step) for user in range(60) for step in range(3 + user % 9)]
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


@pytest.fixture(scope="module")
def fitted(shop: Split, small: dict[str, Any]) -> Callable[[str], Recommender]:
    made: dict[str, Recommender] = {}
    quick = small | {"train.epochs": 2}

    def make(name: str) -> Recommender:
        if name.startswith("given"):
            model: Recommender = GivenVectors(shop.catalog, float(name.removeprefix("given") or 0))
            model.keep_popularity(shop.train)
            return model
        if name == "lifts":
            return GivenLifts(shop.catalog)
        if name == "withdrawn":
            return GivenLifts(replace(shop.catalog, withdrawn=np.arange(len(shop.catalog)) % 3 == 0))
        if name == "svd":
            import my_models

            return my_models.PureSVD().fit(shop.train)
        if name == "ease-lists":
            return bertrec.create("ease", settings={"neighbours": 4}).fit(shop.train)
        if name == "als":
            pytest.importorskip("implicit")
        kind, _, item_input = name.partition(":")
        probe = bertrec.create(kind, item_input=item_input or None)
        own = {name: value for name, value in quick.items() if name in probe.flat_settings(probe.config)}
        return bertrec.create(kind, item_input=item_input or None, settings=own).fit(shop.train, progress=False)

    return lambda name: made[name] if name in made else made.setdefault(name, make(name))


def random_users(catalog: ItemCatalog, seed: int, n: int = 40) -> EvaluationSet:
    """Histories of no to nine items with repeats, one target each, a fifth of them in the history."""
    draw = np.random.default_rng(seed)
    rows = [draw.integers(1, len(catalog) + 1, draw.integers(0, 10)).tolist() for _ in range(n)]
    targets = [[row[0]] if row and draw.random() < 0.2 else [int(draw.integers(1, len(catalog) + 1))] for row in rows]
    return EvaluationSet([f"x{row}" for row in range(n)], Ragged.from_rows(rows), Ragged.from_rows(targets))


def counted(report: Report, k: int) -> set[Any]:
    hits = report.per_user(f"HR@{k}") > 0
    return {report.users[row] for row, hit in zip(report.slices["all"].rows.tolist(), hits.tolist(), strict=True) if hit}


def served(data: EvaluationSet, catalog: ItemCatalog, lists: list[list[Any]]) -> set[Any]:
    """Return whose target is in the list."""
    wanted = [catalog.ids.decode(row)[0] for row in data.targets]
    return {user for user, item, items in zip(data.users, wanted, lists, strict=True) if item in items}


def tied(model: Recommender, data: EvaluationSet) -> set[Any]:
    """Return whose target has the score of another item, exactly or but for rounding."""
    scores = np.concatenate(list(model.score_all(data.histories)))
    own = scores[np.arange(len(data)), data.targets.values]
    near = np.isclose(scores[:, 1:], own[:, None], rtol=1e-5, atol=1e-6).sum(axis=1) > 1
    return {user for user, tie in zip(data.users, near.tolist(), strict=True) if tie}


def agree(found: set[Any], given: set[Any], ties: set[Any]) -> None:
    assert found <= given
    assert given - found <= ties


def a_flat_index(model: Recommender) -> ItemIndex:
    known = model.known_items()
    return ItemIndex.build(model.item_embeddings()[known], model.catalog.ids.decode(known), kind="flat", model_hash=model.model_hash)


def test_no_fit_changes_the_data(fitted: Callable[[str], Recommender], shop: Split) -> None:
    before = [array.copy() for array in (shop.train.sequences.values, shop.train.sequences.offsets)]
    for name in MODELS:
        fitted(name)
        for array, was in zip((shop.train.sequences.values, shop.train.sequences.offsets), before, strict=True):
            np.testing.assert_array_equal(array, was, err_msg=name)


@pytest.mark.parametrize("keep_seen", [False, True])
@pytest.mark.parametrize("name", [*MODELS, *GIVEN])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_every_hit_is_in_the_list_and_every_untied_one_is_counted(
    fitted: Callable[[str], Recommender], name: str, keep_seen: bool, seed: int
) -> None:
    model = fitted(name)
    data, rules = random_users(model.catalog, seed), Protocol(ks=KS, bootstrap=0, mask_seen=not keep_seen)
    counts, ties = np.ones(len(model.catalog) + 1, np.int64), tied(model, data)
    whole = bertrec.evaluate(model, data, protocol=rules, item_counts=counts)
    index = None if keep_seen and model.repeat_bias < 0 else a_flat_index(model)
    through = None if index is None else bertrec.evaluate(model, data, protocol=rules, item_counts=counts, index=index)
    for k in KS:
        lists = model.recommend(data.histories, k, exclude_seen=not keep_seen).items
        agree(counted(whole, k), served(data, model.catalog, lists), ties)
        if through is not None:
            lists = model.recommend(data.histories, k, exclude_seen=not keep_seen, index=index).items
            agree(counted(through, k), served(data, model.catalog, lists), ties)


@pytest.mark.parametrize("keep_seen", [False, True])
@pytest.mark.parametrize("kind", ["composite", "my_rankers:ClickRate"])
def test_reranked_hits_are_in_the_reranked_list(
    shop: Split, fitted: Callable[[str], Recommender], tmp_path: Path, kind: str, keep_seen: bool
) -> None:
    model = fitted("unisrec")
    own = {"epochs": 1} if kind == "composite" and "epochs" in bertrec.Composite().config.to_flat() else {}
    ranker, record = train_reranker(model, shop, kind=kind, candidates=10, negatives=3, mask_seen=not keep_seen, settings=own)
    save_reranker(ranker, record, tmp_path / "r")
    loaded = load_with_record(tmp_path / "r", classes=type(ranker))
    rules = Protocol(ks=(1, 3, 10), bootstrap=0, mask_seen=not keep_seen)
    data = random_users(model.catalog, 5, n=120)
    ties = tied(model, data)
    report = evaluate_reranked(
        model, loaded.reranker, data, rules, np.ones(len(model.catalog) + 1, np.int64), candidates=10, weight=loaded.weight
    )[1]
    for k in rules.ks:
        lists = recommend_reranked(
            model, tmp_path / "r", data.histories, k, candidates=10, exclude_seen=not keep_seen, classes=type(ranker)
        ).items
        agree(counted(report, k), served(data, model.catalog, lists), ties)


def in_table(printed: str) -> list[list[str]]:
    lists: list[list[str]] = []
    for line in printed.splitlines():
        if line.startswith("user "):
            lists.append([])
        elif cells := re.match(r"│ +(\d+) │ (\S+)", line):
            lists[-1].append(cells[2])
    return lists


def in_csv(printed: str) -> list[list[str]]:
    lists: dict[str, list[str]] = {f"x{row}": [] for row in range(40)}
    for row in csv.DictReader(io.StringIO(printed)):
        lists[row["user"]].append(row["id"])
    return list(lists.values())


def in_json(printed: str) -> list[list[str]]:
    return [[item["id"] for item in one["items"]] for one in json.loads(printed)["recommendations"]]


@pytest.mark.parametrize(("form", "read"), [("table", in_table), ("csv", in_csv), ("json", in_json)])
def test_every_output_format_holds_the_counted_hits(
    fitted: Callable[[str], Recommender], capsys: pytest.CaptureFixture[str], form: str, read: Callable[[str], list[list[str]]]
) -> None:
    model = fitted("idrec")
    data = random_users(model.catalog, 11)
    report = bertrec.evaluate(model, data, protocol=Protocol(ks=(5,), bootstrap=0), item_counts=np.ones(len(model.catalog) + 1, np.int64))
    cases = [UserList(user, model.catalog.ids.decode(row)) for user, row in zip(data.users, data.histories, strict=True)]
    ListMaker(Known(model.catalog), answering(model, 5), model.name).filled(cases)
    capsys.readouterr()
    give_out(model.catalog, cases, form=form)
    lists = read(capsys.readouterr().out)
    assert len(lists) == len(data)
    agree(counted(report, 5), served(data, model.catalog, lists), tied(model, data))


def test_a_small_catalogue_gives_no_hits_for_items_without_a_score(shop: Split, fitted: Callable[[str], Recommender]) -> None:
    """Twenty items, a list of thirty: an item that the model does not know is in no list, whatever its place among the candidates."""
    model = fitted("idrec")
    unknown = np.setdiff1d(np.arange(1, len(model.catalog) + 1), model.known_items())
    assert len(unknown)
    data = EvaluationSet(["a"], Ragged.from_rows([[1, 2]]), Ragged.from_rows([[int(unknown[0])]]))
    report = bertrec.evaluate(model, data, protocol=Protocol(ks=(30,), bootstrap=0), item_counts=shop.train.item_counts)
    assert report.mean("HR@30") == 0.0


def test_an_approximate_index_is_measured_by_what_it_serves(fitted: Callable[[str], Recommender]) -> None:
    """An index that lacks an item cannot serve it; without the index it is a hit."""
    model = fitted("unisrec")
    data = random_users(model.catalog, 2)
    first = model.recommend(data.histories, 1).items
    targets = Ragged.from_rows([model.catalog.ids.encode(row).tolist() for row in first])
    best = EvaluationSet(data.users, data.histories, targets)
    rules, counts = Protocol(ks=(1,), bootstrap=0), np.ones(len(model.catalog) + 1, np.int64)
    assert bertrec.evaluate(model, best, protocol=rules, item_counts=counts).mean("HR@1") == 1.0
    index = a_flat_index(model)
    gone = first[0][0]
    index.remove([gone])
    report = bertrec.evaluate(model, best, protocol=rules, item_counts=counts, index=index)
    assert report.per_user("HR@1").tolist() == [float(row[0] != gone) for row in first]
    assert report.protocol["index"]["items"] == len(model.known_items()) - 1


class TestFallback:
    """Users of whom nothing is known are served, and measured, by popularity."""

    def test_an_empty_history_gets_the_most_popular_items_marked(self, shop: Split, fitted: Callable[[str], Recommender]) -> None:
        order = np.lexsort((np.arange(len(shop.catalog)), -shop.train.item_counts[1:]))[:5] + 1
        for name in ("text-similarity", "idrec", "unisrec", "svd"):
            found = fitted(name).recommend([[], [shop.catalog.ids.ids[0]]], 5)
            assert found.items[0] == shop.catalog.ids.decode(order), name
            assert found.scores[0] == shop.train.item_counts[order].tolist(), name
            assert found.fallback == ["popularity", None], name

    def test_unknown_ids_are_reported_and_stop_nobody(self, fitted: Callable[[str], Recommender], caplog: pytest.LogCaptureFixture) -> None:
        model = fitted("unisrec")
        known = model.catalog.ids.ids[0]
        found = model.recommend([["nope", "neither"], [known, "gone"], [known]], 3)
        assert found.unknown == {0: ["nope", "neither"], 1: ["gone"]}
        assert found.fallback == ["popularity", None, None]
        assert found.items[1] == found.items[2]
        assert "3 of 5 ids in histories are no items, such as 'nope' (history 1)" in caplog.text

    def test_it_survives_saving_and_another_catalogue(self, fitted: Callable[[str], Recommender], tmp_path: Path) -> None:
        model = fitted("unisrec")
        model.save_pretrained(tmp_path / "model")
        loaded = Recommender.from_pretrained(tmp_path)  # a run's folder holds the model one below
        assert loaded.recommend([[]], 4) == model.recommend([[]], 4)
        assert loaded.model_hash == model.model_hash
        frame = pd.DataFrame({"item_id": ["new", *model.catalog.ids.ids[::-1]], "title": ["red new", *model.catalog.titles[::-1]]})
        moved = loaded.with_catalog(ItemCatalog.from_frame(frame))
        popular = dict(zip(moved.catalog.ids.ids, moved.popularity[1:].tolist(), strict=True))
        assert popular == {"new": 0.0} | dict(zip(model.catalog.ids.ids, model.popularity[1:].tolist(), strict=True))

    def test_a_model_that_keeps_none_says_so(self, catalog: ItemCatalog) -> None:
        found = GivenVectors(catalog).recommend([[]], 2)
        assert found.fallback == ["catalogue order"]
        assert found.items == [catalog.ids.ids[:2]]

    def test_seen_items_are_left_out_of_it(self, fitted: Callable[[str], Recommender]) -> None:
        model = fitted("idrec")
        unknown = np.setdiff1d(np.arange(1, len(model.catalog) + 1), model.known_items())
        found = model.recommend(Ragged.from_rows([[int(unknown[0])]]), 30)
        assert found.fallback == ["popularity"]
        assert len(found.items[0]) == len(model.known_items())

    def test_an_index_serves_it_without_what_was_removed(self, fitted: Callable[[str], Recommender]) -> None:
        model = fitted("unisrec")
        index = a_flat_index(model)
        best = model.recommend([[]], 3).items[0]
        assert model.recommend([[]], 3, index=index).items[0] == best
        index.remove(best[:1])
        assert model.recommend([[]], 2, index=index).items[0] == best[1:]
