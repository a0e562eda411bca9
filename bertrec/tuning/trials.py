"""One trial after another on a shared study: drawn, run, and told, whatever becomes of it."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bertrec.core.errors import BertrecError
from bertrec.tuning.liveness import SETTINGS, SILENCES, beating, claim, heartbeat, heartbeat_interval, requeue_dead
from bertrec.tuning.objectives.models import Objective, Result
from bertrec.tuning.space import Space

if TYPE_CHECKING:
    import optuna

logger = logging.getLogger(__name__)

_REASON_WORDS = 300
_CHUNKS = 8  # of validation users, for the Wilcoxon pruner


@dataclass(frozen=True)
class Work:
    """What every worker of a study does.

    Attributes:
        objective: runs a trial's settings.
        data: that trials learn from and are measured on, such as a split with validation users.
        space: draws the settings.
        metrics: the objectives.
        prune_by: ``epochs``, ``users`` (chunks of them, for the Wilcoxon pruner) or ``none``.
    """

    objective: Objective
    data: Any
    space: Space
    metrics: tuple[str, ...]
    prune_by: str = "epochs"


def run_trials(
    study: optuna.Study,
    work: Work,
    *,
    trials: int,
    deadline: float = math.inf,
    turn: Callable[[], AbstractContextManager[Any]] = nullcontext,
    requeue: bool = True,
) -> None:
    """Run trials until ``trials`` of the study have ended or are running, or the deadline has passed.

    On a storage with heartbeats (SQL), it ends when they have ended: a trial that another worker is running may yet be lost with its
    machine, and somebody has to be there to run it again.

    Args:
        study: shared by all workers.
        work: what a trial is.
        trials: of the whole study; requeued trials stand for the dead ones and are not counted twice.
        deadline: of `time.monotonic`, after which no trial is begun.
        turn: held while the trials are counted and the next is drawn, so that workers of one machine do not draw one too many.
        requeue: look for trials whose worker is gone, before each draw.
    """
    others = _Others(study) if requeue else None
    while time.monotonic() < deadline:
        with turn():
            if requeue:
                requeue_dead(study)
            trial = _ask(study) if counted(study) < trials else None
        if trial is not None:
            run_trial(study, trial, work)
        elif others is None or not others.may_be_lost():
            return
        else:
            time.sleep(others.look_every)


class _Others:
    """Running trials of other workers whose loss would be seen by their silence.

    One whose worker has not begun to say that it lives is waited for as long as silence is allowed to last and no longer, since its loss
    on another machine would never be seen.
    """

    def __init__(self, study: optuna.Study) -> None:
        self._study, self._since = study, dict[int, float]()
        self._interval = heartbeat_interval(study)
        self.look_every = min(5.0, (self._interval or 0) / 4)

    def may_be_lost(self) -> bool:
        """Tell whether there is a trial that may yet have to be run again."""
        import optuna

        if self._interval is None:
            return False
        running = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,))
        alive = beating(self._study) if running else set()
        return any(trial._trial_id in alive or self._is_new(trial.number) for trial in running)

    def _is_new(self, number: int) -> bool:
        now = time.monotonic()
        return now - self._since.setdefault(number, now) <= SILENCES * (self._interval or 0)


def _ask(study: optuna.Study) -> optuna.trial.Trial:
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Heartbeat")  # `heartbeat` gives what ``optimize`` would
        trial = study.ask()
    claim(trial)
    return trial


def counted(study: optuna.Study) -> int:
    """Return how many trials have ended or are running; one that died and was queued again counts once."""
    import optuna

    states = optuna.trial.TrialState
    every = study.get_trials(deepcopy=False)
    replaced = {trial.user_attrs["requeued_from"] for trial in every if "requeued_from" in trial.user_attrs}
    return sum(trial.state != states.WAITING and trial.number not in replaced for trial in every)


def run_trial(study: optuna.Study, trial: optuna.trial.Trial, work: Work) -> None:
    """Run one trial and tell the study; only an interrupt leaves this function.

    A trial that another worker has failed, since this one was silent for too long, is left as it stands: it was queued again.
    """
    import optuna

    started = time.perf_counter()
    try:
        with heartbeat(trial):
            settings = work.space.suggest(trial)
            trial.set_user_attr(SETTINGS, settings)
            result = work.objective.run(settings, work.data, work.metrics, _reporter(trial, work))
        bad = [value for value in result.values if not math.isfinite(value)]
        if bad:
            raise BertrecError(f"a figure is {bad[0]}")
        _note(trial, result, time.perf_counter() - started)
        if work.prune_by == "users":
            _prune_by_users(trial, result.per_user)
        _tell(study, trial, values=result.values)
    except optuna.exceptions.UpdateFinishedTrialError:
        _say_taken(trial)
    except optuna.TrialPruned:
        _end(study, trial, optuna.trial.TrialState.PRUNED)
    except KeyboardInterrupt:
        _fail(study, trial, "interrupted")
        raise
    except MemoryError:
        _fail(study, trial, "ran out of memory")
    except Exception as error:
        traceback.print_exc()
        _fail(study, trial, f"{type(error).__name__}: {' '.join(str(error).split())[:_REASON_WORDS]}")


def _reporter(trial: optuna.trial.Trial, work: Work) -> Callable[[int, float], None]:
    import optuna

    def report(epoch: int, value: float) -> None:
        if work.prune_by != "epochs":
            return
        trial.report(value, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return report


def _prune_by_users(trial: optuna.trial.Trial, per_user: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """Report chunks of users, in the order that all trials share; the Wilcoxon pruner compares them with the best trial's."""
    import optuna

    for step, chunk in enumerate(np.array_split(per_user, min(_CHUNKS, len(per_user)))):
        trial.report(float(chunk.mean()), step)
        if trial.should_prune():
            raise optuna.TrialPruned


