"""``bertrec queries`` and ``bertrec search --queries``, on items that are asked for in words which no text holds."""

from __future__ import annotations

import json
import os

import pytest
from planted_queries import planted, planted_encoder, write_planted

from bertrec.cli.main import main
from bertrec.data.load import load
from bertrec.models.queries.evaluate import measure_tower
from bertrec.models.queries.pairs import read_pairs
from bertrec.models.queries.tower import QueryTower
from bertrec.training import checkpoints


@pytest.fixture(scope="module")
def asked_shop(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("planted") / "shop")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return planted_encoder(tmp_path_factory.mktemp("encoder") / "static")


def words(asked_shop, encoder, out, *more, pairs=None):
    fast = [f"encoder.name={encoder}", "train.batch_size=32", "train.epochs=15", "train.learning_rate=3e-3"]
    own = ["--pairs", pairs or asked_shop / "pairs.csv", "--out", out, *(word for one in fast for word in ("--set", one))]
    return [str(word) for word in ["queries", "train", asked_shop / "data", *own, *more]]


@pytest.fixture(scope="module")
def tower(asked_shop, encoder, tmp_path_factory):
    """A trained tower; read-only."""
    out = tmp_path_factory.mktemp("runs") / "queries"
    assert main(words(asked_shop, encoder, out)) == 0
    return out


@pytest.fixture(scope="module")
def run(asked_shop, tmp_path_factory):
    """A run that reads no text; read-only."""
    out = tmp_path_factory.mktemp("runs") / "popularity"
    assert main(["train", str(asked_shop / "data"), "--model", "popularity", "--out", str(out)]) == 0
    return out


class TestMake:
    def test_it_writes_pairs_whose_phrases_are_out_of_what_is_indexed(self, cli, asked_shop, tmp_path):
        out = tmp_path / "made.jsonl"
        code, said, err = cli("queries", "make", asked_shop / "data", "--phrase", "title", "--phrase-words", "2", "--out", out)
        assert (code, said) == (0, f"wrote {out}: 128 train, 16 valid, 16 test\n"), err
        row = json.loads(out.read_text().splitlines()[0])
        assert list(row) == ["query", "item_id", "split", "phrase"]
        pairs = read_pairs(out, load(asked_shop / "data").catalog)
        for item, phrase in zip(pairs.items.tolist(), pairs.phrases, strict=True):
            assert len(pairs.indexed.texts[item - 1].split()) == 1
            assert phrase in pairs.catalog.texts[item - 1]

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--fields", "titel"], "did you mean 'title'"),
            ([], "name fields, or the field of a phrase"),
            (["--fields", "title", "--out", "pairs.csv"], "written as .parquet or .jsonl"),
            (["--phrase", "title", "--phrase-words", "0"], "--phrase-words"),
        ],
    )
    def test_bad_options_are_one_line(self, cli, asked_shop, tmp_path, monkeypatch, more, said):
        monkeypatch.chdir(tmp_path)
        code, out, err = cli("queries", "make", asked_shop / "data", "--out", "made.jsonl", *more)
        assert (code, out) == (2, "")
        assert said in err
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_replaced_unasked(self, cli, asked_shop):
        code, _, err = cli("queries", "make", asked_shop / "data", "--fields", "title", "--out", asked_shop / "pairs.csv")
        assert code == 2
        assert "is there already" in err


