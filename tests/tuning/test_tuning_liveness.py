"""Trials whose worker died: found, failed, and run again once, with real processes killed in mid-trial on every kind of storage."""

import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import pytest

optuna = pytest.importorskip("optuna", reason="optuna is not installed (extra tuning)")

import bertrec  # noqa: E402
from bertrec.tuning import liveness, liveness_worker  # noqa: E402
from bertrec.tuning.liveness import claim, heartbeat, requeue_dead  # noqa: E402
from bertrec.tuning.liveness_worker import is_gone, is_here, this_worker  # noqa: E402
from bertrec.tuning.storages.open import open_storage  # noqa: E402

optuna.logging.set_verbosity(optuna.logging.ERROR)
pytestmark = [
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.filterwarnings("ignore:Heartbeat of storage is supposed"),
]
STATES = optuna.trial.TrialState
SCRIPT = Path(__file__).with_name("tuning_workers.py")


def new_study(where, **options):
    return optuna.create_study(study_name="s", storage=open_storage(where, heartbeat_seconds=1), **options)


def same_study(where):
    return optuna.load_study(study_name="s", storage=open_storage(where, heartbeat_seconds=1))


@pytest.fixture(scope="module")
def dead():
    """A worker of this machine that has ended."""
    code = "import json; from bertrec.tuning.liveness_worker import this_worker; print(json.dumps(this_worker()))"
    return json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=environment()).stdout)


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(bertrec.__file__).parent.parent), "OMP_NUM_THREADS": "1"}


def running(study, worker, x=0.25, shift=None):
    """Begin a trial as another worker would have."""
    trial = study.ask()
    trial.set_user_attr("worker", worker)
    trial.suggest_float("x", 0, 1)
    trial.suggest_categorical("shift", [None, 0.5, "far"])
    return trial


def successors(study, number):
    return [trial for trial in study.trials if trial.user_attrs.get("requeued_from") == number]


# Workers


def test_this_process_is_here_and_alive():
    worker = this_worker()
    assert (worker["host"], worker["pid"]) == (platform.node(), os.getpid())
    assert is_here(worker)
    assert not is_gone(worker)
    assert json.loads(json.dumps(worker)) == worker


def test_an_ended_process_is_gone(dead):
    assert is_here(dead)
    assert is_gone(dead)


def test_a_zombie_is_gone():
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert is_gone({**this_worker(), "pid": child})
    finally:
        os.waitpid(child, 0)


def test_a_process_that_got_the_same_id_is_another():
    worker = this_worker()
    if worker["started"] is None:
        pytest.skip("this system does not tell when a process started")
    assert is_gone({**worker, "started": worker["started"] - 1})
    assert not is_gone({**worker, "started": None})


@pytest.mark.parametrize("change", [{"host": "elsewhere"}, {"machine": "another"}, {"pid": None}, {"pid": 0}, {"pid": -1}, {"pid": "7"}])
def test_what_cannot_be_proved_counts_as_alive(dead, change):
    assert not is_gone({**dead, **change})


@pytest.mark.parametrize("worker", [None, "me", 3, [], {}])
def test_a_damaged_record_counts_as_alive(worker):
    assert not is_gone(worker)


def test_a_process_of_another_user_is_alive():
    assert not is_gone({**this_worker(), "pid": 1, "started": None})


def test_a_system_without_proc_asks_psutil(dead, monkeypatch):
    pytest.importorskip("psutil", reason="psutil is not installed")
    monkeypatch.setattr(liveness_worker.Path, "exists", lambda self: False)
    worker = this_worker()
    assert isinstance(worker["started"], float)
    assert not is_gone(worker)
    assert is_gone({**worker, "started": worker["started"] - 60})
    assert is_gone({**dead, "machine": worker["machine"]})
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert this_worker()["started"] is None
    assert not is_gone(worker)
    assert is_gone(dead)


# One process


