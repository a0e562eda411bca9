from __future__ import annotations

import csv
import io
import json
import shutil

import pyarrow.parquet as pq
import pytest

from bertrec.cli.recommend import _with_more
from bertrec.core.errors import BertrecError


def items(printed):
    return [[row["id"] for row in case["items"]] for case in json.loads(printed)["recommendations"]]


def test_the_next_item_of_the_walk_comes_first(cli, trained):
    code, out, _ = cli("recommend", trained, "--history-ids", "100", "--history-ids", "101", "-k", "3", "--format", "json")
    assert code == 0
    case = json.loads(out)["recommendations"][0]
    assert case["user"] is None
    assert case["history"] == ["100", "101"]
    assert case["items"][0]["id"] == "102"
    assert case["items"][0]["title"] == "Green Teapot"
    assert [row["rank"] for row in case["items"]] == [1, 2, 3]
    scores = [row["score"] for row in case["items"]]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("words", [["--history", "red kettle", "--history", "blue k"], ["--history", "red kettle", "blue k"]])
def test_titles_mean_the_same_as_ids(cli, trained, words):
    by_title = cli("recommend", trained, *words, "-k", "5", "--format", "json")[1]
    by_id = cli("recommend", trained, "--history-ids", "100", "101", "-k", "5", "--format", "json")[1]
    assert json.loads(by_title) == json.loads(by_id)


def test_users_are_known_from_the_runs_data_and_their_items_left_out(cli, trained, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("2\n")
    code, out, err = cli("recommend", trained, "--user", "1", "--users-file", users, "-k", "20", "--format", "json")
    assert code == 0
    assert items(out)[0][0] == "106"  # user 1 walked 101 … 105
    assert items(out)[1][0] == "107"
    assert sorted(items(out)[0]) == ["100", "106", "107", "108", "109"]
    assert "only 5 items could be recommended where 20 were asked for" in err
    whole = cli("recommend", trained, "--user", "1", "-k", "20", "--keep-seen", "--format", "json")[1]
    assert sorted(items(whole)[0]) == [str(item) for item in range(100, 110)]


def test_other_data_are_read_as_the_runs_were(cli, run, shop, tmp_path):
    data, record = tmp_path / "data", json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(record | {"load": {"min_rating": 2}}), encoding="utf-8")
    data.mkdir()
    shutil.copy(shop / "items.csv", data)
    (data / "interactions.csv").write_text("user_id,item_id,timestamp,rating\n1,100,0,5\n1,105,1,1\n1,101,2,5\n", encoding="utf-8")
    out = cli("recommend", run, "--data", data, "--user", "1", "--format", "json")[1]
    assert json.loads(out)["recommendations"][0]["history"] == ["100", "101"]  # 105 was not liked


def test_an_unknown_user_of_a_file_is_named_with_its_line(cli, trained, tmp_path):
    users = tmp_path / "users.txt"
    users.write_text("2\n\n 4000 \n")
    code, out, err = cli("recommend", trained, "--users-file", users, "--on-unknown", "error")
    assert (code, out) == (2, "")
    assert f"{users}: line 3: unknown id '4000'" in err


@pytest.mark.parametrize("words", [[], ["--on-unknown", "fallback"]])
def test_an_unknown_user_stops_nobody_and_is_served_by_popularity(cli, trained, tmp_path, words):
    users = tmp_path / "users.txt"
    users.write_text("4000\n2\nnobody\n")
    code, out, err = cli("recommend", trained, "--users-file", users, "-k", "3", "--format", "json", *words)
    assert code == 0
    assert f"2 of 3 users are not in the data: served by popularity (--on-unknown skip leaves them out); the first: {users}: line 1" in err
    cases = json.loads(out)["recommendations"]
    assert [(case["user"], case["fallback"]) for case in cases] == [("4000", "popularity"), ("2", None), ("nobody", "popularity")]
    assert items(out)[0] == items(out)[2] == ["100", "101", "102"]  # all were trained on twelve times, so the catalogue's order decides
    assert [row["score"] for row in cases[0]["items"]] == [12.0, 12.0, 12.0]
    table = cli("recommend", trained, "--users-file", users, "-k", "3", *words)[1]
    assert "user 4000 (no items): nothing to go by, ordered by popularity" in table
    rows = list(csv.DictReader(io.StringIO(cli("recommend", trained, "--users-file", users, "-k", "1", "--format", "csv", *words)[1])))
    assert [(row["user"], row["fallback"]) for row in rows] == [("4000", "popularity"), ("2", ""), ("nobody", "popularity")]


def test_unknown_users_can_be_left_out_and_are_counted(cli, trained, tmp_path):
    code, out, err = cli("recommend", trained, "--user", "x", "--user", "2", "--on-unknown", "skip", "--format", "json")
    assert code == 0
    assert [case["user"] for case in json.loads(out)["recommendations"]] == ["2"]
    assert "1 of 2 users are not in the data: left out; the first: unknown id 'x'" in err


