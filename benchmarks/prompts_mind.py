"""Cloze prompts on mind-mini: templates chosen on a fixed fifth of the training impressions, the test part read for the chosen ones alone.

    bertrec encoder adapt-mlm DATA_FOLDER/mind-mini --tune last:2 --epochs 3 --out ENCODER
    python benchmarks/prompts_mind.py choose --data DATA_FOLDER --encoder ENCODER --templates action-hybrid emotion-hybrid
    python benchmarks/prompts_mind.py test --data DATA_FOLDER --encoder ENCODER --templates action-hybrid nrms --seeds 0 1 2
    python benchmarks/prompts_mind.py pairs --data DATA_FOLDER --encoder ENCODER --templates action-hybrid nrms --seeds 0 1 2

Both `choose` and `test` train on the other four fifths; `choose` measures on the fifth, `test` on the test part. ``nrms``, ``naml``,
``lstur`` and ``miner`` stand for two towers over MiniLM, all defaults, and ``similarity`` for no training at all: the cosine between a
title and the mean of the history's titles. ``text-similarity`` is the same of title, abstract and category
(`bertrec.models.text_similarity`). ``action-hybrid+text-similarity`` is the prompt that starts from the latter's scores (``bertrec prompt
train --prior``), ``action-hybrid+learned`` one that has them as its teacher (``--teacher text-similarity``) and is asked without them; with
``--set pretrain.kind=histories`` it also learns from histories.
`pairs` compares what `test` measured, per-impression values averaged over seeds, and adds the ensemble of the templates; with ``--joined``
it compares one ranker for each name instead, whose scores are the mean over the seeds. Results:
``benchmarks/results-prompts``; scores, which the last step needs: ``runs/benchmarks``.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import load
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import all_pairs
from bertrec.models.text_similarity import TextSimilarity
from bertrec.rankers.base import Ranker
from bertrec.rankers.names import RANKERS
from bertrec.rankers.news.nrms import NRMSConfig
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.rankers.prompts.user_vectors import UserVectors

RESULTS = Path(__file__).parent / "results-prompts"
SCORES = Path("runs") / "benchmarks"
SHARE, SHARE_SEED = 0.2, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["choose", "test", "pairs"])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--templates", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE of the settings of prompts or towers")
    parser.add_argument("--joined", action="store_true", help="pairs: compare the mean scores of the seeds")
    options = parser.parse_args()
    dataset = load(options.data / "mind-mini")
    learned, chosen_on = split_share(dataset.impressions["train"], SHARE, SHARE_SEED)
    measured = chosen_on if options.step == "choose" else dataset.impressions["test"]
    if options.step == "pairs":
        _pairs(options.templates, options.seeds, measured, joined=options.joined)
        return
    settings = {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in options.set)}
    for seed in options.seeds:
        for name in options.templates:
            measure(options.step, name, seed, (learned, chosen_on, measured), options.encoder, settings)


def measure(
    step: str, name: str, seed: int, parts: tuple[Impressions, Impressions, Impressions], encoder: str, settings: dict[str, Any]
) -> None:
    """Train one ranker on the first part, choose its epoch on the second, measure it on the third, and write figures and scores."""
    learned, chosen_on, measured = parts
    ranker: Ranker | Similarity | TextPrior
    if name in UNTRAINED:
        ranker, seconds = UNTRAINED[name](learned.catalog), 0.0
        about: dict[str, Any] = {"encoder": "minilm"}
    elif name in TOWERS:
        ranker, seconds = _towers(name, seed, learned, chosen_on, settings)
        about = {"encoder": "minilm", "settings": settings}
    else:
        ranker, seconds = _prompt(name, seed, learned, chosen_on, encoder, settings)
        about = {**ranker.about(), "settings": settings}
    known = ranker.score_impressions(measured) if isinstance(ranker, Ranker) else ranker.score(measured.histories, measured.candidates)
    scores = np.asarray(known)
    SCORES.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(SCORES / f"mind-{step}-{name}-{seed}.npz", scores=scores)
    _note(step, name, seed, measured, scores, {**about, "fit_seconds": round(seconds, 1)}, ranker)


class Similarity:
    """The cosine between a candidate's title and the mean of the history's titles, MiniLM as it is."""

    train_log = None

    def __init__(self, catalog: ItemCatalog) -> None:
        encoder = TextEncoder.from_config(EncoderConfig(max_length=32))
        vectors = encoder.encode(catalog.titles, cache=EmbeddingCache())
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self.vectors = np.concatenate([np.zeros_like(vectors[:1]), vectors])

    def score(self, histories: Ragged, candidates: Ragged) -> np.ndarray[Any, Any]:
        """Return ``[total candidates]``, 0 after an empty history."""
        newest = histories.last(NRMSConfig().max_history)
        sums = np.zeros((len(newest), self.vectors.shape[1]), np.float32)
        np.add.at(sums, newest.rows, self.vectors[newest.values])
        sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return np.vecdot(sums[candidates.rows], self.vectors[candidates.values])


class TextPrior:
    """The mean cosine of a candidate's whole text and the texts of the history: what a prompt may start from."""

    train_log = None

    def __init__(self, catalog: ItemCatalog) -> None:
        self.vectors = UserVectors.from_model(TextSimilarity().over(catalog, progress=False))

    def score(self, histories: Ragged, candidates: Ragged) -> np.ndarray[Any, Any]:
        """Return ``[total candidates]``, 0 after an empty history."""
        return self.vectors.scores(histories, candidates)


