"""What a fit in another process is given and what it gives back, as files: no code, no pickle.

A folder holds ``split/`` (the split as inner ids) once, and for every fit a folder of its own with ``job.json``,
``curve.jsonl`` (a line per epoch, written while it trains), ``outcome.json`` and ``arrays.npz``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import DataError, ModelError
from bertrec.core.files import atomic_file, read_json, read_record, write_json
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.ranks import first_occurrences

Status = Literal["ok", "failed", "invalid"]
EndedBy = Literal["patience", "schedule", "epochs", "budget", "no training", "killed"]

_SPLIT = "split.npz"
_PAIRS = "pairs.npz"
_PARTS = ("validation", "test")
RESULT, OUTCOME = "result.json", "outcome.json"
"""What the fitting process leaves, and what the watching one makes of it: only the latter says that a fit is whole."""


class Job(Config):
    """One fit."""

    model: str = pydantic.Field(description="Name of the model, for people.")
    settings: dict[str, Any] = pydantic.Field(
        default_factory=dict,
        description="Flat names and values that replace the model's defaults.",
    )
    seed: pydantic.NonNegativeInt = pydantic.Field(0, description="Seed of everything that is drawn.")
    limit_seconds: pydantic.NonNegativeFloat = pydantic.Field(
        0.0, description="Training and validation end after so many seconds; 0 sets no limit."
    )
    metric: str = pydantic.Field(
        "NDCG@10",
        description="The validation figure that chooses the epoch; higher is better.",
    )
    mask_seen: bool = pydantic.Field(True, description="Leave items of the history out of the ranking.")
    on: Literal["test", "validation"] = pydantic.Field("test", description="Which users' ranks come back.")
    list_length: pydantic.PositiveInt = pydantic.Field(50, description="How many items of each user's list come back.")
    cross_check: bool = pydantic.Field(False, description="Also let the other library measure itself, and repeat that.")
    keep: bool = pydantic.Field(False, description="Also leave the trained model, which must score by inner products.")
    options: dict[str, Any] = pydantic.Field(
        default_factory=dict, description="What else the process needs, such as the item input of our own models."
    )

    def save(self, folder: Path) -> None:
        """Write ``job.json``."""
        write_json(folder / "job.json", self.to_dict())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``job.json``."""
        return cls.from_dict(read_json(folder / "job.json"))


@dataclass(frozen=True)
class Point:
    """One epoch of a fit.

    Attributes:
        epoch: counted from 1.
        seconds: since training began, validation included.
        loss: of training, where the model has one.
        metric: the validation figure; None where the epoch was not measured.
    """

    epoch: int
    seconds: float
    loss: float | None
    metric: float | None


@dataclass(frozen=True)
class Outcome:
    """How a fit went.

    Attributes:
        status: ``invalid`` where a score was no number: such a model is never ranked.
        reason: in words, where it is not ``ok``.
        ended_by: what ended the training.
        best_epoch: the epoch that was measured; 0 where there was none.
        seconds: of training and validation.
        evaluate_seconds: of measuring on the test users.
        peak_mib: peak resident memory of the process.
        settings: those that the model ran with.
        points: the learning curve.
        cross_check: the other library's own figures beside ours.
        versions: of what ran.
        cross_check_seconds: of the cross-check, which no budget pays for.
        total_seconds: of the whole process but for the cross-check, its start included; set by the parent.
    """

    status: Status
    reason: str | None = None
    ended_by: EndedBy | None = None
    best_epoch: int = 0
    seconds: float = 0.0
    evaluate_seconds: float = 0.0
    peak_mib: float = 0.0
    settings: dict[str, Any] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    cross_check: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=dict)
    cross_check_seconds: float = 0.0
    total_seconds: float = 0.0

    @property
    def converged(self) -> bool | None:
        """Whether training ended of itself; None where there was none to end."""
        return None if self.ended_by in (None, "no training") else self.ended_by in ("patience", "schedule")

    @property
    def best_metric(self) -> float | None:
        """The validation figure of the best epoch."""
        measured = [point.metric for point in self.points if point.metric is not None]
        return max(measured) if measured else None

    def save(self, folder: Path, name: str = OUTCOME) -> None:
        """Write ``outcome.json``, the last file of a fit: where it is, the fit is whole."""
        write_json(folder / name, {**asdict(self), "points": [asdict(point) for point in self.points]})

    @classmethod
    def load(cls, folder: Path, name: str = OUTCOME) -> Self:
        """Read ``outcome.json``.

        Raises:
            ModelError: it is absent or damaged.
        """
        values = read_record(folder / name, {"points": list})
        try:
            return pydantic.TypeAdapter(cls).validate_python(values)
        except pydantic.ValidationError as error:
            problem = error.errors(include_url=False)[0]
            raise ModelError(f"{folder / name} is damaged: {'.'.join(map(str, problem['loc']))}: {problem['msg']}") from error