def test_where_nobody_is_known_that_is_an_error_unless_said_otherwise(cli, trained):
    assert cli("recommend", trained, "--user", "x")[0] == 2
    assert cli("recommend", trained, "--history-ids", "x")[0] == 2
    assert cli("recommend", trained, "--user", "x", "--on-unknown", "nonsense")[0] == 2
    for words in (["--user", "x"], ["--history-ids", "x"]):
        code, out, _ = cli("recommend", trained, *words, "--on-unknown", "fallback", "--why", "--format", "json")
        assert code == 0
        assert json.loads(out)["recommendations"][0]["fallback"] == "popularity"


def test_a_file_may_give_histories_and_then_needs_no_data(cli, run, tmp_path):
    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (run / "run.json").write_text(json.dumps(record | {"data": "gone", "data_path": "gone"}), encoding="utf-8")
    users = tmp_path / "users.jsonl"
    users.write_text('{"user_id": "new", "history": ["100", "101"]}\n{"user_id": 1, "history": [104, 999]}\n')
    code, out, err = cli("recommend", run, "--users-file", users, "-k", "1", "--format", "json")
    assert (code, err) == (0, f"note: 1 ids in the histories are no items (left out); the first: {users}: row 2: '999'\n")
    cases = json.loads(out)["recommendations"]
    assert [(case["user"], case["history"], case["fallback"]) for case in cases] == [("new", ["100", "101"], None), ("1", ["104"], None)]
    assert items(out) == [["102"], ["105"]]


def test_a_history_of_a_file_goes_before_that_of_the_data_and_fallbacks_are_named(cli, trained, tmp_path):
    users = tmp_path / "users.csv"
    users.write_text("user_id,history,mood\n1,,\n2,100 101,\nx,999,good\ny,,\n")
    code, out, err = cli("recommend", trained, "--users-file", users, "-k", "1", "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["user"], row["id"], row["fallback"]) for row in rows] == [
        ("1", "106", ""),
        ("2", "102", ""),
        ("x", "100", "popularity"),
        ("y", "100", "popularity"),
    ]
    assert f"{users}: ignored 'mood': no model reads what is said of users" in err
    first = f"the first: {users}: row 3: none of the 1 items of the history is in the catalogue"
    assert f"2 of 4 users have nothing to go by: served by popularity (--on-unknown skip leaves them out); {first}" in err
    assert cli("recommend", trained, "--users-file", users, "--on-unknown", "error")[0] == 2
    out = cli("recommend", trained, "--users-file", users, "--on-unknown", "skip", "-k", "1", "--format", "jsonl")[1]
    assert [json.loads(line)["user"] for line in out.splitlines()] == ["1", "2"]


def test_lists_are_written_in_the_form_that_the_file_names(cli, trained, tmp_path):
    words = ["recommend", trained, "--user", "1", "--user", "nobody", "-k", "2"]
    for ending in ("csv", "json", "jsonl", "parquet"):
        out = tmp_path / f"lists.{ending}"
        assert cli(*words, "--out", out)[:2] == (0, f"wrote 2 lists to {out}\n")
        assert cli(*words, "--out", out)[0] == 2  # it is there already
        assert cli(*words, "--out", out, "--overwrite")[0] == 0
        if ending != "parquet":
            assert out.read_text(encoding="utf-8") == cli(*words, "--format", ending)[1]
    table = pq.read_table(tmp_path / "lists.parquet").to_pylist()
    rows = list(csv.DictReader(io.StringIO((tmp_path / "lists.csv").read_text(encoding="utf-8"))))
    assert [{name: str(value or "") for name, value in row.items() if name != "score"} for row in table] == [
        {name: value for name, value in row.items() if name != "score"} for row in rows
    ]
    assert [row["score"] for row in table] == [float(row["score"]) for row in rows]
    for name, said in (("lists.txt", "one of .json, .jsonl, .csv, .parquet"), ("new.csv", "and not jsonl")):
        code, _, err = cli(*words, "--out", tmp_path / name, "--format", "jsonl")
        assert code == 2
        assert said in err


def test_csv_is_fit_for_a_program(cli, trained):
    out = cli("recommend", trained, "--history-ids", "102", "-k", "2", "--format", "csv")[1]
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert rows[0] | {"user": "", "id": "103", "title": "기생충 포스터"} == rows[0]
    assert float(rows[0]["score"]) > float(rows[1]["score"])


def test_a_table_shows_the_history_and_non_latin_titles(cli, trained):
    out = cli("recommend", trained, "--history", "Green Teapot", "-k", "2")[1]
    assert "history (1 item, the latest: Green Teapot)" in out
    assert "기생충 포스터" in out


def test_why_names_the_history_title_that_raised_the_score(cli, trained):
    case = json.loads(cli("recommend", trained, "--history-ids", "108", "102", "-k", "1", "--why", "--format", "json")[1])[
        "recommendations"
    ][0]
    assert case["items"][0]["id"] == "103"
    best = case["items"][0]["why"][0]
    assert best["kind"] == "history"
    assert best["text"] == "Green Teapot"
    assert best["contribution"] > 0
    assert "history: Green Teapot" in cli("recommend", trained, "--history-ids", "102", "-k", "1", "--why")[1]


