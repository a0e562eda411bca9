"""``bertrec similar`` and ``bertrec search`` on a shop of texts and behaviour."""

from __future__ import annotations

import json
import shutil

import pytest
from tiny_encoders import tiny_bert

from bertrec.cli.main import main
from bertrec.models.base import Recommender

TITLES = ["Red Kettle", "Blue Kettle", "Green Teapot", "Oak Shelf", "Pine Shelf", "Steel Lamp", "Brass Lamp", "Wool Rug", "Jute Rug"]


@pytest.fixture(scope="module")
def text_run(shop, tmp_path_factory):
    """Read-only: a model of texts and ids."""
    encoder = tiny_bert(tmp_path_factory.mktemp("encoder"), [*TITLES, "kitchen wood light floor"], hidden=32)
    run = tmp_path_factory.mktemp("runs") / "text"
    settings = ["--set", f"encoder.name={encoder}", "--set", "item.width=16", "--set", "head.layers=1", "--set", "train.batch_size=16"]
    assert main(["train", str(shop), "--epochs", "2", "--out", str(run), *settings]) == 0
    return run


def ids(out):
    return [row["id"] for row in json.loads(out)["items"]]


def test_the_neighbours_of_the_walk_are_alike_in_behaviour(cli, text_run):
    code, out, err = cli("similar", text_run, "--title", "oak shelf", "--by", "behaviour", "-k", "2", "--format", "json")
    assert code == 0, err
    assert json.loads(out)["item"] == "104"
    assert sorted(ids(out)) == ["103", "105"]  # everybody walks from 103 over 104 to 105


def test_what_is_printed_is_what_the_library_gives(cli, text_run):
    model = Recommender.from_pretrained(text_run)
    out = cli("similar", text_run, "--item", "100", "--by", "text", "-k", "3", "--format", "json")[1]
    assert ids(out) == model.similar("100", 3, by="text").items
    out = cli("search", text_run, "brass lamp", "-k", "3", "--format", "json")[1]
    assert ids(out) == model.search("brass lamp", 3).items
    assert ids(out)[0] == "107"
    assert json.loads(out)["items"][0]["ranks"]["words"] == 1
    out = cli("search", text_run, "brass lamp", "--user", "1", "-k", "3", "--format", "json")[1]
    assert ids(out) == model.search("brass lamp", 3, history=["101", "102", "103", "104", "105"]).items


def test_tables_show_the_ranks_that_were_joined(cli, text_run):
    code, out, _ = cli("similar", text_run, "--item", "100", "-k", "3")
    assert code == 0
    assert "like 100: Red Kettle, by text and behaviour" in out
    assert "by behaviour" in out
    code, out, err = cli("search", text_run, "rug", "-k", "30")
    assert code == 0
    assert "Wool Rug" in out
    assert "note: only 10 items were found where 30 were asked for" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["similar", "TEXT"], "name the item with --item ID or --title T"),
        (["similar", "TEXT", "--item", "100", "--title", "Red Kettle"], "name the item with --item ID or --title T"),
        (["similar", "TEXT", "--item", "1000"], "--item: unknown id '1000': near it are"),
        (["similar", "TEXT", "--item", "zz"], "unknown id 'zz': bertrec search "),
        (["similar", "TEXT", "--title", "Kettle"], "fits 2 items"),
        (["similar", "TEXT", "--item", "100", "--by", "txt"], "did you mean 'text'"),
        (["similar", "ID", "--item", "100", "--by", "text"], "this IDRec reads no text"),
        (["search", "ID", "red kettle"], "this IDRec reads no text"),
        (["search", "TEXT", " "], "an empty query"),
        (["search", "TEXT", "rug", "--user", "999"], "--user: unknown id '999': leave it out"),
        (["search", "TEXT", "rug", "--format", "csv"], "unknown format 'csv'"),
        (["search", "nowhere", "rug"], "no such run"),
    ],
)
def test_bad_input_is_one_line(cli, text_run, trained, words, said):
    code, out, err = cli(*[{"TEXT": text_run, "ID": trained}.get(word, word) for word in words])
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


class TestProfile:
    def test_a_new_user_in_words_gets_what_the_words_ask_for(self, cli, text_run):
        wanted = Recommender.from_pretrained(text_run).search("a brass lamp", 3).items
        code, out, err = cli("recommend", text_run, "--profile", "a brass lamp", "-k", "3", "--format", "json")
        assert code == 0, err
        (found,) = json.loads(out)["recommendations"]
        assert [row["id"] for row in found["items"]] == wanted
        assert found["fallback"] == "profile"
        assert "a new user, ordered by profile" in cli("recommend", text_run, "--profile", "a brass lamp")[1]

    def test_rules_that_choose_items_hold(self, cli, text_run):
        out = cli("recommend", text_run, "--profile", "a brass lamp", "--only", "100", "--only", "101", "--format", "json")[1]
        assert {row["id"] for row in json.loads(out)["recommendations"][0]["items"]} == {"100", "101"}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--profile", "lamp", "--user", "1"], "say for whom"),
            (["--profile", "lamp", "--why"], "--profile is searched for as text: leave out --why"),
            (["--profile", "lamp", "--keep-seen", "--on-unknown", "error"], "leave out --on-unknown and --keep-seen"),
            (["--profile", "lamp", "--mask-seen"], "leave out --mask-seen"),
            (["--profile", "lamp", "--profile-start"], "leave out --profile-start"),
            (["--profile", "lamp", "--diversity", "0.5"], "leave out --at-most, --boost and --diversity"),
            (["--profile", " "], "an empty query"),
        ],
    )
    def test_bad_input_is_one_line(self, cli, text_run, words, said):
        code, out, err = cli("recommend", text_run, *words)
        assert (code, out) == (2, "")
        assert said in err.splitlines()[-1]

    def test_a_model_of_ids_says_so(self, cli, trained):
        code, out, err = cli("recommend", trained, "--profile", "lamp")
        assert (code, out) == (2, "")
        assert "reads no text" in err


class TestProfileStart:
    def test_a_user_of_whom_the_data_only_say_something_starts_from_it(self, cli, text_run, shop, tmp_path):
        told = shutil.copytree(shop, tmp_path / "told")
        (told / "users.csv").write_text("user_id,wish\n1,an oak shelf\n777,brass lamp\n", encoding="utf-8")
        words = ["recommend", text_run, "--data", told, "--user", "1", "--user", "777", "-k", "3", "--format", "json"]
        code, out, err = cli(*words, "--profile-start")
        assert code == 0, err
        old, new = json.loads(out)["recommendations"]
        assert (old["fallback"], new["fallback"]) == (None, "profile")
        assert len(new["items"]) == 3
        assert json.loads(cli(*words)[1])["recommendations"][1]["fallback"] == "popularity"
        assert "user 777 (no items)" not in cli(*words[:-2], "--profile-start")[1]

    @pytest.mark.parametrize(
        ("run", "words", "said"),
        [
            ("TEXT", [], "the data have no table of users"),
            ("TEXT", ["--rerank", "nowhere"], "makes the run's own lists: leave out --rerank"),
            ("ID", [], "the data have no table of users"),
        ],
    )
    def test_what_cannot_be_is_said(self, cli, text_run, trained, run, words, said):
        code, _, err = cli("recommend", {"TEXT": text_run, "ID": trained}[run], "--user", "777", "--profile-start", *words)
        assert code == 2
        assert said in err.splitlines()[-1]
