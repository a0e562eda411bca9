"""A shop's products come, change and go; run and index follow in one step."""

from __future__ import annotations

import json
import os
import random
import shutil

import numpy as np
import pytest
from kills import ended, forked, killed_after, killed_at_each_step
from products import PRODUCTS, TODAY, encoder_of_products, train_on, write_products, write_shop

from bertrec.core import partial
from bertrec.core.together import changing
from bertrec.data.catalog import ItemCatalog
from bertrec.data.changes import catalog_changes
from bertrec.encoders.text import TextEncoder
from bertrec.models.base import Recommender
from bertrec.models.moving import moved
from bertrec.models.texts import read_catalog
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.folder import Run
from bertrec.runs.states import next_state, write_state


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_of_products(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    """The shop's data, whose columns have other names than ours."""
    return write_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def trained(yaml, encoder, tmp_path_factory):
    """Read-only: a model of texts and ids, and its index."""
    return train_on(yaml, encoder, tmp_path_factory.mktemp("trained"))


@pytest.fixture
def place(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "place")


@pytest.fixture
def today(tmp_path):
    return write_products(tmp_path / "today.csv")


def update(cli, place, today, *more):
    return cli("catalog", "update", place / "run", "--items", today, "--index", place / "index", *more)


def listed(out):
    return [row["id"] for row in json.loads(out)["recommendations"][0]["items"]]


class TestUpdate:
    def test_new_changed_and_vanished_products_reach_run_and_index(self, cli, place, today):
        code, out, err = update(cli, place, today)
        assert code == 0, err
        assert "new: 1 (Copper Kettle)" in out
        assert "changed: 1 (Brass Lamp shining)" in out
        assert "vanished: 1 (Red Kettle)" in out
        assert "only attributes changed: 1 (Wool Rug)" in out
        assert "added 1, replaced 1, removed 1" in out
        assert sorted(ItemIndex.load(place / "index").ids) == ["p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]
        model = Recommender.from_pretrained(place / "run")
        assert ItemIndex.load(place / "index").model_hash == model.model_hash
        assert model.catalog.titles[-1] == "Copper Kettle"
        assert model.catalog.attributes["price"].to_pylist() == [9.5, 12, 40, 30, 25, 35, 70, 60, 19]
        step = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))["updates"][-1]
        assert step["counts"] == {
            "new": 1,
            "changed": 1,
            "returned": 0,
            "vanished": 1,
            "described": 1,
            "unchanged": 5,
            "texts_to_encode": 2,
        }

    def test_new_products_are_usable_at_once(self, cli, place, today):
        assert update(cli, place, today)[0] == 0
        index = ["--index", place / "index", "--format", "json"]
        everything = listed(cli("recommend", place / "run", "--history", "Copper Kettle", "-k", "20", *index)[1])
        assert sorted(everything) == ["p2", "p3", "p4", "p5", "p6", "p7", "p8"]
        assert "p9" in listed(cli("recommend", place / "run", "--history-ids", "p2", "-k", "20", *index)[1])
        why = json.loads(cli("recommend", place / "run", "--history-ids", "p9", "-k", "3", "--why", *index)[1])["recommendations"][0]
        assert all(row["title"] for row in why["items"])
        assert "Copper Kettle" in {reason["text"] for row in why["items"] for reason in row["why"]}
        cheap = cli("recommend", place / "run", "--history-ids", "p3", "-k", "20", "--filter", "price < 20", *index)[1]
        assert sorted(listed(cheap)) == ["p2", "p9"]

    def test_a_vanished_product_is_read_in_histories_and_never_recommended(self, cli, place, today):
        before = Recommender.from_pretrained(place / "run").user_embeddings([["p1", "p4"]])
        assert update(cli, place, today)[0] == 0
        model = Recommender.from_pretrained(place / "run")
        np.testing.assert_allclose(model.user_embeddings([["p1", "p4"]]), before, rtol=1e-4, atol=1e-5)
        for index in (None, ItemIndex.load(place / "index")):
            found = model.recommend([["p1", "p4"], []], k=20, exclude_seen=False, index=index)
            assert all("p1" not in items and len(items) == 8 for items in found.items)
        # User 8 began with p1: the run's data are read over the items as they are now.
        case = json.loads(cli("recommend", place / "run", "--user", "8", "--index", place / "index", "--format", "json")[1])[
            "recommendations"
        ][0]
        assert case["history"] == ["p1", "p2", "p3", "p4"]
        assert "p1" not in {row["id"] for row in case["items"]}

    def test_it_comes_back_as_it_was(self, cli, place, today, tmp_path):
        before = Recommender.from_pretrained(place / "run")
        assert update(cli, place, today)[0] == 0
        code, out, _ = update(cli, place, write_products(tmp_path / "former.csv", PRODUCTS), "--drop-vanished")
        assert code == 0
        assert "returned: 1 (Red Kettle)" in out
        after = Recommender.from_pretrained(place / "run")
        assert after.catalog.content_hash == before.catalog.content_hash
        np.testing.assert_allclose(after.item_embeddings(), before.item_embeddings(), rtol=1e-4, atol=1e-5)

    def test_dropped_products_are_forgotten(self, cli, place, today):
        assert update(cli, place, today, "--drop-vanished")[0] == 0
        assert "p1" not in Recommender.from_pretrained(place / "run").catalog.ids

    def test_only_texts_that_nobody_knew_are_encoded(self, cli, place, today, monkeypatch):
        seen = []
        encode = TextEncoder.encode
        monkeypatch.setattr(TextEncoder, "encode", lambda self, texts, **how: seen.extend(texts) or encode(self, texts, **how))
        assert update(cli, place, today)[0] == 0
        assert sorted(seen) == ["Brass Lamp shining light", "Copper Kettle kitchen"]

    def test_so_it_is_with_fields_apart(self, cli, yaml, encoder, today, tmp_path, monkeypatch):
        settings = [f"encoder.name={encoder}", "item.fields=apart", "item.width=16", "head.layers=1", "train.batch_size=16"]
        words = [word for setting in settings for word in ("--set", setting)]
        assert cli("train", yaml, "--out", tmp_path / "run", "--epochs", "1", *words)[0] == 0
        assert cli("index", "build", tmp_path / "run", "--out", tmp_path / "index")[0] == 0
        seen = []
        encode = TextEncoder.encode
        monkeypatch.setattr(TextEncoder, "encode", lambda self, texts, **how: seen.extend(texts) or encode(self, texts, **how))
        code, _, err = update(cli, tmp_path, today)
        assert code == 0, err
        assert sorted(seen) == ["Brass Lamp shining", "Copper Kettle"]
        model = Recommender.from_pretrained(tmp_path / "run")
        fresh = read_catalog(model.encoder(), model.catalog, model.text_fields, progress=False)
        assert fresh.shape == (9, 64)
        assert model.state_dict()["catalog.text_vectors"].numpy() == pytest.approx(fresh, abs=1e-6)
        assert cli("search", tmp_path / "run", "copper kettle", "-k", "1", "--format", "json")[0] == 0

    def test_a_dry_run_changes_nothing(self, cli, place, today):
        before = files_of(place)
        code, out, _ = update(cli, place, today, "--dry-run")
        assert code == 0
        assert "new: 1 (Copper Kettle)" in out
        assert "unchanged: 5; texts to encode: 2" in out
        assert files_of(place) == before

    @pytest.mark.parametrize("what", ["of another run", "absent"])
    def test_a_dry_run_refuses_the_indexes_that_the_update_would(self, cli, place, today, tmp_path, what):
        index = tmp_path / "other"
        if what == "of another run":
            ItemIndex.build(np.eye(3, dtype=np.float32), ["a", "b", "c"], model_hash="another").save(index)
        dry, real = (cli("catalog", "update", place / "run", "--items", today, "--index", index, *more) for more in (["--dry-run"], []))
        assert dry == real
        assert dry[0] == 2

    def test_a_second_time_there_is_nothing_to_change(self, cli, place, today):
        assert update(cli, place, today)[0] == 0
        before = files_of(place)
        assert update(cli, place, today)[1] == "nothing to change\n"
        assert files_of(place) == before

    def test_of_vanished_products_there_are_no_vectors_and_it_is_said_why(self, cli, place, today, tmp_path):
        assert update(cli, place, today)[0] == 0
        code, _, err = cli("index", "build", place / "run", "--out", tmp_path / "fresh")
        assert code == 0
        assert "note: 1 of 9 items have vanished from the catalogue: they are left out" in err.splitlines()
        assert "knows nothing" not in err

    @pytest.mark.parametrize(("rows", "said"), [([PRODUCTS[0]], ""), ([PRODUCTS[0], ("p77", "Tin Kettle", *PRODUCTS[0][2:])], "1 of them")])
    def test_index_add_says_what_the_run_does_not_know(self, cli, place, tmp_path, rows, said):
        assert cli("index", "remove", place / "index", "--id", PRODUCTS[0][0])[0] == 0
        table = write_products(tmp_path / "more.csv", rows)
        code, _, err = cli("index", "add", place / "index", "--run", place / "run", "--items", table)
        assert code == 0, err
        assert [line.split(": ")[1] for line in err.splitlines() if "does not know" in line] == (
            [f"{place / 'run'} does not know {said}"] if said else []
        )

    def test_a_vanished_product_that_is_added_to_the_index_alone_is_in_no_list(self, cli, place, today, tmp_path):
        assert update(cli, place, today)[0] == 0
        red = next(row for row in PRODUCTS if row[1] == "Red Kettle")
        code, _, err = cli("index", "add", place / "index", "--run", place / "run", "--items", write_products(tmp_path / "red.csv", [red]))
        assert code == 0, err
        assert f"note: 1 of them have vanished from {place / 'run'}: no list of it holds them" in err
        assert red[0] in ItemIndex.load(place / "index").ids
        asked = ("recommend", place / "run", "--history", "Blue Kettle", "-k", "20", "--format", "json")
        assert red[0] not in listed(cli(*asked, "--index", place / "index")[1])

    def test_prices_alone_leave_the_index(self, cli, place, tmp_path):
        rows = [(*row[:3], "1") for row in PRODUCTS]
        before = files_of(place / "index")
        code, out, _ = update(cli, place, write_products(tmp_path / "sale.csv", rows))
        assert code == 0
        assert "only attributes changed: 8" in out
        assert files_of(place / "index") == before
        assert set(Recommender.from_pretrained(place / "run").catalog.attributes["price"].to_pylist()) == {1}

    def test_a_price_that_is_no_number_is_told_before_filters_fail(self, cli, place, tmp_path):
        rows = [(*PRODUCTS[0][:3], "on request"), *PRODUCTS[1:]]
        code, _, err = update(cli, place, write_products(tmp_path / "sale.csv", rows), "--dry-run")
        assert code == 0
        assert "sale.csv: column 'price' was a number and is text now, such as 'on request'" in err

    def test_a_part_adds_and_changes_alone(self, cli, place, tmp_path):
        code, out, _ = update(cli, place, write_products(tmp_path / "part.csv", TODAY[-1:]), "--delta")
        assert code == 0
        assert "vanished: 0" in out
        assert len(ItemIndex.load(place / "index")) == 9

    def test_an_index_that_was_left_behind_is_named_and_brought_along(self, cli, place, today):
        assert cli("catalog", "update", place / "run", "--items", today)[0] == 0
        code, _, err = cli("recommend", place / "run", "--index", place / "index", "--history-ids", "p2")
        assert code == 2
        assert f"holds an earlier state of {place / 'run'}: bring it along with bertrec catalog update {place / 'run'} --index" in err
        code, out, err = cli("catalog", "update", place / "run", "--index", place / "index")
        assert code == 0, err
        assert "added 1, replaced 1, removed 1" in out
        assert cli("recommend", place / "run", "--index", place / "index", "--history-ids", "p9")[0] == 0

    def test_data_with_todays_products_go_with_the_updated_run_and_index(self, cli, place, today, yaml, tmp_path):
        folder = shutil.copytree(yaml.parent, tmp_path / "grown")
        shutil.copy(today, folder / "products.csv")
        words = ["recommend", place / "run", "--data", folder / "shop.yaml", "--user", "8", "--index", place / "index", "--format", "json"]
        code, _, err = cli(*words)
        assert code == 2
        assert f"has other items than {place / 'index'}: bring run and index to them with bertrec catalog update" in err
        mend = err.split(" with ")[1].split()
        assert mend[:3] == ["bertrec", "catalog", "update"]
        assert cli(*mend[1:])[0] == 0
        code, out, err = cli(*words)
        assert code == 0, err
        assert json.loads(out)["recommendations"][0]["history"] == ["p1", "p2", "p3", "p4"]

    def test_index_add_reads_the_names_of_the_yaml_too(self, cli, place, tmp_path):
        table = write_products(tmp_path / "new.csv", TODAY[-1:])
        code, _, err = cli("index", "add", place / "index", "--run", place / "run", "--items", table)
        assert code == 0, err
        assert "bertrec catalog update" in err
        assert "p9" in ItemIndex.load(place / "index").ids
        assert update(cli, place, write_products(tmp_path / "all.csv", [*PRODUCTS, TODAY[-1]]))[0] == 0
        assert len(ItemIndex.load(place / "index")) == 9

    def test_an_updated_run_is_measured_on_what_it_was_trained_on(self, cli, place, today, tmp_path):
        assert cli("evaluate", place / "run", "--json", tmp_path / "before.json")[0] == 0
        assert update(cli, place, today)[0] == 0
        assert cli("evaluate", place / "run", "--json", tmp_path / "after.json")[0] == 0
        before, after = (json.loads((tmp_path / name).read_text())["slices"]["all"] for name in ("before.json", "after.json"))
        assert before["users"] == after["users"] == 16


