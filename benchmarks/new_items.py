"""New items and all users, with the plain commands' defaults: a run beside the untrained similarities, over draws or seeds.

    python -m benchmarks.new_items cold amazon-scientific --data DATA_FOLDER --draws 0 1 2
    python -m benchmarks.new_items warm amazon-scientific --data DATA_FOLDER --draws 0 1 2
    python -m benchmarks.new_items table

``cold``: a tenth of the catalogue is held out by the seed, as ``bertrec train --split cold-items --seed DRAW`` does; the run is
``bertrec train DATA --split cold-items --seed DRAW``. ``warm``: the data's own split or leave-one-out, ``bertrec train DATA --seed DRAW``.
Each run with and without its match is measured; without is the model of before. A row that exists is not run again. Test users are
measured once, by the finished run.
"""

from __future__ import annotations

import argparse
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.files import read_json, write_json
from bertrec.data.load import load, make_split
from bertrec.data.splits import Split
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.significance import paired_comparison, with_holm
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.untrained import UNTRAINED

RESULTS = Path(__file__).parent / "results-new-items"
SHOWN = ("NDCG@10", "HR@10")
SLICES = ("all", "cold_items", "few_shot_items", "warm_items")


def protocols(split: Split) -> dict[str, Protocol]:
    """Return what is measured, by name."""
    if len(split.held_out):
        return {"full": Protocol(), "among": Protocol(candidates="held_out")}
    return {"masked": Protocol(), "masked, targets ranked": Protocol(seen_targets="rank"), "unmasked": Protocol(mask_seen=False)}


def measured(model: Recommender, split: Split) -> dict[str, Any]:
    """Return figures by protocol and slice, and for a split with new items the NDCG@10 of each test user."""
    assert split.test is not None
    out: dict[str, Any] = {}
    for name, rules in protocols(split).items():
        held_out = split.held_out if len(split.held_out) else None
        report = evaluate(model, split.test, protocol=rules, item_counts=split.train.item_counts, held_out=held_out, lists=False)
        slices = {part: report.slices[part].to_json() for part in SLICES if report.slices[part].users}
        kept = {part: {"users": one["users"], **{m: one["metrics"][m] for m in SHOWN}} for part, one in slices.items()}
        out[name] = {"slices": kept}
        if held_out is not None:  # what the paired tests over draws need
            out[name]["per_user"] = [round(float(value), 6) for value in report.per_user("NDCG@10")]
    return out


def cost_met(run: NeuralRecommender, split: Split) -> dict[str, float]:
    """Return NDCG@10 of the validation users, who want items of training all, without and with the weights of new items."""
    match, figures = run.match, {}
    assert match is not None
    assert split.validation is not None
    plain = replace(match, weights=match.weights.with_(new_text=0.0, new=0.0, new_vector=1.0))
    for name, served in (("before", plain), ("after", match)):
        run.take_match(served)
        report = evaluate(run, split.validation, protocol=Protocol(bootstrap=0), item_counts=split.train.item_counts, lists=False)
        figures[name] = round(report.mean("NDCG@10"), 6)
    return figures


def row_of(kind: str, data: str, folder: Path, draw: int, model: str) -> dict[str, Any]:
    """Train and measure one row."""
    dataset = load(data if data == "ml-100k" else folder / data)
    split = make_split(dataset, "cold-items", seed=draw) if kind == "cold" else make_split(dataset)
    run = create(model, seed=draw).fit(split.train, validation=split.validation, progress=False)
    assert isinstance(run, NeuralRecommender)
    row: dict[str, Any] = {"kind": kind, "data": data, "draw": draw, "model": model, "config": run.config.to_dict()}
    log = run.train_log
    row["train"] = None if log is None else {"seconds": round(log.seconds), "best_epoch": log.best_epoch}
    row["weights"] = run.weights_in_words
    row["machine"] = {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
    row["models"] = {"run": measured(run, split)}
    if kind == "cold":
        row["others"] = cost_met(run, split)
    run.drop_match()
    row["models"]["run without its match"] = measured(run, split)
    if kind == "cold":
        row["models"] |= {name: measured(create(name).fit(split.train, progress=False), split) for name in UNTRAINED}
    return row


def table() -> None:
    """Print one line for each kind, data and model: means over draws, and the paired difference to the better untrained similarity."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    for kind, data, model in sorted({(row["kind"], row["data"], row["model"]) for row in rows}):
        own = [row for row in rows if (row["kind"], row["data"], row["model"]) == (kind, data, model)]
        print(f"\n{kind} {data} {model}: draws {', '.join(str(row['draw']) for row in own)}")
        for name in own[0]["models"]:
            print(f"  {name:24s}", "  ".join(f"{rules}: {_figures(own, name, rules)}" for rules in own[0]["models"][name]))
        if kind == "cold":
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
    results = []
    for rules in ("full", "among"):
        values = {name: np.concatenate([row["models"][name][rules]["per_user"] for row in rows]) for name in ("run", *UNTRAINED)}
        best = max(UNTRAINED, key=lambda name: values[name].mean())
        results.append(paired_comparison(values["run"], values[best], names=(f"run, {rules}", best)))
    for result in with_holm(results):
        low, high = result.ci95
        ratio = result.mean_a / result.mean_b
        words = f"{result.mean_a:.4f} against {result.mean_b:.4f} of {result.names[1]}: {ratio:.3f} x, {result.difference:+.4f}"
        print(f"  {result.names[0]}: {words} [{low:+.4f}, {high:+.4f}], Holm p {result.p_holm:.2g}, {result.users} users of all draws")


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["cold", "warm", "table"])
    parser.add_argument("names", nargs="*", help="ml-100k, or folders of --data")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--model", default="unisrec")
    given = parser.parse_args()
    if given.kind == "table":
        table()
        return
    RESULTS.mkdir(exist_ok=True)
    for data in given.names:
        for draw in given.draws:
            path = RESULTS / f"{given.kind}-{data}-{given.model}-{draw}.json"
            if not path.exists():
                write_json(path, row_of(given.kind, data, given.data, draw, given.model))
                print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
