"""Make a retriever by name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, MissingExtraError
from bertrec.models.base import Recommender
from bertrec.models.names import MODELS
from bertrec.recbole import catalogue


def create(
    model: str | type[Recommender],
    *,
    item_input: str | None = None,
    tune: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Recommender:
    """Make an untrained model by name.

    Args:
        model: a name in `MODELS`; ``recbole:NAME`` for a sequential model of RecBole's, whose settings have RecBole's names; or someone
            else's class, itself or as ``package.module:Class``.
        item_input: ``id``, ``text`` or ``text+id``; None takes the model's default.
        tune: ``frozen``, ``last:K``, ``lora`` or ``full``; None takes the model's default.
        settings: flat dotted names and values that replace defaults, such as ``{"head.layers": 1}``.
        seed: of the training, where the settings name none; a model that draws nothing has no use for it.

    Raises:
        ConfigError: an unknown model or setting (with the nearest right one), or a combination that a model does not have.
    """
    expect(settings, Mapping, "bertrec.create: settings", optional=True, error=ConfigError)
    kind, variant = find_model(model)
    return kind.configured(item_input=item_input, tune=tune, settings=settings, variant=variant, seed=seed)


def find_model(model: str | type[Recommender]) -> tuple[type[Recommender], str]:
    """Return the class, and what follows the name after a colon: ``SASRec`` of ``recbole:SASRec``, else nothing.

    Raises:
        ConfigError: there is no such model.
    """
    if isinstance(model, str):
        name, colon, variant = model.partition(":")
        if name in MODELS.names() and bool(colon) == bool(variant):
            return MODELS.find(name), variant
    try:
        return MODELS.find(model), ""
    except ConfigError as error:
        raise ConfigError(_meant(str(model)) or str(error)) from error


def _meant(model: str) -> str | None:
    """Return what to call a model of RecBole's that was named without its library, or with a misspelt one."""
    library, colon, rest = model.partition(":")
    if colon and difflib.get_close_matches(library, MODELS.names(), n=1, cutoff=0.7) == ["recbole"]:
        return f"unknown model '{model}': did you mean 'recbole:{rest or 'SASRec'}'?"
    try:
        theirs = {name.lower(): name for name in catalogue.models()}
    except MissingExtraError:
        return None
    found = theirs.get(model.lower())
    return None if found is None else f"unknown model '{model}': RecBole's is recbole:{found}"
