"""The factors of a model's scores, from a stand-in whose scores are known: a product, with temperature and constants, or something else."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.recbole.worker.factors import factorise, user_vectors

ITEMS = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
CONSTANT = np.arange(9, dtype=np.float32)


class StandIn:
    """Scores a history by the mean of its items' vectors."""

    def __init__(self, then=lambda scores: scores, reads=True):
        self.trainer = SimpleNamespace(model=self)
        self.trained = np.arange(9) > 0
        self.then, self.reads = then, reads

    def user_factors(self, part):
        yield np.stack([ITEMS[history if self.reads else [1]].mean(axis=0) for history in part.histories])

    def products(self, part):
        (users,) = self.user_factors(part)
        yield self.then(users @ ITEMS.T).astype(np.float32), users, ITEMS


ALIKE = Ragged.from_rows([[3, 5]] * 7)


def test_scale_and_constants_are_found_though_all_histories_are_alike():
    scorer = StandIn(lambda scores: scores / 0.07 + CONSTANT)
    found = factorise(scorer, ALIKE)
    assert found.scale == pytest.approx(1 / 0.07, rel=1e-4)
    asked = Ragged.from_rows([[1], [2, 8], [4, 4, 6]])
    scores = user_vectors(scorer, asked, scale=found.scale) @ found.items.T
    expected = np.stack([ITEMS[row].mean(axis=0) for row in asked]) @ ITEMS.T / 0.07 + CONSTANT
    np.testing.assert_allclose(scores[:, 1:], expected[:, 1:], rtol=1e-3, atol=1e-3)
    assert not found.items[0].any()


@pytest.mark.parametrize("then", [lambda scores: scores**3, lambda scores: np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)])
def test_scores_that_are_no_products_are_refused(then):
    with pytest.raises(ModelError, match="does more to its scores than one product of vectors"):
        factorise(StandIn(then), ALIKE)


def test_a_model_that_reads_nothing_is_refused():
    with pytest.raises(ModelError, match="says the same of every history"):
        factorise(StandIn(reads=False), ALIKE)
