"""Every reader and artefact under a few attacks of fixed seeds; ``make fuzz`` does the same at length."""

from __future__ import annotations

import json
import random

import pytest

from benchmarks.fuzz.__main__ import figures
from benchmarks.fuzz.artefacts import artefacts
from benchmarks.fuzz.attacks import KINDS, fitting
from benchmarks.fuzz.engine import Target, attack_all
from benchmarks.fuzz.tables import readers
from bertrec.core.errors import ModelError

READERS, ARTEFACTS = 60, 30


@pytest.mark.parametrize("target", readers(), ids=lambda target: target.name)
def test_a_reader(target):
    assert attack_all([target], rounds=READERS, seed=3).faults == []


@pytest.mark.slow
@pytest.mark.parametrize("target", artefacts(), ids=lambda target: target.name)
def test_an_artefact(target):
    assert attack_all([target], rounds=ARTEFACTS, seed=3).faults == []


@pytest.mark.parametrize("kind", KINDS)
def test_each_attack_changes_the_file(tmp_path, kind):
    path = tmp_path / "a.json"
    text = json.dumps({"a": [1, {"b": None}], "c": "x"}, indent=1)
    changed = 0
    for seed in range(20):
        path.write_text(text)
        fitting(path)[kind](path, random.Random(seed))
        changed += not path.exists() or path.read_bytes() != text.encode()
    assert changed >= 15


def _careless(folder):
    return (folder / "a.json").read_bytes()


def _strict(folder):
    try:
        found = (folder / "a.json").read_bytes()
    except OSError as error:
        raise ModelError("missing") from error
    if found != b'{"a": 1}\n':
        raise ModelError("damaged")
    return found


def test_the_engine_tells_faults_from_refusals():
    """Of a file that is taken as it is every change is silent; of one that is compared none is."""
    make = lambda folder: (folder / "a.json").write_bytes(b'{"a": 1}\n')  # noqa: E731
    careless = attack_all([Target("careless", make, _careless)], rounds=40)
    assert {"it reads as something else, in silence", "FileNotFoundError"} <= {
        part for fault in careless.faults for part in (fault.rpartition("): ")[2], fault.rpartition("): ")[2].partition(":")[0])
    }
    opened = attack_all([Target("open", make, _careless, ("*",))], rounds=40)
    assert all("FileNotFoundError" in fault for fault in opened.faults)
    strict = attack_all([Target("strict", make, _strict)], rounds=40)
    assert strict.faults == []
    assert strict.outcomes.total() == 40
    assert attack_all([Target("strict", make, _strict)], rounds=40).outcomes == strict.outcomes
    assert figures(strict, ["strict"])[1].split()[:2] == ["strict", "40"]


def test_an_error_of_several_lines_and_a_hang_are_faults(monkeypatch):
    import time

    monkeypatch.setattr("benchmarks.fuzz.engine.SECONDS", 1)
    make = lambda folder: (folder / "a.txt").write_text("x")  # noqa: E731

    def slow(folder):
        if not (folder / "a.txt").is_file() or (folder / "a.txt").read_text(errors="replace") != "x":
            time.sleep(10)

    tally = attack_all([Target("slow", make, slow)], rounds=2)
    assert tally.faults
    assert all("HangError" in fault for fault in tally.faults)
