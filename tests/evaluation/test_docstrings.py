"""The examples in the docstrings hold, and importing the package loads nothing heavy."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

MODULES = {
    "ranks": 1,
    "metrics": 6,
    "expectation": 1,
    "lists": 4,
    "labels": 3,
    "significance": 2,
    "impressions": 1,
    "flags": 3,
    "vector_ranks": 2,
}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(f"bertrec.evaluation.{name}"))
    assert found.attempted >= MODULES[name]
    assert found.failed == 0


def test_nothing_heavy_is_imported():
    code = (
        "import sys, bertrec.evaluation.evaluate, bertrec.evaluation.significance\n"
        "print(sorted({'torch', 'scipy', 'pandas', 'sklearn', 'faiss', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
