"""RecBole's models by name: which of them run here, what may be set, and the settings that a comparison tries.

All of it is read from the files of the installed RecBole, never by importing it.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, MissingExtraError, unknown_name

Kind = Literal["general", "sequential", "context_aware", "knowledge_aware", "exlib"]
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
KINDS: tuple[Kind, ...] = ("general", "sequential", "context_aware", "knowledge_aware", "exlib")

_NO_GRAPH = "needs a knowledge graph"
_NO_PRETRAINING = "needs a pre-training stage"
UNSUPPORTED = {
    "lightgbm": "needs the package lightgbm",
    "xgboost": "needs the package xgboost",
    "GRU4RecKG": _NO_GRAPH,
    "KSR": _NO_GRAPH,
    "S3Rec": _NO_PRETRAINING,
    "RaCT": _NO_PRETRAINING,
}
"""Models that do not run here, by name; every knowledge-aware one besides."""

USER_TABLES = ("Caser", "FOSSIL", "FPMC", "HGN", "HRM", "NPE", "SHAN", "TransRec")
"""Sequential models that also know users by id."""

READS_ITEM_TEXT = ("FDSA", "GRU4RecF", "SASRecF")
"""Models that want a feature of each item: they are given the first words of its text, and are no ID-only baselines."""

# Documented in docs/comparison.md. The first of each is the starting point; a search goes on as long as the minutes last.
_RATES = ({"learning_rate": 0.001}, {"learning_rate": 0.003}, {"learning_rate": 0.0003})
CANDIDATES: dict[str, tuple[dict[str, Any], ...]] = {
    "Pop": ({},),
    "Random": ({},),
    "SLIMElastic": ({}, {"alpha": 0.1}, {"alpha": 0.5}),
    "ADMMSLIM": ({},),
    "AsymKNN": ({}, {"k": 50}),
    "NCEPLRec": ({},),
    "ItemKNN": ({"k": 100, "shrink": 0.0}, {"k": 50, "shrink": 10.0}, {"k": 200, "shrink": 10.0}, {"k": 20, "shrink": 0.0}),
    "EASE": ({"reg_weight": 250.0}, {"reg_weight": 50.0}, {"reg_weight": 1000.0}),
    "BPR": (
        {"learning_rate": 0.001, "embedding_size": 64},
        {"learning_rate": 0.001, "embedding_size": 64, "weight_decay": 1e-5},
        {"learning_rate": 0.0005, "embedding_size": 128, "weight_decay": 1e-5},
    ),
    "NeuMF": ({"learning_rate": 0.001}, {"learning_rate": 0.0005, "dropout_prob": 0.3}),
    "LightGCN": (
        {"learning_rate": 0.002, "n_layers": 2, "reg_weight": 1e-4},
        {"learning_rate": 0.002, "n_layers": 3, "reg_weight": 1e-3},
        {"learning_rate": 0.001, "n_layers": 2, "reg_weight": 1e-5},
    ),
    # An epoch costs the same with batches of 256 as with RecBole's 2,048, and takes eight times the steps.
    "GRU4Rec": (
        {"train_batch_size": 256, "learning_rate": 0.001, "dropout_prob": 0.3},
        {"train_batch_size": 256, "learning_rate": 0.003, "dropout_prob": 0.5},
    ),
    "Caser": (
        {"train_batch_size": 256, "learning_rate": 0.001, "dropout_prob": 0.4},
        {"train_batch_size": 256, "learning_rate": 0.001, "dropout_prob": 0.2},
    ),
    "SASRec": (
        {"train_batch_size": 256, "learning_rate": 0.001, "hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.5},
        {"train_batch_size": 256, "learning_rate": 0.001, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},
    ),
    "BERT4Rec": (
        {"train_batch_size": 256, "learning_rate": 0.001, "hidden_dropout_prob": 0.2, "attn_dropout_prob": 0.2},
        {"train_batch_size": 256, "learning_rate": 0.001, "hidden_dropout_prob": 0.5, "attn_dropout_prob": 0.5, "mask_ratio": 0.4},
    ),
}


def candidates(model: str) -> tuple[dict[str, Any], ...]:
    """Return the settings that a comparison tries for a model, in order; other models get three learning rates."""
    return CANDIDATES.get(model, _RATES)


def recbole_folder() -> Path:
    """Return where RecBole is installed, without importing it.

    Raises:
        MissingExtraError: it is not.
    """
    found = importlib.util.find_spec("recbole")
    if found is None or not found.submodule_search_locations or not _runs_here():
        raise MissingExtraError("recbole", "recbole", "RecBole's models run on Python 3.11 only: its ray pin has no wheel above")
    return Path(next(iter(found.submodule_search_locations)))


def _runs_here() -> bool:
    # Installed with --no-deps, as on newer Pythons, RecBole brings its data and cannot be imported.
    return sys.version_info < (3, 12) or importlib.util.find_spec("ray") is not None


@cache
def models() -> dict[str, Kind]:
    """Return the kind of every model that RecBole has, by name.

    Raises:
        MissingExtraError: RecBole is not installed.
    """
    folder = recbole_folder()
    names = {path.stem.lower(): path.stem for path in (folder / "properties" / "model").glob("*.yaml")} | {"random": "Random"}
    return {
        names[path.stem]: kind
        for kind in KINDS
        for path in sorted((folder / "model" / f"{kind}_recommender").glob("*.py"))
        if path.stem in names
    }


def unsupported(model: str) -> str | None:
    """Return why a model does not run here; None where it does."""
    return UNSUPPORTED.get(model, _NO_GRAPH if models()[model] == "knowledge_aware" else None)


def supported() -> list[str]:
    """Return the names of the models that run here."""
    return [name for name in models() if unsupported(name) is None]


def knows_users_by_id(model: str) -> bool:
    """Say whether a model has nothing to say to a user that training does not hold."""
    return models()[model] != "sequential" or model in USER_TABLES


def check_names(names: Iterable[str]) -> None:
    """See that every name is a model that runs here.

    Raises:
        ConfigError: one is not; the text names the nearest right one, or the reason.
        MissingExtraError: RecBole is not installed.
    """
    for name in names:
        expect(name, str, "a RecBole model", error=ConfigError, called="name")
        if name not in models():
            near = {known.lower(): known for known in models()}.get(name.lower())
            hint = f"unknown RecBole model '{name}': did you mean '{near}'?" if near else unknown_name("RecBole model", name, supported())
            raise ConfigError(hint)
        if reason := unsupported(name):
            raise ConfigError(f"RecBole's {name} does not run here: it {reason}; leave it out of the baselines")


_RUNS_WHAT_IT_NAMES = frozenset({"mf_pretrain_path", "mlp_pretrain_path", "pre_model_path", "pretrain_path", "teacher", "warm_up"})


def check_settings(model: str, settings: Mapping[str, Any]) -> None:
    """See that a model knows the settings.

    Raises:
        ConfigError: one is neither the model's own nor one of RecBole's training settings; the text names the nearest.
    """
    known = _settings_of(model)
    for name in settings:
        if name not in known:
            raise ConfigError(unknown_name(f"setting of {model}", name, known))
    check_loads_nothing(settings)


def check_loads_nothing(settings: Mapping[str, Any]) -> None:
    """See that no setting names a file that RecBole would unpickle, or words that it would evaluate: either runs what it finds.

    Raises:
        ConfigError: one does.
    """
    for name in settings:
        if name in _RUNS_WHAT_IT_NAMES:
            raise ConfigError(f"RecBole's setting {name} is not taken: RecBole would run what it names; leave it out")


def default_settings(model: str) -> dict[str, Any]:
    """Return RecBole's own values of the settings that `check_settings` allows."""
    folder = recbole_folder() / "properties"
    overall = _values(folder / "overall.yaml")
    own = _values(folder / "model" / f"{model}.yaml")
    return {name: own.get(name, overall.get(name)) for name in _settings_of(model)} | {"MAX_ITEM_LIST_LENGTH": 50}


def _settings_of(model: str) -> list[str]:
    folder = recbole_folder() / "properties"
    training = ("learning_rate", "weight_decay", "train_batch_size", "epochs", "stopping_step", "learner", "clip_grad_norm")
    return [*training, "MAX_ITEM_LIST_LENGTH", "train_neg_sample_args", *_values(folder / "model" / f"{model}.yaml")]


def _values(path: Path) -> dict[str, Any]:
    import yaml

    values = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}
    # PyYAML reads 1e-3 as text (YAML 1.1 wants 1.0e-3); RecBole's own loader reads the number.
    return {name: float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value for name, value in values.items()}
