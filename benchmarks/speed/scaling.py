"""How time and memory grow: encoding, training, evaluation and top-k on generated data of 10^3 to 10^6, with the exponent of each.

    python -m benchmarks.speed.scaling                      # all series
    python -m benchmarks.speed.scaling topk-items --threads 1

Every point is a process of its own, so that its peak memory is its own; a series ends where its next point would take too long. The
exponent is the slope of log seconds over log size by least squares, with the 95 % interval of the t distribution; it is fitted to the
points whose time is work, not a fixed cost (`FLOOR` times the fastest point's). Writes benchmarks/results-speed/scaling.json.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.speed.harness import ROOT, Running, Side
from benchmarks.speed.machine import machine
from bertrec.core.errors import BertrecError, DataError, unknown_name
from bertrec.core.files import write_json

OUT = ROOT / "benchmarks" / "results-speed" / "scaling.json"
LIMIT_SECONDS = 20.0
FLOOR = 3.0
"""A point counts for the exponent where it took this many times as long as the fastest one, which is mostly fixed cost."""
LEAST_MIB = 16.0
"""A point counts for the exponent of memory where the work raised the peak by this much."""
_WORK = "benchmarks.speed.scaling_work"
# Two-sided 95 % points of the t distribution for 1 to 8 degrees of freedom.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306)


@dataclass(frozen=True)
class Series:
    """One quantity that is made larger while the others stand still.

    Attributes:
        name: unique.
        title: what is done, and what stands still.
        unit: of the size.
        function: in `benchmarks.speed.scaling_work`; takes ``size`` and ``keywords`` and returns what is timed.
        sizes: ascending.
        keywords: what stands still.
    """

    name: str
    title: str
    unit: str
    function: str
    sizes: tuple[int, ...]
    keywords: dict[str, int]


_STEPS = (1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000)
SERIES = (
    Series("encode-items", "Encode titles of 12 words with MiniLM", "items", "encode", _STEPS, {"words": 12}),
    Series("encode-length", "Encode 256 texts with MiniLM", "words", "encode_long", (8, 16, 32, 64, 128, 250), {"items": 256}),
    Series("train-users", "One epoch of SASRec, width 64, 10,000 items", "users", "train_users", _STEPS, {"items": 10_000}),
    Series("train-items", "One epoch of SASRec, width 64, 2,000 users", "items", "train_items", _STEPS, {"users": 2_000}),
    Series("evaluate-users", "Ranks from vectors of width 64 among 10,000 items", "users", "evaluate_users", _STEPS, {"items": 10_000}),
    Series("evaluate-items", "Ranks from vectors of width 64 for 2,000 users", "items", "evaluate_items", _STEPS, {"users": 2_000}),
    Series("topk-items", "Ten best unseen items for 256 users, exact, width 64", "items", "topk_items", _STEPS, {"users": 256}),
)


@dataclass(frozen=True)
class Exponent:
    """``seconds ~ size ** exponent``.

    Attributes:
        exponent: slope of the logarithms.
        low, high: its 95 % interval; None with fewer than three points.
        points: that it was fitted to.
    """

    exponent: float
    low: float | None
    high: float | None
    points: int


def fit_exponent(sizes: Sequence[float], values: Sequence[float]) -> Exponent:
    """Fit the slope of ``log(values)`` over ``log(sizes)`` by least squares.

    >>> fit_exponent([1, 10, 100], [2, 20, 200]).exponent
    1.0

    Raises:
        DataError: fewer than two different sizes, lengths that differ, or a number that has no logarithm.
    """
    if len(sizes) != len(values) or len(set(sizes)) < 2:
        raise DataError(f"an exponent needs two different sizes and a value each, not {list(sizes)} and {list(values)}")
    if min(*sizes, *values) <= 0 or not all(map(math.isfinite, (*sizes, *values))):
        raise DataError("sizes and values must be finite and above 0: a logarithm is taken of each")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y, n = sum(x) / len(x), sum(y) / len(y), len(x)
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    if n < 3:
        return Exponent(round(slope, 9), None, None, n)
    rest = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    half = _T95[min(n - 2, len(_T95)) - 1] * math.sqrt(rest / (n - 2) / spread)
    return Exponent(round(slope, 9), slope - half, slope + half, n)


def exponents(points: Sequence[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Fit time and memory to the points that show work; what fewer than two points show is left out."""
    fastest = min(point["seconds"] for point in points)
    working = {
        "seconds": [point for point in points if point["seconds"] >= FLOOR * fastest],
        "grown_mib": [point for point in points if point["grown_mib"] >= LEAST_MIB],
    }
    return {
        name: asdict(fit_exponent([point["size"] for point in kept], [point[name] for point in kept]))
        for name, kept in working.items()
        if len(kept) >= 2
    }


