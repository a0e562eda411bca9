"""``python -m bertrec.baselines.worker FOLDER``: fit the baseline that ``FOLDER/job.json`` describes on the split beside it."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bertrec.baselines.exchange import Arrays, Job, Outcome, load_split
from bertrec.baselines.guard import peak_mib, run_job, versions
from bertrec.baselines.ranking import mean_metric, rank_and_list, tied_users
from bertrec.baselines.worker import atomic, patches
from bertrec.data.splits import EvaluationSet, Split

_CHECKED = ("Hit", "NDCG", "MRR")
_OURS = {"Hit": "HR", "NDCG": "NDCG", "MRR": "MRR"}
_CHECKED_AT = (10, 20)
_AGREES = 1e-6


def main(folder: Path, split_folder: Path) -> None:
    """Fit, measure and write the outcome; an error of the model becomes its outcome."""
    run_job(folder, lambda job: fit(job, load_split(split_folder), folder))


def fit(job: Job, split: Split, folder: Path) -> Outcome:
    """Train one model, measure it on the test users, and write its arrays."""
    patches.apply()
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    from bertrec.baselines.worker.histories import widen
    from bertrec.baselines.worker.scoring import Scorer
    from bertrec.baselines.worker.training import Fit

    work = folder / "recbole"
    _configure(job, split, work)
    config = Config(model=job.model, dataset=atomic.NAME, config_file_list=[str(work / "config.yaml")])
    init_seed(config["seed"], reproducibility=True)
    logging.disable(logging.CRITICAL)
    dataset = create_dataset(config)
    train_data, valid_data, test_data = data_preparation(config, dataset)
    if config["MODEL_TYPE"].name == "SEQUENTIAL":
        parts = [loader._dataset for loader in (train_data, valid_data, test_data)]
        widen(parts, width=config["MAX_ITEM_LIST_LENGTH"], n_items=dataset.item_num, negatives=job.model == "DIEN")
    init_seed(config["seed"], reproducibility=True)
    model = get_model(config["model"])(config, train_data._dataset).to(config["device"])
    if job.model == "Pop":
        patches.count_every_interaction(model)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    scorer = Scorer(trainer, train_data._dataset, n_items=len(split.catalog), trained=split.train.item_counts > 0)
    assert split.validation is not None
    assert split.test is not None
    validation, test = split.validation, split.test

    def validate() -> float:
        ranks, _ = rank_and_list(scorer.known(validation), validation, mask_seen=job.mask_seen)
        return mean_metric(ranks, validation, job.metric)

    fitted = Fit(trainer, folder, trains=config["MODEL_TYPE"].name != "TRADITIONAL", limit_seconds=job.limit_seconds, validate=validate)
    trainer.saved_model_file = str(work / "best.pth")
    if job.options.get("recover"):
        fitted.recover()
    else:
        fitted.run(train_data, valid_data)
    started = time.perf_counter()
    ranks, lists = rank_and_list(scorer.known(test), test, mask_seen=job.mask_seen, list_length=job.list_length)
    seconds = time.perf_counter() - started
    items = _item_vectors(model, scorer) if job.keep_items else None
    Arrays(ranks, lists, items).save(folder)
    return Outcome(
        "ok",
        ended_by=fitted.ended_by,
        best_epoch=fitted.best_epoch,
        seconds=fitted.seconds,
        evaluate_seconds=seconds,
        peak_mib=peak_mib(),
        settings=job.settings,
        points=tuple(fitted.points),
        cross_check=_cross_check(trainer, test_data, scorer, test, config) if job.cross_check else None,
        versions=versions(("recbole", "torch", "numpy")),
    )


def _configure(job: Job, split: Split, work: Path) -> None:
    """Write RecBole's data files and its settings. A settings file is read as YAML; settings in a dict would be evaluated as code."""
    from recbole.utils import ModelType, get_model

    kind = get_model(job.model).type
    data = work / "data" / atomic.NAME
    data.mkdir(parents=True, exist_ok=True)
    sequential = kind == ModelType.SEQUENTIAL
    length = int(job.settings.get("MAX_ITEM_LIST_LENGTH", 50))
    if sequential:
        atomic.write_sequential(split, data, max_length=length)
    else:
        atomic.write_flat(split, data)
    settings = _base_settings(work, sequential) | _loss_settings(job) | job.settings | {"seed": job.seed}
    (work / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    os.chdir(work)  # RecBole writes its logs beside itself


def _base_settings(work: Path, sequential: bool) -> dict[str, Any]:
    columns = ["user_id", "item_id_list", "item_id"] if sequential else ["user_id", "item_id"]
    return {
        "data_path": str(work / "data"),
        "benchmark_filename": list(atomic.PARTS),
        "load_col": {"inter": columns, "item": ["item_id", "class"]},
        "alias_of_item_id": ["item_id_list"] if sequential else None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "repeatable": sequential,
        "metrics": list(_CHECKED),
        "topk": list(_CHECKED_AT),
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 12,
        "checkpoint_dir": str(work),
        "show_progress": False,
        "state": "ERROR",
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0},
    }


def _loss_settings(job: Job) -> dict[str, Any]:
    """Leave out negative samples where RecBole asks for that (a softmax over the whole catalogue), and for Pop, which would count them."""
    import recbole

    path = Path(recbole.__file__).parent / "properties" / "model" / f"{job.model}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    loss = job.settings.get("loss_type", (own or {}).get("loss_type"))
    return {"train_neg_sample_args": None} if loss == "CE" or job.model == "Pop" else {}


def _cross_check(trainer: Any, test_data: Any, scorer: Any, test: EvaluationSet, config: Any) -> dict[str, Any]:
    """Let RecBole measure itself, and repeat its own masking and its own candidates with our ranks."""
    if (test.targets.lengths > 1).any() and config["MODEL_TYPE"].name == "SEQUENTIAL":
        return {"note": "not made: RecBole counts each target of a user as a user of its own", "agrees": None}
    theirs = trainer.evaluate(test_data, load_best_model=False, show_progress=False)
    masked = config["MODEL_TYPE"].name != "SEQUENTIAL"  # its sequential ranking leaves seen items in
    ranks, _ = rank_and_list(scorer.raw(test), test, mask_seen=masked)
    figures = {
        f"{_OURS[name]}@{k}": {"recbole": float(theirs[f"{name.lower()}@{k}"]), "ours": mean_metric(ranks, test, f"{_OURS[name]}@{k}")}
        for name in _CHECKED
        for k in _CHECKED_AT
    }
    largest = max(abs(pair["recbole"] - pair["ours"]) for pair in figures.values())
    tied = tied_users(scorer.raw(test), test, mask_seen=masked)
    note = "RecBole's own protocol: seen items " + ("masked" if masked else "not masked") + ", all items of its vocabulary"
    return {
        "figures": figures,
        "users": len(test),
        "tied_users": tied,
        "largest_difference": largest,
        "agrees": largest <= _AGREES,
        "note": note,
    }


def _item_vectors(model: Any, scorer: Any) -> np.ndarray[Any, Any] | None:
    import torch

    table = getattr(model, "item_embedding", None)
    if not isinstance(table, torch.nn.Embedding) or len(table.weight) < len(scorer.items):
        return None
    vectors = table.weight.detach().cpu().numpy()[scorer.items].astype(np.float32)
    vectors[~scorer.trained] = np.nan
    vectors[0] = 0
    return vectors


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
