"""One configuration form for all components: pydantic models that forbid unknown keys and have flat dotted names."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import pydantic

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(pydantic.BaseModel)  # which pydantic names in private alone


class _Checked(ModelMetaclass):
    """Turns what pydantic says of a wrong value into our own error, also where a class is called by name: ``Protocol(ks=0)``."""

    def __call__(cls: type[Config], *args: Any, **values: Any) -> Any:  # type: ignore[misc]  # whose metaclass this is
        if args:
            raise ConfigError(f"{cls.__name__} takes settings by name, such as {cls.__name__}({next(iter(cls.model_fields), '')}=…)")
        try:
            return ModelMetaclass.__call__(cls, **values)
        except pydantic.ValidationError as error:
            raise ConfigError(_first_problem(cls, error)) from error


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100

SEEDS = ("train.seed", "seed")
"""The names under which a configuration may have a seed, the first one that it has."""


def without_seeds(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat settings without a seed, for what is fitted with seeds of its own."""
    return {name: value for name, value in settings.items() if name not in SEEDS}


class Config(pydantic.BaseModel, metaclass=_Checked):
    """Base of every configuration: immutable, unknown keys forbidden, round-trips through plain and flat dicts."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    pluggable: ClassVar[frozenset[str]] = frozenset()
    """The settings of this class that may name a class of another package."""

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _as_written(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        """Take ``on`` and ``off``, which YAML reads as true and false, for the words where these are choices."""
        word = {True: "on", False: "off"}.get(value) if isinstance(value, bool) else None
        choices = get_args(cls.model_fields[str(info.field_name)].annotation)
        return word if word in choices else value

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, fit for JSON and YAML."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested plain values.

        Raises:
            ConfigError: an unknown key (with the nearest right one) or a value outside its range.
        """
        expect(values, Mapping, f"{cls.__name__}.from_dict: values", error=ConfigError)
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise ConfigError(_first_problem(cls, error)) from error

    def to_flat(self) -> dict[str, Any]:
        """Return ``{"encoder.max_length": 64, …}``, the names that ``--set``, YAML files and tuning share."""
        return _flatten(self.to_dict())

    def updated(self, flat: Mapping[str, Any]) -> Self:
        """Return a copy with the flat dotted names in ``flat`` replaced.

        Raises:
            ConfigError: a name that is not a setting (with the nearest right one) or a value outside its range.
        """
        expect(flat, Mapping, f"settings of {type(self).__name__}", error=ConfigError)
        known = self.to_flat()
        values = self.to_dict()
        for name, value in flat.items():
            if name not in known:
                raise ConfigError(unknown_name("setting", name, known))
            *path, last = name.split(".")
            inner = values
            for key in path:
                inner = inner[key]
            inner[last] = value
        return type(self).from_dict(values)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _first_problem(cls: type[Config], error: pydantic.ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if not name:
        return f"settings: {problem['msg'].removeprefix('Value error, ')}"
    if problem["type"] == "extra_forbidden":
        return unknown_name("setting", name, _names(cls))
    return f"setting '{name}': {problem['msg']} (got {_short.repr(problem['input'])})"


def _names(cls: type[pydantic.BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for key, field in cls.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, pydantic.BaseModel):
            names += _names(kind, f"{prefix}{key}.")
        else:
            names.append(f"{prefix}{key}")
    return names
