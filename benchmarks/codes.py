"""Items as codes: quality and memory beside text vectors and IDs, with the plain commands' defaults.

    nice python -m benchmarks.codes text amazon-scientific --data DATA_FOLDER --draws 0 1 2
    nice python -m benchmarks.codes behaviour ml-100k --draws 0 1 2
    nice python -m benchmarks.codes joined ml-100k amazon-scientific --data DATA_FOLDER --draws 0 1 2
    python -m benchmarks.codes table

``text``: ``bertrec train DATA --model vqrec --item-input text --seed DRAW`` beside ``--model unisrec --item-input text``.
``behaviour``: the same with ``--item-input id``, beside ``--model idrec``. ``joined``: ``text+id``, beside
``--model unisrec``. Each run is measured with and without its match. ``--set NAME=VALUE --label WORD`` makes another row of
the model over codes. A row that exists is not run again. Test users are measured once, by the finished run.
"""

from __future__ import annotations

import argparse
import platform
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.new_items import unpacked, warm
from bertrec.cli.options import read_settings
from bertrec.comparison.draws import SHOWN
from bertrec.core.files import read_json, write_json
from bertrec.data.load import Dataset, load
from bertrec.evaluation.significance import paired_comparison

RESULTS = Path(__file__).parent / "results-codes"
KINDS = {"text": ("unisrec", "text"), "behaviour": ("idrec", "id"), "joined": ("unisrec", "text+id")}
"""What the model over codes stands beside, and the item input of both."""
FLOAT = 4


def row_of(kind: str, model: str, dataset: Dataset, draw: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Train and measure one row, with the bytes that its items take."""
    row = warm(dataset, model, draw, item_input=KINDS[kind][1], settings=settings)
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    plain = {"ids": (len(dataset.catalog) + 1) * row["config"]["item"]["width"] * FLOAT}
    return {"kind": kind, "model": model, "settings": settings, "machine": machine} | row | {"memory": row["memory"] or plain}


def item_bytes(row: dict[str, Any]) -> int:
    """Return the bytes of the item table: codes and their vectors, or the ID table; text vectors are not in it."""
    memory = row["memory"]
    return int(memory["codes"] + memory["vectors"] if "codes" in memory else memory["ids"])


def table() -> None:
    """Print for each kind and data the means over draws, the items' memory, and the paired difference to what it stands beside."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    for kind, data in sorted({(row["kind"], row["data"]) for row in rows}):
        print(f"\n{kind} {data}")
        own = [row for row in rows if (row["kind"], row["data"]) == (kind, data)]
        labels = sorted({row["label"] for row in own}, key=lambda label: label != KINDS[kind][0])
        for label in labels:
            _line(label, [row for row in own if row["label"] == label], [row for row in own if row["label"] == labels[0]])


def _line(label: str, own: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    print(f"  {label}: draws {', '.join(str(row['draw']) for row in own)}; items {item_bytes(own[0]) / 1024:,.0f} KiB")
    for state in own[0]["models"]:
        for rules in own[0]["models"][state]:
            words = " / ".join(f"{_mean(own, state, rules, metric):.4f}" for metric in SHOWN)
            print(f"    {state}, {rules}: {words}{_against(own, others, state, rules)}")


def _mean(rows: list[dict[str, Any]], state: str, rules: str, metric: str) -> float:
    return float(np.mean([row["models"][state][rules]["slices"]["all"][metric]["mean"] for row in rows]))


def _against(own: list[dict[str, Any]], others: list[dict[str, Any]], state: str, rules: str) -> str:
    draws = sorted({row["draw"] for row in own} & {row["draw"] for row in others})
    if own == others or not draws:
        return ""
    a, b = (_per_user([row for row in rows if row["draw"] in draws], state, rules) for rows in (own, others))
    found = paired_comparison(a, b, names=(own[0]["label"], others[0]["label"]), resamples=10_000, seed=0)
    low, high = found.ci95
    return f"; {a.mean() / b.mean():.3f} x {others[0]['label']}, {found.difference:+.4f} [{low:+.4f}, {high:+.4f}]"


def _per_user(rows: list[dict[str, Any]], state: str, rules: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return each user's figure, the mean over draws."""
    means: np.ndarray[Any, np.dtype[np.float64]] = np.mean([unpacked(row["models"][state][rules]["per_user"]) for row in rows], axis=0)
    return means


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "table"])
    parser.add_argument("names", nargs="*", help="ml-100k, or folders of --data")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--label", default="vqrec")
    given = parser.parse_args()
    if given.kind == "table":
        table()
        return
    RESULTS.mkdir(exist_ok=True)
    settings = {"vqrec": read_settings(None, given.set), KINDS[given.kind][0]: {}}
    for name in given.names:
        for draw in given.draws:
            for model, label in (("vqrec", given.label), (KINDS[given.kind][0],) * 2):
                path = RESULTS / f"{given.kind}-{name}-{label}-{draw}.json"
                if not path.exists():
                    dataset = load(name if name == "ml-100k" else given.data / name)
                    row = row_of(given.kind, model, dataset, draw, settings[model])
                    write_json(path, {"data": name, "label": label} | row)
                    print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
