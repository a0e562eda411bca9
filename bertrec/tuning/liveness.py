"""Trials whose worker died: found, failed, and run again with the same parameters, once.

How a trial is never queued twice, though any number of workers may look at the same moment:

1. A trial is failed through the storage, and a finished trial cannot be changed. Of several workers that try, the storage lets one
   through: in a journal the record that stands first in the file or list, in SQL the transaction that locked the row first. The others
   get ``UpdateFinishedTrialError``. ``Study.tell(..., skip_if_finished=True)`` would not do: it does not say who was first.
2. Only who failed a trial queues it again. A worker that is killed between the two steps would lose the trial, so on a journal what
   was failed here and has no successor is queued later. That, and only that, is a look followed by a write; the workers of a machine
   do it one after another under a lock that the system releases when its holder dies, and those of other machines never do it, since
   they never fail a trial of this machine. On SQL, where any machine may fail a silent trial, this second chance is not taken.
3. A successor carries ``requeued_from``, and a trial with that attribute is never queued again.
"""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.files import sha256_text
from bertrec.tuning.liveness_worker import OWN, WORKER, candidates, is_gone, is_here, this_worker

if TYPE_CHECKING:
    import optuna

REQUEUED_FROM = "requeued_from"
"""The user attribute of a trial that stands for a dead one: the dead one's number."""
SETTINGS = "settings"
"""The user attribute of a trial that holds its settings; it is written after the first sign of life."""
SILENCES = 2
"""After so many intervals without a sign of life a trial of an SQL storage is dead: Optuna's own rule."""
_REASON = "reason"
_GONE = f"{OWN}worker_gone"
_PATIENCE = 60  # seconds for the other workers of this machine to have finished looking


def claim(trial: optuna.Trial) -> None:
    """Record this process as the trial's worker: host, process id and start time, in the user attribute ``worker``.

    Call it in the first line of the objective, or right after ``study.ask``.
    """
    worker = this_worker()
    if trial.user_attrs.get(WORKER) != worker:
        trial.set_user_attr(WORKER, worker)


@contextmanager
def heartbeat(trial: optuna.Trial) -> Iterator[None]:
    """Say that the trial lives, as often as its storage asks for, until the block ends.

    ``Study.optimize`` does so itself; a trial from ``study.ask`` on an SQL storage needs it, or its death is seen on its own machine
    only. On other storages it does nothing. The block begins once the storage holds the first sign of life: Optuna's thread may fail
    to write it, or be late, and a trial without one is never seen to be lost.
    """
    from optuna.storages._heartbeat import BaseHeartbeat, get_heartbeat_thread

    if isinstance(trial.storage, BaseHeartbeat) and trial.storage.get_heartbeat_interval() is not None:
        trial.storage.record_heartbeat(trial._trial_id)
    with get_heartbeat_thread(trial._trial_id, trial.storage):
        yield


def beating(study: optuna.Study) -> set[int]:
    """Return the storage's ids of the trials that have said that they live, at whatever time; other storages than SQL know of none."""
    storage = getattr(study._storage, "_backend", study._storage)  # Optuna puts a cache before SQL
    if not _has_heartbeats(study) or not hasattr(storage, "engine"):
        return set()
    import sqlalchemy

    with storage.engine.connect() as connection:
        return set(connection.execute(sqlalchemy.text("SELECT trial_id FROM trial_heartbeats")).scalars())


def requeue_dead(study: optuna.Study) -> list[int]:
    """Fail every running trial whose worker is gone, and queue its parameters again, once.

    A worker is gone where it was a process of this machine and that has ended; trials of other machines are left alone, but on SQL
    storages one whose heartbeat has stopped is dead wherever it ran. Safe to call from any number of workers at any time.

    Args:
        study: of a storage that `bertrec.tuning.storages.open.open_storage` opened; with another one, processes of this machine are found.

    Returns:
        The numbers of the trials that this call failed. A trial that was itself queued again is failed and not queued a second time.
    """
    found = _fail_silent(study)
    with _one_after_another(study) as mine:
        return sorted(found + (_fail_gone(study) if mine else []))


