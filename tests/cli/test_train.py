from __future__ import annotations

import json
import os
import shutil

import pytest
from filelock import FileLock
from tiny_encoders import tiny_bert

from bertrec.cli.main import main
from bertrec.cli.train import announce, choose
from bertrec.core.errors import BertrecError, ModelError
from bertrec.data.load import load, make_split

QUICK = ["--model", "idrec", "--epochs", "1", "--set", "item.width=16", "--set", "head.layers=1"]


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line(result, *said):
    code, out, err = result
    assert code == 2
    assert err.startswith("bertrec: ")
    assert err.count("\n") == 1
    assert all(text in err for text in said), err
    return out


def test_a_run_says_how_it_came_about(trained, shop):
    record = json.loads((trained / "run.json").read_text(encoding="utf-8"))
    assert record["data_path"] == str(shop.resolve())
    assert record["model"] == "idrec"
    assert record["seed"] == record["config"]["train"]["seed"] == 1
    assert record["settings"]["train.epochs"] == 40
    assert record["config"]["item"] | {"input": "id", "width": 16} == record["config"]["item"]
    assert record["manifest"]["method"] == "leave_one_out"
    assert record["manifest"]["counts"]["train_interactions"] == 40 * 3
    assert record["seconds"] > 0
    assert len(record["train_log"]["epochs"]) <= 40
    assert {"torch", "bertrec", "numpy"} <= set(record["versions"])
    assert not (trained / "training.json").exists()
    assert not (trained / "checkpoints").exists()


def test_training_prints_counts_the_figure_and_the_place(cli, shop, tmp_path):
    code, out, err = cli("train", shop, "--out", tmp_path / "r", *QUICK)
    assert code == 0
    assert "40 users, 10 items, 200 interactions" in err
    assert "training 120 interactions, validation 40 users, test 40 users" in err
    assert "validation, 40 users: HR@10 " in out
    assert f"run: {tmp_path / 'r'}" in out


def test_what_was_dropped_is_printed(cli, shop, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("interactions.csv", "items.csv"):
        (data / name).write_text((shop / name).read_text(encoding="utf-8"), encoding="utf-8")
    with (data / "interactions.csv").open("a") as stream:
        stream.write("1,no-such-item,99\n")
    code, _, err = cli("train", data, "--out", tmp_path / "r", *QUICK)
    assert code == 0
    assert any(line.startswith("note: ") and " 1 " in line for line in err.splitlines()), err


def announced(data, method, capsys):
    dataset = load(data)
    announce(dataset, make_split(dataset, method))
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: split ")]


def test_users_too_short_for_the_split_are_said(cli, shop, tmp_path, capsys):
    data = shutil.copytree(shop, tmp_path / "data")
    assert announced(data, "auto", capsys) == []
    with (data / "interactions.csv").open("a") as stream:
        stream.write("41,100,0\n41,101,1\n42,100,0\n")
    said = "note: split leave_one_out: 2 of 42 users are not evaluated (no history, or nothing held out)"
    assert announced(data, "auto", capsys) == [said]
    assert said in cli("train", data, "--out", tmp_path / "r", *QUICK)[2].splitlines()


def test_a_split_without_test_users_is_said(tmp_path, capsys):
    """Validation begins at 7 and the test at 8, when only c is left, who has no history; of a nothing is held out."""
    users = "ababababcc"
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"{u},i{t % 4},{t}\n" for t, u in enumerate(users)))
    (tmp_path / "items.csv").write_text("item_id,title\n" + "".join(f"i{t},Thing {t}\n" for t in range(4)))
    said = "note: split time: 2 of 3 users are not evaluated (no history, or nothing held out); no test users"
    assert announced(tmp_path, "time", capsys) == [said]


def test_a_finished_run_is_left_alone_without_overwrite(cli, shop, run):
    before = snapshot(run)
    one_line(cli("train", shop, "--out", run, *QUICK), "holds a finished run", "--overwrite")
    one_line(cli("train", shop, "--out", run, "--resume", *QUICK), "no unfinished training to resume")
    one_line(cli("train", shop, "--out", run, "--resume", "--overwrite", *QUICK), "give one of them")
    assert snapshot(run) == before


def test_overwrite_replaces_a_finished_run(cli, shop, run):
    before = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert cli("train", shop, "--out", run, "--overwrite", *QUICK)[0] == 0
    after = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert after["model_hash"] != before["model_hash"]
    assert after["settings"]["train.epochs"] == 1


