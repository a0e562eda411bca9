"""MIND's submission file: a line per impression, ``ID [rank,rank,…]``, the ranks of its candidates as shown.

Format: https://msnews.github.io and https://github.com/msnews/MIND/blob/master/evaluate.py. The competition takes it as
``prediction.txt`` in a zip file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bertrec.core.errors import DataError, ModelError
from bertrec.core.files import atomic_file
from bertrec.core.ragged import Ragged
from bertrec.data.readers.content import as_utf8, read_bytes

_LINE = re.compile(r"(\S+) \[([0-9]+(?:,[0-9]+)*)\]")
_CHUNK = 10_000  # impressions written at once
_MAX_DIGITS = 18  # a longer rank does not fit into int64


@dataclass(frozen=True, eq=False)
class Submission:
    """What a submission file says.

    Attributes:
        ids: of the impressions, ``[n]``, distinct.
        ranks: of the candidates in the order shown, ``n`` rows, each a permutation of 1 to its length.
    """

    ids: list[str]
    ranks: Ragged

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """One over the rank, ``[total]``, which is what MIND's own scorer measures; for `bertrec.evaluation.impressions`."""
        return 1.0 / self.ranks.values


def impression_ranks(scores: npt.ArrayLike, offsets: npt.ArrayLike) -> Ragged:
    """Return the rank of each candidate in its impression, 1 for the highest score; equal scores keep the order shown.

    Args:
        scores: ``[total]`` finite, higher is better.
        offsets: ``[n + 1]``; impression ``i`` is ``scores[offsets[i]:offsets[i + 1]]``.

    Raises:
        DataError: the offsets do not fit the scores.
        ModelError: a score is not finite; the text names the impression's row.

    >>> impression_ranks([0.1, 0.7, 0.7, 3.0], [0, 3, 4]).values.tolist()
    [3, 1, 2, 1]
    """
    values, edges = np.asarray(scores, dtype=np.float64), np.asarray(offsets, dtype=np.int64)
    if values.ndim != 1 or edges.ndim != 1 or not len(edges) or edges[0] != 0 or edges[-1] != len(values) or np.any(np.diff(edges) < 0):
        raise DataError(f"offsets must run from 0 to the number of scores, {values.size}, without decreasing")
    rows = Ragged(np.arange(len(values)), edges).rows
    if not np.isfinite(values).all():
        at = int(np.argmin(np.isfinite(values)))
        raise ModelError(
            f"impression row {rows[at]}, candidate {at - edges[rows[at]] + 1}: the score is {values[at]}; scores must be finite"
        )
    ranks = np.empty(len(values), dtype=np.int64)
    ranks[np.lexsort((-values, rows))] = np.arange(1, len(values) + 1) - edges[rows]
    return Ragged(ranks, edges)


def write_submission(path: str | Path, ids: Sequence[str], scores: npt.ArrayLike, offsets: npt.ArrayLike) -> None:
    """Write ranks of scored impressions in MIND's format, atomically.

    A scorer expects a rank for every candidate that was shown, so write no impression that lost candidates when it was read (the notes of
    `bertrec.data.impressions.Impressions` count them).

    Args:
        path: of the file.
        ids: of the impressions, ``[n]``, distinct and without white space.
        scores: ``[total]``, as in `impression_ranks`.
        offsets: ``[n + 1]``.

    Raises:
        DataError: an id that is empty, repeated or holds white space, an impression without a candidate, or shapes that do not fit.
        ModelError: a score is not finite.
        BertrecError: the file cannot be written; the former one is unchanged.
    """
    ranks = impression_ranks(scores, offsets)
    names = [str(name) for name in ids]
    if len(names) != len(ranks):
        raise DataError(f"{len(names)} ids for {len(ranks)} impressions")
    _check_ids(names)
    if not ranks.lengths.all():
        raise DataError(f"impression {names[int(np.argmin(ranks.lengths))]!r} has no candidate to rank")
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
        stream.writelines(f"{line}\n" for line in _lines(names, ranks))


def read_submission(path: str | Path) -> Submission:
    """Read a submission file, unpacked where its name ends in ``.gz``.

    Raises:
        DataError: the file is missing, empty or no UTF-8, a line is not ``ID [rank,…]``, its ranks are not 1 to their number each
            once, or an id is repeated; the text names the line.
    """
    path = Path(path)
    text = as_utf8(read_bytes(path), path).decode("utf-8").replace("\r\n", "\n")
    ids: dict[str, int] = {}
    rows: list[list[int]] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        name, ranks = _parsed(line, f"{path}: line {number}")
        if (before := ids.setdefault(name, number)) != number:
            raise DataError(f"{path}: line {number}: impression {name!r} stands in line {before} already")
        rows.append(ranks)
    return Submission(list(ids), Ragged.from_rows(rows))


def _parsed(line: str, where: str) -> tuple[str, list[int]]:
    found = _LINE.fullmatch(line)
    if found is None:
        shown = line if len(line) <= 60 else f"{line[:60]}…"
        raise DataError(f"{where}: {shown!r} is not an impression id, one space and ranks such as [2,1,3] without spaces")
    given = found[2].split(",")
    ranks = [int(rank) for rank in given if len(rank) <= _MAX_DIGITS]
    if sorted(ranks) != list(range(1, len(given) + 1)):
        raise DataError(f"{where}: the ranks of impression {found[1]!r} must be 1 to {len(given)}, each once")
    return found[1], ranks


def _check_ids(names: list[str]) -> None:
    seen: set[str] = set()
    for row, name in enumerate(names):
        if name.split() != [name]:
            raise DataError(f"impression row {row}: the id {name!r} is empty or holds white space, which the format cannot carry")
        if name in seen:
            raise DataError(f"impression row {row}: the id {name!r} occurs more than once")
        seen.add(name)


def _lines(names: list[str], ranks: Ragged) -> Iterator[str]:
    for start in range(0, len(names), _CHUNK):
        part = ranks.slice(start, start + _CHUNK)
        rows = pa.ListArray.from_arrays(pa.array(part.offsets, pa.int32()), pa.array(part.values).cast(pa.string()))
        joined = pc.binary_join(rows, ",").to_pylist()
        yield from (f"{name} [{row}]" for name, row in zip(names[start : start + _CHUNK], joined, strict=True))
