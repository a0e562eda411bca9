"""A whole comparison on a tiny set: fitted in processes of their own, resumed, refused where it must be."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace

import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest

from bertrec.cli.main import main
from bertrec.comparison import run, worker
from bertrec.comparison.plan import make_plan
from bertrec.comparison.run import compare
from bertrec.core.errors import BertrecError, DataError, MissingExtraError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, leave_one_out
from bertrec.recbole.exchange import Job, Outcome

needs_recbole = pytest.mark.skipif(
    importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
)
SMALL = {"train.epochs": 2, "item.width": 16, "head.layers": 1}


@pytest.fixture(scope="module")
def split():
    generator = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"i{k}" for k in range(30)]), {"title": [f"thing number {k}" for k in range(30)]}, None)
    rows = [1 + (generator.integers(30) + np.arange(8)) % 30 for _ in range(40)]
    rows[0][-1] = rows[0][0]  # u0 takes the first item again, which is neither recommended nor counted
    return leave_one_out(Interactions(catalog, IdMap([f"u{k}" for k in range(40)]), Ragged.from_rows(rows)))


def plan(**more):
    settings = {"idrec": SMALL, "unisrec:id": {**SMALL, "train.learning_rate": 1e30}} | (
        {"BPR": {"epochs": 2}} if "baselines" in more else {}
    )
    return make_plan(
        ["unisrec:id", "popularity"], settings=settings, **{"baselines": [], "budget_minutes": 5, "seeds": 2, "trials": 1, **more}
    )


@pytest.fixture(scope="module")
def finished(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison") / "report"
    lines = []
    return compare(split, plan(), folder, about={"name": "tiny"}, say=lines.append), folder, lines


@pytest.mark.slow
def test_every_model_has_its_row_and_the_broken_one_is_invalid(finished):
    comparison, _, lines = finished
    rows = {row["name"]: row for row in comparison["models"]}
    assert [(name, row["status"], row["seeds"]) for name, row in rows.items()] == [
        ("unisrec:id", "invalid", []),
        ("popularity", "ok", [0]),
        ("idrec", "ok", [0, 1]),
        ("ease", "ok", [0]),
    ]
    assert "gives scores that are not finite" in rows["unisrec:id"]["reason"]
    assert (rows["idrec"]["ended_by"], rows["idrec"]["converged"], rows["idrec"]["peak_mib"] > 100) == ("schedule", True, True)
    assert len(rows["idrec"]["curves"][0]["points"]) == 2
    assert any(line.startswith("idrec: test NDCG@10") for line in lines)


@pytest.mark.slow
def test_all_files_of_the_report_are_there_and_say_the_same(finished):
    comparison, folder, _ = finished
    assert json.loads((folder / "comparison.json").read_text()) == json.loads(json.dumps(comparison))
    for name in ("index.html", "report.md", "manifest.json", "tables/results.csv", "tables/results.tex", "charts/quality_time.svg"):
        assert (folder / name).stat().st_size > 0, name
    table = pq.read_table(folder / "per_user.parquet").to_pandas()
    assert sorted(table["user_id"].unique()) == sorted(f"u{k}" for k in range(1, 40))
    assert comparison["protocol"]["users"] == 39
    mean = table[table.model == "idrec"]["NDCG@10"].mean()
    row = next(row for row in comparison["models"] if row["name"] == "idrec")
    assert row["slices"]["all"]["metrics"]["NDCG@10"]["mean"] == pytest.approx(mean)


@pytest.mark.slow
def test_a_second_run_fits_only_what_is_missing(finished, split, monkeypatch):
    before, folder, _ = finished
    made = []
    real = run.run_fit

    def counted(job, place, *arguments, **named):
        if not (place / "outcome.json").exists():
            made.append((job.model, job.seed))
        return real(job, place, *arguments, **named)

    monkeypatch.setattr(run, "run_fit", counted)
    lost = next((folder / "fits").glob("*idrec")) / "candidate-0-seed-1" / "outcome.json"
    lost.unlink()
    after = compare(split, plan(), folder, about={"name": "tiny"})
    assert made == [("idrec", 1)]
    figures = [next(row for row in c["models"] if row["name"] == "idrec")["slices"]["all"]["metrics"]["NDCG@10"] for c in (before, after)]
    assert figures[0] == figures[1]  # the same seed gives the same model


@pytest.mark.slow
def test_another_comparison_in_the_same_folder_is_refused(finished, split):
    _, folder, _ = finished
    with pytest.raises(BertrecError, match=r"holds a comparison with budget_minutes = 5.0, now it is 6.0"):
        compare(split, plan(budget_minutes=6), folder)
    other = make_plan(["unisrec:id", "popularity"], [], settings={"idrec": {"train.epochs": 3}}, budget_minutes=5, seeds=2, trials=1)
    with pytest.raises(BertrecError, match="with other settings"):
        compare(split, other, folder)
    fewer = replace(split, test=split.test.take(np.arange(10)))
    with pytest.raises(BertrecError, match="split_hash"):
        compare(fewer, plan(), folder)


def test_a_folder_in_use_or_of_something_else_is_refused(split, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BertrecError, match="holds something else"):
        compare(split, plan(), tmp_path / "mine")
    (tmp_path / "file").write_text("x")
    with pytest.raises(BertrecError, match="is a file"):
        compare(split, plan(), tmp_path / "file")
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "plan.json").write_text("{}")
    with filelock.FileLock(busy / ".lock"), pytest.raises(BertrecError, match="in use by another comparison"):
        compare(split, plan(), busy)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


@needs_recbole
def test_users_unknown_to_training_are_refused_where_a_baseline_needs_them(split, tmp_path):
    strange = EvaluationSet(["nobody", *split.validation.users[1:]], split.validation.histories, split.validation.targets)
    with pytest.raises(DataError, match=r"1 of 40 validation users have no interaction in training, such as 'nobody', and BPR know"):
        compare(replace(split, validation=strange), plan(baselines=["BPR"]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_split_without_a_part_is_refused(split, tmp_path, part):
    with pytest.raises(DataError, match=f"no {part} users"):
        compare(replace(split, **{part: None}), plan(), tmp_path / "out")


def test_a_missing_plotting_package_is_said_before_any_fit(split, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else found(name, *a))
    with pytest.raises(MissingExtraError, match=r"pip install 'bertrec\[report\]'"):
        compare(split, plan(), tmp_path / "out")


def test_a_model_whose_every_fit_fails_does_not_end_the_comparison(split, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_fit", lambda *_, **__: Outcome("failed", reason="killed by the system", total_seconds=1.0))
    comparison = compare(split, plan(), tmp_path / "out")
    assert {row["status"] for row in comparison["models"]} == {"failed"}
    assert "nothing can be said" in comparison["verdict"]
    assert "killed by the system" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("asked", "limit"), [({"train.max_seconds": 0.01}, 300.0), ({"train.max_seconds": 300.0}, 0.01), ({}, 0.01)])
def test_a_model_trains_no_longer_than_asked_for_and_than_its_minutes(split, tmp_path, asked, limit):
    settings = {**SMALL, "train.epochs": 1000, **asked}
    options = {"model": "idrec", "item_input": None, "tune": None}
    job = Job(model="idrec", settings=settings, seed=0, limit_seconds=limit, metric="NDCG@10", list_length=10, options=options)
    outcome = worker.fit(job, split, tmp_path)
    assert outcome.ended_by == "budget"
    assert len(outcome.points) < 100


def test_a_comparison_whose_encoder_was_changed_does_not_go_on(split, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_fit", lambda *_, **__: Outcome("failed", reason="killed", total_seconds=1.0))
    encoder, out = tmp_path / "encoder", tmp_path / "out"
    encoder.mkdir()
    (encoder / "model.safetensors").write_text("weights")
    text = make_plan(["text-similarity"], [], settings={"text-similarity": {"encoder.name": str(encoder)}}, budget_minutes=1, trials=1)
    compare(split, text, out)
    compare(split, make_plan(["popularity"], [], budget_minutes=1, trials=1), out)  # one more model, and the encoder's left out
    (encoder / "model.safetensors").write_text("others")
    with pytest.raises(BertrecError, match=f"encoder {encoder} was changed since {out} was begun"):
        compare(split, text, out)


@needs_recbole
@pytest.mark.slow
def test_the_command_line_from_a_table_to_a_verdict(tmp_path, capsys):
    rows = [f"u{u},i{(u * 7 + step) % 30},{step}" for u in range(40) for step in range(8)]
    data = tmp_path / "shop"
    data.mkdir()
    (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (data / "items.csv").write_text("item_id,title\n" + "\n".join(f"i{k},thing number {k}" for k in range(30)) + "\n")
    few = ["--seeds", "1", "--trials", "2", "--budget-minutes", "3"]
    words = ["compare", str(data), "--models", "text-similarity", "--baselines", "Pop", *few]
    small = [word for name, value in SMALL.items() for word in ("--set", f"idrec.{name}={value}")]
    assert main([*words, *small, "--out", str(tmp_path / "report")]) == 0
    out, err = capsys.readouterr()
    assert "4 models, 3 minutes each: at most 12 minutes" in err
    assert "text-similarity" in out
    assert "best ID-only model" in out
    assert (tmp_path / "report" / "index.html").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--models", "unisrek"], "did you mean 'unisrec'"),
        (["--baselines", "none", "--set", "head.layers=2"], "unknown model 'head'"),
        (["--baselines", "none", "--models", "unisrec:text", "--set", "unisrec:text.head.lairs=2"], "did you mean 'head.layers'"),
        (["--baselines", "none", "--budget-minutes", "-1"], "minutes above 0"),
        (["--split", "lo"], "unknown split 'lo'"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, says, tmp_path, capsys):
    assert main(["compare", "ml-100k", "--out", str(tmp_path / "report"), *words]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("models", "split", "wanted"),
    [
        ("text-similarity", "cold-items", ["text-similarity", "max-similarity", "idrec", "ease"]),
        ("text-similarity", "leave-one-out", ["text-similarity", "idrec", "ease"]),
        ("idrec", "cold-items", ["idrec", "ease"]),
    ],
)
def test_a_split_with_new_items_has_untrained_similarities_beside_text_models(tmp_path, monkeypatch, models, split, wanted):
    rows = [f"u{u},i{(u * 7 + step) % 30},{step}" for u in range(40) for step in range(8)]
    (tmp_path / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
    (tmp_path / "items.csv").write_text("item_id,title\n" + "\n".join(f"i{k},thing number {k}" for k in range(30)) + "\n")
    plans = []

    def stop(split, plan, *_, **__):
        plans.append(plan)
        raise BertrecError("that was enough")

    monkeypatch.setattr("bertrec.comparison.run.compare", stop)
    words = ["--models", models, "--baselines", "none", "--split", split, "--out", str(tmp_path / "report")]
    assert main(["compare", str(tmp_path), *words]) == 2
    assert [contestant.name for contestant in plans[0].contestants] == wanted
