"""Vectors of the items of Parquet parts, as the run's model gives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from bertrec.cluster.job import Job, Maker
from bertrec.cluster.output import Counts
from bertrec.cluster.run import Outcome, Say, run_job
from bertrec.cluster.source import SourcePart, data_everywhere, same_everywhere, source_parts
from bertrec.core.checks import expect_path
from bertrec.core.errors import DataError
from bertrec.runs.data import manner_of
from bertrec.runs.folder import Run
from bertrec.runs.lists import all_whole
from bertrec.runs.vectors import encode_part, vector_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from bertrec.data.one_table import Manner
    from bertrec.models.base import Recommender

_AT_ONCE = 1 << 14  # items


@dataclass(frozen=True)
class EncodeJob(Job):
    """Vectors of items; see `encode_parts`.

    Attributes:
        data: what says how the items' columns are called.
        reading: how they are read.
        whole_items: whether ids are whole numbers.
    """

    data: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    whole_items: bool = False

    kind = "encode"
    unit = "items"

    def maker(self) -> VectorsOfParts:
        """Load the model."""
        run = Run(self.run)
        return VectorsOfParts(self, run.load_model(), manner_of(run.record(), self.data, self.reading))


class VectorsOfParts(Maker):
    """Encodes the items of a part."""

    def __init__(self, job: EncodeJob, model: Recommender, manner: Manner) -> None:
        self.model, self.manner, self.model_hash = model, manner, model.model_hash
        self.schema = vector_schema(model.item_embeddings().shape[1], whole=job.whole_items)

    def tables(self, part: SourcePart, counts: Counts) -> Iterator[pa.Table]:
        """Yield ids and vectors."""
        file = part.opened()
        counts["vectors"] = 0
        for batch in file.batches(file.schema.names, rows=_AT_ONCE):
            table = self._cast(encode_part(self.model, pa.table(batch), self.manner, what=file.name), file.name)
            counts["vectors"] += len(table)
            yield table

    def _cast(self, table: pa.Table, what: str) -> pa.Table:
        try:
            return table.cast(self.schema)
        except pa.ArrowInvalid as error:
            raise DataError(f"{what}: the ids of the run's items are whole numbers, and {str(error).splitlines()[0]}") from error


def plan_encode(
    run: str | Path,
    items: str | Path,
    out: str | Path,
    *,
    data: str | None = None,
    reading: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
) -> tuple[EncodeJob, list[SourcePart]]:
    """Look at everything that a job needs, before Spark is started; see `encode_parts`."""
    source, data = same_everywhere(items, "items"), data_everywhere(data)
    place = Run(expect_path(run, "run").absolute())
    record, model = place.record(), place.load_model()
    manner = manner_of(record, data, reading or {})
    item_id = manner.columns.get("item_id", "item_id")
    fields = [manner.columns.get(name, name) for name in model.catalog.fields]
    files, parts = source_parts(source, {item_id, *fields}, "--items")
    lacks = [name for name in (item_id, *fields) if name not in files[0].schema.names]
    if lacks:
        mend = "rename its columns, or name a YAML description whose  columns:  says what they are (--data)"
        raise DataError(f"{files[0].name}: no column {', '.join(map(repr, lacks))}: {mend}")
    whole = all_whole(model.catalog.ids.ids)
    for first in files[0].batches(files[0].schema.names, rows=1):  # a model that reads no text says so here
        encode_part(model, pa.table(first), manner, what=files[0].name)
        break
    where = place.folder, str(source), str(same_everywhere(out, "out"))
    settings = {"whole_items": whole, "columns": dict(manner.columns), "reading": manner.options.to_dict()}
    job = EncodeJob(*where, model.model_hash, settings, tuple(classes), data=data, reading=dict(reading or {}), whole_items=whole)
    return job, parts


def encode_parts(
    spark: SparkSession, run: str | Path, items: str | Path, out: str | Path, *, say: Say | None = None, **options: Any
) -> Outcome:
    """Encode the items of Parquet parts, a task a part, and write one part of ids and vectors for each under the same name.

    Args:
        spark: a session of any master, not of Spark Connect.
        run: the run folder; every executor must find it under this path, as items and output.
        items: a Parquet file, a folder of parts or a pattern: ``item_id`` and the text columns that the run was trained with.
        out: the folder of the output; parts that are there already are left as they are.
        say: gets lines on how far it is.
        **options: ``data`` (a description that names columns), ``reading`` (reading options by name) and ``classes``.

    Raises:
        BertrecError: the input, run or output cannot be used, or a part failed; the same call then goes on with what is missing.
    """
    job, parts = plan_encode(run, items, out, **options)
    return run_job(job, parts, lambda: spark, say)
