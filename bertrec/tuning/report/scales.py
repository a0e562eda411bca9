"""Where the values of a parameter stand on an axis: numbers by size, on a logarithm where they were drawn so, choices in their order."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bertrec.tuning.report.ticks import Axis, count_axis, linear_axis, log_axis
from bertrec.tuning.report.view import StudyView
from bertrec.tuning.report.wording import setting_text


@dataclass(frozen=True)
class Scale:
    """The axis of one parameter.

    Attributes:
        name: of the parameter.
        used: its values in the measured trials that used it, by trial number.
        choices: the different values in order where it is a choice, else None.
        log: whether it was drawn on a logarithmic scale.
    """

    name: str
    used: dict[int, Any]
    choices: list[Any] | None
    log: bool

    def place(self, value: Any) -> float:
        """Return where a value stands in the axis's own units: a choice at its number."""
        return float(value) if self.choices is None else float(self._places[_key(value)])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {_key(choice): place for place, choice in enumerate(self.choices or [])}

    def share(self, value: Any) -> float:
        """Return where a value stands between the least (0) and the greatest (1) that was used."""
        low, high = self._span
        return 0.5 if high == low else (self._turned(value) - low) / (high - low)

    @cached_property
    def _span(self) -> tuple[float, float]:
        places = [self._turned(value) for value in self.used.values()]
        return min(places), max(places)

    def _turned(self, value: Any) -> float:
        return math.log(self.place(value)) if self.log else self.place(value)

    def axis(self) -> Axis:
        """Return an axis with ticks."""
        if self.choices is not None:
            return Axis(-0.5, len(self.choices) - 0.5, {float(at): setting_text(value) for at, value in enumerate(self.choices)})
        values = list(self.used.values())
        if not self.log and all(isinstance(value, int) for value in values):
            return count_axis(max(values), first=min(values), most=4)
        return log_axis(values) if self.log else linear_axis(values, most=4)

    def ends(self) -> dict[float, str]:
        """Return what is written along an axis from 0 to 1: every choice, or the least and the greatest number."""
        if self.choices is not None:
            return {self.share(value): setting_text(value) for value in self.choices}
        values = [float(value) for value in self.used.values()]
        return {0.0: setting_text(min(values)), 1.0: setting_text(max(values))}


def varied_scales(view: StudyView, first: Sequence[str] = ()) -> list[Scale]:
    """Return the parameters that took several values in the measured trials, those of ``first`` first."""
    names = [*(name for name in first if name in view.parameters), *view.parameters]
    found = [_scale(view, name) for name in dict.fromkeys(names)]
    return [scale for scale in found if len({_key(value) for value in scale.used.values()}) > 1]


def _scale(view: StudyView, name: str) -> Scale:
    used = {trial.number: trial.params[name] for trial in view.measured if name in trial.params}
    kinds = [trial.distributions[name] for trial in view.measured if name in trial.distributions]
    numeric = all(not hasattr(kind, "choices") and _is_number(value) for kind, value in zip(kinds, used.values(), strict=True))
    if not numeric:
        return Scale(name, used, _choices(kinds, list(used.values())), log=False)
    log = any(getattr(kind, "log", False) for kind in kinds) and all(value > 0 for value in used.values())
    return Scale(name, used, None, log)


def _choices(kinds: Sequence[Any], used: Sequence[Any]) -> list[Any]:
    """Return the used values, each once, in the order in which the choices were given."""
    given = [choice for kind in kinds for choice in getattr(kind, "choices", ())]
    taken = {_key(value) for value in used}
    ordered = {_key(value): value for value in [*given, *used]}
    return [value for key, value in ordered.items() if key in taken]


def _key(value: Any) -> str:
    # 1, True and "1" are three choices.
    return json.dumps(value, default=str)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
