"""Classes of other packages: what their methods return is looked at once, where it enters, so that an error names class and method."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any

from bertrec.core.checks import shown
from bertrec.core.errors import ModelError

Check = Callable[[Any], str]
"""Says what is wrong with a result, "" where nothing is."""


def guard_results(kind: type, checks: Mapping[str, Check]) -> None:
    """Let methods that a class of another package defines be followed by a check of what they return.

    Args:
        kind: the class; those of bertrec are left as they are.
        checks: by the method's name.
    """
    if kind.__module__.partition(".")[0] == "bertrec":
        return
    for name, check in checks.items():
        method = vars(kind).get(name)
        if callable(method):
            setattr(kind, name, _guarded(method, name, check))


def _guarded(method: Callable[..., Any], name: str, check: Check) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **options: Any) -> Any:
        found = method(self, *args, **options)
        if wrong := check(found):
            kind = type(self)
            raise ModelError(f"{kind.__module__}:{kind.__qualname__}.{name} returned {wrong}")
        return found

    return call


def matrix(found: Any) -> str:
    """Check vectors, an array ``[n, d]`` of floats."""
    return _array(found, 2, "vectors: an array [rows, width] of floats")


def row(found: Any) -> str:
    """Check scores, an array ``[n]`` of floats."""
    return _array(found, 1, "scores: an array of floats, one per candidate")


def _array(found: Any, dimensions: int, wanted: str) -> str:
    import numpy as np  # only where there is a model

    if not isinstance(found, np.ndarray):
        return f"{shown(found)}, not {wanted}"
    if found.ndim != dimensions or found.dtype.kind != "f":
        return f"an array {list(found.shape)} of {found.dtype}, not {wanted}"
    return ""


def tensor(found: Any) -> str:
    """Check a tensor, without importing torch."""
    return "" if hasattr(found, "requires_grad") else f"{shown(found)}, not a tensor"


def mapping(found: Any) -> str:
    """Check names and values."""
    return "" if isinstance(found, Mapping) else f"{shown(found)}, not names and values"


def plain(found: Any) -> str:
    """Check names and values that JSON holds."""
    if not isinstance(found, Mapping):
        return mapping(found)
    try:
        json.dumps(dict(found), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return f"what JSON does not hold: {error}"
    return ""
