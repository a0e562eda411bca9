"""Rules of a list: which items may stand in it, how many of a kind, what lifts an item, how varied the list is.

A `Rules` says it in words, a `Plan` is what that means for the items of one catalogue, and `Plan.pick` fills one list from a ranking.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.expressions import ItemColumns, amounts, keeps, labels_of
from bertrec.retrieval.checks import Id
from bertrec.retrieval.exact import BoolArray, FloatArray, IntArray

_SHOWN = 200
_LARGEST = 1e30  # of a boost: float32 can still square it


def _listed(value: Any) -> Any:
    """Take any list of ids, also a NumPy array; one id alone is none."""
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise ValueError("give a list of ids")
    return tuple(one.item() if isinstance(one, np.integer) else one for one in value)


Ids = Annotated[tuple[pydantic.StrictStr | pydantic.StrictInt, ...], pydantic.BeforeValidator(_listed)]


class Rules(Config):
    """What a list may hold; the k best of the items that may stand in it are given, always k where k exist.

    Attributes of items are the columns of the item table, text fields too. An item for which a value is missing is kept by no comparison,
    counts under no ``at_most`` and gets no boost from it.
    """

    exclude: Ids = pydantic.Field((), description="Ids of items that no list holds; ids that are no items do no harm.")
    only: Ids | None = pydantic.Field(None, description="Ids of the only items that a list may hold; null: all items.")
    filter: str | None = pydantic.Field(
        None, description="Condition over item attributes, such as \"price < 50 and category == 'shoes' and in_stock\"; null: none."
    )
    at_most: dict[str, pydantic.PositiveInt] = pydantic.Field(
        default_factory=dict, description="At most so many items of a list with the same value of an attribute, such as {brand: 2}."
    )
    diversity: float = pydantic.Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="λ of maximal marginal relevance: 0 is the order of scores, 1 looks at nothing but how unlike the items of a list are.",
    )
    boost: dict[str, float] = pydantic.Field(
        default_factory=dict,
        description="What is added to scores: a weight times an attribute, or for a condition where it holds, such as {in_stock: 0.5}.",
    )

    @property
    def reorders(self) -> bool:
        """Whether a list is more than the best items in order."""
        return bool(self.at_most) or self.diversity > 0

    @cached_property
    def key(self) -> str:
        """What tells these rules from others."""
        return self.model_dump_json()

    def for_candidates(self) -> Rules:
        """Return what holds while candidates are retrieved that another model puts in order: all but the diversity."""
        return self.model_copy(update={"diversity": 0.0})


@dataclass(frozen=True)
class _Cap:
    """At most ``limit`` items of each label; the labels of item ``i`` are ``codes[offsets[i]:offsets[i + 1]]``."""

    limit: int
    codes: IntArray
    offsets: IntArray

    def of(self, item: int) -> list[int]:
        """Return the labels of an item by inner id; one beyond the catalogue has none."""
        return [] if item >= len(self.offsets) - 1 else self.codes[self.offsets[item] : self.offsets[item + 1]].tolist()

    def room(self, allowed: BoolArray) -> int:
        """Return how many of the allowed items a list can hold at most."""
        held = np.repeat(allowed, np.diff(self.offsets))
        without = allowed & (np.diff(self.offsets) == 0)
        return int(without.sum()) + int(np.minimum(np.bincount(self.codes[held]), self.limit).sum() if held.any() else 0)


@dataclass(frozen=True)
class Plan:
    """What rules mean for the items of a catalogue.

    Attributes:
        rules: themselves.
        allowed: ``[n_items + 1]``, by inner id; row 0 is False, and so are withdrawn items.
        boost: ``[n_items + 1]``, what is added to scores; None where nothing is.
        unknown: whether an item that the catalogue does not hold may be listed as far as its attributes, all missing, go.
        caps: one for each attribute of ``at_most``.
    """

    rules: Rules
    allowed: BoolArray
    boost: FloatArray | None
    unknown: bool
    caps: list[_Cap] = field(repr=False)

    def allows(self, ids: Sequence[Id]) -> BoolArray:
        """Return for ids outside the catalogue whether they may be listed, ``[n]``."""
        gone, only = set(self.rules.exclude), None if self.rules.only is None else set(self.rules.only)
        return np.array([self.unknown and one not in gone and (only is None or one in only) for one in ids], dtype=bool)

    @cached_property
    def room(self) -> int:
        """How many items of the catalogue a list can hold at most."""
        return min([int(self.allowed.sum()), *(cap.room(self.allowed) for cap in self.caps)])

    def pick(
        self, items: IntArray, scores: npt.NDArray[np.floating], k: int, vectors: FloatArray | None, *, whole: bool
    ) -> list[int] | None:
        """Fill one list from the start of a ranking.

        Args:
            items: inner ids by falling score, or numbers beyond them for items that the catalogue does not hold, ``[m]``.
            scores: ``[m]``.
            k: how long the list is to be.
            vectors: ``[m, d]`` of length 1 or 0; None where ``diversity`` is 0.
            whole: whether the ranking ends there.

        Returns:
            Positions in ``items``, in the list's order, at most ``k``; None where the list depends on items further down.
        """
        counted = [_Counted(cap, items) for cap in self.caps]
        best = _first(counted, len(items), k)
        if len(best) < k and not whole:
            return None
        if vectors is None or len(best) < 2:
            return best
        for one in counted:
            one.clear()
        return _varied(_relevance(scores, best), vectors, k, counted, self.rules.diversity, whole=whole)


class _Counted:
    """A cap with what one list holds already."""

    def __init__(self, cap: _Cap, items: IntArray) -> None:
        self._labels = [cap.of(item) for item in items.tolist()]
        self._limit = cap.limit
        self._counts: dict[int, int] = {}

    def clear(self) -> None:
        self._counts = {}

    def fits(self, at: int) -> bool:
        return all(self._counts.get(label, 0) < self._limit for label in self._labels[at])

    def add(self, at: int) -> None:
        for label in self._labels[at]:
            self._counts[label] = self._counts.get(label, 0) + 1


def _first(counted: Sequence[_Counted], count: int, k: int) -> list[int]:
    """Return the positions of the first ``k`` items that fit, each as the list stands when its turn comes."""
    if not counted:
        return list(range(min(k, count)))
    chosen: list[int] = []
    for at in range(count):
        if len(chosen) == k:
            break
        if all(one.fits(at) for one in counted):
            chosen.append(at)
            for one in counted:
                one.add(at)
    return chosen


def _relevance(scores: npt.NDArray[np.floating], best: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return scores on a scale on which the list without diversity runs from 1 to 0; as they are where its scores are all equal."""
    exact = scores.astype(np.float64)
    spread = exact[best[0]] - exact[best[-1]]
    return (exact - exact[best[-1]]) / (spread if spread > 0 else 1.0)


