"""Train and measure the rows of the quality table: one JSON per row and seed, resumable, with log, protocol and times.

    python -m benchmarks.quality --data DATA_FOLDER --seeds 0 1 2                     # every group of rows
    python -m benchmarks.quality --data DATA_FOLDER --rows depth adapted precision transfer --seeds 0 1 2
    python -m benchmarks.quality_table

Every model is what ``bertrec train DATA --model … --item-input … --tune … --seed …`` makes: no setting beyond these
(but for the rows that say so: the frozen encoder beside the tuned ones under their loss, an encoder that was adapted first, int8,
refreshed negatives; and no match).
DATA_FOLDER holds ``amazon-scientific`` and ``amazon-beauty``; ml-100k is in RecBole's wheel. Per-user values, which the paired
intervals need, are kept under ``runs/benchmarks``. The defaults beside what needs no training are measured by ``benchmarks/new_items.py``.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertrec.core.files import read_json, write_json
from bertrec.core.shown import without_places
from bertrec.data.load import load, make_split
from bertrec.data.splits import Split
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.training.adapt_config import AdaptConfig
from bertrec.training.adapt_items import adapt_encoder

RESULTS = Path(__file__).parent / "results"
PER_USER = Path("runs") / "benchmarks"
ADAPT_EPOCHS = 3
PROTOCOLS = {"masked": Protocol(ks=(5, 10, 20, 50), seen_targets="rank"), "unmasked": Protocol(ks=(5, 10, 20, 50), mask_seen=False)}


@dataclass(frozen=True)
class Row:
    """One line of the table: a model on a split."""

    group: str
    name: str
    data: str
    model: str
    item_input: str | None = None
    tune: str | None = None
    init: str | None = None
    zero_shot: bool = False
    settings: tuple[tuple[str, Any], ...] = ()
    adapted: bool = False

    def command(self, seed: int) -> str:
        """Return the command that makes or measures the same model."""
        if self.zero_shot:
            return f"bertrec evaluate RUN_OF_{self.init} --data {self.data}"
        first = f"bertrec encoder adapt {self.data} --epochs {ADAPT_EPOCHS} --seed {seed} --out ENCODER; " if self.adapted else ""
        parts = [f"{first}bertrec train {self.data} --model {self.model}"]
        parts += [f"--item-input {self.item_input}"] if self.item_input else []
        parts += [f"--tune {self.tune}"] if self.tune else []
        parts += [f"--init {self.init}"] if self.init else []
        parts += [f"--set {name}={value}" for name, value in self.settings]
        parts += ["--set encoder.name=ENCODER"] if self.adapted else []
        return " ".join([*parts, f"--seed {seed}"])


_PLAIN = (("match.text", 0), ("match.behaviour", 0), ("match.solved", 0))
_TUNED = (*_PLAIN, ("loss.kind", "in-batch"), ("train.batch_size", 64), ("train.learning_rate", 1e-3), ("train.epochs", 8))
_STALE = (*_PLAIN, ("loss.kind", "full"), ("train.batch_size", 64), ("train.epochs", 4))

ROWS = [
    Row("retriever", "scientific-text-id", "amazon-scientific", "unisrec", "text+id"),  # of benchmarks/rerank.py
    Row("plain", "scientific-text", "amazon-scientific", "unisrec", "text", settings=_PLAIN),
    Row("plain", "beauty-text", "amazon-beauty", "unisrec", "text", settings=_PLAIN),
    *[
        Row("depth", f"depth-{tune.replace(':', '')}", "ml-100k", "morec", "text", tune, settings=_PLAIN)
        for tune in ("frozen", "last:2", "lora", "full")
    ],
    # What tuning alone adds: the frozen encoder under the tuned ones' loss, batch and epochs.
    Row("depth", "depth-frozen-same", "ml-100k", "morec", "text", "frozen", settings=_TUNED),
    # The encoder adapted once to what users take together, and frozen afterwards.
    Row("adapted", "depth-adapted", "ml-100k", "morec", "text", "frozen", settings=_PLAIN, adapted=True),
    Row("adapted", "depth-adapted-same", "ml-100k", "morec", "text", "frozen", settings=_TUNED, adapted=True),
    # What it costs that negatives keep a vector of some steps ago: the whole catalogue in the loss, read anew each step or each 20.
    *[
        Row("refresh", f"refresh-{name}", "ml-100k", "morec", "text", "last:2", settings=(*_STALE, ("train.refresh_every", every)))
        for every, name in ((0, "each-step"), (20, "20-steps"))
    ],
    # What int8 in place of fp32 in the frozen encoder costs downstream.
    Row("precision", "scientific-text-int8", "amazon-scientific", "unisrec", "text", settings=(*_PLAIN, ("encoder.precision", "int8"))),
    Row("transfer", "transfer-zero-shot", "amazon-scientific", "unisrec", "text", init="beauty-text", zero_shot=True, settings=_PLAIN),
    Row("transfer", "transfer-fine-tuned", "amazon-scientific", "unisrec", "text", init="beauty-text", settings=_PLAIN),
]
GROUPS = sorted({row.group for row in ROWS})


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the data sets")
    parser.add_argument(
        "--rows", nargs="+", default=GROUPS, choices=[*GROUPS, *(row.name for row in ROWS)], metavar="ROW", help="groups or rows; all"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options = parser.parse_args()
    wanted = [row for row in ROWS if {row.group, row.name} & set(options.rows)]
    for seed in options.seeds:
        for row in wanted:
            if (RESULTS / f"{row.name}-{seed}.json").exists():
                print(f"{row.name} seed {seed}: there already", flush=True)
                continue
            run(row, seed, options.data)


def run(row: Row, seed: int, folder: Path) -> None:
    """Train, measure and write one row."""
    dataset = load(row.data if row.data == "ml-100k" else folder / row.data)
    split = make_split(dataset)
    if row.adapted:  # whose seconds stand beside the encoder
        _adapted_encoder(row, seed, split)
    started = time.perf_counter()
    model = fitted(row, seed, split)
    seconds = time.perf_counter() - started
    reports = {name: _measure(model, split, protocol) for name, protocol in PROTOCOLS.items()}
    record = {
        "row": row.name,
        "command": row.command(seed),
        "seed": seed,
        "fit_seconds": seconds,
        "machine": _machine(),
        "repeat_bias": model.repeat_bias,
        "config": _without_place(model.config.to_dict()),
        "adaptation": _adaptation(row, seed),
        "train_log": model.train_log.to_dict() if model.train_log and not row.zero_shot else None,
        "split": _without_folders(split.manifest),
        "reports": {name: report.to_json() for name, report in reports.items()},
    }
    PER_USER.mkdir(parents=True, exist_ok=True)
    values = {f"{name}|{metric}": report.per_user(metric) for name, report in reports.items() for metric in ("NDCG@10", "HR@10")}
    np.savez_compressed(PER_USER / f"{row.name}-{seed}.npz", **values)
    model.save_pretrained(PER_USER / f"{row.name}-{seed}")
    write_json(RESULTS / f"{row.name}-{seed}.json", record)
    print(f"{row.name} seed {seed}: {seconds:.0f} s, " + _line(reports), flush=True)


def fitted(row: Row, seed: int, split: Split) -> Recommender:
    settings = dict(row.settings) | ({"encoder.name": str(_adapted_encoder(row, seed, split))} if row.adapted else {})
    model = create(row.model, item_input=row.item_input, tune=row.tune, settings=settings, seed=seed)
    init = Recommender.from_pretrained(PER_USER / f"{row.init}-{seed}") if row.init else None
    if row.zero_shot and init is not None:
        return init.with_catalog(split.catalog)
    return model.fit(split.train, validation=split.validation, **({"init": init} if init is not None else {}))


def _adapted_folder(row: Row, seed: int) -> Path:
    return PER_USER / f"adapted-{row.data}-{seed}"


def _adapted_encoder(row: Row, seed: int, split: Split) -> Path:
    """Return the folder of the encoder that was adapted to this training part, made where it is missing; seconds stand beside it."""
    folder = _adapted_folder(row, seed)
    if not folder.exists():
        started, said = time.perf_counter(), []
        config = AdaptConfig().updated({"train.epochs": ADAPT_EPOCHS, "train.seed": seed})
        encoder = adapt_encoder(split, config, say=said.append, progress=False)
        write_json(folder.with_suffix(".json"), {"seconds": round(time.perf_counter() - started), "said": said})
        encoder.save(folder)  # last: a folder that is there has its record
    return folder


def _adaptation(row: Row, seed: int) -> Any:
    """Return what the adaptation took and said; None without one."""
    return read_json(_adapted_folder(row, seed).with_suffix(".json")) if row.adapted else None


def _measure(model: Recommender, split: Split, protocol: Protocol) -> Report:
    assert split.test is not None
    return evaluate(model, split.test, protocol=protocol, item_counts=split.train.item_counts, manifest=_without_folders(split.manifest))


def _without_place(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the folder in front of the encoder's name: a row is published."""
    return config | {"encoder": config["encoder"] | {"name": without_places(config["encoder"]["name"])}}


def _without_folders(manifest: dict[str, Any]) -> dict[str, Any]:
    """Leave out the folders in front of file names."""
    notes = [re.sub(r"^.*/(?=[^/:]+:)", "", note) for note in manifest.get("notes", [])]
    return manifest | {"notes": notes}


def _line(reports: dict[str, Report]) -> str:
    return ", ".join(f"{name} NDCG@10 {report.mean('NDCG@10'):.4f} HR@10 {report.mean('HR@10'):.4f}" for name, report in reports.items())


def _machine() -> dict[str, Any]:
    return {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "python": platform.python_version(), "torch": torch.__version__}


if __name__ == "__main__":
    main()
