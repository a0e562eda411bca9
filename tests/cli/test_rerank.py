from __future__ import annotations

import json
import shutil

import pytest
from records import change
from tiny_encoders import tiny_bert


@pytest.fixture(scope="session")
def encoder(shop, tmp_path_factory):
    texts = (shop / "items.csv").read_text(encoding="utf-8").splitlines()
    return tiny_bert(tmp_path_factory.mktemp("encoder"), texts, hidden=16, layers=1)


def train(trained, encoder, out, *more):
    words = ["rerank", "train", trained, "--reranker", "composite", "--out", out, "--candidates", "4", "--negatives", "3"]
    return [*words, "--set", f"encoder.name={encoder}", *more]


@pytest.fixture(scope="session")
def reranker(trained, encoder, tmp_path_factory):
    """Treat it as read-only."""
    from bertrec.cli.main import main

    out = tmp_path_factory.mktemp("rerankers") / "composite"
    assert main([str(word) for word in train(trained, encoder, out)]) == 0
    return out


def test_training_writes_a_reranker_with_its_record(cli, trained, encoder, tmp_path):
    out = tmp_path / "reranker"
    code, printed, err = cli(*train(trained, encoder, out, "--learn-from", "valid", "--seed", "3"))
    assert code == 0, err
    record = json.loads((out / "rerank.json").read_text(encoding="utf-8"))
    assert {"kind": "composite", "candidates": 4, "learn_from": "valid", "seed": 3}.items() <= record.items()
    assert record["chosen_on"]["figures"]["1"] == 1.0  # the run has learned the walk: nothing can be better
    assert record["weight"] == 1.0
    assert "retrieval_score" in record["head"]
    assert "learned from 40 lists of valid" in printed
    code, _, err = cli(*train(trained, encoder, out))
    assert (code, "holds a reranker" in err) == (2, True)
    assert json.loads((out / "rerank.json").read_text(encoding="utf-8")) == record
    assert cli(*train(trained, encoder, out, "--overwrite"))[0] == 0
    assert "retrieval_score" not in json.loads((out / "rerank.json").read_text(encoding="utf-8"))["head"]


def test_a_cross_encoder_learns_from_mixed_negatives_and_recommends(cli, trained, encoder, tmp_path):
    out = tmp_path / "cross"
    words = ["rerank", "train", trained, "--reranker", "cross-encoder", "--out", out, "--candidates", "4", "--negatives", "3"]
    quick = ["encoder.tune=last:1", "encoder.max_length=32", "train.epochs=1", "swap=0.1", "profile=keywords", "profile_field=kind"]
    words += [word for one in [f"encoder.name={encoder}", *quick] for word in ("--set", one)]
    more = ["--hard", "mixed", "--label-field", "kind", "--learn-from", "valid", "--lists", "30", "--share-users", "5"]
    code, printed, err = cli(*words, *more)
    assert code == 0, err
    record = json.loads((out / "rerank.json").read_text(encoding="utf-8"))
    assert {"kind": "cross-encoder", "hard": ["genre", "cooccurrence", "retrieved"], "lists": 30}.items() <= record.items()
    assert set(record["head"]) == {"cosine", "retrieval_score", "retrieval_place"}
    assert record["chosen_on"]["users"] == 5
    assert "learned from 30 lists of valid, 3 negatives of 4 (genre, cooccurrence, retrieved)" in printed
    code, listed, err = cli("recommend", trained, "--user", "1", "-k", "3", "--rerank", out, "--format", "json")
    assert code == 0, err
    assert len(json.loads(listed)["recommendations"][0]["items"]) == 3


