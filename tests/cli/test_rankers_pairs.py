"""``bertrec rankers`` on labelled pairs: from a table of ratings to figures, probabilities and a drawing."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score, root_mean_squared_error
from tiny_encoders import tiny_bert

from bertrec.cli.main import main
from bertrec.rankers.runs import part_note

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("kettle", "shelf", "lamp", "rug", "poster")]
METRICS = ["AUC", "UAUC", "logloss", "ECE", "RMSE", "MAE"]


def write_ratings(
    folder, *, ratings=lambda user, step: 5 - (user + step + user * step // 3) % 4, extra="", moment=lambda user, step: 30 * step + user
):
    """30 users rate eight of ten items each, two at a time."""
    folder.mkdir(parents=True)
    pairs = [(user, step) for user in range(30) for step in range(8)]
    rows = [f"{user},{100 + (3 * user + step) % 10},{1000 + moment(user, step // 2)},{ratings(user, step)}" for user, step in pairs]
    text = "\n".join(["user_id,item_id,timestamp,rating", *rows, extra])
    (folder / "interactions.csv").write_text(text.strip() + "\n", encoding="utf-8")
    items = [f"{100 + row},{title},thing" for row, title in enumerate(TITLES)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,kind", *items]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("rated")
    write_ratings(root / "data")
    tiny_bert(root / "encoder", TITLES)
    train = ["rankers", "train", str(root / "data"), "--pairs", "ratings"]
    assert main([*train, "--ranker", "bias", "--liked-from", "3.5", "--calibrate", "platt", "--out", str(root / "bias")]) == 0
    assert main([*train, "--ranker", "mf", "--liked-from", "3.5", "--out", str(root / "mf")]) == 0
    small = ["--set", f"encoder.name={root / 'encoder'}", "--set", "encoder.max_length=8", "--set", "loss=pointwise"]
    assert main([*train, "--ranker", "composite", *small, "--calibrate", "isotonic", "--out", str(root / "composite")]) == 0
    return root


def test_the_run_keeps_its_pairs_and_evaluate_repeats_them(world, cli, tmp_path):
    record = json.loads((world / "bias" / "run.json").read_text())
    assert record["pairs"]["kind"] == "ratings"
    assert record["pairs"]["liked_from"] == 3.5
    assert record["calibrate"] == record["members"][0]["calibration"]["kind"] == "platt"
    out, drawn = tmp_path / "figures.json", tmp_path / "bins.svg"
    code, shown, _ = cli("rankers", "evaluate", world / "bias", "--json", out, "--reliability", drawn, "--bootstrap", 20)
    assert code == 0
    assert all(metric in shown for metric in METRICS)
    figures = json.loads(out.read_text())
    protocol = figures["protocol"]
    assert (protocol["pairs_of"], protocol["calibration"], protocol["errors"]) == ("ratings", "platt", "predicted against given rating")
    assert [protocol["validation_from"], protocol["test_from"]] == record["pairs"]["moments"]
    assert protocol["pairs"] == sum(one["pairs"] for one in figures["reliability"]["together"])
    assert list(figures["slices"]) == ["all", "cold_items", "few_shot_items", "warm_items", "cold_users", "warm_pairs"]
    assert list(figures["slices"]["all"]["metrics"]) == METRICS
    assert drawn.read_text().lstrip().startswith("<?xml")


def test_the_table_of_scores_gives_the_figures(world, cli, tmp_path):
    for name in ("bias", "composite"):
        figures, table = tmp_path / f"{name}.json", tmp_path / f"{name}.parquet"
        assert cli("rankers", "evaluate", world / name, "--json", figures, "--bootstrap", 0)[0] == 0
        assert cli("rankers", "score", world / name, "--table", table)[0] == 0
        found = {metric: value["mean"] for metric, value in json.loads(figures.read_text())["slices"]["all"]["metrics"].items()}
        rows = pq.read_table(table).to_pandas()
        rated = {(str(u), str(i)): float(r) for u, i, _, r in (line.split(",") for line in _lines(world / "data"))}
        ratings = np.array([rated[str(user), str(item)] for user, item in zip(rows.user_id, rows.item_id, strict=True)])
        labels = (ratings >= (3.5 if name == "bias" else 4)).astype(int)
        assert found["AUC"] == pytest.approx(roc_auc_score(labels, rows.score))  # of raw scores: isotonic ones tie
        assert found["logloss"] == pytest.approx(log_loss(labels, rows.probability))
        predicted, given = (rows.score.clip(1, 5), ratings) if name == "bias" else (rows.probability, labels)
        assert found["RMSE"] == pytest.approx(root_mean_squared_error(given, predicted), abs=1e-6)


def _lines(folder):
    return (folder / "interactions.csv").read_text().splitlines()[1:]


def test_without_calibration_there_are_no_probabilities_and_it_is_said(world, cli, tmp_path):
    out = tmp_path / "figures.json"
    assert cli("rankers", "evaluate", world / "mf", "--json", out, "--bootstrap", 0)[0] == 0
    figures = json.loads(out.read_text())
    assert list(figures["slices"]["all"]["metrics"]) == ["AUC", "UAUC", "RMSE", "MAE"]
    assert figures["protocol"]["probabilities"].startswith("none: logloss and ECE need them")
    assert figures["reliability"] == {}
    code, shown, err = cli("rankers", "evaluate", world / "mf", "--reliability", tmp_path / "x.svg", "--bootstrap", 0)
    assert (code, shown, err.count("--reliability needs probabilities")) == (2, "", 1)  # before anything is measured


def test_what_training_held_is_said_of_its_own_data_alone(world, cli, tmp_path):
    """Of other data nobody knows which items and users the run was trained on."""
    slices = {}
    copied = shutil.copytree(world / "data", tmp_path / "copied")
    other = write_ratings(tmp_path / "other", ratings=lambda user, step: 5 - (user + 2 * step) % 4)
    for name, data in (("copied", copied), ("other", other)):
        out = tmp_path / f"{name}.json"
        assert cli("rankers", "evaluate", world / "mf", "--data", data, "--json", out, "--bootstrap", 0)[0] == 0
        slices[name] = list(json.loads(out.read_text())["slices"])
    assert slices == {"copied": ["all", "cold_items", "few_shot_items", "warm_items", "cold_users", "warm_pairs"], "other": ["all"]}


@pytest.mark.parametrize(
    ("name", "split", "said"),
    [
        ("bias", "train", "learned from this part"),
        ("bias", "valid", "chose its epoch and calibrated its scores by this part"),
        ("mf", "valid", "chose its epoch by this part"),
        ("mf", "test", None),
    ],
)
def test_a_part_that_training_had_is_named(world, cli, tmp_path, name, split, said):
    out = tmp_path / "figures.json"
    code, _, err = cli("rankers", "evaluate", world / name, "--split", split, "--json", out, "--bootstrap", 0)
    notes = [line for line in json.loads(out.read_text())["protocol"]["notes"] if "this part" in line]
    assert (code, err.count("by this part") + err.count("from this part"), len(notes)) == (0, int(said is not None), int(said is not None))
    assert said is None or said in notes[0]
    other = write_ratings(tmp_path / "other", ratings=lambda user, step: 5 - (user + 2 * step) % 4)
    assert "this part" not in cli("rankers", "evaluate", world / name, "--split", split, "--data", other, "--bootstrap", 0)[2]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"validation_share": 0.2}, None),
        ({"validation_share": 0}, "chose its epoch"),
        ({"validation_share": 0.0, "calibrate": "platt"}, "chose its epoch and calibrated its scores"),
        ({"validation_share": 0.0, "zero_shot": True}, None),
        ({"pairs": {"kind": "ratings", "shots": {"count": 4}}}, None),
    ],
)
def test_the_valid_part_is_seen_where_it_chose_something(record, said):
    found = part_note("run", record, "valid")
    assert found is None if said is None else said in found
    assert part_note("run", record, "test") is None


def test_members_of_a_run_of_one_are_said_to_be_the_run(world, cli):
    code, _, err = cli("rankers", "evaluate", world / "mf", "--members", "--bootstrap", 0)
    assert (code, err.count("--members: there is one ranker")) == (0, 1)


def test_members_are_compared_in_pairs(world, cli):
    code, shown, _ = cli("rankers", "evaluate", world / "bias", world / "mf", "--members", "--bootstrap", 50)
    assert code == 0
    lines = [line for line in shown.splitlines() if line.startswith(("AUC:", "RMSE:"))]
    assert [line.split(": ")[1] for line in lines] == [
        pair for pair in ("together - 1 bias", "together - 2 mf", "1 bias - 2 mf") for _ in ("AUC", "RMSE")
    ]


@pytest.fixture(scope="module")
def clicked(world):
    small = ["--set", "train.epochs=1"]
    assert main(["rankers", "train", str(world / "data"), "--ranker", "din", *small, "--out", str(world / "clicked")]) == 0
    return world / "clicked"


def test_a_run_of_clicks_is_not_measured_on_ratings_of_its_data(world, clicked, cli, tmp_path):
    """Its clicks are most of the test pairs: whatever way the data are named, one line says so."""
    copied = shutil.copytree(world / "data", tmp_path / "copied")  # the same content elsewhere
    for words in ([], ["--data", world / "data"], ["--data", copied], ["--data", world / "data", "--k-core", 2]):
        for runs in ([clicked], [world / "mf", clicked]):
            code, _, err = cli("rankers", "evaluate", *runs, "--pairs", "ratings", *words)
            assert (code, f"{clicked} was trained on clicks of these data" in err.strip().splitlines()[-1]) == (2, True), words
    other = write_ratings(tmp_path / "other", ratings=lambda user, step: 5 - (user + 2 * step) % 4)
    assert cli("rankers", "evaluate", clicked, "--pairs", "ratings", "--data", other, "--bootstrap", 0)[0] == 0


@pytest.mark.parametrize(("key", "value"), [("liked_from", 3), ("moments", [1090.0, 1100.0])])
def test_runs_of_different_pairs_are_not_measured_together(world, cli, tmp_path, key, value):
    run = shutil.copytree(world / "mf", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["pairs"][key] = value
    (run / "run.json").write_text(json.dumps(record))
    for runs in ([world / "bias", run], [run, world / "bias"]):
        code, _, err = cli("rankers", "evaluate", *runs, "--bootstrap", 0)
        assert (code, "were trained on different rated pairs" in err.strip().splitlines()[-1], key in err) == (2, True, True)
    assert cli("rankers", "evaluate", run, "--bootstrap", 0)[0] == 0


def test_resuming_needs_the_same_pairs(world, cli, tmp_path):
    record = json.loads((world / "bias" / "run.json").read_text())
    for name in ("kind", "notes", "members", "versions"):
        del record[name]
    (tmp_path / "run.unfinished").mkdir()
    progress = {"plan": {**record, "ranker": "bias", "settings": {}}, "members": []}
    (tmp_path / "run.unfinished" / "progress.json").write_text(json.dumps(progress))
    words = ["train", world / "data", "--ranker", "bias", "--pairs", "ratings", "--calibrate", "platt"]
    words += ["--resume", "--out", tmp_path / "run"]
    code, _, err = cli("rankers", *words, "--liked-from", "4")
    assert (code, "liked_from" in err.strip().splitlines()[-1]) == (2, True)
    assert cli("rankers", *words, "--liked-from", "3.5")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pairs", "rating"], "did you mean 'ratings'"),
        (["--pairs", "ratings", "--liked-from", "6"], "no rating is liked, for ratings run from 2 to 5"),
        (["--pairs", "ratings", "--calibrate", "temprature"], "did you mean 'temperature'"),
        (["--liked-from", "3"], "--liked-from goes with --pairs ratings"),
        (["--validation-share", "0", "--calibrate", "platt"], "--calibrate needs pairs to be fitted on"),
    ],
)
def test_options_that_do_not_fit_are_one_line(world, cli, tmp_path, words, message):
    code, _, err = cli("rankers", "train", world / "data", "--ranker", "bias", "--out", tmp_path / "run", *words)
    assert code == 2
    assert message in err.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_data_that_do_not_fit_are_one_line(world, cli, tmp_path):
    def last_line(folder, *words):
        code, _, err = cli("rankers", "train", folder, "--ranker", "bias", "--out", tmp_path / "run", *words)
        assert code == 2
        return err.strip().splitlines()[-1]

    plain = write_ratings(tmp_path / "plain")
    table = plain / "interactions.csv"
    table.write_text("\n".join(line.rsplit(",", 1)[0] for line in table.read_text().splitlines()) + "\n")
    assert "add a column 'rating'" in last_line(plain, "--pairs", "ratings")
    assert "bias learns from ratings, and these data have none" in last_line(plain)
    holes = write_ratings(tmp_path / "holes", extra="3,101,1,")
    assert "row 241, column 'rating'" in last_line(holes, "--pairs", "ratings")
    timeless = write_ratings(tmp_path / "timeless")
    table = timeless / "interactions.csv"
    table.write_text("\n".join(",".join(line.split(",")[:2] + line.split(",")[3:]) for line in table.read_text().splitlines()) + "\n")
    assert "add a column 'timestamp'" in last_line(timeless, "--pairs", "ratings")
    same = write_ratings(tmp_path / "same", ratings=lambda user, step: 5)
    assert "every rating is 5: none is liked more than another" in last_line(same, "--pairs", "ratings")
    # all of the validation part, which lasts from 80 to 90 % of time, is liked
    alike = write_ratings(tmp_path / "alike", ratings=lambda user, step: 5 if step >= 6 else 5 - (user + step) % 3)
    assert "--calibrate needs both labels" in last_line(alike, "--pairs", "ratings", "--calibrate", "platt")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--liked-from", "4"], "the run was trained with 3.5"),
        (["--pairs", "views"], "unknown kind of pairs 'views'"),
        (["--pairs", "clicks"], "has no test impressions"),
        (["--pairs", "clicks", "--liked-from", "4"], "--liked-from goes with --pairs ratings"),
        (["--bins", "wide"], "unknown kind of bins"),
        (["--split", "tset"], "did you mean 'test'"),
        (["--reliability", "drawn.png"], "ends with .svg"),
    ],
)
def test_what_cannot_be_measured_is_one_line(world, cli, words, message):
    code, _, err = cli("rankers", "evaluate", world / "bias", *words)
    assert code == 2
    assert message in err.strip().splitlines()[-1]


def test_what_has_no_ratings_says_so_and_writes_nothing(world, cli, tmp_path):
    (tmp_path / "space.yaml").write_text("user_penalty: {float: [1, 40]}\n")
    words = ["--model", "bias", "--space", tmp_path / "space.yaml", "--trials", 1, "--out", tmp_path / "study"]
    code, _, err = cli("tune", world / "data", *words)
    assert (code, "bias learns from ratings, and a study keeps none" in err.strip().splitlines()[-1]) == (2, True), err
    assert not (tmp_path / "study").exists()
    assert cli("train", world / "data", "--model", "itemknn", "--out", tmp_path / "run")[0] == 0
    code, _, err = cli("rerank", "train", tmp_path / "run", "--reranker", "bias", "--out", tmp_path / "reranker")
    assert (code, "the lists that a run proposes have none" in err.strip().splitlines()[-1]) == (2, True), err
    assert not (tmp_path / "reranker").exists()


def test_a_table_or_a_submission_is_asked_for(world, cli, tmp_path):
    code, _, err = cli("rankers", "score", world / "bias")
    assert (code, "name what to write" in err) == (2, True)
    kept = tmp_path / "table.parquet"
    kept.write_text("mine")
    code, _, err = cli("rankers", "score", world / "bias", "--table", kept)
    assert (code, "is there already" in err, kept.read_text()) == (2, True, "mine")
    code, _, err = cli("rankers", "score", world / "bias", "--table", tmp_path / "table.csv")
    assert (code, "Parquet is written" in err, (tmp_path / "table.csv").exists()) == (2, True, False)


def test_a_damaged_calibration_is_one_line(world, cli, tmp_path):
    run = shutil.copytree(world / "bias", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["members"][0]["calibration"]["numbers"] = {"factor": ["steep"]}
    (run / "run.json").write_text(json.dumps(record))
    code, _, err = cli("rankers", "evaluate", run)
    assert (code, f"{run}/run.json is damaged: its calibration" in err.strip().splitlines()[-1]) == (2, True)


@pytest.mark.parametrize("members", [[], [3], ["bias"]])
def test_damaged_members_are_one_line(world, cli, tmp_path, members):
    run = shutil.copytree(world / "bias", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "members": members}))
    code, _, err = cli("rankers", "evaluate", run)
    assert (code, f"{run}/run.json is damaged: its members is" in err.strip().splitlines()[-1]) == (2, True)


@pytest.mark.parametrize("pairs", ["ratings", {"kind": "views"}, {"kind": "ratings", "liked_from": 4, "moments": [1]}])
def test_damaged_pairs_are_one_line(world, cli, tmp_path, pairs):
    run = shutil.copytree(world / "mf", tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "pairs": pairs}))
    code, _, err = cli("rankers", "evaluate", run)
    assert (code, "is damaged: its pairs is" in err.strip().splitlines()[-1]) == (2, True)


def test_clicks_of_impressions_as_pairs(cli, tmp_path):
    (tmp_path / "data" / "train").mkdir(parents=True)
    news = [f"N{k}\tnews\tworld\t{title}\tabout\thttps://x\t[]\t[]" for k, title in enumerate(TITLES)]
    (tmp_path / "data" / "news.tsv").write_text("\n".join(news) + "\n", encoding="utf-8")
    for part in ("train", "valid"):
        (tmp_path / "data" / part).mkdir(exist_ok=True)
        lines = [f"{k}\tU{k % 7}\t11/11/2019 9:05:58 AM\tN{(k + 3) % 10}\tN{k % 10}-1 N{(k + 1 + k % 3) % 10}-0" for k in range(1, 31)]
        (tmp_path / "data" / part / "behaviors.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    encoder = tiny_bert(tmp_path / "encoder", TITLES)
    small = ["--set", f"encoder.name={encoder}", "--set", "encoder.max_length=8", "--calibrate", "temperature"]
    assert cli("rankers", "train", tmp_path / "data", "--ranker", "composite", *small, "--out", tmp_path / "run")[0] == 0
    out = tmp_path / "figures.json"
    assert cli("rankers", "evaluate", tmp_path / "run", "--split", "valid", "--bootstrap", 0)[0] == 0  # impressions, as ever
    words = ["--split", "valid", "--pairs", "clicks", "--bins", "mass", "--bootstrap", 0, "--json", out]
    assert cli("rankers", "evaluate", tmp_path / "run", *words)[0] == 0
    figures = json.loads(out.read_text())
    assert figures["protocol"]["pairs"] == 60
    assert (figures["protocol"]["pairs_of"], figures["protocol"]["bins"]) == ("clicks", "10 of equal mass")
    assert list(figures["slices"]["all"]["metrics"]) == METRICS
    assert figures["slices"]["cold_items"]["users"] == 0
    code, _, err = cli("rankers", "evaluate", tmp_path / "run", "--split", "valid", "--reliability", tmp_path / "x.svg")
    assert (code, "--reliability is of labelled pairs: add --pairs clicks" in err) == (2, True)
    code, _, err = cli("rankers", "evaluate", tmp_path / "run", "--split", "valid", "--bins", "mass")
    assert (code, "--bins is of labelled pairs: add --pairs clicks" in err) == (2, True)


def test_an_encoder_that_was_adapted_on_later_ratings_is_named(world, cli, tmp_path):
    """One user comes after the other, so that leaving the last two of each out learns of the last users, whom time holds out."""
    data = write_ratings(tmp_path / "data", moment=lambda user, step: 100 * user + step)
    for split, warned in (("leave-one-out", True), ("time", False)):
        encoder, out = tmp_path / split, tmp_path / f"{split}.run"
        assert cli("encoder", "adapt", data, "--encoder", world / "encoder", "--epochs", "1", "--split", split, "--out", encoder)[0] == 0
        settings = ["--set", f"encoder.name={encoder}", "--set", "encoder.max_length=8", "--set", "loss=pointwise"]
        code, _, trained = cli("rankers", "train", data, "--pairs", "ratings", "--ranker", "composite", *settings, "--out", out)
        assert code == 0, trained
        code, _, measured = cli("rankers", "evaluate", out, "--bootstrap", "10", "--json", tmp_path / "figures.json")
        assert code == 0, measured
        notes = json.loads((tmp_path / "figures.json").read_text())["protocol"]["notes"]
        told = f"warning: encoder {encoder} was adapted on another split of these data (leave_one_out): it has read "
        assert (told in trained, told in measured, any(told in line for line in notes)) == (warned,) * 3
        if warned:  # 8 of three users and the last 2 of one more, each one's last 2 held out from the adaptation too
            assert f"{told}18 of 26 held-out interactions" in measured
            assert "note: warning" not in trained + measured
