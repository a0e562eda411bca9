"""``python -m benchmarks.fuzz``: many attacks on every reader and artefact, and what became of them."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.fuzz.artefacts import artefacts
from benchmarks.fuzz.attacks import KINDS
from benchmarks.fuzz.engine import Tally, attack_all
from benchmarks.fuzz.tables import readers


def main() -> int:
    """Attack, print the figures, and return 1 where there was a fault."""
    words = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    words.add_argument("--rounds", type=int, default=300, help="attacks on each target")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", default="", help="targets whose names contain this")
    given = words.parse_args()
    targets = [target for target in [*readers(), *artefacts()] if given.only in target.name]
    started = time.perf_counter()
    tally = attack_all(targets, rounds=given.rounds, seed=given.seed, tell=lambda name: print(f"{name} …", file=sys.stderr))
    print("\n".join(figures(tally, [target.name for target in targets])))
    print(f"\n{len(tally.faults)} faults of {tally.outcomes.total()} attacks, {time.perf_counter() - started:.0f} s")
    print("\n".join(tally.faults))
    return int(bool(tally.faults))


def figures(tally: Tally, names: list[str]) -> list[str]:
    """Return lines of figures, by target and by kind of attack."""
    head = f"{'':30} {'attacks':>8} {'same':>8} {'changed':>8} {'refused':>8} {'fault':>8}"
    lines = [head, *(_line(tally, name, 0) for name in names), "", head]
    return lines + [_line(tally, kind, 1) for kind in KINDS]


def _line(tally: Tally, name: str, place: int) -> str:
    counts = dict.fromkeys(("same", "changed", "refused", "fault"), 0)
    for key, count in tally.outcomes.items():
        if key[place] == name:
            counts[key[2]] += count
    return f"{name:30} {sum(counts.values()):8} " + " ".join(f"{count:8}" for count in counts.values())


if __name__ == "__main__":
    sys.exit(main())
