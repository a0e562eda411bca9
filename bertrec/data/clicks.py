"""Clicks to learn from, whatever the data are: shown impressions, or positions of sequences beside drawn negatives."""

from __future__ import annotations

from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, make_split
from bertrec.data.negatives import impressions_from_sequences

_HISTORY = 50


def clicks_to_learn(dataset: Dataset, *, negatives: int, seed: int) -> Impressions:
    """Return the training impressions of the data; of interactions, those of the training part with sampled negatives.

    Args:
        dataset: with impressions or interactions.
        negatives: of each click, where they are sampled; at least one is.
        seed: of the sampled negatives.
    """
    shown = dataset.impressions.get("train")
    if shown is not None:
        return shown
    return impressions_from_sequences(past_to_learn(dataset), negatives=max(negatives, 1), seed=seed, max_history=_HISTORY)


def past_to_learn(dataset: Dataset) -> Interactions:
    """Return the interactions that training may read: where clicks are sampled of them those of the training part, else all."""
    return dataset.interactions if "train" in dataset.impressions else make_split(dataset).train


def clicks_to_measure(dataset: Dataset) -> Impressions | None:
    """Return the impressions with labels that are no training data, the test part first; None where there are none."""
    parts = (dataset.impressions.get(name) for name in ("test", "valid"))
    return next((part for part in parts if part is not None and part.labels is not None), None)
