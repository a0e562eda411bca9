"""What a task does on an executor: the model is loaded once a process, and a part is written whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bertrec.cluster.job import Job, Maker
from bertrec.cluster.output import Counts, PartNotWrittenError
from bertrec.cluster.source import SourcePart
from bertrec.cluster.versions import check_versions
from bertrec.core.errors import BertrecError, ModelError
from bertrec.core.plugins import vouch, vouching

if TYPE_CHECKING:
    from pyspark import Accumulator

_HELD: dict[str, Maker] = {}  # of this process, which does many tasks


@dataclass(frozen=True)
class Work:
    """Makes a part; it is sent to executors.

    Attributes:
        job: what is to be done.
        parts: counts parts that are done.
        rows: counts their rows.
    """

    job: Job
    parts: Accumulator[int]
    rows: Accumulator[int]

    def __call__(self, part: SourcePart) -> tuple[str, Counts | str]:
        """Make a part and return its name, and what was counted or, in words, why there is no such part.

        Raises:
            PartNotWrittenError: Spark then tries it elsewhere, if it was told to; all other faults would come again.
        """
        _take_cores()
        try:
            counts = make_part(self.job, part, held_maker(self.job))
        except PartNotWrittenError:
            raise
        except BertrecError as error:
            return part.name, str(error)
        self.parts.add(1)
        self.rows.add(counts["rows"])
        return part.name, counts


def held_maker(job: Job) -> Maker:
    """Return what makes a job's parts: that of the task before, or a new one in its place.

    Raises:
        BertrecError: this machine has other versions, or finds another model than the driver.
    """
    from bertrec.encoders.cache import keeping_nothing

    check_versions(job.versions)
    key = f"{job.key} {job.run}"
    if key not in _HELD:
        _HELD.clear()
        with vouching(), keeping_nothing():
            vouch(job.classes)
            maker = job.maker()
        if maker.model_hash != job.model_hash:
            raise ModelError(f"{job.run} holds another model here than where the job was started: give all machines the same folder")
        _HELD[key] = maker
    return _HELD[key]


def make_part(job: Job, part: SourcePart, maker: Maker) -> Counts:
    """Write the output of one part; return what was counted.

    Raises:
        BertrecError: the part cannot be read, or the output cannot be written.
    """
    from bertrec.encoders.cache import keeping_nothing

    how = {"job": job.key, "source": part.state, "model_hash": job.model_hash}
    with vouching(), keeping_nothing(), job.output.part(part.name, maker.schema, **how) as (writer, counts):
        vouch(job.classes)
        counts["rows"] = part.rows
        for table in maker.tables(part, counts):
            writer.write_table(table)
    return counts


def _take_cores() -> None:
    """Compute on as many cores as the task was given: executors run several tasks side by side."""
    import torch
    from pyspark import TaskContext

    context: Any = TaskContext.get()
    if context is not None and torch.get_num_threads() != context.cpus():
        torch.set_num_threads(context.cpus())
