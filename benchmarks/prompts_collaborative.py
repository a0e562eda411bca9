"""Collaborative tokens (CoLLM) on ml-100k as click prediction: what vectors of an ID model add to a cloze prompt, for warm and cold pairs.

    bertrec encoder adapt-mlm ml-100k --tune last:2 --epochs 3 --out ENCODER
    python benchmarks/prompts_collaborative.py --encoder ENCODER --seeds 0 1 2
    python benchmarks/prompts_collaborative.py --encoder ENCODER --seeds 0 1 2 --models joint "joint with joint attention"
    python benchmarks/prompts_collaborative.py --encoder ENCODER --seeds 0 1 2 --models mf din dcn ctrl joint

Global time split 50/25/25, label rating >= 4. A pair is warm where its user and its item have three training ratings or more. The
history of a pair is what its user had liked before that moment, test period included. Training takes a random sample of the training
part; of the test part all warm pairs and all pairs of cold items are measured, and a sample of the other pairs of cold users. The ID
model, its sequences and the mapping see the training part alone. Results: ``benchmarks/results-prompts``; the score of every pair, which
the paired intervals need, is kept under ``runs/prompts-collaborative``, and a model that is there is not trained again.

The history is read once for all candidates, but in "joint with joint attention": what reading it once costs in quality.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

import bertrec
from bertrec.core.files import write_json
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.ratings import impressions_from_ratings
from bertrec.data.splits import leave_one_out
from bertrec.evaluation.label_intervals import auc_difference, auc_interval
from bertrec.evaluation.labels import auc, user_auc
from bertrec.evaluation.protocol import versions
from bertrec.models.registry import create
from bertrec.rankers import RANKERS, Known
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.rankers.prompts.user_vectors import UserVectors

RESULTS = Path(__file__).parent / "results-prompts"
KEPT = Path("runs") / "prompts-collaborative"
PEERS = ("mf", "din", "dcn", "ctrl")
MODELS = ("ID model", "text", "two steps", "joint", "joint with joint attention", *PEERS)
HISTORY, LIKED_FROM, WARM_FROM = 10, 4.0, 3
SETTINGS = {"encoder.max_length": 160, "negatives": 0, "train.epochs": 1, "train.batch_size": 4}
Slices = dict[str, np.ndarray[Any, np.dtype[np.bool_]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--train", type=int, default=500, help="impressions of up to 16 ratings")
    parser.add_argument("--cold", type=int, default=2500, help="pairs of cold users that are measured, beside those of cold items")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS[:4]), help="all are compared with the first prompt")
    options = parser.parse_args()
    ratings = bertrec.load("ml-100k").interactions
    assert ratings is not None
    assert ratings.timestamp is not None
    begins = np.quantile(ratings.timestamp, 0.5), np.quantile(ratings.timestamp, 0.75)
    past = ratings.where(ratings.timestamp < begins[0])
    shown = impressions_from_ratings(ratings, liked_from=LIKED_FROM, max_history=HISTORY)
    test, slices = _test_part(ratings, shown, past, begins[1], options.cold)
    counts = {name: int(found.sum()) for name, found in slices.items()}
    print({"training ratings": len(past), **counts}, flush=True)
    scores: dict[tuple[str, int], Any] = {}
    assert test.labels is not None
    between = shown.take(np.flatnonzero((_moments(shown) >= begins[0]) & (_moments(shown) < begins[1])))
    for seed in options.seeds:
        missing = [name for name in options.models if not _kept(name, seed).exists()]
        prompts, peers = ([name for name in missing if (name in PEERS) is kind] for kind in (False, True))
        for name, found, seconds in chain(_trained(past, test, seed, prompts, options), _peers(past, between, test, seed, peers)):
            print(
                seed, name, round(seconds), {slice_: round(auc(found[at], test.labels[at]), 4) for slice_, at in slices.items()}, flush=True
            )
            _write(name, seed, found, seconds, test, slices)
            KEPT.mkdir(parents=True, exist_ok=True)
            np.save(_kept(name, seed), found)
        scores |= {(name, seed): np.load(_kept(name, seed)) for name in options.models}
    prompts = [name for name in options.models if name not in ("ID model", *PEERS)]
    pairs = [(name, prompts[0]) for name in prompts[1:]]
    pairs += [("joint", name) for name in options.models if name in PEERS and "joint" in prompts]
    pairs += [("ctrl", "din")] if {"ctrl", "din"} <= set(options.models) else []
    _compare(scores, pairs, options.seeds, test, slices)


def _kept(name: str, seed: int) -> Path:
    return KEPT / f"{name.replace(' ', '-')}-{seed}.npy"


def _moments(shown: Impressions) -> Any:
    assert shown.timestamp is not None
    return shown.timestamp


def _test_part(ratings: Interactions, shown: Impressions, past: Interactions, begins: float, cold: int) -> tuple[Impressions, Slices]:
    """Return the measured pairs of the test part and which of them are warm, of a cold user, of a cold item."""
    assert shown.labels is not None
    users = ratings.users.encode(shown.users) - 1
    known_user = (past.sequences.lengths >= WARM_FROM)[users[shown.candidates.rows]]
    known_item = past.item_counts[shown.candidates.values] >= WARM_FROM
    tested = (_moments(shown) >= begins)[shown.candidates.rows]
    others = np.flatnonzero(tested & ~known_user & known_item)
    kept = tested & (known_user | ~known_item)
    kept[np.random.default_rng(0).choice(others, min(cold, len(others)), replace=False)] = True
    candidates = shown.candidates.where(kept)
    part = replace(shown, candidates=candidates, labels=shown.labels[kept]).take(np.flatnonzero(candidates.lengths > 0))
    warm = (known_user & known_item)[kept]
    return part, {"measured": np.ones(len(warm), bool), "warm": warm, "cold user": ~known_user[kept], "cold item": ~known_item[kept]}


def _trained(
    past: Interactions, test: Impressions, seed: int, names: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, Any, float]]:
    """Train the named models; yield name, scores and seconds of each."""
    if not names:
        return
    learned = impressions_from_ratings(past, liked_from=LIKED_FROM, max_history=HISTORY, joined=True)
    learned = learned.take(np.sort(np.random.default_rng(seed).permutation(len(learned))[: options.train]))
    assert past.rating is not None
    liked = leave_one_out(past.where(past.rating >= LIKED_FROM))
    began = time.perf_counter()
    id_model = create("idrec", settings={"train.seed": seed}).fit(liked.train, validation=liked.validation, progress=False)
    vectors = UserVectors.from_model(id_model)
    if "ID model" in names:
        yield "ID model", _id_scores(vectors, test), time.perf_counter() - began

    def trained(prompt: str, **settings: Any) -> PromptRanker:
        config = PromptConfig(prompt=Prompt.load(prompt)).updated({**SETTINGS, "train.seed": seed, **settings})
        return PromptRanker(config, vectors=vectors if prompt == "collaborative" else None).fit(learned, progress=False)

    full = {"encoder.name": options.encoder, "encoder.tune": "full"}
    with tempfile.TemporaryDirectory() as folder:
        if {"text", "two steps"} & set(names):
            began = time.perf_counter()
            text = trained("item-text", **full)
            yield "text", text.score(test.histories, test.candidates), time.perf_counter() - began
        if "two steps" in names:
            text.save_pretrained(Path(folder) / "text")
            began = time.perf_counter()
            second = {"encoder.name": str(Path(folder) / "text" / "encoder"), "encoder.tune": "frozen"}  # the mapping alone is learned
            yield "two steps", trained("collaborative", **second).score(test.histories, test.candidates), time.perf_counter() - began
    for name, attention in (("joint", "auto"), ("joint with joint attention", "joint")):
        if name in names:
            began = time.perf_counter()
            ranker = trained("collaborative", **full, attention=attention)
            yield name, ranker.score(test.histories, test.candidates), time.perf_counter() - began


def _peers(past: Interactions, between: Impressions, test: Impressions, seed: int, names: list[str]) -> Iterator[tuple[str, Any, float]]:
    """Train the named rankers on all of the training part; yield as `_trained` does."""
    known = Known(past=past)
    learned = impressions_from_ratings(past, liked_from=LIKED_FROM, joined=True)
    for name in names:
        began = time.perf_counter()
        ranker = RANKERS.find(name).configured(settings={}, seed=seed)
        ranker.fit(learned, validation=None if name == "mf" else between, known=known, progress=False)
        yield name, ranker.score_impressions(test, known=known), time.perf_counter() - began


def _id_scores(vectors: UserVectors, test: Impressions) -> Any:
    users = vectors.of(test.histories).numpy()
    return np.vecdot(users[test.candidates.rows], vectors.items.numpy()[test.candidates.values])


def _write(name: str, seed: int, scores: Any, seconds: float, test: Impressions, slices: Slices) -> None:
    assert test.labels is not None
    rows = np.unique(np.asarray([str(user) for user in test.users]), return_inverse=True)[1][test.candidates.rows]
    figures = {}
    for slice_, at in slices.items():
        each = user_auc(scores[at], test.labels[at], rows[at], int(rows.max()) + 1)
        interval = auc_interval(scores[at], test.labels[at], rows[at])
        value = auc(scores[at], test.labels[at])
        figures[slice_] = {
            "pairs": int(at.sum()),
            "positive": float(test.labels[at].mean()),
            "AUC": {"mean": value, "ci95": interval},
            "UAUC": {"mean": each.mean, "users": each.users, "skipped": each.skipped},
        }
    machine = {"threads": torch.get_num_threads(), "versions": versions()}
    record = {
        "name": name,
        "seed": seed,
        "fit_and_score_seconds": round(seconds, 1),
        "settings": SETTINGS,
        "machine": machine,
        "figures": figures,
    }
    write_json(RESULTS / f"collaborative-{name.replace(' ', '-')}-{seed}.json", record)


def _compare(scores: dict[tuple[str, int], Any], pairs: list[tuple[str, str]], seeds: list[int], test: Impressions, slices: Slices) -> None:
    """Compare the mean over seeds of each pair's score: the first of each two with the second."""
    assert test.labels is not None
    mean = {name: np.mean([scores[name, seed] for seed in seeds], axis=0) for pair in pairs for name in pair}
    users = np.asarray([str(user) for user in test.users])[test.candidates.rows]
    path = RESULTS / "collaborative-pairs.json"
    out = json.loads(path.read_text())["comparisons"] if path.exists() else {}
    for slice_, at in slices.items():
        for one, other in pairs:
            result = auc_difference(mean[one][at], mean[other][at], test.labels[at], users[at], resamples=2000)
            out[f"{one} - {other}, {slice_}"] = asdict(result)
            print(slice_, f"{one} - {other}", f"{result.difference:+.4f} [{result.ci95[0]:+.4f}, {result.ci95[1]:+.4f}]", flush=True)
    write_json(path, {"seeds": seeds, "scores": "mean of the seeds' scores", "comparisons": out})


if __name__ == "__main__":
    main()
