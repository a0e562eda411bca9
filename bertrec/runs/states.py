"""A run and its indexes: checked to belong together, and brought from one state to the next in one step."""

from __future__ import annotations

import datetime
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import IndexFileError
from bertrec.core.files import sha256_file, write_json
from bertrec.core.partial import real_place
from bertrec.core.resuming import in_turn
from bertrec.core.together import changing
from bertrec.runs.folder import LATER_HASH, Run, states
from bertrec.runs.indexes import check_there

if TYPE_CHECKING:
    from bertrec.core.together import Change
    from bertrec.data.growing import Rows
    from bertrec.models.base import Recommender

INTERACTIONS = "interactions"
"""The kind of an update that leaves the products as they are."""
MOST_STEPS = 1_000
"""Updates that ``run.json`` keeps, the last ones: a service to which prices are put each minute would write it on for ever."""


@contextmanager
def next_state(run: Run) -> Iterator[Change]:
    """Hold a run, yield what takes its next state, and put all of that into place where the block ends without an error."""
    run.record()
    with changing(run.folder) as change:
        yield change


def belonging(run: Run, indexes: Sequence[Path] | None, model: Recommender, record: Mapping[str, Any]) -> list[Path]:
    """Return the indexes, each once, that were built from a run as it is or as it was.

    Raises:
        IndexFileError: one is absent or damaged, or of another run.
    """
    from bertrec.retrieval.storage import META, read_meta

    hashes = {model.model_hash, *states(record)}
    places = {real_place(path): path for path in indexes or []}
    for place, path in places.items():
        check_there(path)
        if read_meta(place / META).model_hash not in hashes:
            mend = f"name one built from it, or build one with  bertrec index build {run.folder} --out INDEX"
            raise IndexFileError(f"{path} does not belong to {run.folder}, neither as it is nor as it was: {mend}")
    return list(places.values())


def write_state(
    change: Change,
    run: Run,
    record: Mapping[str, Any],
    *,
    kind: str,
    before: Recommender,
    after: Recommender,
    counts: Mapping[str, Any],
    indexes: Sequence[Path] = (),
    later: Rows | None = None,
) -> list[dict[str, int]]:
    """Write the next state of a run: its model, its indexes, its later interactions, and how it came about.

    Returns:
        What changed in each index.
    """
    from bertrec.models.moving import bring
    from bertrec.retrieval.index import ItemIndex

    said = []
    with ExitStack() as held:
        for path in indexes:
            held.enter_context(in_turn(real_place(path), str(path)))  # until the new one is whole; it takes its place after that
        for path in indexes:
            index = ItemIndex.load(path)
            said.append(bring(index, after))
            index.save(change.place_for(path))
        record = _recorded(record, kind, before, after, counts)
        if after is not before:
            after.save_pretrained(change.place_for(run.model), record=record)
        if later is not None:
            later.save(place := change.place_for(run.later_file))
            record = {**record, LATER_HASH: sha256_file(place)}
        write_json(change.place_for(run.record_file), record)
        change.commit()
    return said


def has_products_of_its_own(record: Mapping[str, Any]) -> bool:
    """Say whether an update brought products to a run, whose prices and stock are then newer than those of its data."""
    steps = record.get("updates", [])
    return len(steps) >= MOST_STEPS or any(step["kind"] != INTERACTIONS for step in steps)


def _recorded(record: Mapping[str, Any], kind: str, before: Recommender, after: Recommender, counts: Mapping[str, Any]) -> dict[str, Any]:
    step = {
        "kind": kind,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": "bertrec " + shlex.join(sys.argv[1:]),
        "from": before.model_hash,
        "to": after.model_hash,
        "counts": dict(counts),
    }
    return {**record, "model_hash": after.model_hash, "updates": [*record.get("updates", []), step][-MOST_STEPS:]}
