"""Our end of what a peer is given and gives back: a split as plain arrays, lists of recommended items, what they are worth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.files import write_json
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.load import load, make_split
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.significance import paired_comparison

K = 10
_DATA, _VECTORS, _PEER = "split.npz", "vectors.npy", "peer.json"


def read_split(data: str, name: str, users: int = 0) -> Split:
    """Return the split of a data set.

    Args:
        data: folder with the data sets.
        name: of one of them, or ``ml-100k``, which comes with RecBole.
        users: only this many of the first users; 0 takes all.
    """
    split = make_split(load(name if name == "ml-100k" else Path(data) / name))
    return first_users(split, users) if users else split


def first_users(split: Split, users: int) -> Split:
    """Return the split with the first users' sequences and the first evaluated users, for a try-out."""
    train = split.train.where(split.train.sequences.rows < users).without_empty_users()

    def first(part: EvaluationSet | None) -> EvaluationSet | None:
        return None if part is None else part.take(np.arange(min(users, len(part))))

    return Split(split.catalog, train, first(split.validation), first(split.test), split.held_out, split.manifest)


def save_arrays(split: Split, folder: Path, vectors: npt.NDArray[np.float32] | None = None) -> None:
    """Write training interactions, test histories and test targets, all in inner ids, and the item vectors with a row 0 of zeros."""
    assert split.test is not None
    sequences = split.train.sequences
    np.savez(
        folder / _DATA,
        user=sequences.rows + 1,
        item=sequences.values,
        order=np.arange(len(sequences.values)) - sequences.offsets[sequences.rows],
        history=split.test.histories.values,
        history_offsets=split.test.histories.offsets,
        target=first_targets(split.test),
    )
    if vectors is not None:
        np.save(folder / _VECTORS, np.concatenate([np.zeros((1, vectors.shape[1]), np.float32), vectors]))


def first_targets(part: EvaluationSet) -> IntArray:
    """Return one target per user, ``[n]``."""
    return part.targets.values[part.targets.offsets[:-1]]


def with_targets(part: EvaluationSet, lists: IntArray) -> IntArray:
    """Return ``[n, 1 + k]``: each user's target before the recommended items, as both sides hand them to `compare_lists`."""
    return np.concatenate([first_targets(part)[:, None], lists], axis=1)


def inner_lists(split: Split, items: list[list[str | int]]) -> IntArray:
    """Return ``[n, K]`` inner ids of recommended external ids, 0 where a list is shorter."""
    lengths = np.array([len(row) for row in items], dtype=np.int64)
    flat = split.catalog.ids.encode([item for row in items for item in row])
    return Ragged.from_lengths(flat, lengths).padded(K)


def ndcg_of_lists(targets_and_lists: IntArray) -> npt.NDArray[np.float64]:
    """Return NDCG@10 of each user, ``[n]``; 0 where the target is not in the list."""
    found = targets_and_lists[:, 1:] == targets_and_lists[:, :1]
    ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, found.shape[1] + 1).astype(np.int64)
    return rank_metrics(Ragged(ranks, np.arange(len(ranks) + 1)), [K])[f"NDCG@{K}"]


def compare_lists(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool | str]:
    """Compare both sides' lists by our evaluator; not ``ok`` where theirs are shown to be better."""
    result = paired_comparison(
        ndcg_of_lists(ours["array"]), ndcg_of_lists(theirs["array"]), names=("ours", "theirs"), resamples=2000, seed=0
    )
    return {
        "ok": result.verdict != "theirs is better than ours",
        "ndcg_ours": result.mean_a,
        "ndcg_theirs": result.mean_b,
        "difference_low": result.ci95[0],
        "difference_high": result.ci95[1],
        "verdict": result.verdict,
        "epochs_ours": float(ours["epochs"]),
        "epochs_theirs": float(theirs["epochs"]),
    }


def note_peer(folder: str, figures: dict[str, Any]) -> None:
    """Leave what a side of ours must know of the other one, where that runs first."""
    write_json(Path(folder) / _PEER, figures)


def peer_figures(folder: str) -> dict[str, Any]:
    """Return what the other side has left; empty where it has not run yet."""
    path = Path(folder) / _PEER
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found