def test_a_claim_names_the_worker(where):
    study = new_study(where)
    study.enqueue_trial({"x": 0.5})
    for _ in range(2):  # a waiting trial, and a new one
        trial = study.ask()
        claim(trial)
        assert study.trials[trial.number].user_attrs["worker"] == this_worker()
    assert requeue_dead(study) == []


def test_a_trial_names_its_worker_before_the_objective_begins(where):
    study = new_study(where)
    study.enqueue_trial({"x": 0.5})
    study.ask(), study.ask()
    assert [trial.user_attrs["worker"] for trial in same_study(where).trials] == [this_worker()] * 2


def test_a_dead_trial_is_failed_and_queued_again_once(where, dead):
    study = new_study(where)
    study.enqueue_trial({"x": 0.25, "shift": "far"}, user_attrs={"default": True})
    trial = running(study, dead)
    trial.report(0.1, 0)
    assert requeue_dead(study) == [0]
    assert requeue_dead(study) == []
    lost, again = study.trials
    assert (lost.state, lost.params) == (STATES.FAIL, {"x": 0.25, "shift": "far"})
    assert lost.user_attrs["reason"] == f"its worker is gone (process {dead['pid']} of {dead['host']})"
    assert (again.state, again.params) == (STATES.WAITING, lost.params)
    assert again.user_attrs == {"default": True, "requeued_from": 0}
    assert again.intermediate_values == {}
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(again) == 0
    retry = study.ask()
    assert retry.number == 1
    assert retry.suggest_float("x", 0, 1) == 0.25
    assert retry.suggest_categorical("shift", [None, 0.5, "far"]) == "far"


def test_a_trial_that_dies_twice_is_not_queued_again(where, dead):
    study = new_study(where)
    running(study, dead)
    assert requeue_dead(study) == [0]
    running(study, dead)
    assert requeue_dead(study) == [1]
    assert [trial.state for trial in study.trials] == [STATES.FAIL, STATES.FAIL]
    assert requeue_dead(study) == []


def test_the_living_the_others_and_the_nameless_are_left_alone(where, dead):
    study = new_study(where)
    for worker in (this_worker(), {**dead, "host": "elsewhere"}, {**dead, "machine": "another"}, "nonsense"):
        running(study, worker)
    study.tell(running(study, dead).number, 1.0)
    assert requeue_dead(study) == []
    assert [trial.state for trial in study.trials] == [STATES.RUNNING] * 4 + [STATES.COMPLETE]


def test_a_trial_without_parameters_is_queued_again(where, dead):
    study = new_study(where)
    study.ask().set_user_attr("worker", dead)
    assert requeue_dead(study) == [0]
    assert study.trials[1].state == STATES.WAITING


def test_a_waiting_trial_taken_by_nobody_knows_whom(where, dead):
    """A worker may be killed between taking a waiting trial and saying so: then all that tried must be gone."""
    study = new_study(where)
    study.enqueue_trial({"x": 0.5})
    storage = study._storage._backend if "sql" in where.partition("://")[0] and "://" in where else study._storage
    number = study.trials[0]._trial_id
    storage.set_trial_system_attr(number, liveness_worker.candidate_name(dead), dead)
    storage.set_trial_system_attr(number, liveness_worker.candidate_name({**dead, "pid": 1}), {**dead, "pid": 1, "started": None})
    super(type(storage), storage).set_trial_state_values(number, STATES.RUNNING)
    assert study.trials[0].state == STATES.RUNNING
    assert requeue_dead(study) == []
    storage.set_trial_system_attr(number, liveness_worker.candidate_name({**dead, "pid": 1}), dead)
    assert requeue_dead(study) == [0]
    assert study.trials[1].system_attrs["fixed_params"] == {"x": 0.5}
    assert not any(name.startswith("bertrec:") for name in study.trials[1].system_attrs)