class TestTrain:
    def test_it_says_what_it_found_and_writes_a_tower(self, cli, asked_shop, encoder, tmp_path):
        out = tmp_path / "runs" / "queries"
        code, said, _ = cli(*words(asked_shop, encoder, out))
        assert code == 0
        lines = said.splitlines()
        assert lines[0].startswith("pairs: 128 train, 16 valid, 16 test; ")
        assert lines[1].startswith("before: Recall@1 0.")
        assert lines[2].startswith("after ")
        assert lines[3] == f'wrote {out}: bertrec search RUN "WORDS" --queries {out}'
        assert os.listdir(out.parent) == ["queries"]  # nothing unfinished is left beside it
        assert QueryTower.from_pretrained(out).about["data"] == "data"

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--set", "encoder.tune=full"], "stays frozen: leave out encoder.tune full"),
            (["--set", "adaptor=mlp"], "did you mean 'adapter'"),
            (["--set", "temperature=0"], "setting 'temperature'"),
            (["--set", "encoder.name=./absent"], "./absent does not exist"),
            (["--set", "train.metric=NDCG@10"], "unknown validation metric 'NDCG@10'"),
            (["--pairs", "absent.csv"], "absent.csv"),
            (["--resume"], "--resume: there is no unfinished training"),
        ],
    )
    def test_bad_options_are_one_line_and_leave_nothing_behind(self, cli, asked_shop, encoder, tmp_path, monkeypatch, more, said):
        monkeypatch.chdir(tmp_path)
        code, _, err = cli(*words(asked_shop, encoder, tmp_path / "out", *more))
        assert code == 2
        assert said in err.splitlines()[-1]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("rows", "said"),
        [
            (["ding1,i1", ",i2"], "row 2: the query is empty"),
            (["ding1,x1"], "none of the 1 pairs is of an item of the catalogue"),
            (["ding1,i1"], "there is 1 training pair of one item: give more"),
            (["ding1,x1", "ding2,i2", "ding3,i2"], "there are 2 training pairs of one item: give more"),
        ],
    )
    def test_pairs_that_teach_nothing_are_one_line(self, cli, asked_shop, encoder, tmp_path, rows, said):
        (tmp_path / "pairs.csv").write_text("\n".join(["query,item_id", *rows]) + "\n")
        code, _, err = cli(*words(asked_shop, encoder, tmp_path / "out", pairs=tmp_path / "pairs.csv"))
        assert code == 2
        assert said in err.splitlines()[-1]
        assert os.listdir(tmp_path) == ["pairs.csv"]

    def test_it_goes_on_where_it_was_cut_short_and_gives_the_same(self, cli, asked_shop, encoder, tower, tmp_path, monkeypatch):
        out, prune, done = tmp_path / "out", checkpoints.prune, []

        def stop(folder, *rest, **options):
            prune(folder, *rest, **options)
            done.append(folder)
            if len(done) == 2:  # it comes after each epoch
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("bertrec.training.trainer.prune", stop)
            assert cli(*words(asked_shop, encoder, out))[0] != 0
        assert os.listdir(tmp_path) == ["out.unfinished"]
        code, _, err = cli(*words(asked_shop, encoder, out, "--set", "temperature=0.1", "--resume"))
        assert code == 2
        assert "was started with settings" in err
        assert cli(*words(asked_shop, encoder, out, "--resume"))[0] == 0
        assert os.listdir(tmp_path) == ["out"]
        assert QueryTower.from_pretrained(out).model_hash == QueryTower.from_pretrained(tower).model_hash

    def test_its_settings_are_shown(self, cli):
        code, out, _ = cli("settings", "queries")
        assert code == 0
        assert "hard_negatives" in out


class TestEvaluate:
    def test_figures_are_those_of_the_library(self, cli, asked_shop, tower, tmp_path):
        out = tmp_path / "figures.json"
        code, said, err = cli("queries", "evaluate", tower, "--pairs", asked_shop / "pairs.csv", "--bootstrap", "50", "--json", out)
        assert code == 0, err
        assert "bm25 + tower" in said
        assert "MRR of tower − bm25: +" in said
        figures, model = json.loads(out.read_text()), QueryTower.from_pretrained(tower)
        report = measure_tower(model, read_pairs(asked_shop / "pairs.csv", model.catalog), "test", bootstrap=0).reports["tower"]
        assert figures["slices"]["all"]["metrics"]["MRR"]["mean"] == report.mean("MRR")
        assert figures["models"]["bm25"]["slices"]["all"]["metrics"]["MRR"]["mean"] == 0

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--split", "tests"], "did you mean 'test'"),
            (["--pairs", "PAIRS", "--split", "valid"], "there is no pair of the part valid"),
        ],
    )
    def test_bad_input_is_one_line(self, cli, asked_shop, tower, tmp_path, more, said):
        (tmp_path / "pairs.csv").write_text("query,item_id,split\nding1,i1,test\n")
        more = [str(tmp_path / "pairs.csv") if word == "PAIRS" else word for word in more]
        code, _, err = cli("queries", "evaluate", tower, "--pairs", asked_shop / "pairs.csv", *more)
        assert code == 2
        assert said in err
        assert err.count("\n") == 1

    def test_a_run_of_another_kind_is_one_line(self, cli, asked_shop, run):
        code, _, err = cli("queries", "evaluate", run, "--pairs", asked_shop / "pairs.csv")
        assert code == 2
        assert "holds a popularity model, not one of " in err