def _note(trial: optuna.trial.Trial, result: Result, seconds: float) -> None:
    n = len(result.per_user)
    error = float(result.per_user.std(ddof=1) / math.sqrt(n)) if n > 1 else 0.0
    notes: Mapping[str, Any] = {
        "standard_error": error,
        "epochs": result.epochs,
        "best_epoch": result.best_epoch,
        "fit_seconds": result.seconds,
        "overhead_seconds": seconds - result.seconds,
        "peak_mib": _peak_mib(),
        **result.notes,
    }
    for name, value in notes.items():
        trial.set_user_attr(name, value)


def _peak_mib() -> float:
    from bertrec.recbole.guard import peak_mib

    return peak_mib()


def _fail(study: optuna.Study, trial: optuna.trial.Trial, reason: str) -> None:
    import optuna

    _end(study, trial, optuna.trial.TrialState.FAIL, reason=reason)


def _end(study: optuna.Study, trial: optuna.trial.Trial, state: optuna.trial.TrialState, **notes: str) -> None:
    """End a trial without a value, unless another worker has ended it."""
    import optuna

    try:
        for name, value in notes.items():
            trial.set_user_attr(name, value)
        _tell(study, trial, state=state)
    except optuna.exceptions.UpdateFinishedTrialError:
        _say_taken(trial)


def _tell(study: optuna.Study, trial: optuna.trial.Trial, **what: Any) -> None:
    """Tell the study; a trial that has ended raises one error, whenever that was seen (``Study.tell`` has a ValueError of its own)."""
    import optuna

    if trial.storage.get_trial(trial._trial_id).state.is_finished():
        raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial.number} has ended")
    study.tell(trial, **what, skip_if_finished=True)


def _say_taken(trial: optuna.trial.Trial) -> None:
    logger.warning("trial %d: another worker has taken this trial for lost, so what became of it here is not counted", trial.number)


def queue_defaults(study: optuna.Study, space: Space, defaults: Mapping[str, Any]) -> None:
    """Make the defaults the first trial, unless they were drawn before."""
    study.enqueue_trial(space.defaults(defaults), user_attrs={"default": True}, skip_if_exists=True)


def best_trials(study: optuna.Study) -> Sequence[optuna.trial.FrozenTrial]:
    """Return the best trial, or the Pareto front; nothing where no trial was completed."""
    import optuna

    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    return list(study.best_trials) if done else []
