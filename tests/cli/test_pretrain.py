"""``bertrec pretrain``, and what other commands make of its run."""

from __future__ import annotations

import json
import os
import signal

import pytest
from kills import ended, forked
from planted_domains import TEXTS, write_domain
from safetensors.torch import load_file
from static_folders import static_folder

from bertrec.cli.main import main
from bertrec.cli.settings import config_of


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Three data sets and an encoder that reads their words."""
    folder = tmp_path_factory.mktemp("domains")
    for seed, name in enumerate(("north", "south", "east"), start=1):
        write_domain(folder / name, seed=seed, users=40)
    static_folder(folder / "words", TEXTS, width=16)
    return folder


@pytest.fixture(scope="module")
def options(place):
    small = {"item.width": 16, "head.layers": 1, "head.heads": 4, "head.max_history": 8, "pretrain.targets": 32, "train.precision": "fp32"}
    return ["--encoder", place / "words", *(word for name, value in small.items() for word in ("--set", f"{name}={value}"))]


@pytest.fixture(scope="module")
def pretrained(place, options, tmp_path_factory):
    """A run over the first two; treat it as read-only."""
    out = tmp_path_factory.mktemp("runs") / "two"
    words = ["pretrain", place / "north", place / "south", "--out", out, "--epochs", "3", "--seed", "1", *options]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERTREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        assert main([str(word) for word in words]) == 0
    return out


def record(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def test_the_record_names_the_domains(pretrained):
    kept = record(pretrained)
    assert kept["kind"] == "pretraining"
    assert kept["model"] == "unisrec"
    first, second = kept["pretraining"]["domains"]
    assert (first["name"], second["name"]) == ("north", "south")
    assert first["counts"] == {"users": 40, "items": 30, "train_interactions": 120}
    assert first["split"]["method"] == "leave_one_out"
    assert first["data_hash"] != second["data_hash"]
    assert first["train_hash"] != second["train_hash"]
    assert not (pretrained / "checkpoints").exists()
    assert "north, south" in (pretrained / "model" / "README.md").read_text(encoding="utf-8")


def test_it_tells_how_each_domain_fared(cli, place, options, tmp_path):
    code, out, err = cli(
        "pretrain", place / "north", place / "south", "--out", tmp_path / "r", "--epochs", "2", "--tasks", "item", *options
    )
    assert code == 0, err
    assert all(name in out for name in ("epoch", "mean", "north", "south", "bertrec evaluate"))
    assert record(tmp_path / "r")["config"]["pretrain"]["tasks"] == ["item"]


def test_tasks_of_users_say_what_they_learn_of(cli, place, options, tmp_path):
    """A column that is named; what the tasks weigh stays out of the run."""
    names = ("--tasks", "masked,next,same-user,attributes", "--set", "pretrain.attributes=title")
    code, _, err = cli("pretrain", place / "north", place / "south", "--out", tmp_path / "r", "--epochs", "1", *names, *options)
    assert code == 0, err
    assert "note: attributes: title (30)" in err  # of equal titles in both
    kept = record(tmp_path / "r")["config"]["pretrain"]
    assert kept["tasks"] == ["masked", "next", "same-user", "attributes"]
    assert kept["attributes"] == ["title"]
    weights = load_file(tmp_path / "r" / "model" / "model.safetensors")
    assert not any("tasks" in name or "pool" in name for name in weights)


def test_zero_shot_is_evaluate_on_other_data(cli, place, pretrained, tmp_path):
    figures = tmp_path / "figures.json"
    code, _, err = cli("evaluate", pretrained, "--data", place / "east", "--json", figures)
    assert code == 0, err
    assert "among the data" not in err
    assert json.loads(figures.read_text(encoding="utf-8"))["slices"]["all"]["users"] == 40
    code, _, err = cli("evaluate", pretrained)
    assert code == 2
    assert "name data with --data" in err
    assert len(err.strip().splitlines()) == 1


def test_a_target_among_the_domains_is_named(cli, place, pretrained, tmp_path):
    _, _, err = cli("evaluate", pretrained, "--data", place / "south")
    assert "south is among the data that" in err
    _, _, err = cli("train", place / "north", "--init", pretrained, "--out", tmp_path / "r", "--epochs", "1", "--set", "match.text=0")
    assert "north is among the data that" in err
    _, _, err = cli("evaluate", tmp_path / "r")
    assert "north is among the data that" in err
    code, _, err = cli("train", place / "north", "--init", pretrained, "--out", tmp_path / "s", "--epochs", "1", "--split", "cold-items")
    assert code == 0
    assert "was pre-trained on another split of these data (leave_one_out): it has read 3 of 3 held-out items" in err


@pytest.mark.parametrize("item_input", ["text", "text+id"])
def test_a_run_starts_from_it_and_takes_its_shape(cli, place, pretrained, tmp_path, item_input):
    words = ("train", place / "east", "--init", pretrained, "--freeze", "head", "--item-input", item_input, "--out", tmp_path / "r")
    code, _, err = cli(*words, "--epochs", "2", "--set", "match.text=0", "--set", "train.batch_size=8")
    assert code == 0, err
    assert "taken from" in err
    kept = record(tmp_path / "r")
    assert kept["config"]["head"]["layers"] == 1
    assert kept["config"]["head"]["freeze"] is True
    assert [one["name"] for one in kept["pretraining"]["domains"]] == ["north", "south"]
    before, after = (load_file(run / "model" / "model.safetensors") for run in (pretrained, tmp_path / "r"))
    same = {name for name in before if name in after and before[name].shape == after[name].shape and before[name].equal(after[name])}
    head = {name for name in before if name == "head.positions" or name.startswith("head.layers.")}
    assert head
    assert head <= same
    assert not {"head.norm.weight", "tower.adaptor.weight"} & same
    assert cli("evaluate", tmp_path / "r")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "item.width=32"], "use its settings"),
        (["--set", "head.layers=2"], "has head.layers 1, not 2"),
        (["--set", "encoder.name=minilm"], "has encoder.name"),
        (["--freeze", "heads"], "did you mean 'head'?"),
    ],
)
def test_what_does_not_fit_the_run_is_one_line(cli, place, pretrained, tmp_path, words, told):
    code, _, err = cli("train", place / "east", "--init", pretrained, "--out", tmp_path / "r", *words)
    assert code == 2
    assert told in err.splitlines()[-1]
    assert not (tmp_path / "r" / "run.json").exists()


def test_an_encoder_by_option_wins_over_that_of_a_file(cli, place, options, tmp_path):
    (tmp_path / "a.yaml").write_text(f"encoder.name: {place / 'words'}\n")
    without = [str(word) for word in options if word not in ("--encoder", place / "words")]
    words = ("pretrain", place / "north", "--out", tmp_path / "r", "--epochs", "1", "--config", tmp_path / "a.yaml", *without)
    assert cli(*words)[0] == 0
    assert record(tmp_path / "r")["config"]["encoder"]["name"] == str(place / "words")
    code, _, err = cli(*words, "--overwrite", "--encoder", tmp_path / "none")
    assert code == 2
    assert "none" in err
    code, _, err = cli(*words, "--overwrite", "--encoder", "minilm")
    assert code == 0
    assert record(tmp_path / "r")["config"]["encoder"]["name"] == "minilm"


def test_freezing_needs_a_run_to_start_from(cli, place, tmp_path):
    code, _, err = cli("train", place / "east", "--freeze", "head", "--out", tmp_path / "r")
    assert code == 2
    assert "name it with --init RUN" in err
    assert len(err.strip().splitlines()) == 1


def test_bad_input_is_one_line(cli, place, options, tmp_path):
    write_domain(tmp_path / "bare", with_text=False)
    write_domain(tmp_path / "lone", length=1)
    north = place / "north"
    cases = [
        ([north, north], "one data set is given twice: north and north-2"),
        ([north, tmp_path / "bare"], "bare: no item has a text"),
        ([north, tmp_path / "lone"], "lone: no training sequence has two items"),
        ([north, "--tasks", "items"], "did you mean 'item'?"),
        ([north, tmp_path / "nowhere"], "no such folder"),
        ([north, "--set", "pretrain.target=3"], "did you mean 'pretrain.targets'?"),
        ([north, "--tasks", "attributes"], "the task attributes has nothing to predict"),
        ([north, "--tasks", "attributes", "--set", "pretrain.attributes=hour"], "no data set has times of interactions"),
        ([north, "--tasks", "next", "--set", "pretrain.removed=3"], "north: no training sequence has 4 items"),
    ]
    for words, told in cases:
        code, _, err = cli("pretrain", *words, "--out", tmp_path / "r", *options)
        assert code == 2, words
        assert told in err.splitlines()[-1]
    assert not (tmp_path / "r" / "run.json").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_killed_pre_training_goes_on_to_the_same_model(cli, place, options, tmp_path, pretrained):
    """Killed by the system at once after its first whole epoch; other data are refused, the same go on."""
    out = tmp_path / "two"
    words = ["pretrain", place / "north", place / "south", "--out", out, "--epochs", "3", "--seed", "1", *options]
    from bertrec.training import trainer

    def killed():
        prune = trainer.prune

        def then_killed(folder):
            prune(folder)
            os.kill(os.getpid(), signal.SIGKILL)

        trainer.prune = then_killed
        main([str(word) for word in words])

    assert ended(forked(killed)) == -signal.SIGKILL
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["epoch-1"]
    other = ["pretrain", place / "north", place / "east", *words[3:], "--resume"]
    code, _, err = cli(*other)
    assert code == 2
    assert "was started with data =" in err
    assert cli(*words)[0] == 2  # neither --resume nor --overwrite
    assert cli(*words, "--resume")[0] == 0
    assert record(out)["model_hash"] == record(pretrained)["model_hash"]


def test_its_settings_are_shown(cli):
    assert config_of("pretrain").to_flat()["pretrain.tasks"] == ["item", "sequence"]
    code, out, _ = cli("settings", "pretrain", "pretrain.")
    assert code == 0
    assert "pretrain.negatives" in out
