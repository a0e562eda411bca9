"""SASRec of one size on both sides: ours with RecBole's architecture, and RecBole's own settings."""

from __future__ import annotations

from typing import Any

from bertrec.models.idrec import IDRec

PATIENCE = 8
OURS: dict[str, Any] = {
    "data_set": "ml-100k",
    "width": 64,
    "layers": 2,
    "heads": 2,
    "inner": 256,
    "length": 50,
    "dropout": 0.2,
    "learning_rate": 1e-3,
    "seed": 0,
}
THEIRS: dict[str, Any] = {**OURS, "train_batch_size": 256}


def our_model(
    *, width: int, layers: int, heads: int, inner: int, length: int, seed: int, dropout: float, learning_rate: float, epochs: int, **_: Any
) -> IDRec:
    """Return SASRec as RecBole has it: inner products with a softmax over all items, a wide feed-forward layer."""
    settings = {
        "item.width": width,
        "head.layers": layers,
        "head.heads": heads,
        "head.inner": inner,
        "head.dropout": dropout,
        "head.max_history": length,
        "head.repeat_bias": False,
        "loss.kind": "full",
        "loss.similarity": "dot",
        "train.learning_rate": learning_rate,
        "train.epochs": epochs,
        "train.patience": PATIENCE,
        "train.schedule": "constant",
        "train.seed": seed,
    }
    return IDRec(IDRec.default_config().updated(settings))


def recbole_settings(
    *, width: int, layers: int, heads: int, inner: int, length: int, dropout: float, learning_rate: float, train_batch_size: int, **_: Any
) -> dict[str, Any]:
    """Return the same under RecBole's own names."""
    return {
        "hidden_size": width,
        "n_layers": layers,
        "n_heads": heads,
        "inner_size": inner,
        "MAX_ITEM_LIST_LENGTH": length,
        "hidden_dropout_prob": dropout,
        "attn_dropout_prob": dropout,
        "learning_rate": learning_rate,
        "train_batch_size": train_batch_size,
    }