def files_of(place):
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


class TestFaults:
    def refused(self, cli, place, words, *said):
        before = files_of(place)
        code, out, err = cli("catalog", "update", *words)
        assert (code, out) == (2, "")
        assert err.splitlines()[-1].startswith("bertrec: ")
        assert all(text in err for text in said), err
        assert files_of(place) == before

    def test_an_id_twice_with_different_content(self, cli, place, tmp_path):
        rows = [*TODAY, ("p9", "Copper Kettle", "kitchen", "21")]
        table = write_products(tmp_path / "twice.csv", rows)
        words = [place / "run", "--items", table, "--index", place / "index"]
        self.refused(cli, place, words, "item id 'p9' occurs twice with different 'price'")

    def test_a_file_cut_at_a_row(self, cli, place, tmp_path):
        table = write_products(tmp_path / "half.csv", PRODUCTS[:4])
        words = [place / "run", "--items", table, "--index", place / "index"]
        self.refused(cli, place, words, "lacks 4 of 8 products (50%)", "half written", "--max-vanished 0.51")
        assert cli("catalog", "update", *words, "--max-vanished", "0.51")[0] == 0

    def test_ids_that_are_written_otherwise(self, cli, place, tmp_path):
        table = write_products(tmp_path / "other.csv", [(f"0{row[0]}", *row[1:]) for row in PRODUCTS])
        said = "none of its ids is one of the run's: it has '0p1', and the run 'p1': write them alike, or say --max-vanished 1"
        self.refused(cli, place, [place / "run", "--items", table, "--index", place / "index"], said)

    def test_a_share_that_nothing_is_held_against(self, cli, place, today):
        words = [place / "run", "--items", today, "--delta", "--max-vanished", "0.5"]
        self.refused(cli, place, words, "--max-vanished goes with a table of all products")
        self.refused(cli, place, [place / "run", "--index", place / "index", "--max-vanished", "1"], "--max-vanished goes with")

    def test_a_file_cut_in_a_row(self, cli, place, tmp_path):
        table = write_products(tmp_path / "half.csv")
        table.write_text(table.read_text(encoding="utf-8")[:-18], encoding="utf-8")
        self.refused(cli, place, [place / "run", "--items", table, "--index", place / "index"], "half.csv")

    def test_a_file_that_lacks_a_text_field(self, cli, place, tmp_path):
        table = tmp_path / "bare.csv"
        table.write_text("sku,name\np1,Red Kettle\n", encoding="utf-8")
        self.refused(cli, place, [place / "run", "--items", table], "lacks the text field kind", "columns:")

    def test_an_index_of_another_run(self, cli, place, today):
        ItemIndex.build(np.eye(8, 16), [f"p{row}" for row in range(1, 9)], model_hash="another").save(place / "other")
        words = [place / "run", "--items", today, "--index", place / "other"]
        self.refused(cli, place, words, f"{place / 'other'} does not belong to {place / 'run'}")

    def test_no_products(self, cli, place):
        self.refused(cli, place, [place / "run"], "--items TABLE")

    def test_a_model_of_ids_cannot_take_new_products(self, cli, yaml, today, tmp_path):
        words = ["--model", "idrec", "--epochs", "1", "--set", "item.width=8", "--out", tmp_path / "run"]
        assert cli("train", yaml, *words)[0] == 0
        self.refused(cli, tmp_path, [tmp_path / "run", "--items", today], "cannot move to other items")

    def test_a_second_update_at_the_same_time(self, cli, place, today):
        with changing(place / "run"):
            code, out, err = update(cli, place, today)
        assert (code, out) == (2, "")
        assert "is in use: another bertrec process is training into it or updating it" in err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
