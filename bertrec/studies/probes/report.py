"""The probes as a page, from their figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.core.files import write_json
from bertrec.evaluation.significance import NO_DIFFERENCE
from bertrec.pages.blocks import Block, Cell, Document, Section, Table, label
from bertrec.pages.render import write_document
from bertrec.pages.wording import difference_cell, number_cell, p_cell, values_table
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
    """Return one row per slice and metric: figure, interval, random expectation, p, and a note on a head of ours."""
    rows = []
    for found in figures["probes"].values():
        for name in found["slices"]:
            part, note = figures["slices"][name], "" if "popularity" in name else found["head_note"] or ""
            common = {"asked": name, "queries": part["users"], "unit": found["unit"], "candidates": part["candidates"], "head_note": note}
            rows += [
                {**common, "metric": metric, **value, "random": part["random"][metric], "p": part["p_holm_above_random"][metric]}
                for metric, value in part["metrics"].items()
            ]
    return rows


def write_probes(figures: dict[str, Any], folder: str | Path) -> list[Path]:
    """Write ``index.html``, ``report.md`` and ``probes.json`` into a folder.

    Raises:
        BertrecError: a file cannot be written.
    """
    protocol = figures["protocol"]
    about = f"{protocol['encoder']} over {protocol.get('data', 'a catalogue')}, untrained"
    sections = [
        Section("figures", "Figures", [_figures(figures), figures["cautions"]]),
        Section("baselines", "Beside the baselines", [_comparisons(figures["comparisons"])]),
        *(Section(name, TITLES[name].capitalize(), [_about(found)]) for name, found in figures["probes"].items()),
        Section("protocol", "How it was measured", [values_table("Protocol", protocol)]),
    ]
    written = write_document(Document("What the encoder knows", verdict(figures), about, sections), folder)
    write_json(Path(folder) / "probes.json", figures)
    return [*written, Path(folder) / "probes.json"]


def _figures(figures: Mapping[str, Any]) -> Table:
    rows = [
        [
            label(row["asked"], below=row["head_note"]),
            row["metric"],
            number_cell(row["mean"], 3, row["ci95"]),
            *(number_cell(row["random"], 3), p_cell(row["p"])),
            Cell(f"{row['queries']} {row['unit']}", row["queries"]),
            Cell(str(row["candidates"]), row["candidates"]),
        ]
        for row in figure_rows(figures)
    ]
    columns = ["asked", "metric", "figure", "random", "p above random, Holm", "queries", "candidates"]
    return Table("Figures with 95 % intervals", columns, rows)


def _comparisons(found: list[dict[str, Any]]) -> Table:
    verdicts = [row["verdict"] if row["shown"] else NO_DIFFERENCE for row in found]
    rows = [
        [*row["names"][:2], row["metric"], difference_cell(row["difference"], row["ci95"]), p_cell(row["p_holm"]), said]
        for row, said in zip(found, verdicts, strict=True)
    ]
    return Table("Paired over the same queries", ["asked", "baseline", "metric", "difference", "p, Holm", "verdict"], rows)


def _about(found: Mapping[str, Any]) -> Block:
    if found["status"] != "ok":
        return f"Not available: {found['reason']}"
    head = found["head_note"] or "that of the encoder as it came"
    return values_table("How it was asked", {**found["about"], "skipped": found["skipped"], "head": head})
