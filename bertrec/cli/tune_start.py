"""What ``bertrec tune`` begins with: whose model it is, its space, and what its trials are run on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.core.errors import ConfigError
from bertrec.core.plugins import is_path

if TYPE_CHECKING:
    from bertrec.data.load import Dataset
    from bertrec.tuning.space import Space
    from bertrec.tuning.study_data import StudyData

StudyFolder = Annotated[Path, typer.Option(metavar="STUDY", help="The folder of the study.")]
StudyName = Annotated[str | None, typer.Option(help="The study's name in the storage (default: the folder's).")]
Storage = Annotated[str | None, typer.Option(help="A path, sqlite:///, postgresql+psycopg:// or redis:// (default: in STUDY).")]
Timeout = Annotated[str | None, typer.Option(help="No trial is begun after this: 90s, 30m, 2h.")]
_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0, "d": 1440.0}


def source_of(model: str) -> str:
    """Return whose model it is.

    Raises:
        ConfigError: nobody has such a model.
    """
    from bertrec.models.names import MODELS
    from bertrec.rankers.names import RANKERS
    from bertrec.recbole import catalogue

    own = {"bertrec": MODELS, "ranker": RANKERS}
    for source, registry in own.items():
        if model in registry.names():
            return source
    if is_path(model):
        return _source_of_class(model)
    try:
        catalogue.check_names([model])
    except ConfigError as error:
        known = sorted({name for registry in own.values() for name in registry.names()} - {"recbole", "ensemble"})
        raise ConfigError(f"no model of ours ({', '.join(known)}), and {error}") from error
    return "recbole"


def _source_of_class(path: str) -> str:
    from bertrec.models.names import MODELS
    from bertrec.rankers.names import RANKERS

    try:
        RANKERS.find(path)
    except ConfigError:
        MODELS.find(path)  # says what is wrong with it
        return "bertrec"
    return "ranker"


def space_of(model: str, source: str, space: Path | None, preset: str | None) -> Space:
    """Return the space of a file, or the preset of the model.

    Raises:
        ConfigError: the file holds no space, there is no such preset, or both were given.
    """
    from bertrec.tuning.space import Space

    if space is None:
        return Space.preset(f"recbole-{model}" if source == "recbole" else model, preset or "standard")
    if preset is not None:
        raise ConfigError(f"--space {space} is what is searched, and --preset {preset} another space: give one of them")
    return Space.load(space)


def study_data_of(dataset: Dataset, model: str, source: str, split: str, space: Space, settings: Mapping[str, Any], seed: int) -> StudyData:
    """Return what trials are run on.

    Raises:
        ConfigError: a split was chosen for a ranker, which has impressions.
        DataError: there is too little to divide.
    """
    from bertrec.cli.runs import split_data

    if source != "ranker":
        return split_data(dataset, {"split": {"method": split}})
    if split != "auto":
        raise ConfigError("--split is for sequences: of a ranker's impressions a fifth of the training part chooses, the rest is given")
    from bertrec.tuning.objectives.rankers import clicks_of

    return clicks_of(dataset, model, space, settings, seed=seed)


def counts_of(study_data: StudyData) -> dict[str, Any]:
    """Return how much there is of each part."""
    from bertrec.data.splits import Split
    from bertrec.tuning.study_data import ImpressionSplit

    if isinstance(study_data, Split):
        return dict(study_data.manifest.get("counts", {}))
    if isinstance(study_data, ImpressionSplit):
        parts = {
            "impressions to train on": study_data.learned,
            "to choose by": study_data.validation,
            "left for the winner": study_data.test,
        }
        return {"items": len(study_data.learned.catalog)} | {name: 0 if part is None else len(part) for name, part in parts.items()}
    return {"items": len(study_data.items), "queries": len(study_data.queries), "dimensions": study_data.items.shape[1]}


def minutes(text: str | None) -> float:
    """Read ``90s``, ``30m``, ``2h`` or ``1d``; 0 where nothing is given.

    Raises:
        ConfigError: it is no time.
    """
    if text is None:
        return 0.0
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", text.strip())
    if not found:
        raise ConfigError(f"--timeout {text}: write it as 90s, 30m or 2h")
    return float(found[1]) * _UNITS[found[2] or "m"]
