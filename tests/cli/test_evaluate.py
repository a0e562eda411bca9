from __future__ import annotations

import json
import shutil

import pytest

from bertrec.cli.output import figure


def measured(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_walk_is_learned_and_every_figure_is_a_fraction_with_its_protocol(cli, trained, tmp_path):
    out = tmp_path / "figures.json"
    code, printed, _ = cli("evaluate", trained, "--json", out)
    assert code == 0
    found = measured(out)
    assert set(found) == {"protocol", "slices", "seconds"}
    assert found["protocol"]["mask_seen"] is True
    assert found["protocol"]["split"]["method"] == "leave_one_out"
    everyone = found["slices"]["all"]
    assert everyone["users"] == 40
    assert everyone["metrics"]["HR@1"] == {"mean": 1.0, "ci95": [1.0, 1.0]}  # the next item of the walk is known to nobody else
    assert {"users", "metrics"} == set(everyone)
    assert "1.0000" in printed
    assert "protocol: mask_seen=True" in printed


def test_unmasked_and_validation_are_what_they_say(cli, trained, tmp_path):
    out = tmp_path / "figures.json"
    assert cli("evaluate", trained, "--no-mask-seen", "--split", "valid", "--bootstrap", "0", "--json", out)[0] == 0
    found = measured(out)
    assert found["protocol"]["mask_seen"] is False
    assert found["slices"]["all"]["metrics"]["HR@10"] == {"mean": 1.0, "ci95": None}  # ten items: each is among the first ten


def test_metrics_are_chosen_by_name(cli, trained):
    printed = cli("evaluate", trained, "--metrics", "HR@1, Coverage@10")[1]
    assert "Coverage@10" in printed
    assert "NDCG@10" not in printed
    assert "MAP@50" in cli("evaluate", trained, "--metrics", "all")[1]
    code, out, err = cli("evaluate", trained, "--metrics", "HR@11")
    assert (code, out) == (2, "")
    assert "did you mean 'HR@1" in err


def test_an_id_model_does_not_move_to_other_items(cli, trained, tmp_path):
    data = tmp_path / "other"
    data.mkdir()
    (data / "interactions.csv").write_text("user_id,item_id\n" + "".join(f"{u},{i}\n" for u in "ab" for i in "xyz"))
    (data / "items.csv").write_text("item_id,title\n" + "".join(f"{i},Thing {i}\n" for i in "xyz"))
    code, out, err = cli("evaluate", trained, "--data", data)
    assert (code, out) == (2, "")
    assert "ids alone" in err


def test_data_that_moved_can_be_named(cli, run, shop, tmp_path):
    record = measured(run / "run.json")
    record["data_path"] = record["data"] = str(tmp_path / "moved-away")
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    code, _, err = cli("evaluate", run)
    assert code == 2
    assert "--data" in err
    assert cli("evaluate", run, "--data", shop)[0] == 0


def test_moved_data_are_measured_as_the_run_was_trained(cli, shop, tmp_path):
    """Ten users one after the other, five items each, and one disliked: of the last tenth only user 9 has a past."""
    rows = [f"{user},{100 + (user + step) % 10},{10 * user + step},{1 if step == 5 else 5}" for user in range(1, 11) for step in range(6)]
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "figures.json"
    data.mkdir()
    shutil.copy(shop / "items.csv", data)
    (data / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp,rating", *rows]) + "\n", encoding="utf-8")
    options = ["--model", "idrec", "--epochs", "1", "--split", "time", "--min-rating", "2", "--set", "item.width=16"]
    assert cli("train", data, "--out", run, *options)[0] == 0
    moved = data.rename(tmp_path / "moved")
    assert "name it with --data" in cli("evaluate", run)[2]
    for words, method, users, told in (([], "time", 1, False), (["--min-rating", "0"], "leave_one_out", 10, True)):
        code, _, err = cli("evaluate", run, "--data", moved, "--json", out, *words)
        assert code == 0, err
        found = measured(out)
        assert (found["protocol"]["split"]["method"], found["slices"]["all"]["users"]) == (method, users)
        assert (f"is not what the run was trained on: measured by the split {method}" in err) is told


def test_changed_data_are_noticed(cli, run, shop, tmp_path):
    data = tmp_path / "shop"
    data.mkdir()
    for name in ("items.csv", "interactions.csv"):
        (data / name).write_text((shop / name).read_text(encoding="utf-8"), encoding="utf-8")
    with (data / "interactions.csv").open("a") as stream:
        stream.write("1,109,77\n")
    record = measured(run / "run.json")
    record["data_path"] = str(data)
    (run / "run.json").write_text(json.dumps(record), encoding="utf-8")
    code, _, err = cli("evaluate", run)
    assert code == 0
    assert "has changed since the run was trained" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "tst"], "did you mean 'test'"),
        (["--candidates", "cold"], "candidates"),
        (["--candidates", "held_out"], "held"),
        (["--text-fields", "title"], "go with --data"),
        (["--keep-seen", "--seen-targets", "rank"], "--seen-targets rank goes with masked histories, and none is masked here"),
        (["--json", "/proc/no/figures.json"], "/proc/no"),
    ],
)
def test_bad_options_are_one_line(cli, trained, words, said):
    code, _, err = cli("evaluate", trained, *words)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["model/model.safetensors", "model/config.json", "run.json"])
