"""Words in, items out on ml-latest-small: a query tower beside BM25, the untrained encoder, both joined, and chance.

    nice python -m benchmarks.queries --data DATA_FOLDER --seed 0
    nice python -m benchmarks.queries --data DATA_FOLDER --seed 0 --set adapter=mlp     # validation queries alone

The query of a film is its genres, its director and six words in a row of its overview, which are then taken out of the
texts that everything ranks by. Films are dealt into 80 % training, 10 % validation and 10 % test, so that no test film
is in a training pair; all 9,742 films are ranked. The encoder is MiniLM, frozen; its vectors are cached. Times are
processor seconds, of which the first run spends most on encoding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path

from bertrec.cli.options import read_settings
from bertrec.core.files import write_json
from bertrec.data.load import load
from bertrec.evaluation.report import Report
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.evaluate import METRICS, measure_tower
from bertrec.models.queries.make import make_pairs
from bertrec.models.queries.train import train_tower

RESULTS = Path(__file__).parent / "results-rankers"
NAME = "ml-latest-small"
FIELDS, PHRASE, WORDS = ("genres", "director"), "overview", 6


def main() -> None:
    """Measure one seed and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="print the valid part's figures with another setting"
    )
    asked = parser.parse_args()
    started = time.process_time()
    pairs = make_pairs(load(asked.data / NAME).catalog, FIELDS, phrase=PHRASE, words=WORDS, seed=asked.seed)
    config = QueryConfig().updated({"train.seed": asked.seed} | read_settings(None, asked.set))
    tower = train_tower(pairs, config, say=print)
    trained = time.process_time() - started
    if asked.set:  # a setting is chosen on validation queries; nothing is written down
        show(measure_tower(tower, pairs, "valid").reports)
        return
    measured = measure_tower(tower, pairs, "test")
    row = {
        "data": NAME,
        "seed": asked.seed,
        "fields": list(FIELDS),
        "phrase": f"{WORDS} words of {PHRASE}",
        "settings": config.to_flat(),
        "about": tower.about,
        "weights": tower.weights,
        "cpu_seconds": {"encode and train": round(trained), "all": round(time.process_time() - started)},
        **measured.to_json(),
    }
    write_json(RESULTS / f"queries-{NAME}-{asked.seed}.json", row)
    show(measured.reports)


def show(reports: Mapping[str, Report]) -> None:
    """Print the figures of each model."""
    for name, report in reports.items():
        print(name, {metric: round(report.mean(metric), 4) for metric in METRICS})


if __name__ == "__main__":
    main()
