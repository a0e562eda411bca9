"""Few shots: what ``--shots`` draws, trains and keeps, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.rankers.prompts.template import Prompt

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("kettle", "shelf", "lamp", "rug", "poster")]
SMALL = ["--set", "encoder.max_length=60", "--set", "train.epochs=1"]


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """30 users rate eight of ten items, those of their colour with 5, others with 2."""
    root = tmp_path_factory.mktemp("rated")
    (root / "data").mkdir()
    pairs = [(user, (3 * user + step) % 10, 10 * step + user) for user in range(30) for step in range(8)]
    rows = [f"{user},{item},{at},{5 if user % 2 == item // 5 else 2}" for user, item, at in pairs]
    (root / "data" / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp,rating", *rows]) + "\n")
    items = [f"{row},{title}" for row, title in enumerate(TITLES)]
    (root / "data" / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n")
    tiny_masked(root / "encoder", [*TITLES, Prompt.load("tallrec").text, "yes no 1 2 3 4 5"])
    return root


@pytest.fixture(scope="module")
def runs(rated, tmp_path_factory):
    """Folders of ID models of two splits, and of a model that trains nothing."""
    from bertrec.cli.main import main

    root = tmp_path_factory.mktemp("runs")
    small = ["--set", "width=4"]
    bert = tiny_bert(root / "bert", TITLES)
    asked = {
        "leave-one-out": ["--model", "als", "--split", "leave-one-out", *small],
        "time": ["--model", "als", "--split", "time", *small],
        "similarity": ["--model", "text-similarity", "--set", f"encoder.name={bert}"],
    }
    for name, words in asked.items():
        assert main(["train", str(rated / "data"), *words, "--out", str(root / name)]) == 0
    return {name: root / name for name in asked}


@pytest.mark.parametrize("tune", ["lora", "frozen"])
def test_a_prompt_learns_from_so_many_pairs_and_is_measured_on_the_test_part(rated, cli, tmp_path, tune):
    words = ["train", rated / "data", "--encoder", rated / "encoder", "--template", "tallrec", "--tune", tune, *SMALL]
    code, _, err = cli("prompt", *words, "--shots", 16, "--seed", 3, "--out", tmp_path / "run")
    assert code == 0, err
    assert "16 impressions to train on" in err
    assert "to choose the epoch" not in err
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    shots = record["pairs"]["shots"]
    assert (record["pairs"]["kind"], shots["count"], shots["seed"]) == ("ratings", 16, 3)
    assert 0 < shots["liked"] < 16
    (member,) = record["members"]
    assert member["validation"] is None
    assert len(member["train_log"]["epochs"]) == 1
    figures = tmp_path / "figures.json"
    assert cli("prompt", "evaluate", tmp_path / "run", "--bootstrap", 0, "--json", figures)[0] == 0
    measured = json.loads(figures.read_text())
    assert measured["protocol"]["pairs_of"] == "ratings"
    assert 0 <= measured["slices"]["all"]["metrics"]["AUC"]["mean"] <= 1


def test_an_id_model_learns_from_the_same_pairs(rated, cli, tmp_path):
    assert cli("rankers", "train", rated / "data", "--ranker", "mf", "--shots", 8, "--out", tmp_path / "run")[0] == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["pairs"]["shots"]["count"] == 8


@pytest.mark.parametrize(
    ("ranker", "more", "code"),
    [
        ("multitask", ["--set", "encoder.max_length=60"], 0),
        ("p5", SMALL[:2], 0),
        ("cross-encoder", [*SMALL[:2], "--set", "loss=pointwise"], 0),
        ("cross-encoder", SMALL[:2], 2),
        ("nrms", SMALL[:2], 2),
    ],
)
def test_the_page_says_which_rankers_learn_from_shots(rated, cli, tmp_path, ranker, more, code):
    words = ["--ranker", ranker, "--set", f"encoder.name={rated / 'encoder'}", "--set", "train.epochs=1", *more]
    found, _, err = cli("rankers", "train", rated / "data", *words, "--shots", 8, "--out", tmp_path / "run")
    assert found == code, err
    few = (Path(__file__).parents[2] / "docs" / "prompts.md").read_text(encoding="utf-8").split("## Few shots")[1].split("## ")[0]
    assert (f"`{ranker}`" in few) == (ranker != "nrms")
    if code:
        assert "both a click and" in err


@pytest.mark.parametrize("option", ["--id-model", "--prior", "--teacher"])
def test_a_model_that_may_have_learned_the_measured_pairs_is_refused(rated, runs, cli, tmp_path, option):
    template = "collaborative" if option == "--id-model" else "tallrec"
    words = ["train", rated / "data", "--encoder", rated / "encoder", "--template", template, "--tune", "frozen", *SMALL, "--shots", 8]
    code, _, err = cli("prompt", *words, option, runs["leave-one-out"], "--out", tmp_path / "run")
    assert code == 2
    said = f"{option} {runs['leave-one-out']} may have learned the rated pairs that are measured: train it on these data with --split time"
    assert said in err
    assert not (tmp_path / "run").exists()
    code, _, err = cli("prompt", *words, option, runs["time"], "--out", tmp_path / "run")
    assert code == 0, err
    if option == "--prior":
        code, _, err = cli("prompt", *words, option, runs["similarity"], "--out", tmp_path / "similar")
        assert code == 0, err


def test_scores_of_a_loss_over_lists_are_no_probabilities_until_their_margins_are_calibrated(rated, cli, tmp_path):
    words = ["train", rated / "data", "--ranker", "prompt4nr", "--pairs", "ratings", "--set", f"encoder.name={rated / 'encoder'}", *SMALL]
    words += ["--set", "template=tallrec", "--set", "encoder.tune=frozen", "--set", "loss=listwise"]
    found = {}
    for kind in ("none", "temperature"):
        out, figures = tmp_path / kind, tmp_path / f"{kind}.json"
        code, _, err = cli("rankers", *words, "--calibrate", kind, "--out", out)
        assert code == 0, err
        assert cli("rankers", "evaluate", out, "--bootstrap", 0, "--json", figures)[0] == 0
        found[kind] = json.loads(figures.read_text())
    assert "logloss" not in found["none"]["slices"]["all"]["metrics"]
    assert found["none"]["protocol"]["probabilities"].startswith("none: logloss and ECE need them")
    assert found["temperature"]["slices"]["all"]["metrics"]["logloss"]["mean"] > 0
    (member,) = json.loads((tmp_path / "temperature" / "run.json").read_text())["members"]
    assert member["calibration"]["of_probabilities"]  # the logit of a score is read, the margin


def test_shots_make_smaller_batches_and_more_epochs_unless_these_are_said():
    from bertrec.rankers.prompts.plan import PromptPlan

    (few,) = PromptPlan(pairs="ratings", shots=16).configs()
    assert (few.negatives, few.train.epochs, few.train.batch_size) == (0, 20, 8)
    (said,) = PromptPlan(pairs="ratings", shots=16, settings={"train.epochs": 3}).configs()
    assert (said.train.epochs, said.train.batch_size) == (3, 8)
    (all_,) = PromptPlan(pairs="ratings").configs()
    assert (all_.negatives, all_.train.epochs, all_.train.batch_size) == (0, 4, 16)


@pytest.mark.parametrize(
    ("group", "words", "said"),
    [
        ("prompt", ["--shots", "9999"], "9999 cannot be drawn of the"),
        ("prompt", ["--shots", "0"], "Invalid value for '--shots'"),
        ("prompt", ["--shots", "4", "--zero-shot"], "leave out --zero-shot"),
        ("prompt", ["--liked-from", "3"], "--liked-from goes with --pairs ratings"),
        ("prompt", ["--shots", "4", "--validation-share", "0.1"], "no pair chooses the epoch with --shots: leave it out"),
        ("rankers", ["--pairs", "ratings", "--ranker", "mf", "--validation-share", "0"], "a tenth of time chooses the epoch"),
        ("prompt", ["--shots", "4", "--pairs", "clicks"], "unknown kind of pairs 'clicks'"),
        ("rankers", ["--shots", "4", "--calibrate", "platt", "--ranker", "mf"], "--shots leaves none"),
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(rated, cli, tmp_path, group, words, said):
    more = ["--encoder", rated / "encoder", "--template", "tallrec"] if group == "prompt" else []
    code, _, err = cli(group, "train", rated / "data", *more, *words, "--out", tmp_path / "run")
    assert code == 2
    assert said in err
    assert not (tmp_path / "run").exists()
