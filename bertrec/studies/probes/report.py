"""The probes as a page, from their figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.pages.blocks import Block, Bullets, Cell, Column, Section, Table, Text, label
from bertrec.pages.document import Heading
from bertrec.pages.values import values_table
from bertrec.pages.wording import interval, number, p_value, signed
from bertrec.studies.page import write_page
from bertrec.studies.probes.run import TITLES


def verdict(figures: Mapping[str, Any]) -> str:
    """Say in one sentence which ways of asking are above their baseline on every metric, and what could not be run."""
    above: dict[str, list[bool]] = {}
    for row in figures["comparisons"]:
        above.setdefault(row["names"][0], []).append(row["shown"] and row["difference"] > 0)
    good = [name for name, shown in above.items() if all(shown)]
    said = f"Above the baseline on every metric: {'; '.join(good)}." if good else "No way of asking is above its baseline on every metric."
    lost = [TITLES[name] for name, found in figures["probes"].items() if found["status"] != "ok"]
    return said + (f" Not available: {', '.join(lost)}." if lost else "")


def figure_rows(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a slice and metric: figure, interval, random expectation, p, and the note of a head that bertrec trained."""
    rows = []
    for found in figures["probes"].values():
        for name in found["slices"]:
            part = figures["slices"][name]
            rows += [
                {
                    "asked": name,
                    "queries": part["users"],
                    "unit": found["unit"],
                    "candidates": part["candidates"],
                    "metric": metric,
                    **value,
                    "random": part["random"][metric],
                    "p": part["p_holm_above_random"][metric],
                    "head_note": "" if "popularity" in name else found["head_note"] or "",
                }
                for metric, value in part["metrics"].items()
            ]
    return rows


def write_probes(figures: dict[str, Any], folder: str | Path) -> list[Path]:
    """Write ``index.html``, ``report.md`` and ``probes.json`` into a folder.

    Raises:
        BertrecError: a file cannot be written.
    """
    protocol = figures["protocol"]
    heading = Heading(
        "What the encoder knows", verdict(figures), f"{protocol['encoder']} over {protocol.get('data', 'a catalogue')}, untrained"
    )
    sections = [
        Section("figures", "Figures", [_figure_table(figures), Bullets(figures["cautions"])]),
        Section("baselines", "Beside the baselines", [_comparison_table(figures)]),
        *(Section(name, TITLES[name].capitalize(), _about_blocks(found)) for name, found in figures["probes"].items()),
        Section("protocol", "How it was measured", [values_table("Protocol", protocol)]),
    ]
    return write_page(folder, "probes", figures, heading, sections)


def _figure_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        [
            Cell(row["asked"], key=row["asked"], below=row["head_note"]),
            label(row["metric"]),
            Cell(number(row["mean"], 3), row["mean"], below=interval(row["ci95"])),
            Cell(number(row["random"], 3), row["random"]),
            Cell(p_value(row["p"]), row["p"]),
            Cell(f"{row['queries']} {row['unit']}", row["queries"]),
            Cell(str(row["candidates"]), row["candidates"]),
        ]
        for row in figure_rows(figures)
    ]
    columns = [Column("asked"), Column("metric"), Column("figure", True), Column("random", True), Column("p above random, Holm", True)]
    return Table("Figures with 95 % intervals", [*columns, Column("queries", True), Column("candidates", True)], rows)


def _comparison_table(figures: Mapping[str, Any]) -> Table:
    rows = [
        [
            label(row["names"][0]),
            label(row["names"][1]),
            label(row["metric"]),
            Cell(signed(row["difference"]), row["difference"], below=interval(row["ci95"])),
            Cell(p_value(row["p_holm"]), row["p_holm"]),
            Cell(row["verdict"] if row["shown"] else "no difference shown"),
        ]
        for row in figures["comparisons"]
    ]
    columns = [
        Column("asked"),
        Column("baseline"),
        Column("metric"),
        Column("difference", True),
        Column("p, Holm", True),
        Column("verdict"),
    ]
    return Table("Paired over the same queries", columns, rows)


def _about_blocks(found: Mapping[str, Any]) -> list[Block]:
    if found["status"] != "ok":
        return [Text(f"Not available: {found['reason']}")]
    head = found["head_note"] or "that of the encoder as it came"
    return [values_table("How it was asked", {**found["about"], "skipped": found["skipped"], "head": head})]
