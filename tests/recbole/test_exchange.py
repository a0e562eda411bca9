"""What passes between the processes survives the passage, and damage is named."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.protocol import Protocol
from bertrec.recbole.exchange import (
    Arrays,
    Job,
    Outcome,
    Point,
    append_point,
    load_pairs,
    load_split,
    read_points,
    save_pairs,
    save_split,
    with_distinct_targets,
)


def test_a_split_comes_back_with_numbers_for_users(split, tmp_path):
    save_split(split, tmp_path)
    back = load_split(tmp_path)
    assert back.catalog.content_hash == split.catalog.content_hash
    assert np.array_equal(back.train.sequences.values, split.train.sequences.values)
    for mine, theirs in ((split.validation, back.validation), (split.test, back.test)):
        assert theirs.users == split.train.users.encode(mine.users).tolist()
        assert np.array_equal(mine.histories.values, theirs.histories.values)
        assert np.array_equal(mine.targets.offsets, theirs.targets.offsets)


def test_users_unknown_to_training_stay_apart(split, tmp_path):
    stranger = EvaluationSet(["nobody", *split.test.users[1:]], split.test.histories, split.test.targets)
    save_split(replace(split, test=stranger), tmp_path)
    users = load_split(tmp_path).test.users
    assert users[0] > len(split.train.users)
    assert len(set(users)) == len(users)


def test_a_target_that_a_user_has_twice_counts_once(split, tmp_path):
    twice = EvaluationSet(
        split.test.users, split.test.histories, Ragged(np.repeat(split.test.targets.values, 2), 2 * split.test.targets.offsets)
    )
    save_split(replace(split, test=twice), tmp_path)
    back = load_split(tmp_path).test
    assert np.array_equal(back.targets.values, split.test.targets.values)
    assert np.array_equal(back.targets.offsets, split.test.targets.offsets)
    assert with_distinct_targets(split).test is split.test


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_split_without_a_part_is_refused(split, tmp_path, part):
    with pytest.raises(DataError, match=f"no {part} users"):
        save_split(replace(split, **{part: None}), tmp_path)


def test_jobs_and_outcomes_come_back(tmp_path):
    job = Job(model="BPR", settings={"learning_rate": 1e-3}, limit_seconds=3.5)
    job.save(tmp_path)
    assert Job.load(tmp_path) == job
    outcome = Outcome("ok", ended_by="patience", points=(Point(1, 0.5, None, 0.25), Point(2, 1.0, 3.0, 0.125)), settings={"a": [1]})
    outcome.save(tmp_path)
    assert Outcome.load(tmp_path) == outcome
    assert (outcome.converged, outcome.best_metric) == (True, 0.25)
    assert Outcome("ok", ended_by="budget").converged is False
    assert Outcome("ok", ended_by="no training").converged is None


def test_an_unknown_key_of_a_job_is_refused():
    with pytest.raises(ConfigError, match="unknown setting 'sed': did you mean 'seed'"):
        Job.from_dict({"model": "BPR", "sed": 1})


def test_a_curve_outlives_a_kill_in_mid_line(tmp_path):
    assert read_points(tmp_path) == ()
    append_point(tmp_path, Point(1, 0.5, 2.0, 0.1))
    with (tmp_path / "curve.jsonl").open("a") as stream:
        stream.write('{"epoch": 2, "sec')
    assert read_points(tmp_path) == (Point(1, 0.5, 2.0, 0.1),)


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_damaged_arrays_are_named(tmp_path, content):
    Arrays(np.arange(3), np.zeros((3, 2), np.int32)).save(tmp_path)
    path = tmp_path / "arrays.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ModelError, match=r"arrays\.npz is damaged"):
        Arrays.load(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match=r"arrays\.npz is missing"):
        Arrays.load(tmp_path)


def test_a_damaged_outcome_is_named(tmp_path):
    (tmp_path / "outcome.json").write_text('{"status": "ok"}')
    with pytest.raises(ModelError, match=r"outcome\.json is damaged"):
        Outcome.load(tmp_path)


def test_pairs_come_back(tmp_path):
    assert load_pairs(tmp_path) is None
    save_pairs(np.array([0, 1]), np.array([3, 4]), tmp_path)
    rows, items = load_pairs(tmp_path)
    assert (rows.tolist(), items.tolist()) == ([0, 1], [3, 4])


@pytest.mark.slow
def test_100_000_users_with_lists_of_100_are_read_and_scored_within_10_seconds(tmp_path):
    generator = np.random.default_rng(0)
    users, items, length = 100_000, 50_000, 100
    lists = generator.integers(1, items - length, size=(users, 1), dtype=np.int32) + np.arange(length, dtype=np.int32)
    place = generator.integers(0, 2 * length, size=users)  # half of the targets stand in the list
    targets = np.where(place < length, lists[np.arange(users), np.minimum(place, length - 1)], items)
    Arrays(place + 1, lists).save(tmp_path)
    histories = Ragged(np.ones(users, np.int64), np.arange(users + 1))
    data = EvaluationSet(list(range(users)), histories, Ragged(targets.astype(np.int64), np.arange(users + 1)))
    started = time.perf_counter()
    arrays = Arrays.load(tmp_path)
    ranks = Ragged(arrays.ranks, data.targets.offsets)
    counts = np.ones(items + 1, dtype=np.int64)
    report = evaluate_ranks(ranks, data, Protocol(ks=(10, 100)), counts, top_k_lists=arrays.lists.astype(np.int64))
    assert time.perf_counter() - started < 10
    assert report.mean("HR@100") == pytest.approx((place < length).mean())
    assert report.mean("HR@10") == pytest.approx((place < 10).mean())
