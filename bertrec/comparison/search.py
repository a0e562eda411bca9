"""The settings that a model's search tries: the documented ones first, then what Optuna draws from `bertrec tune`'s spaces."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import ConfigError, MissingExtraError
from bertrec.tuning.rules import make_sampler
from bertrec.tuning.space import Space

if TYPE_CHECKING:
    import optuna

Tried = tuple[dict[str, Any], float | None]
"""Settings and their validation figure; None where the fit went wrong."""

PRESET = "standard"


@dataclass(frozen=True)
class Search:
    """One model's search.

    The same figures before give the same settings next, so that a comparison that was killed goes on as it would have.

    Attributes:
        first: settings that are tried in this order.
        space: what is searched after them; None where the search ends with them.
        defaults: the settings that hold where ``first`` says nothing.
    """

    first: tuple[dict[str, Any], ...] = ({},)
    space: Space | None = None
    defaults: Mapping[str, Any] | None = None

    def settings(self, tried: Sequence[Tried]) -> dict[str, Any] | None:
        """Return what is tried next; None where nothing is left.

        Args:
            tried: everything before, in order.
        """
        if len(tried) < len(self.first):
            return self.first[len(tried)]
        if self.space is None:
            return None
        return {**self.first[0], **self.space.suggest(self._study(self.space, tried).ask())}

    def _study(self, space: Space, tried: Sequence[Tried]) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", space, seed=len(tried)))
        for settings, value in tried:
            known = space.defaults({**(self.defaults or {}), **settings})
            if value is not None and all(space.parameters[name].holds(drawn) for name, drawn in known.items()):
                told = optuna.trial.FixedTrial(known)
                space.suggest(told)  # which gives each parameter its distribution
                study.add_trial(optuna.trial.create_trial(params=told.params, distributions=told.distributions, value=value))
        return study

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"first": list(self.first), "space": None if self.space is None else self.space.to_dict()}


def make_search(name: str, first: Sequence[dict[str, Any]], fixed: Mapping[str, Any], defaults: Mapping[str, Any]) -> Search:
    """Return the search over a model's standard preset.

    Args:
        name: the preset's: ``unisrec``, ``recbole-BPR``. A model without one has only ``first``.
        first: settings that are tried in this order; ``fixed`` replaces theirs.
        fixed: settings that the user gave: they are not searched.
        defaults: all settings and their defaults.
    """
    tried = [{**candidate, **fixed} for candidate in first]
    distinct = tuple(candidate for at, candidate in enumerate(tried) if candidate not in tried[:at])
    try:
        preset = Space.preset(name, PRESET)
    except ConfigError:
        return Search(distinct)
    free = {key: parameter for key, parameter in preset.parameters.items() if not {key, *parameter.when} & fixed.keys()}
    return Search(distinct, Space(free), {**defaults, **fixed}) if free else Search(distinct)


def check_extra(searches: Sequence[Search]) -> None:
    """See that Optuna is there if it is needed.

    Raises:
        MissingExtraError: it is not.
    """
    if any(search.space is not None for search in searches) and importlib.util.find_spec("optuna") is None:
        raise MissingExtraError("optuna", "tuning")