def _varied(
    relevance: npt.NDArray[np.float64], vectors: FloatArray, k: int, counted: Sequence[_Counted], weight: float, *, whole: bool
) -> list[int] | None:
    """Choose by maximal marginal relevance (Carbonell and Goldstein 1998); None where an item further down might be chosen.

    What comes after the last of the ranking has at most its relevance. Its largest cosine with the chosen ones is at least its mean one,
    and that is no lower than minus the length of the mean of their vectors.
    """
    exact, nearest = vectors.astype(np.float64), np.full(len(relevance), -np.inf)
    open_, chosen, total = np.ones(len(relevance), bool), list[int](), np.zeros(vectors.shape[1])
    while len(chosen) < k:
        value = (1 - weight) * relevance - (weight * nearest if chosen else 0.0)
        at = _best_fitting(value, open_, counted)
        if at is None:
            return chosen if whole else None
        if chosen and not whole and value[at] < (1 - weight) * relevance[-1] + weight * float(np.linalg.norm(total)) / len(chosen):
            return None
        chosen.append(at)
        open_[at] = False
        for one in counted:
            one.add(at)
        nearest, total = np.maximum(nearest, np.vecdot(exact, exact[at])), total + exact[at]
    return chosen


def _best_fitting(value: npt.NDArray[np.float64], open_: BoolArray, counted: Sequence[_Counted]) -> int | None:
    """Return the open position of the largest value that fits, the first of equal ones; those that do not fit are closed."""
    while open_.any():
        at = int(np.argmax(np.where(open_, value, -np.inf)))
        if all(one.fits(at) for one in counted):
            return at
        open_[at] = False
    return None


class RuleBook:
    """Makes plans of rules for one catalogue."""

    def __init__(self, catalog: ItemCatalog) -> None:
        self._catalog = catalog
        self._columns = ItemColumns(catalog)

    def plan(self, rules: Rules) -> Plan:
        """Return what rules mean here.

        Raises:
            DataError: an attribute is unknown, a condition cannot be read, or no id of ``only`` is an item.
        """
        allowed, unknown = np.ones(len(self._catalog) + 1, bool), True
        if rules.filter is not None:
            allowed = keeps(self._columns, rules.filter).copy()
            unknown = bool(allowed[0])
        allowed &= self._catalog.listed
        if rules.only is not None:
            allowed &= self._held(rules.only, "only", needed=True)
        if rules.exclude:
            allowed &= ~self._held(rules.exclude, "exclude", needed=False)
        allowed[0] = False
        caps = [_Cap(limit, *labels_of(self._columns, name, "at_most")) for name, limit in rules.at_most.items()]
        return Plan(rules, allowed, self.boost(rules), unknown, caps)

    def boost(self, rules: Rules) -> FloatArray | None:
        """Return what is added to the score of each item, ``[n_items + 1]``; None where nothing is.

        Raises:
            DataError: an attribute is unknown or no number, or a sum is too large.
        """
        if not rules.boost:
            return None
        total = np.zeros(len(self._catalog) + 1)
        with np.errstate(over="ignore", invalid="ignore"):  # which is seen below
            for text, weight in rules.boost.items():
                total += weight * amounts(self._columns, text)
        if not (np.abs(total) <= _LARGEST).all():
            raise DataError(f"boost {', '.join(map(repr, rules.boost)):.{_SHOWN}}: a sum is beyond {_LARGEST:g}: take smaller weights")
        return total.astype(np.float32)

    def _held(self, ids: Sequence[Id], what: str, *, needed: bool) -> BoolArray:
        inner = self._catalog.ids.encode(list(ids))
        kinds = set(map(type, self._catalog.ids.ids))
        if not inner.any() and (needed or not {type(one) for one in ids} & kinds):
            first = f", such as {ids[0]!r}" if ids else ""
            raise DataError(f"{what}: none of its {len(ids)} ids is an item{first}: ids are as {self._catalog.ids.ids[0]!r}")
        held = np.zeros(len(self._catalog) + 1, bool)
        held[inner] = True
        return held
