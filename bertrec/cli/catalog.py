"""``bertrec catalog``: bring a run and its indexes to today's products."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.options import Indexes
from bertrec.cli.output import note_each, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError, DataError
from bertrec.runs.data import manner_of
from bertrec.runs.folder import Run
from bertrec.runs.products import bring_products, product_changes
from bertrec.runs.states import belonging, next_state

if TYPE_CHECKING:
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.changes import CatalogChanges
    from bertrec.models.base import Recommender

app = typer.Typer(
    help="Bring a run and its indexes to today's products.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec catalog update runs/shop --items products.csv --index runs/shop.index --dry-run

bertrec catalog update runs/shop --items products.csv --index runs/shop.index

bertrec catalog update runs/shop --items new-today.csv --delta --index runs/shop.index

bertrec catalog update runs/shop --data shop.yaml --index runs/shop.index
""",
)
MOST_VANISHED = 0.2
_SHOWN = 60  # letters of a title


@dataclass(frozen=True)
class Asked:
    """What an update is to do: see the options of `update`."""

    items: Path | None
    data: str | None
    reading: Reading
    delta: bool
    drop: bool
    most_vanished: float

    def products(self, record: Mapping[str, Any], like: ItemCatalog) -> ItemCatalog:
        """Read today's products.

        Raises:
            DataError: they cannot be read, or do not have the text fields of the run.
        """
        from bertrec.data.one_table import read_items

        if self.items is None:
            return self._of_data(record, like)
        return read_items(self.items, manner_of(record, self.data, self.reading), like=like)

    def _of_data(self, record: Mapping[str, Any], like: ItemCatalog) -> ItemCatalog:
        from bertrec.data.load import load
        from bertrec.data.options import LoadOptions

        assert self.data is not None
        fields = {"text_fields": list(like.fields)} if like.fields else {}
        kept = {**record.get("load", {}), **fields, **self.reading, "k_core": 0}
        return load(self.data, LoadOptions.from_dict(kept)).catalog


@app.command(epilog="Example: bertrec catalog update runs/shop --items products.csv --index runs/shop.index")
@reads_data(without=("text_fields", "template", "k_core", "item_texts", "user_texts"))
def update(
    run: o.RunArgument,
    reading: Reading,
    items: Annotated[
        Path | None, typer.Option(metavar="TABLE", help="All products there are now, with the columns that the run's item table had.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="A YAML that names the columns of --items; without --items, the products are its own."),
    ] = None,
    index: Indexes = None,
    delta: Annotated[bool, typer.Option("--delta", help="The table holds new and changed products alone: none vanishes.")] = False,
    drop_vanished: Annotated[
        bool,
        typer.Option(
            "--drop-vanished", help="Forget vanished products; otherwise they stay readable in histories and are not recommended."
        ),
    ] = False,
    max_vanished: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help=f"Refuse a table that lacks more than this share: it may be half written (default {MOST_VANISHED}).",
        ),
    ] = None,
    vectors: o.Vectors = None,
    trusted: o.Classes = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would change, and change nothing.")] = False,
) -> None:
    """Bring RUN and its indexes to the products of a table: new, changed and vanished ones are found by their content.

    Only texts that the run does not know are encoded. Run and indexes change in one step: killed at any moment, all are old or all are new.
    """
    from bertrec.models.item_vectors import ReadsItems

    if items is None and data is None and not index:
        raise BertrecError("give the products with --items TABLE or --data DATA")
    if max_vanished is not None and (delta or (items is None and data is None)):
        raise BertrecError("--max-vanished goes with a table of all products: of changes alone (--delta), and of none, nothing vanishes")
    place, most = Run(run), MOST_VANISHED if max_vanished is None else max_vanished
    asked = Asked(items, data, reading, delta, drop_vanished, most)
    if dry_run:
        record, model = place.record(), _with_vectors(place, vectors)
        belonging(place, index, model, record)
        found = compared(asked, record, model)
        if isinstance(model, ReadsItems) and model.takes_vectors:
            model.vectors_for(found.catalog)
        print_changes(found, "would change")
        return
    with next_state(place) as change:
        record, model = place.record(), _with_vectors(place, vectors)
        indexes = belonging(place, index, model, record)
        found = compared(asked, record, model)
        brought = bring_products(change, place, record, model, found, indexes, anew=vectors is not None)
        if brought is None:
            say("nothing to change")
            return
    print_changes(found, "changed")
    for path, counts in brought.indexes.items():
        say(f"{path}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


def _with_vectors(run: Run, vectors: Path | None) -> Recommender:
    model = run.load_model()
    if vectors is not None:
        model.add_vectors(vectors)
    return model


def compared(asked: Asked, record: Mapping[str, Any], model: Recommender) -> CatalogChanges:
    """Return what the products change in the catalogue of a run's model.

    Raises:
        DataError: more of it vanished than may.
    """
    import numpy as np

    from bertrec.data.column_changes import column_changes

    catalog = model.catalog
    if asked.items is None and asked.data is None:
        return product_changes(model, catalog.take(np.flatnonzero(catalog.listed[1:])), delta=True, drop=asked.drop)
    products = asked.products(record, catalog)
    note_each(products.notes)
    found = product_changes(model, products, delta=asked.delta, drop=asked.drop)
    note_each([f"{asked.items or asked.data}: {line}" for line in column_changes(catalog, found.catalog)])
    listed = int(catalog.listed.sum())
    if len(found.vanished) > asked.most_vanished * listed:
        share = f"{len(found.vanished)} of {listed} products ({len(found.vanished) / listed:.0%})"
        mend = f"--delta where it holds changes alone, --max-vanished {len(found.vanished) / listed + 0.005:.2f} where they are gone"
        if len(found.vanished) == listed and found.new:
            raise DataError(
                f"{asked.items or asked.data}: none of its ids is one of the run's: it has {found.new[0]!r}, and the run "
                f"{found.vanished[0]!r}: write them alike, or say --max-vanished 1 where all products were replaced"
            )
        raise DataError(
            f"{asked.items or asked.data} lacks {share}, more than --max-vanished {asked.most_vanished:g} allows: "
            f"it may be half written; {mend}"
        )
    return found


def print_changes(found: CatalogChanges, verb: str) -> None:
    """Say how many products are new, changed and so on, with examples of each."""
    titles = [textwrap.shorten(title, _SHOWN, placeholder="…") for title in found.catalog.titles]
    for name in ("new", "changed", "returned", "vanished", "described"):
        ids = getattr(found, name)
        rows = found.catalog.ids.encode(ids[:3]).tolist()
        shown = "; ".join(titles[row - 1] if row else str(one) for one, row in zip(ids[:3], rows, strict=True))
        label = "only attributes changed" if name == "described" else name
        say(f"{label}: {len(ids)}" + (f" ({shown}{'; …' if len(ids) > 3 else ''})" if ids else ""))
    say(f"unchanged: {found.unchanged}; texts to encode: {found.to_encode}" if verb == "would change" else f"unchanged: {found.unchanged}")
