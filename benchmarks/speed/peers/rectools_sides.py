"""RecTools' side: its SASRecModel and UniSRecModel with the settings that ours are given. Runs in RecTools' own environment.

Both leave ``peer.json`` in the shared folder, so that ours, which runs after them, can do as many epochs or take as many seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
import torch
from rectools import Columns
from rectools.dataset import Dataset
from rectools.fast_transformers import UniSRecModel
from rectools.models import SASRecModel

_K = 10
_USERS_AT_ONCE = 512


class Clock(lightning.Callback):
    """Takes the time of each epoch, and begins none that would end beyond the budget at the pace of the last one.

    Args:
        budget_seconds: of the training; 0 sets no limit. The first epoch is always finished.
    """

    def __init__(self, budget_seconds: float) -> None:
        self.budget = budget_seconds
        self.marks: list[float] = []

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self.marks = [time.perf_counter()]

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Note the time and stop where the next epoch would be too late."""
        self.marks.append(time.perf_counter())
        if self.budget and self.marks[-1] - self.marks[0] + self.epochs[-1] > self.budget:
            trainer.should_stop = True

    @property
    def epochs(self) -> list[float]:
        """Seconds of each epoch so far."""
        return [after - before for before, after in zip(self.marks[:-1], self.marks[1:], strict=True)]


class TimedUniSRec(UniSRecModel):  # type: ignore[misc]  # RecTools is not installed where types are checked
    """UniSRecModel with a clock in its trainer."""

    clock: Clock

    def _make_trainer(self, max_epochs: int, val_dl: Any = None) -> lightning.Trainer:
        trainer = super()._make_trainer(max_epochs, val_dl)
        trainer.callbacks.append(self.clock)
        return trainer


def sasrec(
    *,
    data: str,
    folder: str,
    epochs: int,
    width: int,
    layers: int,
    heads: int,
    length: int,
    batch_size: int,
    learning_rate: float,
    dropout: float,
    seed: int,
    budget_seconds: float,
    **_: Any,
) -> Callable[[], dict[str, Any]]:
    """Prepare one SASRec training; what is returned counts the seconds of an epoch, set-up left out."""
    arrays = _arrays(folder)
    train = _dataset(arrays["user"], arrays["item"], arrays["order"])

    def once() -> dict[str, Any]:
        lightning.seed_everything(seed)
        model = SASRecModel(
            n_blocks=layers,
            n_heads=heads,
            n_factors=width,
            dropout_rate=dropout,
            session_max_len=length,
            loss="softmax",
            lr=learning_rate,
            batch_size=batch_size,
            epochs=epochs,
        )
        # Its own trainer but for the clock, and for the first epoch being enough where the budget ends.
        model._trainer = lightning.Trainer(
            max_epochs=epochs,
            min_epochs=1,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=False,
            enable_checkpointing=False,
            devices=1,
            callbacks=[Clock(budget_seconds)],
        )
        model.fit(train)
        clock = next(found for found in model.fit_trainer.callbacks if isinstance(found, Clock))
        seconds = sum(clock.epochs) / len(clock.epochs)
        _note(folder, epochs=len(clock.epochs), seconds=seconds)
        return {
            "seconds": seconds,
            "epochs": len(clock.epochs),
            "epoch_seconds": clock.epochs,
            "users": int(arrays["user"].max()),
            "array": np.concatenate([arrays["target"][:, None], _recommended(model, arrays)], axis=1),
        }

    return once


def unisrec(
    *,
    data: str,
    folder: str,
    epochs: int,
    width: int,
    layers: int,
    heads: int,
    length: int,
    batch_size: int,
    seed: int,
    budget_seconds: float,
    **_: Any,
) -> Callable[[], dict[str, Any]]:
    """Prepare training on given vectors and the ten best items of every test user; both are timed together."""
    arrays = _arrays(folder)
    vectors = torch.from_numpy(np.load(Path(folder) / "vectors.npy"))
    interactions = [torch.from_numpy(arrays[name]) for name in ("user", "item", "order")]
    histories = [arrays["history"][start:stop] for start, stop in _spans(arrays["history_offsets"])]

    def once() -> dict[str, Any]:
        lightning.seed_everything(seed)
        model = TimedUniSRec(
            vectors, n_factors=width, n_blocks=layers, n_heads=heads, session_max_len=length, epochs=epochs, batch_size=batch_size
        )
        model.clock = Clock(budget_seconds)
        started = time.perf_counter()
        model.fit(*interactions)
        fitted = time.perf_counter()
        lists = _best(model, histories, length)
        ended = time.perf_counter()
        _note(folder, epochs=len(model.clock.epochs), seconds=ended - started)
        return {
            "seconds": ended - started,
            "fit_seconds": fitted - started,
            "predict_seconds": ended - fitted,
            "epochs": len(model.clock.epochs),
            "lower_bound": len(model.clock.epochs) < epochs,
            "array": np.concatenate([arrays["target"][:, None], lists], axis=1),
        }

    return once


def _arrays(folder: str) -> dict[str, np.ndarray]:
    with np.load(Path(folder) / "split.npz") as found:
        return {name: found[name] for name in found.files}


def _note(folder: str, **figures: float) -> None:
    (Path(folder) / "peer.json").write_text(json.dumps(figures), encoding="utf-8")


def _spans(offsets: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))


def _dataset(users: np.ndarray, items: np.ndarray, order: np.ndarray) -> Any:
    columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1.0, Columns.Datetime: pd.to_datetime(order, unit="s")}
    return Dataset.construct(pd.DataFrame(columns))


def _recommended(model: Any, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return ``[users, 10]`` item ids without seen ones, 0 where there is none."""
    offsets = arrays["history_offsets"]
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    histories = _dataset(rows, arrays["history"], np.arange(len(rows)) - offsets[rows])
    found = model.recommend(np.unique(rows), histories, k=_K, filter_viewed=True, on_unsupported_targets="ignore")
    lists = np.zeros((len(offsets) - 1, _K), np.int64)
    lists[found[Columns.User].to_numpy(), found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    return lists


def _best(model: Any, histories: list[np.ndarray], length: int) -> np.ndarray:
    """Return ``[users, 10]`` item ids, seen ones among them, through ``predict_topk`` of 512 users at a time."""
    lists = []
    for start in range(0, len(histories), _USERS_AT_ONCE):
        rows = histories[start : start + _USERS_AT_ONCE]
        padded = torch.zeros(len(rows), length, dtype=torch.long)
        for place, row in enumerate(rows):
            known = model.map_item_ids(torch.from_numpy(row))
            known = known[known > 0][-length:]
            if len(known):
                padded[place, -len(known) :] = known
        lists.append(model.predict_topk(padded, k=_K)[1].numpy())
    return np.concatenate(lists)
