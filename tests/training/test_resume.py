from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_run import CONFIG, Tiny, pseudo_random_figure, same, sequences, weights

from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.training.checkpoints import complete_checkpoints
from bertrec.training.fit import fit_module

SCRIPT = Path(__file__).parent / "kill_runs.py"


def train(folder, *, module=None, config=CONFIG, resume=False, evaluate=pseudo_random_figure):
    module, dataset = module or Tiny(), sequences()
    log = fit_module(module, dataset, dataset.collate, config, evaluate=evaluate(module), run_dir=folder, resume=resume, progress=False)
    return weights(module), log


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.parametrize("average", [0.0, 0.4])
def test_a_run_killed_at_any_moment_ends_with_the_same_weights_when_resumed(tmp_path, average):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(SCRIPT), str(tmp_path), str(average)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    whole = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert 1 < whole["best"] < len(whole["history"]) < CONFIG.epochs  # so that the best state and early stopping are carried over
    report = {case["name"]: case for case in json.loads(done.stdout)}
    for name, case in report.items():
        assert set(case["ends"]) == {9}, f"{name} was not killed"
        assert case["finish"] == 0, f"{name}: {done.stderr}"
        assert json.loads((tmp_path / name / "result.json").read_text()) == whole, name
        assert len(list((tmp_path / name / "checkpoints").iterdir())) == 2, f"{name}: not just the newest two are left"
    left = [case["left"] for case in report.values()]
    assert any(any(name.endswith(".partial") for name in names) for names in left)  # some were killed inside a save
    assert ["epoch-1", "epoch-2", "epoch-3"] in left  # and one after a save, before the oldest was removed


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path):
    expected, log = train(tmp_path)
    newest, older = complete_checkpoints(tmp_path / "checkpoints")
    assert (newest.name, older.name) == ("epoch-5", "epoch-4")
    with open(newest / "optimizer.pt", "r+b") as stream:
        stream.truncate(100)
    assert complete_checkpoints(tmp_path / "checkpoints") == [older]
    again, second = train(tmp_path, resume=True)
    assert same(again, expected)
    assert [entry.loss for entry in second.epochs] == [entry.loss for entry in log.epochs]


def test_resuming_a_finished_run_trains_nothing_and_gives_its_best_weights(tmp_path):
    expected, log = train(tmp_path)
    again, second = train(tmp_path, resume=True, module=Tiny(hook=lambda step: pytest.fail("trained again")))
    assert same(again, expected)
    assert second.best_epoch == log.best_epoch
    assert second.stopped_early


def test_more_epochs_can_be_added_to_a_finished_run(tmp_path):
    config = CONFIG.updated({"schedule": "constant", "patience": 0, "warmup_share": 0.0})
    expected, _ = train(tmp_path / "whole", config=config)
    train(tmp_path / "parts", config=config.updated({"epochs": 2}))
    continued, log = train(tmp_path / "parts", config=config, resume=True)
    assert same(continued, expected)
    assert len(log.epochs) == config.epochs


def test_a_resumed_run_that_nothing_judges_ends_with_its_last_weights(tmp_path):
    """Once it went back to the weights of the checkpoint."""
    config, dataset = CONFIG.updated({"patience": 0}), sequences()

    def run(module, **options):
        fit_module(module, dataset, dataset.collate, config, run_dir=tmp_path, progress=False, **options)
        return weights(module)

    def interrupt(step):
        if step == 20:
            raise KeyboardInterrupt

    expected = run(Tiny())
    with pytest.raises(KeyboardInterrupt):
        run(Tiny(interrupt))
    assert same(run(Tiny(), resume=True), expected)


def test_resume_needs_a_folder_and_the_same_run(tmp_path):
    with pytest.raises(ConfigError, match="pass run_dir"):
        train(None, resume=True)
    train(tmp_path)
    with pytest.raises(ModelError, match=r"another run: learning_rate was 0.03 and is 0.5 now"):
        train(tmp_path, config=CONFIG.updated({"learning_rate": 0.5}), resume=True)
    wider = Tiny()
    wider.out = torch.nn.Linear(6, 20)
    with pytest.raises(ModelError, match="another run: parameters"):
        train(tmp_path, module=wider, resume=True)
    assert len(complete_checkpoints(tmp_path / "checkpoints")) == 2


