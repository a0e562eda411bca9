"""Write ``docs/performance.md`` and its charts from what the benchmarks left in ``benchmarks/results-speed`` and ``results-speed-avx2``.

python -m benchmarks.speed.page
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.speed.__main__ import RESULTS, every_case
from benchmarks.speed.charts import draw_index_curves, draw_ratios, draw_scaling
from benchmarks.speed.harness import ROOT, goal_in_words
from bertrec.core.files import atomic_file, read_json

OUT = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
NOTES = Path(__file__).with_name("notes.md")
MACHINES = {"All cases, with AMX": ("ratios", RESULTS), "All cases, without AMX": ("ratios-avx2", RESULTS.with_name("results-speed-avx2"))}
"""The tables of cases: title, chart and folder."""
_CURVES, _SCALING = "index-curves.json", "scaling.json"


def main() -> None:
    """Write the page and the charts of what was measured."""
    parts, drawn, count = [NOTES.read_text(encoding="utf-8").rstrip()], {}, 0
    for title, (chart, folder) in MACHINES.items():
        records = read_records(folder)
        parts += [
            "",
            f"## {title}",
            "",
            f"![Ratios with their intervals and goals](performance/{chart}.svg)",
            "",
            *measured_on(records),
            "",
        ]
        parts += case_table(records)
        drawn[chart] = draw_ratios(records)
        count += len(records)
    if (RESULTS / _CURVES).exists():
        curves = read_json(RESULTS / _CURVES)
        drawn["index-curves"] = draw_index_curves(curves["points"])
        parts += ["", "## Index curves", "", *curve_tables(curves)]
    if (RESULTS / _SCALING).exists():
        scaling = read_json(RESULTS / _SCALING)
        drawn["scaling"] = draw_scaling(scaling["series"])
        parts += ["", "## Scaling", "", *scaling_table(scaling)]
    CHARTS.mkdir(exist_ok=True)
    for name, content in drawn.items():
        with atomic_file(CHARTS / f"{name}.svg") as place:
            place.write_bytes(content)
    with atomic_file(OUT) as place:
        place.write_text("\n".join(parts) + "\n", encoding="utf-8")
    print(f"{OUT.relative_to(ROOT)}: {count} cases, {len(drawn)} charts")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return what was measured of the cases there are, in their order, with the limits of today."""
    found = [case for case in every_case() if (folder / f"{case.name}.json").exists()]
    return [read_json(folder / f"{case.name}.json") | {"limits": case.limits} for case in found]


def measured_on(records: list[dict[str, Any]]) -> list[str]:
    """Return what the cases were measured on, one line per machine."""
    lines = {}
    for record in records:
        machine = record["machine"]
        rates = ", ".join(f"{name} {rate:,}" for name, rate in machine["gflops"].items())
        versions = ", ".join(f"{name} {found}" for name, found in sorted(record["ours"]["versions"].items()))
        key = (machine["processor"], record["threads"])
        lines[key] = (
            f"{machine['processor']}, {record['threads']} of {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"Python {machine['python']}; ours: {versions}. Matrix products [2,048 × 384] × [384 × 1,536] in the last run: {rates} GFLOPS."
        )
    return list(lines.values())


