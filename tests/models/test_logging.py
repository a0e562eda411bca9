"""What loggers and callbacks of the Hugging Face Trainer get to know of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from toy_parts import GoodEnough
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from bertrec.core.errors import ConfigError
from bertrec.data.load import load
from bertrec.data.splits import Split
from bertrec.models.registry import create


def fit(split: Split, small: dict[str, Any], settings: dict[str, Any] | None = None, **options: Any):
    model = create("idrec", settings={**small, "train.epochs": 4, **(settings or {})})
    return model.fit(split.train, validation=split.validation, progress=False, **options)


def test_tensorboard_holds_the_loss_and_the_validation_figures_of_each_epoch(split, small, tmp_path: Path) -> None:
    model = fit(split, small, {"train.loggers": ("tensorboard",), "train.evaluate_every": 2}, run_dir=tmp_path)
    (file,) = tmp_path.rglob("events.out.tfevents.*")
    assert file.is_relative_to(tmp_path / "runs")
    events = EventAccumulator(str(file)).Reload()
    epochs, steps = model.train_log.epochs, model.train_log.steps // 4
    losses, figures = events.Scalars("train/loss"), events.Scalars("eval/NDCG@10")
    assert [event.step for event in losses] == [steps * epoch.epoch for epoch in epochs]
    assert [event.value for event in losses] == pytest.approx([epoch.loss for epoch in epochs], rel=1e-6)
    judged = [epoch for epoch in epochs if epoch.metrics]
    assert [epoch.epoch for epoch in judged] == [2, 4]
    assert [event.step for event in figures] == [steps * epoch.epoch for epoch in judged]
    assert [event.value for event in figures] == pytest.approx([epoch.metrics["NDCG@10"] for epoch in judged], rel=1e-6)


def test_a_logger_whose_package_is_absent_is_one_line(split, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integration_utils, "is_tensorboard_available", lambda: False)
    with pytest.raises(ConfigError, match=r"logger tensorboard cannot be used here: .*requires tensorboard to be installed"):
        fit(split, small, {"train.loggers": ("tensorboard",)}, run_dir=tmp_path)


class Counting(TrainerCallback):
    def __init__(self) -> None:
        self.begun = self.epochs = self.steps = self.ended = 0

    def on_train_begin(self, args, state, control, **_):
        self.begun += 1

    def on_step_end(self, args, state, control, **_):
        self.steps += 1

    def on_epoch_end(self, args, state, control, **_):
        self.epochs += 1

    def on_train_end(self, args, state, control, **_):
        self.ended += 1


def test_callbacks_see_every_epoch_and_step_and_change_nothing(split, small) -> None:
    first, second = Counting(), Counting()
    model, bare = fit(split, small, callbacks=[first, second]), fit(split, small)
    for counts in (first, second):
        assert (counts.begun, counts.epochs, counts.steps, counts.ended) == (1, 4, model.train_log.steps, 1)
    assert model.train_log.steps == 12  # 48 users of 16 per step, 4 times
    assert model.model_hash == bare.model_hash


def test_the_callback_of_the_page_keeps_losses_and_ends_the_training(split, small) -> None:
    bare = [epoch.loss for epoch in fit(split, small).train_log.epochs]
    callback = GoodEnough((bare[1] + bare[2]) / 2)
    model = fit(split, small, callbacks=[callback])
    assert callback.losses == bare[:3] == [epoch.loss for epoch in model.train_log.epochs]


class StopsAtAStep(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        control.should_training_stop = state.global_step == 4


def test_a_callback_that_ends_the_training_in_mid_epoch_ends_it(split, small) -> None:
    model = fit(split, small, callbacks=[StopsAtAStep()])
    assert len(model.train_log.epochs) == 2


@pytest.mark.parametrize(
    ("given", "named"), [(print, "a builtin_function_or_method"), (Counting, "the class Counting"), ("tensorboard", "a str")]
)
def test_what_is_no_callback_is_one_line(split, small, given, named: str) -> None:
    with pytest.raises(ConfigError, match=rf"derived from transformers\.TrainerCallback, not {named}"):
        fit(split, small, callbacks=[given])


def test_standard_logging_gets_a_line_for_each_epoch_and_each_note_of_the_data(split, small, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "bertrec")
    model = fit(split, small)
    epochs = model.train_log.epochs
    wanted = [f"epoch {one.epoch} of 4: loss {one.loss:.4g}, NDCG@10 {one.metrics['NDCG@10']:.4f}" for one in epochs]
    lines = [record.getMessage() for record in caplog.records if record.name == "bertrec.training.state"]
    assert [line[: len(start)] for line, start in zip(lines, wanted, strict=True)] == wanted
    caplog.clear()
    clicks = split.train.to_frame("pyarrow").append_column("page", [["x"] * len(split.train)])
    dataset = load(clicks, items=split.catalog.to_frame("pyarrow"))
    assert [record.getMessage() for record in caplog.records] == [repr(dataset), *dataset.notes]
    assert any("ignored 'page'" in note for note in dataset.notes)
