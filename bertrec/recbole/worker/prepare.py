"""Our split and a job's settings as RecBole's config, data loaders, model and trainer."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from bertrec.core.devices import DEVICE, named_device
from bertrec.core.errors import ConfigError
from bertrec.data.splits import Split
from bertrec.recbole.catalogue import READS_ITEM_TEXT, check_loads_nothing
from bertrec.recbole.exchange import Job
from bertrec.recbole.worker import atomic, patches
from bertrec.recbole.worker.crosscheck import CHECKED, CHECKED_AT
from bertrec.recbole.worker.histories import widen
from bertrec.recbole.worker.scoring import Scorer

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Prepared:
    """RecBole's side of a fit.

    Attributes:
        config: RecBole's.
        trainer: with the model in it.
        scorer: of that model.
        train, validation, test: RecBole's data loaders.
    """

    config: Any
    trainer: Any
    scorer: Scorer
    train: Any
    validation: Any
    test: Any

    @property
    def sequential(self) -> bool:
        """Whether the model reads the order of a history; RecBole then leaves seen items in its ranking."""
        return str(self.config["MODEL_TYPE"].name) == "SEQUENTIAL"

    @property
    def trains(self) -> bool:
        """Whether the model learns by epochs."""
        return str(self.config["MODEL_TYPE"].name) != "TRADITIONAL"


def prepare(job: Job, split: Split, work: Path) -> Prepared:
    """Write RecBole's files below ``work`` and build everything up to the first epoch."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    check_loads_nothing(job.settings)  # a job may come from a folder of someone else's
    _configure(job, split, work)
    config = Config(model=job.model, dataset=atomic.NAME, config_file_list=[str(work / "config.yaml")])
    init_seed(config["seed"], reproducibility=True)
    logging.disable(logging.CRITICAL)
    dataset = create_dataset(config)
    loaders = data_preparation(config, dataset)
    datasets = [loader._dataset for loader in loaders]
    if config["MODEL_TYPE"].name == "SEQUENTIAL":
        widen(datasets, width=config["MAX_ITEM_LIST_LENGTH"], n_items=dataset.item_num, negatives=job.model == "DIEN")
    init_seed(config["seed"], reproducibility=True)
    model = get_model(config["model"])(config, datasets[0]).to(config["device"])
    if job.model == "Pop":
        patches.count_every_interaction(model)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    trainer.saved_model_file = str(work / "best.pth")
    scorer = Scorer(trainer, datasets[0], n_items=len(split.catalog), trained=split.train.item_counts > 0)
    return Prepared(config, trainer, scorer, *loaders)


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
    settings = (
        _base_settings(job.model, work, len(split.catalog), sequential=sequential) | _loss_settings(job) | job.settings | {"seed": job.seed}
    )
    (work / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    os.chdir(work)  # RecBole writes its logs beside itself


def _base_settings(model: str, work: Path, n_items: int, *, sequential: bool) -> dict[str, Any]:
    columns = ["user_id", "item_id_list", "item_id"] if sequential else ["user_id", "item_id"]
    return {
        "data_path": str(work / "data"),
        "benchmark_filename": list(atomic.PARTS),
        "load_col": {"inter": columns, "item": ["item_id", *(["class"] if model in READS_ITEM_TEXT else [])]},
        "alias_of_item_id": ["item_id_list"] if sequential else None,
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "repeatable": sequential,
        "metrics": list(CHECKED),
        "topk": [k for k in CHECKED_AT if k <= n_items] or [1],
        "valid_metric": "NDCG@10",
        "metric_decimal_place": 12,
        "checkpoint_dir": str(work),
        "show_progress": False,
        "state": "ERROR",
        **_gpu(),
        "train_neg_sample_args": {"distribution": "uniform", "sample_num": 1, "alpha": 1.0, "dynamic": False, "candidate_num": 0},
    }


def _gpu() -> dict[str, str]:
    """Return which GPU RecBole takes; nothing where none was chosen, and it takes the first that is there.

    RecBole writes its ``gpu_id`` over ``CUDA_VISIBLE_DEVICES``. So where that is set, the chosen number, which counts the GPUs in it,
    becomes its entry: the number or the name of a GPU of the machine.

    Raises:
        ConfigError: the chosen number is above those of the GPUs in it.
    """
    kind, _, number = named_device().partition(":")
    if kind not in ("auto", "cuda"):
        return {"gpu_id": ""}
    visible = os.environ.get(_VISIBLE)
    if visible is None:
        return {"gpu_id": number} if number else {}
    entries = _entries(visible)
    if number and int(number) >= len(entries):
        raise ConfigError(f"device cuda:{number} is not available here: {_VISIBLE}={visible} has {len(entries)} in it ({DEVICE})")
    return {"gpu_id": entries[int(number or 0)] if entries else ""}


def _entries(visible: str) -> list[str]:
    """Return what the variable names, up to the first entry that is none, where CUDA too stops reading."""
    return list(takewhile(lambda entry: entry and not entry.startswith("-"), (entry.strip() for entry in visible.split(","))))


def _loss_settings(job: Job) -> dict[str, Any]:
    """Leave out negative samples where RecBole asks for that (a softmax over the whole catalogue), and for Pop, which would count them."""
    import recbole

    path = Path(recbole.__file__).parent / "properties" / "model" / f"{job.model}.yaml"
    own = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    loss = job.settings.get("loss_type", (own or {}).get("loss_type"))
    return {"train_neg_sample_args": None} if loss == "CE" or job.model == "Pop" else {}