@pytest.mark.parametrize("damage", ["absent", "cut"])
def test_a_damaged_run_is_named(cli, run, name, damage):
    path = run / name
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, out, err = cli("evaluate", run)
    assert (code, out) == (2, "")
    assert path.name in err
    assert err.count("\n") == 1


def test_a_figure_shows_its_interval_or_a_dash():
    assert figure({"mean": 0.1236, "ci95": [0.1, 0.2]}) == "0.1236\n[0.1000, 0.2000]"
    assert figure({"mean": 0.5, "ci95": None}) == "0.5000"
    assert figure(None) == "-"


@pytest.fixture(scope="module")
def repeats(tmp_path_factory):
    """Thirty buy one item again and again, six never buy anything twice."""
    shop = tmp_path_factory.mktemp("repeats") / "shop"
    shop.mkdir()
    rows = [f"{user},{user % 10},{step}" for user in range(30) for step in range(6)]
    rows += [f"{user},{step},{step}" for user in range(30, 36) for step in range(6)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    (shop / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},thing {item}" for item in range(10))]) + "\n", encoding="utf-8")
    return shop


def test_repeats_are_named_and_neither_counted_nor_served(cli, repeats, tmp_path):
    run, out = tmp_path / "run", tmp_path / "figures.json"
    words = ["--model", "idrec", "--epochs", "2", "--set", "item.width=16"]
    code, _, err = cli("train", repeats, "--out", run, *words)
    assert code == 0
    assert "repeats: 150 of 216 interactions (69.4%) are of an item that the user had before; 60 held-out targets" in err
    assert "neither recommended nor counted" in err
    assert cli("evaluate", run, "--json", out)[0] == 0
    found = measured(out)["protocol"]
    assert (found["users"], found["left_out"]["seen_targets"], found["mask_seen"]) == (6, 30, True)
    published = cli("evaluate", run, "--seen-targets", "rank", "--json", out)
    assert published[0] == 0
    assert measured(out)["protocol"]["users"] == 36
    code, out_text, _ = cli("data", "describe", repeats, "--encoder", "none")
    assert "share repeated" in out_text
    assert "0.6944" in out_text


def test_one_choice_rules_training_measuring_and_serving(cli, repeats, tmp_path):
    run, out = tmp_path / "run", tmp_path / "figures.json"
    words = ["--model", "idrec", "--epochs", "30", "--set", "item.width=16", "--set", "train.batch_size=8", "--keep-seen"]
    code, _, err = cli("train", repeats, "--out", run, *words)
    assert code == 0
    assert "are recommended and counted" in err
    assert cli("evaluate", run, "--json", out)[0] == 0
    found = measured(out)
    assert (found["protocol"]["users"], found["protocol"]["mask_seen"]) == (36, False)
    assert found["slices"]["all"]["metrics"]["HR@1"]["mean"] > 0.6  # what is bought again; chance is .1
    listed = cli("recommend", run, "--user", "0", "-k", "1", "--format", "json")[1]
    assert json.loads(listed)["recommendations"][0]["items"][0]["id"] == "0"
    masked = cli("recommend", run, "--user", "0", "-k", "10", "--mask-seen", "--format", "json")[1]
    assert "0" not in {row["id"] for row in json.loads(masked)["recommendations"][0]["items"]}
    assert cli("evaluate", run, "--mask-seen", "--json", out)[0] == 0
    assert measured(out)["protocol"]["left_out"]["seen_targets"] == 30


def test_an_index_is_measured_by_what_it_serves(cli, trained, tmp_path):
    index, out = tmp_path / "index", tmp_path / "figures.json"
    assert cli("index", "build", trained, "--out", index)[0] == 0
    assert cli("evaluate", trained, "--index", index, "--json", out)[0] == 0
    found = measured(out)
    assert found["slices"]["all"]["metrics"]["HR@1"]["mean"] == 1.0
    assert found["protocol"]["index"] == {"kind": "flat", "items": 10, "recall": 1.0}
    assert cli("index", "remove", index, "--id", "105")[0] == 0
    assert cli("evaluate", trained, "--index", index, "--json", out)[0] == 0
    assert measured(out)["slices"]["all"]["metrics"]["HR@1"]["mean"] == 0.9  # a tenth of the users go on to item 105
    assert cli("evaluate", trained, "--index", index, "--candidates", "held_out")[0] == 2
    assert cli("evaluate", trained, "--index", tmp_path / "none")[0] == 2
