"""How a run comes back to its data: where they are, how they are read, and what came after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import DataError
from bertrec.core.notes import note
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.load import Dataset
    from bertrec.data.one_table import Manner
    from bertrec.models.base import Recommender


PRETRAINING = "pretraining"
"""The kind of a run that was pre-trained, and in any record what a run, or the one that it started from, was pre-trained on."""


def place_of(record: Mapping[str, Any]) -> str:
    """Return where a run's data are.

    Raises:
        DataError: they are no longer where they were, or are several data sets.
    """
    if record.get("kind") == PRETRAINING:
        raise DataError(f"the run was pre-trained and has no data of its own ({record['data']}): name data with --data")
    places = [record[name] for name in ("data_path", "data") if name in record]
    place: str = next((p for p in places if Path(p).exists()), record["data"])
    if "data_path" in record and not Path(place).exists():
        raise DataError(f"the run's data is no longer at {record['data_path']}: name it with --data")
    return place


def manner_of(record: Mapping[str, Any], data: str | None, reading: Mapping[str, Any]) -> Manner:
    """Return how a single table of a run's data is read: by the YAML description in ``data``, else by that of the run.

    Where the run's own description is gone, a note says so and columns are expected to have our names.
    """
    from bertrec.data.one_table import Manner
    from bertrec.data.options import LoadOptions

    options = LoadOptions.from_dict({**record.get("load", {}), **reading})
    if data is not None:
        return Manner.of(data, options)
    try:
        return Manner.of(place_of(record), options)
    except DataError as error:
        note(f"note: {error}; columns are read by bertrec's own names")
        return Manner.of(None, options)


def load_data(record: Mapping[str, Any], *, known: ItemCatalog | None = None, always: bool = False, newer: bool = False) -> Dataset:
    """Load a run's data again, with the options that it was trained with and without those whom it was told to forget.

    Args:
        record: of the run.
        known: see `bertrec.data.load.load`.
        always: see there.
        newer: see there.

    Raises:
        DataError: it is no longer where it was.
    """
    from bertrec.data.forgotten import Forgotten
    from bertrec.data.load import load
    from bertrec.data.options import LoadOptions

    place = place_of(record)
    dataset = load(place, LoadOptions.from_dict(record.get("load", {})), known=known, always=always, newer=newer)
    dataset = Forgotten.from_dict(record.get("forgotten"), "run.json").leave_out(dataset)
    if not always and "data_hash" in record and dataset.content_hash != record["data_hash"]:
        note(f"note: {place} has changed since the run was trained on it")
    return dataset


def served_data(
    run: Run, record: Mapping[str, Any], model: Recommender, data: str | None, given: Mapping[str, Any] | None = None
) -> Dataset:
    """Load the histories that are served: over the model's items where the data have the same, and whatever they are in an updated run.

    The run's own data are followed by the later interactions; ``data`` in their place stand for themselves.

    Raises:
        DataError: the data are missing or cannot be read.
    """
    from bertrec.runs.states import has_products_of_its_own

    if data is not None:
        return data_for(record, data, given, known=model.catalog)
    newer = not has_products_of_its_own(record)
    dataset = load_data(record, known=model.catalog, always=bool(record.get("updates")), newer=newer)
    grown = with_later(run, dataset)
    return dataset if grown is dataset else once_each(grown, record)


def with_later(run: Run, dataset: Dataset, first: int | None = None) -> Dataset:
    """Return a data set with the later interactions of a run, or the first so many of them; a given split is then none any more."""
    import numpy as np

    from bertrec.data.growing import grown

    later = run.later()
    if later is None or first == 0:
        return dataset
    rows = later if first is None else later.take(np.arange(min(first, len(later))))
    return replace(dataset, interactions=grown(dataset.interactions, rows), given=None)


def once_each(dataset: Dataset, record: Mapping[str, Any]) -> Dataset:
    """Return a data set that has grown without the repeats that its run does not want."""
    from bertrec.data.filters import drop_duplicates

    wanted = manner_of(record, None, {}).options.duplicates
    return replace(dataset, interactions=drop_duplicates(dataset.interactions, wanted))


def data_for(
    record: Mapping[str, Any], data: str | None, given: Mapping[str, Any] | None = None, *, known: ItemCatalog | None = None
) -> Dataset:
    """Load the run's own data, or ``data`` in their place, read as the run's were; reading options in ``given`` win over the run's.

    Where the run's options do not fit ``data``, a note says why and ``data`` is read without them.

    Args:
        record: of the run.
        data: other data.
        given: reading options.
        known: see `bertrec.data.load.load`.

    Raises:
        DataError: the data are missing, or cannot be read with ``given`` alone either.
    """
    return data_and_source(record, data, given, known=known)[0]


def data_and_source(
    record: Mapping[str, Any], data: str | None, given: Mapping[str, Any] | None = None, *, known: ItemCatalog | None = None
) -> tuple[Dataset, Mapping[str, Any]]:
    """Return what ``data_for`` does, and where it was and the options that it was read with, in the form of a run's record."""
    if data is None:
        return load_data(record, known=known), record
    given = dict(given or {})
    kept = {name: value for name, value in record.get("load", {}).items() if name not in given}
    forgotten = {"forgotten": record["forgotten"]} if "forgotten" in record else {}
    source = {"data": data, "load": kept | given, **forgotten}
    try:
        return load_data(source, known=known), source
    except DataError as error:
        if not kept:
            raise
        source = {"data": data, "load": given, **forgotten}
        dataset = load_data(source, known=known)
        note(f"note: {data} is read without the run's {', '.join(f'{name}={value}' for name, value in kept.items())}: {error}")
        return dataset, source


def fit_catalog(model: Recommender, dataset: Dataset, vectors: Path | None = None) -> Recommender:
    """Return the model over the data's items: itself where they are the ones it was trained with, else the same weights over them.

    Attributes are the data's: prices and stock change more often than a model is trained.

    Args:
        model: of a run.
        dataset: the data.
        vectors: a file that holds vectors of items that the model does not know, for one that was trained on such a file.
    """
    if vectors is not None:
        model.add_vectors(vectors)
    catalog = dataset.interactions.catalog
    if catalog.content_hash != model.catalog.content_hash:
        return model.with_catalog(catalog)
    model.catalog = replace(model.catalog, attributes=catalog.attributes)
    return model
