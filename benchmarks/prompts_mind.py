"""Cloze prompts on mind-mini: templates chosen on a fixed fifth of the training impressions, the test part read for the chosen ones alone.

    bertrec encoder adapt-mlm DATA_FOLDER/mind-mini --tune last:2 --epochs 3 --out ENCODER
    python benchmarks/prompts_mind.py choose --data DATA_FOLDER --encoder ENCODER --templates action-hybrid emotion-hybrid
    python benchmarks/prompts_mind.py test --data DATA_FOLDER --encoder ENCODER --templates action-hybrid emotion-hybrid --seeds 0 1 2

Both steps train on the other four fifths; `choose` measures on the fifth; `test` trains the named templates with each seed and measures
them, their ensemble and NRMS over the same encoder on the test part. Results: ``benchmarks/results-prompts``.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertrec.core.files import write_json
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import load
from bertrec.encoders.config import EncoderConfig
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import all_pairs
from bertrec.heads.prompts.prompt import Prompt
from bertrec.models.nrms import NRMS, NRMSConfig
from bertrec.models.prompt4nr import PromptRanker
from bertrec.models.prompt_config import PromptConfig

RESULTS = Path(__file__).parent / "results-prompts"
SHARE, SHARE_SEED = 0.2, 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["choose", "test"])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--templates", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE of the prompts' settings")
    options = parser.parse_args()
    dataset = load(options.data / "mind-mini")
    learned, chosen_on = split_share(dataset.impressions["train"], SHARE, SHARE_SEED)
    measured = chosen_on if options.step == "choose" else dataset.impressions["test"]
    settings = dict(pair.split("=", 1) for pair in options.set)
    values: dict[str, list[np.ndarray[Any, Any]]] = {}
    for seed in options.seeds:
        scores = {}
        for name in options.templates:
            ranker, seconds = _prompt(name, seed, learned, chosen_on, options.encoder, settings)
            scores[name] = _score(ranker, measured)
            _note(
                options.step, name, seed, measured, scores[name], {**ranker.about(), "fit_seconds": seconds, "settings": settings}, ranker
            )
        if len(scores) > 1:
            together = np.mean(list(scores.values()), axis=0)
            _note(options.step, "ensemble", seed, measured, together, {"members": options.templates}, None)
            scores["ensemble"] = together
        if options.step == "test":
            towers, seconds = _towers(seed, learned, chosen_on)
            scores["nrms"] = _score(towers, measured)
            _note(options.step, "nrms", seed, measured, scores["nrms"], {"encoder": "minilm", "fit_seconds": seconds}, towers)
        for name, found in scores.items():
            values.setdefault(name, []).append(_report(measured, found, {}).per_user("AUC"))
    if len(values) > 1:
        pairs = all_pairs({name: np.mean(rows, axis=0) for name, rows in values.items()})
        found = [pair.to_dict() for pair in pairs]
        write_json(RESULTS / f"mind-{options.step}-pairs.json", {"metric": "AUC", "seeds": options.seeds, "pairs": found})
        print(*(pair.verdict for pair in pairs), sep="\n")


def _prompt(
    name: str, seed: int, learned: Impressions, chosen_on: Impressions, encoder: str, settings: dict[str, str]
) -> tuple[PromptRanker, float]:
    import yaml

    flat = {key: yaml.safe_load(value) for key, value in settings.items()}
    config = PromptConfig(prompt=Prompt.load(name)).updated({"encoder.name": encoder, "train.seed": seed, **flat})
    started = time.perf_counter()
    ranker = PromptRanker(config).fit(learned, validation=chosen_on)
    return ranker, time.perf_counter() - started


def _towers(seed: int, learned: Impressions, chosen_on: Impressions) -> tuple[NRMS, float]:
    config = NRMSConfig(encoder=EncoderConfig(tune="full", max_length=32)).updated({"train.seed": seed})
    started = time.perf_counter()
    towers = NRMS(config).fit(learned, validation=chosen_on)
    return towers, time.perf_counter() - started


def _score(ranker: PromptRanker | NRMS, shown: Impressions) -> np.ndarray[Any, Any]:
    return ranker.score(shown.histories, shown.candidates)


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
    ranker: PromptRanker | NRMS | None,
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
