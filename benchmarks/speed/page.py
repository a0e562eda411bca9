"""Write ``docs/performance.md``, ``docs/log/speed-cases.md`` and their charts from what the benchmarks left.

That is in ``benchmarks/results-speed``, ``results-speed-avx2`` and ``results-speed-avx512``, one folder for each kind of machine.

python -m benchmarks.speed.page
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.speed.__main__ import RESULTS, every_case
from benchmarks.speed.charts import draw_index_curves, draw_ratios, draw_scaling
from benchmarks.speed.harness import ROOT, goal_in_words
from bertrec.core.files import atomic_file, read_json

OUT = ROOT / "docs" / "performance.md"
CHARTS = ROOT / "docs" / "performance"
NOTES = Path(__file__).with_name("notes.md")
MACHINES = {
    "All cases, with AMX": ("ratios", RESULTS),
    "All cases, without AMX": ("ratios-avx2", RESULTS.with_name("results-speed-avx2")),
    "All cases, with AVX-512": ("ratios-avx512", RESULTS.with_name("results-speed-avx512")),
}
"""The tables of cases: title, chart and folder."""
SHORT = {"All cases, with AMX": "AMX", "All cases, without AMX": "AVX2", "All cases, with AVX-512": "AVX-512"}
CASES = ROOT / "docs" / "log" / "speed-cases.md"
_CURVES, _SCALING = "index-curves.json", "scaling.json"


def main() -> None:
    """Write both pages and the charts of what was measured."""
    measured = {title: read_records(folder) for title, (_, folder) in MACHINES.items()}
    drawn = {chart: draw_ratios(measured[title]) for title, (chart, _) in MACHINES.items()}
    if (RESULTS / _CURVES).exists():
        drawn["index-curves"] = draw_index_curves(read_json(RESULTS / _CURVES)["points"])
    if (RESULTS / _SCALING).exists():
        drawn["scaling"] = draw_scaling(read_json(RESULTS / _SCALING)["series"])
    CHARTS.mkdir(exist_ok=True)
    for name, content in drawn.items():
        with atomic_file(CHARTS / f"{name}.svg") as place:
            place.write_bytes(content)
    for path, text in ((OUT, questions(measured)), (CASES, all_cases(measured))):
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as place:
            place.write_text(text, encoding="utf-8")
    print(f"{OUT.relative_to(ROOT)}: {sum(map(len, measured.values()))} cases, {len(drawn)} charts")


def questions(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the page of questions: the notes, with tables in place of their marks."""
    kinds = {"cases": lambda names: question_table(measured, names.split()), "curves": lambda _: _curves(), "scaling": lambda _: _scaling()}
    mark = re.compile(r"^<!-- (cases|curves|scaling)(?:: (.*))? -->$", flags=re.MULTILINE)
    return mark.sub(lambda found: "\n".join(kinds[found[1]](found[2])), NOTES.read_text(encoding="utf-8"))


def all_cases(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return the page of all cases, with chart and machine for each table."""
    parts = [
        "# All timed cases",
        "",
        "Written by `python -m benchmarks.speed.page`. What they mean is in [performance](../performance.md).",
    ]
    for title, (chart, _) in MACHINES.items():
        records = measured[title]
        parts += ["", f"## {title}", "", f"![Ratios with their intervals and goals](../performance/{chart}.svg)", ""]
        parts += [*measured_on(records), "", *case_table(records)]
    return "\n".join(parts) + "\n"


def question_table(measured: dict[str, list[dict[str, Any]]], names: list[str]) -> list[str]:
    """Return the rows of some cases on all machines: what somebody asks, without memory and checks."""
    lines = ["| case | machine | ours | theirs | ratio | interval, rounds | goal |", "|---|---|---|---|---|---|---|"]
    for name in names:
        for title, records in measured.items():
            for record in (one for one in records if one["case"] == name):
                cells = _cells(record)
                lines.append("| " + " | ".join([cells[0], SHORT.get(title, title), *cells[1:6]]) + " |")
    return lines


def _curves() -> list[str]:
    return curve_tables(read_json(RESULTS / _CURVES))


def _scaling() -> list[str]:
    return scaling_table(read_json(RESULTS / _SCALING))


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
    return lines + ["| " + " | ".join(_cells(record)) + " |" for record in records]


def _cells(record: dict[str, Any]) -> list[str]:
    ours, theirs, ratio = record["ours"], record.get("theirs"), record.get("ratio")
    bound = bool(record["theirs"]["figures"].get("lower_bound")) if theirs else False
    return [
        f"**{record['case']}**: {record['title']}" + (" (generated data)" if record["fallback_data"] else ""),
        seconds(ours["median_seconds"]),
        seconds(theirs["median_seconds"]) if theirs else "–",
        f"{'≥ ' if bound else ''}**{ratio['median']:.3g} ×**" if ratio else "–",
        f"{ratio['low']:.3g} to {ratio['high']:.3g}, {ratio['rounds']}" if ratio else "–",
        _goal(record),
        " / ".join(f"{side['peak_mib']:,.0f}" for side in (ours, theirs) if side),
        _checks(record),
    ]


def _checks(record: dict[str, Any]) -> str:
    found = {name.replace("_", " "): value for name, value in record.get("agreement", {}).items() if name != "ok"}
    return ", ".join(f"{name} {_short(value)}" for name, value in found.items()) or "–"


def _goal(record: dict[str, Any]) -> str:
    return goal_in_words(record).replace(" x ", " × ").replace("<=", "≤").replace("missed", "**missed**") or "–"


def seconds(value: float) -> str:
    """Return a time in a unit that reads well.

    >>> seconds(0.0021), seconds(12.3), seconds(130), seconds(3387)
    ('2.1 ms', '12.3 s', '130 s', '3,387 s')
    """
    return f"{value * 1000:.3g} ms" if value < 0.1 else f"{value:.3g} s" if value < 1000 else f"{value:,.0f} s"


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
