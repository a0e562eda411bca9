"""How the defaults change with the item input and the tuning depth."""

from __future__ import annotations

from typing import Any

from bertrec.heads.config import ItemInput
from bertrec.models.sequential.config import ModelConfig


def tuned_defaults(config: ModelConfig, *, item_input: ItemInput, tune: str) -> ModelConfig:
    """Set the item input and the depth, and what must change with them.

    Without text nothing could stand in for a dropped ID vector, and IDs alone are past their best sooner: they learn at half the rate, for
    fewer epochs.

    With a tuned encoder the catalogue cannot be encoded at every step, so that the softmax runs over the batch's own items,
    in smaller batches and at half the learning rate.
    """
    changes: dict[str, Any] = {"item.input": item_input, "encoder.tune": tune}
    if item_input == "id":
        changes |= {"item.id_dropout": 0.0, "train.learning_rate": 1e-3, "train.epochs": 12}
    if tune != "frozen":
        changes |= {"loss.kind": "in-batch", "train.batch_size": 64, "train.learning_rate": 1e-3, "train.epochs": 8}
    return config.updated(changes)
