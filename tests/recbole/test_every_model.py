"""Every RecBole model that the docs call supported is fitted for one epoch, and measured twice: by RecBole and by us."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

from bertrec.recbole import catalogue
from bertrec.recbole.exchange import save_split
from bertrec.recbole.process import environment

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
    ),
]
# Both add noise to each of their scores, anew each time they are asked.
NOISY = {"ADMMSLIM", "Random"}
DOCS = Path(__file__).parents[2] / "docs" / "comparison.md"


@pytest.fixture(scope="module")
def output(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("all_models")
    save_split(split, folder / "split")
    (folder / "work").mkdir()
    script = Path(__file__).parent / "all_models.py"
    command = [sys.executable, "-W", "ignore", str(script), str(folder / "split"), str(folder / "work")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    return [line.partition(" ") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def fitted(output):
    lines = [json.loads(line) for kind, _, line in output if kind == "MODEL"]
    return {line["model"]: line for line in lines}


def test_all_of_them_run(fitted):
    assert set(fitted) == set(catalogue.supported())
    assert len(fitted) > 70
    assert {name: line.get("reason") for name, line in fitted.items() if line["status"] != "ok"} == {}


def test_recbole_measures_what_we_measure(fitted):
    """Equal to 1e-6 where no target shares its score; where some do, the difference stands there with their number."""
    for name, line in fitted.items():
        check = line["check"]
        if name not in NOISY and not check["tied_users"]:
            assert check["largest_difference"] <= 1e-6, (name, check)


def test_what_a_saved_sequential_model_says_is_what_it_said_in_training(fitted):
    """By its vectors, in RecBole's numbering of another data set, the validation figure is the one of its own full ranking."""
    kept = {name: line["as retriever"] for name, line in fitted.items() if "as retriever" in line}
    refused = {name: line["refused"] for name, line in kept.items() if "refused" in line}
    assert set(refused) == {"DIEN", "DIN", "GRU4RecCPR", "RepeatNet", "SASRecCPR"}
    assert all("it cannot retrieve; SASRec and GRU4Rec can" in reason for reason in refused.values())
    assert {"BERT4Rec", "CORE", "GRU4Rec", "NARM", "SASRec", "STAMP"} <= set(kept) - set(refused)
    for name in set(kept) - set(refused):
        assert kept[name]["by vectors"] == pytest.approx(kept[name]["by RecBole"], abs=1e-9), name


def test_torchs_compiler_is_left_out_until_it_is_called(output):
    (line,) = [json.loads(line) for kind, _, line in output if kind == "COMPILER"]
    assert line == {"imported": False, "compiled": 6.0}


def test_the_docs_name_every_model_on_the_right_side():
    run, _, rest = DOCS.read_text(encoding="utf-8").partition("**Not supported:**")
    for name in catalogue.models():
        assert f"`{name}`" in (rest if catalogue.unsupported(name) else run), name
