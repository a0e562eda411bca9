"""Storages that note the worker of a trial in the moment the trial begins to run.

Samplers think between a trial's beginning and the first line of the objective, some of them for seconds; a worker killed there would
leave a running trial of nobody. Imports optuna: import this module only where optuna is known to be installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from bertrec.tuning.liveness_worker import WORKER, candidate_name, this_worker


class ClaimingJournal(JournalStorage):
    """A journal storage whose running trials carry their worker."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial; one that runs at once carries its worker in the same record."""
        return super().create_new_trial(study_id, template_trial or _claimed())

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change the state; a waiting trial that is taken gets its worker."""
        change = super().set_trial_state_values
        return _taken(self, trial_id, lambda: change(trial_id, state, values)) if _runs(state) else change(trial_id, state, values)


class ClaimingSql(RDBStorage):
    """An SQL storage whose running trials carry their worker."""

    # Optuna wraps SQL storages in a cache, which calls this method and not `create_new_trial`.
    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        return super()._create_new_trial(study_id, template_trial or _claimed())

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change the state; a waiting trial that is taken gets its worker."""
        change = super().set_trial_state_values
        return _taken(self, trial_id, lambda: change(trial_id, state, values)) if _runs(state) else change(trial_id, state, values)


def _runs(state: TrialState) -> bool:
    return bool(state == TrialState.RUNNING)


def _claimed() -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, user_attrs={WORKER: this_worker()})


def _taken(storage: BaseStorage, trial_id: int, take: Callable[[], bool]) -> bool:
    """Take a waiting trial: this worker is a candidate before it tries, and the worker once it has won.

    The candidates tell who it may have been where the winner is killed before it could say so. To write the worker before would be
    wrong: the loser of two may write last.
    """
    worker = this_worker()
    storage.set_trial_system_attr(trial_id, candidate_name(worker), worker)
    won = take()
    if won:
        storage.set_trial_user_attr(trial_id, WORKER, worker)
    return won