def test_both_rows_and_the_paired_interval_are_measured_on_the_whole_catalogue(cli, trained, reranker, tmp_path):
    out = tmp_path / "figures.json"
    code, printed, _ = cli("rerank", "evaluate", trained, "--rerank", reranker, "--weight", "0", "--json", out)
    assert code == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {"protocol", "slices", "seconds", "retriever", "paired"} == set(found)
    assert found["retriever"]["slices"]["all"]["metrics"]["HR@1"]["mean"] == 1.0
    assert found["protocol"]["rerank"] | {"candidates": 4, "weight": 0.0, "targets_within": 40} == found["protocol"]["rerank"]
    assert found["slices"]["all"]["metrics"]["HR@5"]["mean"] == 1.0  # four places: the target cannot fall out of the first five
    assert found["paired"]["HR@1"]["difference"] <= 0
    assert "reranked" in printed
    assert "retriever" in printed
    whole = cli("rerank", "evaluate", trained, "--rerank", reranker, "--weight", "1", "--split", "valid", "--json", out)
    assert whole[0] == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["paired"]["NDCG@10"]["difference"] == 0
    assert found["paired"]["NDCG@10"]["verdict"] == "no difference shown"


def test_other_data_are_measured_by_their_own_users_and_that_is_said(cli, trained, reranker, small_shop, tmp_path):
    out = tmp_path / "figures.json"
    code, _, err = cli("rerank", "evaluate", trained, "--rerank", reranker, "--data", small_shop, "--json", out)
    assert code == 0, err
    assert json.loads(out.read_text(encoding="utf-8"))["slices"]["all"]["users"] == 12
    assert f"{small_shop}, as read here, is not what the run was trained on" in err


def test_recommend_puts_the_runs_items_in_the_rerankers_order(cli, trained, reranker, tmp_path):
    def items(*words):
        code, out, err = cli("recommend", trained, "--user", "1", "--format", "json", *words)
        assert code == 0, err
        return [row["id"] for row in json.loads(out)["recommendations"][0]["items"]]

    plain = items("-k", "3")
    assert items("-k", "3", "--rerank", reranker, "--candidates", "3") == plain  # weight 1: the run's own order
    other = shutil.copytree(reranker, tmp_path / "other")
    change(other / "rerank.json", weight=0)
    assert sorted(items("-k", "3", "--rerank", other, "--candidates", "3")) == sorted(plain)
    assert len(items("-k", "2", "--rerank", other)) == 2
    index = tmp_path / "index"
    assert cli("index", "build", trained, "--out", index)[0] == 0
    assert items("-k", "2", "--rerank", other, "--index", index) == items("-k", "2", "--rerank", other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--reranker", "compsite"], "did you mean 'composite'"),
        (["--set", "tokens=int4"], "tokens"),
        (["--set", "token=lsh"], "did you mean 'tokens'"),
        (["--learn-from", "test"], "unknown source of lists 'test'"),
        (["--set", "retrieval=true"], "learn from valid"),
        (["--metric", "NDCG@11"], "did you mean 'NDCG@1"),
        (["--hard", "genre"], "hard=genre needs labels of the items: no field among"),
        (["--hard", "genre", "--label-field", "kid"], "did you mean 'kind'"),
        (["--label-field", "nonsense"], "label field 'nonsense' is for negatives of like genre"),
        (["--learn-from", "valid", "--positions", "2"], "positions 2 is of training lists: leave it out"),
        (["--hard", "mixed", "--hard", "genre"], "hard=genre needs labels of the items"),
        (["--hard", "cooccurence"], "did you mean 'cooccurrence'"),
        (["--negatives", "5"], "5 negatives of the retriever's best 4: raise candidates to 5 or more"),
        (["--reranker", "cross-encoder", "--set", "swap=2"], "swap"),
        (["--reranker", "cross-encoder", "--set", "profile=keyword"], "profile"),
    ],
)
def test_bad_training_options_are_one_line_and_write_nothing(cli, trained, encoder, tmp_path, words, said):
    out = tmp_path / "reranker"
    code, printed, err = cli(*train(trained, encoder, out, *words))
    assert (code, printed) == (2, "")
    assert said in err.splitlines()[-1]
    assert not out.exists()


