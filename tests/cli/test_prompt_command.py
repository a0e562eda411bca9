"""``bertrec prompt`` from MIND's files to an ensemble's figures and a submission."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.cli.main import main
from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.submission import read_submission
from bertrec.rankers.prompts import plan
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt, library
from bertrec.rankers.runs import open_rankers

NEWS = {f"N{k}": f"{colour} story {k}" for k, colour in enumerate(["red", "blue", "gold", "red", "blue", "gold", "red", "blue", "gold"])}


def behaviors(n, *, labelled=True):
    lines = []
    for k in range(n):
        click, other = f"N{k % 9}", f"N{(k + 1) % 9}"
        shown = f"{other}-0 {click}-1" if labelled else f"{other} {click}"
        lines.append(f"{k + 1}\tU{k}\t11/11/2019 9:05:58 AM\t{'' if k == 0 else f'N{(k + 3) % 9} N{(k + 6) % 9}'}\t{shown}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("mind")
    news = [f"{name}\tnews\tworld\t{title}\tsome abstract\thttps://x\t[]\t[]" for name, title in NEWS.items()]
    (root / "data").mkdir()
    (root / "data" / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    for part, n in (("train", 20), ("valid", 6), ("test", 6)):
        (root / "data" / part).mkdir()
        (root / "data" / part / "behaviors.tsv").write_text(behaviors(n, labelled=part != "test"), encoding="utf-8")
    encoder = tiny_masked(root / "encoder", [*NEWS.values(), *(Prompt.load(name).text for name in library()), "yes no good bad"])
    tiny_bert(root / "plain", [*NEWS.values(), Prompt.load("action-hybrid").text, "yes no news some abstract"])
    words = ["prompt", "train", str(root / "data"), "--encoder", encoder, "--template", "action-hybrid", "--template", "utility-hybrid"]
    small = ["--epochs", "1", "--set", "encoder.max_length=60", "--out", str(root / "run")]
    assert main([*words, *small]) == 0
    return root


def run(world, *words):
    return main(["prompt", *words])


def test_an_encoder_without_a_head_is_given_one_first_and_once(world, tmp_path, capsys):
    words = ["train", str(world / "data"), "--encoder", str(world / "plain"), "--epochs", "1", "--set", "encoder.max_length=60"]
    assert run(world, *words, "--out", str(tmp_path / "run")) == 0
    assert "one is trained on the item texts first" in capsys.readouterr().err
    (member,) = json.loads((tmp_path / "run" / "run.json").read_text())["members"]
    assert member["head"].startswith("masked-language-model head trained by bertrec on data, perplexity")
    before = (tmp_path / "run.encoder" / "model.safetensors").read_bytes()
    assert run(world, *words, "--out", str(tmp_path / "run"), "--overwrite") == 0
    assert "is taken, which was given one before" in capsys.readouterr().err
    assert (tmp_path / "run.encoder" / "model.safetensors").read_bytes() == before
    assert run(world, *words, "--seed", "1", "--out", str(tmp_path / "run"), "--overwrite") == 2  # a head of another seed
    assert "it holds something else" in capsys.readouterr().err


def test_several_runs_are_one_ensemble(world, tmp_path, capsys):
    words = ["--encoder", str(world / "encoder"), "--set", "encoder.max_length=60", "--zero-shot", "--template", "action-discrete"]
    assert run(world, "train", str(world / "data"), *words, "--out", str(tmp_path / "other")) == 0
    out = tmp_path / "figures.json"
    both = [str(world / "run"), str(tmp_path / "other")]
    assert run(world, "evaluate", *both, "--split", "valid", "--members", "--json", str(out), "--bootstrap", "0") == 0
    assert [name[2:] for name in json.loads(out.read_text())["members"]] == [
        "gether",
        "action-hybrid",
        "utility-hybrid",
        "action-discrete",
    ]
    alone, together = open_rankers(world / "run")[0], open_rankers(*map(Path, both))[0]
    third = open_rankers(tmp_path / "other")[0]
    asked = Ragged.from_rows([[1, 2]]), Ragged.from_rows([[3, 4, 5]])
    np.testing.assert_allclose(together.score(*asked), (2 * alone.score(*asked) + third.score(*asked)) / 3, atol=1e-9)


def test_an_ensemble_is_trained_measured_and_compared(world, capsys):
    out = world / "figures.json"
    assert run(world, "evaluate", str(world / "run"), "--split", "valid", "--members", "--json", str(out), "--bootstrap", "50") == 0
    figures = json.loads(out.read_text())
    assert figures["slices"]["all"]["users"] == 6
    assert {"split": "valid", "data": "data"}.items() <= figures["protocol"].items()
    assert len(figures["protocol"]["data_hash"]) == len(figures["protocol"]["model_hash"]) == 64
    assert figures["slices"]["empty_histories"]["users"] == 1
    assert set(figures["slices"]["all"]["metrics"]) == {"AUC", "MRR", "nDCG@5", "nDCG@10"}
    assert list(figures["members"]) == ["together", "1 action-hybrid", "2 utility-hybrid"]
    printed = capsys.readouterr().out
    assert "AUC: " in printed
    record = json.loads((world / "run" / "run.json").read_text())
    assert [member["prompt"] for member in record["members"]] == ["action-hybrid", "utility-hybrid"]
    assert record["members"][0]["train_log"]["epochs"]


def test_a_submission_ranks_every_candidate_of_unlabelled_impressions(world, capsys):
    target = world / "prediction.txt"
    assert run(world, "score", str(world / "run"), "--submission", str(target)) == 0
    submission = read_submission(target)
    assert submission.ids == ["1", "2", "3", "4", "5", "6"]
    assert sorted(submission.ranks[0].tolist()) == [1, 2]
    assert "6 impressions, 12 candidates" in capsys.readouterr().out


def test_a_day_of_impressions_alone_is_scored(world, tmp_path, capsys):
    """The folder holds news and a test part, as tomorrow's impressions come; the ranks are those that the whole data give."""
    assert run(world, "score", str(world / "run"), "--submission", str(tmp_path / "whole.txt")) == 0
    (tmp_path / "day" / "test").mkdir(parents=True)
    for name in ("news.tsv", "test/behaviors.tsv"):
        shutil.copy(world / "data" / name, tmp_path / "day" / name)
    words = ["prompt", "score", str(world / "run"), "--data", str(tmp_path / "day"), "--submission", str(tmp_path / "day.txt")]
    assert main(words) == 0, capsys.readouterr().err
    assert (tmp_path / "day.txt").read_text() == (tmp_path / "whole.txt").read_text()


