"""A retriever whose scores are written down beforehand."""

from __future__ import annotations

import numpy as np

from bertrec.models.base import Recommender


class Planted(Recommender):
    """A user is the newest item of the history; the score of an item is written in a table."""

    name = "planted"

    def __init__(self, table, catalog):
        self.table, self._catalog, self.repeats = np.asarray(table, np.float32), catalog, 0

    def fit(self, train, *, validation=None, **options):
        return self

    def item_embeddings(self):
        return self.table.T.copy()

    def user_vectors(self, histories):
        newest = [row[-1] if len(row) else 0 for row in histories]
        return np.eye(len(self.table), dtype=np.float32)[newest]

    def state_dict(self):
        raise NotImplementedError

    def load_state_dict(self, state):
        raise NotImplementedError

    @property
    def model_hash(self):
        return "planted"
