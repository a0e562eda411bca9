"""Codes of behaviour: the components of items in an SVD of who took what, each cut into bins (GPTRec: Petrov and Macdonald, 2023)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray, Ragged
from bertrec.models.serving import FloatArray

_NOISE = 1e-5
Codes = npt.NDArray[np.uint8]


def item_components(sequences: Ragged, n_items: int, count: int, *, seed: int = 0) -> FloatArray:
    """Return the items' components in a truncated SVD of the binary matrix of users and items, ``[n_items + 1, count]``.

    The singular values are in them; the largest comes first. Components beyond the rank of the matrix are zero.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    offsets = sequences.offsets.copy()  # SciPy joins duplicates in place, and these are the sequences' own
    matrix = csr_array((np.ones(len(sequences.values)), sequences.values - 1, offsets), shape=(len(sequences), n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    if min(matrix.shape) <= count:
        values, right = np.linalg.svd(matrix.toarray(), full_matrices=False)[1:]
    else:
        start = np.random.default_rng(seed).normal(size=min(matrix.shape))
        _, values, right = svds(matrix, k=count, v0=start)
    order = np.argsort(-values)[:count]
    found = np.zeros((n_items + 1, count), np.float32)
    found[1:, : len(order)] = (values[order, None] * right[order]).T
    return found


def binned(values: FloatArray, bins: int, binning: str, rng: np.random.Generator) -> Codes:
    """Return the bin of each value within its column, from 0; a little noise parts equal values.

    Args:
        values: ``[n, columns]``.
        bins: of each column.
        binning: see `behaviour_codes`.
        rng: draws the noise, of a hundred-thousandth of each column's range.
    """
    span = np.ptp(values, axis=0)
    noisy = values + rng.normal(size=values.shape) * _NOISE * np.where(span > 0, span, 1)
    if binning == "quantiles":
        places: IntArray = noisy.argsort(axis=0).argsort(axis=0)
        return (places * bins // len(values)).astype(np.uint8)
    low, high = noisy.min(axis=0), noisy.max(axis=0)
    shares = (noisy - low) / np.where(high > low, high - low, 1)
    return np.minimum(shares * bins, bins - 1).astype(np.uint8)


def folded_in(codes: Codes, vectors: FloatArray, bins: int) -> Codes:
    """Return codes ``[n, columns]`` from 1; those of new items by a linear fit from components to codes of the others.

    Args:
        codes: of the items, from 1; 0 where an item is new.
        vectors: their components in an SVD that holds them all, ``[n, columns]``.
        bins: of each column.
    """
    known = np.asarray(codes.any(axis=1))
    read = np.concatenate([vectors, np.ones((len(vectors), 1), np.float32)], axis=1)
    fit = np.linalg.lstsq(read[known], codes[known].astype(np.float32))[0]
    return np.where(known[:, None], codes, np.clip(np.rint(read @ fit), 1, bins)).astype(np.uint8)


def bin_centres(values: FloatArray, codes: Codes, bins: int) -> FloatArray:
    """Return the mean of the values of each bin, ``[columns, bins]``; that of the nearest filled bin below where a bin is empty.

    Args:
        values: ``[n, columns]``.
        codes: their bins, from 0.
        bins: of each column.
    """
    centres = np.zeros((values.shape[1], bins), np.float32)
    for column, (those, own) in enumerate(zip(codes.T, values.T, strict=True)):
        counts = np.bincount(those, minlength=bins)
        filled = np.asarray(np.flatnonzero(counts))
        means = np.bincount(those, own, minlength=bins)[filled] / counts[filled]
        centres[column] = means[np.maximum(np.searchsorted(filled, np.arange(bins), side="right") - 1, 0)]
    return centres
