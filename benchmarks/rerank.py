"""Rerankers on real lists (PALR's question): what each adds to UniSRec's best 50 on amazon-scientific, over the whole catalogue.

    python -m benchmarks.rerank run --data DATA_FOLDER --rows composite cross-encoder prompt4nr --seeds 0 1 2
    python -m benchmarks.rerank speed --data DATA_FOLDER
    python -m benchmarks.rerank table

The retriever is ``bertrec train amazon-scientific --model unisrec --item-input text+id``, all defaults, seed 0: the row of
``benchmarks/quality.py``, from ``runs/benchmarks`` where it is there and trained once where it is not. A row is what ``bertrec rerank train
… --learn-from valid`` makes of it; its command stands in its file. A cloze reranker asks a head that is trained here on the items' texts
(as ``bertrec prompt train`` does). Lists that are learned from and validation users who choose the retriever's share are limited, so
that a row takes minutes on two cores; ``--users`` limits the test users, the same ones in every row.

A row whose file is in ``benchmarks/results-rankers`` is not run again, and a reranker in ``runs/rerank`` is not trained again: what was cut
short goes on there. ``table`` compares each row with the retriever over the users, their values averaged over the seeds; it needs
``runs/rerank``. All seconds are of the processor.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import quality
from bertrec.cli.options import read_settings
from bertrec.cli.rerank import compared
from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.load import load, make_split
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.significance import paired_comparison
from bertrec.models.base import Recommender
from bertrec.rankers import RANKERS
from bertrec.rankers.prompts.own_head import encoder_with_head
from bertrec.rerank.evaluation import evaluate_reranked
from bertrec.rerank.kinds import LoadedReranker, load_with_record, save_reranker, train_reranker
from bertrec.rerank.lists import validation_impressions

RESULTS = Path(__file__).parent / "results-rankers"
KEPT = Path("runs") / "rerank"
CANDIDATES, METRIC = 50, "NDCG@10"
WIDE = ("retrieved", "cooccurrence")  # the items have no field of labels


@dataclass(frozen=True)
class Row:
    """One reranker."""

    kind: str
    negatives: int = 4
    hard: tuple[str, ...] = ("retrieved",)
    settings: tuple[tuple[str, Any], ...] = ()
    own_head: bool = False
    lists: int | None = None  # None takes the option's; 0 all


ROWS = {
    "composite": Row("composite", negatives=8, lists=0),
    "composite-cooccurrence": Row("composite", negatives=8, hard=WIDE, lists=0),
    "prompt4nr": Row("prompt4nr", own_head=True, settings=(("loss", "listwise"), ("train.epochs", 2))),
    "prompt4nr-keywords": Row(
        "prompt4nr", own_head=True, hard=WIDE, settings=(("loss", "listwise"), ("train.epochs", 2), ("profile", "keywords"))
    ),
    "cross-encoder": Row("cross-encoder"),
    "cross-encoder-cooccurrence": Row("cross-encoder", hard=WIDE),
    "cross-encoder-keywords": Row("cross-encoder", hard=WIDE, settings=(("profile", "keywords"),)),
    "cross-encoder-swap": Row("cross-encoder", hard=WIDE, settings=(("profile", "keywords"), ("swap", 0.1))),
}


def main() -> None:
    """Run what is missing, time it, or print the table."""
    options = _parser().parse_args()
    if options.step == "table":
        print("\n".join(table(options.results)))
        return
    split = make_split(load(options.data / options.data_set))
    model = retriever(split, options.data_set)
    if options.step == "speed":
        print(json.dumps(speed(model, split, options), indent=1))
        return
    for seed in options.seeds:
        for name in options.rows:
            if _file(options.results, name, seed).exists():
                print(f"{name} seed {seed}: there already", flush=True)
            else:
                run(name, seed, model, split, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["run", "speed", "table"])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with the data sets")
    parser.add_argument("--data-set", default="amazon-scientific")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--lists", type=int, default=4000, help="lists that a row learns from, at most")
    parser.add_argument("--share-users", type=int, default=500, help="validation users who choose the retriever's share, at most")
    parser.add_argument("--users", type=int, help="test users that are measured; all by default")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings of all rows, such as encoder.name=FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser


def retriever(split: Split, data_set: str) -> Recommender:
    """Return UniSRec over text and IDs with all defaults, trained once for each data set."""
    row = next(row for row in quality.ROWS if row.name == "scientific-text-id")
    kept = quality.PER_USER / (f"{row.name}-0" if data_set == row.data else f"{data_set}-text-id-0")
    if not kept.exists():
        quality.fitted(row, 0, split).save_pretrained(kept)
    return Recommender.from_pretrained(kept)


def run(name: str, seed: int, model: Recommender, split: Split, options: argparse.Namespace) -> None:
    """Train what is not there, measure it on the test users, and write the row."""
    row, place = ROWS[name], _kept(options.data_set, name, seed)
    began = time.process_time()
    if not place.exists():
        ranker, record = trained(row, seed, model, split, options)
        save_reranker(ranker, record | {"cpu_seconds": time.process_time() - began}, place)
    loaded = load_with_record(place)
    began = time.process_time()
    reports = measured(model, loaded, split, _users(split, options.users))
    figures = compared(*reports)
    np.savez_compressed(_npz(place), retriever=reports[0].per_user(METRIC), reranked=reports[1].per_user(METRIC))
    seconds = {"fit": loaded.record["cpu_seconds"], "measure": time.process_time() - began}
    about = {"row": name, "data": options.data_set, "seed": seed, "command": _command(row, seed, options)}
    about |= {"cpu_seconds": seconds, "machine": _machine()}
    write_json(_file(options.results, name, seed), about | {"record": dict(loaded.record), "figures": figures})
    pair = figures["paired"][METRIC]
    said = f"{pair['mean_b']:.4f} -> {pair['mean_a']:.4f}, {pair['difference']:+.4f} [{pair['ci95'][0]:+.4f}, {pair['ci95'][1]:+.4f}]"
    print(f"{name} seed {seed}: share {loaded.weight:g}, {METRIC} {said}, fit {seconds['fit']:.0f} CPU s", flush=True)


def trained(row: Row, seed: int, model: Recommender, split: Split, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """Train a row's reranker; `bertrec.rerank.kinds.train_reranker` says what comes back."""
    lists = options.lists if row.lists is None else row.lists or None
    return train_reranker(
        model,
        split,
        kind=row.kind,
        candidates=CANDIDATES,
        negatives=row.negatives,
        learn_from="valid",
        hard=row.hard,
        lists=lists,
        share_users=options.share_users,
        metric=METRIC,
        seed=seed,
        settings=_settings(row, seed, split, options),
        progress=True,
    )


