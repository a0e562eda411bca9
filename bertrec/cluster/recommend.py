"""Lists for the users of Parquet parts, the same as ``bertrec recommend`` writes for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cluster.job import Job, Maker
from bertrec.cluster.output import Counts
from bertrec.cluster.run import Outcome, Say, run_job
from bertrec.cluster.source import SourcePart, data_everywhere, same_everywhere, source_parts
from bertrec.core.checks import expect, expect_path, expect_whole
from bertrec.core.errors import ConfigError, DataError, unknown_name
from bertrec.core.files import sha256_file
from bertrec.data.places import Place
from bertrec.data.wanted_users import HISTORY, USER, wanted_blocks, wanted_parts
from bertrec.retrieval.rules import RuleBook, Rules
from bertrec.retrieval.storage import META
from bertrec.runs.folder import Run, keeps_seen
from bertrec.runs.lists import ON_UNKNOWN, Known, ListMaker, ListTables, Tally, answering, recommend_part, whole_items
from bertrec.runs.served import Opened, open_served

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from bertrec.data.readers.parts import Part


@dataclass(frozen=True)
class RecommendJob(Job):
    """Lists for users; see `recommend_parts`.

    Attributes:
        mmap: whether worker processes leave the index in its files; see `bertrec.ItemIndex.load`.
        whole_users: whether the input's ids of users are whole numbers.
        histories: whether the data are asked for histories.
    """

    index: Path | None = None
    mmap: bool = False
    k: int = 10
    keep_seen: bool = False
    on_unknown: str | None = None
    rules: Rules | None = None
    data: str | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    whole_users: bool = False
    histories: bool = False

    kind = "recommend"
    unit = "users"

    def opened(self) -> Opened:
        """Load run, index and data."""
        how: dict[str, Any] = {"data": self.data, "reading": self.reading, "histories": self.histories}
        return open_served(Run(self.run), index=self.index, mmap=self.mmap, **how)

    def maker(self) -> ListsOfParts:
        """Load what makes the lists."""
        return ListsOfParts(self, self.opened())

    def problem(self, total: Counts) -> str | None:
        """Say where nothing is known of anybody, and that was not expected."""
        if not total.get("rows") or total.get("unknown") != total["rows"] or self.on_unknown is not None:
            return None
        mend = "give histories of the run's items, or take the most popular ones with --on-unknown fallback"
        return f"{self.source}: nothing is known of any of the {total['rows']} users: {mend}"


class ListsOfParts(Maker):
    """Makes the lists of the users of a part."""

    def __init__(self, job: RecommendJob, opened: Opened) -> None:
        model = opened.model
        known = Known(model.catalog, None if opened.dataset is None else opened.dataset.interactions, times=model.reads_times)
        answer = answering(model, job.k, keep_seen=job.keep_seen, index=opened.index, rules=job.rules)
        self.job, self.model_hash = job, model.model_hash
        self.lists = ListMaker(known, answer, model.name, skips=job.on_unknown == "skip")
        self.written = ListTables(model.catalog, job.whole_users, whole_items(model, opened.index))
        self.schema = self.written.schema

    def tables(self, part: SourcePart, counts: Counts) -> Iterator[pa.Table]:
        """Yield one row per item."""
        tally = self.lists.tally = Tally()
        counts["lists"] = 0
        for asked in wanted_blocks(part.opened()):
            table = recommend_part(self.lists, asked, self.written)
            counts["lists"] += len(asked)
            self._check(tally)
            yield table
        counts |= {"unknown": tally.unknown, "lost": tally.lost, "short": int(tally.fewest is not None and tally.fewest < self.job.k)}
        if self.job.on_unknown == "skip":
            counts["lists"] -= tally.unknown

    def _check(self, tally: Tally) -> None:
        if self.job.on_unknown == "error":
            self.lists.known.report(tally, "error")


def plan_recommend(
    run: str | Path,
    users: str | Path,
    out: str | Path,
    *,
    index: str | Path | None = None,
    mmap: bool = False,
    k: int = 10,
    keep_seen: bool | None = None,
    on_unknown: str | None = None,
    rules: Any = None,
    data: str | None = None,
    reading: Mapping[str, Any] | None = None,
    classes: Sequence[str] = (),
) -> tuple[RecommendJob, list[SourcePart]]:
    """Look at everything that a job needs, before Spark is started; see `recommend_parts`.

    ``rules`` may also be a function that makes them of a catalogue.
    """
    k = expect_whole(k, "k", least=1, error=DataError)
    if on_unknown is not None and on_unknown not in ON_UNKNOWN:
        raise ConfigError(unknown_name("way with unknown users", on_unknown, ON_UNKNOWN))
    source, data = same_everywhere(users, "users"), data_everywhere(data)
    files, parts = _users_in(source)
    place = Run(_absolute(run, "run"))
    index = None if index is None else _absolute(index, "index")
    histories = _asks_data(files)
    opened = open_served(place, index=index, mmap=mmap, data=data, reading=reading, histories=histories)
    ruled: Rules | None = rules(opened.model.catalog) if callable(rules) else rules
    expect(ruled, Rules, "recommend_parts: rules", mend="bertrec.Rules(filter=…)", optional=True)
    if ruled is not None:
        RuleBook(opened.model.catalog).plan(ruled)  # which says what the items do not have
    seen = keeps_seen(opened.record, keep_seen)
    settings = {"k": k, "keep_seen": seen, "on_unknown": on_unknown, "rules": None if ruled is None else ruled.model_dump(mode="json")}
    settings |= {"index": _index_hash(index), "data": opened.dataset.content_hash if opened.dataset is not None else None}
    whole = _whole_users(files, opened)
    settings |= {"attributes": None if ruled is None else _attributes_hash(opened), "whole_users": whole}
    job = RecommendJob(
        place.folder, str(source), str(same_everywhere(out, "out")), opened.model.model_hash, settings, tuple(classes),
        index=index, mmap=mmap, k=k, keep_seen=seen, on_unknown=on_unknown, rules=ruled, data=data, reading=dict(reading or {}),
        whole_users=whole, histories=histories,
    )  # fmt: skip
    return job, parts


def recommend_parts(
    spark: SparkSession, run: str | Path, users: str | Path, out: str | Path, *, say: Say | None = None, **options: Any
) -> Outcome:
    """Make lists for the users of Parquet parts, a task a part, and write one part for each under the same name.

    The lists are those of ``bertrec recommend RUN --users-file PART --out PART.parquet``: the same function makes them of the same part.

    Args:
        spark: a session of any master, not of Spark Connect.
        run: the run folder; every executor must find it under this path, as index, data, users and output.
        users: a Parquet file, a folder of parts or a pattern: ``user_id``, and perhaps ``history``, item ids oldest first.
        out: the folder of the output; parts that are there already are left as they are.
        say: gets lines on how far it is.
        **options: ``index`` (a folder), ``mmap``, ``k``, ``keep_seen``, ``on_unknown``, ``rules`` (`bertrec.Rules`), ``data``, ``reading``
            (reading options by name) and ``classes``, as in ``bertrec recommend``.

    Raises:
        BertrecError: the input, run or output cannot be used, or a part failed; the same call then goes on with what is missing.
    """
    job, parts = plan_recommend(run, users, out, **options)
    return run_job(job, parts, lambda: spark, say)


def _users_in(source: Place) -> tuple[list[Part], list[SourcePart]]:
    files, parts = source_parts(source, {USER, HISTORY}, "--users")
    wanted_parts(source)
    return files, parts


def _asks_data(files: Sequence[Part]) -> bool:
    """Say whether a user has no history, as far as footers tell: there is no such column, or a list of it may be empty.

    Of texts footers do not tell it: ``[]`` and blanks are empty too.
    """
    import pyarrow as pa

    if HISTORY not in files[0].schema.names or not pa.types.is_nested(files[0].schema.field(HISTORY).type):
        return True
    return any(_may_be_empty(part) for part in files)


def _may_be_empty(part: Part) -> bool:
    for group in range(part.metadata.num_row_groups):
        found = part.metadata.row_group(group)
        for number in range(found.num_columns):
            column = found.column(number)
            if column.path_in_schema.partition(".")[0] == HISTORY:
                said = column.statistics
                if said is None or not said.has_null_count or said.null_count or (said.has_min_max and said.min in ("", b"")):
                    return True
    return False


def _whole_users(files: Sequence[Part], opened: Opened) -> bool:
    """Say whether ids of users are whole numbers: those of the input, and of the data, whose ids users get that are found there."""
    import pyarrow as pa

    kind = files[0].schema.field(USER).type
    whole = (pa.types.is_integer(kind) and kind != pa.uint64()) or pa.types.is_floating(kind)  # of uint64 some are no int64
    data = None if opened.dataset is None else opened.dataset.interactions.users.column
    return bool(whole and (data is None or (pa.types.is_integer(data.type) and data.type != pa.uint64())))


def _absolute(place: str | Path, what: str) -> Path:
    return expect_path(place, what).absolute()


def _index_hash(index: Path | None) -> str | None:
    return None if index is None else sha256_file(index / META)


def _attributes_hash(opened: Opened) -> str | None:
    """Return a hash of what rules look at: attributes may change while the model stays."""
    import hashlib

    import pyarrow as pa

    table = opened.model.catalog.attributes
    if table is None:
        return None
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table.combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()
