"""``bertrec encoder adapt`` over a tiny encoder, and what ``train`` and ``evaluate`` say of an adapted one."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from kills import killed_at_each_step
from planted_partners import TEXTS, write_planted
from tiny_encoders import tiny_bert

from bertrec.cli.main import main
from bertrec.encoders.adaptation import read_adaptation
from bertrec.encoders.text import TextEncoder
from bertrec.training import checkpoints


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return write_planted(tmp_path_factory.mktemp("data") / "planted")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), TEXTS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path_factory.mktemp("cache")))


FAST = ["--epochs", "3", "--set", "train.batch_size=32", "--set", "train.encoder_learning_rate=2e-3", "--set", "encoder.precision=fp32"]


def words(planted, tiny, out, *more):
    return ["encoder", "adapt", planted, "--encoder", tiny, "--out", out, *FAST, *more]


@pytest.fixture(scope="module")
def made(planted, tiny, tmp_path_factory):
    """An encoder adapted on leave-one-out; treat it as read-only."""
    out = tmp_path_factory.mktemp("encoders") / "적응"
    assert main([str(word) for word in words(planted, tiny, out, "--seed", "1")]) == 0
    return out


def test_it_says_what_it_found_and_writes_an_encoder(cli, planted, tiny, tmp_path):
    out = tmp_path / "encoders" / "planted"
    code, said, err = cli(*words(planted, tiny, out))
    assert code == 0
    assert "split leave_one_out: training 240 interactions" in err
    lines = said.splitlines()
    assert lines[0].startswith("training 160 pairs of items, ")
    assert lines[1].startswith("before: Recall@1 ")
    assert lines[2].startswith("after 3 epochs (")
    assert lines[3] == f"wrote {out}: bertrec train {planted} --set encoder.name={out}"
    assert os.listdir(out.parent) == ["planted"]  # nothing unfinished is left beside it
    record = read_adaptation(str(out))
    assert record.pairs == {"items": 160}
    assert (record.encoder, record.data) == (tiny, "planted")
    assert record.split["method"] == "leave_one_out"
    assert f"Recall@10 {record.after['Recall@10']:.4f}" in lines[2]


def test_it_is_not_replaced_unasked(cli, planted, tiny, made, tmp_path):
    out = shutil.copytree(made, tmp_path / "there")
    code, _, err = cli(*words(planted, tiny, out))
    assert code == 2
    assert f"--out {out} holds an encoder: choose another folder, or --overwrite it" in err
    assert cli(*words(planted, tiny, out, "--overwrite", "--tune", "lora"))[0] == 0
    assert TextEncoder.load(out).config.tune == "frozen"
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("dear")
    code, _, err = cli(*words(planted, tiny, tmp_path / "letters"))
    assert code == 2
    assert "holds something else than an encoder" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--tune", "frozen"], "encoder.tune frozen leaves nothing to adapt"),
        (["--tune", "last:9"], "asks for more than the 2 layers"),
        (["--pairs", "reviews"], "the data have no reviews"),
        (["--pairs", "users"], "setting 'pairs'"),
        (["--set", "window=0"], "setting 'window'"),
        (["--set", "windows=2"], "did you mean 'window'"),
        (["--encoder", "./absent"], "encoder folder ./absent does not exist"),
        (["--text-fields", "colour"], "colour"),
        (["--split", "cold"], "unknown split 'cold'"),
        (["--set", "train.metric=NDCG@10"], "unknown validation metric 'NDCG@10'"),
        (["--resume"], "--resume: there is no unfinished training"),
        (["--resume", "--overwrite"], "give one of them"),
        (["--epochs", "0"], "--epochs"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing_behind(cli, planted, tiny, tmp_path, more, said):
    code, _, err = cli(*words(planted, tiny, tmp_path / "out", *more))
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_says_holds_until_an_option_says_other(cli, planted, tiny, tmp_path):
    """The encoder, depth and pairs of the file are taken where their options are left out; an epoch by option is one epoch."""
    (tmp_path / "a.yaml").write_text(f"encoder.name: {tiny}\nencoder.tune: 'last:1'\npairs: items\ntrain.epochs: 5\n")
    fast = ("--epochs", "1", "--set", "train.encoder_learning_rate=2e-3", "--set", "encoder.precision=fp32")
    for more, tune in (((), "last:1"), (("--tune", "full"), "full")):
        out = tmp_path / tune.replace(":", "-")
        code, said, _ = cli("encoder", "adapt", planted, "--config", tmp_path / "a.yaml", "--out", out, *fast, *more)
        assert code == 0
        assert "after 1 epochs" in said
        adapted = read_adaptation(out)
        assert adapted is not None
        assert (adapted.encoder, adapted.settings["encoder.tune"]) == (str(tiny), tune)


def test_data_that_cannot_be_adapted_to(cli, planted, tiny, tmp_path):
    bare = shutil.copytree(planted, tmp_path / "bare")
    rows = (bare / "items.csv").read_text().splitlines()
    (bare / "items.csv").write_text("\n".join([rows[0], *(row.split(",")[0] + "," for row in rows[1:])]))
    code, _, err = cli(*words(bare, tiny, tmp_path / "out"))
    assert code == 2
    assert "encoder adapt has nothing to read" in err
    few = shutil.copytree(planted, tmp_path / "few")
    rows = (few / "interactions.csv").read_text().splitlines()
    (few / "interactions.csv").write_text("\n".join(rows[:5]))  # one user, of whose four items two are held out
    code, _, err = cli(*words(few, tiny, tmp_path / "out"))
    assert code == 2
    assert "fewer than two different pairs" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare", "few"]


def test_a_time_limit_ends_it(cli, planted, tiny, tmp_path):
    code, said, _ = cli(*words(planted, tiny, tmp_path / "out", "--minutes", "0.00001", "--epochs", "1000"))
    assert code == 0
    assert "after 1 epochs" in said


def test_it_goes_on_where_it_was_cut_short_and_gives_the_same(cli, planted, tiny, made, tmp_path, monkeypatch):
    out, prune, done = tmp_path / "out", checkpoints.prune, []

    def stop(folder, *rest, **options):
        prune(folder, *rest, **options)
        done.append(folder)
        if len(done) == 2:  # it comes after each epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bertrec.training.trainer.prune", stop)
        assert cli(*words(planted, tiny, out, "--seed", "1"))[0] != 0
    assert not out.exists()
    assert (tmp_path / "out.unfinished" / "checkpoints" / "epoch-2").is_dir()
    code, _, err = cli(*words(planted, tiny, out, "--seed", "1"))
    assert code == 2
    assert "holds an unfinished training: --resume goes on with it, --overwrite starts afresh" in err
    code, _, err = cli(*words(planted, tiny, out, "--seed", "1", "--set", "temperature=0.1", "--resume"))
    assert code == 2
    assert "was started with settings" in err
    assert cli(*words(planted, tiny, out, "--seed", "1", "--resume", "--minutes", "60"))[0] == 0
    assert os.listdir(tmp_path) == ["out"]
    assert TextEncoder.load(out).fingerprint == TextEncoder.load(made).fingerprint
    assert read_adaptation(str(out)).after == pytest.approx(read_adaptation(str(made)).after)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the kills are those of forks")
def test_killed_while_it_is_written_the_former_or_the_new_one_is_there(made, planted, tiny, tmp_path):
    encoder = TextEncoder.load(made)
    other = TextEncoder.from_config(encoder.config.updated({"name": tiny}))
    place = tmp_path / "place"
    other.save(place)
    seen = set()
    for _ in killed_at_each_step(lambda: encoder.save(place)):
        found = TextEncoder.load(place)
        seen.add(None if found.adaptation is None else found.adaptation.data)
        assert found.fingerprint == (other if found.adaptation is None else encoder).fingerprint
        other.save(place)
    assert seen >= {None}
    assert TextEncoder.load(place).adaptation == encoder.adaptation


class TestRunsOfAnAdaptedEncoder:
    def train(self, cli, planted, made, out, *more):
        return cli("train", planted, "--model", "text-similarity", "--set", f"encoder.name={made}", "--out", out, *more)

    def test_the_same_split_is_silent_and_recorded(self, cli, planted, made, tmp_path):
        code, _, err = self.train(cli, planted, made, tmp_path / "run")
        assert code == 0
        assert "adapted" not in err
        record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
        assert record["adaptation"] == read_adaptation(str(made)).to_dict()
        code, _, err = cli("evaluate", tmp_path / "run", "--split", "valid", "--bootstrap", "0")
        assert code == 0
        assert "adapted" not in err

    def test_another_split_is_one_warning_in_train_and_evaluate(self, cli, planted, made, tmp_path):
        code, _, err = self.train(cli, planted, made, tmp_path / "run", "--split", "cold-items", "--seed", "3")
        lines = [line for line in err.splitlines() if "adapted" in line]
        assert code == 0
        assert len(lines) == 1
        assert lines[0].startswith(
            f"warning: encoder {made} was adapted on another split of these data (leave_one_out): it has read 8 of 8"
        )
        code, _, err = cli("evaluate", tmp_path / "run", "--bootstrap", "0")
        assert code == 0
        assert lines[0] in err.splitlines()

    def test_cold_items_with_the_same_seed(self, cli, planted, tiny, tmp_path):
        out, cold = tmp_path / "cold", ["--split", "cold-items", "--seed", "3"]
        assert cli(*words(planted, tiny, out, *cold))[0] == 0
        assert "adapted" not in self.train(cli, planted, out, tmp_path / "same", *cold)[2]
        assert "(cold_items, seed 3)" in self.train(cli, planted, out, tmp_path / "other", "--split", "cold-items", "--seed", "4")[2]

    def test_each_draw_of_new_items_says_what_was_read_of_it(self, cli, planted, made, tiny, tmp_path):
        model = ["new-items", planted, "--model", "text-similarity", "--share", "0.3", "--draws", "2"]
        for _ in ("measured", "from before"):
            code, _, err = cli(*model, "--set", f"encoder.name={made}", "--out", tmp_path / "adapted")
            lines = [line for line in err.splitlines() if "adapted on" in line]
            held = [json.loads((tmp_path / "adapted" / f"draw-{draw}.json").read_text())["split"] for draw in range(2)]
            assert code == 0
            assert [line.partition(": it has read")[0] for line in lines] == [
                f"draw {draw}: warning: encoder {made} was adapted on another split of these data (leave_one_out)" for draw in range(2)
            ]
            assert [one["seed"] for one in held] == [0, 1]
        assert "adapted on" not in cli(*model, "--set", f"encoder.name={tiny}", "--out", tmp_path / "plain")[2]

    def test_a_trained_model_knows_it_too(self, cli, planted, made, tmp_path):
        small = ["--set", "item.width=16", "--set", "head.layers=1", "--epochs", "1", "--item-input", "text", "--split", "ratio"]
        code, _, err = cli("train", planted, "--set", f"encoder.name={made}", "--out", tmp_path / "run", *small)
        assert code == 0
        assert "adapted" not in err  # of five interactions each, ratio holds out the same two

    def test_other_data_are_no_matter(self, cli, made, tmp_path):
        far = write_planted(tmp_path / "elsewhere", seed=9)
        code, _, err = self.train(cli, far, made, tmp_path / "run")
        assert code == 0
        assert "adapted" not in err

    def test_models_without_text(self, cli, planted, tmp_path):
        code, _, _ = cli("train", planted, "--model", "popularity", "--out", tmp_path / "run")
        assert code == 0
        assert "adaptation" not in json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))


def test_help_has_examples(cli):
    code, out, _ = cli("encoder", "adapt", "--help")
    assert code == 0
    assert "bertrec encoder adapt data/scientific --max-minutes 10" in out
    assert "--resume" in out


def test_its_settings_are_shown(cli):
    code, out, _ = cli("settings", "adapt")
    assert code == 0
    assert "temperature" in out
    assert "encoder.tune" in out
