"""The models by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, MissingExtraError, unknown_name
from bertrec.heads.config import ItemInput
from bertrec.models.base import Recommender
from bertrec.models.idrec import IDRec
from bertrec.models.morec import MoRec
from bertrec.models.popularity import Popularity
from bertrec.models.recbole import RecBole, create_recbole
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.text_similarity import TextSimilarity, TextSimilarityConfig
from bertrec.models.unisrec import UniSRec
from bertrec.recbole import catalogue

MODELS: dict[str, type[Recommender]] = {kind.name: kind for kind in (UniSRec, MoRec, IDRec, TextSimilarity, Popularity)}
SAVED: dict[str, type[Recommender]] = {**MODELS, RecBole.name: RecBole}
"""The classes of saved models by name."""


def create(model: str, *, item_input: str | None = None, tune: str | None = None, settings: Mapping[str, Any] | None = None) -> Recommender:
    """Make an untrained model by name.

    Args:
        model: a name in `MODELS`, or ``recbole:NAME`` for a sequential model of RecBole's, whose settings have RecBole's names.
        item_input: ``id``, ``text`` or ``text+id``; None takes the model's default.
        tune: ``frozen``, ``last:K``, ``lora`` or ``full``; None takes the model's default.
        settings: flat dotted names and values that replace defaults, such as ``{"head.layers": 1}``.

    Raises:
        ConfigError: an unknown model or setting (with the nearest right one), or a combination that a model does not have.
    """
    expect(model, str, "bertrec.create: model", error=ConfigError, called="name")
    expect(settings, Mapping, "bertrec.create: settings", optional=True, error=ConfigError)
    settings = dict(settings or {})
    library, _, architecture = model.partition(":")
    if library == RecBole.name:
        if item_input not in (None, "id") or tune not in (None, "frozen"):
            raise ConfigError("RecBole's models know items by id alone: leave out --item-input and --tune")
        return create_recbole(architecture, settings)
    kind = MODELS.get(model)
    if kind is None:
        raise ConfigError(_unknown(model))
    item_input = item_input or settings.get("item.input")
    tune = tune or settings.get("encoder.tune")
    if issubclass(kind, NeuralRecommender):
        checked = cast(ItemInput | None, item_input)  # by the settings, which name the right ones
        return kind(kind.default_config(item_input=checked, tune=tune or "frozen").updated(settings))
    if (item_input is not None and model != "text-similarity") or item_input not in (None, "text"):
        raise ConfigError(f"{model} has no --item-input {item_input}: leave the option out")
    if kind is TextSimilarity:
        return TextSimilarity(TextSimilarityConfig().updated({**settings, **({"encoder.tune": tune} if tune else {})}))
    if tune not in (None, "frozen") or settings:
        raise ConfigError(f"{model} has no settings: leave out --tune, --set and --config")
    return kind()


def _unknown(model: str) -> str:
    try:
        theirs = {name.lower(): name for name in catalogue.models()}
    except MissingExtraError:
        theirs = {}
    if model.lower() in theirs:
        return f"unknown model '{model}': RecBole's is recbole:{theirs[model.lower()]}"
    return unknown_name("model", model, SAVED)
