"""``bertrec new-items``: draws of new items, joined."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from tiny_encoders import tiny_bert

from bertrec import Protocol, create, evaluate, load, make_split
from bertrec.comparison.draws import Draws
from bertrec.core.errors import ConfigError
from bertrec.evaluation.significance import paired_comparison

TITLES = ["red kettle", "blue kettle", "green teapot", "oak shelf", "pine shelf", "steel lamp", "brass lamp", "wool rug", "jute rug"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), [*TITLES, "kitchen wood light floor art"], hidden=32)


@pytest.fixture(scope="module")
def words(shop, encoder):
    untrained = ["--model", "text-similarity", "--set", f"encoder.name={encoder}"]
    return ["new-items", str(shop), *untrained, "--share", "0.3", "--draws", "3", "--partition", "--seed", "5"]


@pytest.fixture(scope="module")
def found(words, tmp_path_factory):
    """Read-only: the figures of an untrained model, whose parts can be measured again by hand."""
    from bertrec.cli.main import main

    out = tmp_path_factory.mktemp("reports") / "new"
    assert main([*words, "--out", str(out)]) == 0
    return out


def by_hand(shop, encoder, draw, candidates, name):
    split = make_split(load(shop), "cold-items", share=0.3, seed=5, part=draw)
    model = create(name, settings={"encoder.name": str(encoder)}).fit(split)
    return evaluate(model, split, protocol=Protocol(candidates=candidates)).per_user("NDCG@10")


@pytest.mark.parametrize(("ranking", "candidates"), [("full", "all"), ("among", "held_out")])
def test_joined_is_what_the_draws_measured_alone_give(shop, encoder, found, ranking, candidates):
    joined = json.loads((found / "new-items.json").read_text())
    own, other = (
        np.concatenate([by_hand(shop, encoder, draw, candidates, name) for draw in range(3)])
        for name in ("text-similarity", "max-similarity")
    )
    told = joined["against"][ranking]
    alone = paired_comparison(own, other)
    assert told["users"] == len(own) == joined["users"]
    assert told["mean_a"] == pytest.approx(own.mean(), abs=1e-6)
    assert told["mean_b"] == pytest.approx(other.mean(), abs=1e-6)
    assert told["ci95"] == pytest.approx(alone.ci95, abs=1e-6)
    assert joined["models"]["run"][ranking]["NDCG@10"] == pytest.approx(own.mean(), abs=1e-6)
    assert told["ci95_draws"][0] <= told["difference"] <= told["ci95_draws"][1]
    assert told["p_holm"] >= told["p_wilcoxon"]


def test_it_goes_on_where_it_was_cut_short_and_draws_can_be_added(cli, words, tmp_path):
    out = tmp_path / "new"
    more = [word if word != "3" else "1" for word in words]
    assert cli(*more, "--out", out)[0] == 0
    first = (out / "draw-0.json").read_bytes()
    assert not (out / "draw-1.json").exists()
    code, printed, err = cli(*words, "--out", out)
    assert code == 0
    assert err.count("(from before)") == 1
    assert (out / "draw-0.json").read_bytes() == first
    assert json.loads((out / "new-items.json").read_text())["draws"] == [0, 1, 2]
    assert "full: " in printed
    assert "over draws too, Holm p" in printed
    assert f"figures: {out / 'new-items.json'}" in printed


def test_draws_of_an_encoder_that_was_changed_are_not_joined(cli, words, encoder, tmp_path):
    own, out = tmp_path / "encoder", tmp_path / "new"
    shutil.copytree(encoder, own)
    words = [word.replace(str(encoder), str(own)) for word in words]
    one = [word if word != "3" else "1" for word in words]
    assert cli(*one, "--out", out)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (own / "README.md").write_text("a note")
    assert cli(*one, "--out", out)[0] == 0
    tiny_bert(own, ["an encoder of other words"], hidden=32)
    code, _, err = cli(*words, "--out", out)
    assert code == 2
    assert f"encoder {own} was changed since {out} was begun: put it back as it was, or choose another folder" in err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_trained_model_tells_what_others_lose(cli, shop, encoder, tmp_path):
    small = ["item.width=16", "head.layers=1", "train.batch_size=16", "train.epochs=1", f"encoder.name={encoder}"]
    settings = [word for one in small for word in ("--set", one)]
    code, out, err = cli("new-items", shop, "--draws", "1", "--share", "0.3", *settings, "--out", tmp_path / "new")
    assert code == 0, err
    row = json.loads((tmp_path / "new" / "draw-0.json").read_text())
    assert set(row["models"]) == {"run", "text-similarity", "max-similarity"}
    assert set(row["others"]) == {"before", "after"}
    assert "text-similarity (untrained)" in out
    assert "trained in" in err


def test_where_the_model_does_not_beat_the_untrained_one_it_is_said(cli, found, words):
    joined = json.loads((found / "new-items.json").read_text())
    _, _, err = cli(*words, "--out", found)
    for ranking, one in joined["against"].items():
        assert (f"warning: {ranking}: the model is no better than" in err) == (one["difference"] <= 0)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--model", "idrec"], "idrec reads no text, so it has nothing to say about a new item"),
        (["--draws", "4", "--partition"], "deals the catalogue into 3 parts: there are no 4 draws of them"),
        (["--share", "0"], "share must be above 0 and below 1"),
        (["--share", "nan"], "share"),
        (["--model", "unisrek"], "did you mean 'unisrec'"),
        (["--share", "0.01"], "holds out none: raise it"),
        (["--vectors", "nowhere.parquet"], "nowhere.parquet"),
    ],
)
def test_bad_input_is_one_line(cli, shop, tmp_path, more, said):
    code, out, err = cli("new-items", shop, "--share", "0.3", *more, "--out", tmp_path / "new")
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").glob("draw-*"))


def test_a_folder_of_something_else_or_of_another_plan_is_left_alone(cli, found, words, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "holds something else" in cli(*words, "--out", tmp_path)[2]
    other = ["6" if word == "5" else word for word in words]
    before = (found / "new-items.json").read_bytes()
    code, _, err = cli(*other, "--out", found)
    assert code == 2
    assert "holds draws with seed = 5, now it is 6; choose another folder" in err
    assert (found / "new-items.json").read_bytes() == before


@pytest.mark.parametrize("name", ["models", "train", "draw", "weights"])
def test_a_draw_that_was_changed_or_is_another_is_not_joined(cli, found, words, tmp_path, name):
    out = shutil.copytree(found, tmp_path / "new")
    row = json.loads((out / "draw-1.json").read_text())
    (out / "draw-1.json").write_text(json.dumps({**row, name: {"run": {}} if name == "models" else 5}))
    code, _, err = cli(*words, "--out", out)
    assert (code, "draw-1.json was changed or damaged since it was written" in err) == (2, True)
    shutil.copy(out / "draw-0.json", out / "draw-1.json")
    code, _, err = cli(*words, "--out", out)
    assert (code, "draw-1.json holds draw 0: " in err) == (2, True)


def test_a_plan_says_what_is_wrong_with_it():
    with pytest.raises(ConfigError, match="draws"):
        Draws(draws=0)
    with pytest.raises(ConfigError, match="seed"):
        Draws(seed=-1)
    with pytest.raises(ConfigError, match=r"leave train.seed out, and set --seed"):
        Draws(settings={"train.seed": 3})