class TestSearch:
    def found(self, out):
        return [row["id"] for row in json.loads(out)["items"]]

    def test_the_tower_finds_what_no_word_does_in_a_run_without_text(self, cli, run, tower):
        texts, queries = planted()
        code, _, err = cli("search", run, queries[3])
        assert code == 2
        assert "reads no text" in err
        code, out, err = cli("search", run, queries[3], "--queries", tower, "--format", "json")
        assert code == 0, err
        assert self.found(out)[0] == "i4"
        assert json.loads(out)["items"][0]["ranks"] == {"tower": 1, "words": None}
        code, out, _ = cli("search", run, texts[3], "--queries", tower, "--format", "json")
        assert json.loads(out)["items"][0]["ranks"]["words"] == 1

    def test_taste_and_learned_weights_join_in(self, cli, run, tower):
        code, out, err = cli("search", run, "ding1 thing2", "--queries", tower, "--user", "u1", "--fusion", "learned", "--format", "json")
        assert code == 0, err
        assert set(json.loads(out)["items"][0]["ranks"]) == {"tower", "words", "user"}

    def test_an_index_finds_the_same(self, cli, run, tower, tmp_path):
        code, said, err = cli("queries", "index", tower, "--run", run, "--kind", "flat", "--out", tmp_path / "index")
        assert (code, said) == (0, f"wrote {tmp_path / 'index'}: 160 items, flat\n"), err
        asked = ["search", run, planted()[1][3], "--queries", tower, "--format", "json"]
        assert self.found(cli(*asked, "--index", tmp_path / "index")[1]) == self.found(cli(*asked)[1])

    @pytest.mark.parametrize(
        ("query", "note"), [("재미있는 영화", "are no word to the encoder"), ("zzz", "knows no word of this query"), ("ding1", "")]
    )
    def test_a_query_that_the_encoder_hardly_reads_is_noted_and_answered(self, cli, run, tower, query, note):
        code, out, err = cli("search", run, query, "--queries", tower, "-k", "3", "--format", "json")
        assert code == 0
        assert len(self.found(out)) == 3
        assert note in err if note else not err

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            (["--fusion", "learned"], "with a tower: name one with --queries"),
            (["--index", "somewhere"], "with a tower: name one with --queries"),
            (["--queries", "absent"], "absent"),
            (["--queries", "RUN"], "holds a popularity model, not one of "),
            (["--queries", "TOWER", "--index", "absent"], "absent"),
            (["--queries", "TOWER", "--fusion", "rff"], "did you mean 'rrf'"),
        ],
    )
    def test_bad_input_is_one_line(self, cli, run, tower, tmp_path, monkeypatch, more, said):
        monkeypatch.chdir(tmp_path)
        code, out, err = cli("search", run, "ding1", *[{"TOWER": tower, "RUN": run}.get(word, word) for word in more])
        assert (code, out) == (2, "")
        assert said in err
        assert err.count("\n") == 1

    def test_an_empty_query_and_another_catalogue_are_one_line(self, cli, run, tower, trained):
        code, _, err = cli("search", run, " ", "--queries", tower)
        assert code == 2
        assert "an empty query asks for nothing" in err
        code, _, err = cli("search", trained, "kettle", "--queries", tower)
        assert code == 2
        assert "was trained over another catalogue: it knows 0% of these 10 items" in err


@pytest.fixture(scope="module")
def second(asked_shop, encoder, tmp_path_factory):
    """A tower of seed 1, for whose table, without a column ``split``, the items were dealt by that seed."""
    out = tmp_path_factory.mktemp("dealt") / "queries"
    assert main(words(asked_shop, encoder, out, "--seed", "1", "--set", "train.epochs=1")) == 0
    return out


class TestDealtParts:
    def test_evaluate_deals_as_the_training_did(self, cli, asked_shop, second, tmp_path):
        pairs, figures = asked_shop / "pairs.csv", tmp_path / "figures.json"
        code, _, err = cli("queries", "evaluate", second, "--pairs", pairs, "--json", figures)
        assert code == 0, err
        assert "did not learn from these parts" not in err
        tower, measured = QueryTower.from_pretrained(second), json.loads(figures.read_text())["protocol"]["pairs_hash"]
        assert measured == tower.about["pairs_hash"] == read_pairs(pairs, tower.catalog, seed=1).content_hash

    def test_a_seed_deals_nothing_where_the_table_names_the_parts(self, cli, asked_shop, second, tmp_path):
        lines = (asked_shop / "pairs.csv").read_text(encoding="utf-8").splitlines()
        pairs = tmp_path / "pairs.csv"
        parts = ["split", *("train" if row % 2 else "test" for row in range(len(lines) - 1))]
        pairs.write_text("".join(f"{line},{part}\n" for line, part in zip(lines, parts, strict=True)), encoding="utf-8")
        note = f"note: {pairs} names its parts in the column split: --seed 3 changes nothing"
        assert note in cli("queries", "evaluate", second, "--pairs", pairs, "--seed", "3")[2].splitlines()
        assert "changes nothing" not in cli("queries", "evaluate", second, "--pairs", pairs)[2]

    def test_other_parts_are_named(self, cli, asked_shop, second):
        code, _, err = cli("queries", "evaluate", second, "--pairs", asked_shop / "pairs.csv", "--seed", "0")
        assert code == 0, err
        assert "it may have learned from items of the part test" in err
