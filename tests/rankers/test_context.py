"""Who is asked and when reaches the rankers that read it, and only those, row by row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.rankers.base import Ranker
from bertrec.rankers.context import Context, Known
from bertrec.rankers.ensemble import Ensemble


class Clock(Ranker):
    """Scores a candidate by the moment at which it is met."""

    name = "clock"
    reads_context = True

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Clock:
        self.catalog = impressions.catalog
        return self

    def score(self, histories: Ragged, candidates: Ragged, *, context: Context | None = None, **_: Any) -> np.ndarray:
        if context is None or context.times is None:
            return np.zeros(len(candidates.values))
        return context.times[candidates.rows] + candidates.values / 10

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


class Place(Clock):
    """Knows of no context: the keyword would be an error."""

    name = "place"
    reads_context = False

    def score(self, histories: Ragged, candidates: Ragged, *, retrieval_scores: Any = None, progress: bool = False) -> np.ndarray:
        return np.full(len(candidates.values), 2.0)


def shown(times: list[float] | None) -> Impressions:
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": ["a", "b", "c"], "title": ["A", "B", "C"]}))
    histories, candidates = Ragged.from_rows([[1], [], [2]]), Ragged.from_rows([[2, 3], [1], [1, 3]])
    moments = None if times is None else np.array(times)
    return Impressions(catalog, ["1", "2", "3"], ["u", "v", "u"], histories, candidates, np.array([1, 0, 1, 0, 1], np.int8), moments)


def test_rankers_that_read_it_are_given_it_and_others_are_not() -> None:
    impressions = shown([10, 20, 30])
    clock, place = Clock().fit(impressions), Place().fit(impressions)
    assert clock.score_impressions(impressions).tolist() == [10.2, 10.3, 20.1, 30.1, 30.3]
    assert Ensemble([clock, place]).score_impressions(impressions) == pytest.approx([6.1, 6.15, 11.05, 16.05, 16.15])
    assert not Ensemble([place]).reads_context


def test_without_a_clock_nothing_is_known_of_the_moment() -> None:
    assert not Clock().fit(shown(None)).score_impressions(shown(None)).any()


def test_rows_of_a_context() -> None:
    known = Known()
    some = Context.of(shown([10, 20, 30]), known).take([2, 0])
    assert (list(some.users), some.times.tolist(), some.known is known, len(some)) == (["u", "u"], [30, 10], True, 2)
    with pytest.raises(DataError, match="2 times for 3 users"):
        Context(["u", "v", "w"], np.array([1.0, 2.0]))