def _settings(row: Row, seed: int, split: Split, options: argparse.Namespace) -> dict[str, Any]:
    settings = {**dict(row.settings), **read_settings(None, options.set)}
    if row.own_head:
        head = KEPT / f"{options.data_set}.encoder"
        name = settings.get("encoder.name", "minilm")
        settings["encoder.name"] = encoder_with_head(name, split.catalog.texts, head, data=options.data_set, seed=0, say=print)
    return settings


def measured(model: Recommender, loaded: LoadedReranker, split: Split, users: EvaluationSet) -> Any:
    """Return the reports of the retriever alone and reranked, seen items masked."""
    rules, counts = Protocol(), split.train.item_counts
    return evaluate_reranked(model, loaded.reranker, users, rules, counts, candidates=CANDIDATES, weight=loaded.weight)


def _users(split: Split, most: int | None) -> EvaluationSet:
    assert split.test is not None
    if most is None or most >= len(split.test):
        return split.test
    return split.test.take(np.sort(np.random.default_rng(0).permutation(len(split.test))[:most]))


def speed(model: Recommender, split: Split, options: argparse.Namespace) -> dict[str, Any]:
    """Return processor seconds per 1,000 pairs of a cross-encoder: learning once from 96 lists less from 16, and scoring 10 lists."""
    assert split.validation is not None
    row = ROWS["cross-encoder"]
    settings = {**read_settings(None, options.set), "negatives": row.negatives, "train.epochs": 1}
    lists = validation_impressions(model, split.validation, n=CANDIDATES, negatives=row.negatives, only_retrieved=False)
    spent, pairs = [], []
    for most in (16, 16, 96):  # the first reads the items
        few = lists.take(np.random.default_rng(0).permutation(len(lists))[:most])
        began = time.process_time()
        ranker = RANKERS.find(row.kind).configured(settings=settings, seed=0).fit(few, progress=False)
        spent.append(time.process_time() - began)
        pairs.append(len(few.candidates.values))
    shown = _users(split, 10).histories
    candidates = Ragged.from_rows(np.random.default_rng(0).integers(1, len(split.catalog) + 1, (len(shown), CANDIDATES)))
    began = time.process_time()
    ranker.score(shown, candidates)
    scored = time.process_time() - began
    seconds = {"learning": 1000 * (spent[2] - spent[1]) / (pairs[2] - pairs[1]), "scoring": 1000 * scored / len(candidates.values)}
    return {"cpu_seconds_per_1000_pairs": seconds, "pairs": pairs[2], "machine": _machine()}


