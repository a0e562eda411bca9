"""P5's tasks: full tuning of the encoder against option tuning, with what each task learned, memory and seconds.

    python benchmarks/p5.py --data ml-100k --encoder encoders/ml
    python benchmarks/p5.py --data DATA_FOLDER/amazon-giftcards --encoder encoders/gift --pairs 500 --set train.epochs=1

Liked from 4; the first 80 % of time trains, the last 10 % is measured, of each at most ``--pairs``, drawn by seed 0. Each row is trained in
a process of its own, so that its peak of memory is its own: ``peak_mib`` is the device's on a GPU, else the process's. The encoder needs a
masked-language-model head: ``bertrec encoder adapt-mlm``. A row whose file is in ``--results`` is not trained again.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import bertrec
from bertrec.cli.options import read_settings
from bertrec.cli.output import print_table
from bertrec.core.files import read_json, write_json
from bertrec.core.shown import without_places
from bertrec.data.impressions import Impressions
from bertrec.data.ratings import one_candidate_each, rated_parts
from bertrec.evaluation.protocol import versions
from bertrec.rankers import RANKERS, Known

RESULTS = Path(__file__).parent / "results-p5"
TUNINGS = ("full", "frozen")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="ml-100k")
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--pairs", type=int, default=5000, help="of the training and of the test part, at most")
    parser.add_argument("--drawn", type=int, default=99, help="wrong ones beside each right one")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings, such as train.epochs=1")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        _train(options.row[0], int(options.row[1]), options)
        return
    rows = [(tuning, seed) for seed in options.seeds for tuning in TUNINGS]
    for tuning, seed in rows:
        if not _file(tuning, seed, options).exists():
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--row", tuning, str(seed)], check=True)
    found = [(tuning, seed, read_json(_file(tuning, seed, options))) for tuning, seed in rows]
    print_table("", ["tuning", "seed", "trained", "peak MiB", "seconds", "figures"], [_shown(*row) for row in found])


def _file(tuning: str, seed: int, options: argparse.Namespace) -> Path:
    return Path(options.results) / f"p5-{Path(options.data).name}-{tuning}-{seed}.json"


def _shown(tuning: str, seed: int, row: dict[str, Any]) -> list[str]:
    costs, figures = row["costs"], row["figures"]
    words = [f"{task}: " + ", ".join(f"{name} {value:.3f}" for name, value in of.items()) for task, of in figures.items()]
    return [tuning, str(seed), f"{costs['trained']:,}", f"{costs['peak_mib']:.0f}", f"{costs['seconds']:.0f}", "\n".join(words)]


def _train(tuning: str, seed: int, options: argparse.Namespace) -> None:
    dataset = bertrec.load(options.data)
    parts = rated_parts(dataset.interactions)
    train, test = (_some(one_candidate_each(parts.parts[name].impressions), options.pairs) for name in ("train", "test"))
    settings = {"encoder.name": options.encoder, "encoder.tune": tuning, "negatives": 0}
    given = read_settings(None, options.set)
    ranker = RANKERS.find("p5").configured(settings={**settings, **given}, seed=seed)
    ranker.fit(train, known=Known(dataset.users, parts.past), progress=False)
    figures = ranker.measure(test, known=Known(dataset.users, dataset.interactions), drawn=options.drawn)
    about = {"data": dataset.name, "encoder": without_places(options.encoder), "settings": given, "seed": seed}
    about |= {"pairs": [len(train), len(test)]}
    found = {"costs": ranker.costs, "figures": figures, "notes": ranker.notes, "versions": versions()}
    write_json(_file(tuning, seed, options), {**about, **found})


def _some(shown: Impressions, most: int) -> Impressions:
    return shown if len(shown) <= most else shown.take(np.sort(np.random.default_rng(0).permutation(len(shown))[:most]))


if __name__ == "__main__":
    main()
