"""A fit's process may crash, hang or vanish: what is left is an outcome with a reason, never an error here."""

from __future__ import annotations

import importlib.util
import json
import pathlib
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bertrec.core.errors import BertrecError, ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, leave_one_out
from bertrec.evaluation.evaluate import evaluate_labels, evaluate_ranks
from bertrec.evaluation.protocol import Protocol
from bertrec.models.evaluate import evaluate
from bertrec.models.popularity import Popularity
from bertrec.recbole import process
from bertrec.recbole.exchange import Arrays, Job, Outcome, save_split
from bertrec.recbole.process import run_fit
from bertrec.recbole.run import run_baseline

needs_recbole = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
    ),
]
FAKES = {
    "hangs": "import pathlib, sys, time\n"
    'pathlib.Path(sys.argv[1], "curve.jsonl").write_text(\'{"epoch": 1, "seconds": 0.5, "loss": null, "metric": 0.25}\\n\')\n'
    "time.sleep(600)\n",
    "vanishes": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "aborts": "import os\nos.abort()\n",
    "exits": "print('first line')\nprint('no such thing as x')\nraise SystemExit(3)\n",
    "silent": "raise SystemExit(4)\n",
}


@pytest.fixture
def fake(tmp_path, monkeypatch):
    def fit(name, **job):
        (tmp_path / f"fake_{name}.py").write_text(FAKES[name])
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return run_fit(Job(model=name, **job), tmp_path / "fit", tmp_path / "split", module=f"fake_{name}", grace=1.0)

    return fit


def test_a_fit_that_never_ends_is_killed_with_what_it_had(fake):
    outcome = fake("hangs", limit_seconds=0.5)
    assert (outcome.status, outcome.ended_by, len(outcome.points), outcome.seconds) == ("failed", "killed", 1, 0.5)
    assert "killed: it went on long after its time had ended" in outcome.reason


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vanishes", "killed by the system, most often for want of memory"),
        ("aborts", "crashed: SIGABRT"),
        ("exits", "ended with exit code 3: no such thing as x"),
        ("silent", "ended with exit code 4: it said nothing"),
    ],
)
def test_a_crash_is_a_failed_outcome_with_its_reason(fake, name, says):
    outcome = fake(name)
    assert (outcome.status, outcome.converged) == ("failed", None)
    assert says in outcome.reason


def test_an_outcome_that_is_there_is_not_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_watched", lambda *_: pytest.fail("started a process"))
    (tmp_path / "fit").mkdir()
    Job(model="BPR").save(tmp_path / "fit")
    Outcome("ok", ended_by="patience").save(tmp_path / "fit")
    assert run_fit(Job(model="BPR"), tmp_path / "fit", tmp_path).ended_by == "patience"


def test_a_fit_of_another_job_is_refused_and_a_failed_one_is_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "fit"
    folder.mkdir()
    Job(model="BPR", settings={"embedding_size": 64}).save(folder)
    Outcome("ok").save(folder)
    with pytest.raises(BertrecError, match=r"holds a fit with settings = \{'embedding_size': 64\}, now it is \{\}"):
        run_fit(Job(model="BPR"), folder, tmp_path)
    Outcome("failed", reason="the machine was full").save(folder)
    monkeypatch.setattr(process, "_watched", lambda *_: 7)
    again = run_fit(Job(model="BPR", settings={"embedding_size": 64}), folder, tmp_path)
    assert again.reason == "ended with exit code 7: it said nothing"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends a process with its parent, other systems do not")
