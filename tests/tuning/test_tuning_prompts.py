"""Cloze prompts as a objective of a study, on a few impressions and a tiny masked encoder."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

pytest.importorskip("optuna")
from tiny_encoders import tiny_masked

from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, DataError
from bertrec.data.load import load
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt, library
from bertrec.tuning.objectives.models import FinalObjective
from bertrec.tuning.objectives.rankers import RankerObjective, check_clicks, clicks_of
from bertrec.tuning.space import Space
from bertrec.tuning.study_data import ImpressionSplit, load_study_data, save_study_data

NEWS = {f"N{k}": f"{colour} story {k}" for k, colour in enumerate(["red", "blue", "gold"] * 3)}
SPACE = {"template": {"choice": ["action-hybrid", "item-text"]}, "negatives": {"int": [1, 5]}}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """MIND's files: 20 impressions to train on, 6 of valid with labels, 6 of test without."""
    root = tmp_path_factory.mktemp("mind")
    news = [f"{name}\tnews\tworld\t{title}\tsome abstract\thttps://x\t[]\t[]" for name, title in NEWS.items()]
    (root / "data").mkdir()
    (root / "data" / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    for part, n in (("train", 20), ("valid", 6), ("test", 6)):
        mark = ("", "") if part == "test" else ("-0", "-1")
        rows = [f"{k + 1}\tU{k}\t11/11/2019 9:05:58 AM\tN{(k + 3) % 9}\tN{(k + 1) % 9}{mark[0]} N{k % 9}{mark[1]}" for k in range(n)]
        (root / "data" / part).mkdir()
        (root / "data" / part / "behaviors.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    tiny_masked(root / "encoder", [*NEWS.values(), *(Prompt.load(name).text for name in library()), "yes no good bad"])
    (root / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return root


@pytest.fixture(scope="module")
def clicks(world):
    return clicks_of(load(str(world / "data")), "prompt4nr", Space.from_dict(SPACE), {}, seed=0)


def settings_of(world):
    return {"encoder.name": str(world / "encoder"), "encoder.max_length": 60, "train.epochs": 1}


def test_a_fifth_of_training_chooses_and_the_labelled_part_is_left(clicks):
    assert (len(clicks.learned), len(clicks.validation), len(clicks.test)) == (16, 4, 6)
    assert clicks.test.labels is not None  # MIND withholds those of its test part: valid stands for it


def test_interactions_become_impressions_with_as_many_negatives_as_are_searched(tmp_path):
    rows = [f"u{u},i{(u * 7 + step) % 30},{step}" for u in range(12) for step in range(5)]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title\n" + "\n".join(f"i{k},thing {k}" for k in range(30)) + "\n")
    found = clicks_of(load(str(tmp_path)), "prompt4nr", Space.from_dict(SPACE), {}, seed=0)
    assert found.test is None
    assert set(found.learned.candidates.lengths.tolist()) == {6}
    assert len(found.learned) + len(found.validation) == 12 * 3  # the last two positions of each user are held out


def test_clicks_survive_without_their_users(clicks, tmp_path):
    save_study_data(clicks, tmp_path)
    again = load_study_data("prompt", tmp_path)
    for name in ("learned", "validation", "test"):
        part, other = getattr(clicks, name), getattr(again, name)
        np.testing.assert_array_equal(part.candidates.values, other.candidates.values)
        np.testing.assert_array_equal(part.histories.offsets, other.histories.offsets)
        np.testing.assert_array_equal(part.labels, other.labels)
        assert len(set(part.users)) == len(set(other.users))
    kept, given = ([user for part in (one.learned, one.validation, one.test) for user in part.users] for one in (again, clicks))
    assert len(set(zip(kept, given, strict=True))) == len(set(kept)) == len(set(given))  # one name for a user, whatever the part
    assert not set(kept) & {*given, *range(len(kept))}
    assert again.learned.catalog.titles == clicks.learned.catalog.titles
    assert "U3" not in str(again.learned.users)
    bare = ImpressionSplit(clicks.learned, clicks.validation.__class__(**{**clicks.validation.__dict__, "labels": None}))
    with pytest.raises(DataError, match="validation impressions have no labels"):
        save_study_data(bare, tmp_path / "bare")


@pytest.mark.slow
def test_a_trial_measures_what_the_ranker_says_itself(world, clicks):
    objective, seen = RankerObjective(settings=settings_of(world), seed=3), []
    assert isinstance(objective, FinalObjective)
    asked = {"template": "item-text", "negatives": 2}
    result = objective.run(asked, clicks, ("MRR", "AUC"), lambda epoch, value: seen.append((epoch, value)))
    plain = PromptRanker(objective.create(asked).config).fit(clicks.learned, validation=clicks.validation, progress=False)
    figures = plain.figures(clicks.validation)
    assert result.values == pytest.approx([figures["MRR"], figures["AUC"]])
    assert plain.config.train.seed == 3
    assert plain.config.prompt.name == "item-text"
    assert seen == [(1, pytest.approx(figures["MRR"]))]
    assert result.per_user.mean() == pytest.approx(result.values[0])
    assert (result.epochs, result.best_epoch) == (1, 1)


def test_the_defaults_lie_in_the_preset():
    objective = RankerObjective()
    preset = Space.preset("prompt4nr")
    first = preset.defaults(objective.defaults)
    assert first["template"] == "action-hybrid"
    assert first["negatives"] == 4
    check_clicks(("AUC",))
    objective.check(preset)


@pytest.mark.parametrize(
    ("metrics", "space", "says"),
    [
        (("NDCG@10",), SPACE, "unknown metric of impressions 'NDCG@10': did you mean 'nDCG@10'"),
        ((), SPACE, "give one metric"),
        (("AUC",), {"template": {"choice": ["action-hybird"]}}, "did you mean 'action-hybrid'"),
        (("AUC",), {"template": {"choice": ["collaborative"]}}, "has vectors of users and items in it"),
        (("AUC",), {"template": {"int": [1, 2]}}, "write it as a choice"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_the_first_trial(metrics, space, says):
    def check():
        check_clicks(metrics)
        RankerObjective().check(Space.from_dict(space))

    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        check()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--set", "negativs=3"], "did you mean 'negatives'"),
        (["--set", "template=collaborative"], "has vectors of users and items in it"),
        (["--item-input", "text"], "prompt4nr has no --item-input text"),
        (["--split", "time"], "--split is for sequences"),
        (["--metric", "latency"], "unknown metric of impressions"),
        (["--preset", "quick"], "unknown preset of prompt4nr 'quick'"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, says, world, tmp_path, capsys):
    space = [] if words[0] in ("--preset",) or "template=" in words[1] else ["--space", str(world / "space.yaml")]
    if "template=" in words[1]:
        (tmp_path / "space.yaml").write_text("negatives: {int: [1, 5]}\n")
        space = ["--space", str(tmp_path / "space.yaml")]
    assert main(["tune", str(world / "data"), "--model", "prompt4nr", *space, "--out", str(tmp_path / "out"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.slow
def test_the_command_leaves_a_winner_measured_once_that_prompt_train_takes(world, tmp_path, capsys, here):
    out = tmp_path / "study"
    fixed = [word for name, value in settings_of(world).items() for word in ("--set", f"{name}={value}")]
    words = ["tune", "run", str(world / "data"), "--model", "prompt4nr", "--space", str(world / "space.yaml"), "--trials", "2"]
    assert main([*words, *fixed, "--final-seeds", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "test AUC: winner" in printed
    best = yaml.safe_load((out / "best.yaml").read_text())
    assert set(best) == {"train.metric", "template", "negatives", *settings_of(world)}
    assert best["train.metric"] == "AUC"
    assert list(json.loads((out / "test.json").read_text())["metrics"]) == ["AUC", "MRR", "nDCG@5", "nDCG@10"]
    kept = PromptRanker.from_pretrained(out / "model")
    assert kept.config.prompt.name == best["template"]
    assert main(["prompt", "train", str(world / "data"), "--config", str(out / "best.yaml"), "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["members"][0]["prompt"] == best["template"]
