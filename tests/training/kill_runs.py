"""Runs `tiny_run` many times, each killed with SIGKILL somewhere else and resumed; prints what came out as JSON lines.

The imports take far longer than a run, so one process imports and forks a child per run. It trains nothing
itself: autograd's threads do not survive a fork.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
import traceback
from functools import partial
from pathlib import Path

import torch
from tiny_run import CONFIG, Tiny, pseudo_random_figure, sequences

from bertrec.training.fit import fit_module


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


def run(folder, *, hook=None, resume=False):
    module = Tiny(hook)
    dataset = sequences()
    config = CONFIG.updated({"average": float(sys.argv[2])})
    log = fit_module(
        module, dataset, dataset.collate, config, evaluate=pseudo_random_figure(module), run_dir=folder, resume=resume, progress=False
    )
    values = {name: tensor.tolist() for name, tensor in module.state_dict().items()}
    history = [(entry.loss, entry.metrics) for entry in log.epochs]
    (folder / "result.json").write_text(json.dumps({"weights": values, "best": log.best_epoch, "history": history, "steps": log.steps}))


def in_child(action):
    """Run `action` in a fork and return the signal that ended it (0: none)."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)


def after_events(count, folder):
    """Kill this process before its `count`-th use of the file system below the checkpoints: any moment of a save, rename or removal."""
    seen = [0]

    def watch(event, arguments):
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"} and "epoch-" in str(arguments[0]):
            seen[0] += 1
            if seen[0] == count:
                die()

    sys.addaudithook(watch)


def from_outside(folder, seconds):
    """Start a run and kill it from the parent after `seconds` of training."""
    child = os.fork()
    if child == 0:
        run(folder, hook=lambda step: time.sleep(0.01))
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def main(root):
    torch.set_num_threads(1)
    gc.freeze()  # each run collects garbage, and need not look through the imports for it
    report = []

    def case(name, action, *, times=1):
        folder = root / name
        folder.mkdir()
        ends = [in_child(partial(action, folder, number)) for number in range(times)]
        left = sorted(path.name for path in (folder / "checkpoints").iterdir()) if (folder / "checkpoints").is_dir() else []
        finish = in_child(lambda: run(folder, resume=True))
        report.append({"name": name, "ends": ends, "left": left, "finish": finish})

    (root / "whole").mkdir()
    in_child(lambda: run(root / "whole"))
    for step in (9, 37):
        case(f"step-{step}", lambda folder, _, step=step: run(folder, hook=lambda now: now == step and die()))
    for event in (3, 20, 45, 80):
        case(f"event-{event}", lambda folder, _, event=event: (after_events(event, folder), run(folder)))
    case("thrice", lambda folder, number: run(folder, hook=lambda now: now == 11 and die(), resume=number > 0), times=2)
    outside = root / "outside"
    outside.mkdir()
    ended = from_outside(outside, 0.5)
    report.append({"name": "outside", "ends": [ended], "left": [], "finish": in_child(lambda: run(outside, resume=True))})
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