def test_a_fit_does_not_outlive_the_process_that_watches_it():
    child = "from bertrec.recbole.guard import _die_with_parent; _die_with_parent(); print('up', flush=True); import time; time.sleep(60)"
    parent = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, '-c', {child!r}]); print(p.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, env=process.environment()) as running:
        lines = {running.stdout.readline().strip(), running.stdout.readline().strip()}
        pid = next(line for line in lines if line.isdigit())
        running.kill()
    until = time.monotonic() + 10
    stat = pathlib.Path(f"/proc/{pid}/stat")
    while stat.exists() and stat.read_text().split()[2] != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_peak_memory_is_this_processes_own():
    code = "from bertrec.recbole.guard import peak_mib; print(peak_mib())"
    block = np.ones(300 << 17)  # 300 MiB here must not count there
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=process.environment())
    assert block[0] == 1
    assert 1 < float(done.stdout) < 250


def test_items_that_training_never_saw_have_no_score_and_no_place_in_a_history():
    from bertrec.recbole.worker.scoring import Scorer

    class Probe(Scorer):
        def __init__(self):
            self.trained = np.array([False, True, False, True])

        def raw(self, part):
            self.read = part.histories
            yield np.ones((len(part), 4), np.float32)

    probe = Probe()
    part = EvaluationSet([1, 2], Ragged.from_rows([[1, 2, 3], [2]]), Ragged.from_rows([[1], [3]]))
    (scores,) = probe.known(part)
    assert [row.tolist() for row in probe.read] == [[1, 3], []]
    assert np.isneginf(scores).tolist() == [[True, False, True, False]] * 2


def two_worlds():
    """Two groups of users, each with six items of its own; the one item of its world that a user has not met is the right answer."""
    generator = np.random.default_rng(3)
    rows = [1 + 6 * (user % 2) + generator.permutation(6) for user in range(40)]
    catalog = ItemCatalog(IdMap(range(12)), {"title": [f"thing {k}" for k in range(12)]}, None)
    return leave_one_out(Interactions(catalog, IdMap(range(40)), Ragged.from_rows(rows)))


@pytest.fixture(scope="module")
def worlds():
    return two_worlds()


