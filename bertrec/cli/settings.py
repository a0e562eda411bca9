"""``bertrec settings``: what can be set, with defaults, ranges and meanings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import print_table, say, say_document
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.plugins import is_path
from bertrec.core.shown import json_text
from bertrec.heads.config import ITEM_INPUTS

if TYPE_CHECKING:
    from bertrec.core.config import Config
    from bertrec.core.settings import Setting
    from bertrec.models.fitted import Fitted

EXAMPLES = """
Examples:

bertrec settings unisrec

bertrec settings unisrec head

bertrec settings unisrec --item-input id --tune frozen

bertrec settings recbole:SASRec

bertrec settings prompt4nr --json-schema > prompt4nr.json

bertrec settings index
"""
_THEIRS = "RecBole's own setting: its documentation says what it does."


def settings(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A model such as unisrec or recbole:SASRec, a ranker such as nrms, a class of your own (package.module:Class); "
            "or index, data (the keys of a YAML description), protocol, rules (of a list), adapt (of an encoder), pretrain, queries.",
        ),
    ],
    word: Annotated[str | None, typer.Argument(metavar="[WORD]", help="Keep settings whose names contain it.")] = None,
    item_input: Annotated[str | None, typer.Option(help="Show the defaults with id, text or text+id.")] = None,
    tune: Annotated[str | None, typer.Option(help="Show the defaults with frozen, last:K, lora or full.")] = None,
    json_schema: Annotated[bool, typer.Option("--json-schema", help="Print a JSON schema, and nothing else.")] = False,
) -> None:
    """Show what can be set of MODEL: each setting, its default, its range and its meaning."""
    if json_schema and word is not None:
        raise ConfigError(f"--json-schema prints all settings: leave out '{word}'")
    config = config_of(model, item_input, tune)
    if json_schema:
        say_document(json_text(_schema(config), indent=1))
    elif rows := _named(_rows(config), word):
        _print(model, rows)
    else:
        say(f"{model} has nothing to set")


def config_of(name: str, item_input: str | None = None, tune: str | None = None) -> Config:
    """Return the default settings of a model, a ranker, an index, the reading of data or a protocol.

    Raises:
        ConfigError: an unknown name (with the nearest right one), or an option that it does not have.
        MissingExtraError: a model of RecBole's, and RecBole is not installed.
    """
    if item_input is not None:
        o.choice("item input", item_input, ITEM_INPUTS)
    parts = _parts()
    if name in parts:
        return _plain(name, parts[name](), item_input, tune)
    from bertrec.models.registry import find_model
    from bertrec.rankers.names import RANKERS

    if name in RANKERS.names():
        return RANKERS.find(name).config_from(item_input=item_input, tune=tune)
    kind: type[Fitted]
    try:
        kind, variant = find_model(name)
    except ConfigError as error:
        kind, variant = _ranker_class(name, error), ""
    return kind.config_from(item_input=item_input, tune=tune, variant=variant)


def _ranker_class(name: str, error: ConfigError) -> type[Fitted]:
    """Return someone else's ranker; what is neither that nor a model is an error that names all that can be shown."""
    from bertrec.models.names import MODELS
    from bertrec.rankers.names import RANKERS

    if not is_path(name) and name not in MODELS.names():
        known = unknown_name("model", name, [*MODELS.names(), "recbole:SASRec", *RANKERS.names(), *_parts()])
        raise ConfigError(str(error) if "RecBole's is" in str(error) else known) from error
    try:
        return RANKERS.find(name)
    except ConfigError:
        raise error from None


def _parts() -> dict[str, type[Config]]:
    from bertrec.data.load import DataDescription
    from bertrec.evaluation.protocol import Protocol
    from bertrec.models.pretraining.config import PretrainingConfig
    from bertrec.models.queries.config import QueryConfig
    from bertrec.retrieval.parameters import IndexConfig
    from bertrec.retrieval.rules import Rules
    from bertrec.training.adapt_config import AdaptConfig

    parts: dict[str, type[Config]] = {
        "index": IndexConfig,
        "data": DataDescription,
        "protocol": Protocol,
        "rules": Rules,
        "adapt": AdaptConfig,
        "pretrain": PretrainingConfig,
        "queries": QueryConfig,
    }
    return parts


def _plain(name: str, config: Config, item_input: str | None, tune: str | None) -> Config:
    if item_input is not None:
        raise ConfigError(f"{name} has no --item-input {item_input}: leave the option out")
    if tune is not None and "encoder.tune" not in config.to_flat():
        raise ConfigError(f"{name} has no --tune {tune}: leave the option out")
    return config if tune is None else config.updated({"encoder.tune": tune})


def _rows(config: Config) -> list[Setting]:
    from bertrec.core.settings import Setting, settings_of

    rows = settings_of(config)
    theirs = _recbole(config)
    if theirs is None:
        return rows
    ours = [row for row in rows if row.name.startswith("train.")]
    return ours + [Setting(name, value, "-", _THEIRS) for name, value in theirs.items()]


def _schema(config: Config) -> dict[str, Any]:
    from bertrec.core.settings import json_schema

    schema = json_schema(config)
    theirs = _recbole(config)
    if theirs is None:
        return schema
    fields = {name: {"description": _THEIRS, "default": value} for name, value in theirs.items()}
    return {**schema, "properties": {"train": schema["properties"]["train"], **fields}}


def _recbole(config: Config) -> dict[str, Any] | None:
    """Return RecBole's own settings of a model of RecBole's; None for all others.

    Such a model is set by the names of its own, which stand beside ours (``train.*``).
    """
    from bertrec.models.recbole import RecBoleConfig
    from bertrec.recbole.catalogue import default_settings

    if not isinstance(config, RecBoleConfig):
        return None
    return {**default_settings(config.architecture), **config.chosen}


def _named(rows: list[Setting], word: str | None) -> list[Setting]:
    if word is None or not rows:
        return rows
    kept = [row for row in rows if word in row.name]
    if not kept:
        raise ConfigError(unknown_name("setting", word, [row.name for row in rows]))
    return kept


def _print(model: str, rows: list[Setting]) -> None:
    from bertrec.core.settings import written

    table = [[row.name, written(row.default), row.range, row.meaning] for row in rows]
    print_table(f"settings of {model}", ["setting", "default", "range", "meaning"], table)
