"""Fit every RecBole model that runs here for one epoch, in one process; prints a line of JSON each. Run by test_every_model.

The last line says whether torch's compiler was imported meanwhile, and whether it still compiles.
"""

import json
import sys
from pathlib import Path

import numpy as np

from bertrec.core.errors import ModelError
from bertrec.data.splits import Split
from bertrec.recbole import catalogue
from bertrec.recbole.exchange import Job, load_split
from bertrec.recbole.ranking import mean_metric, rank_and_list
from bertrec.recbole.trained import Trained
from bertrec.recbole.worker.__main__ import fit
from bertrec.recbole.worker.answer import reopen
from bertrec.recbole.worker.factors import user_vectors

SHORT = {"MAX_ITEM_LIST_LENGTH": 6}
SMALL = {
    "NCL": {"num_clusters": 5},
    "DGCF": {"train_batch_size": 64},
    "DIN": SHORT,
    "DIEN": SHORT,
    "ConvNCF": {"embedding_size": 64},
    "GRU4RecCPR": {"reranker_CAN_NUM": 10},
    "SASRecCPR": {"reranker_CAN_NUM": 10},
}
TRAINED = {"epochs": 1}


def main(split_folder: Path, work: Path) -> None:
    split = load_split(split_folder)
    for name in catalogue.supported():
        folder = work / name
        folder.mkdir()
        try:
            outcome = fit(Job(model=name, settings=TRAINED | SMALL.get(name, {}), cross_check=True, list_length=5), split, folder)
            line = {"model": name, "status": outcome.status, "metric": outcome.best_metric, "check": outcome.cross_check}
            if not catalogue.knows_users_by_id(name) and name not in catalogue.READS_ITEM_TEXT:
                line["as retriever"] = retriever(
                    Job(model=name, settings=TRAINED | SMALL.get(name, {}), keep=True), split, work / f"{name}-kept"
                )
        except Exception as error:
            line = {"model": name, "status": "raised", "reason": f"{type(error).__name__}: {error}"[:300]}
        print("MODEL " + json.dumps(line), flush=True)
    print("COMPILER " + json.dumps({"imported": "torch._dynamo.eval_frame" in sys.modules, "compiled": _compiled(3.0)}), flush=True)


def retriever(job: Job, split: Split, folder: Path) -> dict:
    """Fit to keep; then the validation figure of the fit, and that of the vectors that the reopened model gives."""
    folder.mkdir()
    try:
        outcome = fit(job, split, folder)
    except ModelError as error:
        return {"refused": str(error)}
    job.save(folder)
    split.catalog.save(folder)
    scorer, scale = reopen(folder)
    known = Trained.load(folder).vectors.numpy()
    known[np.isnan(known)] = 0
    readable = (known != 0).any(axis=1)
    users = user_vectors(scorer, split.validation.histories.where(readable[split.validation.histories.values]), scale=scale)
    scores = np.where(readable, users @ known.T, -np.inf).astype(np.float32)
    ranks, _ = rank_and_list([scores], split.validation, mask_seen=True)
    return {"by RecBole": outcome.best_metric, "by vectors": mean_metric(ranks, split.validation, job.metric)}


def _compiled(value: float) -> float:
    import torch

    return torch.compile(lambda number: 2 * number, backend="eager")(torch.tensor(value)).item()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
