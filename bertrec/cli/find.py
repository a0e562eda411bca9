"""``bertrec similar`` and ``bertrec search``: items like an item, and items that words ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, print_table, say_document
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError, DataError
from bertrec.core.known_ids import known_id
from bertrec.core.shown import json_text
from bertrec.data.titles import Titles
from bertrec.runs.data import fit_catalog, served_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.models.base import Recommender
    from bertrec.models.found import Found
    from bertrec.models.text_search import TextSearch

SIMILAR_EXAMPLES = """
Examples:

bertrec similar runs/ml --title "Toy Story"

bertrec similar runs/shop --item B00004W4UP --by text -k 5
"""
SEARCH_EXAMPLES = """
Examples:

bertrec search runs/shop "waterproof hiking boots"

bertrec search runs/shop "drill bits" --user 42 -k 5

bertrec search runs/shop "something to drill into brick" --queries runs/queries
"""
FORMATS = ("table", "json")
BY = ("auto", "text", "behaviour", "both")
K = Annotated[int, typer.Option("-k", min=1, help="How many items.")]
Form = Annotated[str, typer.Option("--format", help=", ".join(FORMATS) + ".")]


def similar(
    run: o.RunArgument,
    item: Annotated[str | None, typer.Option(metavar="ID", help="The item.")] = None,
    title: Annotated[str | None, typer.Option(metavar="T", help="Or its title.")] = None,
    by: Annotated[
        str,
        typer.Option(
            help="text, behaviour (what the same users took), both, joined by their ranks, or auto: whatever is known of the item."
        ),
    ] = "auto",
    k: K = 10,
    form: Form = "table",
    trusted: o.Classes = None,
) -> None:
    """Print the items of RUN that are most like one."""
    o.choice("format", form, FORMATS)
    o.choice("likeness", by, BY)
    if (item is None) == (title is None):
        raise BertrecError("name the item with --item ID or --title T")
    model = Run(run).load_model()
    ids = model.catalog.ids.ids
    if title is not None:
        asked = ids[Titles.of(model.catalog).find(title)]
    else:
        asked = known_id(str(item), set(ids), option="--item", mend=f'bertrec search {run} "WORDS" finds ids')
    found = model.similar(asked, k, by=by)  # type: ignore[arg-type]  # checked above
    name = model.catalog.titles[int(model.catalog.ids.encode([asked])[0]) - 1]
    show(model, found, f"like {asked}: {name}, by {' and '.join(found.ranks)}", form, k, {"item": asked})


@reads_data()
def search(
    run: o.RunArgument,
    query: Annotated[str, typer.Argument(metavar="WORDS", help="What is looked for, in quotation marks.")],
    reading: Reading,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Whose taste counts too.")] = None,
    data: o.OtherData = None,
    queries: o.Queries = None,
    index: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Search the tower's items by an index of bertrec queries index.")
    ] = None,
    mmap: o.Mmap = False,
    fusion: o.Fusion = "rrf",
    k: K = 10,
    form: Form = "table",
    trusted: o.Classes = None,
) -> None:
    """Print the items of RUN that words ask for: by meaning (the run's encoder) and by words (BM25), joined by their ranks."""
    o.choice("format", form, FORMATS)
    o.check_fusion(fusion, queries)
    if queries is None and index is not None:
        raise BertrecError("--index goes with a tower: name one with --queries QRUN")
    o.check_mmap(mmap, index)
    place = Run(run)
    record, model = place.record(), place.load_model()
    history = None
    if user is not None or data is not None:
        dataset = served_data(place, record, model, data, reading)
        model = fit_catalog(model, dataset)
        history = None if user is None else _history(dataset.interactions, user)
    searcher = model.searcher() if queries is None else _with_tower(model, query, queries, index, fusion, mmap=mmap)
    found = searcher.search(query, k, history=history)
    show(model, found, f"'{query}'" + (f" for user {user}" if user else ""), form, k, {"query": query})


def _with_tower(model: Recommender, query: str, folder: Path, index: Path | None, fusion: str, *, mmap: bool) -> TextSearch:
    """Return a search of the model's items by a tower, after a note where its encoder reads little of the query."""
    from bertrec.models.queries.tower import QueryTower
    from bertrec.retrieval.index import ItemIndex

    tower = QueryTower.from_pretrained(folder).over(model.catalog)
    searcher = tower.searcher(model, learned=fusion == "learned")
    if index is not None:
        tower.serve_by(ItemIndex.load(index, mmap=mmap))
    if query.strip() and (line := tower.note_on(query)):
        note(line)
    return searcher


def _history(interactions: Any, user: str) -> list[str | int]:
    known = known_id(user, set(interactions.users.ids), option="--user", mend="leave it out to search without anyone's taste")
    inner = interactions.users.encode([known])[0]
    ids: list[str | int] = interactions.catalog.ids.decode(interactions.sequences[int(inner) - 1])
    if not ids:
        raise DataError(f"user {user} has no interactions: leave out --user")
    return ids


def show(model: Recommender, found: Found, title: str, form: str, k: int, asked: dict[str, Any]) -> None:
    """Print what was found, with the rank in each list that was joined."""
    if len(found.items) < k:
        note(f"note: only {len(found.items)} items were found where {k} were asked for")
    titles = [model.catalog.titles[row - 1] for row in model.catalog.ids.encode(found.items)]
    if form == "json":
        rows = [
            {
                "rank": rank,
                "id": one,
                "title": name,
                "score": score,
                "ranks": {by: ranks[rank - 1] or None for by, ranks in found.ranks.items()},
            }
            for rank, (one, name, score) in enumerate(zip(found.items, titles, found.scores, strict=True), start=1)
        ]
        say_document(json_text({**asked, "items": rows}))
        return
    parts = list(found.ranks) if len(found.ranks) > 1 else []
    lines = [
        [rank, one, name, f"{score:.4f}", *(found.ranks[part][rank - 1] or "-" for part in parts)]
        for rank, (one, name, score) in enumerate(zip(found.items, titles, found.scores, strict=True), start=1)
    ]
    print_table(title, ["rank", "id", "title", "score", *(f"by {part}" for part in parts)], lines, right=["rank", "score"])