def test_a_run_measures_other_news_by_what_they_say(world, tmp_path, capsys):
    other = tmp_path / "other"
    lines = [f"M{k}\tnews\tworld\t{title}\ttext\thttps://x\t[]\t[]" for k, title in enumerate(reversed(list(NEWS.values())))]
    for part in ("train", "test"):
        (other / part).mkdir(parents=True)
        rows = ["1\tU\t11/11/2019 9:05:58 AM\tM5\tM0-0 M8-1", "2\tU\t11/11/2019 9:05:58 AM\tM5\tM0-0 M8-0 GONE-0"]
        (other / part / "behaviors.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (other / "news.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(world, "evaluate", str(world / "run"), "--data", str(other), "--json", str(tmp_path / "f.json")) == 0
    assert "left_out.impressions_without_click=1" in capsys.readouterr().out
    assert "candidate" in " ".join(json.loads((tmp_path / "f.json").read_text())["protocol"]["notes"])
    ensemble, _ = open_rankers(world / "run")
    news = list(reversed(list(NEWS)))  # M0 says what N8 says
    own = ensemble.members[0].catalog.ids.encode([news[5], news[0], news[8]])
    scores = ensemble.score(Ragged.from_rows([own[:1]]), Ragged.from_rows([own[1:]]))
    auc = json.loads((tmp_path / "f.json").read_text())["slices"]["all"]["metrics"]["AUC"]["mean"]
    assert auc == float(scores[1] > scores[0])


def test_the_encoder_may_stand_among_the_settings_and_reading_options_hold_for_the_same_data_named_again(world):
    words = ["--zero-shot", "--set", f"encoder.name={world / 'encoder'}", "--set", "encoder.max_length=60", "--text-fields", "abstract"]
    assert run(world, "train", str(world / "data"), *words, "--out", str(world / "set")) == 0
    assert run(world, "evaluate", str(world / "set"), "--split", "valid", "--json", str(world / "own.json")) == 0
    words = ["--data", str(world / "data"), "--json", str(world / "named.json")]
    assert run(world, "evaluate", str(world / "set"), "--split", "valid", *words) == 0
    own, named = (json.loads((world / name).read_text()) for name in ("own.json", "named.json"))
    assert own["protocol"]["model_hash"] == named["protocol"]["model_hash"]


def test_a_training_cut_short_goes_on_with_what_was_done(world, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    words = ["train", str(world / "data"), "--encoder", str(world / "encoder"), "--set", "encoder.max_length=60", "--epochs", "2"]
    words += ["--template", "action-hybrid", "--template", "utility-hybrid", "--out", str(out)]
    assert run(world, *words) == 0  # in one piece
    whole = [member.model_hash for member in open_rankers(out)[0].members]
    shutil.rmtree(out)

    trained = []
    real_fit, real_figures = PromptRanker.fit, PromptRanker.figures

    def fit(self, *given, **named):
        trained.append(self.config.prompt.name)
        return real_fit(self, *given, **named)

    def killed(self, impressions, **known):
        if trained == ["action-hybrid", "utility-hybrid"] and len(calls) > 3:
            raise KeyboardInterrupt
        calls.append(1)
        return real_figures(self, impressions, **known)

    calls = []
    monkeypatch.setattr(PromptRanker, "fit", fit)
    monkeypatch.setattr(PromptRanker, "figures", killed)
    assert run(world, *words) == 130  # in the second epoch of the second prompt
    assert "--resume goes on" in capsys.readouterr().err
    assert not out.exists()
    assert (tmp_path / "run.unfinished" / "checkpoints" / "epoch-1").is_dir()
    monkeypatch.setattr(PromptRanker, "figures", real_figures)

    assert run(world, *words) == 2
    assert "holds an unfinished training: --resume" in capsys.readouterr().err
    assert run(world, *words, "--resume", "--seed", "7") == 2
    assert "was started with seed = 0, now it is 7" in capsys.readouterr().err
    trained.clear()
    assert run(world, *words, "--resume") == 0
    assert "action-hybrid: done before" in capsys.readouterr().err
    assert trained == ["utility-hybrid"]
    assert [member.model_hash for member in open_rankers(out)[0].members] == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
    assert sorted(path.name for path in out.iterdir()) == ["members", "run.json"]
    assert len(json.loads((out / "run.json").read_text())["members"][1]["train_log"]["epochs"]) == 2
    assert run(world, *words, "--resume") == 2
    assert "no unfinished training" in capsys.readouterr().err


def test_a_training_that_fails_at_once_leaves_nothing_to_resume_and_others_are_kept_out(world, tmp_path, capsys, monkeypatch):
    words = ["train", str(world / "data"), "--encoder", str(world / "encoder"), "--epochs", "1", "--out", str(tmp_path / "run")]

    def refuse(self, *given, **named):
        assert run(world, *words, "--overwrite") == 2  # another process's view
        raise DataError("nothing to learn")

    monkeypatch.setattr(PromptRanker, "fit", refuse)
    assert run(world, *words) == 2
    errors = capsys.readouterr().err
    assert "another bertrec process is training into it" in errors
    assert "nothing to learn" in errors
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run.unfinished").mkdir()
    (tmp_path / "run.unfinished" / "thesis.tex").write_text("x")
    assert run(world, *words) == 2
    assert "holds something else" in capsys.readouterr().err
    assert run(world, *words, "--overwrite", "--resume") == 2
    assert "give one of them" in capsys.readouterr().err
    assert (tmp_path / "run.unfinished" / "thesis.tex").exists()


def test_a_prompt_that_cannot_be_asked_is_refused_before_the_first_is_trained(world, tmp_path, capsys):
    path = tmp_path / "odd.yaml"
    path.write_text("text: '{history} {candidate} [MASK]'\nanswers: {negative: ['no'], positive: ['no yes']}\n", encoding="utf-8")
    words = ["--encoder", str(world / "encoder"), "--template", "action-hybrid", "--template", str(path), "--out", str(tmp_path / "new")]
    assert run(world, "train", str(world / "data"), *words) == 2
    errors = capsys.readouterr().err
    assert "word pieces" in errors
    assert "action-hybrid:" not in errors  # its training's line


def test_zero_shot_runs_train_nothing_and_the_list_names_every_prompt(world, capsys):
    words = ["--encoder", str(world / "encoder"), "--template", "action-discrete", "--zero-shot", "--set", "encoder.max_length=60"]
    assert run(world, "train", str(world / "data"), *words, "--out", str(world / "zero")) == 0
    assert json.loads((world / "zero" / "run.json").read_text())["members"][0]["train_log"] is None
    assert run(world, "list") == 0
    assert "Prompt4NR" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "DATA", "--out", "RUN"], "holds a finished run"),
        (["train", "DATA", "--out", "DATA"], "holds something else"),
        (["train", "DATA", "--out", "new", "--template", "action"], "unknown prompt 'action'"),
        (["train", "DATA", "--out", "new", "--set", "negatif=3"], "did you mean 'negatives'"),
        (["train", "DATA", "--out", "new", "--set", "prompt.text=a"], "chosen with --template"),
        (["train", "DATA", "--out", "new", "--template", "collaborative"], "name their model with --id-model"),
        (["train", "DATA", "--out", "taken", "--encoder", "PLAIN"], "taken.encoder is where"),
        (["train", "DATA", "--out", "new", "--teacher", "absent"], "--teacher absent: no such run"),
        (["train", "DATA", "--out", "new", "--teacher", "text-similarity", "--zero-shot"], "leave out --zero-shot"),
        (["train", "DATA", "--out", "new", "--teacher", "text-similarity", "--set", "distill=0"], "distill 0 learns nothing"),
        (["train", "DATA", "--out", "new", "--set", "distill=-1"], "distill"),
        (["train", "DATA", "--out", "new", "--pretrain", "clicks"], "give histories, or histories:N"),
        (["train", "DATA", "--out", "new", "--pretrain", "histories:0"], "give histories, or histories:N"),
        (["train", "DATA", "--out", "new", "--pretrain", "histories:"], "give histories, or histories:N"),
        (["train", "DATA", "--out", "new", "--pretrain", "histories", "--zero-shot"], "leave out --zero-shot"),
        (["search-answers", "DATA", "--out", "new.txt"], "a prompt is a file NAME.yaml"),
        (["search-answers", "DATA", "--out", "there.yaml"], "is there already"),
        (["search-answers", "DATA", "--out", "new.yaml", "--encoder", "PLAIN"], "has no masked-language-model head"),
        (["search-answers", "DATA", "--out", "new.yaml", "--template", "collaborative"], "has vectors of users and items"),
        (["search-answers", "DATA", "--out", "new.yaml", "--encoder", "HEAD", "--min-count", "99"], "stands 99 times"),
        (["evaluate", "RUN", "--split", "test"], "no labels"),
        (["evaluate", "RUN", "--split", "dev"], "unknown split 'dev'"),
        (["train", "DATA", "--out", "new", "--prior", "absent"], "--prior absent: no such run"),
        (["train", "DATA", "--out", "new", "--template", "collaborative", "--id-model", "absent"], "--id-model absent: no such run"),
        (["train", "DATA", "--out", "new", "--encoder", "HEAD", "--prior", "RUN"], "is a run of rankers"),
        (["train", "DATA", "--out", "new", "--encoder", "HEAD", "--teacher", "RUN"], "is a run of rankers"),
        (["train", "DATA", "--out", "new", "--zero-shot", "--epochs", "3"], "--epochs: nothing is trained with --zero-shot"),
        (["train", "DATA", "--out", "new", "--zero-shot", "--tune", "lora"], "--tune: nothing is trained with --zero-shot"),
        (["evaluate", "DATA"], "is no run of rankers"),
        (["evaluate", "nowhere"], "no such run"),
        (["evaluate", "RUN", "--data", "ml-100k", "--split", "valid"], "has no valid impressions"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(world, words, says, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.encoder").mkdir()
    (tmp_path / "there.yaml").touch()
    places = {"HEAD": str(world / "encoder"), **{"DATA": str(world / "data"), "RUN": str(world / "run"), "PLAIN": str(world / "plain")}}
    assert run(world, *(places.get(word, word) for word in words)) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert says in errors[-1]
    assert "Traceback" not in "\n".join(errors)


def test_a_prompt_starts_from_the_scores_of_a_run(world, tmp_path, capsys):
    similarity = tmp_path / "similarity"
    words = [
        "train",
        str(world / "data"),
        "--model",
        "text-similarity",
        "--set",
        f"encoder.name={tiny_bert(tmp_path / 'text', NEWS.values())}",
    ]
    assert main([*words, "--out", str(similarity)]) == 0
    words = [
        "train",
        str(world / "data"),
        "--encoder",
        str(world / "encoder"),
        "--set",
        "encoder.max_length=60",
        "--prior",
        str(similarity),
    ]
    assert run(world, *words, "--zero-shot", "--out", str(tmp_path / "none")) == 2
    assert "leave out --zero-shot" in capsys.readouterr().err
    assert run(world, *words, "--epochs", "1", "--out", str(tmp_path / "run")) == 0
    ensemble, (record,) = open_rankers(tmp_path / "run")
    assert record["members"][0]["prior"] == "text-similarity"
    assert ensemble.members[0].network.prior.started
    assert run(world, "evaluate", str(tmp_path / "run"), "--split", "valid", "--json", str(tmp_path / "f.json")) == 0


@pytest.fixture(scope="module")
def similarity(world):
    """A run of text similarity over the same news."""
    words = ["train", str(world / "data"), "--model", "text-similarity", "--out", str(world / "similarity")]
    assert main([*words, "--set", f"encoder.name={world / 'plain'}"]) == 0
    return world / "similarity"


def test_a_prompt_learns_from_histories_and_from_a_run_that_it_does_not_keep(world, similarity, tmp_path, capsys, monkeypatch):
    out = tmp_path / "run"
    words = ["train", str(world / "data"), "--encoder", str(world / "encoder"), "--set", "encoder.max_length=60", "--epochs", "1"]
    words += ["--template", "action-hybrid", "--template", "utility-hybrid", "--pretrain", "histories:12", "--out", str(out)]
    assert run(world, *words, "--teacher", str(similarity)) == 0
    ensemble, (record,) = open_rankers(out)
    assert [member["teacher"] for member in record["members"]] == ["text-similarity"] * 2
    assert record["members"][0]["pretraining"]["lists"] == 12
    assert [member.teacher for member in ensemble.members] == [None, None]
    assert ensemble.members[0].config.pretrain.lists == 12
    assert sorted(path.name for path in out.iterdir()) == ["members", "run.json"]
    assert not [path for path in out.rglob("*") if path.is_dir() and path.name in ("teacher", "prior", "pretraining")]
    whole = [member.model_hash for member in ensemble.members]

    monkeypatch.setattr("bertrec.rankers.prompts.ranker.PromptRanker.figures", _interrupted)
    assert run(world, *words, "--teacher", str(similarity), "--overwrite") == 130  # before the first epoch's checkpoint
    monkeypatch.undo()
    assert run(world, *words, "--resume") == 2
    assert "was started with teacher" in capsys.readouterr().err
    assert run(world, *words, "--teacher", str(similarity), "--resume") == 0
    assert [member.model_hash for member in open_rankers(out)[0].members] == whole


def _interrupted(self, impressions, **known):
    raise KeyboardInterrupt


def test_a_teacher_that_trains_nothing_is_made_by_its_name(world, similarity, tmp_path, monkeypatch):
    real = plan.create
    monkeypatch.setattr(plan, "create", lambda name: real(name, settings={"encoder.name": str(world / "plain")}))
    hashes = []
    for teacher in ("text-similarity", str(similarity)):
        words = ["train", str(world / "data"), "--encoder", str(world / "encoder"), "--set", "encoder.max_length=60", "--epochs", "1"]
        assert run(world, *words, "--teacher", teacher, "--out", str(tmp_path / f"run-{len(hashes)}")) == 0
        hashes.append(open_rankers(tmp_path / f"run-{len(hashes)}")[0].members[0].model_hash)
    assert hashes[0] == hashes[1]


def test_answers_that_were_found_are_a_prompt(world, tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    words = [str(world / "data"), "--encoder", str(world / "encoder"), "--set", "encoder.max_length=60", "--words", "2", "--min-count", "1"]
    assert run(world, "search-answers", *words, "--template", "utility-hybrid", "--out", str(out)) == 0
    prompt = Prompt.load(out)
    assert prompt.text == Prompt.load("utility-hybrid").text
    assert 1 <= len(prompt.answers["negative"]) <= 2
    assert "utility-hybrid with answers found on data: 16 clicks, 16 others" in prompt.source
    assert f"wrote {out}" in capsys.readouterr().out
    assert run(world, "train", *words[:5], "--template", str(out), "--epochs", "1", "--out", str(tmp_path / "run")) == 0
    assert open_rankers(tmp_path / "run")[0].members[0].config.prompt.answers == prompt.answers


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "has no masked-language-model head"),  # the file's encoder, not minilm
        (["--set", "template=collaborative"], "has vectors of users and items"),
        (["--encoder", "HEAD", "--min-count", "99"], "stands 99 times"),
    ],
)
def test_answers_are_searched_with_the_encoder_and_template_of_the_settings(world, tmp_path, capsys, words, says):
    best = tmp_path / "best.yaml"
    best.write_text(f"template: utility-hybrid\nencoder.name: {world / 'plain'}\n", encoding="utf-8")
    words = [str(world / "encoder") if word == "HEAD" else word for word in words]
    out = tmp_path / "new.yaml"
    assert run(world, "search-answers", str(world / "data"), "--config", str(best), *words, "--out", str(out)) == 2
    assert says in capsys.readouterr().err.strip().splitlines()[-1]
    assert not out.exists()


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_text_first_and_then_the_vectors_of_an_id_model(world, tmp_path, tune):
    rows = [f"U{k % 4}\tN{k % 9}\t{k}" for k in range(36)]
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "interactions.tsv").write_text("user_id\titem_id\ttimestamp\n" + "\n".join(rows) + "\n", encoding="utf-8")
    items = [f"{name}\t{title}" for name, title in NEWS.items()]
    (tmp_path / "shop" / "items.tsv").write_text("item_id\ttitle\n" + "\n".join(items) + "\n", encoding="utf-8")
    shop, id_run, text, both = str(tmp_path / "shop"), str(tmp_path / "id"), str(tmp_path / "text"), str(tmp_path / "both")
    assert main(["train", shop, "--model", "idrec", "--epochs", "1", "--set", "item.width=8", "--out", id_run]) == 0
    small = ["--epochs", "1", "--set", "encoder.max_length=60"]
    first = ["--encoder", str(world / "encoder"), "--template", "item-text", "--tune", tune, "--set", "encoder.lora_rank=2"]
    assert run(world, "train", shop, *first, *small, "--out", text) == 0
    second = ["--encoder", f"{text}/members/0/encoder", "--template", "collaborative", "--tune", "frozen", "--id-model", id_run]
    assert run(world, "train", shop, *second, *small, "--out", both) == 0
    one, other = (open_rankers(tmp_path / "both")[0].members[0] for _ in range(2))
    histories, candidates = Ragged.from_rows([[1, 2], [3]]), Ragged.from_rows([[3, 4], [5]])
    assert one.score(histories, candidates).tolist() == other.score(histories, candidates).tolist()
    assert one.vectors.items.shape == (10, 8)
    assert one.model_hash == other.model_hash
    with torch.no_grad():
        next(one.network.vectors.map.parameters()).add_(1.0)  # the vectors are read
    assert one.score(histories, candidates).tolist() != other.score(histories, candidates).tolist()
