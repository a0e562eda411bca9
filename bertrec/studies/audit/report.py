"""The audit as a page, from its figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.core.files import write_json
from bertrec.pages.blocks import Cell, Document, Section, Table
from bertrec.pages.render import write_document
from bertrec.pages.wording import difference_cell, number_cell, p_cell, plain, values_table

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
    unmasked = "The audit was not repeated with masked words."
    sections = [
        Section("shifts", "Shifts between groups", [_shifts(figures["shifts"]), figures["cautions"]]),
        Section("where", "Where the shifts lie", [_differences(figures["differences"]), _means(figures["means"])]),
        Section("masking", "Masking", _masking(figures["masking"]) if figures["masking"] else [unmasked]),
        Section("protocol", "How it was measured", [values_table("Protocol", protocol)]),
    ]
    written = write_document(Document("Bias audit", verdict(figures), about, sections), folder)
    write_json(Path(folder) / "audit.json", figures)
    return [*written, Path(folder) / "audit.json"]


def _shifts(shifts: list[dict[str, Any]]) -> Table:
    hidden = any("masked" in row for row in shifts)
    columns = ["groups", "attribute", "measure", "distance", "by chance", "p", "p, Holm", "shown", *(["distance masked"] if hidden else [])]
    rows = [
        [
            *_names(row),
            number_cell(row["distance"], 3, row["ci95"]),
            number_cell(row["by_chance"], 3),
            *(p_cell(row["p"]), p_cell(row["p_holm"]), plain(row["shown"])),
            *([number_cell(row.get("masked", {}).get("distance"), 3)] if hidden else []),
        ]
        for row in sorted(shifts, key=lambda row: -row["distance"])
    ]
    return Table("Total variation between the mixes of two groups", columns, rows, sorted_by="distance")


def _differences(found: list[dict[str, Any]]) -> Table:
    ordered = sorted(found, key=lambda row: (not row["shown"], -abs(row["difference"])))[:_SHOWN_COLUMNS]
    columns = ["category or level", "groups", "attribute", "difference of shares", "p, Holm", "shown"]
    rows = [
        [row["column"], *_names(row)[:2], difference_cell(row["difference"], row["ci95"]), p_cell(row["p_holm"]), plain(row["shown"])]
        for row in ordered
    ]
    shown = f"{len(rows)} of {len(found)}, those shown first"
    return Table(f"Shares of categories and price levels, first group less second: {shown}", columns, rows)


def _means(found: list[dict[str, Any]]) -> Table:
    columns = ["group", "attribute", "measure", "mean price level", "largest shares"]
    rows = [
        [row["group"], row["attribute"], row["measure"], number_cell(row.get("mean_level"), 2), _largest(row["shares"])] for row in found
    ]
    return Table("What each group is recommended", columns, rows, summary="The mix of each group")


def _masking(found: list[dict[str, Any]]) -> list[str | Table]:
    rows = [[row["attribute"], row["neutral"], Cell(f"{row['kept']:.0%}", row["kept"])] for row in found]
    columns = ["attribute", "neutral word", "recommended items that stay"]
    said = "Every word of the lists is replaced by a neutral one when the request is read; nothing is trained again."
    return [said, Table("What masking leaves of each list of recommendations", columns, rows)]


def _names(row: Mapping[str, Any]) -> list[str]:
    return [" – ".join(row["groups"]), row["attribute"], row["measure"]]


def _largest(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda part: -part[1])[:5])