def test_an_index_gives_the_same_items(cli, trained, tmp_path):
    index = tmp_path / "index"
    assert cli("index", "build", trained, "--out", index)[0] == 0
    words = ["recommend", trained, "--user", "3", "-k", "4", "--format", "json"]
    assert items(cli(*words, "--index", index)[1]) == items(cli(*words)[1])


def test_an_unknown_item_of_a_history_is_named_and_left_out(cli, trained):
    code, out, err = cli("recommend", trained, "--history-ids", "102", "999", "-k", "1", "--format", "json")
    assert (code, items(out)) == (0, [["103"]])
    assert "left out of the history: unknown id '999'" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say for whom"),
        (["--user", "1", "--history", "Red Kettle"], "say for whom"),
        (["--user", "4000"], "--user: unknown id '4000'"),
        (["--user", "4000"], "; give items with --history or --history-ids"),
        (["--history-ids", "999"], "none of the 1 items"),
        (["--history", "Kettle"], "Red Kettle; Blue Kettle"),
        (["--history", "Red Kettel"], "nearest are Red Kettle"),
        (["--users-file", "no-such-file"], "no such file"),
        (["--user", "1", "--index", "no-such-index"], "no such index"),
        (["--user", "1", "--format", "jsn"], "did you mean 'json'"),
        (["--history", "Red Kettle", "--on-unknown", "skip"], "a title of --history is that of an item: leave out --on-unknown"),
        (["--history", "Red Kettle", "--profile-start"], "leave out --profile-start"),
        (["--history-ids", "100", "--profile-start"], "--history-ids are all that is known: leave out --profile-start"),
        (["--group", "1,2", "--keep-seen", "--group-seen", "all"], "--group-seen says what the list leaves out: leave out --keep-seen"),
        (["--user", "1", "--user", "2", "3"], "unexpected words: 3"),
        (["3"], "unexpected words: 3"),
    ],
)
def test_bad_input_ends_with_one_line(cli, trained, words, said):
    code, out, err = cli("recommend", trained, *words)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]


def test_words_that_follow_belong_to_the_one_option():
    assert _with_more({"--user": ["a"], "--history": None}, ["b"]) == {"--user": ["a", "b"], "--history": []}
    with pytest.raises(BertrecError, match="unexpected words"):
        _with_more({"--user": ["a"], "--history": ["t"]}, ["b"])


def test_rules_hold_on_the_command_line(cli, trained, tmp_path):
    def listed(*words):
        code, out, err = cli("recommend", trained, "--history-ids", "100", "--keep-seen", "-k", "10", "--format", "json", *words)
        assert code == 0, err
        return items(out)[0]

    everything = listed()
    assert sorted(everything) == [str(100 + row) for row in range(10)]
    assert sorted(listed("--filter", "kind == 'wood' or 'Rug' in title")) == ["104", "105", "108", "109"]
    (tmp_path / "gone.txt").write_text("104\n999\n")
    assert listed("--exclude", tmp_path / "gone.txt", "--exclude", "100") == [item for item in everything if item not in ("104", "100")]
    assert sorted(listed("--only", "103", "--only", "105")) == ["103", "105"]
    assert len(listed("--at-most", "kind=1")) == 5
    assert listed("--boost", "kind == 'art'=1e6")[0] == "103"
    assert listed("--diversity", "0.9") != everything == listed("--diversity", "0")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--filter", "kynd == 'wood'"], "filter \"kynd == 'wood'\": unknown attribute 'kynd': did you mean 'kind'? (one of: kind, title)"),
        (["--filter", "kind > 3"], "'kind' is text (such as 'kitchen'), 3 is a number: compare texts, kind == '3'"),
        (["--at-most", "kind"], "--at-most kind: write it as --at-most brand=2"),
        (["--at-most", "knd=2"], "at_most: unknown attribute 'knd': did you mean 'kind'?"),
        (["--boost", "kind=x"], "--boost kind=x: write it as --boost in_stock=0.5"),
        (["--boost", "title=2"], "boost 'title': 'title' is text"),
        (["--exclude", "1000"], "--exclude: unknown id '1000': near it are 100"),
        (["--only", "none.txt"], "--only: unknown id 'none.txt', and no such file"),
    ],
)
def test_wrong_rules_are_one_line(cli, trained, words, said):
    code, out, err = cli("recommend", trained, "--history-ids", "100", "--format", "csv", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_prices_are_those_of_the_data_that_are_read(cli, trained, tmp_path, shop):
    data = shutil.copytree(shop, tmp_path / "shop")
    lines = (data / "items.csv").read_text().splitlines()
    prices = ["price", *(str(row) for row in range(10))]
    (data / "items.csv").write_text("\n".join(f"{line},{price}" for line, price in zip(lines, prices, strict=True)) + "\n")
    words = ["recommend", trained, "--data", data, "--user", "1", "--keep-seen", "--filter", "price >= 8", "--format", "json"]
    assert sorted(items(cli(*words)[1])[0]) == ["108", "109"]
    assert "only 2 items could be recommended where 10 were asked for: the rules leave no more" in cli(*words)[2]
