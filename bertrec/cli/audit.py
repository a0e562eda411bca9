"""``bertrec audit``: do recommendations change with the name, relation, religion, place or occupation in a request?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_table, say
from bertrec.cli.outputs import check_report
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError
from bertrec.runs.data import data_and_source, fit_catalog, load_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.core.ragged import IntArray
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.load import Dataset
    from bertrec.data.options import LoadOptions
    from bertrec.studies.audit.rank import Rank

EXAMPLES = """
Examples:

bertrec audit minilm ml-100k --domain movie --out reports/audit

bertrec audit runs/ml --attributes "religion,location" --json audit.json

bertrec audit runs/ml --lists my-lists.yaml --no-mask

A shift is a sign of association, not of harm; the report says what not to conclude.
"""
DOMAINS = {"movielens": "movie", "mind": "news article", "amazon": "product"}


def domain_word(dataset: Dataset, wanted: str | None) -> str:
    """Return the word for the kind of item: the one asked for, else by the data's format, else ``item``."""
    return wanted or ("movie" if dataset.name == "ml-100k" else DOMAINS.get(dataset.format, "item"))


@reads_data()
def audit(
    what: Annotated[str, typer.Argument(metavar="RUN_OR_ENCODER", help="A folder made by bertrec train, or the name of an encoder.")],
    reading: Reading,
    data: Annotated[str | None, typer.Argument(metavar="DATA", help="The catalogue; a run has its own.")] = None,
    trusted: o.Classes = None,
    lists: Annotated[Path | None, typer.Option(metavar="F.yaml", help="Your own groups of words.")] = None,
    templates: Annotated[Path | None, typer.Option(metavar="F.yaml", help="Your own request templates.")] = None,
    attributes: Annotated[str | None, typer.Option(help="Which attributes, comma-separated (default all of the lists).")] = None,
    label_field: Annotated[str | None, typer.Option(help="The item column of categories (default genres, categories, …).")] = None,
    label_separator: Annotated[str | None, typer.Option(help='What stands between categories: "|", "," or space.')] = None,
    price_field: Annotated[str | None, typer.Option(help="The item column of prices (default price, where there is one).")] = None,
    domain: Annotated[str | None, typer.Option(help="What an item is called in a request, such as movie.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Judge a request by its best K items.")] = 20,
    mask: Annotated[bool, typer.Option("--mask/--no-mask", help="Repeat the audit with the words of the lists masked.")] = True,
    permutations: Annotated[int, typer.Option(min=99, help="Deals of each permutation test.")] = 9999,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of tests and intervals.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write a page, Markdown and audit.json here.")] = None,
    json_out: o.Json = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Fill request templates with words of several groups and compare what is recommended."""
    from bertrec.data.item_labels import label_field as found_field
    from bertrec.data.item_labels import read_column, split_labels
    from bertrec.studies.audit.lists import read_lists
    from bertrec.studies.audit.run import AuditConfig
    from bertrec.studies.audit.run import audit as run_audit

    check_report(out, figures="audit.json", overwrite=overwrite)
    words = read_lists(lists, templates)
    if attributes is not None:
        words = words.only([name.strip() for name in attributes.split(",") if name.strip()])
    subject = _subject(what, data, reading)
    dataset = subject.dataset
    note_each(dataset.notes)
    field = found_field(dataset.catalog, label_field)
    column = read_column(dataset.catalog, field, subject.place, subject.options)
    labels = split_labels(field, column, label_separator, spaced=dataset.format == "atomic")
    prices = _prices(dataset.catalog, subject.place, subject.options, price_field)
    config = AuditConfig(domain=domain_word(dataset, domain), k=k, permutations=permutations, bootstrap=bootstrap, mask=mask, seed=seed)
    figures = run_audit(subject.rank(), labels, words, config, prices=prices, say=note)
    figures["protocol"] = {**subject.about, **figures["protocol"]}
    _show(figures)
    _write(figures, out, json_out)


@dataclass(frozen=True)
class _Subject:
    """What is audited: the data, where to read more columns of them, how to rank them, and what the report says of both."""

    dataset: Dataset
    place: str
    options: LoadOptions
    rank: Callable[[], Rank]
    about: dict[str, Any]


def _subject(what: str, data: str | None, reading: Reading) -> _Subject:
    run = Run(Path(what))
    if run.finished or run.pending:
        return _run_subject(run, data, reading)
    if data is None:
        raise BertrecError(f"{what} is no run: name the data too, as in  bertrec audit {what} ml-100k")
    from bertrec.data.options import LoadOptions
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.registry import make_encoder
    from bertrec.studies.audit.rank import encoder_rank

    dataset = load_data({"data": data, "load": reading})
    encoder = make_encoder(EncoderConfig(name=what))
    about = _about(f"encoder {what}, cosine", encoder.fingerprint, dataset)
    return _Subject(dataset, data, LoadOptions.from_dict(reading), lambda: encoder_rank(encoder, dataset.catalog, progress=True), about)


def _run_subject(run: Run, data: str | None, reading: Reading) -> _Subject:
    record, model = run.record(), run.load_model()
    dataset, source = data_and_source(record, data, reading)
    from bertrec.data.options import LoadOptions
    from bertrec.studies.audit.rank import recommender_rank

    model = fit_catalog(model, dataset)
    places = [str(source[name]) for name in ("data_path", "data") if name in source]
    place = next((name for name in places if Path(name).exists()), str(source["data"]))
    about = _about(f"{model.name} of {run.folder}", model.model_hash, dataset)
    return _Subject(dataset, place, LoadOptions.from_dict(source.get("load", {})), lambda: recommender_rank(model), about)


def _about(model: str, model_hash: str, dataset: Dataset) -> dict[str, Any]:
    return {"model": model, "model_hash": model_hash, "data": dataset.name, "data_hash": dataset.content_hash}


def _prices(catalog: ItemCatalog, place: str, options: LoadOptions, field: str | None) -> IntArray | None:
    from bertrec.core.errors import DataError
    from bertrec.data.item_labels import price_levels, read_column
    from bertrec.studies.audit.run import NO_PRICES

    try:
        column = read_column(catalog, field or "price", place, options)
    except DataError:
        if field is not None:
            raise
        note(f"price levels: {NO_PRICES}")
        return None
    return price_levels(column)


def _show(figures: dict[str, Any]) -> None:
    from bertrec.pages.wording import p_value
    from bertrec.studies.audit.report import verdict

    rows = [
        [
            row["attribute"],
            " – ".join(row["groups"]),
            row["measure"],
            f"{row['distance']:.3f} [{row['ci95'][0]:.3f}, {row['ci95'][1]:.3f}]",
            f"{row['by_chance']:.3f}",
            p_value(row["p_holm"]),
            "yes" if row["shown"] else "no",
            f"{row['masked']['distance']:.3f}" if "masked" in row else "-",
        ]
        for row in figures["shifts"]
    ]
    columns = ["attribute", "groups", "measure", "distance", "by chance", "p, Holm", "shown", "masked"]
    print_table("shifts between groups", columns, rows, right=["by chance", "p, Holm", "masked"])
    for row in figures["masking"]:
        note(f"masking {row['attribute']}: {row['kept']:.0%} of the recommended items stay")
    say(verdict(figures))
    for line in figures["cautions"]:
        say(f"- {line}")


def _write(figures: dict[str, Any], out: Path | None, json_out: Path | None) -> None:
    if out is not None:
        from bertrec.studies.audit.report import write_audit

        note(f"wrote {write_audit(figures, out)[0]}")
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures)
        note(f"wrote {json_out}")