class TestKilled:
    @pytest.fixture
    def states(self, place, today):
        """The run with its index, and two models that are its states in turn."""
        run = Run(place / "run")
        old = run.load_model()
        rows = [[*row[:3]] for row in TODAY]
        fields = {"title": [row[1] for row in rows], "kind": [row[2] for row in rows]}
        found = catalog_changes(old.catalog, ItemCatalog(type(old.catalog.ids)(row[0] for row in rows), fields))
        new = moved(old, found.catalog)
        for model in (old, new):
            model.item_embeddings()  # which the forks then need not compute
        return run, place / "index", old, new

    def step(self, states):
        run, index, old, new = states
        record = run.record()
        before, after = (old, new) if record["model_hash"] == old.model_hash else (new, old)
        with next_state(run) as change:
            write_state(change, run, record, kind="catalog", before=before, after=after, counts={}, indexes=[index])

    def check(self, states, *, first):
        """Read run and index, the one or the other first; whether they are new."""
        run, index, old, new = states
        held = ItemIndex.load(index).model_hash if first == "index" else None
        hashes = {run.record()["model_hash"], run.load_model().model_hash, ItemIndex.load(index).model_hash, *([held] if held else [])}
        assert len(hashes) == 1
        assert hashes <= {old.model_hash, new.model_hash}
        return hashes == {new.model_hash}

    @pytest.mark.parametrize(("at_once", "first"), [(True, "run"), (True, "index"), (False, "run")])
    def test_100_kills_leave_one_state(self, states, at_once, first, monkeypatch):
        if not at_once:
            monkeypatch.setattr(partial, "_exchange", lambda *_: False)
        seen = [self.check(states, first=first) for _ in killed_at_each_step(lambda: self.step(states))]
        draw = random.Random(0)
        while len(seen) < 100:
            killed_after(lambda: self.step(states), draw.uniform(0, 0.1))
            seen.append(self.check(states, first=first))
        assert set(seen) == {True, False}
        self.step(states)
        assert not list(states[0].folder.parent.rglob(".*"))

    def test_readers_beside_updates_find_one_state(self, cli, states):
        run, index, *_ = states

        def work():
            for _ in range(12):
                self.step(states)

        child = forked(work)
        words = ["recommend", run.folder, "--index", index, "--history-ids", "p2", "--format", "json"]
        codes = [cli(*words)[0] for _ in range(12)]
        assert ended(child) == 0
        assert codes == [0] * 12

    def test_a_full_disk_loses_nothing(self, cli, place, today, monkeypatch):
        before = files_of(place)
        save = ItemIndex.save

        def full(self, folder):
            save(self, folder)
            raise OSError(28, "No space left on device", str(folder))

        monkeypatch.setattr(ItemIndex, "save", full)
        code, _, err = update(cli, place, today)
        assert code == 2
        assert "No space left on device" in err
        assert files_of(place) == before


