"""What all tests share: the order of the files, and a garbage collector that leaves libraries alone."""

from __future__ import annotations

import gc

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: several processes that take a file each then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True, scope="module")
def _what_is_imported_stays() -> None:
    """Leave out of later collections what is there when a file begins: every training makes one, and most of its time goes to torch."""
    gc.collect()
    gc.freeze()
