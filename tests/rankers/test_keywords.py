"""What keywords of a profile are told by, where no counts are given."""

from __future__ import annotations

import numpy as np

from bertrec.core.ragged import Ragged
from bertrec.data import IdMap, Impressions, ItemCatalog
from bertrec.rankers.keywords import interaction_counts


def test_an_item_counts_once_for_each_user_however_many_rows_follow():
    catalog = ItemCatalog(IdMap(list("wxyz")), {"title": list("wxyz")})
    # User 7 met 1, 2, 3 in this order, the user "7" met 3 before 1; 4 was only shown.
    rows = {"histories": Ragged.from_rows([[], [1], [1, 2], [3]]), "candidates": Ragged.from_rows([[1, 4], [2, 4], [4, 3], [1, 4]])}
    labels = np.array([1, 0, 1, 0, 0, 1, 1, 0], np.int8)
    shown = Impressions(catalog, list("abcd"), [7, 7, 7, "7"], rows["histories"], rows["candidates"], labels, None)
    assert interaction_counts(shown, None).tolist() == [0, 2, 1, 2, 0]  # not 1 three times: twice of histories, once of clicks
    assert interaction_counts(shown, np.array([0, 9, 9, 9, 9])).tolist() == [0, 9, 9, 9, 9]