class TestInteractions:
    def write(self, path, *rows):
        path.write_text("\n".join(["customer,sku,when", *rows]) + "\n", encoding="utf-8")
        return path

    def history(self, cli, run, user, *more):
        out = cli("recommend", run, "--user", user, "--format", "json", *more)[1]
        return json.loads(out)["recommendations"][0]["history"]

    def test_histories_grow_for_serving_without_training(self, cli, place, tmp_path):
        run = place / "run"
        table = self.write(tmp_path / "sales.csv", "1,p7,9.5", "1,p8,0.7", "new,p3,1.5")
        model_hash = Recommender.from_pretrained(run).model_hash
        code, out, err = cli("update", run, "--interactions", table)
        assert code == 0, err
        assert "took in 3 interactions of 2 users, 1 of them new" in out
        assert self.history(cli, run, "1", "--index", place / "index") == ["p2", "p8", "p3", "p4", "p5", "p7"]
        assert self.history(cli, run, "new") == ["p3"]
        assert Recommender.from_pretrained(run).model_hash == model_hash
        code, out, err = cli("update", run, "--interactions", table)
        assert (code, out) == (0, "nothing new\n")
        assert "3 of 3 interactions are known already" in err

    def test_prices_are_those_of_the_data_until_a_catalogue_was_brought(self, cli, encoder, tmp_path):
        yaml = write_shop(tmp_path)
        place = train_on(yaml, encoder, tmp_path)
        sales = self.write(tmp_path / "today.csv", "1,p7,9.5")

        def cheap():
            code, out, err = cli("recommend", place / "run", "--user", "1", "--keep-seen", "--filter", "price < 2", "--format", "json")
            assert code == 0, err
            return sorted(listed(out))

        write_products(tmp_path / "products.csv", [(*row[:3], "1") for row in PRODUCTS[:2]] + PRODUCTS[2:])
        assert cheap() == ["p1", "p2"]
        assert cli("update", place / "run", "--interactions", sales)[0] == 0
        assert cheap() == ["p1", "p2"]
        own = write_products(tmp_path / "own.csv", [*PRODUCTS[:7], (*PRODUCTS[7][:3], "1")])
        assert cli("catalog", "update", place / "run", "--items", own)[0] == 0
        assert cheap() == ["p8"]

    def test_they_grow_with_new_products_of_an_updated_run(self, cli, place, today, tmp_path):
        assert update(cli, place, today)[0] == 0
        table = self.write(tmp_path / "sales.csv", "1,p9,9.5")
        assert cli("update", place / "run", "--interactions", table)[0] == 0
        assert self.history(cli, place / "run", "1", "--index", place / "index")[-1] == "p9"
        assert cli("embed", place / "run", "--what", "users", "--out", tmp_path / "users.parquet")[0] == 0

    def test_training_goes_on_and_takes_the_index_along(self, cli, place, today, tmp_path):
        assert update(cli, place, today)[0] == 0
        before = Recommender.from_pretrained(place / "run")
        table = self.write(tmp_path / "sales.csv", *(f"{user},p9,{9 + user}.5" for user in range(1, 9)))
        words = ["update", place / "run", "--interactions", table, "--train", "--epochs", "1", "--index", place / "index"]
        code, out, err = cli(*words)
        assert code == 0, err
        assert "took in 8 interactions of 8 users, 0 of them new" in out
        after = Recommender.from_pretrained(place / "run")
        assert after.catalog.content_hash == before.catalog.content_hash
        assert after.model_hash != before.model_hash
        assert after.config == before.config
        assert after.popularity[-1] == 0  # the newest interaction of each is held out
        assert self.history(cli, place / "run", "1", "--index", place / "index")[-1] == "p9"
        record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
        assert record["later_trained"] == 8
        assert cli("evaluate", place / "run", "--json", tmp_path / "figures.json")[0] == 0
        split = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["protocol"]["split"]
        assert split["counts"] == record["manifest"]["counts"]

    def test_whoever_is_forgotten_is_gone_from_them_and_does_not_come_back(self, cli, place, tmp_path):
        run = place / "run"
        table = self.write(tmp_path / "sales.csv", "1,p7,9.5", "2,p8,9.5", "new,p3,1.5")
        assert cli("update", run, "--interactions", table, "--train", "--epochs", "1")[0] == 0
        code, out, err = cli("forget", run, "--user", "1", "--user", "new")
        assert code == 0, err
        assert "interactions.parquet: rows taken out: 2" in out
        assert json.loads((run / "run.json").read_text(encoding="utf-8"))["later_trained"] == 1
        assert self.history(cli, run, "2") == ["p3", "p4", "p5", "p6", "p8"]
        assert cli("evaluate", run, "--json", tmp_path / "figures.json")[0] == 0
        assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))["slices"]["all"]["users"] == 15
        code, out, err = cli("update", run, "--interactions", self.write(tmp_path / "more.csv", "1,p7,9.5", "2,p7,10.5"))
        assert code == 0, err
        assert "took in 1 interactions of 1 users" in out
        assert "1 interactions are of people whom the run was told to forget (passed over)" in err

    def test_a_run_that_is_trained_anew_forgets_them(self, cli, place, yaml, encoder, tmp_path):
        table = self.write(tmp_path / "sales.csv", "1,p7,9.5")
        assert cli("update", place / "run", "--interactions", table)[0] == 0
        words = ["--model", "text-similarity", "--set", f"encoder.name={encoder}", "--out", place / "run", "--overwrite"]
        assert cli("train", yaml, *words)[0] == 0
        assert self.history(cli, place / "run", "1") == ["p2", "p3", "p4", "p5"]
        assert cli("update", place / "run", "--interactions", table, "--train")[0] == 0  # nothing to go on from: fitted anew

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ([], "give new interactions with --interactions TABLE"),
            (["--interactions", "SALES", "--index", "INDEX"], "--index goes with --train"),
            (["--interactions", "none.csv"], "none.csv: no such file"),
            (["--interactions", "STRANGE"], "more than half"),
            (["--interactions", "TIMELESS"], "have no times and those of the run have"),
        ],
    )
    def test_bad_input_is_one_line_and_nothing_changes(self, cli, place, tmp_path, words, said):
        (tmp_path / "timeless.csv").write_text("customer,sku\n1,p7\n", encoding="utf-8")
        places = {
            "SALES": self.write(tmp_path / "sales.csv", "1,p7,9.5"),
            "STRANGE": self.write(tmp_path / "strange.csv", "1,x,9.5"),
            "TIMELESS": tmp_path / "timeless.csv",
            "INDEX": place / "index",
        }
        before = files_of(place)
        code, out, err = cli("update", place / "run", *[places.get(word, word) for word in words])
        assert (code, out) == (2, "")
        assert said in err
        assert files_of(place) == before
