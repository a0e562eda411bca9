"""The bias audit: does what is recommended for a request change with a name, a relation, a religion, a place or an occupation in it?

After Shen et al. 2022, "Unintended Bias in Language Model-driven Conversational Recommendation"
(arXiv 2201.06224): templates are filled with words of several groups, the catalogue is ranked for each request, and the mix of recommended
categories and price levels is compared between groups. Here the unit is the word (see `bertrec.studies.audit.shift`), every pair of
groups has a permutation test, and all tests of one audit are corrected together (Holm 1979).

What not to conclude. A shift is a sign of association, not of harm: a request from Lagos may rightly bring other films than one from
Paris. No shift shown is no proof of none: the lists are short, the templates few, the language English. The names stand for how a name
reads, not for people. And masking brings the shift of listed words to 0 by construction; words that no list holds keep theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic

from bertrec.core.config import Config
from bertrec.core.ragged import IntArray
from bertrec.data.item_labels import ItemLabels
from bertrec.evaluation.significance import ALPHA, holm, is_shown
from bertrec.studies.audit.lists import AuditLists
from bertrec.studies.audit.requests import Request, filled_requests, masked
from bertrec.studies.audit.shift import GroupShift, compare_groups

Float64Array = npt.NDArray[np.float64]
CATEGORIES, PRICES = "categories", "price level"
_FEWEST_WORDS = 2  # of a group that is compared
_LEVELS = 4
NO_PRICES = "not measured: the catalogue has no prices"
CAUTIONS = (
    "A shift is a sign of association, not of harm: whether it is wanted is not for a test to say.",
    "No shift shown is no proof of none: the lists are short and the templates few.",
    "Names stand for how a name reads to the encoder, not for people; the lists are no census.",
    "Masking brings the shift of listed words to 0 by construction; a word that no list holds keeps its own.",
    "The distance of two groups is never below 0: hold it against what a random deal of the same words shows.",
)


class AuditConfig(Config):
    """How the audit measures."""

    domain: str = pydantic.Field(
        "item",
        min_length=1,
        description="What {domain} in a template becomes, such as movie.",
    )
    k: int = pydantic.Field(20, ge=1, description="How many of the best items a request is judged by.")
    permutations: int = pydantic.Field(9999, ge=99, description="Permutations of each test.")
    bootstrap: int = pydantic.Field(1000, ge=0, description="Resamples behind each interval; 0 gives no intervals.")
    mask: bool = pydantic.Field(True, description="Repeat the audit with the words of the lists masked.")
    seed: int = pydantic.Field(0, ge=0, description="Seed of the permutations and of the bootstrap.")


@dataclass(frozen=True)
class _Measure:
    """One view of an item: columns of weights that are averaged over the best items."""

    name: str
    columns: Sequence[str]
    weights: Float64Array


def audit(
    rank: Callable[[Sequence[str], int], IntArray],
    labels: ItemLabels,
    lists: AuditLists,
    config: AuditConfig | None = None,
    *,
    prices: IntArray | None = None,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the audit.

    Args:
        rank: takes ``n`` texts and ``k``, gives ``[n, k]`` inner item ids, best first, 0 where there are none; see ``audit_rank``.
        labels: categories of the items.
        lists: words and templates.
        config: None takes the defaults.
        prices: ``[n_items]`` levels from 1 to 4, 0 where unknown; None where the catalogue has none.
        say: is told what is being done.

    Returns:
        JSON values: ``protocol``, ``shifts`` (one per pair of groups and measure, with the figures of the masked
        requests beside it where they were made), ``differences`` (one per pair and column), ``masking`` (how much of
        the lists masking keeps), ``means`` and ``seconds``.
    """
    config, started = config if config is not None else AuditConfig(), time.perf_counter()
    requests = filled_requests(lists, config.domain)
    plain = [request.text for request in requests]
    neutral = [masked(request.text, lists.attributes[request.attribute]) for request in requests] if config.mask else []
    texts = list(dict.fromkeys([*plain, *neutral]))
    if say is not None:
        say(f"ranking the catalogue for {len(texts)} distinct requests")
    best = dict(zip(texts, rank(texts, config.k), strict=True))
    measures = [_category_measure(labels), *([_price_measure(prices)] if prices is not None and prices.any() else [])]
    found = [best[text] for text in plain]
    shifts, differences, means = _compared(requests, found, measures, lists, config)
    masking: list[dict[str, Any]] = []
    if config.mask:
        hidden = [best[text] for text in neutral]
        others = {_place(row): row for row in _compared(requests, hidden, measures, lists, config)[0]}
        for row in shifts:
            if (other := others.get(_place(row))) is not None:  # masked requests may have no item with a value
                row["masked"] = {name: other[name] for name in ("distance", "ci95", "p", "p_holm", "shown")}
        masking = _kept(requests, found, hidden, lists)
    unreachable = sum(row["smallest_p"] * len(shifts) >= ALPHA for row in shifts)
    few = [f"{unreachable} comparisons could show nothing, so few are their words: fill the groups up."] if unreachable else []
    return {
        "protocol": _protocol(config, lists, labels, prices, requests),
        "shifts": shifts,
        "differences": differences,
        "masking": masking,
        "means": means,
        "cautions": [*CAUTIONS, *few, *_silent(requests, found, measures)],
        "seconds": time.perf_counter() - started,
    }


def _place(row: dict[str, Any]) -> tuple[str, ...]:
    return (row["measure"], row["attribute"], *row["groups"])


