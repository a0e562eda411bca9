"""Pairs per second of a cloze ranker: 50 candidates after a history of 20 titles.

Ours and a plain loop, interleaved in one run.

    python benchmarks/prompts_speed.py --data DATA_FOLDER [--encoder ENCODER] [--rounds 5] [--users 4]

The plain loop fills each pair into the template and runs batches of 32, padded to the longest of the batch, through the same encoder in the
same precision: once as BERT reads (``joint``), and once with the mask under which the history does not see the candidate, which gives the
numbers of our ``once`` to 1e-4 (checked). Titles are those of mind-mini.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bertrec.core.files import write_json
from bertrec.core.ragged import Ragged
from bertrec.data.load import load
from bertrec.encoders.batching import padded_tokens
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.evaluation.protocol import versions
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import FloatArray, PromptRanker
from bertrec.rankers.prompts.template import Prompt

RESULTS = Path(__file__).parent / "results-prompts"
CANDIDATES, TITLES, BATCH = 50, 20, 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--encoder", default=None, help="with a masked-language-model head; without it minilm with an untrained one")
    parser.add_argument("--template", default="action-hybrid")
    parser.add_argument("--users", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    catalog = load(options.data / "mind-mini").catalog
    config = MaskedConfig(name=options.encoder or "minilm", precision="fp32", max_length=500)  # room for all of the titles
    encoder = MaskedEncoder.from_config(config, new_head=options.encoder is None)
    ranker = PromptRanker(PromptConfig(prompt=Prompt.load(options.template), encoder=config), encoder=encoder).prepare(catalog)
    rng = np.random.default_rng(0)
    histories, candidates = (_rows(rng, options.users, width, len(catalog)) for width in (TITLES, CANDIDATES))
    ways: dict[str, Callable[[], FloatArray]] = {
        "once (ours)": lambda: ranker.score(histories, candidates),
        "plain loop, joint attention": lambda: plain_loop(ranker, histories, candidates, joint=True),
        "plain loop, the same mask": lambda: plain_loop(ranker, histories, candidates, joint=False),
    }
    found = {name: way() for name, way in ways.items()}
    distance = float(np.abs(found["once (ours)"] - found["plain loop, the same mask"]).max())
    assert distance < 1e-4, f"the two ways differ by {distance}"
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - started)
    pairs = options.users * CANDIDATES
    rates = {name: pairs / float(np.median(times)) for name, times in seconds.items()}
    ratios = {name: rates["once (ours)"] / rate for name, rate in rates.items()}
    for name in ways:
        print(f"{name}: {rates[name]:.1f} pairs/s; ours is {ratios[name]:.2f} times as fast")
    about = {"threads": torch.get_num_threads(), "template": options.template, "precision": "fp32", "largest_difference": distance}
    write_json(RESULTS / "speed.json", {**about, "pairs_a_second": rates, "ratio": ratios, "seconds": seconds, "versions": versions()})


@torch.no_grad()
def plain_loop(ranker: PromptRanker, histories: Ragged, candidates: Ragged, *, joint: bool) -> FloatArray:
    """Score pairs in the order given, 32 at a time."""
    assert ranker._layout is not None
    assert ranker.network is not None
    layout, network = ranker._layout, ranker.network
    tokens = layout.pairs(layout.slots(histories), candidates.rows, candidates.values)
    prefix = layout.prefixes(layout.slots(histories)).lengths[candidates.rows]
    scores = []
    for start in range(0, len(tokens), BATCH):
        rows = np.arange(start, min(start + BATCH, len(tokens)))
        ids, mask = (torch.from_numpy(array) for array in padded_tokens(tokens, rows, 0))
        if not joint:
            inside = torch.arange(ids.shape[1]) < torch.from_numpy(prefix[rows])[:, None]
            mask = mask[:, None, :] * ~(inside[:, :, None] & ~inside[:, None, :])
        hidden = ranker.encoder.hidden(ids, mask)
        at = (ids == network.mask_id).int().argmax(dim=1)
        answers = network.verbalizer(ranker.encoder.logits(hidden[torch.arange(len(ids)), at]))
        scores.append(answers.softmax(dim=1)[:, 1])
    return torch.cat(scores).numpy()


def _rows(rng: np.random.Generator, users: int, width: int, n_items: int) -> Ragged:
    items = np.stack([1 + rng.permutation(n_items)[:width] for _ in range(users)])
    return Ragged.from_lengths(items.reshape(-1), np.full(users, width, np.int64))


if __name__ == "__main__":
    main()
