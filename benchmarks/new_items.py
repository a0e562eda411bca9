"""New items and all users, with the plain commands' defaults: a run beside the untrained similarities, over draws or seeds.

    python -m benchmarks.new_items cold amazon-scientific --data DATA_FOLDER --draws 0 1 2
    python -m benchmarks.new_items warm amazon-scientific --data DATA_FOLDER --draws 0 1 2 --model unisrec --item-input text
    python -m benchmarks.new_items warm amazon-scientific --data DATA_FOLDER --draws 0 1 2 --variant mpnet encoder.name=mpnet
    python -m benchmarks.new_items table

``cold``: a tenth of the catalogue is held out by the seed, as ``bertrec train --split cold-items --seed DRAW`` does; the run is
``bertrec train DATA --split cold-items --seed DRAW``. ``parts``: the ten parts of one deal of the catalogue, as ``bertrec new-items DATA
--partition --draws 10`` takes them. ``warm``: the data's own split or leave-one-out, ``bertrec train DATA --model MODEL --seed DRAW``,
with ``--item-input`` where it is given. ``--variant LABEL NAME=VALUE …`` gives any of them other settings.
Each run with and without its match is measured; without is the model of before. A row that exists is not run again. Test users are
measured once, by the finished run.
"""

from __future__ import annotations

import argparse
import base64
import platform
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.cli.options import read_settings
from bertrec.comparison.draws import METRIC, SHOWN, Draws, figures_of, join, measured_draw, told
from bertrec.core.files import read_json, write_json
from bertrec.core.shown import note_without_places, without_places
from bertrec.data.load import load, make_split
from bertrec.data.splits import Split
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.vqrec import VQRec

RESULTS = Path(__file__).parent / "results-new-items"
PROTOCOLS = {"masked": Protocol(), "masked, targets ranked": Protocol(seen_targets="rank"), "unmasked": Protocol(mask_seen=False)}


