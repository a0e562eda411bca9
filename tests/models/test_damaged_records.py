"""Folders whose JSON was changed by hand: one line each, never a fault of ours."""

from __future__ import annotations

import json
import random
import shutil

import my_rankers
import numpy as np
import pytest
from records import change

import bertrec
from bertrec.cli.main import main
from bertrec.core.errors import BertrecError
from bertrec.data import impressions_from_sequences
from bertrec.models.hub import files_to_send
from bertrec.rankers import Ensemble, unfinished


@pytest.mark.parametrize(
    "values",
    [
        {"format": "x"},
        {"format": None},
        {"sha256": []},
        {"sha256": None},
        {"config": "x"},
        {"config": []},
        {"class": 3},
        {"class": "mine", "path": []},
        {"class": "mine", "path": 3},
    ],
)
def test_a_models_record(split, tmp_path, values):
    bertrec.Popularity().fit(split.train).save_pretrained(tmp_path / "model")
    change(tmp_path / "model" / "config.json", **values)
    with pytest.raises(BertrecError, match=r"config\.json is not the file of a bertrec model"):
        bertrec.Recommender.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize("count", [0, 1, 3, 10**9, "2", None])
def test_an_ensembles_record(split, tmp_path, count):
    clicks = impressions_from_sequences(split.train, negatives=2, seed=0)
    rankers = [my_rankers.ClickRate().fit(clicks), my_rankers.ClickRate().fit(clicks)]
    Ensemble(rankers).save_pretrained(tmp_path / "both")
    loaded = bertrec.Ranker.from_pretrained(tmp_path / "both", classes="my_rankers:ClickRate")
    np.testing.assert_array_equal(loaded.score(clicks.histories, clicks.candidates), rankers[0].score(clicks.histories, clicks.candidates))
    sent = {one.name for one in files_to_send(tmp_path / "both")}
    assert {"members/0/model.safetensors", "members/1/items.parquet", "config.json"} <= sent
    change(tmp_path / "both" / "config.json", members=count)
    with pytest.raises(BertrecError, match="members of the ensemble"):
        bertrec.Ranker.from_pretrained(tmp_path / "both", classes="my_rankers:ClickRate")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop").mkdir()
    rows = [f"{user},{(user + step) % 10},{step}" for user in range(24) for step in range(6)]
    (tmp_path / "shop" / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (tmp_path / "shop" / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},thing {item}" for item in range(10))]) + "\n")
    return tmp_path


@pytest.mark.parametrize("values", [{"data": 3}, {"split": "x"}, {"split": {"options": [1]}}, {"load": 3}])
def test_a_runs_record(shop, values, capsys):
    assert main(["train", "shop", "--model", "popularity", "--out", "run"]) == 0
    change(shop / "run" / "run.json", **values)
    capsys.readouterr()
    assert main(["evaluate", "run"]) == 2
    assert "run.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("values", [{"members": 3}, {"members": None}, {"data": 3}, {"data_hash": [1]}, {"load": 1}])
def test_a_record_of_rankers(shop, values, capsys):
    assert main(["rankers", "train", "shop", "--ranker", "my_rankers:ClickRate", "--out", "run"]) == 0
    change(shop / "run" / "run.json", **values)
    capsys.readouterr()
    assert main(["rankers", "evaluate", "run", "--model", "my_rankers:ClickRate"]) == 2
    assert "run.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[]", "5", '{"plan": 5, "members": []}', '{"plan": {}, "members": 5}', '{"plan": {}, "members": [1]}', "{"]
)
def test_what_is_to_be_resumed(shop, text, capsys):
    (shop / "run.unfinished").mkdir()
    (shop / "run.unfinished" / "progress.json").write_text(text)
    assert main(["rankers", "train", "shop", "--ranker", "my_rankers:ClickRate", "--out", "run", "--resume"]) == 2
    err = capsys.readouterr().err
    assert "progress.json" in err
    assert "cut short" not in err
    assert not (shop / "run").exists()


def test_a_ranker_that_is_gone_is_not_taken_for_done(shop, capsys):
    words = ["rankers", "train", "shop", "--ranker", "my_rankers:ClickRate", "--out", "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bertrec.rankers.runs.versions", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(words) == 130
    progress = shop / "run.unfinished" / "progress.json"
    assert len(json.loads(progress.read_text())["members"]) == 1
    shutil.rmtree(shop / "run.unfinished" / "members")
    capsys.readouterr()
    assert main([*words, "--resume"]) == 2
    assert "lacks ranker 0, which was done" in capsys.readouterr().err
    assert not (shop / "run").exists()


@pytest.mark.parametrize("moment", ["noting", "clearing"])
def test_a_ranker_cut_off_while_it_is_noted_leaves_the_next_one_no_checkpoint(tmp_path, moment, monkeypatch):
    """Between the record and the removal of the checkpoints a kill once left the next ranker those of the one before."""
    target = tmp_path / "run"

    def cut(*_, **__):
        raise KeyboardInterrupt

    def train():
        with unfinished.training_into(target, {"plan": 1}, resume=False, say=print) as work:
            work.next_member.mkdir(parents=True)
            (work.next_member / "config.json").write_text("{}")
            (work.folder / "checkpoints" / "epoch-1").mkdir(parents=True)
            place, name = (work, "note_down") if moment == "noting" else (unfinished.shutil, "rmtree")
            monkeypatch.setattr(place, name, cut)
            work.add({"ranker": "first"})

    with pytest.raises(KeyboardInterrupt):
        train()
    monkeypatch.undo()
    with unfinished.training_into(target, {"plan": 1}, resume=True, say=print) as work:
        assert len(work.done) == (0 if moment == "noting" else 1)
        assert not (work.folder / "checkpoints").exists()
        assert not list(work.folder.glob("checkpoints*"))


def test_changed_settings_are_not_loaded(split, tmp_path):
    """Once a changed temperature gave another model, in silence."""
    settings = {"item.width": 16, "head.layers": 1, "train.epochs": 1}
    model = bertrec.create("idrec", settings=settings).fit(split.train, progress=False)
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    text = path.read_text()
    temperature = f'"temperature": {model.config.to_flat()["loss.temperature"]}'
    assert text.count(temperature) == 1
    path.write_text(text.replace(temperature, '"temperature": 0.9'))
    with pytest.raises(BertrecError, match=r"config\.json was changed or damaged since it was written"):
        bertrec.Recommender.from_pretrained(tmp_path / "model")


def test_no_flipped_bit_of_a_record_is_taken(split, tmp_path):
    model = bertrec.Popularity().fit(split.train)
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    content, draw = path.read_bytes(), random.Random(0)
    for bit in draw.sample(range(8 * len(content)), 150):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            loaded = bertrec.Recommender.from_pretrained(tmp_path / "model")
        except BertrecError:
            continue
        # White space, or the name of the hash itself: what is said is the same.
        assert loaded.model_hash == model.model_hash
        assert loaded.config == model.config


def test_a_model_saved_before_records_had_hashes_is_the_same_model(split, tmp_path):
    model = bertrec.create("idrec", settings={"item.width": 16, "head.layers": 1, "train.epochs": 1}).fit(split.train, progress=False)
    model.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    record = json.loads(path.read_text())
    del record["record_sha256"]
    path.write_text(json.dumps(record))
    assert bertrec.Recommender.from_pretrained(tmp_path / "model").model_hash == model.model_hash
