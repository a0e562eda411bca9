"""Search spaces: flat setting names with typed ranges, checked before the first trial."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.files import read_yaml

if TYPE_CHECKING:
    import optuna

Value = str | int | float | bool | None
_MOST_POINTS = 1_000_000
_KINDS = frozenset({"float", "int", "choice"})
PRESETS = Path(__file__).parent / "presets"


class Parameter(Config):
    """One setting's range: exactly one of ``float``, ``int`` and ``choice``."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)

    float_: tuple[float, float] | None = pydantic.Field(
        None, alias="float", description="Least and greatest value of a number, written float in a space."
    )
    int_: tuple[int, int] | None = pydantic.Field(
        None, alias="int", description="Least and greatest value of a whole number, written int in a space."
    )
    choice: tuple[Value, ...] | None = pydantic.Field(
        None, description="The values to choose from, at least one.", json_schema_extra={"minItems": 1}
    )
    log: bool = pydantic.Field(
        False,
        description="Draw the logarithm evenly; the least value must be above 0, and there is no step.",
    )
    step: pydantic.PositiveFloat | None = pydantic.Field(
        None,
        description="Distance between the values of a range; null is any distance for float and 1 for int.",
    )
    when: dict[str, tuple[Value, ...]] = pydantic.Field(
        default_factory=dict,
        description="Values of other parameters under which this one is searched at all; always where empty.",
    )

    @pydantic.model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.float_, self.int_, self.choice)) != 1:
            raise ValueError("give exactly one of float, int and choice")
        if self.choice is not None and (self.log or self.step or not self.choice):
            raise ValueError("a choice has at least one value, and neither log nor step")
        bounds = self.bounds
        if bounds is not None and not bounds[0] <= bounds[1]:
            raise ValueError(f"the least value {bounds[0]} is above the greatest {bounds[1]}")
        if bounds is not None and self.log and (bounds[0] <= 0 or self.step):
            raise ValueError("log needs values above 0 and no step")
        return self

    @property
    def bounds(self) -> tuple[Any, Any] | None:
        """Least and greatest value; None for a choice."""
        return self.float_ if self.float_ is not None else self.int_

    @property
    def greatest(self) -> Any:
        """The greatest value of numbers."""
        return max(self.choice) if self.choice is not None else (self.bounds or (None, None))[1]  # type: ignore[type-var]

    @property
    def continuous(self) -> bool:
        """Whether there are infinitely many values."""
        return self.float_ is not None and self.step is None

    def holds(self, value: Any) -> bool:
        """Say whether a value lies within the range."""
        if self.choice is not None:
            return any(type(known) is type(value) and known == value for known in self.choice)
        low, high = self.bounds or (0, -1)
        return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

    def suggest(self, trial: optuna.trial.Trial, name: str) -> Value:
        """Draw a value."""
        if self.choice is not None:
            return trial.suggest_categorical(name, list(self.choice))  # type: ignore[arg-type, return-value]
        if self.int_ is not None:
            return trial.suggest_int(name, *self.int_, step=round(self.step or 1), log=self.log)
        assert self.float_ is not None
        return trial.suggest_float(name, *self.float_, step=self.step, log=self.log)

    def values(self) -> list[Value]:
        """Return all values, for a grid.

        Raises:
            ConfigError: there are infinitely many.
        """
        if self.choice is not None:
            return list(self.choice)
        if self.continuous or self.bounds is None:
            raise ConfigError("a grid needs a step or a choice")
        low, high = self.bounds
        step = self.step or 1
        count = int((high - low) / step + 1e-9) + 1
        if count > _MOST_POINTS:
            raise ConfigError(f"a grid of {count} values is more than {_MOST_POINTS}: give a greater step")
        return [type(low)(low + step * number) for number in range(count)]


