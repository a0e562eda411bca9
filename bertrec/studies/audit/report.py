"""The audit as a page, from its figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.pages.blocks import Bullets, Cell, Column, Section, Table, Text, label
from bertrec.pages.document import Heading
from bertrec.pages.values import values_table
from bertrec.pages.wording import ABSENT, interval, number, p_value, signed
from bertrec.studies.page import write_page

_SHOWN_COLUMNS = 40


def verdict(figures: Mapping[str, Any]) -> str:
    """Say in one sentence how many comparisons show a shift."""
    shifts = figures["shifts"]
    shown = [row for row in shifts if row["shown"]]
    if not shown:
        return f"None of {len(shifts)} comparisons of two groups shows a shift."
    widest = max(shown, key=lambda row: row["distance"])
    return (
        f"{len(shown)} of {len(shifts)} comparisons of two groups show a shift; the widest is {' and '.join(widest['groups'])} "
        f"({widest['attribute']}, {widest['measure']}): distance "
        f"{widest['distance']:.3f} where a random deal shows {widest['by_chance']:.3f}."
    )


def write_audit(figures: dict[str, Any], folder: str | Path) -> list[Path]:
    """Write ``index.html``, ``report.md`` and ``audit.json`` into a folder.

    Raises:
        BertrecError: a file cannot be written.
    """
    protocol = figures["protocol"]
    about = f"{protocol.get('model', 'a ranking')} over {protocol.get('data', 'a catalogue')}, {protocol['requests']} requests"
    sections = [
        Section("shifts", "Shifts between groups", [_shift_table(figures), Bullets(figures["cautions"])]),
        Section("where", "Where the shifts lie", [_difference_table(figures), _mean_table(figures)]),
        Section("masking", "Masking", _masking_blocks(figures)),
        Section("protocol", "How it was measured", [values_table("Protocol", protocol)]),
    ]
    return write_page(folder, "audit", figures, Heading("Bias audit", verdict(figures), about), sections)


def _shift_table(figures: Mapping[str, Any]) -> Table:
    hidden = any("masked" in row for row in figures["shifts"])
    columns = [Column("groups"), Column("attribute"), Column("measure"), Column("distance", True), Column("by chance", True)]
    columns += [Column("p", True), Column("p, Holm", True), Column("shown")]
    columns += [Column("distance masked", True)] if hidden else []
    rows = []
    for row in sorted(figures["shifts"], key=lambda row: -row["distance"]):
        cells = [label(" – ".join(row["groups"])), label(row["attribute"]), label(row["measure"])]
        cells += [Cell(number(row["distance"], 3), row["distance"], below=interval(row["ci95"]))]
        cells += [Cell(number(row["by_chance"], 3), row["by_chance"]), Cell(p_value(row["p"]), row["p"])]
        cells += [Cell(p_value(row["p_holm"]), row["p_holm"]), label("yes" if row["shown"] else "no")]
        masked = row.get("masked", {}).get("distance")
        cells += [Cell(ABSENT) if masked is None else Cell(number(masked, 3), masked)] if hidden else []
        rows.append(cells)
    return Table("Total variation between the mixes of two groups", columns, rows, sorted_by="distance")


def _difference_table(figures: Mapping[str, Any]) -> Table:
    ordered = sorted(figures["differences"], key=lambda row: (not row["shown"], -abs(row["difference"])))[:_SHOWN_COLUMNS]
    rows = [
        [
            label(row["column"]),
            label(" – ".join(row["groups"])),
            label(row["attribute"]),
            Cell(signed(row["difference"]), row["difference"], below=interval(row["ci95"])),
            Cell(p_value(row["p_holm"]), row["p_holm"]),
            label("yes" if row["shown"] else "no"),
        ]
        for row in ordered
    ]
    columns = [Column("category or level"), Column("groups"), Column("attribute"), Column("difference of shares", True)]
    caption = (
        f"Shares of categories and price levels, first group less second: {len(rows)} of {len(figures['differences'])}, those shown first"
    )
    return Table(caption, [*columns, Column("p, Holm", True), Column("shown")], rows)


def _mean_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        [
            label(row["group"]),
            label(row["attribute"]),
            label(row["measure"]),
            Cell(number(row["mean_level"], 2), row["mean_level"]) if "mean_level" in row else Cell(ABSENT),
            Cell(", ".join(f"{name} {share:.0%}" for name, share in sorted(row["shares"].items(), key=lambda part: -part[1])[:5])),
        ]
        for row in figures["means"]
    ]
    columns = [Column("group"), Column("attribute"), Column("measure"), Column("mean price level", True), Column("largest shares")]
    return Table("What each group is recommended", columns, rows, summary="The mix of each group")


def _masking_blocks(figures: Mapping[str, Any]) -> list[Text | Table]:
    if not figures["masking"]:
        return [Text("The audit was not repeated with masked words.")]
    rows = [[label(row["attribute"]), Cell(row["neutral"]), Cell(f"{row['kept']:.0%}", row["kept"])] for row in figures["masking"]]
    said = "Every word of the lists is replaced by a neutral one when the request is read; nothing is trained again."
    columns = [Column("attribute"), Column("neutral word"), Column("recommended items that stay", True)]
    return [Text(said), Table("What masking leaves of each list of recommendations", columns, rows)]
