"""Who is forgotten is unknown to a run and in none of its files, whenever the work is cut short; what stays is said."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kills import killed_at_each_step

import bertrec
from bertrec.cli.forget import forget_in_run
from bertrec.cli.main import main
from bertrec.data.splits import leave_one_out
from bertrec.runs.folder import Run

GONE, STAYS = "anna.k@example", "ben-7"


def write_shop(folder: Path, users: list[str]) -> Path:
    """Ten items in a ring; the n-th user walks five of them, beginning at the n-th."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{user},{100 + (number + step) % 10},{step}" for number, user in enumerate(USERS) if user in users for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    items = [f"{100 + row},thing {row}" for row in range(10)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n", encoding="utf-8")
    return folder


USERS = ["u0", GONE, "u2", STAYS, *(f"u{number}" for number in range(4, 12))]
WITHOUT = [user for user in USERS if user != GONE]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data") / "shop", USERS)


@pytest.fixture(scope="module")
def popular(shop, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "popular"
    assert main(["train", str(shop), "--model", "popularity", "--out", str(run)]) == 0
    return run


@pytest.fixture
def run(popular, tmp_path):
    return shutil.copytree(popular, tmp_path / "run")


def traces(folder: Path, name: str = GONE) -> list[str]:
    """Every file below a folder whose bytes, or whose decoded table, hold the name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            decoded = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else ""
            found += [path.name] if name.encode() in path.read_bytes() or name in decoded or name in path.name else []
    return found


def counts(run: Path) -> list[int]:
    return bertrec.Recommender.from_pretrained(run).popularity[1:].astype(int).tolist()


def counted(data: Path) -> list[int]:
    split = bertrec.make_split(bertrec.load(data))
    return split.train.item_counts[1:].tolist()


def test_who_is_forgotten_is_unknown_and_in_no_file(cli, run, shop, tmp_path):
    for ending in ("csv", "json", "jsonl", "parquet"):
        assert cli("recommend", run, "--user", GONE, "--user", STAYS, "-k", "2", "--out", run / f"lists.{ending}")[0] == 0
    assert cli("embed", run, "--what", "users", "--out", run / "more" / "users.parquet")[0] == 0
    (run / "leavers.txt").write_text(f"{STAYS}\n{GONE}\n", encoding="utf-8")
    assert set(traces(run)) == {*(f"lists.{ending}" for ending in ("csv", "json", "jsonl", "parquet")), "users.parquet", "leavers.txt"}
    before = counts(run)

    code, out, err = cli("forget", run, "--user", GONE)
    assert (code, err) == (0, "")
    assert traces(tmp_path) == []
    assert GONE not in out
    lines = out.splitlines()
    assert lines[0] == f"forgot 1 person in {run}: every command treats them as unknown now"
    assert {line.split(":")[0]: line for line in lines}["lists.csv"] == "lists.csv: rows taken out: 2"
    assert "item counts: 3 interactions taken out; an index of the run has to be built anew" in lines
    assert lines[-1].startswith(f"elsewhere: the data ({shop})")
    assert not any("not undone" in line for line in lines)  # a popularity run only counts

    taken = np.array(before) - counts(run)
    assert taken.tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]  # the second user's first three items
    assert counts(run) == counted(write_shop(tmp_path / "without", WITHOUT))
    assert cli("recommend", run, "--user", GONE)[0] == 2
    out = cli("recommend", run, "--user", GONE, "--user", STAYS, "-k", "1", "--format", "json")[1]
    assert [case["fallback"] for case in json.loads(out)["recommendations"]] == ["popularity", None]
    assert "users=11" in cli("evaluate", run)[1]
    assert "12 users" in cli("train", shop, "--model", "popularity", "--out", tmp_path / "new")[2]  # the data still hold the person
    kept = json.loads((run / "lists.json").read_text(encoding="utf-8"))["recommendations"]
    assert [case["user"] for case in kept] == [STAYS]
    assert pq.read_table(run / "more" / "users.parquet")["id"].to_pylist() == WITHOUT
    assert (run / "leavers.txt").read_text(encoding="utf-8") == f"{STAYS}\n"


def test_the_run_then_is_that_of_data_without_the_person(cli, run, shop, tmp_path):
    assert cli("forget", run, "--user", GONE)[0] == 0
    less = bertrec.load(write_shop(tmp_path / "without", WITHOUT))
    record = Run(run).record()
    assert record["data_hash"] == less.content_hash
    model = bertrec.Recommender.from_pretrained(run)
    assert model.trained_on.train == leave_one_out(less.interactions).train.content_hash
    assert bertrec.evaluate(model, less).slices["all"].users == 11
    code, out, err = cli("evaluate", run, "--data", tmp_path / "without")
    assert (code, "users=11" in out, "not what the run was trained on" in err) == (0, True, False)


def test_more_people_follow_and_nothing_is_forgotten_of_it(cli, run):
    assert cli("forget", run, "--user", GONE)[0] == 0
    assert cli("forget", run, "--user", STAYS, "u4")[0] == 0
    assert cli("forget", run, "--user", GONE)[0] == 0  # once more does no harm
    out = cli("recommend", run, "--user", GONE, STAYS, "u4", "u5", "-k", "1", "--format", "json")[1]
    assert [case["fallback"] for case in json.loads(out)["recommendations"]] == ["popularity"] * 3 + [None]
    assert len(Run(run).record()["forgotten"]["marks"]) == 3


def test_trained_weights_are_named_as_what_stays(cli, shop, tmp_path):
    run = tmp_path / "id"
    small = ["--set", "item.width=16", "--set", "head.layers=1", "--epochs", "1"]
    assert cli("train", shop, "--model", "idrec", "--out", run, *small)[0] == 0
    model = bertrec.Recommender.from_pretrained(run)
    state, former = {name: value.clone() for name, value in model.state_dict().items()}, model.model_hash
    out = cli("forget", run, "--users-file", _listed(tmp_path, GONE))[1]
    assert "item counts: 3 interactions taken out\n" in out
    assert f"{run / 'model'} learned from 3 of their interactions, of 36 in all; only training anew without them undoes that" in out
    again = bertrec.Recommender.from_pretrained(run)
    assert again.model_hash == former
    assert all((again.state_dict()[name] == value).all() for name, value in state.items())
    assert counts(run) == counted(write_shop(tmp_path / "without", WITHOUT))
    assert again.train_log == model.train_log


def _listed(folder: Path, *names: str) -> Path:
    path = folder / "leavers.csv"
    path.write_text("\n".join(["user_id", *names]) + "\n", encoding="utf-8")
    return path


def test_data_that_were_cleaned_first_are_counted_as_they_are(cli, shop, tmp_path):
    data, run = shutil.copytree(shop, tmp_path / "shop"), tmp_path / "run"
    assert cli("train", data, "--model", "popularity", "--out", run)[0] == 0
    write_shop(data, WITHOUT)
    code, out, err = cli("forget", run, "--user", GONE)
    assert (code, "has changed since the run was trained on it" in err) == (0, True)
    assert "counts: those of the data as they are now" in out
    assert counts(run) == counted(data)
    assert bertrec.Recommender.from_pretrained(run).trained_on is None


def test_data_that_have_grown_are_counted_over_the_items_of_the_run(cli, run, tmp_path):
    grown = write_shop(tmp_path / "grown", USERS)
    items = (grown / "items.csv").read_text(encoding="utf-8").splitlines()
    (grown / "items.csv").write_text("\n".join([items[0], "99,new", *items[1:]]) + "\n", encoding="utf-8")  # and all inner ids move
    clicks = (grown / "interactions.csv").read_text(encoding="utf-8")
    (grown / "interactions.csv").write_text(f"{clicks}u9,99,-2\nu9,100,-1\n", encoding="utf-8")
    assert cli("forget", run, "--user", GONE, "--data", grown)[0] == 0
    wanted = counted(write_shop(tmp_path / "without", WITHOUT))
    wanted[0] += 1  # item 100; the new one is none of the run's
    assert counts(run) == wanted
    assert cli("recommend", run, "--user", STAYS, "-k", "1")[0] == 0
    other = write_shop(tmp_path / "other", USERS)
    for name in ("items.csv", "interactions.csv"):
        (other / name).write_text((other / name).read_text(encoding="utf-8").replace("10", "x"), encoding="utf-8")
    assert "the data hold none of the run's items" in cli("forget", run, "--user", STAYS, "--data", other)[2]


TODAY = [(GONE, 107, 9), (STAYS, 107, 9), ("anew-1", 102, 9), (GONE, 108, 10), ("anew-1", 103, 10)]


def taken_in(run: Path, rows, *more) -> int:
    """The exit code of an update by interactions; the table is gone afterwards."""
    table = run.parent / "today.csv"
    table.write_text("\n".join(["user_id,item_id,timestamp", *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()) as said:
        code = main(["update", str(run), "--interactions", str(table), *more])
    table.unlink()
    assert not code, said.getvalue()
    return said.getvalue()


def test_what_they_did_later_goes_too_and_does_not_come_back(cli, run, tmp_path):
    taken_in(run, TODAY)
    assert traces(run) == ["interactions.parquet"]
    code, out, err = cli("forget", run, "--user", GONE)
    assert (code, err, traces(tmp_path)) == (0, "", [])
    assert "interactions.parquet: rows taken out: 2" in out.splitlines()
    later = Run(run).later()
    assert (later.users, later.items) == ([STAYS, "anew-1", "anew-1"], ["107", "102", "103"])
    said = taken_in(run, [*(row for row in TODAY if row[0] == GONE), (GONE, 100, 11)])
    assert "3 interactions are of people whom the run was told to forget (passed over)" in said
    assert (traces(tmp_path), len(Run(run).later())) == ([], 3)
    taken_in(run, [(GONE, 100, 11), (STAYS, 100, 11)])
    assert (traces(tmp_path), Run(run).later().users[3:]) == ([], [STAYS])
    out = cli("recommend", run, "--user", GONE, STAYS, "-k", "1", "--format", "json")[1]
    assert [case["fallback"] for case in json.loads(out)["recommendations"]] == ["popularity", None]


def test_someone_of_later_interactions_alone_is_forgotten(cli, run, tmp_path):
    taken_in(run, [row for row in TODAY if row[0] == "anew-1"])
    before = counts(run)
    assert cli("recommend", run, "--user", "anew-1", "-k", "1")[0] == 0
    assert cli("forget", run, "--user", "anew-1")[0] == 0
    assert traces(tmp_path, "anew-1") == []
    assert (len(Run(run).later()), counts(run)) == (0, before)
    assert cli("recommend", run, "--user", "anew-1", "-k", "1")[0] == 2
    assert cli("recommend", run, "--user", STAYS, "-k", "1")[0] == 0


def test_later_interactions_that_were_trained_on_leave_the_counts(cli, run, shop, tmp_path):
    taken_in(run, TODAY, "--train")
    assert Run(run).record()["later_trained"] == 5
    taken_in(run, [("anew-1", 104, 11)])  # after the training
    with_all = counts(run)
    assert cli("forget", run, "--user", GONE)[0] == 0
    record = Run(run).record()
    assert (record["later_trained"], len(Run(run).later())) == (3, 4)

    data = write_shop(tmp_path / "without", WITHOUT)
    with (data / "interactions.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"{user},{item},{time}\n" for user, item, time in TODAY if user != GONE)
    assert counts(run) == counted(data)
    assert (np.array(with_all) - counts(run)).tolist() == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0]  # five of seven: two are held out
    own, other = (tmp_path / name for name in ("own.json", "other.json"))
    code, _, err = cli("evaluate", run, "--json", own)
    assert (code, "changed" in err, cli("evaluate", run, "--data", data, "--json", other)[0]) == (0, False, 0)
    figures = [json.loads(path.read_text(encoding="utf-8"))["slices"]["all"] for path in (own, other)]
    assert figures[0] == figures[1]


def test_an_update_that_was_killed_does_not_bring_them_back(popular, tmp_path):
    run, seen = shutil.copytree(popular, tmp_path / "run"), set()
    for _ in killed_at_each_step(lambda: taken_in(run, TODAY)):
        with redirect_stdout(io.StringIO()):
            assert main(["forget", str(run), "--user", GONE]) == 0
        seen.add(Run(run).later() is not None)
        assert traces(run) == []
        assert not [path for path in run.rglob(".*") if path.name != ".lock"]
        shutil.rmtree(run)
        shutil.copytree(popular, run)
    assert seen == {False, True}


def test_files_that_are_no_tables_are_named(cli, run):
    (run / "note.md").write_text(f"asked by {GONE}, not xx{GONE}\n", encoding="utf-8")
    (run / "broken.parquet").write_bytes(b"no parquet")
    (run / "other.txt").write_text(f"xx{GONE}yy\n", encoding="utf-8")
    code, _, err = cli("forget", run, "--user", GONE)
    assert (code, err) == (0, f"warning: not taken out of {run / 'note.md'}: see to it by hand\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say whom to forget"),
        (["--user", "anna.k@exampl"], "unknown id 'anna.k@exampl': near it are anna.k@example"),
        (["--user", "anna.k@exampl"], "nobody was forgotten: leave it out to forget the others"),
        (["--users-file", "gone.txt"], "gone.txt: no such file"),
        (["--user", GONE, "--data", "gone"], "no such folder"),
        (["--user", GONE, "--k-core", "2"], "reading options go with --data"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(cli, run, words, said):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    code, out, err = cli("forget", run, *words)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_other_folders_are_told_apart(cli, run, tmp_path):
    assert "no such run" in cli("forget", tmp_path / "gone", "--user", "x")[2]
    assert not (tmp_path / "gone").exists()
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(record | {"kind": "rankers"}), encoding="utf-8")
    assert "is a run of rankers: it keeps no one's history" in cli("forget", run, "--user", GONE)[2]
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.json").write_text("{}", encoding="utf-8")
    assert "whose fits keep histories under numbers" in cli("forget", tmp_path / "study", "--user", GONE)[2]
    (run / "run.json").write_text(json.dumps(record | {"forgotten": [1]}), encoding="utf-8")
    assert "is damaged: it does not say who is forgotten" in cli("forget", run, "--user", GONE)[2]


def test_a_comparison_keeps_its_report_and_no_histories(cli, tmp_path):
    folder = tmp_path / "report"
    (folder / "fits" / "split").mkdir(parents=True)
    (folder / "fits" / "split" / "split.npz").write_bytes(b"histories")
    for name in ("comparison.json", "plan.json"):
        (folder / name).write_text("{}", encoding="utf-8")
    names = [GONE, STAYS] * 2
    columns = {
        "model": pa.array(["a", "a", "b", "b"]).dictionary_encode(),
        "user_id": pa.array(names).dictionary_encode(),
        "HR@10": [0, 1, 1, 0],
    }
    pq.write_table(pa.table(columns), folder / "per_user.parquet")
    code, out, _ = cli("forget", folder, "--user", GONE)
    assert (code, "per_user.parquet: rows taken out: 2" in out) == (0, True)
    assert traces(folder) == []
    assert sorted(path.name for path in folder.iterdir()) == ["comparison.json", "per_user.parquet"]
    assert pq.read_table(folder / "per_user.parquet")["HR@10"].to_pylist() == [1, 0]
    code, _, err = cli("forget", folder, "--user", GONE)
    assert (code, "knows nobody of that id" in err) == (2, True)


def test_killed_at_any_step_the_run_is_the_former_or_the_new_one(popular, tmp_path):
    run = shutil.copytree(popular, tmp_path / "run")
    (run / "lists.csv").write_text(f"user,id\n{GONE},100\n{STAYS},101\n", encoding="utf-8")
    taken_in(run, TODAY)
    former, new, seen = counts(run), None, set()
    new = (np.array(former) - [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]).tolist()

    def forget():
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            forget_in_run(Run(run), [GONE])

    forget_once = shutil.copytree(run, tmp_path / "spare")
    for _ in killed_at_each_step(forget):
        done = "forgotten" in Run(run).record()  # which also removes what the killed process left
        assert counts(run) == (new if done else former)
        assert traces(tmp_path / "run") == ([] if done else ["interactions.parquet", "lists.csv"])
        assert len(Run(run).later()) == (3 if done else 5)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
        seen.add(done)
        if done:
            shutil.rmtree(run)
            shutil.copytree(forget_once, run)
    assert seen == {False, True}
    Run(run).record()
    assert traces(run) == []