class TestRecBole:
    pytestmark = needs_recbole

    def test_the_one_right_item_is_found_and_labelled_pairs_are_scored(self, worlds):
        users = np.repeat(np.arange(40), 2)
        other = 1 + (worlds.test.targets.values + 5) % 12  # six further on: the other world
        items = np.stack([worlds.test.targets.values, other], axis=1).ravel()
        run = run_baseline("ItemKNN", worlds, settings={"k": 12}, pairs=(users, items), list_length=3)
        report = evaluate_ranks(run.ranks, worlds.test, Protocol(ks=(1,)), worlds.train.item_counts)
        assert report.mean("HR@1") == 1.0
        assert run.lists[:, 0].tolist() == worlds.test.targets.values.tolist()
        labels = evaluate_labels(run.scores, np.tile([1, 0], 40), users, list(range(40)), Protocol())
        assert labels.mean("UAUC") == 1.0
        assert (run.outcome.ended_by, run.outcome.peak_mib > 100) == ("no training", True)

    def test_its_popularity_is_ours(self, split):
        """RecBole's own Pop counts sampled negatives and each item once per batch; repaired, both rank alike."""
        run = run_baseline("Pop", split)
        theirs = evaluate_ranks(run.ranks, split.test, Protocol(bootstrap=0), split.train.item_counts)
        ours = evaluate(Popularity().fit(split.train), split.test, protocol=Protocol(bootstrap=0), item_counts=split.train.item_counts)
        assert np.array_equal(theirs.per_user("MRR@50"), ours.per_user("MRR@50"))

    def test_time_ends_a_fit_in_mid_epoch_and_it_is_measured_all_the_same(self, split):
        settings = {"epochs": 100_000, "stopping_step": 100_000}
        run = run_baseline("BPR", split, settings=settings, limit_minutes=0.02, cross_check=False)
        assert (run.outcome.ended_by, run.outcome.converged) == ("budget", False)
        assert 1.0 < run.outcome.seconds < 20
        assert run.outcome.best_metric == max(point.metric for point in run.outcome.points)
        assert np.all(np.diff([point.seconds for point in run.outcome.points]) > 0)

    def test_a_loss_that_is_no_number_makes_it_invalid(self, split):
        with pytest.raises(ModelError, match=r"GRU4Rec: invalid: .*nan"):
            run_baseline("GRU4Rec", split, settings={"learning_rate": 1e30, "epochs": 20, "train_batch_size": 8})

    def test_a_model_that_raises_is_failed_with_its_words(self, split):
        with pytest.raises(ModelError, match=r"SASRec: failed: ValueError: The hidden size .* is not a multiple"):
            run_baseline("SASRec", split, settings={"hidden_size": 63})

    def test_a_killed_fit_is_measured_with_its_best_epoch(self, split, tmp_path, monkeypatch):
        """The first process ends as if it had been killed after its epochs, before it said anything."""
        save_split(split, tmp_path / "split")
        watched, folder, seen = process._watched, tmp_path / "fit", {}

        def killed_once(place, *arguments):
            code = watched(place, *arguments)
            if not seen:
                seen["ranks"], seen["result"] = Arrays.load(place).ranks, Outcome.load(place, "result.json")
                (place / "result.json").unlink()
                (place / "arrays.npz").unlink()
                return None
            return code

        monkeypatch.setattr(process, "_watched", killed_once)
        after = run_fit(Job(model="BPR", settings={"epochs": 3}, list_length=5, limit_seconds=300), folder, tmp_path / "split")
        assert np.array_equal(Arrays.load(folder).ranks, seen["ranks"])
        before = seen["result"]
        assert (after.status, after.ended_by, after.best_epoch, after.points) == ("ok", "killed", before.best_epoch, before.points)
        assert Job.load(folder).options == {}

    def test_this_process_stays_as_it_was(self, worlds):
        def state():
            return sorted(np.__dict__), torch.load, list(warnings.filters), "recbole" in sys.modules, torch.get_rng_state().tolist()

        before = state()
        run_baseline("EASE", worlds, cross_check=False)
        assert state() == before

    def test_wrong_names_settings_and_pairs_are_refused_before_anything_runs(self, worlds):
        with pytest.raises(ConfigError, match="did you mean 'EASE'"):
            run_baseline("Ease", worlds)
        with pytest.raises(ConfigError, match="did you mean 'reg_weight'"):
            run_baseline("EASE", worlds, settings={"reg_wight": 1})
        for rows, items in (([0], [13]), ([40], [1]), ([0, 1], [1])):
            with pytest.raises(DataError, match="pairs"):
                run_baseline("EASE", worlds, pairs=(np.array(rows), np.array(items)))


@pytest.mark.parametrize("widths", [(10, 4), (4, 4)])
def test_histories_are_widened_and_negatives_differ(widths, monkeypatch):
    width, given = widths
    monkeypatch.setitem(sys.modules, "recbole.data.interaction", SimpleNamespace(Interaction=lambda columns: columns))
    from bertrec.recbole.worker.histories import widen

    items = torch.tensor([[3, 1, 2, 0], [1, 1, 0, 0]])[:, :given]
    feat = SimpleNamespace(interaction={"item_id_list": items})
    feat.update = feat.interaction.update
    dataset = SimpleNamespace(inter_feat=feat, field2seqlen={})
    widen([dataset], width=width, n_items=4, negatives=True)
    padded, negatives = feat.interaction["item_id_list"], feat.interaction["neg_item_id_list"]
    assert padded.shape == negatives.shape == (2, width)
    assert padded[:, :given].equal(items)
    assert ((negatives > 0) == (padded > 0)).all()
    assert (negatives < 4).all()
    assert not ((negatives == padded) & (padded > 0)).any()


def test_a_job_is_plain_json(tmp_path):
    Job(model="BPR", settings={"a": 1}).save(tmp_path)
    assert json.loads((tmp_path / "job.json").read_text())["settings"] == {"a": 1}
