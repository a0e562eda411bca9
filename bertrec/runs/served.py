"""A run opened for lists: its model, its index, and the data whose histories are served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run
from bertrec.runs.indexes import check_fits, open_both

if TYPE_CHECKING:
    from bertrec.data.load import Dataset
    from bertrec.models.base import Recommender
    from bertrec.retrieval.index import ItemIndex


@dataclass(frozen=True)
class Opened:
    """What lists are made of.

    Attributes:
        record: of the run.
        model: over the items that are served.
        index: to be searched in place of all item vectors; None where none was named.
        dataset: the data; None where nothing is asked of them.
    """

    record: Mapping[str, Any]
    model: Recommender
    index: ItemIndex | None
    dataset: Dataset | None


def open_served(
    place: Run,
    *,
    index: Path | None = None,
    mmap: bool = False,
    data: str | None = None,
    reading: Mapping[str, Any] | None = None,
    vectors: Path | None = None,
    histories: bool = True,
) -> Opened:
    """Open a run, all of one state.

    Args:
        place: the run.
        index: of the run.
        mmap: leave the index in its files; see `bertrec.ItemIndex.load`.
        data: other data than the run's.
        reading: how they are read.
        vectors: see `bertrec.runs.data.fit_catalog`.
        histories: whether the data are asked for histories; if not, and nothing was named, they are not loaded.

    Raises:
        BertrecError: something is missing or damaged, or the index is another model's.
    """
    record, model, searched = open_both(place, index, mmap=mmap)
    unasked = not histories and data is None and vectors is None
    dataset = None if unasked else served_data(place, record, model, data, reading)
    model = model if dataset is None else fit_catalog(model, dataset, vectors)
    if searched is not None and index is not None:
        check_fits(searched, index, model, place, data)
    return Opened(record, model, searched, dataset)
