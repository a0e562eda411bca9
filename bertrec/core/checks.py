"""Arguments of public calls: what was given, what is wanted, and how to come by it, in one line."""

from __future__ import annotations

import math
import os
import reprlib
from collections.abc import Iterable, Mapping, Set
from numbers import Integral, Real
from pathlib import Path

from bertrec.core.errors import BertrecError, ConfigError, DataError

Error = type[BertrecError]

# How to come by what is wanted, by the names of the wanted and of the given class: core knows no class above it.
_MADE = "where split = bertrec.make_split(dataset)"
_CUT = "where split = bertrec.data.splits.leave_one_out(interactions)"
_READ = "where split = bertrec.make_split(bertrec.load(data))"
_MENDS: Mapping[str, Mapping[str, str]] = {
    "Dataset": {
        "Interactions": "call bertrec.data.splits.leave_one_out(interactions), or another split of that module",
        "Split": "the data set that this split was made of",
        "DataFrame": "bertrec.Dataset.from_frames(frame, items)",
        "str": "bertrec.load(data)",
        "PurePath": "bertrec.load(data)",
    },
    "Interactions": {
        "Dataset": f"split.train, {_MADE}",
        "Split": "split.train",
        "EvaluationSet": "split.train",
        "DataFrame": "bertrec.Dataset.from_frames(frame, items), or bertrec.Interactions.from_frame(frame, catalog)",
        "str": f"split.train, {_READ}",
        "PurePath": f"split.train, {_READ}",
    },
    "EvaluationSet": {
        "Split": "split.validation or split.test",
        "Dataset": f"split.validation or split.test, {_MADE}",
        "Interactions": f"split.validation or split.test, {_CUT}",
        "str": f"split.validation or split.test, {_READ}",
        "PurePath": f"split.validation or split.test, {_READ}",
    },
    "Split": {
        "Dataset": "bertrec.make_split(dataset)",
        "Interactions": "bertrec.data.splits.leave_one_out(interactions), or another split of that module",
        "EvaluationSet": "the split that it is part of",
        "str": "bertrec.make_split(bertrec.load(data))",
        "PurePath": "bertrec.make_split(bertrec.load(data))",
    },
    "Impressions": {
        "Dataset": "dataset.impressions['train'], or bertrec.data.impressions_from_sequences(interactions, negatives=4, seed=0)",
        "Interactions": "bertrec.data.impressions_from_sequences(interactions, negatives=4, seed=0)",
        "Split": "bertrec.data.impressions_from_sequences(split.train, negatives=4, seed=0)",
    },
    "ItemCatalog": {
        "Dataset": "dataset.catalog",
        "Interactions": "interactions.catalog",
        "Split": "split.catalog",
        "Recommender": "model.catalog",
        "DataFrame": "bertrec.ItemCatalog.from_frame(frame)",
        "str": "bertrec.load(data).catalog, or bertrec.ItemCatalog.load(folder)",
        "PurePath": "bertrec.load(data).catalog, or bertrec.ItemCatalog.load(folder)",
    },
    "Recommender": {
        "str": "bertrec.Recommender.from_pretrained(folder), or bertrec.create(name) once it is fitted",
        "PurePath": "bertrec.Recommender.from_pretrained(folder)",
    },
    "ItemIndex": {
        "str": "bertrec.ItemIndex.load(folder)",
        "PurePath": "bertrec.ItemIndex.load(folder)",
        "ndarray": "bertrec.ItemIndex.build(vectors, ids)",
    },
    "Ragged": {
        "list": "model.histories(lists) for lists of external ids, or Ragged.from_rows(rows) for inner ids",
        "EvaluationSet": "its histories, as in split.test.histories",
        "Split": "histories, as in split.test.histories",
        "Interactions": "interactions.sequences",
        "Dataset": "dataset.interactions.sequences",
    },
    "path": {
        "DataFrame": "a folder or a file; of data frames bertrec.Dataset.from_frames(interactions, items) makes a data set",
    },
    "Plan": {"str": "bertrec.make_plan([name])", "list": "bertrec.make_plan(names)", "tuple": "bertrec.make_plan(names)"},
    "EmbeddingCache": {"str": "EmbeddingCache(folder)", "PurePath": "EmbeddingCache(folder)"},
    "TextEncoder": {"str": "TextEncoder.from_config(EncoderConfig(name=name))"},
    "EncoderConfig": {"str": "EncoderConfig(name=name)"},
    "list of texts": {"ItemCatalog": "catalog.texts", "DataFrame": "one of its columns, as in frame['title'].tolist()"},
    "list of ids": {
        "ItemCatalog": "catalog.ids.ids",
        "IdMap": "its ids",
        "DataFrame": "one of its columns, as in frame['item_id'].tolist()",
    },
    "name": {"Recommender": "the model's name, as in 'unisrec'", "type": "its name, as in 'unisrec'"},
}
_WORDS = {"str": "text", "Mapping": "mapping"}
_FRAMES = {"LazyFrame": "DataFrame", "Table": "DataFrame"}  # of polars and PyArrow


