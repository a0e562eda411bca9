"""Classes by name: ours, those that installed packages register by entry point, and any other by its dotted path."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, ModelError, unknown_name

logger = logging.getLogger(__name__)
_VOUCHED: ContextVar[tuple[str, ...]] = ContextVar("vouched", default=())


def vouch(paths: Iterable[str]) -> None:
    """Take the caller's word for classes of other packages, by their dotted paths, until the surrounding `vouching` ends."""
    _VOUCHED.set((*_VOUCHED.get(), *paths))


def vouched() -> tuple[str, ...]:
    """Return the dotted paths that the caller has vouched for."""
    return _VOUCHED.get()


@contextmanager
def vouching() -> Iterator[None]:
    """Forget at the end what was vouched for meanwhile."""
    token = _VOUCHED.set(())
    try:
        yield
    finally:
        _VOUCHED.reset(token)


def is_path(name: str) -> bool:
    """Say whether a name is a dotted path of a class, ``package.module:Class``."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def path_of(kind: type) -> str:
    """Return the dotted path by which a class is found again."""
    return f"{kind.__module__}:{kind.__qualname__}"


def import_class(path: str, base: type | None = None, *, what: str = "class") -> type[Any]:
    """Import the class at ``package.module:Class``.

    Modules of the present folder are found after all installed ones.

    Args:
        path: the dotted path; whoever calls vouches for it, since importing runs code.
        base: what it has to derive from; None takes any class, also one that lacks methods.
        what: the word for it in errors.

    Raises:
        ConfigError: there is no such module or class, it is of another kind, or lacks a method; the text says which.
    """
    module, _, attribute = path.partition(":")
    found: Any = _module(module, path)
    for part in attribute.split("."):
        if not hasattr(found, part):
            names = [name for name, value in getattr(found, "__dict__", {}).items() if isinstance(value, type)]
            raise ConfigError(f"{path}: {unknown_name(f'class of {module}', part, names)}")
        found = getattr(found, part)
    return checked_class(found, base, path, what)


def _module(name: str, path: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"{path}: module {name} needs {error.name}, which is not installed") from error
    except (Exception, SystemExit) as error:  # whatever a module of someone else's does when it is imported
        raise ConfigError(f"{path}: module {name} cannot be imported: {type(error).__name__}: {_one_line(error)}") from error
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
        importlib.invalidate_caches()
        return _module(name, path)
    raise ConfigError(f"{path}: there is no module {name}: install its package, or call from the folder that holds it")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def checked_class(found: Any, base: type | None, path: str, what: str) -> type[Any]:
    """Return ``found`` if it is a whole class that derives from ``base``; without one, any class.

    Raises:
        ConfigError: it is not; the text names the base or the missing methods.
    """
    if not isinstance(found, type) or (base is not None and not issubclass(found, base)):
        wanted = f"derive it from {path_of(base)}" if base is not None else "it is no class"
        raise ConfigError(f"{path} is no {what}: {wanted}")
    if base is not None and (missing := sorted(getattr(found, "__abstractmethods__", ()))):
        raise ConfigError(f"{path} is no whole {what}: it lacks {', '.join(missing)}")
    return found


GROUPS = (
    "bertrec.models",
    "bertrec.rankers",
    "bertrec.encoders",
    "bertrec.heads",
    "bertrec.losses",
    "bertrec.tasks",
    "bertrec.item_sources",
)
"""The groups of entry points by which packages register classes."""


@lru_cache
def _points(group: str, path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:  # what is installed depends on it
    return tuple((point.name, f"{point.module}:{point.attr or ''}") for point in entry_points(group=group))


def plugin_packages() -> set[str]:
    """Return the top-level packages whose entry points register classes, and those of classes that the caller vouches for."""
    paths = [path for group in GROUPS for _, path in _points(group, tuple(sys.path))]
    return {path.partition(":")[0].partition(".")[0] for path in (*paths, *vouched())} - {"bertrec"}


@dataclass(frozen=True)
class Registry:
    """The classes of one kind by name; none is imported before it is asked for.

    Attributes:
        what: the word for one of them in errors, such as ``model``.
        base: dotted path of the class that all derive from.
        group: entry points of this group add names.
        own: our names and the dotted paths of their classes.
        named: whether a class has an attribute ``name``, by which saved folders call it.
    """

    what: str
    base: str
    group: str
    own: Mapping[str, str] = field(default_factory=dict)
    named: bool = False

    def names(self) -> list[str]:
        """Return all names, ours first."""
        return [*self.own, *sorted(self._installed().keys() - self.own.keys())]

    def knows(self, name: str) -> bool:
        """Say whether ``name`` is ours, an entry point's, or has the form of a dotted path; nothing is imported."""
        return name in self.own or is_path(name) or name in self._installed()

    def checked(self, name: str) -> str:
        """Return the name of a setting.

        Raises:
            ValueError: it is not known; the text names the nearest.
        """
        if not self.knows(name):
            raise ValueError(f"{unknown_name(self.what, name, self.names())}, or package.module:Class")
        return name

    def find(self, name: str | type) -> type[Any]:
        """Return the class of a name, or of the dotted path or class that the caller gives in its place.

        Raises:
            ConfigError: an unknown name (with the nearest right one), or what `import_class` refuses.
        """
        if not isinstance(name, str):
            return self._whole(checked_class(name, self._base(), getattr(name, "__qualname__", repr(name)), self.what))
        installed = self._installed(name)
        if name in self.own:
            for path in installed.values():
                logger.warning("the %s '%s' is bertrec's own: the entry point of that name (%s) is not used", self.what, name, path)
            return import_class(self.own[name])
        path = installed.get(name, name)
        if path != name and not is_path(path):
            raise ConfigError(f"the entry point '{name}' names no class: it should be package.module:Class, not {path.removesuffix(':')}")
        if is_path(path):
            kind = self._whole(import_class(path, self._base(), what=self.what))
            if self.named and path != name and kind.name != name:
                raise ConfigError(f"the entry point '{name}' is {path}, whose name is '{kind.name}': give both one name")
            return kind
        raise ConfigError(unknown_name(self.what, name, self.names()))

    def _whole(self, kind: type[Any]) -> type[Any]:
        if not self.named or path_of(kind) in self.own.values():
            return kind
        name = getattr(kind, "name", None)
        if not isinstance(name, str) or not name:
            raise ConfigError(f'{path_of(kind)} is no whole {self.what}: it lacks name, such as  name = "mine"')
        if not isinstance(config := getattr(kind, "config_class", None), type) or not issubclass(config, Config):
            raise ConfigError(f"{path_of(kind)} is no whole {self.what}: its config_class is no {path_of(Config)}")
        if name in self.own:
            raise ConfigError(f"{path_of(kind)} has the name '{name}', which is one of ours: give it a name of its own")
        return kind

    def find_saved(self, name: str, path: str | None, given: str | type | None, where: str) -> type[Any]:
        """Return the class of a saved folder: a folder alone never chooses code to import.

        Args:
            name: the class's name, as the folder has it.
            path: the dotted path that the folder has; it stands in errors only.
            given: the class, or its name or path, that the caller vouches for; None looks among ours and installed entry points.
            where: the folder, for errors.

        Raises:
            ModelError: the class is not known here, or the folder holds another one than ``given``.
            ConfigError: what `find` refuses of ``given``.
        """
        if given is not None:
            kind = self.find(given)
            if kind.name != name:
                raise ModelError(f"{where} holds a {name} model, not one of {path_of(kind)}")
            return kind
        if name in self.own or name in self._installed():
            return self.find(name)
        if path and path.partition(":")[0].partition(".")[0] != "bertrec":
            hint = f"name it with --model {path}, if you trust that package"
            raise ModelError(f"{where} holds a {name} model of {path}, which no installed package registers: {hint}")
        raise ModelError(f"{where}: {unknown_name(self.what, name, self.names())}")

    def _installed(self, asked: str | None = None) -> dict[str, str]:
        """Return the paths that entry points give to names, or to the one that is asked for.

        Raises:
            ConfigError: two packages give the name that is asked for to different classes.
        """
        found: dict[str, str] = {}
        for name, path in _points(self.group, tuple(sys.path)):
            if asked is not None and name != asked:
                continue
            if asked is not None and found.get(name, path) != path:
                raise ConfigError(f"two packages register the {self.what} '{name}': {found[name]} and {path}; uninstall one of them")
            found.setdefault(name, path)
        return found

    def _base(self) -> type[Any]:
        module, _, name = self.base.partition(":")
        found: type[Any] = getattr(importlib.import_module(module), name)
        return found