def test_a_fresh_run_warns_that_it_removes_former_checkpoints(tmp_path, caplog):
    train(tmp_path, config=CONFIG.updated({"epochs": 2}))
    train(tmp_path, config=CONFIG.updated({"epochs": 1, "seed": 9}))
    assert "removing 2 checkpoints of a former run" in caplog.text
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["epoch-1"]


def test_resume_without_a_checkpoint_says_that_it_starts_anew(tmp_path, caplog):
    expected, _ = train(tmp_path / "a")
    started, _ = train(tmp_path / "b", resume=True)
    assert "starts from the beginning" in caplog.text
    assert same(started, expected)


def test_a_keyboard_interrupt_passes_through_and_leaves_whole_checkpoints(tmp_path):
    cut_short(tmp_path)
    assert [path.name for path in complete_checkpoints(tmp_path / "checkpoints")] == ["epoch-2", "epoch-1"]
    assert same(train(tmp_path, resume=True)[0], train(None)[0])


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("limit", [100, 2500])
def test_a_full_disk_is_one_error_and_older_checkpoints_stay(tmp_path, limit):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(step):
        if step == 20:  # epoch 3: from now on no file can grow beyond `limit` bytes
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))

    try:
        with pytest.raises(BertrecError, match=r"cannot write .*epoch-3: .*unchanged") as caught:
            train(tmp_path, module=Tiny(hook=fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["epoch-1", "epoch-2"]
    assert same(train(tmp_path, resume=True)[0], train(None)[0])


def test_checkpoints_hold_only_what_is_trained_and_load_without_code(tmp_path):
    from safetensors.torch import load_file

    module = Tiny()
    module.out.requires_grad_(False)
    train(tmp_path, module=module)
    newest = complete_checkpoints(tmp_path / "checkpoints")[0]
    assert set(load_file(newest / "model.safetensors")) == {"items.weight", "norm.weight", "norm.bias", "mean_norm"}
    for name in ("optimizer.pt", "scheduler.pt"):
        torch.load(newest / name, weights_only=True)


def test_without_a_folder_or_with_checkpoints_off_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    without, _ = train(None)
    off, _ = train(tmp_path / "run", config=CONFIG.updated({"save_every_epoch": False}))
    assert same(without, off)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def cut_short(folder):
    """Leave a run after its second epoch."""

    def interrupt(step):
        if step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, module=Tiny(hook=interrupt))


def test_a_flipped_bit_in_a_checkpoint_is_never_trained_on(tmp_path):
    """Once a run went on from it in silence, to other weights."""
    cut_short(tmp_path / "run")
    newest, older = complete_checkpoints(tmp_path / "run" / "checkpoints")
    draw, refused = random.Random(0), set()
    for name in sorted(path.name for path in newest.iterdir()):
        for _ in range(4):
            place, content = newest / name, (newest / name).read_bytes()
            bit = draw.randrange(8 * len(content))
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << bit % 8
            place.write_bytes(flipped)
            if complete_checkpoints(newest.parent)[0] == newest:
                with pytest.raises(ModelError, match=rf"{name} is damaged.*remove the folder {newest}") as caught:
                    train(tmp_path / "run", resume=True)
                assert "\n" not in str(caught.value)
                refused.add(name)
            place.write_bytes(content)
    assert refused >= {path.name for path in newest.iterdir()} - {"COMPLETE"}
    (newest / "model.safetensors").write_bytes(b"\0" * (newest / "model.safetensors").stat().st_size)
    with pytest.raises(ModelError, match="is damaged"):
        train(tmp_path / "run", resume=True)
    shutil.rmtree(newest)  # as the error says
    assert complete_checkpoints(newest.parent) == [older]
    assert same(train(tmp_path / "run", resume=True)[0], train(None)[0])


def test_a_checkpoint_of_a_version_without_hashes_is_gone_on_with(tmp_path):
    cut_short(tmp_path / "run")
    for checkpoint in complete_checkpoints(tmp_path / "run" / "checkpoints"):
        sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != "COMPLETE"}
        (checkpoint / "COMPLETE").write_text(json.dumps(sizes))
    assert same(train(tmp_path / "run", resume=True)[0], train(None)[0])
