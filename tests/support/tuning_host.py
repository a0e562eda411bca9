"""A host that works on a study as ``bertrec tune`` does: ``python tuning_host.py WHERE FOLDER TRIALS NAME HANG_AT``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import filelock
import numpy as np
import optuna

from bertrec.tuning.objectives.models import Result
from bertrec.tuning.space import Space
from bertrec.tuning.storages.open import open_storage
from bertrec.tuning.trials import Work, run_trials

BEAT = 2  # seconds: a stall of a busy machine is not taken for a death


class Bowl:
    """An objective of x and y whose figure is known; in its ``hang_at``-th trial it does nothing any more but say so."""

    def __init__(self, folder, name="", hang_at=0):
        self.folder, self.name, self.hang_at, self.begun = folder, name, hang_at, 0
        self.defaults = {"x": 0.5, "y": 1}

    def run(self, settings, data, metrics, report):
        self.begun += 1
        if self.begun == self.hang_at:
            (self.folder / "hangs").touch()
            time.sleep(600)
        # The one that will not hang leaves the other trials enough to come so far.
        while self.name and not self.hang_at and self.begun > 3 and not (self.folder / "hangs").exists():
            time.sleep(0.02)
        value = -((settings["x"] - 0.3) ** 2) - settings["y"]
        report(1, value)
        return Result([value], np.full(4, value), 1, 1, 0.0)


def bowl(folder, *rest):
    """Return what a worker does: trials of `Bowl`."""
    return Work(Bowl(folder, *rest), None, Space.from_dict({"x": {"float": [0.0, 1.0]}, "y": {"int": [0, 3]}}), ("NDCG@10",), "none")


def main(where, folder, trials, name, hang_at):
    """Run trials once the file ``go`` is there."""
    study = optuna.load_study(
        study_name="s", storage=open_storage(where, heartbeat_seconds=BEAT), sampler=optuna.samplers.RandomSampler(seed=0)
    )
    work, turn = bowl(folder, name, hang_at), filelock.FileLock(folder / name / "turn")  # each host has a lock of its own
    (folder / f"ready-{name}").touch()
    while not (folder / "go").exists():
        time.sleep(0.02)
    run_trials(study, work, trials=trials, turn=lambda: turn)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5]))