def table(results: Path) -> list[str]:
    """Return the table in Markdown: a row for each reranker, over its seeds."""
    lines = [
        f"| reranker | seeds | lists | share of the run | {METRIC} alone | reranked | difference, 95 % interval | CPU minutes of a fit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in ROWS:
        records = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob(f"rerank-{name}-[0-9]*.json"))]
        if records:
            lines.append(_line(name, records))
    return lines


def _line(name: str, records: list[dict[str, Any]]) -> str:
    seeds = [record["seed"] for record in records]
    places = [_npz(_kept(record["data"], name, record["seed"])) for record in records]
    if lost := next((place for place in places if not place.exists()), None):
        return f"| {name} | {len(seeds)} | {lost} with the values of each user is not here: delete the row's file and run it again |"
    values = [np.load(place) for place in places]
    alone, reranked = (np.mean([one[part] for one in values], axis=0) for part in ("retriever", "reranked"))
    pair = paired_comparison(reranked, alone, names=("reranked", "retriever"))
    shares = _listed(record["record"]["weight"] for record in records)
    minutes = np.mean([record["cpu_seconds"]["fit"] for record in records]) / 60
    lists = _listed(record["record"]["lists"] for record in records)
    interval = f"{pair.difference:+.4f} [{pair.ci95[0]:+.4f}, {pair.ci95[1]:+.4f}]"
    return f"| {name} | {len(seeds)} | {lists} | {shares} | {pair.mean_b:.4f} | {pair.mean_a:.4f} | {interval} | {minutes:.1f} |"


def _listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in dict.fromkeys(values))


def _command(row: Row, seed: int, options: argparse.Namespace) -> str:
    lists = options.lists if row.lists is None else row.lists
    parts = [f"bertrec rerank train RUN --reranker {row.kind} --learn-from valid --negatives {row.negatives} --seed {seed}"]
    parts += [f"--hard {name}" for name in row.hard] + ([f"--lists {lists}"] if lists else []) + [f"--share-users {options.share_users}"]
    parts += [f"--set {name}={value}" for name, value in row.settings] + [f"--set {pair}" for pair in options.set]
    return " ".join(parts + (["--set encoder.name=ENCODER"] if row.own_head else []))


def _kept(data_set: str, name: str, seed: int) -> Path:
    return KEPT / data_set / f"{name}-{seed}"


def _npz(place: Path) -> Path:
    return place.with_name(f"{place.name}.npz")


def _file(results: Path, name: str, seed: int) -> Path:
    return results / f"rerank-{name}-{seed}.json"


def _machine() -> dict[str, Any]:
    return {"threads": torch.get_num_threads(), "versions": versions()}


if __name__ == "__main__":
    main()
