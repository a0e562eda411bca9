"""Workers on one study, as processes of their own: ``python tuning_workers.py work|riot …``, see `main`.

``riot`` imports once and forks, so that many workers can be killed in little time.
"""

from __future__ import annotations

import json
import os
import platform
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import filelock
import optuna

from bertrec.tuning.liveness import claim, heartbeat, requeue_dead
from bertrec.tuning.storages.open import open_storage

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")
STATES = optuna.trial.TrialState


def open_study(where, seed):
    storage = open_storage(where, heartbeat_seconds=1)
    if hasattr(storage, "_backend") and hasattr(storage._backend, "_lock"):
        storage._backend._lock.grace_period = 1  # seconds until the lock of a writer killed in mid-write is broken; Optuna's is 30
    return optuna.load_study(study_name="s", storage=storage, sampler=optuna.samplers.RandomSampler(seed=seed))


def objective(trial):
    x = trial.suggest_float("x", -5, 5)
    shift = trial.suggest_categorical("shift", [None, 0.5, "far"])
    for step in range(3):
        trial.report(x, step)
        time.sleep(0.017)
    return (x - (shift if isinstance(shift, float) else 0)) ** 2


def next_trial(study, trials):
    """Return a trial, None where all are running, or False where all are done. The caller lets one worker at a time in here."""
    requeue_dead(study)
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    if states.count(STATES.COMPLETE) >= trials:
        return False
    if states.count(STATES.COMPLETE) + states.count(STATES.RUNNING) >= trials:
        return None
    trial = study.ask()
    claim(trial)
    return trial


def work(where, folder, trials, seed, hang_at):
    """Run trials until so many of the study are complete; in this worker's ``hang_at``-th, do nothing any more but say so."""
    study, turn, begun = open_study(where, seed), filelock.FileLock(folder / "turn"), 0
    while True:
        with turn:
            trial = next_trial(study, trials)
        if trial is False:
            return
        if trial is None:
            time.sleep(0.05)
            continue
        begun += 1
        with (folder / "runs").open("a") as log:
            log.write(f"{trial.number}\n")
        with heartbeat(trial):
            value = objective(trial)
            if begun == hang_at:
                (folder / "hangs").write_text(str(trial.number))
                time.sleep(600)
            study.tell(trial, value)


def fork(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def riot(where, folder, trials, kills, seed):
    """Keep two workers running, kill the older one at a random moment, so many times, then let them finish; print how each ended."""
    draw, seeds, ended, runs = random.Random(seed), iter(range(1000)), [], folder / "runs"
    runs.touch()

    def start():
        number = next(seeds)
        return fork(lambda: work(where, folder, trials, number, 0))

    workers = [start(), start()]
    for _ in range(kills):
        before, end = runs.stat().st_size, time.monotonic() + 20
        while runs.stat().st_size == before and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.12))
        victim = workers.pop(0)
        os.kill(victim, signal.SIGKILL)
        if draw.random() < 0.5:  # else it stays a zombie until the end
            ended.append(os.waitpid(victim, 0)[1])
        workers.append(start())
    ended += [os.waitpid(worker, 0)[1] for worker in workers]
    print(json.dumps(ended))


def main(mode, where, folder, trials, *rest):
    """``work WHERE FOLDER TRIALS SEED HANG_AT [HOST]`` or ``riot WHERE FOLDER TRIALS KILLS SEED``."""
    if mode == "riot":
        riot(where, Path(folder), int(trials), int(rest[0]), int(rest[1]))
        return
    if len(rest) > 2:
        platform.node = lambda: rest[2]
    work(where, Path(folder), int(trials), int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    main(*sys.argv[1:])
