"""Our full-ranking evaluation on ml-100k against RecBole's, with equal figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.speed.harness import Case, Side
from benchmarks.speed.peers import exchange
from benchmarks.speed.peers.sasrec import OURS, THEIRS, our_model, recbole_settings
from bertrec.core.ragged import Ragged
from bertrec.data.splits import Split
from bertrec.evaluation.by_vectors import evaluate_vectors
from bertrec.evaluation.protocol import Protocol
from bertrec.models.evaluate import evaluate
from bertrec.recbole.exchange import Job, load_split, save_split, with_distinct_targets

_HERE = "benchmarks.speed.cases.peers_recbole_evaluation"
_VECTORS = "vectors.npz"
_METRIC = "NDCG@10"
_KS = (10, 20)
_AGREES = 1e-6
_ROUND_SECONDS, _FEWEST = 1.0, 3  # of a round, and the evaluations of a round at least


def prepare_vectors(*, folder: Path, data: str, data_set: str, width: int, users: int = 0, **_: Any) -> None:
    """Write user and item vectors that mean something: the largest singular vectors of the training matrix."""
    split = exchange.read_split(data, data_set, users)
    assert split.test is not None
    matrix = _matrix(split.train.sequences, len(split.catalog))
    items = np.linalg.svd(matrix[:, 1:], full_matrices=False)[2][:width].T
    items = np.concatenate([np.zeros((1, items.shape[1])), items])
    np.savez(Path(folder) / _VECTORS, users=(_matrix(split.test.histories, len(split.catalog)) @ items).astype(np.float32), items=items)


def ours_evaluation(*, data: str, folder: str, data_set: str, users: int = 0, **_: Any) -> Callable[[], dict[str, Any]]:
    """Prepare given vectors of users and items; the full ranking of the test users is timed."""
    split = exchange.read_split(data, data_set, users)
    users_of, items = _vectors(folder)
    counts = split.train.item_counts
    assert split.test is not None
    test = split.test
    repeats = Ragged.from_lengths(np.zeros(0, np.int64), np.zeros(len(test), np.int64))

    def once() -> dict[str, Any]:
        report = evaluate_vectors([(users_of, repeats)], items, test, Protocol(ks=_KS, bootstrap=0), counts)
        return {"users": len(test), "items": len(split.catalog), "ndcg": report.mean(_METRIC)}

    return _repeated(once)


def theirs_evaluation(
    *, data: str, folder: str, data_set: str, width: int, users: int = 0, seed: int, eval_batch_size: int, **_: Any
) -> Callable[[], dict[str, Any]]:
    """Prepare RecBole's BPR with the same vectors; its full ranking is timed, as ``trainer.evaluate`` makes it."""
    split = _numbered(data, data_set, users, Path(folder))
    users_of, items = _vectors(folder)
    prepared = _prepared("BPR", split, {"embedding_size": width, "eval_batch_size": eval_batch_size}, seed, Path(folder))
    tokens, model = prepared.scorer.dataset.field2token_id["user_id"], prepared.trainer.model
    assert split.test is not None
    rows = torch.tensor([tokens[str(user)] for user in split.test.users])
    with torch.no_grad():
        model.user_embedding.weight[rows] = torch.from_numpy(users_of)
        model.item_embedding.weight[torch.from_numpy(prepared.scorer.items)] = torch.from_numpy(items)
    return _their_evaluation(prepared)


def ours_model_evaluation(*, data: str, data_set: str, users: int = 0, **settings: Any) -> Callable[[], dict[str, Any]]:
    """Prepare a SASRec after one epoch; its pass over the histories and the full ranking are timed together."""
    split = exchange.read_split(data, data_set, users)
    model = our_model(**{**settings, "epochs": 1}).fit(split.train, progress=False)
    protocol = Protocol(ks=_KS, bootstrap=0, mask_seen=False)
    assert split.test is not None
    test = split.test

    def once() -> dict[str, Any]:
        report = evaluate(model, test, protocol=protocol, item_counts=split.train.item_counts, lists=False)
        return {"users": len(test), "items": len(split.catalog), "ndcg": report.mean(_METRIC)}

    return _repeated(once)


def theirs_model_evaluation(
    *, data: str, folder: str, data_set: str, users: int = 0, seed: int, eval_batch_size: int, **sizes: Any
) -> Callable[[], dict[str, Any]]:
    """Prepare RecBole's SASRec of the same sizes; pass and ranking are timed together."""
    split = _numbered(data, data_set, users, Path(folder))
    settings = {**recbole_settings(**sizes), "eval_batch_size": eval_batch_size}
    prepared = _prepared("SASRec", split, settings, seed, Path(folder))
    from bertrec.recbole.worker.crosscheck import cross_check

    assert split.test is not None
    difference = cross_check(prepared, split.test)["largest_difference"]
    return _their_evaluation(prepared, cross_check_difference=difference)


