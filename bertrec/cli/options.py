"""Options that several commands share, and how settings are read from ``--set`` and YAML files."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from bertrec.core.errors import BertrecError, ConfigError, DataError, unknown_name
from bertrec.core.files import read_yaml
from bertrec.core.known_ids import known_id
from bertrec.core.parsing import parse_yaml
from bertrec.core.plugins import vouch

SPLITS = ("auto", "leave-one-out", "time", "ratio", "given", "cold-items")
DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="ml-100k, a folder whose format is recognised, or a YAML that says where things are.")
]
OtherData = Annotated[str | None, typer.Option("--data", metavar="DATA", help="Where the run's data are now, or other data.")]
Vectors = Annotated[
    Path | None,
    typer.Option(
        "--vectors",
        metavar="FILE",
        help="Vectors (.parquet, .npy) of items that a run trained with --vectors has not met; those that it has met it keeps.",
    ),
]
GivenVectors = Annotated[
    Path | None,
    typer.Option("--vectors", metavar="FILE", help="Item vectors made elsewhere (.parquet, .npy), in place of an encoder; docs/data.md."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A folder made by bertrec train.")]


def _vouched(paths: list[str] | None) -> list[str] | None:
    vouch(paths or ())
    return paths


Classes = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        callback=_vouched,
        metavar="PKG:CLASS",
        help="A class of another package that a folder named here needs and that you trust; repeatable.",
    ),
]


def _figures_file(path: Path | None) -> Path | None:
    """See, before any work, that figures may be written: former ones are replaced, a file of anything else is not."""
    if path is not None and path.is_dir():
        raise BertrecError(f"--json {path} is a folder: give the name of a file")
    if path is not None and path.is_file() and path.stat().st_size:
        with path.open("rb") as stream:
            if not stream.read(64).lstrip().startswith(b"{"):
                raise BertrecError(f"--json {path} is there already and holds no figures: choose another name")
    return path


Json = Annotated[
    Path | None,
    typer.Option(
        "--json", metavar="OUT", callback=_figures_file, help="Write the figures to this JSON file too; former figures are replaced."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what --out holds once the new one is whole.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with an interrupted training of the same command in --out.")]
SettingsFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="F.yaml", help="Settings by dotted or nested names, such as best.yaml of bertrec tune; --set wins."),
]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="One setting by its dotted name; repeatable.")]
FixedSettings = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A setting that is not searched; repeatable.")]
Split = Annotated[str, typer.Option(help=f"How to split: {', '.join(SPLITS)}.")]
HeldOut = Annotated[str, typer.Option("--split", help="Which held-out part: test or valid.")]
Bootstrap = Annotated[int | None, typer.Option(min=0, help="Bootstrap samples behind each interval.")]
Metrics = Annotated[str | None, typer.Option(help="Metrics to show, comma-separated, or all.")]
Indexes = Annotated[
    list[Path] | None, typer.Option("--index", metavar="INDEX", help="An index of the run that is to change with it; repeatable.")
]
Mmap = Annotated[
    bool,
    typer.Option("--mmap", help="Leave the index in its files and read what a search needs: less memory held, shared by processes."),
]
Queries = Annotated[
    Path | None,
    typer.Option("--queries", metavar="QRUN", help="Search by a tower of bertrec queries train in place of the run's own encoder."),
]
Fusion = Annotated[
    str, typer.Option(help="How ranks are joined with --queries: rrf (all lists alike) or learned (weights that its validation chose).")
]
FUSIONS = ("rrf", "learned")
KeepSeen = Annotated[
    bool | None,
    typer.Option(
        "--keep-seen/--mask-seen",
        "--no-mask-seen",
        help="Recommend and count items of the history too, or neither (default: as the run was trained; train leaves them out).",
        show_default=False,
    ),
]
SeenTargets = Annotated[
    str,
    typer.Option(help="Targets in a masked history: drop (and count) them, or rank them as published protocols do, which no list serves."),
]


# PyYAML reads 1e-3 as text (YAML 1.1 wants 1.0e-3); a user means the number.
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")


def check_mmap(mmap: bool, index: Path | None) -> None:
    """Raise a BertrecError where there is no index to map."""
    if mmap and index is None:
        raise BertrecError("--mmap goes with --index: without one there is nothing to map")


def check_seen_targets(seen_targets: str, *, keeps: bool) -> None:
    """Raise a BertrecError where targets in a masked history are to be ranked and no history is masked."""
    if keeps and seen_targets != "drop":
        raise BertrecError(
            f"--seen-targets {seen_targets} goes with masked histories, and none is masked here: leave it out, or set --mask-seen"
        )


def check_fusion(fusion: str, queries: Path | None) -> None:
    """Raise a BertrecError where there is no such way to join ranks, or no tower whose weights would be taken."""
    choice("fusion", fusion, FUSIONS)
    if queries is None and fusion != "rrf":
        raise BertrecError("--fusion goes with a tower: name one with --queries QRUN")


def choice(kind: str, value: str, options: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of ``options``.

    Raises:
        ConfigError: it is not; the text names the nearest right one.
    """
    if value not in options:
        raise ConfigError(unknown_name(kind, value, options))
    return value


def read_settings(config: Path | None, assignments: list[str]) -> dict[str, Any]:
    """Return flat dotted settings: those of the YAML file, then those of ``--set key=value``, which win.

    Raises:
        ConfigError: the file is absent or no mapping, or an assignment has no ``=`` or no scalar value.
    """
    holds = "settings, one 'name: value' per line"
    settings = _flat(read_yaml(config, holds=holds, called="--config")) if config else {}
    return settings | dict(_assignment(text) for text in assignments)


def _flat(values: dict[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = _number(value)
    return flat


def _assignment(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--set {text}: write it as name=value, such as --set head.layers=2")
    try:
        parsed = parse_yaml(value)
    except ValueError as error:
        raise ConfigError(f"--set {text}: the value is not readable YAML: {error}") from error
    if isinstance(parsed, dict):
        raise ConfigError(f"--set {text}: give one value; nested settings have dotted names, such as head.layers=2")
    return name.strip(), _number(parsed)


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def listed_names(path: Path) -> list[tuple[int, str]]:
    """Return number and text of the lines of a UTF-8 file of ids, blank ones passed over.

    Raises:
        DataError: the file is absent, not UTF-8 or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 (byte {error.start})") from error
    named = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not named:
        raise DataError(f"{path} is empty: it should hold one id per line")
    return named


def listed_ids(path: Path, known: Collection[str | int]) -> list[str | int]:
    """Return the ids among ``known`` that a UTF-8 file names, one per line; blank lines are passed over.

    Raises:
        DataError: the file is absent, not UTF-8 or empty, or an id is unknown; the text names file and line.
    """
    ids = []
    for number, name in listed_names(path):
        try:
            ids.append(known_id(name, known))
        except DataError as error:
            raise DataError(f"{path}: line {number}: {error}") from error
    return ids
