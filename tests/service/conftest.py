"""A shop that is served, by a client in this process."""

from __future__ import annotations

import shutil

import pytest
from products import encoder_of_products, train_on, write_shop
from served import client_of, service_of

from bertrec.models.base import Recommender


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Read-only: a run of texts and ids with its index."""
    yaml = write_shop(tmp_path_factory.mktemp("shop"))
    return train_on(yaml, encoder_of_products(tmp_path_factory.mktemp("encoder")), tmp_path_factory.mktemp("trained"))


@pytest.fixture
def place(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "place")


@pytest.fixture(scope="session")
def model(trained):
    """What the answers must agree with: the run in a session of its own, with the attributes of its data."""
    return Recommender.from_pretrained(trained / "run")


@pytest.fixture(scope="module")
def client(trained):
    """Read-only, without a key and without an index."""
    with client_of(service_of(trained, index=False)) as client:
        yield client