def test_a_failing_overwrite_leaves_the_former_run(cli, shop, run):
    before = snapshot(run)
    one_line(cli("train", shop.parent / "gone", "--out", run, "--overwrite", *QUICK), "gone")
    one_line(cli("train", shop, "--out", run, "--overwrite", *QUICK, "--set", "train.device=tpu"))
    assert snapshot(run) == before


def test_files_that_are_no_run_are_never_overwritten(cli, shop, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for option in ([], ["--overwrite"]):
        one_line(cli("train", shop, "--out", tmp_path, *option, *QUICK), "is not empty and holds no run")
    one_line(cli("train", shop, "--out", tmp_path / "thesis.tex", *QUICK), "is a file")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_second_process_on_one_run_refuses(cli, shop, tmp_path):
    run = tmp_path / "r"
    run.mkdir()
    with FileLock(run / ".lock"):
        one_line(cli("train", shop, "--out", run, *QUICK), "is in use")
    assert cli("train", shop, "--out", run, *QUICK)[0] == 0


def interrupt_after_first_epoch(monkeypatch):
    from bertrec.models.idrec import IDRec

    whole, epochs = IDRec._validate, []

    def once(self, *arguments):
        epochs.append(1)
        if len(epochs) == 2:
            raise KeyboardInterrupt
        return whole(self, *arguments)

    monkeypatch.setattr(IDRec, "_validate", once)


def test_an_interrupted_training_is_resumed_to_the_same_weights(cli, shop, tmp_path, monkeypatch):
    options = ["--model", "idrec", "--epochs", "3", "--set", "item.width=16", "--set", "head.layers=1"]
    assert cli("train", shop, "--out", tmp_path / "whole", *options)[0] == 0
    run = tmp_path / "cut"
    with monkeypatch.context() as patch:
        interrupt_after_first_epoch(patch)
        code, _, err = cli("train", shop, "--out", run, *options)
    assert (code, err.splitlines()[-1]) == (130, "bertrec: interrupted")
    assert "with --resume goes on" in err
    one_line(cli("train", shop, "--out", run, *options), "unfinished training", "--resume")
    one_line(cli("evaluate", run), "go on with --resume")
    one_line(cli("train", shop, "--out", run, "--resume", *options, "--seed", "9"), "started with seed")
    assert cli("train", shop, "--out", run, "--resume", *options)[0] == 0
    hashes = [json.loads((folder / "run.json").read_text(encoding="utf-8"))["model_hash"] for folder in (tmp_path / "whole", run)]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--model", "unisrek"], "did you mean 'unisrec'"),
        (["--model", "idrec", "--set", "head.layer=2"], "did you mean 'head.layers'"),
        (["--model", "idrec", "--set", "head.layers=none"], "head.layers"),
        (["--item-input", "txt"], "did you mean 'text'"),
        (["--tune", "frosen"], "frosen"),
        (["--split", "coldest"], "cold-items"),
        (["--model", "idrec", "--on-empty", "kep"], "keep"),
        (["--model", "idrec", "--text-fields", "titel"], "did you mean 'title'"),
        (["--init", "no-such-run"], "no such run"),
        (["--config", "no-such.yaml"], "no such file"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing_behind(cli, shop, tmp_path, options, said):
    out = one_line(cli("train", shop, "--out", tmp_path / "r", *options), said)
    assert not out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        (["--model", "unisrec", "--item-input", "id", "--tune", "last:2"], "encoder.tune"),
        (["--set", "encoder.name=elsewhere", "--set", "item.fields=apart"], "encoder.name, item.fields"),
        (["--set", "match.new_items=off"], "match.new_items"),
        (["--tune", "frozen", "--set", "encoder.name=minilm", "--set", "item.width=8"], ""),
    ],
)
def test_settings_of_texts_change_nothing_where_items_are_ids(cli, shop, tmp_path, more, unread):
    code, _, err = cli("train", shop, *QUICK, *more, "--out", tmp_path / "r")
    assert code == 0
    notes = [line for line in err.splitlines() if "changes nothing" in line]
    assert notes == ([f"note: items are ids alone here: {unread} changes nothing"] if unread else [])


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), ["red kettle", "oak shelf", "steel lamp"], hidden=32)