def test_a_folder_with_something_else_is_not_written_into(cli, trained, encoder, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    code, _, err = cli(*train(trained, encoder, tmp_path))
    assert code == 2
    assert "holds something else than a reranker" in err
    code, _, err = cli(*train(trained, encoder, tmp_path / "thesis.txt"))
    assert code == 2
    assert "is a file, not a folder" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--candidates", "5"], "goes with --rerank"),
        (["--rerank", "RERANKER", "--why"], "--why"),
        (["--rerank", "RERANKER", "--candidates", "5", "-k", "6"], "fewer than the -k 6"),
        (["--rerank", "nowhere"], "no such reranker"),
        (["--rerank", "RUN"], "unknown ranker 'idrec'"),
    ],
)
def test_bad_recommend_options_are_one_line(cli, trained, reranker, words, said):
    words = [{"RERANKER": reranker, "RUN": trained}.get(word, word) for word in words]
    code, out, err = cli("recommend", trained, "--user", "1", *words)
    assert (code, out) == (2, "")
    assert said in err.splitlines()[-1]


def test_a_damaged_record_and_a_weight_outside_its_range_are_named(cli, trained, reranker, tmp_path):
    folder = shutil.copytree(reranker, tmp_path / "reranker")
    (folder / "rerank.json").write_text('{"weight": 7}')
    code, _, err = cli("rerank", "evaluate", trained, "--rerank", folder)
    assert code == 2
    assert "its weight is 7" in err
    assert "between 0" in cli("rerank", "evaluate", trained, "--rerank", reranker, "--weight", "2")[2]
    (folder / "rerank.json").unlink()
    (folder / "model" / "model.safetensors").unlink()
    assert "model.safetensors is missing" in cli("rerank", "evaluate", trained, "--rerank", folder)[2]


def test_a_folder_that_is_no_reranker_is_said_to_be_none(cli, trained, shop, tmp_path):
    for words in (["rerank", "evaluate", trained], ["recommend", trained, "--user", "1"]):
        code, out, err = cli(*words, "--rerank", shop)
        assert (code, out, f"{shop} is no reranker" in err.splitlines()[-1]) == (2, "", True)


def test_a_reranker_of_another_runs_lists_is_said_to_be_one(cli, trained, reranker, shop, tmp_path):
    assert cli("train", shop, "--model", "itemknn", "--out", tmp_path / "knn")[0] == 0
    for words in (["rerank", "evaluate", "RUN", "--bootstrap", "0"], ["recommend", "RUN", "--user", "1", "-k", "2"]):
        for run, told in ((trained, 0), (tmp_path / "knn", 1)):
            code, _, err = cli(*(run if word == "RUN" else word for word in words), "--rerank", reranker)
            assert (code, err.count("trained on the lists of another run")) == (0, told)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--metric", "NDGC@10"], "unknown metric 'NDGC@10': did you mean 'NDCG@10'"),
        (["--learn-from", "test"], "unknown source of lists 'test'"),
        (["--learn-from", "valid", "--positions", "2"], "positions 2 is of training lists"),
        (["--set", "los=listwise"], "unknown setting 'los': did you mean 'loss'"),
    ],
)
def test_what_needs_no_data_is_refused_before_they_are_read(cli, encoder, tmp_path, more, said):
    """There is no such run: whatever read it first would say so."""
    code, _, err = cli(*train(tmp_path / "absent", encoder, tmp_path / "out", *more))
    assert (code, said in err, "no such run" in err) == (2, True, False)


def test_an_encoder_that_was_adapted_on_what_the_run_holds_out_is_named(cli, trained, shop, encoder, tmp_path):
    """The run leaves the last two items of each user out, and the other split leaves out more than those."""
    adapt = ["encoder", "adapt", shop, "--encoder", encoder, "--epochs", "1"]
    for split, told in (("leave-one-out", None), ("cold-items", "it has read nothing of what is held out here")):
        adapted = tmp_path / split
        assert cli(*adapt, "--split", split, "--out", adapted)[0] == 0
        out = tmp_path / f"{split}.reranker"
        code, _, err = cli(*train(trained, adapted, out))
        assert code == 0, err
        again = cli("rerank", "evaluate", trained, "--rerank", out)[2]
        for text in (err, again):
            assert (f"encoder {adapted} was adapted on another split of these data" in text) == (told is not None)
            assert told is None or told in text
