"""What `bertrec update --train` costs and keeps: a run that goes on with each user's newest interaction, beside a fresh fit on all.

    nice python -m benchmarks.warm_start amazon-scientific --data DATA_FOLDER --seed 0

The run of before is fitted on all but the newest interaction of each user. Then that interaction comes. Compared on the users of the
leave-one-out split of all interactions: the run of before (its histories grown, nothing trained), the run trained on (an eighth and a
quarter of the epochs), and a fresh fit with the plain defaults. Times are processor seconds, which other work on the machine
changes little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.files import write_json
from bertrec.data.interactions import Interactions
from bertrec.data.load import load
from bertrec.data.splits import Split, leave_one_out
from bertrec.evaluation.significance import paired_comparison
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create

RESULTS = Path(__file__).parent / "results-warm-start"
SHARES = (0.125, 0.25)


def before_the_newest(data: Interactions) -> Interactions:
    """Return all but the newest interaction of each user."""
    last = np.zeros(len(data), np.bool_)
    last[data.sequences.offsets[1:][data.sequences.lengths > 0] - 1] = True
    return data.where(~last).without_empty_users()


def fitted(make: Callable[[], Recommender]) -> tuple[Recommender, float]:
    """Return a model and the processor seconds that it took."""
    started = time.process_time()
    model = make()
    return model, time.process_time() - started


def row_of(data: str, folder: Path, seed: int, model: str) -> dict[str, Any]:
    """Fit, go on, fit afresh, and measure all on the same users."""
    everything = load(data if data == "ml-100k" else folder / data).interactions
    everything = Interactions(everything.catalog, everything.users, everything.sequences, timestamp=everything.timestamp)
    old, new = leave_one_out(before_the_newest(everything)), leave_one_out(everything)
    base, seconds = fitted(lambda: create(model, seed=seed).fit(old, progress=False))
    models = {"before": (base, seconds)}
    for share in SHARES:
        models[f"trained on, {share:g} of the epochs"] = fitted(lambda share=share: base.continued(new, share=share, progress=False))
        print(measured(models, new), flush=True)
    models["fresh fit"] = fitted(lambda: create(model, seed=seed).fit(new, progress=False))
    return {"data": data, "seed": seed, "model": model, "rows": measured(models, new)}


def measured(models: dict[str, tuple[Recommender, float]], split: Split) -> dict[str, Any]:
    """Return NDCG@10, seconds, and the paired difference to the fresh fit, by name."""
    assert split.test is not None
    reports = {name: evaluate(one, split.test, item_counts=split.train.item_counts, lists=False) for name, (one, _) in models.items()}
    out = {}
    for name, (_, seconds) in models.items():
        out[name] = {"seconds": round(seconds), "NDCG@10": reports[name].mean("NDCG@10"), "HR@10": reports[name].mean("HR@10")}
        if "fresh fit" in reports and name != "fresh fit":
            pair = paired_comparison(reports[name].per_user("NDCG@10"), reports["fresh fit"].per_user("NDCG@10"), names=(name, "fresh fit"))
            out[name]["difference"] = pair.to_json()
    return out


def main() -> None:
    """Measure one row and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="unisrec")
    asked = parser.parse_args()
    row = row_of(asked.name, asked.data, asked.seed, asked.model)
    write_json(RESULTS / f"{asked.model}-{asked.name}-{asked.seed}.json", row)
    print(row)


if __name__ == "__main__":
    main()
