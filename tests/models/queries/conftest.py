"""A catalogue whose items are asked for in words of another language, and a tower that learned them."""

from __future__ import annotations

import numpy as np
import pytest
from planted_queries import ITEMS, planted, planted_encoder

from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.pairs import QueryPairs, dealt
from bertrec.models.queries.train import train_tower


@pytest.fixture(scope="session")
def query_encoder(tmp_path_factory):
    return planted_encoder(tmp_path_factory.mktemp("encoder") / "static")


@pytest.fixture(scope="session")
def query_config(query_encoder):
    settings = {"encoder.name": query_encoder, "train.batch_size": 32, "train.epochs": 15, "train.learning_rate": 3e-3}
    return QueryConfig().updated(settings)


@pytest.fixture(scope="session")
def synonyms():
    """Pairs over the catalogue; test items are in no training pair."""
    texts, queries = planted()
    items = np.arange(1, ITEMS + 1)
    catalog = ItemCatalog(IdMap([f"i{number}" for number in items]), {"title": texts})
    return QueryPairs(catalog, queries, items, dealt(items, 0), [""] * ITEMS)


@pytest.fixture(scope="session")
def tower(synonyms, query_config):
    """Trained; read-only."""
    return train_tower(synonyms, query_config, progress=False)
