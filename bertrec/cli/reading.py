"""The reading options of every command that reads data, made of the fields of `LoadOptions`."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.models import ArgumentInfo

from bertrec.core.errors import BertrecError
from bertrec.data.options import LoadOptions

Reading = dict[str, Any]
"""The reading options that were given, as plain values; what was not given is the library's to decide."""
Command = Callable[..., None]

_NULL = re.compile(r"; null: [^;.]*")  # what only a file can say, of a field with another default
_SPELLED = {"format": "--data-format"}  # --format is the form of what a command writes
_OWN, _OTHER = "How the data are read", "How other data are read, where not as the run's own"


def reads_data(*, without: Collection[str] = (), spelled: Mapping[str, str] | None = None) -> Callable[[Command], Command]:
    """Give a command an option for each field of `LoadOptions`; it gets those that were given as ``reading``.

    Where the command's ``data`` may be left out, because a run has its own, reading options without it are refused.

    Args:
        without: fields that mean nothing to the command.
        spelled: the option of a field whose usual name the command needs for something else.
    """
    names = _SPELLED | dict(spelled or {})

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True)
        data = own.parameters["data"]
        named = "DATA" if isinstance(get_args(data.annotation)[-1], ArgumentInfo) else "--data"
        fields = {name: field for name, field in LoadOptions.model_fields.items() if name not in without}

        @functools.wraps(command)
        def run(**words: Any) -> None:
            given = {name: value for name in fields if (value := words.pop(name)) is not None}
            if given and words["data"] is None:
                raise BertrecError(f"reading options go with {named}: a run's own data is read as it was for training")
            command(**words, reading={name: _absolute(name, _plain(fields[name], value)) for name, value in given.items()})

        panel = _OTHER if data.default is None else _OWN
        options = [_option(name, field, names.get(name), panel) for name, field in fields.items()]
        kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in own.parameters.items() if name != "reading"]
        run.__signature__ = own.replace(parameters=[*kept, *options])  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {option.name: option.annotation for option in [*kept, *options]}
        return run

    return decorate


def _option(name: str, field: FieldInfo, spelled: str | None, panel: str) -> inspect.Parameter:
    kind = _kind(field)
    option = spelled or "--" + name.replace("_", "-")
    info = typer.Option(
        f"{option}/--no-{option[2:]}" if kind is bool else option,
        help=_help(field, with_default=panel == _OWN),
        min=next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None),
        metavar="NAME,…" if _is_list(kind) else None,
        rich_help_panel=panel,
    )
    word: Any = str if _is_list(kind) else kind
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[word | None, info])


def _help(field: FieldInfo, *, with_default: bool) -> str:
    default = ("yes" if field.default else "no") if isinstance(field.default, bool) else field.default
    said = re.sub(r"\bnull: ", "by default ", str(field.description)) if field.default is None else _NULL.sub("", str(field.description))
    return said.replace("false: ", "otherwise ") + (f" (default {default})" if with_default and default is not None else "")


def _kind(field: FieldInfo) -> Any:
    """Return the type of a field's values other than None."""
    options = get_args(field.annotation)
    if get_origin(field.annotation) is Literal or type(None) not in options:
        return field.annotation
    return next(option for option in options if option is not type(None))


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _absolute(name: str, value: Any) -> Any:
    """Return a file as a whole path, since a run keeps how its data were read, and may be used from another folder."""
    return os.path.abspath(value) if name in ("item_texts", "user_texts") and "://" not in value else value


def _plain(field: FieldInfo, value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if _is_list(_kind(field)) else value
