"""ID vectors that learn by rows: the gradient of the whole table, and what it costs those of other items: nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from bertrec.core.errors import ConfigError, ModelError
from bertrec.heads.config import HeadConfig, ItemConfig, LossConfig
from bertrec.models.idrec import IDRec
from bertrec.models.sequential import network as networks
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.network import Network, learn_by_rows
from bertrec.training.checkpoints import complete_checkpoints
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.optimizer import PlainAdamW, clip_gradients

from tiny_run import CONFIG, Tiny, sequences  # isort: skip
from together import FIXED, walks  # isort: skip

FEW = {**FIXED, "loss.kind": "sampled", "loss.negatives": 3, "train.batch_size": 100, "train.metric": "NDCG@10"}


def table(seed=0):
    return nn.Parameter(torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)))


def gradient(rows, seed):
    """A sparse gradient; a row may stand in it twice."""
    values = torch.randn(len(rows), 4, generator=torch.Generator().manual_seed(seed))
    return torch.sparse_coo_tensor([rows], values, (6, 4), check_invariants=True)


def adam(parameters, kind=PlainAdamW, **settings):
    return kind(parameters, lr=0.1, weight_decay=0.0, **settings)


@pytest.mark.parametrize("fused", [True, False])
def test_where_all_rows_are_touched_it_is_adamw(fused):
    lazy, plain, beside, other = table(), table(), table(1), table(1)
    one, two = adam([lazy, beside], fused=fused), adam([plain, other], torch.optim.AdamW)
    for step in range(5):
        lazy.grad = gradient([0, 1, 2, 3, 4, 5, 2], step)
        plain.grad, beside.grad, other.grad = lazy.grad.to_dense(), gradient([1], step).to_dense(), gradient([1], step).to_dense()
        one.step()
        two.step()
        torch.testing.assert_close(lazy, plain)
        torch.testing.assert_close(beside, other)


def test_rows_without_a_gradient_rest_as_in_sparse_adam():
    lazy, known = table(), table()
    one, two = adam([lazy], eps=1e-12), torch.optim.SparseAdam([known], lr=0.1, eps=1e-12)
    for step, rows in enumerate([[0, 1, 1], [2, 0], [5], [0, 2]]):
        before = lazy.detach().clone()
        lazy.grad, known.grad = gradient(rows, step), gradient(rows, step)
        one.step()
        two.step()
        torch.testing.assert_close(lazy, known)
        changed = (lazy != before).any(dim=1).nonzero().flatten().tolist()
        assert changed == sorted(set(rows))


def test_a_saved_state_goes_on_as_if_it_had_not_been():
    tables = [table(), table()]
    optimizers = [adam([one], fused=True) for one in tables]
    for step, rows in enumerate([[0, 1], [1, 2], [0, 4]]):
        for number in range(2):
            tables[number].grad = gradient(rows, step)
            optimizers[number].step()
        saved = optimizers[1].state_dict()
        optimizers[1] = adam([tables[1]], fused=True)
        optimizers[1].load_state_dict(saved)
    assert torch.equal(tables[0], tables[1])


@pytest.mark.parametrize("most", [0.5, 100.0])
def test_the_norm_is_that_of_dense_gradients(most):
    sparse, dense, beside, other, idle = table(), table(), table(), table(), table()
    sparse.grad = gradient([3, 0, 3], 0)
    dense.grad = sparse.grad.to_dense()
    beside.grad, other.grad = torch.ones(6, 4), torch.ones(6, 4)
    norm = clip_gradients([sparse, beside, idle], most)
    torch.testing.assert_close(norm, nn.utils.clip_grad_norm_([dense, other, idle], most))
    torch.testing.assert_close(sparse.grad.to_dense(), dense.grad)
    torch.testing.assert_close(beside.grad, other.grad)


def network(kind="sampled", *, items=30, training=True, **train):
    torch.manual_seed(0)
    config = ModelConfig(
        item=ItemConfig(input="id", width=8, id_dropout=0.0),
        head=HeadConfig(dropout=0.0),
        loss=LossConfig(kind=kind, negatives=4, contrast="cl4srec" if kind == "bpr" else "none"),
        train=TrainConfig(**{"device": "cpu", **train}),
    )
    made = Network(config, n_items=items, text=None, counts=torch.arange(items + 1))
    if training:
        learn_by_rows(made)
    return made


def test_a_network_is_made_where_the_device_of_its_training_is_not():
    """A saved model that a GPU trained is read on a machine without one."""
    assert not network(device="cuda", training=False).tower.id.sparse
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="device cuda is not available here"):
            network(device="cuda")


@pytest.mark.parametrize("kind", ["sampled", "in-batch", "gbce", "bpr"])
def test_the_gradient_is_that_of_the_whole_table(kind):
    found = {}
    for how in ("on", "off"):
        one = network(kind, sparse_ids=how)
        torch.manual_seed(1)
        inputs = torch.tensor([[1, 2, 3], [4, 2, 0]])
        one(inputs=inputs, targets=torch.tensor([[2, 3, 9], [2, 7, 0]]))["loss"].backward()
        found[how] = one.tower.id.weight.grad
    assert found["on"].is_sparse
    assert not found["off"].is_sparse
    torch.testing.assert_close(found["on"].to_dense(), found["off"])
    assert found["on"].coalesce().indices().numel() < 31


def test_auto_is_for_many_items_and_losses_that_do_not_read_all(monkeypatch):
    assert not network().tower.id.sparse
    monkeypatch.setattr(networks, "_SPARSE_FROM", 30)
    assert network().tower.id.sparse
    assert not network(items=29).tower.id.sparse
    assert not network("full").tower.id.sparse
    assert not network(sparse_ids="off").tower.id.sparse
    assert not network(precision="fp16").tower.id.sparse


def test_what_does_not_go_together_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.kind=full reads all items in each step: leave train\.sparse_ids at auto"):
        IDRec(IDRec.default_config().updated({"loss.kind": "full", "train.sparse_ids": "on"})).fit(walks().train)
    with pytest.raises(ConfigError, match="does not go with precision=fp16"):
        TrainConfig(sparse_ids="on", precision="fp16")
    with pytest.raises(ConfigError, match=r"no table of ID vectors here that learns by rows: leave it at auto"):
        fit_module(Tiny(), sequences(), sequences().collate, CONFIG.updated({"sparse_ids": "on"}), progress=False)


@pytest.mark.parametrize(("device", "together", "sparse"), [("cuda", 1, True), ("cuda", 2, False), ("mps", 1, False), ("cpu", 2, True)])
def test_auto_is_for_devices_that_know_sparse_gradients(monkeypatch, device, together, sparse):
    monkeypatch.setattr(networks, "_SPARSE_FROM", 30)
    monkeypatch.setattr(networks, "world", lambda: together)
    monkeypatch.setattr(networks, "chosen_device", lambda name: torch.device(device))
    assert network().tower.id.sparse is sparse


def test_several_gpus_refuse_what_was_asked(monkeypatch):
    monkeypatch.setattr(networks, "world", lambda: 2)
    monkeypatch.setattr(networks, "chosen_device", lambda name: torch.device("cuda"))
    with pytest.raises(ConfigError, match="several GPUs add up no sparse gradients"):
        network(sparse_ids="on")


def test_another_optimiser_is_not_taken_without_a_word(tmp_path):
    """What auto meant depends on the machine: the run goes on as it began, or says what differs."""
    fitted(tmp_path, train_sparse_ids="off", train_epochs=2)
    with pytest.raises(ModelError, match="sparse_ids was off and is on now"):
        fitted(tmp_path, resume=True, train_sparse_ids="on", train_epochs=3)
    assert fitted(tmp_path, resume=True, train_sparse_ids="auto", train_epochs=3).train_log.steps > 0  # few items: dense


def fitted(folder=None, *, resume=False, on_epoch=None, **changes):
    split = walks()
    model = IDRec(IDRec.default_config().updated({**FEW, **{name.replace("_", ".", 1): value for name, value in changes.items()}}))
    model.fit(split.train, validation=split.validation, progress=False, run_dir=folder, resume=resume, on_epoch=on_epoch)
    return model


def ids_of(model):
    return model.network.tower.id.weight.detach().numpy()


def test_a_first_step_is_the_same_and_a_later_one_is_not():
    once = [ids_of(fitted(train_sparse_ids=how, train_epochs=1, train_warmup_share=0.0)) for how in ("on", "off")]
    np.testing.assert_allclose(*once, atol=1e-6)
    later = [ids_of(fitted(train_sparse_ids=how, train_epochs=2, train_batch_size=2)) for how in ("on", "off")]
    assert np.abs(later[0] - later[1]).max() > 1e-4


def test_a_resumed_training_has_the_moments_of_both(tmp_path):
    class Killed(Exception):
        pass

    done = []

    def killed(figures):
        done.append(figures)
        if len(done) == 3:
            raise Killed

    settings = {"train_sparse_ids": "on", "train_epochs": 5, "head_dropout": 0.2, "train_accumulate": 2, "train_batch_size": 20}
    whole = fitted(tmp_path / "whole", **settings)
    with pytest.raises(Killed):
        fitted(tmp_path / "killed", on_epoch=killed, **settings)
    assert len(complete_checkpoints(tmp_path / "killed" / "checkpoints")) == 2
    resumed = fitted(tmp_path / "killed", resume=True, **settings)
    assert np.array_equal(ids_of(resumed), ids_of(whole))
    assert [entry.loss for entry in resumed.train_log.epochs] == [entry.loss for entry in whole.train_log.epochs]
