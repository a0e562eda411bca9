"""The benchmark harness itself: ratios with known answers, both sides' processes, and the guard."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.speed import guard, machine
from benchmarks.speed.__main__ import _options, every_case, suite
from benchmarks.speed.cases import encode
from benchmarks.speed.harness import Case, Side, goal_in_words, ratio_of, run_case
from bertrec.core.errors import BertrecError

HERE = "tests.benchmarks.test_speed_harness"


def sleeper(*, data, seconds, value=1.0, own=False):
    def once():
        time.sleep(seconds)
        found = {"array": np.full(3, value), "items": 3}
        return found | ({"seconds": 7.0} if own else {})

    return once


def failing(*, data):
    def once():
        print("said on the way")
        raise ValueError("out of luck")

    return once


def agree(ours, theirs):
    return {"distance": np.abs(ours["array"] - theirs["array"]).max(), "ok": (ours["array"] == theirs["array"]).all()}


def run(case, tmp_path):
    said = []
    return run_case(case, tmp_path, 1, lambda name: Path(sys.executable), said.append), said


def where(*, data):
    from benchmarks.speed.machine import device

    return lambda: {"place": device()}


@pytest.mark.parametrize(
    ("asked", "gpus", "place"), [("cpu", True, "cpu"), ("auto", False, "cpu"), ("auto", True, "cuda"), ("cuda", False, "cuda")]
)
def test_the_device_is_the_one_asked_for_or_a_gpu_if_there_is_one(monkeypatch, asked, gpus, place):
    monkeypatch.setenv(machine.DEVICE, asked)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus)
    assert machine.device() == place
    assert encode.place_of("fp32") == place
    assert encode.place_of("int8") == "cpu"


def test_the_sides_of_a_case_learn_of_the_device(monkeypatch, tmp_path):
    monkeypatch.setenv(machine.DEVICE, "cpu")
    record, _ = run(Case("where", "where", Side(f"{HERE}:where"), repeats=1), tmp_path)
    assert record["ours"]["figures"]["place"] == "cpu"


def test_the_ratio_is_the_median_of_the_rounds_with_their_order_statistics():
    ours, theirs = [1.0] * 9, [5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 7.0, 8.0, 100.0]
    found = ratio_of(ours, theirs)
    # Nine rounds: the second smallest to the second largest hold the median with probability 1 - 2 (1 + 9) / 512.
    assert (found.median, found.low, found.high) == (5.0, 2.0, 8.0)
    assert found.coverage == pytest.approx(1 - 20 / 512)


def test_few_rounds_give_the_extremes_and_say_how_little_these_cover():
    found = ratio_of([1.0, 1.0], [2.0, 4.0])
    assert (found.low, found.median, found.high, found.coverage) == (2.0, 3.0, 4.0, 0.5)


def test_a_single_round_covers_nothing():
    assert ratio_of([2.0], [3.0]).coverage == 0.0


def test_both_sides_are_warmed_up_interleaved_and_compared(tmp_path):
    case = Case(
        "sleep",
        "sleeping",
        Side(f"{HERE}:sleeper", {"seconds": 0.01}),
        Side(f"{HERE}:sleeper", {"seconds": 0.05}),
        repeats=3,
        agree=f"{HERE}:agree",
    )
    record, said = run(case, tmp_path)
    assert 2 < record["ratio"]["median"] < 5.5
    assert json.loads(json.dumps(record))["agreement"] == {"distance": 0.0, "ok": True}
    assert len(record["ours"]["seconds"]) == 3
    assert record["ours"]["figures"] == {"items": 3}
    order = [line.split()[1] for line in said if " s" in line and "prepares" not in line]
    assert order == ["theirs", "ours", "ours", "theirs"] * 2


def test_a_side_may_time_itself_and_differences_are_seen(tmp_path):
    case = Case(
        "own",
        "own seconds",
        Side(f"{HERE}:sleeper", {"seconds": 0.0, "own": True}),
        Side(f"{HERE}:sleeper", {"seconds": 0.0, "value": 2.0}),
        repeats=1,
        agree=f"{HERE}:agree",
    )
    record, _ = run(case, tmp_path)
    assert record["ours"]["seconds"] == [7.0]
    assert record["agreement"] == {"distance": 1.0, "ok": False}


def test_a_failing_side_is_an_error_with_what_it_printed(tmp_path):
    with pytest.raises(BertrecError, match=r"(?s)ValueError: out of luck.*said on the way"):
        run(Case("bad", "bad", Side(f"{HERE}:failing")), tmp_path)


def test_absent_data_leave_a_case_out_or_take_its_fallback(tmp_path):
    side = Side(f"{HERE}:sleeper", {"seconds": 0.0})
    record, said = run(Case("no", "no", side, needs=("amazon-beauty",)), tmp_path)
    assert record is None
    assert "amazon-beauty" in said[0]
    record, _ = run(Case("yes", "yes", side, repeats=1, needs=("amazon-beauty",), fallback={"value": 5.0}), tmp_path)
    assert record["fallback_data"] is True


def record_of(low, high, **more):
    return {"case": "c", "threads": 2, "fallback_data": False, "ratio": _ratio(low, high)} | more


def _ratio(low, high, coverage=0.97):
    return {"median": (low + high) / 2, "low": low, "high": high, "coverage": coverage}


MACHINE = {"processor": "P (avx2)"}
STORED = {"P (avx2), 2 threads": {"c": 10.0}}


@pytest.mark.parametrize(("low", "high", "fails"), [(5.0, 7.9, True), (5.0, 8.0, False), (11.0, 12.0, False)])
def test_the_guard_fails_only_where_the_whole_interval_is_a_fifth_below(low, high, fails):
    assert (guard.complaint(record_of(low, high), MACHINE, STORED) is not None) is fails


@pytest.mark.parametrize("changed", [{"threads": 1}, {"fallback_data": True}, {"case": "other"}, {"ratio": _ratio(1.0, 2.0, coverage=0.5)}])
def test_the_guard_is_silent_where_nothing_comparable_is_stored(changed):
    assert guard.complaint(record_of(1.0, 2.0) | changed, MACHINE, STORED) is None


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "2 x reached, <= 5 s reached, <= 100 MiB missed"),
        ({"goal": 4.0}, "4 x missed, <= 5 s reached, <= 100 MiB missed"),
        ({"goal": 4.0, "theirs": {"figures": {"lower_bound": True}}, "limits": {}}, "4 x not shown"),
        ({"goal": None, "limits": {"seconds": 4.0}}, "<= 4 s missed"),
        ({"goal": None, "limits": {}}, ""),
    ],
)
def test_each_goal_says_whether_it_was_reached(changed, said):
    record = record_of(1.0, 5.0) | {"goal": 2.0, "limits": {"seconds": 5, "peak_mib": 100}}
    record |= {"ours": {"median_seconds": 5.0, "peak_mib": 101.0}} | changed
    assert goal_in_words(record) == said


def test_an_unknown_case_is_refused_with_the_names_there_are(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks.speed", "nonesuch"])
    with pytest.raises(SystemExit) as end:
        _options(["encode-fp32"])
    assert end.value.code == 2
    assert "no case nonesuch; there are encode-fp32" in capsys.readouterr().err


def test_a_suite_leaves_bfloat16_out_where_it_is_slow_and_the_full_one_holds_the_other():
    with_bf16, without = ([case.name for case in suite(every_case(), "bench", bf16=fast)] for fast in (True, False))
    assert set(with_bf16) - set(without) == {"encode-bf16"}
    assert "encode-fp32" in without
    full = [case.name for case in suite(every_case(), "full", bf16=True)]
    assert set(with_bf16) < set(full)
    assert "encode-bf16-all" in full
    assert "recbole-sasrec-quality" not in full