TOWERS = ("nrms", "naml", "lstur", "miner")
UNTRAINED: dict[str, type[Similarity] | type[TextPrior]] = {"similarity": Similarity, "text-similarity": TextPrior}


def _pairs(names: list[str], seeds: list[int], measured: Impressions, *, joined: bool) -> None:
    scores = {name: [np.load(SCORES / f"mind-test-{name}-{seed}.npz")["scores"] for seed in seeds] for name in names}
    if joined:
        scores = {name: [np.mean(rows, axis=0)] for name, rows in scores.items()}
    templates = [name for name in names if name not in TOWERS and name not in UNTRAINED]
    if len(templates) > 1 and not joined:
        scores["ensemble"] = [np.mean(rows, axis=0) for rows in zip(*(scores[name] for name in templates), strict=True)]
        for seed, found in zip(seeds, scores["ensemble"], strict=True):
            _note("test", "ensemble", seed, measured, found, {"members": templates}, None)
    values = {name: np.mean([_report(measured, found, {}).per_user("AUC") for found in rows], axis=0) for name, rows in scores.items()}
    pairs = all_pairs(values)
    about = {"metric": "AUC", "seeds": seeds, "mean": {name: float(found.mean()) for name, found in values.items()}}
    kind = "-joined" if joined else "" if templates else "-towers"
    write_json(RESULTS / f"mind-test-pairs{kind}.json", {**about, "pairs": [pair.to_json() for pair in pairs]})
    print(about["mean"], *(pair.verdict for pair in pairs), sep="\n")


def _prompt(
    name: str, seed: int, learned: Impressions, chosen_on: Impressions, encoder: str, settings: dict[str, Any]
) -> tuple[PromptRanker, float]:
    template, _, beside = name.partition("+")
    prompt = Prompt.load(template)
    own = {key.removeprefix("prompt."): value for key, value in settings.items() if key.startswith("prompt.")}
    plain = {key: value for key, value in settings.items() if not key.startswith("prompt.")}
    config = PromptConfig(prompt=prompt.updated(own)).updated({"encoder.name": encoder, "train.seed": seed, **plain})
    started = time.perf_counter()
    vectors = TextPrior(learned.catalog).vectors if beside else None
    role = {"learned": "teacher"}.get(beside, "prior")
    one = config.train.epochs == 1  # there is no epoch to choose
    ranker = PromptRanker(config, **{role: vectors}).fit(learned, validation=None if one else chosen_on)
    return ranker, time.perf_counter() - started


def _towers(name: str, seed: int, learned: Impressions, chosen_on: Impressions, settings: dict[str, Any]) -> tuple[Ranker, float]:
    ranker = RANKERS.find(name).configured(settings=settings, seed=seed)
    started = time.perf_counter()
    ranker.fit(learned, validation=chosen_on, progress=False)
    return ranker, time.perf_counter() - started


def _report(shown: Impressions, scores: np.ndarray[Any, Any], info: dict[str, Any]) -> Report:
    assert shown.labels is not None
    lengths = shown.histories.lengths
    return evaluate_impressions(scores, shown.labels, shown.candidates.offsets, shown.users, Protocol(), history_lengths=lengths, info=info)


def _note(
    step: str,
    name: str,
    seed: int,
    shown: Impressions,
    scores: np.ndarray[Any, Any],
    info: dict[str, Any],
    ranker: Ranker | Similarity | TextPrior | None,
) -> None:
    report = _report(shown, scores, info)
    log = None if ranker is None or ranker.train_log is None else ranker.train_log.to_dict()
    machine = {"threads": torch.get_num_threads(), "system": f"{platform.system()} {platform.machine()}"}
    shown_on = {"choose": "a fixed fifth of the training impressions", "test": "test"}[step]
    about = {"name": name, "seed": seed, "measured_on": shown_on, "machine": machine, "versions": versions()}
    write_json(RESULTS / f"mind-{step}-{name}-{seed}.json", {**about, "figures": report.to_json(), "train_log": log})
    print(step, name, seed, {metric: round(report.mean(metric), 4) for metric in ("AUC", "MRR", "nDCG@5", "nDCG@10")}, flush=True)


if __name__ == "__main__":
    main()
