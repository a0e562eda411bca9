"""Long- and short-term vectors: by hand, and what only the user's id tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_impressions import SAID, catalog, own_item
from tiny_encoders import tiny_bert

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.rankers import LSTUR, RANKERS, Context, check_ranker
from bertrec.rankers.news.known_users import keys_of, numbers_of
from bertrec.rankers.news.lstur import LongShortTower
from bertrec.rankers.news.towers import Past


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), SAID)


def lstur(bert, **settings):
    train = {"train.epochs": 12, "train.batch_size": 16, "train.learning_rate": 3e-2, "dropout": 0.0, "negatives": 2}
    return LSTUR.configured(settings={"encoder.name": bert, "encoder.max_length": 8, **train, **settings})


@pytest.fixture(scope="module", params=["ini", "con"])
def fitted(request, bert):
    return lstur(bert, form=request.param).fit(own_item(catalog(), 96), validation=own_item(catalog(), 16, seed=3), progress=False)


def test_what_only_the_user_tells_is_learned_and_a_stranger_gets_none_of_it(fitted, tmp_path):
    fresh = own_item(catalog(), 64, seed=1)
    assert fitted.reads_context
    assert fitted.figures(fresh)["AUC"] > 0.95
    strange = replace(fresh, users=[f"new {user}" for user in fresh.users])
    assert fitted.figures(strange)["AUC"] < 0.8
    without = fitted.score(fresh.histories, fresh.candidates)
    np.testing.assert_array_equal(without, fitted.score_impressions(strange))
    fitted.save_pretrained(tmp_path / "lstur")
    loaded = LSTUR.from_pretrained(tmp_path / "lstur")
    np.testing.assert_array_equal(loaded.score_impressions(fresh), fitted.score_impressions(fresh))
    assert all(b"reader-3" not in file.read_bytes() for file in (tmp_path / "lstur").rglob("*") if file.is_file())


def tower(form, masked=0.0):
    torch.manual_seed(0)
    made = LongShortTower(3, 2, form, masked).eval()
    with torch.no_grad():
        for weight in (made.longterm.weight[1:], made.short.weight, made.empty):
            weight.normal_()
    return made


def gru(made, items, state):
    """Return the last state of a GRU by its formulas."""
    own = made.gru
    for item in items:
        to_r, to_z, to_n = (own.weight_ih_l0 @ item + own.bias_ih_l0).chunk(3)
        of_r, of_z, of_n = (own.weight_hh_l0 @ state + own.bias_hh_l0).chunk(3)
        update = torch.sigmoid(to_z + of_z)
        state = (1 - update) * torch.tanh(to_n + torch.sigmoid(to_r + of_r) * of_n) + update * state
    return state


@pytest.mark.parametrize("form", ["ini", "con"])
def test_the_formulas_by_hand(form):
    made, items = tower(form), torch.randn(1, 3, 3)
    past = Past(items, torch.tensor([[True, True, False]]), torch.tensor([2]))
    long = made.longterm.weight[2]
    begin = long if form == "ini" else torch.zeros(3)
    expected = items[0, :2].mean(dim=0) + made.short.weight @ gru(made, items[0, :2], begin) + (0 if form == "ini" else long)
    assert torch.allclose(made(past)[0], expected, atol=1e-6)
    nothing = made(past._replace(mask=torch.zeros(1, 3, dtype=torch.bool)))[0]
    assert torch.allclose(nothing, made.empty + made.short.weight @ begin + (0 if form == "ini" else long), atol=1e-6)


@pytest.mark.parametrize("form", ["ini", "con"])
def test_untrained_it_is_the_mean_of_the_history_whoever_asks(form):
    made, items = LongShortTower(3, 2, form, 0.5).eval(), torch.randn(2, 3, 3)
    found = made(Past(items, torch.ones(2, 3, dtype=torch.bool), torch.tensor([1, 0])))
    assert torch.allclose(found, items.mean(dim=1), atol=1e-6)


def test_the_longterm_vector_is_masked_at_random_in_training_alone():
    made = tower("con", masked=0.5)
    items, users = torch.randn(1, 1, 3).expand(400, 1, 3), torch.ones(400, dtype=torch.int64)
    past = Past(items, torch.ones(400, 1, dtype=torch.bool), users)
    known, unknown = made(past)[0], made(past._replace(users=None))[0]
    trained = made.train()(past)
    masked = (trained - unknown).abs().amax(dim=1) < 1e-6
    assert 0.4 < masked.float().mean() < 0.6
    assert torch.allclose(trained[~masked], known.expand(int((~masked).sum()), 3), atol=1e-6)


def test_users_are_found_by_their_keys():
    keys = keys_of(["a", 7, "b"])
    found = numbers_of(["a", 7, "7", "b", "c"], keys)
    assert sorted(found[[0, 1, 3]].tolist()) == [1, 2, 3]
    assert found[[2, 4]].tolist() == [0, 0]
    assert numbers_of(["a"], keys_of([])).tolist() == [0]


def test_it_keeps_the_contract(bert):
    train = {"train.epochs": 1, "train.batch_size": 4, "encoder.name": bert, "encoder.max_length": 8}
    check_ranker(lambda: RANKERS.find("lstur").configured(settings=train), own_item(catalog(), 6))


def test_a_context_of_other_rows_is_refused(fitted):
    with pytest.raises(DataError, match="1 histories and a context of 2 rows"):
        fitted.score(Ragged.from_rows([[1]]), Ragged.from_rows([[2]]), context=Context(["u1", "u2"]))
