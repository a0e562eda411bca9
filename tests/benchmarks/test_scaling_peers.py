"""What peers are given and what is made of their answers; environments are made once, go on where they were cut, and say what failed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed import environments
from benchmarks.speed.cases import peers_recbole, peers_recbole_evaluation, peers_rectools
from benchmarks.speed.environments import environment
from benchmarks.speed.peers import exchange
from bertrec.core.errors import BertrecError, ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import leave_one_out


@pytest.fixture
def split():
    catalog = ItemCatalog(IdMap(list("abcdef")), {}, None)
    return leave_one_out(Interactions(catalog, IdMap(["u", "v"]), Ragged.from_rows([[1, 2, 3, 4], [6, 5, 2]])))


def test_arrays_hold_training_histories_and_targets_in_order(split, tmp_path):
    exchange.save_arrays(split, tmp_path, np.ones((6, 2), np.float32))
    with np.load(tmp_path / "split.npz") as found:
        arrays = {name: found[name].tolist() for name in found.files}
    assert (arrays["user"], arrays["item"], arrays["order"]) == ([1, 1, 2], [1, 2, 6], [0, 1, 0])
    assert (arrays["history"], arrays["history_offsets"], arrays["target"]) == ([1, 2, 3, 6, 5], [0, 3, 5], [4, 2])
    vectors = np.load(tmp_path / "vectors.npy")
    assert vectors.shape == (7, 2)
    assert vectors[0].tolist() == [0, 0]


def test_first_users_keep_catalogue_and_order(split):
    few = exchange.first_users(split, 1)
    assert few.catalog is split.catalog
    assert [row.tolist() for row in few.train.sequences] == [[1, 2]]
    assert few.test.users == ["u"]
    assert few.validation.targets.values.tolist() == [3]


def test_lists_become_inner_ids_padded_with_0(split):
    lists = exchange.inner_lists(split, [["b", "a"], []])
    assert lists.shape == (2, exchange.K)
    assert lists[0].tolist() == [2, 1] + [0] * 8
    assert exchange.with_targets(split.test, lists)[:, 0].tolist() == [4, 2]


def test_ndcg_of_lists_is_that_of_the_places():
    lists = np.zeros((3, 11), np.int64)
    lists[:, 0] = 7
    lists[0, 1], lists[1, 3] = 7, 7
    assert exchange.ndcg_of_lists(lists).tolist() == pytest.approx([1.0, 0.5, 0.0])  # 1 / log2(3 + 1) = 0.5


def test_lists_are_compared_with_an_interval():
    good, bad = np.full((50, 11), 7, np.int64), np.zeros((50, 11), np.int64)
    bad[:, 0] = 7
    found = exchange.compare_lists({"array": good, "epochs": 2}, {"array": bad, "epochs": 2})
    assert (found["ok"], found["ndcg_ours"], found["ndcg_theirs"]) == (True, 1.0, 0.0)
    assert exchange.compare_lists({"array": bad, "epochs": 2}, {"array": good, "epochs": 2})["ok"] is False
    assert peers_rectools.compare_texts({"array": bad, "epochs": 2}, {"array": bad, "epochs": 2})["ok"] is False  # better is asked for


def test_the_other_side_leaves_its_figures(tmp_path):
    assert exchange.peer_figures(str(tmp_path)) == {}
    exchange.note_peer(str(tmp_path), {"epochs": 3, "seconds": 1.5})
    assert exchange.peer_figures(str(tmp_path)) == {"epochs": 3, "seconds": 1.5}


def test_a_figure_that_was_not_reached_is_a_lower_bound():
    curve = [(10.0, 0.1), (20.0, 0.3), (30.0, 0.2)]
    reached = peers_recbole._their_figures(curve, 0.3, 35.0)
    assert (reached["seconds"], reached["reached"], reached["lower_bound"]) == (20.0, True, False)
    missed = peers_recbole._their_figures(curve, 0.4, 35.0)
    assert (missed["seconds"], missed["reached"], missed["lower_bound"]) == (35.0, False, True)


def test_curves_are_compared_at_the_best_figure_of_both():
    ours = {"reached": True, "curve": [(1.0, 0.1), (2.0, 0.25), (3.0, 0.5)]}
    theirs = {"reached": False, "lower_bound": True, "curve": [(50.0, 0.1), (100.0, 0.2)]}
    found = peers_recbole.compare_curves(ours, theirs)
    assert (found["ok"], found["ratio_is_lower_bound"]) == (True, True)
    assert (found["reached_by_both"], found["ratio_at_reached_by_both"]) == (0.2, 50.0)
    assert "reached_by_both" not in peers_recbole.compare_curves(ours, {**theirs, "curve": []})


def test_both_sides_of_a_case_have_the_same_settings():
    for case in (*peers_rectools.CASES, *peers_recbole.CASES, *peers_recbole_evaluation.CASES):
        assert case.suite == ("long" if case.name == "recbole-sasrec-quality" else "full")
        assert case.theirs is not None
        shared = case.ours.keywords.keys() & case.theirs.keywords.keys()
        assert {"width", "layers", "heads", "length", "seed"} <= shared
        assert all(case.ours.keywords[name] == case.theirs.keywords[name] for name in shared)


def test_ours_needs_no_environment_and_an_unknown_one_is_named(tmp_path):
    assert environment("ours") == Path(sys.executable)
    with pytest.raises(ConfigError, match="did you mean 'rectools'"):
        environment("rectool", root=tmp_path)


class FakePip:
    """Stands in for venv and pip: notes what was asked for and makes the python that is looked for."""

    def __init__(self, monkeypatch, fails=""):
        self.commands, self.fails = [], fails
        monkeypatch.setattr(environments, "_run", self)

    def __call__(self, command, folder, log):
        self.commands.append("venv" if "venv" in command else "pip")
        if "venv" in command:
            python = environments._python_of(folder)
            python.parent.mkdir(parents=True, exist_ok=True)
            python.touch()
        elif self.fails:
            (folder / "pip.log").write_text(self.fails)
            raise BertrecError(environments._failure(folder / "pip.log", 1))


def test_an_environment_is_made_once(tmp_path, monkeypatch):
    pip, lines = FakePip(monkeypatch), []
    python = environment("rectools", root=tmp_path, say=lines.append)
    assert python == environment("rectools", root=tmp_path, say=lines.append)
    assert python.exists()
    assert pip.commands == ["venv", "pip"]
    assert len(lines) == 1


def test_a_cut_installation_goes_on_and_other_requirements_begin_anew(tmp_path, monkeypatch):
    FakePip(monkeypatch, fails="x: Max retries exceeded with url")
    with pytest.raises(BertrecError, match="registry cannot be reached"):
        environment("rectools", root=tmp_path, say=lambda _: None)
    pip = FakePip(monkeypatch)
    environment("rectools", root=tmp_path, say=lambda _: None)
    assert pip.commands == ["pip"]
    changed = tmp_path / "requirements"
    changed.mkdir()
    (changed / "rectools.txt").write_text("rectools==0.18\n")
    monkeypatch.setattr(environments, "REQUIREMENTS", changed)
    environment("rectools", root=tmp_path, say=lambda _: None)
    assert pip.commands == ["pip", "venv", "pip"]


def test_another_failure_is_shown_with_the_end_of_the_log(tmp_path):
    log = tmp_path / "pip.log"
    log.write_text("Collecting x\nERROR: no matching distribution\n")
    assert "no matching distribution" in environments._failure(log, 1)
    with log.open("ab") as out, pytest.raises(BertrecError, match="exit code 3"):
        environments._run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path, out.fileno())


def test_a_python_that_is_too_new_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(environments, "_NEWEST_PYTHON", (3, 9))
    with pytest.raises(ConfigError, match=r"rectools runs on Python 3\.9 at most"):
        environment("rectools", root=tmp_path)
