"""Recommend from what items say: text encoders, sequential user models, FAISS retrieval and honest evaluation.

The names below are loaded when they are first used, so that ``import bertrec`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bertrec.comparison.plan import make_plan
    from bertrec.comparison.run import compare
    from bertrec.core.errors import BertrecError, ConfigError, DataError, IndexFileError, MissingExtraError, ModelError
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.interactions import Interactions
    from bertrec.data.load import load, make_split
    from bertrec.evaluation.protocol import Protocol
    from bertrec.models.base import Recommender
    from bertrec.models.idrec import IDRec
    from bertrec.models.measure import measure as evaluate
    from bertrec.models.morec import MoRec
    from bertrec.models.popularity import Popularity
    from bertrec.models.registry import create
    from bertrec.models.text_similarity import TextSimilarity
    from bertrec.models.unisrec import UniSRec
    from bertrec.recbole.run import run_baseline
    from bertrec.retrieval.index import ItemIndex
    from bertrec.tuning.run import tune

from bertrec.core.version import __version__

# public name -> module that defines it, and its name there where that differs
_HOMES: dict[str, tuple[str, str]] = {
    "BertrecError": ("bertrec.core.errors", "BertrecError"),
    "ConfigError": ("bertrec.core.errors", "ConfigError"),
    "DataError": ("bertrec.core.errors", "DataError"),
    "IndexFileError": ("bertrec.core.errors", "IndexFileError"),
    "Interactions": ("bertrec.data.interactions", "Interactions"),
    "ItemCatalog": ("bertrec.data.catalog", "ItemCatalog"),
    "ItemIndex": ("bertrec.retrieval.index", "ItemIndex"),
    "IDRec": ("bertrec.models.idrec", "IDRec"),
    "MissingExtraError": ("bertrec.core.errors", "MissingExtraError"),
    "MoRec": ("bertrec.models.morec", "MoRec"),
    "ModelError": ("bertrec.core.errors", "ModelError"),
    "Popularity": ("bertrec.models.popularity", "Popularity"),
    "Protocol": ("bertrec.evaluation.protocol", "Protocol"),
    "Recommender": ("bertrec.models.base", "Recommender"),
    "TextSimilarity": ("bertrec.models.text_similarity", "TextSimilarity"),
    "UniSRec": ("bertrec.models.unisrec", "UniSRec"),
    "compare": ("bertrec.comparison.run", "compare"),
    "create": ("bertrec.models.registry", "create"),
    "evaluate": ("bertrec.models.measure", "measure"),
    "load": ("bertrec.data.load", "load"),
    "make_plan": ("bertrec.comparison.plan", "make_plan"),
    "make_split": ("bertrec.data.load", "make_split"),
    "run_baseline": ("bertrec.recbole.run", "run_baseline"),
    "tune": ("bertrec.tuning.run", "tune"),
}

__all__ = [
    "BertrecError",
    "ConfigError",
    "DataError",
    "IDRec",
    "IndexFileError",
    "Interactions",
    "ItemCatalog",
    "ItemIndex",
    "MissingExtraError",
    "MoRec",
    "ModelError",
    "Popularity",
    "Protocol",
    "Recommender",
    "TextSimilarity",
    "UniSRec",
    "__version__",
    "compare",
    "create",
    "evaluate",
    "load",
    "make_plan",
    "make_split",
    "run_baseline",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'bertrec' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
