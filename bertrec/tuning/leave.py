"""What a study leaves in its folder: the best settings, all trials, the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.tuning.plan import TunePlan, load_plan
from bertrec.tuning.report import write_trials, write_tuning_report
from bertrec.tuning.run import open_study
from bertrec.tuning.selection import TEST, read_test, write_best
from bertrec.tuning.storages.open import storage_hint
from bertrec.tuning.trials import best_trials


def leave(folder: Path, test: Mapping[str, Any] | None) -> list[Path]:
    """Write ``best.yaml`` (where a trial was completed), ``trials.parquet``, ``index.html`` and ``report.md``.

    Args:
        folder: of the study.
        test: what `bertrec.tuning.selection.select` returned; None takes what it wrote before, where it did.
    """
    plan = load_plan(folder)
    study = open_study(plan)
    if test is None and (folder / TEST).exists():
        test = read_test(folder)
    written = [write_best(folder)] if best_trials(study) else []
    write_trials(study, folder / "trials.parquet")
    about = _about(plan) | ({"test": test} if test else {})
    return [*written, folder / "trials.parquet", *write_tuning_report(study, folder, about=about)]


def _about(plan: TunePlan) -> dict[str, Any]:
    from importlib.metadata import version

    from bertrec.core.version import __version__

    return {
        **plan.about,
        "model": plan.model,
        "source": plan.source,
        "metrics": list(plan.metrics),
        "fixed settings": {**plan.chosen, **plan.settings},
        "space": plan.space,
        "sampler": plan.sampler,
        "pruner": plan.pruner,
        "seed": plan.seed,
        "storage": storage_hint(plan.storage),
        "versions": {"bertrec": __version__, **{name: version(name) for name in ("optuna", "torch")}},
    }
