"""Numbers and states as the reader sees them; one way of writing each, whatever the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bertrec.pages.blocks import Json

ABSENT = "–"
NO_DIFFERENCE = "no difference shown"
_REASON_LENGTH = 300
_SLICE_NAMES = {"all": "all users", "few_shot_items": "few-shot items"}
_SLICES = {
    "cold_items": "the target is never in training",
    "few_shot_items": "the target is in training 1 to 5 times",
    "warm_items": "the target is in training over 5 times",
    "short_histories": "5 items or fewer",
    "long_histories": "over 20 items",
    "head_items": "the target is among the most frequent items, which have a third of all training interactions",
    "torso_items": "the target is in the next third",
    "tail_items": "the target is in the last third",
}


def number(value: float | None, decimals: int = 4) -> str:
    """Write a number with fixed decimals, or a dash where there is none."""
    return ABSENT if value is None else f"{value:.{decimals}f}"


def signed(value: float | None) -> str:
    """Write a difference with its sign, four decimals.

    >>> signed(0.0123)
    '+0.0123'
    """
    return ABSENT if value is None else f"{value:+.4f}".replace("-", "−")


def interval(ci95: Sequence[float] | None) -> str:
    """Write a confidence interval, or nothing where there is none.

    >>> interval([0.09, 0.11])
    '[0.0900, 0.1100]'
    """
    return "" if not ci95 else f"[{ci95[0]:.4f}, {ci95[1]:.4f}]".replace("-", "−")


def with_sd(figure: Json | None, seeds: int) -> str:
    """Write ``mean ± sd`` where there were several seeds, else the mean.

    >>> with_sd({"mean": 0.1, "sd": 0.002}, 3)
    '0.1000 ± 0.0020'
    """
    if figure is None:
        return ABSENT
    spread = figure.get("sd")
    return number(figure["mean"]) + (f" ± {spread:.4f}" if spread is not None and seeds > 1 else "")


def p_value(p: float | None) -> str:
    """Write a p value with three decimals; below 0.001 it says so."""
    if p is None:
        return ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float | None) -> str:
    """Write a time as a reader says it.

    >>> [duration(s) for s in (0.25, 42.0, 95.0, 5400.0)]
    ['0.2 s', '42 s', '1.6 min', '1.5 h']
    """
    if seconds is None:
        return ABSENT
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def slice_name(name: str) -> str:
    """Return what a slice is called."""
    return _SLICE_NAMES.get(name, name.replace("_", " "))


def slice_meanings(names: Sequence[str]) -> str:
    """Say in one sentence what the slices hold, where their names do not."""
    found = [f"{slice_name(name)}: {_SLICES[name]}" for name in names if name in _SLICES]
    return "; ".join(found) + "." if found else ""


def convergence(model: Json) -> str:
    """Say whether training converged, and what ended it where it did not."""
    ended_by, converged = model.get("ended_by"), model.get("converged")
    if ended_by == "no training":
        return "no training"
    if ended_by == "budget":
        return "no: budget ended"
    if converged is None:
        return "unknown"
    return "yes" if converged else f"no: ended by {ended_by or 'an unknown cause'}"


def reason(model: Json, primary: str) -> str:
    """Say why a model is not ranked, on one line."""
    given = " ".join(str(model.get("reason") or "").split())
    if not given:
        given = f"no {primary} was measured" if model.get("status") == "ok" else "no reason was recorded"
    return given if len(given) <= _REASON_LENGTH else given[: _REASON_LENGTH - 1] + "…"


def settings(values: Mapping[str, Any] | None) -> str:
    """Write settings as ``name = value``, comma-separated."""
    return ", ".join(f"{name} = {plain(value)}" for name, value in (values or {}).items()) or "the defaults"


def plain(value: Any) -> str:
    """Write a JSON value without quotes or braces."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return ABSENT
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return settings(value) if value else "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plain(part) for part in value) or "none"
    return str(value)


def names(models: Sequence[Json]) -> str:
    """List the names of models, the last after ``and``."""
    found = [str(model["name"]) for model in models]
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + f" and {found[-1]}"


def shortened(name: str, length: int = 26) -> str:
    """Cut the middle of a name that a chart has no room for; the tables hold it whole.

    >>> shortened("abcdefghij", 5)
    'ab…ij'
    """
    if len(name) <= length:
        return name
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"
