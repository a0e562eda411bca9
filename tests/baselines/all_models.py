"""Fit every RecBole model that runs here for one epoch, in one process; prints a line of JSON each. Run by test_every_model.

The last line says whether torch's compiler was imported meanwhile, and whether it still compiles.
"""

import json
import sys
from pathlib import Path

from bertrec.baselines import catalogue
from bertrec.baselines.exchange import Job, load_split
from bertrec.baselines.worker.__main__ import fit

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
        except Exception as error:
            line = {"model": name, "status": "raised", "reason": f"{type(error).__name__}: {error}"[:300]}
        print("MODEL " + json.dumps(line), flush=True)
    print("COMPILER " + json.dumps({"imported": "torch._dynamo.eval_frame" in sys.modules, "compiled": _compiled(3.0)}), flush=True)


def _compiled(value: float) -> float:
    import torch

    return torch.compile(lambda number: 2 * number, backend="eager")(torch.tensor(value)).item()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