def measure_series(
    series: Series, measure: Callable[[Series, int], dict[str, float]], *, limit_seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure the sizes of a series in ascending order until a point takes longer than the limit, and fit the exponents.

    Args:
        series: what is measured.
        measure: returns ``seconds`` and ``peak_mib`` of a size.
        limit_seconds: the next size is left out after a point that took longer, or that would take longer at the pace of the last two.
        say: takes a line per point.
    """
    points: list[dict[str, float]] = []
    for size in series.sizes:
        if points and _next_seconds(points, size) > limit_seconds:
            break
        points.append({"size": size, **measure(series, size)})
        say(f"{series.name}: {size:,} {series.unit} in {points[-1]['seconds']:.3f} s, {points[-1]['peak_mib']:.0f} MiB")
    return {"series": series.name, "title": series.title, "unit": series.unit, "fixed": series.keywords, "points": points} | {
        "left_out": list(series.sizes[len(points) :]),
        "exponents": exponents(points),
    }


def _next_seconds(points: Sequence[dict[str, float]], size: int) -> float:
    """Guess how long a size will take, to decide whether it is measured; the guess stands in no figure."""
    last = points[-1]
    grown = 1.0
    if len(points) > 1:
        grown = fit_exponent([point["size"] for point in points[-2:]], [point["seconds"] for point in points[-2:]]).exponent
    return float(last["seconds"] * (size / last["size"]) ** max(0.0, grown))


def measure_point(series: Series, size: int, *, threads: int) -> dict[str, float]:
    """Run one point in a process of its own: one small warm-up is part of its preparation; then one timed run.

    Raises:
        BertrecError: the process failed or is gone.
    """
    side = Side(f"{_WORK}:{series.function}", {"size": size, **series.keywords})
    with tempfile.TemporaryDirectory() as scratch, Running(side, Path(sys.executable), threads, Path(scratch) / "point", {}) as running:
        running.answer()
        found = running.run()
    figures = found["figures"]
    return {"seconds": found["seconds"], "peak_mib": figures["peak_mib"], "grown_mib": figures["grown_mib"]}


def main() -> None:
    """Measure what was asked for and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("series", nargs="*", help=f"of {', '.join(series.name for series in SERIES)}; without one all of them")
    parser.add_argument("--limit-seconds", type=float, default=LIMIT_SECONDS, help="a series ends where its next point would take longer")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--largest", type=int, default=0, help="leave out larger sizes (a try-out)")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    try:
        chosen = chosen_series(options.series)
    except DataError as error:
        parser.error(str(error))
    records = []
    for series in chosen:
        sizes = tuple(size for size in series.sizes if not options.largest or size <= options.largest)
        series = Series(**{**asdict(series), "sizes": sizes})
        try:
            records.append(
                measure_series(
                    series,
                    lambda one, size: measure_point(one, size, threads=options.threads),
                    limit_seconds=options.limit_seconds,
                    say=lambda text: print(text, flush=True),
                )
            )
        except BertrecError as error:
            sys.exit(f"{series.name}: {error}")
        described = {"limit_seconds": options.limit_seconds, "threads": options.threads, "machine": machine(options.threads)}
        write_json(options.out, described | {"series": records})
    print(json.dumps({record["series"]: record["exponents"] for record in records}, indent=2))


def chosen_series(names: Sequence[str]) -> list[Series]:
    """Return the named series, or all.

    Raises:
        DataError: no series has that name.
    """
    by_name = {series.name: series for series in SERIES}
    for name in names:
        if name not in by_name:
            raise DataError(unknown_name("series", name, by_name))
    return [by_name[name] for name in names] if names else list(SERIES)


if __name__ == "__main__":
    main()
