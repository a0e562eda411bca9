"""Counts and text lengths of a data set as a plain dict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import TextCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset
from bertrec.data.times import odd_times

Tokenize = Callable[[list[str]], Ragged | Sequence[Sequence[int]]]
# Above this share of unknown word pieces an encoder does not read the language of the texts.
UNKNOWN_WARNING = 0.05
_YEAR_1980, _YEAR_2100 = 315_532_800, 4_102_444_800


def describe(
    dataset: Dataset,
    *,
    tokenize: Tokenize | None = None,
    unknown_id: int | None = None,
    special_ids: Iterable[int] = (),
) -> dict[str, Any]:
    """Return counts, density, text lengths and warnings; JSON values only.

    Args:
        dataset: what ``bertrec.data.load.load`` returned.
        tokenize: texts to word-piece ids (an encoder's ``tokenize``); without it lengths are counted in words only.
        unknown_id: the id that stands for a piece the encoder does not know.
        special_ids: ids that are no part of a text (``[CLS]``, ``[SEP]``), left out of all counts.
    """
    text = _texts(dataset.catalog)
    warnings = []
    if tokenize is not None:
        text |= _pieces(dataset.catalog, tokenize, unknown_id, special_ids)
        share = text.get("share_unknown_pieces")
        if share is not None and share > UNKNOWN_WARNING:
            warnings.append(f"{share:.1%} of word pieces are unknown to the encoder: choose one that was trained on this language")
    if dataset.interactions.timestamp is not None and not dataset.interactions.timestamp_is_position:
        warnings += odd_times(dataset.interactions.timestamp)
    if text["share_without_text"] == 1:
        warnings.append("no item has any text: a text model has nothing to read")
    return {
        "name": dataset.name,
        "format": dataset.format,
        "data_hash": dataset.content_hash,
        **_counts(dataset.interactions),
        "timestamps": _clock(dataset.interactions),
        "days": _days(dataset.interactions),
        "text": text,
        "user_texts": None if dataset.users is None else _texts(dataset.users),
        "impressions": {part: _shown(impressions) for part, impressions in dataset.impressions.items()},
        "given_split": None if dataset.given is None else dict(dataset.given.manifest["counts"]),
        "filters": list(dataset.interactions.filters),
        "notes": list(dataset.notes),
        "warnings": warnings,
    }


def _counts(interactions: Interactions) -> dict[str, Any]:
    users, items, total = len(interactions.users), len(interactions.catalog), len(interactions)
    per_item = interactions.item_counts[1:]
    return {
        "users": users,
        "items": items,
        "interactions": total,
        "density": total / (users * items) if users and items else 0.0,
        "per_user": _spread(interactions.sequences.lengths),
        "per_item": _spread(per_item),
        "items_never_met": int((per_item == 0).sum()),
        "users_too_short_to_evaluate": int((interactions.sequences.lengths < 3).sum()),
        "repeated_interactions": interactions.repeats,
        "share_repeated": interactions.repeats / total if total else 0.0,
    }


def _clock(interactions: Interactions) -> str:
    if interactions.timestamp is None:
        return "none (the order of the rows counts)"
    return "positions within each user" if interactions.timestamp_is_position else "times"


def _days(interactions: Interactions) -> dict[str, str] | None:
    """Return the first and the last day; None where the times are no seconds between 1970 and 2100."""
    times = interactions.timestamp
    if times is None or interactions.timestamp_is_position or not len(times):
        return None
    first, last = float(times.min()), float(times.max())
    if not 0 <= first <= last < _YEAR_2100 or last < _YEAR_1980:
        return None
    return {name: f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}" for name, at in (("first", first), ("last", last))}


def _texts(catalog: TextCatalog) -> dict[str, Any]:
    words = np.array([len(text.split()) for text in catalog.texts], dtype=np.int64)
    empty = sum(not text for text in catalog.texts)
    return {
        "empty_by_field": {name: sum(not text for text in column) for name, column in catalog.fields.items()},
        "template": catalog.template,
        "without_text": empty,
        "share_without_text": empty / len(catalog) if len(catalog) else 0.0,
        "words": _spread(words),
    }


def _pieces(catalog: TextCatalog, tokenize: Tokenize, unknown_id: int | None, special_ids: Iterable[int]) -> dict[str, Any]:
    rows = tokenize(catalog.texts)
    tokens = rows if isinstance(rows, Ragged) else Ragged.from_rows(rows)
    tokens = tokens.where(~np.isin(tokens.values, np.fromiter(special_ids, dtype=np.int64)))
    found: dict[str, Any] = {"pieces": _spread(tokens.lengths)}
    if unknown_id is not None:
        found["share_unknown_pieces"] = float((tokens.values == unknown_id).mean()) if len(tokens.values) else 0.0
    return found


def _shown(impressions: Impressions) -> dict[str, Any]:
    return {
        "impressions": len(impressions),
        "users": len(set(impressions.users)),
        "history": _spread(impressions.histories.lengths),
        "candidates": _spread(impressions.candidates.lengths),
        "clicks": None if impressions.labels is None else int(impressions.labels.sum()),
    }


def _spread(values: npt.NDArray[np.int64]) -> dict[str, float]:
    if not len(values):
        return {"min": 0.0, "median": 0.0, "mean": 0.0, "p95": 0.0, "max": 0.0}
    low, middle, high, top = np.percentile(values, [0, 50, 95, 100]).tolist()
    return {"min": low, "median": middle, "mean": float(values.mean()), "p95": high, "max": top}