def prepare_nothing(*, folder: Path, **_: Any) -> None:
    """Ask for the shared folder alone, where RecBole writes its files."""


def compare_evaluation(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """See that both evaluators, given the same vectors, gave the same figure."""
    difference = abs(float(ours["ndcg"]) - float(theirs["ndcg"]))
    return {"ok": difference <= _AGREES, "difference": difference, "ndcg": float(ours["ndcg"])}


def compare_model_evaluation(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """See that our evaluator, on the scores of RecBole's model, gave RecBole's own figures."""
    difference = float(theirs["cross_check_difference"])
    return {"ok": difference <= _AGREES, "largest_difference_on_the_same_scores": difference}


def _matrix(rows: Ragged, n_items: int) -> npt.NDArray[np.float64]:
    """Return ``[len(rows), n_items + 1]``: 1 where the row holds the item."""
    matrix = np.zeros((len(rows), n_items + 1))
    matrix[rows.rows, rows.values] = 1
    return matrix


def _vectors(folder: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    with np.load(Path(folder) / _VECTORS) as found:
        return found["users"], found["items"].astype(np.float32)


def _numbered(data: str, data_set: str, users: int, folder: Path) -> Split:
    """Return the split with users as numbers, as RecBole's files are written from."""
    save_split(with_distinct_targets(exchange.read_split(data, data_set, users)), folder / "split")
    return load_split(folder / "split")


def _prepared(model: str, split: Split, settings: dict[str, Any], seed: int, folder: Path) -> Any:
    """Return RecBole's side, made ready in this process, which is its own from here on."""
    from bertrec.recbole.worker import patches

    patches.apply()
    from bertrec.recbole.worker.prepare import prepare

    return prepare(Job(model=model, settings=settings, seed=seed), split, folder / "recbole")


def _their_evaluation(prepared: Any, **figures: float) -> Callable[[], dict[str, Any]]:
    prepared.trainer.evaluate(prepared.test, load_best_model=False, show_progress=False)  # sets up its collector

    def once() -> dict[str, Any]:
        found = prepared.trainer.evaluate(prepared.test, load_best_model=False, show_progress=False)
        return {"ndcg": float(found["ndcg@10"]), **figures}

    return _repeated(once)


def _repeated(once: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Return a round of evaluations, whose seconds are the median of one: a single one takes milliseconds, and twice as many at times."""

    def several() -> dict[str, Any]:
        taken: list[float] = []
        while len(taken) < _FEWEST or sum(taken) < _ROUND_SECONDS:
            started = time.perf_counter()
            found = once()
            taken.append(time.perf_counter() - started)
        return found | {"seconds": float(np.median(taken)), "evaluations": len(taken)}

    return several


_VECTOR_NOTES = (
    "Vectors are PureSVD's, so that the figures mean something; RecBole scores with its BPR, whose embeddings they become. Seen items "
    "are masked on both sides, and both give the same NDCG@10."
)

CASES = [
    Case(
        name="recbole-evaluation",
        title="Full ranking of ml-100k's test users from the same vectors of width 64, against RecBole's evaluation with its defaults",
        ours=Side(f"{_HERE}:ours_evaluation", OURS),
        theirs=Side(f"{_HERE}:theirs_evaluation", {**THEIRS, "eval_batch_size": 4096}, environment="recbole"),
        goal=20.0,
        suite="full",
        prepare=f"{_HERE}:prepare_vectors",
        agree=f"{_HERE}:compare_evaluation",
        notes=_VECTOR_NOTES,
    ),
    Case(
        name="recbole-evaluation-one-batch",
        title="The same against RecBole with an evaluation batch that holds all users",
        ours=Side(f"{_HERE}:ours_evaluation", OURS),
        theirs=Side(f"{_HERE}:theirs_evaluation", {**THEIRS, "eval_batch_size": 2_000_000}, environment="recbole"),
        suite="full",
        prepare=f"{_HERE}:prepare_vectors",
        agree=f"{_HERE}:compare_evaluation",
        notes=_VECTOR_NOTES,
    ),
    Case(
        name="recbole-evaluation-sasrec",
        title="Full ranking of ml-100k's test users with a SASRec of width 64, its pass over the histories included, against RecBole's",
        ours=Side(f"{_HERE}:ours_model_evaluation", OURS),
        theirs=Side(f"{_HERE}:theirs_model_evaluation", {**THEIRS, "eval_batch_size": 4096}, environment="recbole"),
        suite="full",
        prepare=f"{_HERE}:prepare_nothing",
        agree=f"{_HERE}:compare_model_evaluation",
        notes="Seen items not masked, as RecBole does for sequential models. Both transformers do the same work, which bounds the ratio.",
    ),
]
