"""Samplers and pruners by name, and what Optuna's own rules exclude: said in one line before the first trial."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bertrec.core.errors import ConfigError, MissingExtraError, unknown_name
from bertrec.tuning.space import Space

if TYPE_CHECKING:
    import optuna

SAMPLERS = ("tpe", "gp", "cmaes", "nsgaii", "random", "grid")
PRUNERS = ("median", "hyperband", "wilcoxon", "none")
_WARM_UP_TRIALS = 4


def check_rules(space: Space, *, sampler: str, pruner: str, objectives: int) -> None:
    """See that the sampler, the pruner, the space and the number of objectives go together.

    Raises:
        ConfigError: they do not; the text says what does.
    """
    check_names(sampler=sampler, pruner=pruner)
    if objectives > 1 and pruner != "none":
        raise ConfigError("pruning needs a single objective: with several metrics take --pruner none")
    if objectives > 1 and sampler in ("cmaes", "gp"):
        raise ConfigError(f"--sampler {sampler} knows a single objective here: with several metrics take tpe, nsgaii or random")
    if sampler in ("gp", "cmaes", "grid") and space.conditional:
        raise ConfigError(f"--sampler {sampler} cannot search a space with conditions ('when'): take tpe, or drop them")
    if sampler == "cmaes" and space.categorical:
        raise ConfigError("--sampler cmaes searches numbers alone: drop the choices from the space, or take tpe")
    if sampler == "grid" and space.continuous:
        name = next(name for name, parameter in space.parameters.items() if parameter.continuous)
        raise ConfigError(f"--sampler grid needs countable values, and '{name}' is continuous: give it a step or a choice")


def check_names(*, sampler: str, pruner: str) -> None:
    """See that there are such a sampler and such a pruner.

    Raises:
        ConfigError: there are not; the text names the nearest.
    """
    if sampler not in SAMPLERS:
        raise ConfigError(unknown_name("sampler", sampler, SAMPLERS))
    if pruner not in PRUNERS:
        raise ConfigError(unknown_name("pruner", pruner, PRUNERS))


def make_sampler(name: str, space: Space, *, seed: int) -> optuna.samplers.BaseSampler:
    """Return a sampler.

    Raises:
        ConfigError: there is none of this name.
        MissingExtraError: cmaes is not installed.
    """
    import warnings

    from optuna.exceptions import ExperimentalWarning

    check_names(sampler=name, pruner="none")
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        raise MissingExtraError("cmaes", "tuning-cmaes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return _sampler(name, space, seed)


def _sampler(name: str, space: Space, seed: int) -> optuna.samplers.BaseSampler:
    from optuna import samplers

    if name == "grid":
        return _grid(space, seed)
    if name == "tpe":
        # Parameters are drawn together, each condition's apart; workers are told of one another's running trials.
        return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    kinds = {"gp": samplers.GPSampler, "cmaes": samplers.CmaEsSampler, "nsgaii": samplers.NSGAIISampler, "random": samplers.RandomSampler}
    return kinds[name](seed=seed)


def _grid(space: Space, seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    class Grid(optuna.samplers.GridSampler):
        """Optuna's grid, which ends ``optimize`` at its last point; here the workers count the points themselves."""

        def after_trial(self, *_: object) -> None:
            """Leave the study alone."""

    return Grid(space.grid(), seed=seed)


def make_pruner(name: str) -> optuna.pruners.BasePruner:
    """Return a pruner.

    Raises:
        ConfigError: there is none of this name.
    """
    import warnings

    from optuna import pruners
    from optuna.exceptions import ExperimentalWarning

    check_names(sampler="tpe", pruner=name)
    if name == "median":
        return pruners.MedianPruner(n_startup_trials=_WARM_UP_TRIALS, n_warmup_steps=2)
    if name == "hyperband":
        return pruners.HyperbandPruner(min_resource=2, max_resource="auto")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return pruners.WilcoxonPruner(p_threshold=0.1) if name == "wilcoxon" else pruners.NopPruner()


def directions(metrics: Sequence[str]) -> list[str]:
    """Return ``minimize`` for times and ``maximize`` for all else."""
    return ["minimize" if metric in ("latency", "seconds") else "maximize" for metric in metrics]