class RequeueOnce:
    """What Optuna calls with each trial whose heartbeat has stopped, after failing it: queues it again and keeps its number."""

    def __init__(self) -> None:
        self._failed: list[int] = []

    def __call__(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        """Queue the trial again unless it had been before."""
        self._failed.append(trial.number)
        _requeue(study, trial)

    def taken(self) -> list[int]:
        """Return the numbers since the last call; what ``Study.optimize`` found on its own is among them."""
        failed, self._failed = self._failed, []
        return failed


def heartbeat_interval(study: optuna.Study) -> int | None:
    """Return the seconds between two signs of life of a running trial, None where the study's storage has none."""
    interval = getattr(study._storage, "get_heartbeat_interval", None)
    seconds: int | None = None if interval is None else interval()
    return seconds


def _has_heartbeats(study: optuna.Study) -> bool:
    return heartbeat_interval(study) is not None


def _fail_silent(study: optuna.Study) -> list[int]:
    """SQL storages: leave what has stopped to say that it lives to Optuna, which calls `RequeueOnce`."""
    if not _has_heartbeats(study):
        return []
    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)
    callback = study._storage.get_heartbeat_stale_trial_callback()
    return callback.taken() if isinstance(callback, RequeueOnce) else []


def _fail_gone(study: optuna.Study) -> list[int]:
    """Fail the trials of this machine's ended processes. The caller holds the machine's lock."""
    import optuna

    running = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
    failed = [trial for trial in running if _is_lost(trial) and _fail(study, trial)]
    if _has_heartbeats(study):
        for trial in failed:
            _requeue(study, trial)
    else:
        _requeue_all_failed_here(study)
    return [trial.number for trial in failed]


def _is_lost(trial: optuna.trial.FrozenTrial) -> bool:
    """Tell whether the worker is gone; where it is not known who took the trial, whether all are gone that tried."""
    worker = trial.user_attrs.get(WORKER)
    workers = [worker] if worker else candidates(trial.system_attrs)
    return bool(workers) and all(is_gone(one) for one in workers)


def _fail(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
    """Fail a trial and tell whether it was this call that did.

    The storage is asked directly, as Optuna does for silent trials: ``Study.tell`` would have the sampler learn from the trial.
    """
    import optuna

    worker = trial.user_attrs.get(WORKER) or candidates(trial.system_attrs)[0]
    storage, number = study._storage, trial._trial_id
    try:
        storage.set_trial_user_attr(number, _REASON, f"its worker is gone (process {worker['pid']} of {worker['host']})")
        storage.set_trial_system_attr(number, _GONE, True)
        return bool(storage.set_trial_state_values(number, state=optuna.trial.TrialState.FAIL))
    except optuna.exceptions.UpdateFinishedTrialError:
        return False


def _requeue_all_failed_here(study: optuna.Study) -> None:
    """Queue what was failed on this machine and has no successor: just now, or by a worker that was killed before it could."""
    import optuna

    trials = study.get_trials(deepcopy=False)
    followed = {trial.user_attrs.get(REQUEUED_FROM) for trial in trials}
    for trial in trials:
        marked = trial.state == optuna.trial.TrialState.FAIL and trial.system_attrs.get(_GONE)
        if marked and trial.number not in followed and _was_here(trial):
            _requeue(study, trial)


def _was_here(trial: optuna.trial.FrozenTrial) -> bool:
    worker = trial.user_attrs.get(WORKER)
    return all(is_here(one) for one in ([worker] if worker else candidates(trial.system_attrs)))


def _requeue(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
    """Queue a trial's parameters; with them go its attributes (a grid's cell, what its enqueuer noted), but not those of its run."""
    if REQUEUED_FROM in trial.user_attrs:
        return
    import optuna

    successor = copy.deepcopy(trial)
    kept: dict[str, Any] = {name: value for name, value in trial.user_attrs.items() if name not in (WORKER, SETTINGS, _REASON)}
    successor.user_attrs = {**kept, REQUEUED_FROM: trial.number}
    successor.system_attrs = {name: value for name, value in trial.system_attrs.items() if not name.startswith(OWN)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        again = optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=1)
    again(study, successor)


@contextmanager
def _one_after_another(study: optuna.Study) -> Iterator[bool]:
    """Hold this machine's lock for the study's name; yields False where another worker does not let go of it."""
    import filelock

    name = sha256_text(study.study_name, str(os.getuid()) if hasattr(os, "getuid") else "")[:16]
    lock = filelock.FileLock(Path(tempfile.gettempdir()) / f"bertrec-requeue-{name}.lock", timeout=_PATIENCE)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
