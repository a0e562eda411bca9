"""``python -m bertrec.recbole.worker.checkpoint CHECKPOINT OUT.npz``: the item tokens and item vectors of a RecBole checkpoint.

What the user can mend is one last line on standard error and exit code 2.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bertrec.core.errors import BertrecError, ModelError
from bertrec.recbole.worker import patches

if TYPE_CHECKING:
    import torch

# Graph models keep what they rank all items with under these names; knowledge-aware ones have further entities after the items.
_KEPT = ("restore_item_e", "restore_entity_e")
_WORDS = 200


def main(checkpoint: Path, target: Path) -> None:
    """Write ``tokens`` ``[n]`` and ``vectors`` ``[n, d]`` of a checkpoint."""
    patches.apply()
    logging.disable(logging.CRITICAL)
    saved = read(checkpoint)
    config = saved["config"]
    check_dataset(checkpoint, config)
    model, dataset = rebuild(checkpoint, saved)
    vectors = item_vectors(model, dataset.item_num)
    if vectors is None:
        raise ModelError(f"{checkpoint}: RecBole's {config['model']} has no item vectors that could be indexed")
    tokens = np.asarray(dataset.field2id_token[dataset.iid_field][1:], dtype=np.str_)
    with target.open("wb") as stream:
        np.savez(stream, tokens=tokens, vectors=vectors[1:].detach().float().numpy())


def read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, on the CPU.

    Raises:
        ModelError: it is none of RecBole's, or damaged.
    """
    import torch

    try:
        saved = torch.load(path, map_location="cpu")
    except Exception as error:  # unpickling imports and calls what the file names, and raises what that raises
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:_WORDS]}"
        raise ModelError(f"{path} is not a RecBole checkpoint that can be read here ({reason})") from error
    config = saved.get("config") if isinstance(saved, dict) else None
    if not hasattr(config, "final_config_dict") or "state_dict" not in saved:
        raise ModelError(f"{path} is not a RecBole checkpoint: RecBole's settings and weights are not in it")
    return saved


def check_dataset(checkpoint: Path, config: Any) -> None:
    """See that the interactions are where the checkpoint says; RecBole would ask whether to download them.

    Raises:
        ModelError: they are not; the text names the file.
    """
    parts = config["benchmark_filename"]
    for name in [config["dataset"]] if parts is None else [f"{config['dataset']}.{part}" for part in parts]:
        path = Path(config["data_path"]) / f"{name}.inter"
        if not path.is_file():
            where = "" if path.is_absolute() else f" (seen from {Path.cwd()})"
            raise ModelError(f"{checkpoint}: its dataset is no longer where the checkpoint says: {path}{where} is missing")


def rebuild(checkpoint: Path, saved: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the trained model and its dataset, made in the same order and with the same seeds as in RecBole's training.

    Raises:
        ModelError: the weights do not fit the dataset.
    """
    import torch
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    config = saved["config"]
    # Nothing is written beside the checkpoint, and a checkpoint of a GPU is read without one.
    for name, value in {"device": torch.device("cpu"), "save_dataset": False, "save_dataloaders": False}.items():
        config[name] = value
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    # A graph model propagates over the training part, so that the split has to be the same one.
    train_data, _, _ = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, train_data._dataset)
    if isinstance(saved["state_dict"], Mapping):  # the tree models have the name of a file there, and no vectors
        try:
            model.load_state_dict(saved["state_dict"])
        except RuntimeError as error:
            raise ModelError(f"{checkpoint}: its weights do not fit the dataset in {config['data_path']}: has it changed since?") from error
    model.load_other_parameter(saved.get("other_parameter"))
    return model.eval(), train_data._dataset


def item_vectors(model: Any, n_items: int) -> torch.Tensor | None:
    """Return ``[n_items, d]``, row 0 the padding.

    They are the propagated vectors of a graph model, else the rows of ``item_embedding``; None where a model has neither.
    """
    import torch

    with torch.no_grad():
        vectors = _propagated(model)
    table = getattr(model, "item_embedding", None)
    if vectors is None and isinstance(table, torch.nn.Embedding):
        vectors = table.weight
    # Some tables have a further row for a mask.
    usable = isinstance(vectors, torch.Tensor) and vectors.dim() == 2 and len(vectors) >= n_items
    return vectors[:n_items] if usable else None  # type: ignore[index]  # usable says it is a tensor


def _propagated(model: Any) -> Any:
    import torch

    kept = next((name for name in _KEPT if hasattr(model, name)), None)
    if kept is not None:
        # What came with the checkpoint is taken: KGAT's graph changes in training and is not among its weights.
        if getattr(model, kept) is None:
            model.full_sort_predict({model.USER_ID: torch.ones(1, dtype=torch.long)})
        return getattr(model, kept)
    if inspect.signature(model.forward).parameters:
        return None
    found = model.forward()
    return found[1] if isinstance(found, tuple) and len(found) > 1 else None


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except BertrecError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
