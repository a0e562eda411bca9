"""Run the speed benchmarks.

    python -m benchmarks.speed                       # the suite of `make bench`
    python -m benchmarks.speed --suite full          # with every peer, RecTools in an environment of its own
    python -m benchmarks.speed encode-fp32 --threads 1
    python -m benchmarks.speed recbole-sasrec-quality   # over an hour: in no suite
    python -m benchmarks.speed --store               # keep the ratios as what later runs are held to

Each case prints both sides' seconds, their ratio with its interval, and peak memory, and leaves a JSON in benchmarks/results-speed. Exit
code 1: a case disagrees with the other side's numbers, failed, or is slower than the stored ratio allows.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pkgutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import benchmarks.speed.cases
from benchmarks.speed import guard
from benchmarks.speed.harness import ROOT, Case, goal_in_words, our_python, run_case
from benchmarks.speed.machine import DEVICE, device, machine
from bertrec.core.errors import BertrecError
from bertrec.core.files import write_json
from bertrec.training.precision import computes_bf16

RESULTS = ROOT / "benchmarks" / "results-speed"


def main() -> int:
    """Run what was asked for; return the exit code."""
    cases = every_case()
    options = _options([case.name for case in cases])
    os.environ[DEVICE] = options.device  # the sides of a case are processes of their own
    wanted = [case for case in cases if case.name in options.cases] or suite(cases, options.suite, bf16=computes_bf16(device()))
    console, described = Console(width=150), machine(options.threads)
    rates = described["gflops"]
    console.print(f"{described['processor']}, {options.threads} of {described['cores']} cores, matrix products at {rates} GFLOPS")
    records: list[dict[str, Any]] = []
    complaints: list[str] = []

    def say(text: str) -> None:
        console.print(f"[dim]{text}[/dim]", highlight=False)

    for case in wanted:
        started = time.perf_counter()
        try:
            record = run_case(case, options.data, options.threads, our_python, say)
        except BertrecError as error:
            complaints.append(f"{case.name}: {error}")
            continue
        if record is None:
            continue
        record |= {"machine": described, "total_seconds": time.perf_counter() - started}
        records.append(record)
        write_json(options.out / f"{case.name}.json", record)
        complaints += judged(record, described)
    console.print(table(records))
    used = {side: record[side]["versions"] for record in records for side in ("ours", "theirs") if side in record}
    for side, found in used.items():
        console.print(f"[dim]{side}: {', '.join(f'{name} {version}' for name, version in sorted(found.items()))}[/dim]", highlight=False)
    for text in complaints:
        console.print(f"[bold red]{text}[/bold red]", highlight=False)
    if options.store and not complaints:
        guard.store(records, described)
    return 1 if complaints else 0


def suite(cases: Sequence[Case], name: str, *, bf16: bool) -> list[Case]:
    """Return the cases of a suite; ``bf16`` says whether bfloat16 products are fast where they are computed."""
    suites = ("bench", "full")[: 1 + (name == "full")]
    return [case for case in cases if case.suite in suites and (bf16 or not case.bf16)]


def judged(record: dict[str, Any], described: dict[str, Any]) -> list[str]:
    """Return what is wrong with a record."""
    slower = guard.complaint(record, described, guard.load())
    apart = record.get("agreement", {}).get("ok") is False
    return ([slower] if slower else []) + ([f"{record['case']}: the two sides differ: {record['agreement']}"] if apart else [])


def every_case() -> list[Case]:
    """Return the cases of all files in ``cases``, in the order of file names."""
    files = sorted(found.name for found in pkgutil.iter_modules(benchmarks.speed.cases.__path__))
    return [case for name in files for case in importlib.import_module(f"benchmarks.speed.cases.{name}").CASES]


def table(records: list[dict[str, Any]]) -> Table:
    """Return the table that is printed at the end."""
    drawn = Table("case", "ours", "theirs", "ratio", "interval", "goal", "peak MiB", "agreement")
    for record in records:
        ratio, theirs = record.get("ratio"), record.get("theirs")
        peaks = [record["ours"]["peak_mib"], *([theirs["peak_mib"]] if theirs else [])]
        drawn.add_row(
            record["case"] + (" (other data)" if record["fallback_data"] else ""),
            f"{record['ours']['median_seconds']:.3f} s",
            f"{theirs['median_seconds']:.3f} s" if theirs else "",
            f"{ratio['median']:.2f} x" if ratio else "",
            f"[{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else "",
            goal_in_words(record),
            " / ".join(f"{peak:.0f}" for peak in peaks),
            ", ".join(f"{name} {_short(value)}" for name, value in record.get("agreement", {}).items()),
        )
    return drawn


def _short(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _options(names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(names)}; without one the suite")
    parser.add_argument("--suite", choices=("bench", "full"), default="bench")
    beside = os.environ.get("BERTREC_TEST_DATA") or ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(beside), help="folder with the data sets; else BERTREC_TEST_DATA names it")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="where encoders and losses compute; auto: a GPU if any"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--store", action="store_true", help="keep the ratios as what later runs are held to")
    options = parser.parse_args()
    unknown = sorted(set(options.cases) - set(names))
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(names)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
