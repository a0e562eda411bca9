"""Models of someone else's package that go wrong."""

import numpy as np
import torch

from bertrec import Recommender


class Base(Recommender):
    """A whole model whose items and users are all alike."""

    name = "base"

    def fit(self, train, *, validation=None, **options):
        self.catalog = train.catalog
        return self

    def item_embeddings(self):
        return np.ones((len(self.catalog) + 1, 3), np.float32)

    def user_vectors(self, histories):
        return np.ones((len(histories), 3), np.float32)

    def state_dict(self):
        return {"weight": torch.arange(6.0).reshape(2, 3)}

    def load_state_dict(self, state):
        self.weight = state["weight"]


class Raises(Base):
    name = "raises"

    def fit(self, train, **options):
        return [][3]


class NoSettings(Base):
    name = "no-settings"
    config_class = dict


class NoTensor(Base):
    name = "no-tensor"

    def state_dict(self):
        return {"weight": [1, 2]}


class TooFew(Base):
    name = "too-few"

    def item_embeddings(self):
        return np.ones((3, 3), np.float32)


class NaNUsers(Base):
    name = "nan-users"

    def user_vectors(self, histories):
        return np.full((len(histories), 3), np.nan, np.float32)


class NoCatalog(Base):
    name = "no-catalog"

    def fit(self, train, **options):
        return self


class OneMemory(Base):
    """Two names for one tensor, a part of it, and one that is not contiguous."""

    name = "one-memory"

    def state_dict(self):
        whole = torch.arange(6.0).reshape(2, 3)
        return {"weight": whole, "again": whole, "part": whole[0], "turned": whole.T, "empty": torch.zeros(0)}

    def load_state_dict(self, state):
        self.state = dict(state)
