"""Write ``docs/results.md`` from the rows of `new_items` and `quality`, with paired intervals: ``python -m benchmarks.quality_table``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.default_tables import DATA, cold_table, defaults_pairs, defaults_table
from benchmarks.encoder_table import cold_variant_table, encoder_table
from bertrec.core.files import atomic_file
from bertrec.evaluation.significance import paired_comparison

RESULTS = Path(__file__).parent / "results"
PER_USER = Path("runs") / "benchmarks"
OUT = Path(__file__).parent.parent / "docs" / "results.md"
PAIRS_FILE = RESULTS / "pairs.json"
NOTES = Path(__file__).parent / "results_notes.md"


def runs(row: str) -> list[dict[str, Any]]:
    """Return the records of a row, one per seed."""
    files = sorted(RESULTS.glob(f"{row}-[0-9].json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def value(record: dict[str, Any], report: str, metric: str, part: str = "all") -> float:
    """Return one mean."""
    found: float = record["reports"][report]["slices"][part]["metrics"][metric]["mean"]
    return found


def spread(values: list[float]) -> str:
    """Return ``mean ± sd`` over seeds."""
    if not values:
        return "–"
    sd = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{sd}"


def minutes(records: list[dict[str, Any]]) -> str:
    """Return the mean minutes of a fit."""
    return f"{np.mean([record['fit_seconds'] for record in records]) / 60:.1f}" if records else "–"


def epochs(records: list[dict[str, Any]]) -> str:
    """Return the best epochs and how many were run."""
    logs = [record["train_log"] for record in records if record["train_log"]]
    return ", ".join(f"{log['best_epoch']}/{len(log['epochs'])}" for log in logs) or "–"


def table(title: str, rows: dict[str, str], reports: tuple[str, str] = ("masked", "unmasked")) -> list[str]:
    """Return one table: a model per line, both protocols beside each other; its title stands above the models."""
    first, second = reports
    lines = [
        f"| {title} | seeds | NDCG@10 {first} | HR@10 {first} | NDCG@10 {second} | HR@10 {second} | best epoch | minutes per fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, row in rows.items():
        found = runs(row)
        if not found:
            lines.append(f"| {label} | not run | – | – | – | – | – | – |")
            continue
        cells = [spread([value(record, report, metric) for record in found]) for report in reports for metric in ("NDCG@10", "HR@10")]
        lines.append(f"| {label} | {len(found)} | {' | '.join(cells)} | {epochs(found)} | {minutes(found)} |")
    return lines


def compared(title: str, a: str, b: str, report: str, names: tuple[str, str]) -> dict[str, Any] | None:
    """Compare two rows over users, values averaged over the seeds that both have."""
    per_user = [[PER_USER / f"{row}-{seed}.npz" for row in (a, b)] for seed in range(10)]
    both = [pair for pair in per_user if all(file.exists() and (RESULTS / f"{file.stem}.json").exists() for file in pair)]
    if not both:
        return None
    means = [np.mean([np.load(pair[side])[f"{report}|NDCG@10"] for pair in both], axis=0) for side in (0, 1)]
    result = paired_comparison(means[0], means[1], names=names).to_json()
    return {"title": title, "report": report, "seeds": len(both), **result}


def still_true(pair: dict[str, Any] | None, a: str, b: str) -> dict[str, Any] | None:
    """Return a stored comparison if the records of both rows still differ by what it says, else None."""
    if pair is None:
        return None
    seeds = [{record["seed"]: value(record, pair["report"], "NDCG@10") for record in runs(row)} for row in (a, b)]
    both = seeds[0].keys() & seeds[1].keys()
    differences = [seeds[0][seed] - seeds[1][seed] for seed in both]
    return pair if len(both) == pair["seeds"] and np.isclose(np.mean(differences), pair["difference"], rtol=0, atol=1e-9) else None


COMPARISONS: list[tuple[str, str, str, str, tuple[str, str]]] = [
    *[
        ("ml-100k, text only", f"depth-{tune}", frozen, "masked", (label, name))
        for tune, label in (("last2", "last:2"), ("lora", "lora"), ("full", "full"))
        for frozen, name in (("depth-frozen", "frozen, its own defaults"), ("depth-frozen-same", "frozen, same loss and epochs"))
    ],
    *[
        ("ml-100k, text only", f"depth-{adapted}", f"depth-{frozen}", "masked", (label, name))
        for adapted, frozen, label, name in (
            ("adapted", "frozen", "adapted, then frozen", "frozen, its own defaults"),
            ("adapted-same", "frozen-same", "adapted, then frozen, same loss and epochs", "frozen, same loss and epochs"),
            ("adapted", "full", "adapted, then frozen", "full"),
            ("adapted-same", "full", "adapted, then frozen, same loss and epochs", "full"),
        )
    ],
    ("ml-100k, text only, last:2", "refresh-20-steps", "refresh-each-step", "masked", ("read each 20 steps", "read each step")),
    ("amazon-scientific, text only", "scientific-text-int8", "scientific-text", "masked", ("int8", "fp32")),
    (
        "amazon-scientific, text only",
        "transfer-fine-tuned",
        "scientific-text",
        "masked",
        ("fine-tuned from amazon-beauty", "from scratch"),
    ),
]


def comparisons() -> list[dict[str, Any]]:
    """Return the paired comparisons, from the per-user values where they are there, else as they were stored."""
    stored = json.loads(PAIRS_FILE.read_text(encoding="utf-8")) if PAIRS_FILE.exists() else []
    known = {(one["title"], *one["names"]): one for one in stored}
    pairs = [compared(*one) or still_true(known.get((one[0], *one[4])), one[1], one[2]) for one in COMPARISONS]
    return [*defaults_pairs(), *(pair for pair in pairs if pair is not None)]


def pairs_table(found: list[dict[str, Any]], against: str) -> list[str]:
    """Return the table of the comparisons whose second name begins with ``against``: names, with `` or `` between them."""
    lines = ["| data | a | b | seeds | NDCG@10 a − b | 95 % interval | Wilcoxon p | verdict |", "|---|---|---|---|---|---|---|---|"]
    for one in (pair for pair in found if pair["names"][1].startswith(tuple(against.split(" or ")))):
        low, high = one["ci95"]
        cells = [one["title"], *one["names"], str(one["seeds"]), f"{one['difference']:+.4f}", f"[{low:+.4f}, {high:+.4f}]"]
        lines.append(f"| {' | '.join(cells)} | {one['p_wilcoxon']:.2g} | {one['verdict']} |")
    return lines


def tables() -> dict[str, list[str]]:
    """Return the tables that the notes name."""
    depth = {f"MoRec, text, {tune}": f"depth-{tune.replace(':', '')}" for tune in ("frozen", "last:2", "lora", "full")}
    depth |= {"MoRec, text, frozen, the tuned ones' loss and epochs": "depth-frozen-same"}
    depth |= {"MoRec, text, adapted before, then frozen": "depth-adapted"}
    depth |= {"MoRec, text, adapted before, the tuned ones' loss and epochs": "depth-adapted-same"}
    stale = {"in each step": "refresh-each-step", "once in 20 steps": "refresh-20-steps"}
    precision = {"encoded in fp32 (default)": "scientific-text", "encoded in int8": "scientific-text-int8"}
    transfer = {"zero-shot": "transfer-zero-shot", "fine-tuned (--init)": "transfer-fine-tuned", "from scratch": "scientific-text"}
    return {
        **{data: defaults_table(data, spread) for data in DATA},
        "encoders": encoder_table(),
        "depth": table("ml-100k", depth),
        "refresh": table("the other items are read", stale),
        "precision": table("UniSRec, text", precision),
        "transfer": table("amazon-beauty to amazon-scientific, text", transfer),
    }


def page(found: list[dict[str, Any]]) -> str:
    """Return the whole page: the notes, with tables in place of their marks."""
    made = tables()
    kinds = {"table": made.__getitem__, "pairs": lambda name: pairs_table(found, name), "cold": lambda names: cold_table(*names.split())}
    kinds["variant"] = lambda names: cold_variant_table(*names.split(maxsplit=2))
    mark = re.compile(r"^<!-- (table|pairs|cold|variant): (.*) -->$", flags=re.MULTILINE)
    return mark.sub(lambda one: "\n".join(kinds[one[1]](one[2])), NOTES.read_text(encoding="utf-8"))


def main() -> None:
    """Write the comparisons and the page."""
    found = comparisons()
    for path, text in ((PAIRS_FILE, json.dumps(found, indent=2) + "\n"), (OUT, page(found))):
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    print(f"wrote {OUT}")


if __name__ == "__main__":
    main()
