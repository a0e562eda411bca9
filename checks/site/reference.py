"""The reference pages, written from the package at build time: front doors, commands, settings. None is kept in the repository."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.main import get_command

from bertrec.cli.main import app
from bertrec.cli.settings import _parts, config_of
from bertrec.core.settings import settings_of, written
from bertrec.models.names import MODELS
from bertrec.rankers.names import RANKERS

ROOT = Path(__file__).parents[2]
_BLOCK = """::: {path}
    options:
      heading: "{name}"
      toc_label: "{name}"
"""


def pages() -> dict[str, str]:
    """Return every page of the reference, by its place under ``docs``."""
    found = {}
    for folder, made in (("api", doors()), ("commands", commands()), ("settings", settings())):
        found.update({f"reference/{folder}/{name}.md": text for name, text in made.items()})
    return found


def doors() -> dict[str, str]:
    """Return one page per front door: the names of its ``__init__.pyi``, each with what its docstring says."""
    stubs = sorted((ROOT / "bertrec").rglob("__init__.pyi"))
    rooms = {".".join(stub.relative_to(ROOT).parts[:-1]): stub for stub in stubs}
    names = {room: dict(public_names(room, stub)) for room, stub in rooms.items()}
    homes = {path: room for room in sorted(rooms, key=len) for path in names[room].values()}  # the deepest room that shows it
    return {room: door(room, stub, names[room], homes) for room, stub in rooms.items()}


def door(room: str, stub: Path, names: dict[str, str], homes: dict[str, str]) -> str:
    """Return the page of one front door: names at home here with what their docstrings say, the others as links to where they are."""
    said = ast.get_docstring(parsed(stub.with_suffix(".py"))) or ""
    own = [_BLOCK.format(path=path, name=name) for name, path in names.items() if homes[path] == room and name != "__version__"]
    others = [f"| [`{name}`][{path}] | {cell(first_line(path))} |" for name, path in names.items() if homes[path] != room]
    listed = "\n".join(["| name | what it is |", "|---|---|", *others]) if others else ""
    words = f"```text\n{said}\n```" if "\n" in said else said
    return "\n\n".join(part for part in (f"# {room}", words, listed, *own) if part) + "\n"


def public_names(room: str, stub: Path) -> Iterator[tuple[str, str]]:
    """Give the public names of a room, each with the dotted path where it is defined."""
    for node in parsed(stub).body:
        assert isinstance(node, ast.ImportFrom)
        yield from ((alias.name, f"{room}.{node.module}.{alias.name}") for alias in node.names)


def parsed(path: Path) -> ast.Module:
    """Read a module without running it."""
    return ast.parse(path.read_text(encoding="utf-8"))


def first_line(path: str) -> str:
    """Return the first line of what a name's docstring says."""
    module, _, name = path.rpartition(".")
    file = ROOT / Path(*module.split("."))
    tree = parsed(file.with_suffix(".py") if file.with_suffix(".py").is_file() else file / "__init__.py")
    kinds = (ast.ClassDef, ast.FunctionDef)
    found = [node for node in tree.body if isinstance(node, kinds) and node.name == name]
    return (ast.get_docstring(found[0]) or "").partition("\n")[0] if found else ""


def commands() -> dict[str, str]:
    """Return one page per command or group of commands, and the list of all."""
    found: dict[str, Any] = dict(get_command(app).commands)
    rows = [f"| [`bertrec {name}`]({name}.md) | {cell(_summary(found[name]))} |" for name in found]
    top = "# Commands\n\nWhat `bertrec COMMAND --help` prints, on pages.\n\n| command | what it does |\n|---|---|\n"
    return {"index": top + "\n".join(rows) + "\n"} | {name: command_page(f"bertrec {name}", one) for name, one in found.items()}


def command_page(name: str, command: Any, level: int = 1) -> str:
    """Return a command's usage, arguments, options and examples; of a group, those of its commands."""
    parts = [f"{'#' * level} {name}", command.help or ""]
    if hasattr(command, "commands"):
        parts += [command_page(f"{name} {below}", one, level + 1) for below, one in command.commands.items()]
        return "\n\n".join(parts) + "\n"
    shown = [one for one in command.params if not one.hidden]
    words = [usage(one) for one in shown if one.param_type_name == "argument"]
    parts += [f"```text\n{' '.join([name, *words, '[OPTIONS]'])}\n```"]
    parts += _tables(shown, command.epilog or "")
    return "\n\n".join(parts) + "\n"


