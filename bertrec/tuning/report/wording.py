"""Figures, settings and counts as the reader sees them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from bertrec.pages.wording import ABSENT


def figure_text(value: float | None) -> str:
    """Write a figure with four decimals; a smaller one with two digits, a larger one with six.

    >>> [figure_text(x) for x in (0.12345, 1250.0, 0.00012345, None)]
    ['0.1235', '1250', '0.00012', '–']
    """
    if value is None:
        return ABSENT
    if value == 0 or 0.001 <= abs(value) < 100:
        return f"{value:.4f}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.6g}"


def setting_text(value: Any) -> str:
    """Write the value of a setting as a YAML file would hold it.

    >>> [setting_text(x) for x in (True, None, 0.0003, "last:2", [1, 2])]
    ['true', 'null', '0.0003', 'last:2', '[1, 2]']
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, default=str, ensure_ascii=False)


def settings_text(values: Mapping[str, Any]) -> str:
    """Write settings as ``name = value``, comma-separated."""
    return ", ".join(f"{name} = {setting_text(value)}" for name, value in values.items()) or "no parameters"


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> [counted(1, "trial"), counted(3, "trial")]
    ['1 trial', '3 trials']
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def sort_key(value: Any) -> float | str | None:
    """Return what a cell sorts by; figures that are not finite sort last."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    return setting_text(value).casefold()
