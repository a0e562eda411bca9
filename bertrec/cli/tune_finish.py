"""What ``bertrec tune`` ends with: the trials that are left, the winner's measurement, and what a study leaves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cli.output import note, print_table, say
from bertrec.cli.tune_table import TrialTable
from bertrec.core.errors import BertrecError

if TYPE_CHECKING:
    import optuna


def finish(folder: Path, workers: int) -> None:
    """Run what is left, select, and write what the study leaves; Ctrl-C stops the workers and leaves a study that can go on."""
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.run import go_on
    from bertrec.tuning.selection import select
    from bertrec.tuning.trials import best_trials

    plan = load_plan(folder)
    started = time.monotonic()
    with TrialTable(plan) as table:
        try:
            study = go_on(folder, workers=workers, watch=table.update)
        except KeyboardInterrupt:
            note(f"stopped: bertrec tune resume {folder}  goes on")
            raise
    note(f"trials took {(time.monotonic() - started) / 60:.1f} minutes")
    print_best(study, plan.metrics)
    test = select(folder, say=note) if best_trials(study) else None
    write(folder, test)
    print_hint(plan.storage)
    failed = [trial for trial in study.trials if "reason" in trial.user_attrs]
    if failed and len(failed) == len(study.trials):
        raise BertrecError(f"all {len(failed)} trials failed, the last one: {failed[-1].user_attrs['reason']}")


def write(folder: Path, test: dict[str, Any] | None) -> None:
    """Write and name what a study leaves, and print the test figures where there are some."""
    from bertrec.tuning.leave import leave

    for path in leave(folder, test):
        say(f"wrote {path}")
    if test:
        for name, value in test["metrics"].items():
            say(f"test {name}: winner {value['mean']:.4f}, defaults {test['default'][name]['mean']:.4f} ({len(test['seeds'])} seeds)")
        say(f"test {next(iter(test['metrics']))}: {test['paired']['verdict']}")


def print_best(study: optuna.Study, metrics: tuple[str, ...]) -> None:
    """Print the best trials, or the Pareto front."""
    from bertrec.tuning.summary import best_rows

    rows = best_rows(study)
    title = "best on validation" if len(metrics) == 1 else "Pareto front"
    print_table(title, ["trial", *metrics, "settings"], rows, right=["trial", *metrics])


def print_hint(storage: str) -> None:
    """Say how the storage is opened in a browser."""
    from bertrec.tuning.storages.open import storage_hint

    note(f"look inside: {storage_hint(storage)}")
