"""All templates of Prompt4NR on mind-mini, each learned from histories and from the untrained cosine, and asked without it.

    bertrec encoder adapt-mlm DATA_FOLDER/mind-mini --tune last:2 --epochs 2 --out ENCODER
    python -m benchmarks.prompts_learn choose --data DATA_FOLDER --encoder ENCODER
    python -m benchmarks.prompts_learn test --data DATA_FOLDER --encoder ENCODER --templates action-hybrid --seeds 0 1 2
    python -m benchmarks.prompts_mind pairs --data DATA_FOLDER --encoder ENCODER --templates action-hybrid+learned --seeds 0 1 2

One cheap setting (`SETTINGS`) for all of them, some minutes each. `choose` measures on the fixed fifth of the training impressions, `test`
reads the test part: for what was chosen alone. What is there already with the same settings is not trained again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.prompts_mind import RESULTS, SHARE, SHARE_SEED, measure
from bertrec.data.impressions import split_share
from bertrec.data.load import load

PERSPECTIVES = ("relevance", "emotion", "action", "utility")
TEMPLATES = tuple(f"{perspective}-{kind}" for kind in ("discrete", "continuous", "hybrid") for perspective in PERSPECTIVES)
SETTINGS: dict[str, Any] = {
    "loss": "listwise",
    "encoder.tune": "last:2",
    "encoder.max_length": 96,
    "prompt.titles": 8,
    "distill": 4.0,
    "pretrain.kind": "histories",
    "pretrain.lists": 300,
    "pretrain.negatives": 5,
    "train.epochs": 1,
    "train.batch_size": 8,
    "train.learning_rate": 5e-3,
    "train.encoder_learning_rate": 3e-4,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["choose", "test"])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--templates", nargs="+", default=list(TEMPLATES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE, over the settings above")
    options = parser.parse_args()
    given = {name: yaml.safe_load(value) for name, _, value in (pair.partition("=") for pair in options.set)}
    dataset = load(options.data / "mind-mini")
    learned, chosen_on = split_share(dataset.impressions["train"], SHARE, SHARE_SEED)
    measured = chosen_on if options.step == "choose" else dataset.impressions["test"]
    for seed in options.seeds:
        for template in options.templates:
            name = f"{template}+learned"
            if not is_done(RESULTS / f"mind-{options.step}-{name}-{seed}.json", SETTINGS | given):
                measure(options.step, name, seed, (learned, chosen_on, measured), options.encoder, SETTINGS | given)


def is_done(path: Path, settings: dict[str, Any]) -> bool:
    """Say whether a file of results was measured with the same settings."""
    if not path.is_file():
        return False
    former = json.loads(path.read_text(encoding="utf-8"))["figures"]["protocol"].get("settings")
    if former != settings:
        print(f"{path.name} is of other settings: measured anew", flush=True)
    return bool(former == settings)


if __name__ == "__main__":
    main()
