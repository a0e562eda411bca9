from __future__ import annotations

import csv
import io
import json

import pytest


def only(printed):
    (case,) = json.loads(printed)["recommendations"]
    return case


def ids(case):
    return [row["id"] for row in case["items"]]


def test_a_group_gets_one_list_without_what_any_has_met(cli, trained):
    """User 1 walked 101 … 105, user 4 walked 104 … 108."""
    code, out, err = cli("recommend", trained, "--group", "1, 4", "-k", "9", "--format", "json")
    case = only(out)
    assert (code, case["user"], case["group"], case["fallback"]) == (0, None, ["1", "4"], None)
    assert sorted(ids(case)) == ["100", "109"]
    assert "only 2 items could be recommended where 9 were asked for" in err
    whole = only(cli("recommend", trained, "--group", "1,4", "-k", "99", "--keep-seen", "--format", "json")[1])
    shared = only(cli("recommend", trained, "--group", "1,4", "-k", "99", "--group-seen", "all", "--format", "json")[1])
    assert set(ids(whole)) - set(ids(shared)) == {"104", "105"}


@pytest.mark.parametrize("how", ["average", "least-misery", "most-pleasure"])
def test_why_gives_the_score_of_each_member(cli, trained, how):
    words = ["recommend", trained, "--group", "1,4,7", "--join", how, "--keep-seen", "--why", "-k", "4"]
    case = only(cli(*words, "--format", "json")[1])
    join = {"average": lambda z: sum(z) / 3, "least-misery": min, "most-pleasure": max}[how]
    for row in case["items"]:
        assert [one["kind"] for one in row["why"]] == ["member"] * 3
        assert sorted(one["text"] for one in row["why"]) == ["1", "4", "7"]
        values = [one["contribution"] for one in row["why"]]
        assert values == sorted(values, reverse=True)
        assert row["score"] == pytest.approx(join(values), abs=1e-6)
    table = cli(*words)[1]
    assert table.startswith("group 1,4,7 (")
    heading = next(line for line in table.splitlines() if "rank" in line)
    assert heading.replace("┃", " ").split() == ["rank", "id", "title", "score", "1", "4", "7"]
    rows = list(csv.DictReader(io.StringIO(cli(*words, "--format", "csv")[1])))
    assert [row["user"] for row in rows] == ["1,4,7"] * 4
    assert rows[0]["why"].startswith("member: ")


def test_a_group_of_one_is_that_user(cli, trained):
    alone = only(cli("recommend", trained, "--user", "3", "-k", "4", "--format", "json")[1])
    code, out, err = cli("recommend", trained, "--group", "3,3", "-k", "4", "--join", "attention", "--format", "json")
    assert code == 0
    assert ids(only(out)) == ids(alone)
    assert "3 stands in the group 2 times and counts once" in err
    assert "a group of one: the list is that of 3 alone" in err


def test_strangers_are_named_and_left_out(cli, trained):
    known = only(cli("recommend", trained, "--group", "1,4", "--format", "json")[1])
    code, out, err = cli("recommend", trained, "--group", "1,nobody,4", "--format", "json")
    assert code == 0
    assert (ids(only(out)), only(out)["group"]) == (ids(known), ["1", "4"])
    assert "left out of the group: unknown id 'nobody'" in err
    code, _, err = cli("recommend", trained, "--group", "1,nobody", "--on-unknown", "error")
    assert code == 2
    assert "--group: unknown id 'nobody'" in err


def test_a_group_of_strangers_is_served_as_a_user_without_history(cli, trained):
    code, out, err = cli("recommend", trained, "--group", "x,y", "--why", "-k", "3", "--format", "json")
    assert code == 0
    case = only(out)
    assert (case["fallback"], case["group"], ids(case)) == ("popularity", [], ["100", "101", "102"])
    assert "nobody of the group is in the data" in err
    assert json.loads(cli("recommend", trained, "--group", "x,y", "--on-unknown", "skip", "--format", "json")[1]) == {"recommendations": []}
    assert "ordered by popularity" in cli("recommend", trained, "--group", "x,y", "--why")[1]


def test_rules_hold_and_an_index_serves_joined_vectors(cli, run, tmp_path):
    wood = only(cli("recommend", run, "--group", "1,4", "--keep-seen", "--filter", "kind == 'wood'", "--format", "json")[1])
    assert sorted(ids(wood)) == ["104", "105"]
    index = tmp_path / "index"
    assert cli("index", "build", run, "--out", index)[0] == 0
    code, _, err = cli("recommend", run, "--index", index, "--group", "1,4")
    assert code == 2
    assert "join vectors" in err
    words = ["recommend", run, "--group", "1,4", "--join-on", "vectors", "--format", "json"]
    code, out, _ = cli(*words, "--index", index)
    assert code == 0
    assert ids(only(out)) == ids(only(cli(*words)[1]))
    parquet = tmp_path / "group.parquet"
    assert cli("recommend", run, "--group", "1,4", "--out", parquet, "--why")[0] == 0
    assert parquet.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--group", ","], "names no user"),
        (["--group", ""], "names no user"),
        (["--group", "1,2", "--user", "3"], "leave out --user"),
        (["--group", "1,2", "--history", "Red"], "leave out --history"),
        (["--group", "1,2", "--profile", "red"], "leave out --profile"),
        (["--group", "1,2", "--profile-start"], "leave out --profile-start"),
        (["--group", "1,2", "--rerank", "folder"], "leave out --rerank"),
        (["--group", "1,2", "--join", "mean"], "unknown word of --join 'mean'"),
        (["--user", "1", "--join", "average"], "--join goes with --group"),
        (["--group", "1,2", "--join", "least-misery", "--join-on", "vectors"], "vectors have no least-misery"),
    ],
)
def test_what_does_not_go_with_a_group_is_one_line(cli, trained, words, said):
    code, out, err = cli("recommend", trained, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1
