"""``bertrec cluster``: lists and vectors of a run by Spark, a part of the input at a time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli import rules as r
from bertrec.cli.output import note, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import ConfigError
from bertrec.core.plugins import vouched
from bertrec.runs.lists import ON_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bertrec.cluster.job import Job
    from bertrec.cluster.run import Outcome
    from bertrec.cluster.source import SourcePart

app = typer.Typer(
    help="Lists and vectors of a run by Spark (extra spark): one part of the input a task.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec cluster recommend runs/shop --users users/ --out lists/ --master 'local[4]'

bertrec cluster recommend runs/shop --users users/ --out lists/ --index runs/shop.index -k 20 --filter in_stock

bertrec cluster encode runs/shop --items items/ --out vectors/ --master yarn --conf spark.executor.instances=20

A run that was cut short goes on when the same command is given again: parts that are done stay. See docs/scaling.md.
""",
)
Master = Annotated[str | None, typer.Option(metavar="URL", help="Spark's master, such as local[2] or yarn (default: as Spark is set up).")]
Conf = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A setting of Spark; repeatable.")]
Out = Annotated[
    Path, typer.Option(metavar="DST", help="The folder for the parts of the output; also an address such as s3://bucket/lists.")
]


@app.command(epilog="Example: bertrec cluster recommend runs/shop --users users/ --out lists/ --master 'local[4]'")
@reads_data()
def recommend(
    run: o.RunArgument,
    users: Annotated[
        Path, typer.Option(metavar="SRC", help="Parquet of user_id and, where known, history: a file, a folder of parts, a pattern.")
    ],
    out: Out,
    reading: Reading,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Search this index instead of scoring every item.")] = None,
    mmap: o.Mmap = False,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items for each.")] = 10,
    keep_seen: o.KeepSeen = None,
    on_unknown: Annotated[str | None, typer.Option(help=f"Users of whom nothing is known: {', '.join(ON_UNKNOWN)}.")] = None,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    filter: r.Filter = None,
    exclude: r.Exclude = None,
    only: r.Only = None,
    at_most: r.AtMost = None,
    boost: r.Boost = None,
    diversity: r.Diversity = 0.0,
    master: Master = None,
    conf: Conf = None,
) -> None:
    """Write the lists of the users of SRC into DST, a part for each part."""
    from bertrec.cluster.recommend import plan_recommend
    from bertrec.cluster.session import check_spark

    check_spark()
    o.check_mmap(mmap, index)
    ruled = partial(r.read_rules, filter=filter, exclude=exclude, only=only, at_most=at_most, boost=boost, diversity=diversity)
    how: dict[str, Any] = {"index": index, "mmap": mmap, "k": k, "keep_seen": keep_seen, "on_unknown": on_unknown, "rules": ruled}
    job, parts = plan_recommend(run, users, out, data=data, reading=reading, classes=vouched(), **how)
    outcome = _run(job, parts, master, conf)
    counts = outcome.counts
    _note_count(counts.get("lost", 0), "ids in the histories are no items (left out)")
    served = "left out" if on_unknown == "skip" else "served by popularity"
    _note_count(counts.get("unknown", 0), f"of {counts.get('rows', 0)} users have nothing to go by: {served}")
    _note_count(counts.get("short", 0), f"parts have lists of fewer than {k} items")
    say(f"wrote {counts.get('lists', 0)} lists in {outcome.parts} parts to {out}{_skipped(outcome)}")


@app.command(epilog="Example: bertrec cluster encode runs/shop --items items/ --out vectors/ --master 'local[4]'")
@reads_data()
def encode(
    run: o.RunArgument,
    items: Annotated[
        Path, typer.Option(metavar="SRC", help="Parquet of item_id and the text columns of the run: a file, a folder of parts, a pattern.")
    ],
    out: Out,
    reading: Reading,
    trusted: o.Classes = None,
    data: o.OtherData = None,
    master: Master = None,
    conf: Conf = None,
) -> None:
    """Write the vectors of the items of SRC into DST, a part for each part; the run need not know the items."""
    from bertrec.cluster.encode import plan_encode
    from bertrec.cluster.session import check_spark

    check_spark()
    job, parts = plan_encode(run, items, out, data=data, reading=reading, classes=vouched())
    outcome = _run(job, parts, master, conf)
    left = outcome.counts.get("rows", 0) - outcome.counts.get("vectors", 0)
    _note_count(left, "rows give no vector: the model knows nothing of such an item, or it stands there twice")
    say(f"wrote {outcome.counts.get('vectors', 0)} vectors in {outcome.parts} parts to {out}{_skipped(outcome)}")


def _run(job: Job, parts: Sequence[SourcePart], master: str | None, conf: list[str] | None) -> Outcome:
    from bertrec.cluster.run import run_job
    from bertrec.cluster.session import open_session

    settings = dict(_setting(text) for text in conf or [])
    return run_job(job, parts, lambda: open_session(f"bertrec {job.kind}", master, settings), note)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--conf {text}: write it as NAME=VALUE, such as --conf spark.executor.memory=8g")
    return name.strip(), value


def _note_count(count: int, what: str) -> None:
    if count:
        note(f"note: {count} {what}")


def _skipped(outcome: Outcome) -> str:
    return f" ({outcome.skipped} of them were there already)" if outcome.skipped else ""
