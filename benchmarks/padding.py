"""Which share of the tokens that a text encoder computes is padding: ``python -m benchmarks.padding DATA_FOLDER``.

Nothing is encoded. The batches are those of the code: of the catalogue at inference, and of the steps of an epoch of a model whose encoder
is tuned (its default batch; in-batch negatives, so that a step reads its distinct items), on a CPU and on a GPU. Beside them stand
batches as they would be without sorting by length.
"""

from __future__ import annotations

import argparse

import numpy as np

from bertrec.core.ragged import IntArray
from bertrec.data.load import load, make_split
from bertrec.encoders.batching import token_budget_batches
from bertrec.encoders.text import TextEncoder
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.training.gradient_cache import _TOKENS_AT_ONCE, _TOKENS_AT_ONCE_ELSEWHERE
from bertrec.training.sequences import SequenceDataset

BUDGETS = {"cpu": _TOKENS_AT_ONCE["cpu"], "gpu": _TOKENS_AT_ONCE_ELSEWHERE, "encoder.batch_tokens=2048": 2048}
INFERENCE = {"cpu": 1024, "gpu": 32768}


def padded(lengths: IntArray, budget: int) -> int:
    """Return how many tokens are computed for texts of these lengths, padding included."""
    return sum(len(part) * int(lengths[part].max()) for part in token_budget_batches(lengths, budget))


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    given = parser.parse_args()
    config = tuned_defaults(ModelConfig(), item_input="text+id", tune="last:2")
    train = make_split(load(given.data)).train
    lengths = TextEncoder.from_config(config.encoder).tokenize(train.catalog.texts).lengths
    print(f"{len(lengths):,} texts, {lengths.mean():.1f} word pieces, at most {lengths.max()}")
    for place, budget in INFERENCE.items():
        print(f"catalogue, {place}: {1 - lengths.sum() / padded(lengths, budget):.2%}")
    dataset = SequenceDataset(train.sequences, config.head.max_history)
    batches = list(dataset.batches(0, config.train.batch_size, 0))
    steps = [lengths[np.unique(dataset.chunks.take(batch).values) - 1] for batch in batches]
    real = sum(int(one.sum()) for one in steps)
    for place, budget in BUDGETS.items():
        print(f"training, {place}: {1 - real / sum(padded(one, budget) for one in steps):.2%} of {len(steps):,} steps")
    print(f"training, a step's texts as one batch: {1 - real / sum(len(one) * int(one.max()) for one in steps):.2%}")


if __name__ == "__main__":
    main()
