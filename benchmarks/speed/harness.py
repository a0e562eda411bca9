"""Cases, and how one is run: both sides in processes of their own, warmed up, interleaved, their results compared.

The ratio of each round is the other side's seconds over ours; what is reported is the median over rounds with a distribution-free interval
(order statistics), so that one disturbed round decides nothing.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bertrec.core.errors import BertrecError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
OURS = "ours"
_THREAD_SETTINGS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_COVERAGE = 0.95


@dataclass(frozen=True)
class Side:
    """One way to the result.

    Attributes:
        function: ``module:name``; called once with ``data`` (and ``folder``) and ``keywords``, it prepares and returns what is timed.
        keywords: JSON values.
        environment: ``ours``, or the peer in whose environment it runs.
    """

    function: str
    keywords: dict[str, Any] = field(default_factory=dict)
    environment: str = OURS


@dataclass(frozen=True)
class Case:
    """Two ways to the same result.

    Attributes:
        name: unique.
        title: one line.
        ours: our fast way.
        theirs: what it is measured against; None for a run that has a time or memory of its own to show.
        goal: the ratio to be reached; None where there is none.
        stretch: a ratio beyond it.
        limits: ``seconds`` (median) or ``peak_mib`` that our side is meant to keep within on two cores.
        repeats: rounds after one warm-up each; with 1 the warm-up is left out too.
        suite: ``bench``, ``full``, or ``long`` for a case that runs only where it is named.
        needs: data folders; where one is absent the case runs with ``fallback`` on both sides, or is left out.
        fallback: keywords in place of those data.
        bf16: whether a suite leaves the case out on a device without fast bfloat16 products, where it shows nothing and takes minutes.
        prepare: ``module:name`` called once here with the new ``folder``, ``data`` and our keywords; both sides then get ``folder``.
        agree: ``module:name`` called with both sides' figures (``array`` loaded); a check ``ok`` that is False fails the case.
        notes: what a reader must know.
    """

    name: str
    title: str
    ours: Side
    theirs: Side | None = None
    goal: float | None = None
    stretch: float | None = None
    limits: dict[str, float] = field(default_factory=dict)
    repeats: int = 6
    suite: str = "bench"
    needs: tuple[str, ...] = ()
    fallback: dict[str, Any] | None = None
    bf16: bool = False
    prepare: str | None = None
    agree: str | None = None
    notes: str = ""


@dataclass(frozen=True)
class Ratio:
    """Median over rounds with the interval of its order statistics and the coverage that these have."""

    median: float
    low: float
    high: float
    coverage: float
    rounds: int


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Return how many times faster we are, round by round.

    >>> ratio_of([1.0, 1.0, 2.0], [2.0, 3.0, 8.0]).median
    3.0
    """
    values = sorted(other / mine for mine, other in zip(ours, theirs, strict=True))
    rounds = len(values)
    depth = max((d for d in range(rounds // 2 + 1) if _covers(rounds, d) >= _COVERAGE), default=0)
    depth = min(depth, (rounds - 1) // 2)
    return Ratio(statistics.median(values), values[depth], values[-1 - depth], _covers(rounds, depth), rounds)


def _covers(rounds: int, depth: int) -> float:
    """Return the probability that the true median lies between the order statistics ``depth`` from both ends (0 is the extremes)."""
    return 1 - 2 * sum(math.comb(rounds, k) for k in range(depth + 1)) / 2**rounds


class Running:
    """A side's process."""

    def __init__(self, side: Side, python: Path, threads: int, folder: Path, shared: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        self.name = side.function
        environment = os.environ | {name: str(threads) for name in _THREAD_SETTINGS}
        environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
        command = [str(python), str(Path(__file__).with_name("worker.py")), side.function, json.dumps(shared | side.keywords), str(folder)]
        self.log = (folder / "log.txt").open("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environment, cwd=ROOT
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()

    def answer(self) -> dict[str, Any]:
        """Wait for the next answer.

        Raises:
            BertrecError: the side failed or is gone.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found: dict[str, Any] = json.loads(line) if line else {"error": f"ended with {self.process.wait()}"}
        if "error" in found:
            self.log.seek(0)
            raise BertrecError(f"{self.name}: {found['error']}\n{self.log.read()[-3000:]}")
        return found

    def run(self) -> dict[str, Any]:
        """Run once."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return self.answer()


def run_case(case: Case, data: Path, threads: int, python_of: Callable[[str], Path], say: Callable[[str], None]) -> dict[str, Any] | None:
    """Run a case and return its record; None where its data are absent and it has no fallback."""
    missing = [name for name in case.needs if not (data / name).is_dir()]
    if missing and case.fallback is None:
        say(f"{case.name}: left out, {', '.join(missing)} is not in {data}")
        return None
    own = dict(case.fallback or {}) if missing else {}
    sides = {name: side for name, side in (("ours", case.ours), ("theirs", case.theirs)) if side is not None}
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        shared: dict[str, Any] = {"data": str(data), **own}
        if case.prepare is not None:
            place = Path(scratch) / "shared"
            place.mkdir()
            _named(case.prepare)(folder=place, data=str(data), **{**case.ours.keywords, **own})
            shared["folder"] = str(place)
        running, ready = {}, {}
        for name, side in sides.items():
            side = Side(side.function, {**side.keywords, **own}, side.environment)
            say(f"{case.name}: {name} prepares")
            running[name] = stack.enter_context(Running(side, python_of(side.environment), threads, Path(scratch) / name, shared))
            ready[name] = running[name].answer()
        answers: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        for number in range(case.repeats + (case.repeats > 1)):
            for name in sides if number % 2 else reversed(sides):
                answer = running[name].run()
                say(f"{case.name}: {name} {answer['seconds']:.3f} s{'' if number or case.repeats == 1 else ' (warm-up)'}")
                answers[name].append(answer)
        kept = {name: found[case.repeats > 1 :] for name, found in answers.items()}
        record = _record(case, kept, ready, fallback=bool(missing))
        if case.agree is not None:
            checks = _named(case.agree)(**{name: _loaded(found[-1]) for name, found in kept.items()})
            record["agreement"] = {name: value.item() if hasattr(value, "item") else value for name, value in checks.items()}
    return record | {"threads": threads}


def _record(case: Case, kept: dict[str, list[dict[str, Any]]], ready: dict[str, Any], *, fallback: bool) -> dict[str, Any]:
    record: dict[str, Any] = {name: getattr(case, name) for name in ("title", "goal", "stretch", "limits", "notes")}
    record |= {"case": case.name, "fallback_data": fallback}
    for name, found in kept.items():
        seconds = [answer["seconds"] for answer in found]
        record[name] = {
            "seconds": seconds,
            "median_seconds": statistics.median(seconds),
            "peak_mib": found[-1]["peak_mib"],
            "prepared_mib": ready[name]["peak_mib"],
            "figures": found[-1]["figures"],
            "versions": ready[name]["versions"],
        }
    if "theirs" in record:
        record["ratio"] = asdict(ratio_of(record["ours"]["seconds"], record["theirs"]["seconds"]))
    return record


def goal_in_words(record: dict[str, Any]) -> str:
    """Return a record's goal and limits, each with whether it was reached; empty where it has none.

    >>> goal_in_words({"goal": 3.0, "ratio": {"median": 4.0}, "limits": {"seconds": 2}, "ours": {"median_seconds": 2.5, "peak_mib": 1}})
    '3 x reached, <= 2 s missed'
    """
    said = []
    if record["goal"] is not None and "ratio" in record:
        theirs = record.get("theirs", {}).get("figures", {})
        missed = "not shown" if theirs.get("lower_bound") else "missed"
        said.append(f"{record['goal']:.3g} x {'reached' if record['ratio']['median'] >= record['goal'] else missed}")
    measured = {"seconds": record["ours"]["median_seconds"], "peak_mib": record["ours"]["peak_mib"]}
    for name, limit in record.get("limits", {}).items():
        unit = "s" if name == "seconds" else "MiB"
        said.append(f"<= {limit:g} {unit} {'reached' if measured[name] <= limit else 'missed'}")
    return ", ".join(said)


def _loaded(answer: dict[str, Any]) -> dict[str, Any]:
    figures = {**answer["figures"], "seconds": answer["seconds"]}
    if answer["array"] is not None:
        import numpy as np

        figures["array"] = np.load(answer["array"])
    return figures


def _named(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found = getattr(importlib.import_module(module), name, None)
    if found is None:
        raise ConfigError(f"{module} has no function {name}")
    function: Callable[..., Any] = found
    return function


def our_python(name: str) -> Path:
    """Return the python of an environment: this one, or a peer's, set up where it is not there yet."""
    if name == OURS:
        return Path(sys.executable)
    from benchmarks.speed.environments import environment

    return environment(name)
