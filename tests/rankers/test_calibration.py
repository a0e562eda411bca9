"""Scores made probabilities, beside scikit-learn and by what must hold whatever the scores."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from bertrec.core.errors import DataError, ModelError
from bertrec.rankers.calibration import Calibration, CalibrationKind

KINDS = get_args(CalibrationKind)


@pytest.fixture(scope="module")
def drawn():
    draw = np.random.default_rng(0)
    scores = 0.05 * draw.standard_normal(3000)
    return scores, (draw.random(3000) < 1 / (1 + np.exp(-(40 * scores - 1)))).astype(int)


def test_platt_is_a_logistic_regression(drawn):
    scores, labels = drawn
    found = Calibration.fit("platt", scores, labels)
    known = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(20 * scores[:, None], labels)
    assert found.apply(scores) == pytest.approx(known.predict_proba(20 * scores[:, None])[:, 1], abs=1e-4)
    assert found.numbers["factor"] == [pytest.approx(40, rel=0.15)]  # what was planted
    assert found.numbers["shift"] == [pytest.approx(-1, abs=0.15)]


def test_temperature_has_no_shift(drawn):
    scores, labels = drawn
    found = Calibration.fit("temperature", scores, labels)
    known = LogisticRegression(C=1e10, fit_intercept=False, tol=1e-10, max_iter=1000).fit(20 * scores[:, None], labels)
    assert found.numbers["factor"] == [pytest.approx(20 * known.coef_[0, 0], rel=1e-3)]
    assert found.apply([0.0]) == [0.5]


def test_isotonic_is_scikit_learns(drawn):
    scores, labels = drawn
    edge = 1 / (len(scores) + 2)
    known = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(scores, labels)
    asked = np.linspace(-0.3, 0.3, 201)
    assert Calibration.fit("isotonic", scores, labels).apply(asked) == pytest.approx(known.predict(asked))


def test_of_probabilities_the_logit_is_scaled():
    draw = np.random.default_rng(1)
    true = draw.random(4000)
    said = true**3 / (true**3 + (1 - true) ** 3)  # three times too sure
    labels = (draw.random(4000) < true).astype(int)
    found = Calibration.fit("temperature", said, labels, of_probabilities=True)
    assert found.numbers["factor"] == [pytest.approx(1 / 3, rel=0.1)]
    assert found.apply(said) == pytest.approx(true, abs=0.03)
    assert np.isfinite(found.apply([0.0, 1.0])).all()


VALUES = st.lists(st.tuples(st.floats(-50, 50), st.integers(0, 1)), min_size=2, max_size=40).filter(
    lambda pairs: len({label for _, label in pairs}) == 2
)


@settings(deadline=None)
@given(VALUES, st.sampled_from(KINDS))
def test_what_every_map_keeps(pairs, kind):
    scores, labels = (np.array(column) for column in zip(*pairs, strict=True))
    found = Calibration.fit(kind, scores, labels)
    asked = np.sort(np.concatenate([scores, np.linspace(-60, 60, 25)]))
    likely = found.apply(asked)
    assert ((likely >= 0) & (likely <= 1)).all()
    assert (np.diff(likely) >= 0).all()  # no order is turned round
    if kind == "temperature":
        apart = np.diff(asked) > 1e-6
        inside = (likely[1:] < 0.999) & (likely[:-1] > 0.001)
        assert (np.diff(likely)[apart & inside] > 0).all()
    again = Calibration.from_json(json.loads(json.dumps(found.to_json())), "run.json")
    assert again == found


@settings(deadline=None)
@given(VALUES, st.sampled_from(KINDS))
def test_the_loss_on_the_pairs_of_the_fit_does_not_rise(pairs, kind):
    logits, labels = (np.array(column) for column in zip(*pairs, strict=True))
    likely = np.clip(1 / (1 + np.exp(-logits / 5)), 1e-6, 1 - 1e-6)
    found = Calibration.fit(kind, likely, labels, of_probabilities=True).apply(likely)
    kept_from_the_ends = 1 / (len(labels) + 1) if kind == "isotonic" else 0.0
    assert log_loss(labels, found) <= log_loss(labels, likely) + kept_from_the_ends + 1e-9


def test_what_cannot_be_calibrated_is_named():
    with pytest.raises(DataError, match="all 2 pairs of the validation share have label 1"):
        Calibration.fit("temperature", [1.0, 2.0], [1, 1])
    with pytest.raises(DataError, match="there are no pairs"):
        Calibration.fit("isotonic", [], [])
    with pytest.raises(DataError, match="3 scores for 2 labels"):
        Calibration.fit("platt", [1.0, 2.0, 3.0], [1, 0])
    with pytest.raises(ModelError, match="finite numbers"):
        Calibration.fit("platt", [1.0, np.inf], [1, 0])
    with pytest.raises(ModelError, match="is no probability"):
        Calibration.fit("platt", [1.0, 2.0], [1, 0], of_probabilities=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"kind": "magic"},
        {"numbers": {"factor": [1.0]}},
        {"numbers": {"factor": [float("nan")], "shift": [0.0]}},
        {"numbers": {"factor": ["x"], "shift": [0.0]}},
        {"kind": "isotonic", "numbers": {"scores": [0, 1], "probabilities": [0.9, 0.1]}},
        {"pairs": None},
    ],
)
def test_a_damaged_record_is_named(damage):
    record = {**Calibration.fit("platt", [1.0, 2.0, 0.0], [1, 0, 0]).to_json(), **damage}
    with pytest.raises(ModelError, match=r"here/run\.json is damaged"):
        Calibration.from_json(record, "here/run.json")
    assert Calibration.from_json(None, "run.json") is None
