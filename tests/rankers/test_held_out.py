"""What is held out changes nothing that a run learns, and rows that are measured read all that came before them."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from tiny_encoders import tiny_bert

from bertrec.data.load import Dataset
from bertrec.data.ratings import rated_parts
from bertrec.rankers import RANKERS, Known, Ranker, RankerPlan, open_rankers, train_rankers

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog", "sun", "cup")]
USERS, STEPS = 12, 6
NETWORK = {"train.epochs": 1, "train.batch_size": 8}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    encoder = tiny_bert(tmp_path_factory.mktemp("encoder"), [*TITLES, "good bad"])
    own = {"din": {**NETWORK, "hidden": (8,)}, "ubert": {**NETWORK, "encoder.name": encoder, "encoder.max_length": 8, "width": 8}}
    return {**own, "multitask": {**NETWORK, "encoder.name": encoder, "encoder.max_length": 8}, "bias": {}, "mf": {"rounds": 2}}


def data(held_out=lambda user, step: False):
    """Users who come one after another, half overlapping in time; what is held out has another item, rating and text."""
    rows = []
    for user in range(USERS):
        for step in range(STEPS):
            other = held_out(user, step)
            item, moment = (5 * user + step + step * user % 3) % 12, 1e9 + 3600 * (3 * user + step)
            # the other item is one that the user has in training: a held-out rating of a learned pair
            item = (5 * user) % 12 if other else item
            rating = 6 - (1 + (user + step) % 5) if other else 1 + (user + step) % 5
            rows.append((f"u{user}", f"i{item}", moment, float(rating), "bad" if other else "good"))
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating", "text"])
    return Dataset.from_frames(frame, pd.DataFrame({"item_id": [f"i{k}" for k in range(12)], "title": TITLES}))


def learned(dataset, name, settings, pairs, folder):
    plan = RankerPlan(name, settings[name], pairs=pairs)
    train_rankers(dataset, plan, folder, about={"data": "frames", "load": {}})
    (ranker,) = open_rankers(folder)[0].members
    return {key: value.numpy().tolist() for key, value in ranker.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        *[("din", None), ("ubert", None), ("multitask", None), ("bias", None)],
        *[("din", "ratings"), ("ubert", "ratings"), ("mf", "ratings"), ("multitask", "ratings")],
    ],
)
def test_what_is_held_out_changes_nothing_that_is_learned(name, pairs, settings, tmp_path):
    # leave-one-out holds out the last two of a user, many of which are earlier than others' training; ratings have one moment for all
    times = np.sort([3 * user + step for user in range(USERS) for step in range(STEPS)])
    first = np.quantile(times, 0.8)
    other = (lambda user, step: step >= STEPS - 2) if pairs is None else (lambda user, step: 3 * user + step >= first)
    plain = learned(data(), name, settings, pairs, tmp_path / "plain")
    assert learned(data(other), name, settings, pairs, tmp_path / "other") == plain
    if name == "din":  # what is not held out does change it
        assert learned(data(lambda user, step: user == 2 and step == 1), name, settings, pairs, tmp_path / "third") != plain


@pytest.mark.parametrize(("name", "pairs"), [("din", None), ("din", "ratings"), ("ubert", "ratings"), ("multitask", "ratings")])
def test_rows_that_are_measured_read_what_evaluate_reads(name, pairs, settings, tmp_path, monkeypatch):
    """In training they once saw nothing after its end, so that the epoch and the calibration were chosen by other features."""
    dataset, seen = data(), []

    def score(self, shown, *, known=None, **_):
        seen.append(known)
        return np.arange(len(shown.candidates.values)) / 100

    monkeypatch.setattr(Ranker, "score_impressions", score)
    plan = RankerPlan(name, settings[name], pairs=pairs, calibrate="platt")
    train_rankers(dataset, plan, tmp_path / "run", about={"data": "frames", "load": {}})
    assert len(seen) >= (1 if name == "multitask" else 3)  # the epoch, the figures of the record, the calibration
    assert all(known.measuring.past is known.past is Known.of(dataset).past for known in seen)


def told_of(shown):
    """Return (user, item, moment and history of its row) of each candidate."""
    rows = shown.candidates.rows
    pairs = zip(rows.tolist(), shown.candidates.values.tolist(), strict=True)
    return {(shown.users[row], item, float(shown.timestamp[row]), tuple(shown.histories[row].tolist())) for row, item in pairs}


@pytest.mark.parametrize(
    ("name", "given", "own"),
    [
        *[(name, {}, True) for name in ("din", "dcn", "ctrl", "bias")],
        *[("din", {"loss": loss}, False) for loss in ("pairwise", "listwise")],
        ("dcn", {"negatives": 2}, False),
        ("ubert", {}, True),
        ("ubert", {"negatives": 2}, False),
        ("ubert", {"loss": "listwise"}, False),
    ],
)
def test_the_pointwise_loss_learns_each_rating_at_its_own_moment(name, given, own, tmp_path, monkeypatch):
    """Lists that other losses need join ratings of several moments after the history and the counts of the first."""
    dataset, learned = data(), []
    monkeypatch.setattr(RANKERS.find(name), "fit", lambda self, shown, **_: learned.append(shown) or sys.exit())
    with pytest.raises(SystemExit):
        train_rankers(dataset, RankerPlan(name, given, pairs="ratings"), tmp_path / "run", about={"data": "frames", "load": {}})
    past, expected = dataset.interactions, set()
    first = rated_parts(past).moments[0]
    for place, (row, item, time) in enumerate(zip(past.sequences.rows, past.sequences.values.tolist(), past.timestamp, strict=True)):
        before = (past.sequences.rows == row) & (past.timestamp < time) & (past.rating >= 4)
        if past.timestamp[place] < first:
            expected.add((past.users.ids[row], item, float(time), tuple(past.sequences.values[before].tolist())))
    assert (told_of(learned[0]) == expected) is own