def packed(values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Return figures as text: float32, zlib, base64."""
    return base64.b64encode(zlib.compress(np.asarray(values, "<f4").tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what `packed` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4").astype(np.float64)


def measured(model: Recommender, split: Split) -> dict[str, Any]:
    """Return figures on all test users by protocol and slice."""
    assert split.test is not None
    counts, out = split.train.item_counts, {}
    for name, rules in PROTOCOLS.items():
        report = evaluate(model, split.test, protocol=rules, item_counts=counts, lists=False)
        out[name] = told(report) | {"per_user": packed(report.per_user(METRIC))}
    return out


def cold(dataset: Any, plan: Draws, draw: int) -> dict[str, Any]:
    """Train and measure one draw, and the same run without its match."""
    split = plan.split(dataset, draw)
    row, run = measured_draw(plan, split, draw)
    row["split"] = row["split"] | {"notes": [note_without_places(note) for note in row["split"]["notes"]]}  # a row is published
    if isinstance(run, NeuralRecommender) and run.match is not None:
        run.drop_match()
        row["models"]["run without its match"] = figures_of(run, split)["run"]
    return row


def warm(dataset: Any, model: str, draw: int, **how: Any) -> dict[str, Any]:
    """Train and measure one seed on the data's own split or leave-one-out.

    Args:
        dataset: the data.
        model: its name.
        draw: the seed.
        **how: further arguments of `bertrec.create`.
    """
    split = make_split(dataset)
    run = create(model, seed=draw, **how).fit(split.train, validation=split.validation, progress=False)
    log = run.train_log
    row: dict[str, Any] = {
        "draw": draw,
        "config": run.config.to_dict(),
        "weights": run.weights_in_words if isinstance(run, NeuralRecommender) else None,
    }
    row["train"] = None if log is None else {"seconds": round(log.seconds), "best_epoch": log.best_epoch}
    row["memory"] = run.item_memory() if isinstance(run, VQRec) else None
    row["models"] = {"run": measured(run, split)}
    if isinstance(run, NeuralRecommender) and run.match is not None:
        run.drop_match()
        row["models"]["run without its match"] = measured(run, split)
    return row


def row_of(kind: str, data: str, draw: int, options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one row."""
    dataset = load(data if data == "ml-100k" else options.data / data)
    parts, model = kind == "parts", options.model
    settings = read_settings(None, options.variant[1:]) if options.variant else {}
    row = (
        warm(dataset, model, draw, item_input=options.item_input, settings=settings)
        if kind == "warm"
        else cold(dataset, Draws(model, settings=settings, partition=parts, draws=10 if parts else draw + 1), draw)
    )
    if encoder := row["config"].get("encoder"):
        encoder["name"] = without_places(encoder["name"])  # a row is published
    machine = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    return {"kind": kind, "data": data, "model": named(options), "machine": machine} | row


def named(options: argparse.Namespace) -> str:
    """Return the name that rows and their files have: the model's, its input and its variant's where these were chosen."""
    variant = options.variant[0] if options.variant else None
    return "-".join(part for part in (options.model, options.item_input, variant) if part)


def table() -> None:
    """Print one line for each kind, data and model: means over draws, and the paired difference to the better untrained similarity."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    for kind, data, model in sorted({(row["kind"], row["data"], row["model"]) for row in rows}):
        own = [row for row in rows if (row["kind"], row["data"], row["model"]) == (kind, data, model)]
        print(f"\n{kind} {data} {model}: draws {', '.join(str(row['draw']) for row in own)}")
        for name in own[0]["models"]:
            print(f"  {name:24s}", "  ".join(f"{rules}: {_figures(own, name, rules)}" for rules in own[0]["models"][name]))
        if kind != "warm":
            for row in own:
                before, after = row["others"]["before"], row["others"]["after"]
                print(f"  draw {row['draw']}: users of other items, validation: {before:.4f} -> {after:.4f}, {1 - after / before:.1%} lost")
            _paired(own)


def _figures(rows: list[dict[str, Any]], name: str, rules: str) -> str:
    words = []
    for part in ("all", "few_shot_items") if rules.startswith("masked") else ("all",):
        found = [row["models"][name][rules]["slices"][part] for row in rows]
        words.append(" / ".join(f"{np.mean([one[metric]['mean'] for one in found]):.4f}" for metric in SHOWN))
    return " few-shot ".join(words)


def _paired(rows: list[dict[str, Any]]) -> None:
    for ranking, one in join(rows)["against"].items():
        low, high = one["ci95"]
        wide = ", ".join(f"{bound:+.4f}" for bound in one["ci95_draws"])
        words = f"{one['mean_a']:.4f} against {one['mean_b']:.4f} of {one['names'][1]}: {one['mean_a'] / one['mean_b']:.3f} x"
        words += f", {one['difference']:+.4f} [{low:+.4f}, {high:+.4f}], over draws too [{wide}], Holm p {one['p_holm']:.2g}"
        print(f"  run, {ranking}: {words}, {one['users']} users of all draws")


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["cold", "parts", "warm", "table"])
    parser.add_argument("names", nargs="*", help="ml-100k, or folders of --data")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--model", default="unisrec")
    parser.add_argument("--item-input", choices=["text", "text+id", "id"], help="for warm; the model's default otherwise")
    parser.add_argument(
        "--variant", nargs="+", metavar="LABEL NAME=VALUE", help="a name for the rows, and settings other than the defaults"
    )
    given = parser.parse_args()
    if given.item_input and given.kind != "warm":
        parser.error("--item-input is for warm")
    if given.kind == "table":
        table()
        return
    RESULTS.mkdir(exist_ok=True)
    for data in given.names:
        for draw in given.draws:
            path = RESULTS / f"{given.kind}-{data}-{named(given)}-{draw}.json"
            if not path.exists():
                write_json(path, row_of(given.kind, data, draw, given))
                print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
