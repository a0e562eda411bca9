"""What the contracts of retrievers and rankers have in common."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bertrec.models.fitted import Fitted
from bertrec.models.folder import classes_in_settings

Model = TypeVar("Model", bound=Fitted)
Data = TypeVar("Data")
Array = npt.NDArray[np.floating[Any]]
_TOLERANCE = 1e-4


def check_settings(model: Fitted) -> None:
    """See that settings are the class's own and travel through plain values.

    Raises:
        AssertionError: they do not.
    """
    kind, config = type(model), model.config
    must(isinstance(config, kind.config_class), f"config is no {kind.config_class.__name__}, which config_class names")
    must(type(config).from_dict(config.to_dict()) == config, "the settings are others after to_dict and from_dict")
    must(isinstance(kind.name, str) and kind.name, "name: a class has one, such as  name = 'mine'")


def check_refit(
    make: Callable[[], Model], fit: Callable[[Model, Data], Any], data: Data, others: Data, scores: Callable[[Model], Array]
) -> None:
    """See that the same data give the same scores, and that nothing is left of an earlier fit.

    Args:
        make: makes an untrained model.
        fit: fits it.
        data: to fit to in the end.
        others: to fit to before that.
        scores: of a fitted model, ``[n]``.

    Raises:
        AssertionError: a second fit goes on from the first, or a fit is not repeatable.
    """
    fresh, again, used = make(), make(), make()
    for model in (fresh, again):
        fit(model, data)
    close(scores(again), scores(fresh), "the same data gave other scores (is everything drawn from a seed?)")
    fit(used, others)
    fit(used, data)
    close(scores(used), scores(fresh), "a second fit does not start anew")


def check_saved(model: Model, scores: Callable[[Model], Array]) -> None:
    """See that a saved model is the same one.

    Raises:
        AssertionError: it is not.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "model"
        model.save_pretrained(place)
        parts = classes_in_settings(type(model).config_class, model.config.to_dict())
        loaded = type(model).from_pretrained(place, classes=[type(model), *parts])
        must(type(loaded) is type(model), f"a saved {type(model).__name__} is loaded as {type(loaded).__name__}")
        must(loaded.config == model.config, "saving changes the settings")
        must(np.array_equal(scores(loaded), scores(model)), "saving changes the scores")
        must(loaded.model_hash == model.model_hash, "saving changes model_hash")


def close(found: Array, wanted: Array, what: str) -> None:
    """See that two arrays are equal but for rounding.

    Raises:
        AssertionError: they are not; the text begins with ``what``.
    """
    scale = max(1.0, float(np.abs(wanted).max(initial=0.0)))
    furthest = float(np.abs(found - wanted).max(initial=0.0))
    must(furthest <= _TOLERANCE * scale, f"{what}: by up to {furthest:g}")


def must(holds: object, what: str) -> None:
    """See that something holds, also where the interpreter leaves out ``assert``.

    Raises:
        AssertionError: it does not.
    """
    if not holds:
        raise AssertionError(what)
