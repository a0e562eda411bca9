"""Full-ranking evaluation: ranks counted from vectors against ranks of score matrices, and a million users by 100,000 items."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.speed.harness import Case, Side

WIDTH = 64
Once = Callable[[], dict[str, Any]]


def _world(users: int, items: int, seen: int = 8, seed: int = 0) -> SimpleNamespace:
    """Vectors without structure, one target per user, ``seen`` items of each history masked."""
    from bertrec.core.ragged import Ragged

    generator = np.random.default_rng(seed)
    histories = Ragged.from_lengths(generator.integers(1, items + 1, users * seen), np.full(users, seen))
    targets = Ragged.from_lengths(generator.integers(1, items + 1, users), np.ones(users, np.int64))
    return SimpleNamespace(
        users=range(users),
        histories=histories,
        targets=targets,
        user_vectors=generator.standard_normal((users, WIDTH), np.float32),
        item_vectors=generator.standard_normal((items + 1, WIDTH), np.float32),
        counts=np.ones(items + 1, np.int64),
    )


def _figures(report: Any, users: int) -> dict[str, Any]:
    return {"users": users, "ndcg": report.mean("NDCG@10"), "array": report.per_user("NDCG@50")}


def from_vectors(*, data: str, users: int, items: int) -> Once:
    """Measure by `evaluate_vectors`, the user vectors in batches as a model yields them."""
    from bertrec.evaluation.by_vectors import evaluate_vectors
    from bertrec.evaluation.protocol import Protocol

    world, protocol, step = _world(users, items), Protocol(bootstrap=0), 1 << 15
    evaluate_vectors([(world.user_vectors[:1], world.histories.slice(0, 1))], world.item_vectors, _first(world), protocol, world.counts)

    def once() -> dict[str, Any]:
        batches = ((world.user_vectors[at : at + step], world.histories.slice(at, min(at + step, users))) for at in range(0, users, step))
        return _figures(evaluate_vectors(batches, world.item_vectors, world, protocol, world.counts), users)

    return once


def from_scores(*, data: str, users: int, items: int) -> Once:
    """Measure by `evaluate_scores`, from a matrix of the scores of 512 users at a time."""
    import torch

    from bertrec.evaluation.evaluate import evaluate_scores
    from bertrec.evaluation.protocol import Protocol

    world, protocol = _world(users, items), Protocol(bootstrap=0)
    vectors, table = torch.from_numpy(world.user_vectors), torch.from_numpy(world.item_vectors).T

    def once() -> dict[str, Any]:
        batches = ((vectors[at : at + 512] @ table).numpy() for at in range(0, users, 512))
        return _figures(evaluate_scores(batches, world, protocol, world.counts), users)

    return once


def _first(world: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(users=[0], histories=world.histories.slice(0, 1), targets=world.targets.slice(0, 1))


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    """A rank may differ only where two scores lie within the rounding of a product, so seldom and by little."""
    same = float(np.mean(ours["array"] == theirs["array"]))
    return {"same_users": same, "ndcg_difference": abs(ours["ndcg"] - theirs["ndcg"]), "ok": same > 0.999}


def _against_scores(name: str, users: int, items: int) -> Case:
    size = {"users": users, "items": items}
    return Case(
        name=name,
        title=f"Evaluate {users:,} users by {items:,} items, width {WIDTH}: ranks from vectors against ranks of score matrices",
        ours=Side("benchmarks.speed.cases.evaluate:from_vectors", size),
        theirs=Side("benchmarks.speed.cases.evaluate:from_scores", size),
        goal=None,
        stretch=None,
        repeats=6,
        suite="bench",
        agree="benchmarks.speed.cases.evaluate:agree",
    )


CASES = [
    _against_scores("evaluate-ranks", 10_000, 12_101),
    _against_scores("evaluate-ranks-wide", 2_000, 100_000),
    Case(
        name="evaluate-million",
        title=f"Evaluate 1,000,000 users by 100,000 items, width {WIDTH}: within 600 s and 4 GiB on 2 cores",
        ours=Side("benchmarks.speed.cases.evaluate:from_vectors", {"users": 1_000_000, "items": 100_000}),
        theirs=None,
        limits={"seconds": 600, "peak_mib": 4096},
        repeats=1,
        suite="full",
    ),
]