@dataclass(frozen=True)
class Space:
    """Parameters by their flat names, in the order in which they are drawn: a condition stands after what it asks for."""

    parameters: dict[str, Parameter]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from plain values, ``{"head.layers": {"int": [1, 3]}, …}``; nested names are joined by dots.

        Raises:
            ConfigError: no parameter, a range that is none, or a condition on something that is not drawn before.
        """
        flat = _flat(values)
        parameters = {name: _parameter(name, description) for name, description in flat.items()}
        if not parameters:
            raise ConfigError("the space is empty: name at least one setting and its range")
        before: set[str] = set()
        for name, parameter in parameters.items():
            for other in parameter.when:
                if other not in before:
                    raise ConfigError(f"space, '{name}': its condition '{other}' must be a parameter that stands above it")
            before.add(name)
        return cls(parameters)

    @classmethod
    def load(cls, place: str | Path) -> Self:
        """Read a YAML file.

        Raises:
            ConfigError: it is absent, not readable, or holds no space.
        """
        return cls.from_dict(read_yaml(place, holds="settings and ranges, such as  head.layers: {int: [1, 3]}", called="--space"))

    @classmethod
    def preset(cls, model: str, name: str = "standard") -> Self:
        """Return a shipped space.

        Raises:
            ConfigError: there is none of that name for the model.
        """
        path = PRESETS / f"{model}-{name}.yaml"
        if not path.exists():
            known = sorted(file.stem.removeprefix(f"{model}-") for file in PRESETS.glob(f"{model}-*.yaml"))
            raise ConfigError(unknown_name(f"preset of {model}", name, known) if known else f"there is no preset for {model}: give --space")
        return cls.load(path)

    @property
    def conditional(self) -> bool:
        """Whether a parameter is searched only sometimes."""
        return any(parameter.when for parameter in self.parameters.values())

    @property
    def continuous(self) -> bool:
        """Whether a parameter has infinitely many values."""
        return any(parameter.continuous for parameter in self.parameters.values())

    @property
    def categorical(self) -> bool:
        """Whether a parameter is a choice."""
        return any(parameter.choice is not None for parameter in self.parameters.values())

    def check(self, defaults: Mapping[str, Any]) -> None:
        """See that every name is a setting and that the defaults lie inside, so that they can be the first trial.

        Args:
            defaults: the flat settings of what is tuned.

        Raises:
            ConfigError: an unknown name (with the nearest right one), or a range that excludes the default.
        """
        for name, parameter in self.parameters.items():
            if name not in defaults:
                raise ConfigError(unknown_name("setting in the space", name, defaults))
            if self._applies(name, defaults) and not parameter.holds(defaults[name]):
                raise ConfigError(f"space, '{name}': the default {defaults[name]!r}, which the first trial takes, lies outside: widen it")

    def suggest(self, trial: optuna.trial.Trial) -> dict[str, Value]:
        """Draw the settings of a trial; parameters whose condition does not hold are left out."""
        drawn: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            if all(drawn.get(other) in values and other in drawn for other, values in parameter.when.items()):
                drawn[name] = parameter.suggest(trial, name)
        return drawn

    def defaults(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of flat settings that this space draws: the first trial."""
        return {name: settings[name] for name in self.parameters if self._applies(name, settings)}

    def grid(self) -> dict[str, list[Value]]:
        """Return every parameter's values.

        Raises:
            ConfigError: one has infinitely many.
        """
        return {name: parameter.values() for name, parameter in self.parameters.items()}

    def grid_size(self) -> int:
        """Return the number of points of the grid.

        Raises:
            ConfigError: there are infinitely many, or more than a search could list.
        """
        size = math.prod(len(values) for values in self.grid().values())
        if size > _MOST_POINTS:
            raise ConfigError(f"a grid of {size} points is more than {_MOST_POINTS}: give greater steps, or take another sampler")
        return size

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, without what is at its default."""
        return {
            name: parameter.model_dump(mode="json", exclude_defaults=True, by_alias=True) for name, parameter in self.parameters.items()
        }

    def _applies(self, name: str, settings: Mapping[str, Any]) -> bool:
        when = self.parameters[name].when
        return all(self._applies(other, settings) and settings.get(other) in values for other, values in when.items())


def _parameter(name: str, description: Any) -> Parameter:
    try:
        return Parameter.from_dict(description)
    except ConfigError as error:
        raise ConfigError(f"space, '{name}': {error}") from error


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested names; a mapping is a range where it names a kind of range."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            raise ConfigError(f"space, '{prefix}{key}': give a range, such as {{int: [1, 3]}}, not {value!r}")
        if value.keys() & _KINDS:
            flat[f"{prefix}{key}"] = value
        else:
            flat |= _flat(value, f"{prefix}{key}.")
    return flat
