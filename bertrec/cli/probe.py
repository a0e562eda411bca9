"""``bertrec probe``: what an encoder knows about a catalogue before any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.audit import domain_word
from bertrec.cli.output import note, note_each, print_table, say
from bertrec.cli.outputs import check_report
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import DataError
from bertrec.runs.data import load_data

if TYPE_CHECKING:
    from bertrec.data.item_labels import ItemLabels
    from bertrec.data.load import Dataset

EXAMPLES = """
Examples:

bertrec probe ml-100k --encoder minilm --out reports/probes

bertrec probe DATA --encoder bert-base-uncased --probes genre,nsp --domain book --label-field genres
"""


@reads_data()
def probe(
    data: o.DataArgument,
    reading: Reading,
    encoder: Annotated[str, typer.Option(metavar="NAME", help="minilm, a folder, or a name of the Hugging Face hub.")] = "minilm",
    probes: Annotated[str, typer.Option(help="Comma-separated: genre, nsp (next sentence), similarity.")] = "genre,nsp,similarity",
    domain: Annotated[str | None, typer.Option(help="What an item is called in a sentence, such as movie.")] = None,
    label_field: Annotated[str | None, typer.Option(help="The item column of labels (default genres, categories, …).")] = None,
    label_separator: Annotated[str | None, typer.Option(help='What stands between labels: "|", "," or space.')] = None,
    candidates: Annotated[int, typer.Option(min=2, help="Answers of each next-item query, the right one included.")] = 5,
    queries: Annotated[int, typer.Option(min=1, help="Ask about at most so many users.")] = 1000,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of users and negatives, and of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write a page, Markdown and probes.json here.")] = None,
    json_out: o.Json = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Ask an encoder, untrained, for genres and for what goes with what."""
    check_report(out, figures="probes.json", overwrite=overwrite)
    names = tuple(name.strip() for name in probes.split(",") if name.strip())
    for name in names:
        o.choice("probe", name, ("genre", "nsp", "similarity"))
    from bertrec.studies.probes.run import ProbeConfig
    from bertrec.studies.probes.run import probe as run_probes

    dataset = load_data({"data": data, "load": reading})
    note_each(dataset.notes)
    labels = _labels(dataset, data, reading, label_field, label_separator) if "genre" in names else None
    config = ProbeConfig(
        probes=names, domain=domain_word(dataset, domain), candidates=candidates, queries=queries, bootstrap=bootstrap, seed=seed
    )
    figures = run_probes(encoder, dataset.interactions, labels, config, say=note)
    figures["protocol"] |= {
        "data": dataset.name,
        "data_hash": dataset.content_hash,
        "label_field": None if labels is None else labels.field,
    }
    _show(figures)
    if out is not None:
        from bertrec.studies.probes.report import write_probes

        note(f"wrote {write_probes(figures, out)[0]}")
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures)
        note(f"wrote {json_out}")


def _labels(dataset: Dataset, data: str, reading: Reading, field: str | None, separator: str | None) -> ItemLabels | None:
    """Return the labels; None, said by the probe, where none were named and the catalogue has none of the usual fields."""
    from bertrec.data.item_labels import label_field, read_column, split_labels
    from bertrec.data.options import LoadOptions

    try:
        found = label_field(dataset.catalog, field)
    except DataError:
        return None
    column = read_column(dataset.catalog, found, data, LoadOptions.from_dict(reading))
    return split_labels(found, column, separator, spaced=dataset.format == "atomic")


def _show(figures: dict[str, Any]) -> None:
    from bertrec.cli.output import figure
    from bertrec.pages.wording import p_value
    from bertrec.studies.probes.report import figure_rows, verdict
    from bertrec.studies.probes.run import TITLES

    rows = [
        [
            row["asked"],
            row["metric"],
            figure(row).replace("\n", " "),
            f"{row['random']:.4f}",
            p_value(row["p"]),
            row["queries"],
            row["head_note"],
        ]
        for row in figure_rows(figures)
    ]
    columns = ["asked", "metric", "figure", "random", "p, Holm", "queries", "head"]
    shown = slice(None) if any(row[-1] for row in rows) else slice(-1)
    print_table("what the encoder knows", columns[shown], [row[shown] for row in rows], right=["random", "p, Holm", "queries"])
    for name, found in figures["probes"].items():
        if found["status"] != "ok":
            say(f"{TITLES[name]}: not available: {found['reason']}")
        for what, count in found["skipped"].items():
            if count:
                note(f"{TITLES[name]}: skipped {count} {what}")
    say(verdict(figures))