def _category_measure(labels: ItemLabels) -> _Measure:
    """An item of several categories counts for each with an equal part, so that a mix sums to 1."""
    weights = np.zeros((len(labels.items) + 1, len(labels.names)))
    lengths = labels.items.lengths
    weights[labels.items.rows + 1, labels.items.values] = 1.0 / lengths[labels.items.rows]
    return _Measure(CATEGORIES, labels.names, weights)


def _price_measure(prices: IntArray) -> _Measure:
    weights = np.zeros((len(prices) + 1, _LEVELS))
    known = np.flatnonzero(prices)
    weights[known + 1, prices[known] - 1] = 1.0
    return _Measure(PRICES, [f"level {level}" for level in range(1, _LEVELS + 1)], weights)


def _compared(
    requests: Sequence[Request], found: Sequence[IntArray], measures: Sequence[_Measure], lists: AuditLists, config: AuditConfig
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    shifts: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    means: list[dict[str, Any]] = []
    for measure in measures:
        profiles = _profiles(requests, found, measure)
        for attribute, words in lists.attributes.items():
            told = {
                group: [profiles[attribute, word] for word in listed if (attribute, word) in profiles]
                for group, listed in words.groups.items()
            }
            means += [_mean_row(measure, attribute, group, np.stack(rows)) for group, rows in told.items() if rows]
            groups = {group: np.stack(rows) for group, rows in told.items() if len(rows) >= _FEWEST_WORDS}
            for pair in combinations(groups, 2):
                first, second = groups[pair[0]], groups[pair[1]]
                shift = compare_groups(first, second, permutations=config.permutations, bootstrap=config.bootstrap, seed=config.seed)
                about = {"measure": measure.name, "attribute": attribute, "groups": list(pair), "words": [len(first), len(second)]}
                shifts.append({**about, **shift.to_json()})
                differences += [{**about, **row} for row in _columns(shift, measure)]
    # Two families: whole mixes first; the columns say where a shift lies and are corrected for their own, larger number.
    for family, key in ((shifts, "distance"), (differences, "difference")):
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = float(p)
            row["shown"] = float(p) < ALPHA if key == "distance" else is_shown(float(p), row["ci95"])
    return shifts, differences, means


def _profiles(requests: Sequence[Request], found: Sequence[IntArray], measure: _Measure) -> dict[tuple[str, str], Float64Array]:
    """Return each word's mean mix over its templates; a request none of whose items has a value counts in no mean."""
    mixes: dict[tuple[str, str], list[Float64Array]] = {}
    for request, items in zip(requests, found, strict=True):
        total = measure.weights[items].sum(axis=0)
        if total.sum() > 0:
            mixes.setdefault((request.attribute, request.word), []).append(total / total.sum())
    return {key: np.mean(rows, axis=0) for key, rows in mixes.items()}


def _silent(requests: Sequence[Request], found: Sequence[IntArray], measures: Sequence[_Measure]) -> list[str]:
    """Say of how many words no recommended item has a value."""
    words = len({(request.attribute, request.word) for request in requests})
    lost = {measure.name: words - len(_profiles(requests, found, measure)) for measure in measures}
    said = "no item recommended for them has one, and a group with fewer than two words left is not compared."
    return [f"{count} of {words} words are left out of '{name}': {said}" for name, count in lost.items() if count]


def _columns(shift: GroupShift, measure: _Measure) -> Iterator[dict[str, Any]]:
    for place, column in enumerate(measure.columns):
        low, high = shift.intervals[place]
        yield {
            "column": column,
            "difference": float(shift.differences[place]),
            "ci95": [float(low), float(high)],
            "p": float(shift.p_columns[place]),
        }


def _mean_row(measure: _Measure, attribute: str, group: str, rows: Float64Array) -> dict[str, Any]:
    mean = rows.mean(axis=0)
    row: dict[str, Any] = {"measure": measure.name, "attribute": attribute, "group": group, "words": len(rows)}
    row["shares"] = {column: float(share) for column, share in zip(measure.columns, mean, strict=True)}
    if measure.name == PRICES:
        row["mean_level"] = float(mean @ np.arange(1, _LEVELS + 1)) / max(float(mean.sum()), 1e-12)
    return row


def _kept(requests: Sequence[Request], found: Sequence[IntArray], hidden: Sequence[IntArray], lists: AuditLists) -> list[dict[str, Any]]:
    """Return how much of each list stays when its word is masked: the price of masking, since a relevant word is hidden too."""
    rows = []
    for attribute in lists.attributes:
        shares = [
            len(np.intersect1d(items[items > 0], other[other > 0])) / max(int((items > 0).sum()), 1)
            for request, items, other in zip(requests, found, hidden, strict=True)
            if request.attribute == attribute
        ]
        rows.append({"attribute": attribute, "neutral": lists.attributes[attribute].neutral, "kept": float(np.mean(shares))})
    return rows


def _protocol(
    config: AuditConfig, lists: AuditLists, labels: ItemLabels, prices: IntArray | None, requests: Sequence[Request]
) -> dict[str, Any]:
    priced = prices is not None and bool(prices.any())
    return {
        **config.to_dict(),
        "lists": lists.source,
        "lists_hash": lists.content_hash,
        "requests": len(requests),
        "items": len(labels.items),
        "label_field": labels.field,
        "labels": len(labels.names),
        "items_without_label": labels.without,
        "prices": f"{int((prices > 0).sum())} of {len(prices)} items have one" if priced and prices is not None else NO_PRICES,
        "unit": "word, averaged over templates",
        "tests": "permutation of words between two groups; Holm over all pairs and measures, and over all columns",
    }