def test_a_worker_killed_between_failing_and_queuing_loses_nothing(tmp_path, dead, monkeypatch):
    study = new_study(tmp_path / "study.journal")
    running(study, dead)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(liveness, "_requeue", killed)
        with pytest.raises(KeyboardInterrupt):
            requeue_dead(study)
    assert [trial.state for trial in study.trials] == [STATES.FAIL]
    assert requeue_dead(study) == []
    assert len(successors(study, 0)) == 1
    requeue_dead(study)
    assert len(study.trials) == 2


def test_a_failure_of_its_own_is_not_queued_again(where):
    study = new_study(where)
    claim(trial := study.ask())
    study.tell(trial, state=STATES.FAIL)
    requeue_dead(study)
    assert len(study.trials) == 1


@pytest.mark.parametrize("shared_lock", [True, False], ids=["lock", "no-lock"])
def test_workers_that_look_at_once_queue_a_trial_once(where, dead, monkeypatch, shared_lock):
    """Without the lock, as where workers are of different users, the storage alone decides who fails a trial."""
    study = new_study(where)
    for _ in range(5):
        running(study, dead)
    if not shared_lock:
        monkeypatch.setattr(liveness, "_one_after_another", lambda study: nullcontext(True))
        monkeypatch.setattr(liveness, "_requeue_all_failed_here", lambda study: None)
    barrier, failed, errors = threading.Barrier(6), [], []

    def look():
        try:
            mine = same_study(where)
            barrier.wait(60)
            failed.extend(requeue_dead(mine))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not errors
    assert sorted(failed) == [0, 1, 2, 3, 4]
    states = Counter(trial.state for trial in study.trials)
    if shared_lock or ("://" in where and not where.startswith("redis")):
        assert states == {STATES.FAIL: 5, STATES.WAITING: 5}
        assert sorted(trial.user_attrs["requeued_from"] for trial in study.trials[5:]) == [0, 1, 2, 3, 4]
    else:
        assert states == {STATES.FAIL: 5}


def test_a_grid_visits_each_cell_though_a_worker_died(tmp_path, dead):
    grid = optuna.samplers.GridSampler({"x": [1, 2, 3], "y": [10, 20]}, seed=0)
    study = new_study(tmp_path / "study.journal", sampler=grid)
    trial = study.ask()
    trial.set_user_attr("worker", dead)
    trial.suggest_int("x", 1, 3)
    requeue_dead(study)
    study.optimize(lambda trial: trial.suggest_int("x", 1, 3) + trial.suggest_int("y", 10, 20))
    done = [(trial.params["x"], trial.params["y"]) for trial in study.trials if trial.state == STATES.COMPLETE]
    assert sorted(done) == [(x, y) for x in (1, 2, 3) for y in (10, 20)]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sqlite", "postgresql"], indirect=True)
def test_a_silent_trial_of_another_machine_is_dead_and_a_beating_one_is_not(where, dead):
    study = new_study(where)
    silent, beating = running(study, {**dead, "host": "elsewhere"}), running(study, {**dead, "host": "elsewhere"})
    with heartbeat(silent):
        pass
    with heartbeat(beating):
        end = time.monotonic() + 30
        while not (failed := requeue_dead(study)) and time.monotonic() < end:
            time.sleep(0.2)
        assert failed == [0]
        time.sleep(2.5)  # two intervals and more
        assert requeue_dead(study) == []
    assert len(successors(study, 0)) == 1
    again = running(study, {**dead, "host": "elsewhere"})
    assert again.params == silent.params
    with heartbeat(again):
        pass
    study.tell(beating, 1.0)
    end = time.monotonic() + 30
    while not (failed := requeue_dead(study)) and time.monotonic() < end:
        time.sleep(0.2)
    assert failed == [again.number]
    assert len(study.trials) == 3


def test_a_storage_without_heartbeats_needs_no_beat(tmp_path):
    study = new_study(tmp_path / "study.journal")
    threads = threading.active_count()
    with heartbeat(study.ask()):
        assert threading.active_count() == threads


# Processes


