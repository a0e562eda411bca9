"""The tuning commands, on a small table of interactions."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from bertrec.cli.main import main
from bertrec.cli.tune_start import minutes
from bertrec.core.errors import ConfigError

SMALL = ("--set", "train.epochs=2", "--set", "item.width=16", "--set", "head.layers=1")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    data = tmp_path_factory.mktemp("data") / "shop"
    data.mkdir()
    rows = [f"u{u},i{(u * 7 + step) % 30},{step}" for u in range(40) for step in range(8)]
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (data / "items.csv").write_text("item_id,title\n" + "\n".join(f"i{k},thing number {k}" for k in range(30)) + "\n")
    (data.parent / "space.yaml").write_text("head.dropout: {float: [0.1, 0.5]}\n")
    return data


@pytest.fixture(scope="module")
def study(shop, tmp_path_factory):
    out = tmp_path_factory.mktemp("studies") / "tuned"
    words = ["tune", str(shop), "--model", "idrec", "--space", str(shop.parent / "space.yaml"), "--trials", "2", "--final-seeds", "1"]
    assert main([*words, *SMALL, "--out", str(out)]) == 0
    return out


@pytest.mark.slow
def test_a_study_leaves_what_the_docs_say(study):
    for name in ("plan.json", "study.journal", "best.yaml", "trials.parquet", "test.json", "index.html", "report.md"):
        assert (study / name).stat().st_size > 0, name
    assert pq.read_table(study / "trials.parquet").num_rows == 2
    assert (study / "model").is_dir()


@pytest.mark.slow
def test_show_best_compare_and_export(study, capsys):
    assert main(["tune", "show", str(study)]) == 0
    out, err = capsys.readouterr()
    assert "head.dropout=0.3" in out
    assert "optuna-dashboard" in err
    assert main(["tune", "best", str(study)]) == 0
    assert "model: idrec" in capsys.readouterr().out
    assert main(["tune", "compare", str(study), str(study)]) == 0
    assert capsys.readouterr().out.count("tuned") == 2
    (study / "trials.parquet").unlink()
    assert main(["tune", "export", str(study)]) == 0
    assert (study / "trials.parquet").exists()


@pytest.mark.slow
def test_resume_adds_trials(study):
    assert main(["tune", "resume", str(study), "--trials", "3"]) == 0
    assert pq.read_table(study / "trials.parquet").num_rows == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "idrek"], "no model of ours"),
        (["--model", "idrec", "--preset", "quik"], "did you mean 'quick'"),
        (["--model", "popularity"], "there is no preset for popularity"),
        (["--model", "idrec", "--metric", "NDGC@10"], "did you mean 'NDCG@10'"),
        (["--model", "idrec", "--metric", "NDCG@10,latency", "--pruner", "median"], "pruning needs a single objective"),
        (["--model", "idrec", "--sampler", "grid"], "is continuous: give it a step or a choice"),
        (["--model", "idrec", "--timeout", "soon"], "write it as 90s, 30m or 2h"),
        (["--model", "idrec", "--space", "none.yaml"], "no such file"),
        (["--model", "idrec", "--space", "SPACE", "--preset", "quick"], "--preset quick another space: give one of them"),
        (["--model", "BPR", "--item-input", "text"], "BPR is RecBole's, which has no item input and no tuning depth"),
        (["--model", "BPR", "--tune", "last:1"], "BPR is RecBole's, which has no item input and no tuning depth"),
        (["--model", "nrms", "--keep-seen"], "nrms ranks what was shown, and no history is left out: leave --keep-seen out"),
        (["--model", "idrec", "--set", "head.dropout=0.2"], "is both in the space and set to 0.2"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, says, shop, tmp_path, capsys):
    words = [str(shop.parent / "space.yaml") if word == "SPACE" else word for word in words]
    assert main(["tune", str(shop), "--out", str(tmp_path / "out"), *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.parametrize("command", ["show", "best", "export", "resume", "compare"])
def test_a_folder_without_a_study_is_said_to_be_none(command, tmp_path, capsys):
    assert main(["tune", command, str(tmp_path)]) == 2
    assert "holds no study" in capsys.readouterr().err


def test_help_shows_both_forms(capsys):
    assert main(["tune", "--help"]) == 0
    out = capsys.readouterr().out
    assert "resume" in out
    assert "bertrec tune ml-100k" in out


def test_times_have_units():
    assert [minutes(text) for text in (None, "90s", "30m", "2h", "5", "1.5h")] == [0, 1.5, 30, 120, 5, 90]
    with pytest.raises(ConfigError):
        minutes("2 hours")