def _tables(shown: list[Any], epilog: str) -> Iterator[str]:
    for kind, title in (("argument", "argument"), ("option", "option")):
        rows = [parameter_row(one) for one in shown if one.param_type_name == kind]
        if rows:
            yield options([f"| {title} | takes | default | meaning |", "|---|---|---|---|", *rows])
    examples = [line for line in epilog.splitlines() if line.strip() and line.strip() != "Examples:"]
    if examples:
        yield "Examples:\n\n```sh\n" + "\n".join(examples) + "\n```"


def usage(argument: Any) -> str:
    """Return how an argument stands in a usage line."""
    name = (argument.metavar or argument.name.upper()).strip("[]")
    return name if argument.required else f"[{name}]"


def parameter_row(one: Any) -> str:
    """Return one row of a table of options."""
    names = [*one.opts, *one.secondary_opts] if one.param_type_name == "option" else [usage(one)]
    default = "needed" if one.required else "" if one.default in (None, [], ()) else f"`{_default(one)}`"
    return f"| {', '.join(f'`{name}`' for name in names)} | {cell(takes(one))} | {default} | {cell(one.help or '')} |"


def _default(one: Any) -> str:
    return {True: "on", False: "off"}.get(one.default, str(one.default)) if isinstance(one.default, bool) else str(one.default)


def takes(one: Any) -> str:
    """Return what a parameter takes, with its bounds."""
    if getattr(one, "is_flag", False):
        return ""
    annotation = one.type_descriptor.annotation
    if choices := get_args(annotation) if get_origin(annotation) is Literal else ():
        return ", ".join(map(str, choices))
    kind = getattr(annotation, "__name__", str(annotation))
    words = one.metavar or {"int": "whole number", "float": "number", "str": "text", "Path": "path"}.get(kind, kind)
    bounds = [f"{sign} {bound}" for sign, bound in ((">=", one.min), ("<=", one.max)) if bound is not None]
    return " ".join([words, ", ".join(bounds)]).strip() + (", repeatable" if one.multiple else "")


def _summary(command: Any) -> str:
    return (command.help or "").partition("\n")[0]


def settings() -> dict[str, str]:
    """Return one page of settings per model, ranker and other part that has some, and the list of all."""
    names = [name for name in (*MODELS.names(), *RANKERS.names(), *_parts()) if name not in ("recbole", "ensemble")]
    rows = {name: settings_of(config_of(name)) for name in names}
    made = {name: _settings_page(name, found) for name, found in rows.items() if found}
    listed = "\n".join(f"- [`{name}`]({name}.md): {len(rows[name])}" for name in made)
    none = ", ".join(f"`{name}`" for name, found in rows.items() if not found)
    text = "# Settings\n\nWhat `bertrec settings NAME` prints. `--set`, YAML files and `settings=` in Python take these names.\n\n"
    theirs = "Models of RecBole have their own: `bertrec settings recbole:SASRec`."
    return {"index": f"{text}{listed}\n\nNothing to set: {none}. {theirs}\n"} | made


def _settings_page(name: str, rows: Iterable[Any]) -> str:
    lines = [f"| `{one.name}` | `{written(one.default)}` | {cell(one.range)} | {cell(one.meaning)} |" for one in rows]
    return f"# Settings of {name}\n\n" + options(["| setting | default | range | meaning |", "|---|---|---|---|", *lines]) + "\n"


def options(table: list[str]) -> str:
    """Return a table whose first column keeps its names whole."""
    return "\n".join(['<div class="options" markdown>', "", *table, "", "</div>"])


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table: what Markdown or HTML would read as theirs is shown."""
    parts = " ".join(text.split()).replace("``", "`").split("`")
    return "`".join(part if number % 2 else _plain(part) for number, part in enumerate(parts))


def _plain(text: str) -> str:
    for letter, shown in (("<", "&lt;"), ("*", "\\*"), ("_", "\\_"), ("|", "\\|")):
        text = text.replace(letter, shown)
    return text
