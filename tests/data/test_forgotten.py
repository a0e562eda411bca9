"""Data without some people are the data that never held them; marks say who is meant and hold no id."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import bertrec
from bertrec.core.errors import ModelError
from bertrec.data.forgotten import Forgotten, without_users

ITEMS = pd.DataFrame({"item_id": list("abcdef"), "title": list("ABCDEF")})


def clicks(**more):
    rows = [(user, "abcdef"[(start + step) % 6], 10.0 * step + start) for start, user in enumerate([3, 7, 5, 7]) for step in range(4)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return frame.assign(**{name: make(frame) for name, make in more.items()})


def load(frame, **more):
    return bertrec.load(frame, items=ITEMS, **more)


def test_interactions_are_those_of_a_table_without_the_person():
    more = {"rating": lambda f: f.timestamp % 5, "text": lambda f: f.item_id * 2, "label": lambda f: (f.timestamp != 20).astype(float)}
    frame = clicks(**more)
    users = pd.DataFrame({"user_id": [3, 7, 5], "about": ["x", "y", "z"]})
    dataset = load(frame, users=users)
    less, wanted = without_users(dataset, {7}), load(frame[frame.user_id != 7], users=users[users.user_id != 7])
    assert less.content_hash == wanted.content_hash
    assert less.users.content_hash == wanted.users.content_hash
    assert less.interactions.text == wanted.interactions.text
    assert less.interactions.negatives.to_pylist() == wanted.interactions.negatives.to_pylist()
    assert dataset.interactions.n_users == 3  # the former one stays
    for method in ("leave_one_out", "ratio"):
        assert bertrec.make_split(less, method).content_hash == bertrec.make_split(wanted, method).content_hash


def test_a_given_split_and_its_counts_lose_the_person(tmp_path):
    for name, rows in {"train": ["u\ta\tb", "v\tb\tc", "w\tc\td"], "valid": ["u\ta b\tc", "v\tb c\td"], "test": ["u\ta b c\td"]}.items():
        lines = ["user_id:token\titem_id_list:token_seq\titem_id:token", *rows]
        (tmp_path / f"{tmp_path.name}.{name}.inter").write_text("\n".join(lines) + "\n")
    (tmp_path / f"{tmp_path.name}.item").write_text("item_id:token\ttitle:token_seq\n" + "".join(f"{one}\tT{one}\n" for one in "abcd"))
    less = without_users(bertrec.load(tmp_path), {"u"})
    split = bertrec.make_split(less)
    assert split.test is None
    assert split.validation.users == ["v"]
    assert split.train.users.ids == ["v", "w"]
    assert (split.manifest["counts"]["users"], split.manifest["counts"]["test_users"]) == (2, 0)
    assert split.manifest["data_hash"] == less.content_hash


def test_marks_know_whom_they_mean_and_hold_no_id():
    marks = Forgotten().adding(["anna", 7])
    kept = Forgotten.from_dict(marks.to_dict(), "run.json")
    assert kept == marks
    assert kept.among(["anna", "ben", "7", 7, 70]) == {"anna", "7", 7}
    assert "anna" not in str(marks.to_dict())
    assert Forgotten().adding(["anna"]).marks != Forgotten().adding(["anna"]).marks  # each run has a salt of its own
    assert marks.adding(["anna"]) == marks
    assert Forgotten.from_dict(None, "run.json").among(["anna"]) == set()
    for damaged in ([], {"salt": 1, "marks": []}, {"salt": "x", "marks": [1]}):
        with pytest.raises(ModelError, match=r"run.json is damaged: it does not say who is forgotten"):
            Forgotten.from_dict(damaged, "run.json")


def test_nobody_is_left_out_where_nobody_is_meant():
    dataset = load(clicks())
    assert Forgotten().adding(["stranger"]).leave_out(dataset) is dataset
    assert np.array_equal(Forgotten().adding(["7"]).leave_out(dataset).interactions.users.ids, [3, 5])
