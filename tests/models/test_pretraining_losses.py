"""The losses of pre-training beside the formulas, written once more in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from item_tables import TAU, Source, unit

from bertrec.heads import losses
from bertrec.heads.losses import info_nce, pair_softmax
from bertrec.heads.repeats import Repeats
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.tasks import ItemTask, SequenceTask, without_items
from bertrec.models.pretraining.view import View


def by_formula(left, right, same):
    """−mean_j log(e^{l_j·r_j/τ} / Σ_{j'} e^{l_j·r_{j'}/τ}); another pair of the same target counts nothing."""
    total = 0.0
    for j in range(len(left)):
        terms = [math.exp(left[j] @ right[k] / TAU) for k in range(len(right)) if k == j or not same[j, k]]
        total -= math.log(math.exp(left[j] @ right[j] / TAU) / sum(terms))
    return total / len(left)


@pytest.mark.parametrize("cells", [1 << 23, 20])
def test_pairs_of_the_same_item_are_no_negatives(monkeypatch, cells):
    """The published code sets such a logit to 0 before the exponential, which adds 1 to the denominator."""
    monkeypatch.setattr(losses, "_CELLS", cells)  # with 20 the positions are taken in blocks
    rng = np.random.default_rng(0)
    users, items = unit(rng.normal(size=(9, 4))), unit(rng.normal(size=(6, 4)))
    items[0] = 0
    targets = np.array([1, 2, 2, 3, 5, 5, 5, 1, 3])  # 4 is nobody's target, 0 is padding
    same = targets[:, None] == targets
    slots = torch.from_numpy(np.bincount(targets, minlength=6))
    given = (torch.from_numpy(users / TAU).requires_grad_(), torch.from_numpy(items).requires_grad_())
    loss = pair_softmax(*given, torch.from_numpy(targets), slots=slots)
    assert loss.item() == pytest.approx(by_formula(users, items[targets], same), rel=1e-9)
    published = by_formula(users, items[targets], np.zeros_like(same))
    assert loss.item() < published - 1e-3
    loss.backward()
    assert all(torch.isfinite(one.grad).all() for one in given)
    assert given[1].grad[[0, 4]].abs().sum() == 0


def test_blocks_change_neither_loss_nor_gradient(monkeypatch):
    rng = torch.Generator().manual_seed(0)
    users, items = (torch.randn(shape, generator=rng, dtype=torch.float64, requires_grad=True) for shape in ((7, 3), (5, 3)))
    targets, bias = torch.tensor([1, 1, 2, 3, 4, 4, 2]), torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    inputs = torch.tensor([[1, 1, 2], [3, 4, 4], [2, 0, 0]])
    found = []
    for cells in (1 << 23, 10):
        monkeypatch.setattr(losses, "_CELLS", cells)
        repeats = Repeats.of_sequences(inputs, inputs > 0, bias)
        loss = pair_softmax(users, items, targets, slots=torch.bincount(targets, minlength=5), repeats=repeats)
        found.append([loss, *torch.autograd.grad(loss, (users, items, bias))])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-5)
    assert found[0][3].abs() > 0


def test_a_repeat_is_lifted_where_it_stands_in_the_history():
    user, items = torch.zeros(2, 3), torch.zeros(4, 3)
    inputs, targets = torch.tensor([[1, 2]]), torch.tensor([2, 3])
    repeats = Repeats.of_sequences(inputs, inputs > 0, torch.tensor(2.0))
    loss = pair_softmax(user, items, targets, slots=torch.tensor([0, 0, 1, 1]), repeats=repeats)
    # position 0 has read item 1, nobody's target; position 1 has read 1 and 2: item 2, its only negative, is lifted
    assert loss.item() == pytest.approx((math.log(2) + math.log(1 + math.exp(2))) / 2)


def test_the_share_of_an_item_is_taken_from_its_logit():
    source = Source(8, counts=torch.tensor([0.0, 1, 1, 2, 4, 8, 2, 1, 1]))
    view = View(source, INPUTS, TARGETS, OF_ITEM)
    used = (TARGETS > 0).numpy()
    users, targets = unit(states_of(source)[used]), TARGETS.numpy()[used]
    logits = users @ unit(source.table.detach().numpy()[targets]).T / TAU - np.log(source.network.counts.numpy()[targets] / 20)
    kept = (targets[:, None] != targets) | np.eye(len(targets), dtype=bool)
    expected = np.mean([np.log(np.exp(row[mine]).sum()) - row[j] for j, (row, mine) in enumerate(zip(logits, kept, strict=True))])
    assert ItemTask(PretrainConfig(debias=True), None)(view).item() == pytest.approx(expected, rel=1e-6)


def test_sequences_with_the_same_target_are_no_negatives():
    rng = np.random.default_rng(1)
    left, right = unit(rng.normal(size=(5, 4))), unit(rng.normal(size=(5, 4)))
    same = np.array([3, 1, 3, 2, 1])[:, None] == np.array([3, 1, 3, 2, 1])
    found = info_nce(torch.from_numpy(left / TAU), torch.from_numpy(right), masked=torch.from_numpy(same))
    assert found.item() == pytest.approx(by_formula(left, right, same), rel=1e-9)


OF_ITEM = torch.tensor([-1, 0, 0, 0, 0, 1, 1, 1, 1])
INPUTS = torch.tensor([[1, 2, 3], [5, 6, 0], [6, 5, 7], [2, 0, 0]])
TARGETS = torch.tensor([[2, 3, 4], [6, 7, 0], [5, 7, 8], [4, 0, 0]])


def states_of(source):
    return source.head(source.table[INPUTS]).detach().numpy()


def test_the_item_task_is_the_formula_over_all_positions_and_domains():
    source = Source(8)
    view = View(source, INPUTS, TARGETS, OF_ITEM)
    used = (TARGETS > 0).numpy()
    users, targets = unit(states_of(source)[used]), TARGETS.numpy()[used]
    vectors = unit(source.table.detach().numpy()[targets])
    expected = by_formula(users, vectors, targets[:, None] == targets)
    assert ItemTask(PretrainConfig(), None)(view).item() == pytest.approx(expected, rel=1e-9)


def test_negatives_cross_domains():
    """Items of one domain are pushed away by users of the other."""
    for negatives in ("batch", "domain"):
        source = Source(8)
        view = View(source, INPUTS, TARGETS, OF_ITEM, whole=negatives == "domain")
        north = (view.domains == 0)[view.used.nonzero(as_tuple=True)[0]]
        task = ItemTask(PretrainConfig(negatives=negatives), None)
        alone = View(source, INPUTS[[0, 3]], TARGETS[[0, 3]], OF_ITEM, whole=negatives == "domain")
        assert 0 < north.sum() < len(north)
        assert task(alone) < task(view)  # which has more negatives, of another domain


def test_domain_negatives_are_the_training_items_of_the_domain_and_the_batch_of_others():
    counts = torch.ones(9)
    counts[8] = 0  # no training interaction: nobody's negative, unless the batch holds it
    source = Source(8, counts=counts)
    inputs, targets = INPUTS[:2], TARGETS[:2]
    view = View(source, inputs, targets, OF_ITEM, whole=True)
    table = unit(source.table.detach().numpy())
    states = source.head(source.table[inputs]).detach().numpy()
    candidates = {0: [1, 2, 3, 4, 6, 7], 1: [5, 6, 7, 2, 3, 4]}
    losses_of = []
    for row in range(2):
        for place in np.flatnonzero(targets[row].numpy()):
            user, target = unit(states[row, place]), int(targets[row, place])
            terms = [math.exp(user @ table[item] / TAU) for item in candidates[row]]
            losses_of.append(-math.log(math.exp(user @ table[target] / TAU) / sum(terms)))
    found = ItemTask(PretrainConfig(negatives="domain"), None)(view)
    assert found.item() == pytest.approx(np.mean(losses_of), rel=1e-6)


@pytest.mark.parametrize("whole", [False, True])
def test_the_sequence_task_without_items_is_the_formula(monkeypatch, whole):
    source = Source(8)
    view = View(source, INPUTS, TARGETS, OF_ITEM, whole=whole)
    kept = [[1, 3], [5], [6, 7], [2]]  # what is left of each input

    def left_out(read, share):
        assert share == 0.2
        rows = read.new_zeros(4, 2)
        ids = view.ids.tolist()
        for number, row in enumerate(kept):
            rows[number, : len(row)] = torch.tensor([ids.index(item) for item in row])
        return rows, torch.tensor([len(row) for row in kept])

    monkeypatch.setattr("bertrec.models.pretraining.tasks.without_items", left_out)
    found = SequenceTask(PretrainConfig(item_drop_batches=1.0), None)(view)
    states = states_of(source)
    whole_rows = unit(np.stack([states[0, 2], states[1, 1], states[2, 2], states[3, 0]]))
    short = [source.head(source.table[torch.tensor([row])])[0, -1].detach().numpy() for row in kept]
    targets = np.array([4, 7, 8, 4])
    assert found.item() == pytest.approx(by_formula(whole_rows, unit(np.stack(short)), targets[:, None] == targets), rel=1e-6)


@pytest.mark.parametrize("whole", [False, True])
def test_the_sequence_task_that_says_less_swaps_item_vectors(whole):
    """With a share of 1 every item of the sequence is the altered one."""
    source = Source(8)
    view = View(source, INPUTS, TARGETS, OF_ITEM, whole=whole)
    found = SequenceTask(PretrainConfig(item_drop_batches=0.0, word_drop=1.0), None)(view)
    states, last = states_of(source), np.array([2, 1, 2, 0])
    changed = source.head(-source.table[INPUTS]).detach().numpy()[np.arange(4), last]
    targets = np.array([4, 7, 8, 4])
    expected = by_formula(unit(states[np.arange(4), last]), unit(changed), targets[:, None] == targets)
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_items_are_left_out_in_order_and_the_first_stays():
    torch.manual_seed(0)
    read = torch.arange(1, 11).repeat(500, 1)
    read[:, 8:] = 0
    rows, lengths = without_items(read, 0.2)
    assert (rows[:, 0] == 1).all()
    assert abs(lengths.float().mean().item() - (1 + 7 * 0.8)) < 0.15
    for row, length in zip(rows.tolist(), lengths.tolist(), strict=True):
        assert row[:length] == sorted(set(row[:length]))
        assert not any(row[length:])
        assert 0 not in row[:length]
    none, whole = without_items(read, 0.0)
    assert torch.equal(none, read)
    assert whole.tolist() == [8] * 500