def start_worker(where, folder, trials, seed, hang_at=0, *host):
    command = [sys.executable, "-W", "ignore", SCRIPT, "work", where, folder, str(trials), str(seed), str(hang_at), *host]
    with (folder / f"log{seed}").open("wb") as log:
        return subprocess.Popen([*map(str, command)], stdout=log, stderr=log, env=environment())


def kill_in_mid_trial(victim, folder):
    end = time.monotonic() + 120
    while not (folder / "hangs").exists() or not (folder / "hangs").read_text():
        assert victim.poll() is None, (folder / "log0").read_text()
        assert time.monotonic() < end
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    return int((folder / "hangs").read_text())


def assert_whole(study, asked, killed, runs):
    trials = study.trials
    assert [trial.number for trial in trials] == list(range(asked + 1))
    assert Counter(trial.state for trial in trials) == {STATES.COMPLETE: asked, STATES.FAIL: 1}
    assert trials[killed].state == STATES.FAIL
    (again,) = successors(study, killed)
    assert (again.state, again.params) == (STATES.COMPLETE, trials[killed].params)
    assert sorted(runs) == list(range(asked + 1))
    values = {trial.number: trial.value for trial in trials if trial.state == STATES.COMPLETE}
    for number, value in values.items():
        shift = trials[number].params["shift"]
        assert value == (trials[number].params["x"] - (shift if isinstance(shift, float) else 0)) ** 2
    assert study.best_value == min(values.values())
    assert study.best_trial.number in values


@pytest.mark.slow
def test_two_workers_one_killed_in_mid_trial(where, tmp_path):
    new_study(where)
    victim, other = start_worker(where, tmp_path, 14, 0, 3), start_worker(where, tmp_path, 14, 1)
    try:
        killed = kill_in_mid_trial(victim, tmp_path)
        assert other.wait(120) == 0, (tmp_path / "log1").read_text()
    finally:
        for process in (victim, other):
            process.kill()
            process.wait()
    assert_whole(same_study(where), 14, killed, map(int, (tmp_path / "runs").read_text().split()))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["sqlite", "postgresql"], indirect=True)
def test_a_worker_killed_on_another_machine_is_missed_by_its_heartbeat(where, tmp_path):
    new_study(where)
    victim, other = start_worker(where, tmp_path, 8, 0, 2, "elsewhere"), start_worker(where, tmp_path, 8, 1)
    try:
        killed = kill_in_mid_trial(victim, tmp_path)
        assert other.wait(120) == 0, (tmp_path / "log1").read_text()
    finally:
        for process in (victim, other):
            process.kill()
            process.wait()
    study = same_study(where)
    assert_whole(study, 8, killed, map(int, (tmp_path / "runs").read_text().split()))
    assert study.trials[killed].user_attrs["worker"]["host"] == "elsewhere"


@pytest.mark.slow
def test_workers_killed_at_any_moment_leave_a_whole_study(where, tmp_path):
    new_study(where)
    command = [sys.executable, "-W", "ignore", SCRIPT, "riot", where, tmp_path, "24", "6", "0"]
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, env=environment())
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout.splitlines()[-1])) <= {0, signal.SIGKILL}, result.stderr
    study = same_study(where)
    requeue_dead(study)
    trials = study.trials
    states = Counter(trial.state for trial in trials)
    assert states[STATES.COMPLETE] == 24
    assert states[STATES.WAITING] == 0
    assert [trial.number for trial in trials] == list(range(len(trials)))
    followed = Counter(trial.user_attrs["requeued_from"] for trial in trials if "requeued_from" in trial.user_attrs)
    lost = [trial.number for trial in trials if trial.state == STATES.FAIL and "requeued_from" not in trial.user_attrs]
    assert followed == dict.fromkeys(lost, 1)
    assert states[STATES.RUNNING] == 0
    assert study.best_value == min(trial.value for trial in trials if trial.state == STATES.COMPLETE)
