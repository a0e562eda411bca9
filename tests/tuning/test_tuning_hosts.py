"""Two hosts on one PostgreSQL study, one killed in mid-trial; and who waits for whom."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from two_hosts import is_running, program_of, two_hosts

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra tuning)")

import tuning_host  # noqa: E402
from tuning_host import BEAT, bowl  # noqa: E402

from bertrec.tuning.liveness import beating, heartbeat  # noqa: E402
from bertrec.tuning.liveness_worker import this_worker  # noqa: E402
from bertrec.tuning.storages.open import open_storage  # noqa: E402
from bertrec.tuning.trials import run_trials  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed"),
]
STATES = optuna.trial.TrialState
SCRIPT = Path(tuning_host.__file__)
ASKED = 12


def new_study(where):
    return optuna.create_study(study_name="s", direction="maximize", storage=open_storage(where, heartbeat_seconds=BEAT))


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process finds by the random sampler of seed 0."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    run_trials(study, bowl(tmp_path_factory.mktemp("alone")), trials=ASKED)
    return study


def until(true, *logs, seconds=90):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "\n".join(log.read_text() for log in logs if log.exists())
        time.sleep(0.02)


@pytest.mark.slow
def test_two_hosts_in_namespaces_of_their_own_and_one_is_killed_in_mid_trial(postgresql_url, tmp_path, alone):
    """The hosts have networks, process ids, names and temporary folders apart; each reaches the server by a link of its own."""
    study = new_study(postgresql_url)
    for trial in alone.trials:  # what the sampler drew for one process is queued: any number of workers then run the same
        study.enqueue_trial(trial.params)
    port = int(postgresql_url.rpartition(":")[2].partition("/")[0])
    with two_hosts(port, tmp_path) as (alpha, beta):
        logs = {host.name: tmp_path / f"log-{host.name}" for host in (alpha, beta)}
        started = {}
        try:
            for host, hang_at in ((alpha, 3), (beta, 0)):
                where = postgresql_url.replace("127.0.0.1", host.link.address)
                words = where, tmp_path, ASKED, host.name, hang_at
                started[host.name] = host.start(SCRIPT, *words, log=logs[host.name])
                until((tmp_path / f"ready-{host.name}").exists, logs[host.name])
            (tmp_path / "go").touch()
            until((tmp_path / "hangs").exists, *logs.values())
            victim = program_of(started["alpha"])
            time.sleep(2.5 * BEAT)  # longer than silence may last: a trial that lives is let alone, however long it takes
            (lost,) = [trial for trial in study.trials if trial.state == STATES.RUNNING]
            assert (lost.user_attrs["worker"]["host"], lost.user_attrs["worker"]["pid"]) == ("alpha", 1)
            assert is_running(victim)
            assert str(SCRIPT) in Path(f"/proc/{victim}/cmdline").read_text()
            assert started["beta"].poll() is None
            os.kill(victim, signal.SIGKILL)
            started["alpha"].wait(30)
            assert not is_running(victim)
            assert started["beta"].wait(90) == 0, logs["beta"].read_text()
            assert min(alpha.link.connections, beta.link.connections) >= 1
        finally:
            for process in started.values():
                process.kill()
                process.wait()
    assert_nothing_lost(study, lost, alone)


def assert_nothing_lost(study, lost, alone):
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(ASKED + 1))
    assert Counter(trial.state for trial in trials) == {STATES.COMPLETE: ASKED, STATES.FAIL: 1}
    assert trials[lost.number].state == STATES.FAIL
    (again,) = [trial for trial in trials if "requeued_from" in trial.user_attrs]
    assert (again.user_attrs["requeued_from"], again.params) == (lost.number, lost.params)
    assert again.user_attrs["worker"]["host"] == "beta"
    done = [trial for trial in trials if trial.state == STATES.COMPLETE]
    assert {trial.user_attrs["worker"]["host"] for trial in done} == {"alpha", "beta"}
    wanted = sorted((trial.params["x"], trial.params["y"], trial.value) for trial in alone.trials)
    assert sorted((trial.params["x"], trial.params["y"], trial.value) for trial in done) == wanted
    assert (study.best_value, study.best_params) == (alone.best_value, alone.best_params)


# Who waits for whom


@pytest.fixture
def elsewhere(tmp_path):
    """A study with a trial that a worker of another machine is running, and a way to run what is left."""
    study = new_study(f"sqlite:///{tmp_path / 'study.db'}")
    trial = study.ask()
    trial.set_user_attr("worker", {**this_worker(), "host": "elsewhere"})
    return study, trial, lambda: run_trials(study, bowl(tmp_path), trials=1)


def test_the_last_worker_stays_until_a_lost_trial_was_run_again(elsewhere):
    study, trial, run = elsewhere
    with heartbeat(trial):
        trial.set_user_attr("settings", {})
    run()
    assert [one.state for one in study.trials] == [STATES.FAIL, STATES.COMPLETE]
    assert study.trials[1].user_attrs["requeued_from"] == 0


def test_the_last_worker_stays_until_a_living_trial_has_ended(elsewhere):
    study, trial, run = elsewhere
    waiting = threading.Thread(target=run, daemon=True)
    with heartbeat(trial):
        trial.set_user_attr("settings", {})
        waiting.start()
        waiting.join(2.5 * BEAT)
        assert waiting.is_alive()
        study.tell(trial, 1.0)
    waiting.join(30)
    assert not waiting.is_alive()
    assert [one.state for one in study.trials] == [STATES.COMPLETE]


@pytest.mark.parametrize("settings", [False, True])
def test_a_trial_that_never_said_that_it_lives_is_waited_for_no_longer_than_silence_lasts(elsewhere, settings):
    study, trial, run = elsewhere
    if settings:  # what it wrote shows that it was begun, not that its loss would be seen
        trial.set_user_attr("settings", {})
    began = time.monotonic()
    run()
    assert 2 * BEAT <= time.monotonic() - began < 20 * BEAT
    assert [one.state for one in study.trials] == [STATES.RUNNING]


def test_the_first_sign_of_life_is_written_before_anything_else(elsewhere, monkeypatch):
    study, trial, _ = elsewhere
    monkeypatch.setattr("optuna.storages._heartbeat.HeartbeatThread._record_heartbeat", lambda *_: None)  # a thread that is late
    assert beating(study) == set()
    with heartbeat(trial):
        assert beating(study) == {trial._trial_id}
    assert beating(study) == {trial._trial_id}


def test_a_trial_whose_first_sign_of_life_cannot_be_written_is_failed_and_not_begun(tmp_path, monkeypatch):
    study, work = new_study(f"sqlite:///{tmp_path / 'study.db'}"), bowl(tmp_path)

    def refused(number):
        raise OSError("the disk is full")

    monkeypatch.setattr(study._storage, "record_heartbeat", refused)
    run_trials(study, work, trials=1)
    (trial,) = study.trials
    assert (trial.state, trial.user_attrs["reason"]) == (STATES.FAIL, "OSError: the disk is full")
    assert work.objective.begun == 0


def test_storages_without_heartbeats_are_not_waited_for(tmp_path):
    study = new_study(tmp_path / "study.journal")
    trial = study.ask()
    trial.set_user_attr("worker", {**this_worker(), "host": "elsewhere"})
    trial.set_user_attr("settings", {})
    run_trials(study, bowl(tmp_path), trials=1)
    assert [one.state for one in study.trials] == [STATES.RUNNING]