@pytest.mark.parametrize(
    ("more", "unread"),
    [
        (["item.id_dropout=0.5", "match.behaviour=20", "match.solved=0", "match.decay=0.5"], 4),
        (["match.text=20", "match.text_decay=0.5", "match.max_history=5", "item.dropout=0.1"], 0),
    ],
)
@pytest.mark.parametrize("model", ["unisrec", "morec"])
def test_settings_of_ids_change_nothing_where_items_are_texts(cli, shop, tmp_path, encoder, model, more, unread):
    words = [
        "--model",
        model,
        "--item-input",
        "text",
        "--set",
        f"encoder.name={encoder}",
        *(word for one in more for word in ("--set", one)),
    ]
    code, _, err = cli("train", shop, *QUICK, *words, "--out", tmp_path / "r")
    assert code == 0, err
    names = ", ".join(one.partition("=")[0] for one in more[:unread])
    notes = [line for line in err.splitlines() if "changes nothing" in line]
    assert notes == ([f"note: items are texts alone here: {names} changes nothing"] if unread else [])


def test_options_win_over_the_config_and_set_wins_over_both(cli, shop, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("model: unisrec\nitem: {input: text, width: 8}\nhead.layers: 1\ntrain: {epochs: 7, seed: 3}\n")
    words = ["--config", path, "--model", "idrec", "--item-input", "id", "--epochs", "1", "--set", "item.width=16"]
    assert cli("train", shop, "--out", tmp_path / "r", *words)[0] == 0
    record = json.loads((tmp_path / "r" / "run.json").read_text(encoding="utf-8"))
    assert record["model"] == "idrec"
    assert record["config"]["item"]["input"] == "id"
    assert record["config"]["item"]["width"] == 16
    assert (record["config"]["train"]["epochs"], record["config"]["train"]["seed"]) == (1, 3)


def test_choosing_takes_the_name_out_of_the_settings():
    settings = {"model": "morec", "encoder.tune": "lora", "head.layers": 2}
    assert choose(settings, model=None, item_input=None, tune="full") == {"model": "morec", "item_input": None, "tune": "full"}
    assert settings == {"head.layers": 2}
    assert choose({}, model=None, item_input=None, tune=None)["model"] == "unisrec"


def test_the_cold_items_split_is_the_seeds(cli, shop, tmp_path):
    held = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert cli("train", shop, "--out", tmp_path / name, "--split", "cold-items", "--seed", seed, *QUICK)[0] == 0
        held.append(json.loads((tmp_path / name / "run.json").read_text(encoding="utf-8"))["manifest"]["held_out"])
    assert held[0] == held[1]
    assert len(held[0]) == 1


def test_a_full_disk_leaves_the_former_run(cli, shop, run, monkeypatch):
    from bertrec.models.idrec import IDRec

    def full(self, folder, **_):
        raise BertrecError(f"cannot write {folder}: No space left on device; what was there before is unchanged")

    model = snapshot(run / "model")
    monkeypatch.setattr(IDRec, "save_pretrained", full)
    one_line_last = cli("train", shop, "--out", run, "--overwrite", *QUICK)
    assert one_line_last[0] == 2
    assert "No space left on device" in one_line_last[2].splitlines()[-1]
    assert snapshot(run / "model") == model


def test_a_seed_of_the_split_is_none_of_a_model_that_draws_nothing(shop, tmp_path):
    assert main(["train", str(shop), "--model", "popularity", "--split", "cold-items", "--seed", "3", "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["seed"] == record["split"]["options"]["seed"] == 3
    assert record["settings"] == {}


def test_a_refused_training_leaves_a_folder_as_it_was(cli, shop, tmp_path):
    """Once it left a lock in the data."""
    data = shutil.copytree(shop, tmp_path / "data")
    before = sorted(os.listdir(data))
    one_line(cli("train", data, "--out", data, *QUICK), "is not empty and holds no run")
    one_line(cli("train", data, "--out", data, "--resume", *QUICK), "no unfinished training")
    one_line(cli("train", tmp_path / "none", "--out", tmp_path / "r", *QUICK), "none")
    assert sorted(os.listdir(data)) == before
    assert os.listdir(tmp_path) == ["data"]


def test_a_training_that_fails_leaves_no_folder(cli, shop, tmp_path, monkeypatch):
    from bertrec.models.idrec import IDRec

    def full(*_, **__):
        raise ModelError("the loss is not finite")

    monkeypatch.setattr(IDRec, "fit", full)
    code, _, err = cli("train", shop, "--out", tmp_path / "r", *QUICK)
    assert code == 2
    assert "bertrec: the loss is not finite" in err
    assert os.listdir(tmp_path) == []


def test_a_run_that_is_trained_anew_through_a_link_stays_behind_it(cli, shop, tmp_path):
    (tmp_path / "current").symlink_to("disk")
    for options in ([], ["--overwrite"]):
        assert cli("train", shop, "--out", tmp_path / "current", "--model", "popularity", *options)[0] == 0
        assert (tmp_path / "current").is_symlink()
        assert sorted(os.listdir(tmp_path / "disk")) == ["model", "run.json"]
