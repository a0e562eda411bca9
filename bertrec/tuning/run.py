"""Tune: a study in a storage, workers on it, and what it leaves."""

from __future__ import annotations

import math
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.checks import expect, expect_path, expect_whole
from bertrec.core.errors import BertrecError, ConfigError, MissingExtraError
from bertrec.core.machine import usable_cores
from bertrec.core.plugins import vouch
from bertrec.data.splits import Split
from bertrec.encoders.unchanged import check_unchanged, encoder_contents
from bertrec.recbole.exchange import save_split
from bertrec.recbole.process import environment, python_module
from bertrec.tuning.plan import JOURNAL, PLAN, TunePlan, load_plan
from bertrec.tuning.rules import make_pruner, make_sampler
from bertrec.tuning.space import Space
from bertrec.tuning.storages.open import open_storage
from bertrec.tuning.study_data import SPLIT, StudyData, load_study_data, save_study_data
from bertrec.tuning.trials import Work, counted, queue_defaults, run_trials

if TYPE_CHECKING:
    import optuna

Watch = Callable[["optuna.Study"], None]
_LOOK_EVERY = 1.0
_APART = 100_003  # between the seeds of workers
_PLAN_OF_STUDY = "bertrec"
_MAY_CHANGE = ("trials", "timeout_minutes", "final_seeds", "least", "storage", "about")


def tune(
    data: StudyData,
    model: str,
    space: Space | Mapping[str, Any],
    *,
    folder: str | Path,
    workers: int = 0,
    watch: Watch | None = None,
    **settings: Any,
) -> optuna.Study:
    """Search ``space`` for the settings with the best validation figure, and return the plain Optuna study.

    The defaults are the first trial. Only the validation users are looked at; `bertrec.tuning.selection.select` measures the winner.

    Args:
        data: a split with validation users; for another ``source`` what it takes, see `bertrec.tuning.study_data`.
        model: one of ours by name.
        space: what is searched.
        folder: keeps the plan, the split's files and, unless ``storage`` is given, the study's journal; the same call goes on with it.
        workers: processes that run trials; 0 runs them in this one.
        watch: called about once per second with the study while workers run.
        **settings: fields of `bertrec.tuning.plan.TunePlan`, such as ``trials=20``, ``metrics=("NDCG@10",)``, ``sampler="tpe"``,
            ``item_input="text"``, ``settings={"train.epochs": 5}`` or ``source="recbole"``.

    Raises:
        ConfigError: the space, the metrics and the sampler do not go together, or the study was begun with other settings.
        BertrecError: the storage cannot be reached.
        MissingExtraError: optuna is not installed.
    """
    folder = expect_path(folder, "bertrec.tune: folder")
    expect(model, str, "bertrec.tune: model", error=ConfigError, called="name")
    if settings.get("source", "bertrec") in ("bertrec", "recbole"):
        expect(data, Split, "bertrec.tune: data")
    expect_whole(workers, "bertrec.tune: workers", least=0)
    if not isinstance(space, Space):
        expect(space, Mapping, "bertrec.tune: space", error=ConfigError, mend="ranges by setting, or Space.preset(model, 'standard')")
    values = {"study": folder.absolute().name, "storage": str(folder / JOURNAL), **settings}
    described = (space if isinstance(space, Space) else Space.from_dict(space)).to_dict()
    plan = TunePlan.from_dict({**values, "model": model, "space": described})
    begin(plan, data, folder)
    return go_on(folder, workers=workers, watch=watch)


