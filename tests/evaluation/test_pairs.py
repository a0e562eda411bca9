"""Labelled pairs beside scikit-learn, brute force, and resampling written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score, root_mean_squared_error

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.evaluation.pairs import evaluate_pairs, rmse_difference
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.reliability import calibration_error

NONE = Protocol(bootstrap=0)


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(0)
    n = 400
    probabilities = draw.random(n)
    labels = (draw.random(n) < probabilities).astype(int)
    return probabilities, labels, [f"u{user}" for user in draw.integers(0, 40, n)], draw.integers(1, 30, n)


def test_every_figure_beside_scikit_learn(drawn):
    probabilities, labels, users, _ = drawn
    report = evaluate_pairs(3 * probabilities - 1, labels, users, NONE, probabilities=probabilities)
    expected = {
        "AUC": roc_auc_score(labels, probabilities),
        "logloss": log_loss(labels, probabilities),
        "RMSE": root_mean_squared_error(labels, probabilities),
        "MAE": mean_absolute_error(labels, probabilities),
        "ECE": calibration_error(probabilities, labels),
    }
    assert {name: report.mean(name) for name in expected} == pytest.approx(expected, abs=1e-12)
    own = [np.array([user == one for user in users]) for one in dict.fromkeys(users)]
    both = [roc_auc_score(labels[at], probabilities[at]) for at in own if 0 < labels[at].sum() < at.sum()]
    assert report.mean("UAUC") == pytest.approx(np.mean(both))
    assert report.protocol["left_out"] == {"users_with_one_label_of_UAUC": len(own) - len(both)}


def test_certain_and_wrong_costs_as_much_as_in_scikit_learn():
    report = evaluate_pairs([1.0, 0.0], [0, 1], ["a", "b"], NONE, probabilities=[1.0, 0.0])
    assert report.mean("logloss") == pytest.approx(log_loss([0, 1], [1.0, 0.0]))


def test_predicted_ratings_by_hand():
    report = evaluate_pairs([5, 2.5], [1, 0], ["a", "a"], NONE, ratings=[4, 2], predicted=[5, 2.5])
    assert report.to_json()["slices"]["all"]["metrics"] == {
        "AUC": {"mean": 1.0, "ci95": None},
        "UAUC": {"mean": 1.0, "ci95": None},
        "RMSE": {"mean": pytest.approx(np.sqrt((1 + 0.25) / 2)), "ci95": None},
        "MAE": {"mean": 0.75, "ci95": None},
    }
    assert report.protocol["errors"] == "predicted against given rating"
    assert report.protocol["probabilities"].startswith("none: logloss and ECE need them")


def test_slices_of_items_and_users_by_hand():
    labels, items = [1, 0, 1, 1], [1, 2, 3, 1]
    report = evaluate_pairs(
        [4, 3, 2, 1],
        labels,
        ["a", "a", "b", 7],
        NONE,
        probabilities=[0.5, 0.5, 0.5, 0.5],
        items=items,
        item_counts=np.array([0, 0, 5, 6]),
        trained_users=[True, True, True, False],
    )
    pairs = {"all": 4, "cold_items": 2, "few_shot_items": 1, "warm_items": 1, "cold_users": 1, "warm_pairs": 2}
    assert report.protocol["pairs_of_slices"] == pairs
    assert {name: part.users for name, part in report.slices.items()} == {**pairs, "all": 3, "warm_pairs": 2}
    assert "AUC" not in report.slices["cold_items"].metrics  # one label
    assert report.mean("AUC", "warm_pairs") == 0.0
    assert report.users == ["a", "b", 7]


def test_an_empty_slice_has_no_figure():
    report = evaluate_pairs([1, 2], [0, 1], ["a", "a"], NONE, items=[1, 1], item_counts=np.array([0, 9]))
    assert report.to_json()["slices"]["cold_items"] == {"users": 0, "metrics": {}}


def test_intervals_are_those_of_resampled_users(drawn):
    probabilities, labels, users, _ = drawn
    report = evaluate_pairs(probabilities, labels, users, Protocol(bootstrap=2000), probabilities=probabilities)
    names = sorted(set(users))
    own = {name: np.flatnonzero(np.array(users) == name) for name in names}
    draw, found = np.random.default_rng(5), []
    for _ in range(2000):
        at = np.concatenate([own[names[place]] for place in draw.integers(0, len(names), len(names))])
        found.append((root_mean_squared_error(labels[at], probabilities[at]), calibration_error(probabilities[at], labels[at])))
    for metric, values in zip(("RMSE", "ECE"), np.array(found).T, strict=True):
        assert report.slices["all"].metrics[metric].ci95 == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=0.004)
    for metric in ("AUC", "UAUC", "logloss", "MAE", "RMSE"):
        low, high = report.slices["all"].metrics[metric].ci95
        assert low < report.mean(metric) < high


def test_difference_of_errors_by_hand_and_paired():
    value, (low, high) = rmse_difference([3, 0, 0, 0], [0, 0, 0, 1], ["a", "a", "b", "b"])
    assert value == pytest.approx(1.5 - 0.5)
    assert (low, high) == (pytest.approx(-np.sqrt(0.5)), pytest.approx(np.sqrt(4.5)))  # user b twice, user a twice
    draw = np.random.default_rng(1)
    errors, rows = draw.normal(size=300), draw.integers(0, 60, 300)
    assert rmse_difference(errors, errors, rows) == (0.0, (0.0, 0.0))
    assert rmse_difference(1.1 * errors, errors, rows)[1][0] > 0  # unpaired intervals would overlap
    with pytest.raises(DataError, match="errors for the users of 1 pairs"):
        rmse_difference([1, 2], [1, 2], ["a"])


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"scores": [1.0, np.nan]}, ModelError, "pair 1: the score is nan"),
        ({"labels": [0, 3]}, DataError, "pair 1: label 3"),
        ({"users": ["a"]}, DataError, "one score, label and user for each pair"),
        ({"probabilities": [0.5, -0.1]}, ModelError, "pair 1: -0.1 is no probability"),
        ({"probabilities": [0.5]}, DataError, "one length"),
        ({"ratings": [1, 2]}, DataError, "need both"),
        ({"ratings": [1, np.nan], "predicted": [1, 2]}, DataError, "pair 1: the rating is nan"),
        ({"ratings": [1, 2], "predicted": [1, np.inf]}, ModelError, "pair 1: the predicted rating is inf"),
        ({"ratings": [1], "predicted": [1]}, DataError, "1 ratings and 1 predicted ones for 2 pairs"),
        ({"items": [1], "item_counts": np.array([0, 1])}, DataError, "items must hold 2 values"),
        ({"trained_users": [True]}, DataError, "trained_users must hold 2 values"),
        ({"info": {"pairs": 1}}, ConfigError, "info cannot replace"),
        ({"scores": [], "labels": [], "users": []}, DataError, "one score, label and user for each pair"),
    ],
)
def test_bad_input_is_named(change, kind, text):
    given = {"scores": [1.0, 2.0], "labels": [0, 1], "users": ["a", "a"], **change}
    with pytest.raises(kind, match=text):
        evaluate_pairs(given.pop("scores"), given.pop("labels"), given.pop("users"), NONE, **given)
