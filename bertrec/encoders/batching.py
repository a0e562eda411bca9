"""Ragged token rows to tightly padded batches of a fixed budget, longest first; equal texts once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect_list
from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged


def token_budget_batches(lengths: IntArray, budget: int) -> Iterator[IntArray]:
    """Yield arrays of positions, sorted by falling length, whose padded size is at most ``budget`` tokens (or one row).

    Longest first: a batch that does not fit into memory fails at once and not at the end.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows


def padded_positions(offsets: IntArray, rows: IntArray) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Return where each token of ``rows`` lies in the values, and which cells are tokens, both ``[b, longest]``.

    Padding cells point at value 0, to be masked by the caller.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    column = np.arange(max(1, int(lengths.max(initial=0))))
    mask = column < lengths[:, None]
    return np.where(mask, offsets[rows][:, None] + column, 0), mask


def padded_tokens(tokens: Ragged, rows: IntArray, pad: int) -> tuple[IntArray, IntArray]:
    """Return ``input_ids`` and ``attention_mask``, ``[b, longest]`` int64, of the rows, padded with ``pad`` on the right."""
    positions, mask = padded_positions(tokens.offsets, rows)
    values = tokens.values if len(tokens.values) else np.zeros(1, np.int64)
    return np.where(mask, values[positions], pad), mask.astype(np.int64)


def distinct_texts(texts: Sequence[str]) -> tuple[list[str], IntArray]:
    """Return the distinct texts in order of first appearance, and for each text its place among them, ``[n]``.

    Raises:
        DataError: an element is not a text; the message names its position.
    """
    expect_list(texts, "texts", of="texts")
    number: dict[str, int] = {}
    place = np.zeros(len(texts), np.int64)
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise DataError(f"text {row} is {text!r}, not a string: fill missing texts with ''")
        place[row] = number.setdefault(text, len(number))
    return list(number), place