def begin(plan: TunePlan, data: StudyData, folder: Path) -> None:
    """Check a plan, make its study or find it again, and write what workers need.

    Raises:
        ConfigError: the plan does not go together, or the study of that name has another metric, space or model.
        BertrecError: the folder holds something else, or the storage cannot be reached.
    """
    vouch(plan.foreign_classes)  # whoever starts a study names them
    _need_optuna()
    plan.check(data)
    if folder.exists() and not folder.is_dir():
        raise BertrecError(f"{folder} is a file; choose the name of a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PLAN).exists():
        raise BertrecError(f"{folder} holds something else; choose another folder")
    study = open_study(plan, create=True)
    _check_same(study, plan, data)
    folder.mkdir(parents=True, exist_ok=True)
    save_study_data(data, folder)
    if plan.source == "recbole" and isinstance(data, Split):
        (folder / "fits").mkdir(exist_ok=True)
        save_split(data, folder / "fits" / SPLIT)
    plan.save(folder)
    if plan.sampler != "grid":
        queue_defaults(study, plan.searched, plan.objective(folder).defaults)


def open_study(plan: TunePlan, *, create: bool = False, worker: int = 0) -> optuna.Study:
    """Return the plan's study, with a sampler for one worker: no two of them, and no two starts, draw the same numbers.

    Raises:
        BertrecError: the storage cannot be reached, or holds no study of that name.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(plan.storage)
    try:
        if create:
            study = optuna.create_study(storage=storage, study_name=plan.study, directions=plan.directions, load_if_exists=True)
        else:
            study = optuna.load_study(storage=storage, study_name=plan.study)
    except KeyError as error:
        raise BertrecError(f"the storage holds no study '{plan.study}'") from error
    seed = plan.seed if plan.sampler == "grid" else plan.seed + _APART * worker + len(study.get_trials(deepcopy=False))
    study.sampler, study.pruner = make_sampler(plan.sampler, plan.searched, seed=seed), make_pruner(plan.pruner)
    return study


def _check_same(study: optuna.Study, plan: TunePlan, data: StudyData) -> None:
    """A study keeps its plan in its storage, so that another machine or another day cannot mix two."""
    mine = {name: value for name, value in plan.to_dict().items() if name not in _MAY_CHANGE} | {"data_hash": data.content_hash}
    theirs = study.user_attrs.get(_PLAN_OF_STUDY)
    if theirs is None:
        if study.get_trials(deepcopy=False):
            raise ConfigError(f"the study '{plan.study}' was not made by bertrec: choose another --study")
        study.set_user_attr(_PLAN_OF_STUDY, mine | {"encoders": encoder_contents(plan.named)})
        return
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise ConfigError(f"the study '{plan.study}' has {name} = {theirs.get(name)}, now it is {value}: choose another --study")
    _check_encoders(study, plan)


def _check_encoders(study: optuna.Study, plan: TunePlan) -> None:
    former = study.user_attrs.get(_PLAN_OF_STUDY, {}).get("encoders", {})
    check_unchanged(former, encoder_contents(plan.named), f"the study '{plan.study}' was begun")


def go_on(folder: Path, *, workers: int = 0, watch: Watch | None = None) -> optuna.Study:
    """Run what is left of a study's trials and return it.

    Raises:
        ConfigError: several workers were to time an index beside one another.
        BertrecError: the folder holds no study, an encoder was changed since it was begun, its storage cannot be reached, or workers end
            at once, again and again.
    """
    _need_optuna()
    plan = load_plan(folder)
    if plan.source == "index" and workers > 1:
        raise ConfigError("trials of an index are timed: several workers would slow one another; take --workers 1")
    study = open_study(plan)
    _check_encoders(study, plan)
    deadline = time.monotonic() + 60 * plan.timeout_minutes if plan.timeout_minutes else math.inf
    if workers:
        _watch_workers(study, plan, folder, workers, deadline, watch)
    else:
        work_on(folder, study, deadline=deadline)
    return study


def work_on(folder: Path, study: optuna.Study, *, deadline: float = math.inf) -> None:
    """Run trials in this process."""
    plan = load_plan(folder)
    work = Work(plan.objective(folder), load_study_data(plan.source, folder), plan.searched, plan.metrics, plan.prune_by)
    run_trials(study, work, trials=plan.wanted, deadline=deadline, turn=lambda: _turn(folder))


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    import filelock

    with filelock.FileLock(folder / ".turn"):
        yield


def _watch_workers(study: optuna.Study, plan: TunePlan, folder: Path, workers: int, deadline: float, watch: Watch | None) -> None:
    """Keep workers running until the trials are done; one that dies takes its trial with it and is replaced."""
    seconds = 0.0 if deadline == math.inf else max(1.0, deadline - time.monotonic())
    surroundings = worker_environment(workers)
    running = [_start(folder, seconds, number, surroundings) for number in range(workers)]
    lost = 0
    try:
        while running:
            time.sleep(_LOOK_EVERY)
            if watch is not None:
                watch(study)
            ended = [process for process in running if process.poll() is not None]
            running = [process for process in running if process.poll() is None]
            for process in ended:
                if process.returncode and time.monotonic() < deadline:
                    lost += 1
                    _give_up_if_hopeless(lost, study, folder)
                    running.append(_start(folder, max(1.0, deadline - time.monotonic()) if seconds else 0.0, workers + lost, surroundings))
    finally:
        for process in running:
            process.kill()
            process.wait()


def _give_up_if_hopeless(lost: int, study: optuna.Study, folder: Path) -> None:
    if lost > 3 + counted(study):
        raise BertrecError(f"workers end before they have run a trial; see {folder / 'workers.log'}")


def worker_environment(workers: int) -> dict[str, str]:
    """Return the environment of one of so many workers: the cores are shared out among them, unless ``OMP_NUM_THREADS`` says otherwise."""
    shared = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(max(1, usable_cores() // workers))}
    return {**environment(), **shared}


def _start(folder: Path, seconds: float, number: int, surroundings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    command = [*python_module("bertrec.tuning.worker"), str(folder), str(seconds), str(number)]
    with (folder / "workers.log").open("ab") as log:
        # A session of its own: Ctrl-C reaches this process alone, which then ends the workers.
        return subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=surroundings, start_new_session=True
        )


def _need_optuna() -> None:
    import importlib.util

    if importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tuning")
