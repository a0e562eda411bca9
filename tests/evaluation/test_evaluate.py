"""From scores or ranks to a report: slices, masking, held-out items, what is left out, and bad input."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.evaluation.evaluate import evaluate_ranks, evaluate_scores
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.slices import SLICES

FAST = Protocol(ks=(1, 2), bootstrap=50)


def evaluation_set(histories, targets, users=None):
    names = [f"u{row}" for row in range(len(targets))] if users is None else users
    return SimpleNamespace(users=names, histories=Ragged.from_rows(histories), targets=Ragged.from_rows(targets))


def checkerboard(n_users=8, n_items=10):
    """Even users like even items, odd users odd ones; every user has seen all of them but one."""
    histories, targets = [], []
    for user in range(n_users):
        liked = [item for item in range(1, n_items + 1) if item % 2 == user % 2]
        left = liked[user // 2 % len(liked)]
        histories.append([item for item in liked if item != left])
        targets.append([left])
    scores = (np.arange(n_items + 1) % 2 == np.arange(n_users)[:, None] % 2).astype(np.float32)
    return evaluation_set(histories, targets), scores, np.full(n_items + 1, 9)


def test_checkerboard_has_one_right_answer():
    data, scores, counts = checkerboard()
    right = evaluate_scores([scores], data, Protocol(ks=(1,)), counts).to_json()
    for name in ("HR@1", "Recall@1", "Precision@1", "NDCG@1", "MRR@1", "MAP@1"):
        assert right["slices"]["all"]["metrics"][name] == {"mean": 1.0, "ci95": [1.0, 1.0]}
    wrong = evaluate_scores([1 - scores], data, Protocol(ks=(1, 5)), counts)
    assert wrong.mean("HR@5") == 0.0
    unmasked = evaluate_scores([scores], data, Protocol(ks=(4, 5), mask_seen=False), counts)
    assert (unmasked.mean("HR@4"), unmasked.mean("HR@5"), unmasked.mean("MRR@5")) == (0.0, 1.0, pytest.approx(0.2))


def test_batches_of_any_size_give_one_report():
    data, scores, counts = checkerboard()
    noisy = scores + np.random.default_rng(0).random(scores.shape, dtype=np.float32)
    whole = evaluate_scores([noisy], data, FAST, counts, top_k_lists=True)
    parts = evaluate_scores((noisy[i : i + 3] for i in range(0, 8, 3)), data, FAST, counts, top_k_lists=True)
    assert whole.to_json()["slices"] == parts.to_json()["slices"]


def test_slices_restrict_targets_or_users():
    counts = np.array([0, 0, 1, 5, 6, 9])
    histories = [[4] * 5, [4] * 6, [4] * 20, [4] * 21]
    data = evaluation_set(histories, [[1, 4], [2], [3, 5], [5]])
    ranks = Ragged.from_rows([[1, 2], [1], [2, 1], [2]])
    report = evaluate_ranks(ranks, data, Protocol(ks=(1, 2), bootstrap=50, mask_seen=False), counts)
    assert {name: part.users for name, part in report.slices.items()} == {
        "all": 4,
        "cold_items": 1,
        "few_shot_items": 2,
        "warm_items": 3,
        "short_histories": 1,
        "medium_histories": 2,
        "long_histories": 1,
    }
    assert list(report.slices) == list(SLICES)
    assert report.slices["warm_items"].rows.tolist() == [0, 2, 3]
    assert report.per_user("HR@1", "warm_items").tolist() == [0.0, 1.0, 0.0]
    assert report.per_user("Recall@1").tolist() == [0.5, 1.0, 0.5, 0.0]
    assert report.per_user("Recall@1", "cold_items").tolist() == [1.0]  # one target of two is left
    assert report.mean("NDCG@2", "few_shot_items") == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert report.mean("HR@1", "long_histories") == 0.0


def test_an_empty_slice_is_given_without_metrics():
    data, scores, counts = checkerboard()
    out = evaluate_scores([scores], data, FAST, counts).to_json()
    assert out["slices"]["cold_items"] == {"users": 0, "metrics": {}}


def test_json_shape_and_protocol():
    data, scores, counts = checkerboard()
    report = evaluate_scores([scores], data, FAST, counts, info={"split": {"method": "leave_one_out"}, "model_hash": "abc"})
    out = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert set(out) == {"protocol", "slices", "seconds"}
    protocol = out["protocol"]
    assert protocol["mask_seen"] is True
    assert protocol["ks"] == [1, 2]
    assert protocol["candidates"] == "all"
    assert (protocol["users"], protocol["items"], protocol["seed"], protocol["bootstrap"]) == (8, 10, 0, 50)
    assert protocol["ties"].startswith("against the model")
    assert protocol["versions"]["numpy"] == np.__version__
    assert protocol["split"] == {"method": "leave_one_out"}
    assert protocol["left_out"] == {"repeated_targets": 0, "seen_targets": 0, "targets_outside_candidates": 0, "users_without_target": 0}
    assert protocol["slices"]["medium_histories"] == "users with 6 to 20 items before"
    assert out["seconds"] >= 0
    low, high = out["slices"]["all"]["metrics"]["NDCG@2"]["ci95"]
    assert low <= out["slices"]["all"]["metrics"]["NDCG@2"]["mean"] <= high


def test_info_cannot_hide_what_the_evaluator_records():
    data, scores, counts = checkerboard()
    with pytest.raises(ConfigError, match="mask_seen"):
        evaluate_scores([scores], data, FAST, counts, info={"mask_seen": False})


def test_held_out_candidates_and_what_is_left_out():
    data = evaluation_set([[1], [2], [3], [5]], [[4, 1], [5, 5], [2], []])
    scores = np.array([[0, 9, 8, 7, 1, 2]] * 4, dtype=np.float32)
    protocol = Protocol(ks=(1, 2), candidates="held_out", bootstrap=0)
    report = evaluate_scores([scores], data, protocol, np.array([0, 3, 3, 3, 0, 0]), held_out=np.array([4, 5]))
    assert report.slices["all"].rows.tolist() == [0, 1]
    assert report.per_user("HR@1").tolist() == [0.0, 1.0]  # item 5 scores above item 4
    assert report.per_user("MRR@2").tolist() == [0.5, 1.0]
    left_out = {"repeated_targets": 1, "seen_targets": 1, "targets_outside_candidates": 1, "users_without_target": 2}
    assert report.protocol["left_out"] == left_out
    assert report.protocol["users"] == 2
    assert report.slices["all"].metrics["HR@1"].ci95 is None
    assert report.per_user_random("HR@1").tolist() == [0.5, 0.5]
    assert report.per_user_random("MRR@2").tolist() == [0.75, 0.75]


def test_random_expectation_knows_the_candidates_of_each_user():
    data = evaluation_set([[1, 1, 2], []], [[3], [4, 5]])
    scores = np.random.default_rng(0).random((2, 6))
    report = evaluate_scores([scores], data, FAST, np.zeros(6, int))
    np.testing.assert_allclose(report.per_user_random("HR@2"), [2 / 3, 1 - (3 * 2) / (5 * 4)])
    with pytest.raises(ConfigError, match="no random expectation"):
        report.per_user_random("Novelty@2")


def test_list_metrics_from_scores_and_given_lists_agree():
    data, scores, counts = checkerboard()
    from_scores = evaluate_scores([scores], data, FAST, counts, top_k_lists=True)
    lists = np.array([[data.targets[row][0], 2 if row % 2 else 1] for row in range(8)])  # the one liked item left, then the first other
    given = evaluate_scores([scores], data, FAST, counts, top_k_lists=lists)
    assert from_scores.to_json()["slices"] == given.to_json()["slices"]
    assert given.mean("Coverage@1") == pytest.approx(8 / 10)
    assert given.mean("Novelty@1") == pytest.approx(math.log2(10))
    assert given.slices["all"].metrics["Gini@1"].ci95 is None
    assert given.mean("Gini@1") == pytest.approx(2 / 10)  # two items never, eight once
    assert "Coverage@1" not in given.slices["warm_items"].metrics


def test_ranks_and_scores_give_one_report():
    generator = np.random.default_rng(6)
    data = evaluation_set([generator.integers(1, 41, 7) for _ in range(30)], [1 + generator.permutation(40)[:3] for _ in range(30)])
    scores = generator.random((30, 41))
    counts = generator.integers(0, 12, 41)
    from_scores = evaluate_scores([scores], data, FAST, counts)
    rows = []
    for row in range(30):
        gone = np.setdiff1d(data.histories[row], data.targets[row])
        kept = np.setdiff1d(np.arange(1, 41), gone)
        ordered = kept[np.argsort(-scores[row, kept])].tolist()
        rows.append([ordered.index(target) + 1 for target in data.targets[row]])
    from_ranks = evaluate_ranks(Ragged.from_rows(rows), data, FAST, counts, seconds=5.0)
    assert from_ranks.to_json()["slices"] == from_scores.to_json()["slices"]
    assert from_ranks.seconds >= 5.0
    np.testing.assert_array_equal(from_ranks.per_user_random("NDCG@2"), from_scores.per_user_random("NDCG@2"))


def test_nan_names_the_row_of_the_evaluation_set():
    data, scores, counts = checkerboard()
    scores[5, 4] = np.nan
    with pytest.raises(ModelError, match=r"row 5 \(user 'u5'\), item 4: the score is nan"):
        evaluate_scores([scores[:4], scores[4:]], data, FAST, counts)


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (lambda s: [s[:5]], "scores for 5 users, but the evaluation set has 8"),
        (lambda s: [s, s], "from row 8 do not fit 8 users"),
        (lambda s: [s[:, :-1]], "do not fit 8 users and 10 items"),
        (lambda s: [], "scores for 0 users"),
    ],
)
def test_scores_must_fit_the_evaluation_set(cut, text):
    data, scores, counts = checkerboard()
    with pytest.raises(DataError, match=text):
        evaluate_scores(cut(scores), data, FAST, counts)


@pytest.mark.parametrize(
    ("histories", "targets", "more", "text"),
    [
        ([[1]], [[]], {}, "no target is left"),
        ([[1]], [[0]], {}, "targets of the evaluation set must be inner item ids 1 to 3, found 0"),
        ([[1]], [[4]], {}, "found 4"),
        ([[7]], [[1]], {}, "histories of the evaluation set"),
        ([[1], [2]], [[1]], {}, "1 users, 2 histories and 1 target rows"),
        ([[1]], [[1]], {"protocol": Protocol(candidates="held_out")}, "needs a split with held-out items"),
        ([[1]], [[1]], {"protocol": Protocol(candidates="held_out"), "held_out": np.array([9])}, "held-out items must be inner item ids"),
        ([[1]], [[1]], {"protocol": Protocol(candidates="held_out"), "held_out": np.array([2])}, "no target is left"),
        ([[1]], [[1]], {}, "'seen_targets': 1.*--keep-seen"),
        ([[2]], [[1]], {"top_k_lists": np.zeros((1, 1), int)}, "top-k lists must"),
    ],
)
def test_unusable_evaluation_sets_are_named(histories, targets, more, text):
    more = dict(more)
    protocol = more.pop("protocol", FAST)
    with pytest.raises(DataError, match=text):
        evaluate_scores([np.zeros((1, 4))], evaluation_set(histories, targets), protocol, np.zeros(4, int), **more)


@pytest.mark.parametrize(
    ("ranks", "more", "text"),
    [
        ([[1]], {}, "do not match the targets"),
        ([[1, 1]], {}, "cannot share a rank"),
        ([[0, 1]], {}, "must start at 1"),
        ([[1, 4]], {}, r"row 0 \(user 'u0'\): rank 4 among only 3 candidates"),
        ([[1, 3]], {"n_candidates": np.array([2])}, "among only 2"),
        ([[1, 3]], {"n_candidates": np.array([2, 2])}, "n_candidates must hold 1"),
    ],
)
def test_ranks_must_be_places_among_the_candidates(ranks, more, text):
    with pytest.raises(DataError, match=text):
        evaluate_ranks(Ragged.from_rows(ranks), evaluation_set([[]], [[1, 2]]), FAST, np.zeros(4, int), **more)


def test_item_counts_must_be_a_list():
    with pytest.raises(DataError, match="item_counts must be"):
        evaluate_scores([np.zeros((1, 2))], evaluation_set([[]], [[1]]), FAST, np.zeros((2, 2)))


def test_unknown_names_get_the_nearest_right_one():
    data, scores, counts = checkerboard()
    report = evaluate_scores([scores], data, FAST, counts)
    with pytest.raises(ConfigError, match=r"did you mean 'NDCG@2'"):
        report.mean("NDGC@2")
    with pytest.raises(ConfigError, match=r"did you mean 'cold_items'"):
        report.per_user("NDCG@2", "cold_item")
    with pytest.raises(ConfigError, match=r"slice cold_items \(0 users\)"):
        report.per_user("NDCG@2", "cold_items")


@pytest.mark.parametrize("values", [{"ks": []}, {"ks": [0]}, {"candidates": "some"}, {"bootstrap": -1}, {"mask": True}, {"seed": -1}])
def test_protocol_refuses_bad_settings(values):
    with pytest.raises(ConfigError):
        Protocol.from_dict(values)


def test_protocol_sorts_its_cuts():
    assert Protocol(ks=(10, 1, 10)).ks == (1, 10)
    assert Protocol.from_dict(Protocol().to_dict()) == Protocol()
