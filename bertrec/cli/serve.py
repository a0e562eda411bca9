"""``bertrec serve``: answer over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note_each, say
from bertrec.core.machine import usable_cores
from bertrec.runs.folder import Run

EXAMPLES = """
Examples:

bertrec serve runs/ml

bertrec serve runs/shop --index runs/shop.index --port 9000

bertrec serve runs/shop --queries runs/queries

BERTREC_API_KEY=$(openssl rand -hex 32) bertrec serve runs/shop --host 0.0.0.0
"""


def serve(
    run: o.RunArgument,
    index: Annotated[Path | None, typer.Option(metavar="INDEX", help="Search this index instead of scoring every item.")] = None,
    mmap: o.Mmap = False,
    queries: o.Queries = None,
    fusion: o.Fusion = "rrf",
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that others reach needs a key in the variable BERTREC_API_KEY.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    data: o.OtherData = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds to an answer.")] = 10.0,
    at_once: Annotated[int, typer.Option(min=1, help="Requests at once; more are answered 503.")] = 256,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that make lists (default: all cores but one, at most 4).")] = None,
    trusted: o.Classes = None,
) -> None:
    """Serve RUN over HTTP: recommend, similar, search, items, health, metrics; a new state of RUN, INDEX or QRUN is taken up by itself."""
    from bertrec.service.run import bound, check_installed, key_for, serve

    check_installed()
    o.check_mmap(mmap, index)
    o.check_fusion(fusion, queries)
    key = key_for(host)
    from bertrec.service.app import Service
    from bertrec.service.limits import Limits
    from bertrec.service.loaded import Source

    with bound(host, port) as sock:
        limits = Limits(seconds=timeout, at_once=at_once)
        threads = workers or min(4, max(1, usable_cores() - 1))
        source = Source(Run(run), index, data, mmap, queries, learned=fusion == "learned")
        service = Service(source, key=key, limits=limits, workers=threads)
        loaded = service.holder.current
        note_each(loaded.notes)
        where = f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"
        writes = "writes need the key" if key else "reads are open, writes are off (no BERTREC_API_KEY)"
        what = f"{run} ({loaded.model.name}, {int(loaded.listed.sum())} items)"
        serve(service, sock, ready=lambda: say(f"serving {what} at {where}; {writes}"))
