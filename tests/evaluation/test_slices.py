"""Slices against cutting each user's targets one by one, and the metrics of a slice against measuring it alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.ragged import Ragged
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.slices import SLICES, make_slices

COUNTS = np.array([0, 0, 1, 5, 6, 9])
INSIDE = {
    "all": lambda item, before: True,
    "cold_items": lambda item, before: COUNTS[item] == 0,
    "few_shot_items": lambda item, before: 1 <= COUNTS[item] <= 5,
    "warm_items": lambda item, before: COUNTS[item] > 5,
    "short_histories": lambda item, before: before <= 5,
    "medium_histories": lambda item, before: 5 < before <= 20,
    "long_histories": lambda item, before: before > 20,
}


def some_targets(most):
    return st.lists(st.permutations([1, 2, 3, 4, 5]).flatmap(lambda items: st.integers(0, most).map(lambda n: items[:n])), max_size=6)


@given(some_targets(1) | some_targets(4), st.data())
@settings(max_examples=100, deadline=None)
def test_slices_hold_the_ranks_of_their_targets(rows, data):
    rows.append([data.draw(st.integers(1, 5))])
    targets = Ragged.from_rows(rows)
    histories = Ragged.from_rows([[1] * data.draw(st.sampled_from([0, 5, 6, 20, 21])) for _ in rows])
    ranks = Ragged.from_rows([data.draw(st.permutations(range(1, 6)))[: len(row)] for row in rows])
    found = make_slices(ranks, targets, histories, COUNTS)
    evaluation_set = SimpleNamespace(users=range(len(rows)), histories=histories, targets=targets)
    protocol = Protocol(ks=(1, 3), bootstrap=0, mask_seen=False)
    report = evaluate_ranks(ranks, evaluation_set, protocol, COUNTS)
    assert list(found) == list(SLICES) == list(INSIDE)
    for name, inside in INSIDE.items():
        kept = [[rank for item, rank in zip(rows[u], ranks[u], strict=True) if inside(item, len(histories[u]))] for u in range(len(rows))]
        users = [user for user, row in enumerate(kept) if row]
        assert found[name].rows.tolist() == users
        assert [row.tolist() for row in found[name].ranks] == [kept[user] for user in users]
        if users:
            alone = rank_metrics(found[name].ranks, protocol.ks)
            assert {metric: values.tolist() for metric, values in report.slices[name].values.items()} == {
                metric: values.tolist() for metric, values in alone.items()
            }
