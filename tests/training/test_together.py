"""Two processes (gloo) train as one does: the same losses, the same steps, the same model; by the library and by the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bertrec.core.errors import ConfigError
from bertrec.core.processes import own_share, rank, world
from bertrec.training.batches import EpochBatches, Part
from bertrec.training.fit import fit_module

from tiny_run import CONFIG, Tiny, sequences  # isort: skip

SCRIPT = Path(__file__).parent / "together.py"
HERE = Path(__file__).parents[2]
RUN = ["--model", "idrec", "--set", "item.width=16", "--set", "train.batch_size=8", "--epochs", "3"]


def launched(*command, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen([*launcher, *map(str, command)], env=environment, text=True, **options)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    alone = subprocess.Popen([sys.executable, str(SCRIPT), str(folder)], env={**os.environ, "PYTHONPATH": str(HERE)})
    assert launched(SCRIPT, folder).wait(300) == 0
    assert alone.wait(300) == 0
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in ("alone", "0", "1")}


@pytest.mark.parametrize("case", ["full", "in-batch", "small batches", "accumulated", "sparse"])
def test_two_processes_give_the_losses_and_the_model_of_one(found, case):
    alone, first, second = (found[name][case] for name in ("alone", "0", "1"))
    assert first["losses"] == second["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert first["figures"] == second["figures"] == pytest.approx(alone["figures"], rel=1e-9)
    assert first["steps"] == second["steps"] == alone["steps"]
    assert first["best"] == second["best"] == alone["best"]
    assert first["vectors"] == second["vectors"]
    np.testing.assert_allclose(first["vectors"], alone["vectors"], atol=1e-5)


def test_both_end_at_the_same_step_when_time_is_over(found):
    first, second = (found[name]["time"] for name in ("0", "1"))
    assert (first["losses"], first["figures"], first["vectors"]) == (second["losses"], second["figures"], second["vectors"])


def shop(folder):
    rng = np.random.default_rng(0)
    rows = ["user_id,item_id,timestamp"]
    rows += [f"u{user},{(start + step) % 30},{step}" for user, start in enumerate(rng.integers(30, size=60)) for step in range(6)]
    folder.mkdir()
    (folder / "interactions.csv").write_text("\n".join(rows) + "\n")
    (folder / "items.csv").write_text("item_id,title\n" + "".join(f"{item},Thing {item}\n" for item in range(30)))
    return folder


def test_the_command_trains_prints_and_saves_once(tmp_path):
    command = ["-m", "bertrec", "train", shop(tmp_path / "shop"), "--out", tmp_path / "run", *RUN]
    process = launched(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("run: ") == out.count("trained in") == 1
    assert err.count("split leave_one_out") == 1
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["model", "run.json"]
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["train_log"]["steps"] == 3 * -(-60 // 8)  # as many as of one process


def test_a_killed_process_ends_all_and_the_training_goes_on_with_resume(tmp_path):
    data = shop(tmp_path / "shop")
    long = ["-m", "bertrec", "train", data, "--out", tmp_path / "run", *RUN[:-1], "60"]
    process = launched(*long, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    until(lambda: list((tmp_path / "run" / "checkpoints").glob("epoch-*/COMPLETE")))
    os.kill(second_of(process.pid), signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "--resume goes on from the last whole epoch" in err

    resumed = launched(*long, "--resume", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, err
    assert "run: " in out


def until(there, *, seconds=120.0):
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.05)


def second_of(launcher):
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()
    ranks = {child: Path(f"/proc/{child}/environ").read_bytes().split(b"\0") for child in children}
    return next(int(child) for child, said in ranks.items() if b"RANK=1" in said)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_parts_of_a_batch_make_the_whole_and_their_shares_its_mean(world):
    dataset = sequences()
    whole = [np.asarray(batch) for batch in EpochBatches(dataset, 7, 0)]
    parts = [list(EpochBatches(dataset, 7, 0, rank=rank, world=world)) for rank in range(world)]
    for number, batch in enumerate(whole):
        mine = [part for some in parts for part in some[number]]
        rows = np.concatenate([np.asarray(part.indices) for part in mine if part.share])
        assert sorted(rows) == sorted(batch)
        values = np.arange(len(dataset)) ** 1.5
        weigh = dataset.chunks.lengths - 1
        means = [mean_of(values, weigh, part) for part in mine]
        assert np.mean(means) == pytest.approx(np.average(values[batch], weights=weigh[batch]))


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("accumulate", [2, 4, 50])
def test_parts_read_one_by_one_make_the_batch_of_a_step(world, accumulate):
    dataset = sequences()
    whole = [np.asarray(batch) for batch in EpochBatches(dataset, 4 * accumulate, 0)]
    steps = [list(EpochBatches(dataset, 4, 0, accumulate=accumulate, rank=rank, world=world)) for rank in range(world)]
    values = np.arange(len(dataset)) ** 1.5
    weigh = dataset.chunks.lengths - 1
    for number, batch in enumerate(whole):
        mine = [some[number] for some in steps]
        assert len({len(parts) for parts in mine}) == 1  # as many in each process
        rows = [row for parts in mine for part in parts if part.share for row in part.indices]
        assert sorted(rows) == sorted(batch)
        assert all(sum(len(parts[at].indices) for parts in mine if parts[at].share) <= 4 for at in range(len(mine[0])))
        total = sum(mean_of(values, weigh, part) for parts in mine for part in parts)
        assert total / world == pytest.approx(np.average(values[batch], weights=weigh[batch]))


def mean_of(values, weigh, part):
    return np.average(values[part.indices], weights=weigh[part.indices]) * part.share


def test_a_process_without_a_row_takes_one_that_counts_for_nothing():
    (part,) = next(iter(EpochBatches(sequences(), 1, 0, rank=1, world=2)))
    assert isinstance(part, Part)
    assert (len(part.indices), part.share) == (1, 0.0)


def test_every_row_is_of_one_process(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    parts = []
    for number in range(3):
        monkeypatch.setenv("RANK", str(number))
        parts.append(own_share(10))
    assert sorted(np.concatenate(parts)) == list(range(10))


def test_a_number_of_processes_without_the_rest_starts_nothing(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    for name in ("RANK", "MASTER_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert (world(), rank()) == (1, 0)


def test_a_batch_of_pairs_is_not_cut(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    dataset = sequences()
    dataset.whole_batches = True
    with pytest.raises(ConfigError, match="train in one process, without torchrun"):
        fit_module(Tiny(), dataset, dataset.collate, CONFIG, progress=False)