def case_table(records: list[dict[str, Any]]) -> list[str]:
    """Return one line per case: both sides, ratio, goal, memory, agreement."""
    lines = [
        "| case | ours | theirs | ratio (theirs / ours) | interval, rounds | goal | peak MiB, ours / theirs | checks |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return lines + [_case_row(record) for record in records]


def _case_row(record: dict[str, Any]) -> str:
    ours, theirs, ratio = record["ours"], record.get("theirs"), record.get("ratio")
    bound = bool(record["theirs"]["figures"].get("lower_bound")) if theirs else False
    cells = [
        f"**{record['case']}**: {record['title']}" + (" (generated data)" if record["fallback_data"] else ""),
        seconds(ours["median_seconds"]),
        seconds(theirs["median_seconds"]) if theirs else "–",
        f"{'≥ ' if bound else ''}**{ratio['median']:.3g} ×**" if ratio else "–",
        f"{ratio['low']:.3g} to {ratio['high']:.3g}, {ratio['rounds']}" if ratio else "–",
        _goal(record),
        " / ".join(f"{side['peak_mib']:,.0f}" for side in (ours, theirs) if side),
        _checks(record),
    ]
    return "| " + " | ".join(cells) + " |"


def _checks(record: dict[str, Any]) -> str:
    found = {name.replace("_", " "): value for name, value in record.get("agreement", {}).items() if name != "ok"}
    return ", ".join(f"{name} {_short(value)}" for name, value in found.items()) or "–"


def _goal(record: dict[str, Any]) -> str:
    return goal_in_words(record).replace(" x ", " × ").replace("<=", "≤").replace("missed", "**missed**") or "–"


def seconds(value: float) -> str:
    """Return a time in a unit that reads well.

    >>> seconds(0.0021), seconds(12.3), seconds(130)
    ('2.1 ms', '12.3 s', '130 s')
    """
    return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value:.3g} s"


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def curve_tables(curves: dict[str, Any]) -> list[str]:
    """Return the chart, and the fastest point with recall of at least .95 of each index."""
    lines = [
        f"![Recall against speed of HNSW and IVF-PQ](performance/index-curves.svg)\n\nVectors: {curves['vectors']}.",
        "",
        "| data | index | threads | fastest setting with recall@10 ≥ .95 | recall@10 | queries/s | times FAISS's flat index |",
        "|---|---|---|---|---|---|---|",
    ]
    groups = sorted({(p["data"], p["kind"], p["threads"]) for p in curves["points"]})
    names = {"flat": "FAISS, flat", "scan": "bertrec, exact", "hnsw": "HNSW", "ivfpq": "IVF-PQ"}
    for data, kind, threads in groups:
        found = [p for p in curves["points"] if (p["data"], p["kind"], p["threads"]) == (data, kind, threads)]
        good = [p for p in found if p["recall"] >= 0.95]
        best = max(good, key=lambda p: p["queries_per_second"]) if good else max(found, key=lambda p: p["recall"])
        named = ", ".join(f"{name} {best[name]}" for name in ("ef_search", "nprobe", "refine_factor") if name in best) or "exact"
        named = named if good else f"none; the best recall: {named}"
        figures = f"{best['recall']:.3f} | {best['queries_per_second']:,.0f} | {best['times_flat']:.1f}"
        lines.append(f"| {data} | {names[kind]} | {threads} | {named} | {figures} |")
    return lines


def scaling_table(scaling: dict[str, Any]) -> list[str]:
    """Return the chart and the exponents of time and memory."""
    lines = [
        "![Time against size](performance/scaling.svg)",
        "",
        f"Each point is one run in a process of its own, {scaling['threads']} threads; a series ends where its next point would take over "
        f"{scaling['limit_seconds']:.0f} s. Exponents by least squares over the points whose time (memory) is work and not fixed cost.",
        "",
        "| series | sizes | seconds | exponent of time (95 %) | exponent of memory (95 %) |",
        "|---|---|---|---|---|",
    ]
    for series in scaling["series"]:
        points = series["points"]
        sizes = f"{points[0]['size']:,} to {points[-1]['size']:,} {series['unit']}"
        spent = f"{seconds(points[0]['seconds'])} to {seconds(points[-1]['seconds'])}"
        shown = [_exponent(series["exponents"].get(name)) for name in ("seconds", "grown_mib")]
        lines.append(f"| {series['title']} | {sizes} | {spent} | {shown[0]} | {shown[1]} |")
    return lines


def _exponent(found: dict[str, Any] | None) -> str:
    if found is None:
        return "–"
    ends = f" [{found['low']:.2f}, {found['high']:.2f}]" if found["low"] is not None else ""
    return f"{found['exponent']:.2f}{ends}, {found['points']} points"


if __name__ == "__main__":
    main()
