"""Trains small models, alone or as one of several processes (torchrun), and writes what became of them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import leave_one_out
from bertrec.models.idrec import IDRec

FIXED = {
    "item.width": 16,
    "item.id_dropout": 0,
    "head.dropout": 0,
    "head.max_history": 6,
    "match.behaviour": 0,
    "match.solved": 0,
    "match.text": 0,
    "train.epochs": 3,
    "train.batch_size": 16,
}
CASES = {
    "full": {"loss.kind": "full"},
    "in-batch": {"loss.kind": "in-batch", "loss.similarity": "dot"},
    "small batches": {"loss.kind": "full", "train.batch_size": 1, "train.epochs": 1},
    "accumulated": {"loss.kind": "full", "train.batch_size": 4, "train.accumulate": 3},
    "sparse": {"loss.kind": "sampled", "loss.negatives": 8, "train.sparse_ids": "on"},
    "time": {"loss.kind": "full", "train.max_seconds": 0.01},
}


def walks():
    """70 users of unequal length who mostly walk through 40 items in order."""
    rng = np.random.default_rng(0)
    rows = [(user, (rng.integers(40) + step) % 40, step) for user in range(70) for step in range(rng.integers(3, 12))]
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": range(40), "title": [f"item {item}" for item in range(40)]}))
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


def trained(settings):
    split = walks()
    model = IDRec(IDRec.default_config().updated({**FIXED, **settings}))
    model.fit(split.train, validation=split.validation, progress=False)
    log = model.train_log
    losses, figures = [entry.loss for entry in log.epochs], [entry.metrics["NDCG@10"] for entry in log.epochs]
    vectors = np.nan_to_num(model.item_embeddings()).astype(float).tolist()
    return {"losses": losses, "figures": figures, "steps": log.steps, "best": log.best_epoch, "vectors": vectors}


if __name__ == "__main__":
    found = {name: trained(settings) for name, settings in CASES.items()}
    Path(sys.argv[1], f"{os.environ.get('RANK', 'alone')}.json").write_text(json.dumps(found))