def expect(
    value: object, kind: type, what: str, *, optional: bool = False, error: Error = DataError, mend: str = "", called: str = ""
) -> None:
    """See that an argument is of a class.

    Args:
        value: what was given.
        kind: the class that is wanted.
        what: the call and its argument, such as ``model.fit: train``.
        optional: whether None will do.
        error: what is raised.
        mend: what to give instead, where the classes do not say it.
        called: what is wanted in words, where that is not the name of the class.

    Raises:
        BertrecError: it is not, as ``error``; the text names both classes and, where it is known, the right call.
    """
    if not isinstance(value, kind) and not (optional and value is None):
        raise _wrong(value, called or _WORDS.get(kind.__name__, kind.__name__), what, error, mend or _from_values(value, kind))


def expect_list(values: object, what: str, *, of: str, error: Error = DataError) -> None:
    """See that an argument is a list (a tuple, an array, a column) of ``of``; one text alone would be read letter by letter.

    Raises:
        BertrecError: it is not, as ``error``.
    """
    if isinstance(values, str | bytes):
        raise error(f"{what} is {shown(values)}, not a list of {of}: give [{values!r}]")
    if not is_list(type(values)) or not hasattr(values, "__iter__") or "DataFrame" in _names(values):
        raise _wrong(values, f"list of {of}", what, error, "")


def expect_names(values: object, what: str) -> None:
    """See that an argument is a list of texts.

    Raises:
        ConfigError: it is not.
    """
    expect_list(values, what, of="names", error=ConfigError)
    for name in values if isinstance(values, Iterable) else ():
        expect(name, str, f"{what}: an element", error=ConfigError, called="name")


def expect_able(value: object, method: str, wanted: str, what: str, *, error: Error = DataError) -> None:
    """See that an argument has a method, where any class with it will do.

    Raises:
        BertrecError: it has not, as ``error``; ``wanted`` says what it should be.
    """
    if isinstance(value, type) or not callable(getattr(value, method, None)):
        raise _wrong(value, wanted, what, error, "")


def expect_path(value: object, what: str, *, error: Error = DataError) -> Path:
    """Return an argument as a path.

    Raises:
        BertrecError: it is none, as ``error``.
    """
    if not isinstance(value, str | os.PathLike):
        raise _wrong(value, "path", what, error, "")
    return Path(value)


def expect_whole(value: object, what: str, *, least: int | None = None, error: Error = ConfigError) -> int:
    """Return an argument as an int; True and 2.0 are none.

    Raises:
        BertrecError: it is no whole number, or one below ``least``, as ``error``.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and value < least):
        raise error(f"{what} must be a whole number{'' if least is None else f' of at least {least}'}, not {reprlib.repr(value)}")
    return int(value)


def expect_number(value: object, what: str, *, error: Error = ConfigError) -> float:
    """Return an argument as a float.

    Raises:
        BertrecError: it is no finite number, as ``error``.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(float(value)):
        raise error(f"{what} must be a number, not {reprlib.repr(value)}")
    return float(value)


def is_list(kind: type) -> bool:
    """Say whether what is of a class has a length and an order, and is no text."""
    return hasattr(kind, "__len__") and not issubclass(kind, str | bytes | Mapping | Set)


def _wrong(value: object, wanted: str, what: str, error: Error, mend: str) -> BertrecError:
    mend = mend or mend_of(value, wanted)
    plural = wanted[0].isupper() and wanted.endswith("s")
    return error(f"{what} is {shown(value)}, not {wanted if plural else article(wanted)}" + _said(mend))


def mend_of(value: object, wanted: str) -> str:
    """Return how to come by what is wanted, by the nearest base class of what was given; empty where that is not known."""
    mends = _MENDS.get(wanted, {})
    return next((mends[name] for name in _names(value) if name in mends), "")


def _names(value: object) -> list[str]:
    """Return the names of the value's class and its bases, the nearest first."""
    return [_FRAMES.get(base.__name__, base.__name__) for base in type(value).__mro__]


def _said(mend: str) -> str:
    return f": {mend}" if mend.startswith("call ") else f": give {mend}" if mend else ""


def _from_values(value: object, kind: type) -> str:
    if isinstance(value, type) and issubclass(value, kind):
        return "an instance of it"
    return f"{kind.__name__}.from_dict(values)" if isinstance(value, Mapping) and hasattr(kind, "from_dict") else ""


def shown(value: object) -> str:
    """Say what was given: a short value itself, of anything else the class."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return f"the text {reprlib.repr(value)}"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return name if name == "Interactions" else article(name)


def article(name: str) -> str:
    """Put a or an before a name."""
    name = "array" if name == "ndarray" else name
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
