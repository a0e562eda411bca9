"""MIND news and impressions: one ``news.tsv`` above ``train/ valid/ test/``, or one in each.

Format: https://github.com/msnews/msnews.github.io/blob/master/assets/doc/introduction.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError
from bertrec.data.ids import flat_array
from bertrec.data.readers.content import Form
from bertrec.data.readers.delimited import read_delimited
from bertrec.data.readers.raw import RawData, RawImpressions, RawLists

_NEWS = ["item_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"]
_BEHAVIORS = ["impression_id", "user_id", "time", "history", "candidates"]
_TEXT = ("title", "abstract", "category", "subcategory")
_PARTS = {"train": "train", "valid": "valid", "dev": "valid", "test": "test"}


def is_mind(folder: Path) -> bool:
    """Say whether a folder, or a folder in it, holds ``behaviors.tsv``."""
    return any(folder.glob("behaviors.tsv")) or any(folder.glob("*/behaviors.tsv"))


def read_folder(folder: Path, form: Form | None = None) -> RawData:
    """Read news and impressions of all parts; a lone ``behaviors.tsv`` is the training part.

    Raises:
        DataError: there is no news, a part's name is none of train, valid, dev, test, or a line is malformed.
    """
    behaviors, encoding = _behaviors(folder), form.encoding if form else None
    news = [path for path in [folder / "news.tsv", *(path.parent / "news.tsv" for path in behaviors.values())] if path.is_file()]
    if not news:
        raise DataError(f"{folder}: no news.tsv, neither here nor beside behaviors.tsv")
    paths = list(dict.fromkeys(news))
    items = pa.concat_tables([_news(path, encoding) for path in paths])
    raw = RawData(folder.name, "mind", items, text_fields=_TEXT, sources={"items": ", ".join(str(path) for path in paths)})
    if len(paths) > 1:  # the parts share most of their news
        raw.items, repeated = _merged(items)
        raw.notes.append(f"{folder}: {repeated} news that occur in more than one part are merged")
    raw.impressions = {part: _impressions(path, encoding) for part, path in behaviors.items()}
    return raw


def _behaviors(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    if (folder / "behaviors.tsv").is_file():
        found["train"] = folder / "behaviors.tsv"
    for path in sorted(folder.glob("*/behaviors.tsv")):
        word = next((word for word in _PARTS if path.parent.name.lower().endswith(word)), None)
        if word is None:
            raise DataError(f"{path.parent}: a folder with behaviors.tsv is named …train, …valid, …dev or …test")
        if _PARTS[word] in found:
            raise DataError(f"{folder}: both {found[_PARTS[word]]} and {path} are the {_PARTS[word]} part: keep one")
        found[_PARTS[word]] = path
    return {part: found[part] for part in ("train", "valid", "test") if part in found}


def _news(path: Path, encoding: str | None) -> pa.Table:
    return read_delimited(path, delimiter="\t", names=_NEWS, encoding=encoding).select(["item_id", *_TEXT])


def _merged(items: pa.Table) -> tuple[pa.Table, int]:
    """Drop rows that repeat another wholly; an id left twice is a contradiction that the catalogue reports."""
    distinct = items.group_by(items.column_names, use_threads=False).aggregate([]).select(items.column_names)
    return distinct, items.num_rows - distinct.num_rows


def _impressions(path: Path, encoding: str | None) -> RawImpressions:
    table = read_delimited(path, delimiter="\t", names=_BEHAVIORS, encoding=encoding)
    shown = RawLists.split(table["candidates"])
    candidates, labels = _labels(shown, path)
    return RawImpressions(
        source=str(path),
        ids=table["impression_id"].to_pylist(),
        users=table["user_id"].to_pylist(),
        timestamp=_times(flat_array(table["time"]), path),
        histories=RawLists.split(table["history"]),
        candidates=RawLists(candidates, shown.offsets),
        labels=labels,
    )


def _times(column: pa.Array, path: Path) -> npt.NDArray[np.float64]:
    times = pc.strptime(column, format="%m/%d/%Y %I:%M:%S %p", unit="s", error_is_null=True)
    if times.null_count:
        row = int(np.argmax(times.is_null().to_numpy(zero_copy_only=False)))
        raise DataError(f"{path}: line {row + 1}: {column[row].as_py()!r} is no time such as 11/15/2019 12:00:00 PM")
    return times.cast(pa.int64()).to_numpy(zero_copy_only=False).astype(np.float64)


def _labels(shown: RawLists, path: Path) -> tuple[pa.Array, npt.NDArray[np.int8] | None]:
    """Split ``N123-1`` into id and label; the published test part has no labels."""
    if not len(shown.values):
        raise DataError(f"{path}: no impression has a candidate")
    labelled = pc.match_substring_regex(shown.values, "-[01]$").to_numpy(zero_copy_only=False)
    if not labelled.any():
        return shown.values, None
    if not labelled.all():
        at = int(np.argmin(labelled))
        row = int(np.searchsorted(shown.offsets, at, side="right"))
        raise DataError(f"{path}: line {row}: candidate {shown.values[at].as_py()!r} has no label -0 or -1")
    labels = pc.equal(pc.utf8_slice_codeunits(shown.values, start=-1), "1").to_numpy(zero_copy_only=False).astype(np.int8)
    return pc.utf8_slice_codeunits(shown.values, start=0, stop=-2), labels