@dataclass(frozen=True)
class Arrays:
    """What a fit measured.

    Attributes:
        ranks: one rank per target of the test users, in their order, under the job's masking.
        lists: ``[users, list_length]`` inner ids, best first, padded with 0.
        scores: ``[pairs]``, of the pairs that lie beside the split, where there are any.
    """

    ranks: IntArray
    lists: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32] | None = None

    def save(self, folder: Path) -> None:
        """Write ``arrays.npz``."""
        arrays: dict[str, npt.NDArray[Any]] = {"ranks": self.ranks, "lists": self.lists}
        if self.scores is not None:
            arrays["scores"] = self.scores
        write_arrays(folder / "arrays.npz", arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read ``arrays.npz``.

        Raises:
            ModelError: it is absent or damaged.
        """
        values = read_arrays(folder / "arrays.npz")
        return cls(values["ranks"], values["lists"], values.get("scores"))


def append_point(folder: Path, point: Point) -> None:
    """Add an epoch to ``curve.jsonl``, which outlives a process that is killed."""
    with (folder / "curve.jsonl").open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(point), allow_nan=False) + "\n")


def read_points(folder: Path) -> tuple[Point, ...]:
    """Return the epochs that were written; a line cut off by a kill is left out."""
    points = []
    path = folder / "curve.jsonl"
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
        try:
            points.append(pydantic.TypeAdapter(Point).validate_json(line))
        except (ValueError, TypeError):
            break
    return tuple(points)


def save_split(split: Split, folder: Path) -> None:
    """Write a split's inner ids and item texts; user ids stay behind, and a target that a user has twice counts once.

    Raises:
        DataError: there are no validation or no test users.
    """
    split = with_distinct_targets(split)
    arrays: dict[str, npt.NDArray[Any]] = {"held_out": split.held_out}
    arrays |= ragged_columns("train", split.train.sequences)
    for name in _PARTS:
        part = getattr(split, name)
        if part is None or not len(part):
            raise DataError(f"the split has no {name} users: a comparison needs both validation and test users")
        arrays[f"{name}_users"] = split.train.users.encode(part.users)
        arrays |= ragged_columns(f"{name}_histories", part.histories) | ragged_columns(f"{name}_targets", part.targets)
    split.catalog.save(folder)
    write_arrays(folder / _SPLIT, arrays)


def with_distinct_targets(split: Split) -> Split:
    """Return the split with each target of a user once, as the evaluator counts them."""
    return replace(split, validation=_distinct(split.validation), test=_distinct(split.test))


def _distinct(part: EvaluationSet | None) -> EvaluationSet | None:
    if part is None:
        return None
    first = first_occurrences(part.targets)
    return part if first.all() else EvaluationSet(part.users, part.histories, part.targets.where(first))


def load_split(folder: Path) -> Split:
    """Read what `save_split` wrote. Users are numbered from 1 in the order of the training sequences; those unknown there come after.

    Raises:
        ModelError: a file is missing or damaged.
    """
    values = read_arrays(folder / _SPLIT)
    catalog = ItemCatalog.load(folder)
    sequences = read_ragged(values, "train")
    train = Interactions(catalog, IdMap(range(1, len(sequences) + 1)), sequences)
    validation, test = (_part(values, name, len(sequences)) for name in _PARTS)
    return Split(catalog, train, validation, test, held_out=values["held_out"])


def save_pairs(rows: IntArray, items: IntArray, folder: Path) -> None:
    """Write pairs of test users' rows and inner item ids beside the split: every fit scores them as well."""
    write_arrays(folder / _PAIRS, {"rows": rows, "items": items})


def load_pairs(folder: Path) -> tuple[IntArray, IntArray] | None:
    """Return the pairs, where there are any."""
    if not (folder / _PAIRS).exists():
        return None
    values = read_arrays(folder / _PAIRS)
    return values["rows"], values["items"]


def _part(values: Mapping[str, npt.NDArray[Any]], name: str, users: int) -> EvaluationSet:
    known = values[f"{name}_users"]
    numbers = np.where(known > 0, known, users + 1 + np.arange(len(known)))
    return EvaluationSet(numbers.tolist(), read_ragged(values, f"{name}_histories"), read_ragged(values, f"{name}_targets"))


def ragged_columns(name: str, rows: Ragged) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of some rows as `write_arrays` takes them."""
    return {f"{name}_values": rows.values, f"{name}_offsets": rows.offsets}


def read_ragged(values: Mapping[str, npt.NDArray[Any]], name: str) -> Ragged:
    """Return the rows that `ragged_columns` named so."""
    return Ragged(values[f"{name}_values"], values[f"{name}_offsets"])


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays as one ``.npz``, whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # a name could be that of its flag


class _Arrays(dict[str, npt.NDArray[Any]]):
    """Arrays of a file, by name; one that is not there is an error of the file."""

    def __init__(self, path: Path, values: Mapping[str, npt.NDArray[Any]]) -> None:
        super().__init__(values)
        self.path = path

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        raise ModelError(f"{self.path} is damaged: it holds no {name}")


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read what `write_arrays` wrote, without ever unpickling.

    Raises:
        ModelError: the file is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return _Arrays(path, {name: archive[name] for name in archive.files})
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing") from error
    except Exception as error:  # numpy and zipfile raise what they like on a damaged file
        raise ModelError(f"{path} is damaged: {error}") from error
