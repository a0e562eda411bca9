"""A comparison as a run writes it: nine ranked models, three that failed, one with a name that means harm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

METRICS = ["NDCG@10", "HR@10", "MRR@10"]
EVIL = "<script>alert(1)</script>"
SLICES = {
    "all": 943,
    "cold_items": 0,
    "few_shot_items": 61,
    "warm_items": 882,
    "short_histories": 12,
    "long_histories": 812,
    "head_items": 401,
    "torso_items": 322,
    "tail_items": 220,
}
_SHARE = {"few_shot_items": 0.35, "short_histories": 1.2, "long_histories": 0.95, "head_items": 1.6, "torso_items": 0.8, "tail_items": 0.3}
# name, family, source, NDCG@10, seeds, fit seconds, ended by
RANKED = [
    ("unisrec:text+id", "text", "bertrec", 0.1043, 3, 412.0, "patience"),
    ("recbole:SASRec", "id", "recbole", 0.0987, 3, 1180.0, "budget"),
    ("sasrec", "id", "bertrec", 0.0979, 3, 150.0, "patience"),
    ("unisrec:text", "text", "bertrec", 0.0912, 3, 390.0, "patience"),
    ("morec", "text", "bertrec", 0.0870, 2, 1190.0, "budget"),
    ("recbole:BERT4Rec", "id", "recbole", 0.0655, 3, 1201.0, "budget"),
    ("vqrec", "text", "bertrec", 0.0641, 3, 505.0, "schedule"),
    ("recbole:ItemKNN", "id", "recbole", 0.0512, 1, 4.1, "no training"),
    ("recbole:Pop", "id", "recbole", 0.0221, 1, 0.02, "no training"),
]


@pytest.fixture
def run() -> dict[str, Any]:
    """The whole comparison, fresh for each test."""
    return comparison()


@pytest.fixture
def empty_run() -> dict[str, Any]:
    """A run in which nothing happened."""
    return {"protocol": {}, "models": [], "tests": [], "verdict": ""}


@pytest.fixture
def crowded_run() -> dict[str, Any]:
    """Fifteen models of nearly the same quality and time: the hardest to label."""
    rows = [
        (f"recbole:Model-{n:02d}", ("text", "id")[n % 2], "bertrec", 0.09 + 0.001 * n, 3, 600.0 + 40 * n, "patience") for n in range(15)
    ]
    return comparison() | {"models": [_ranked(*row) for row in rows], "tests": []}


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the report of the comparison."""
    pytest.importorskip("matplotlib")
    from bertrec.comparison.report import write_report

    folder = tmp_path_factory.mktemp("report")
    write_report(comparison(), folder)
    return folder


def comparison() -> dict[str, Any]:
    """Return it whole, in an order that is not the ranking."""
    models = [_ranked(*row) for row in RANKED]
    models = [*models[::-1], *_unranked()]
    return {
        "protocol": _protocol(),
        "models": models,
        "tests": _tests(),
        "verdict": "unisrec:text+id is better than recbole:SASRec, the best ID model, by 0.0056 NDCG@10 (p 0.012 after Holm).",
    }


def figures(value: float, *, sd: float | None = None, users: int = 943) -> dict[str, Any]:
    """Return all metrics about one level, with the interval that so many users would give."""
    half = 3.0 * value / math.sqrt(users)
    level = {"NDCG@10": 1.0, "HR@10": 1.9, "MRR@10": 0.75}
    return {
        name: {"mean": value * by, "ci95": [(value - half) * by, (value + half) * by], "sd": None if sd is None else sd * by}
        for name, by in level.items()
    }


def _ranked(name: str, family: str, source: str, value: float, seeds: int, seconds: float, ended: str) -> dict[str, Any]:
    sd = 0.0012 if seeds > 1 else None
    slices: dict[str, Any] = {
        part: {"users": users, "metrics": figures(value * _SHARE.get(part, 1.0), sd=sd, users=users) if users else {}}
        for part, users in SLICES.items()
    }
    beyond = {"Coverage@10": 0.2 + value * 3, "Gini@10": 0.95 - value}
    slices["all"]["metrics"] |= {metric: {"mean": x, "ci95": None, "sd": None} for metric, x in beyond.items()}
    slices["all"]["metrics"] |= {"HR@50": {"mean": value * 4, "ci95": [value * 3.9, value * 4.1], "sd": sd}}
    settings = {"learning_rate": 0.001, "layers": 2, "dropout": 0.2}
    trained = ended != "no training"
    return {
        "name": name,
        "family": family,
        "source": source,
        "status": "ok",
        "reason": None,
        "seeds": list(range(seeds)),
        "slices": slices,
        "fit_seconds": seconds,
        "search_seconds": seconds / 4 if trained else 0.0,
        "seconds_a_seed": [seconds / seeds] * seeds,
        "evaluate_seconds": 3.2,
        "peak_mib": 620.0 + seconds / 4,
        "converged": None if ended == "no training" else ended != "budget",
        "ended_by": ended,
        "settings": settings if trained else {},
        "search": _search(value, settings) if trained else [],
        "curves": [_curve(value, seed, seconds / seeds, settings) for seed in range(seeds)] if trained else [],
        "cross_check": _cross_check(name, value) if source == "recbole" else None,
    }


def _curve(value: float, seed: int, seconds: float, settings: dict[str, Any]) -> dict[str, Any]:
    epochs = 20
    points = [
        {
            "epoch": epoch,
            "seconds": seconds * epoch / epochs,
            "loss": None if epoch == 1 else 7.0 / epoch,
            "metric": None if epoch == 2 else value * 1.1 * (1 - math.exp(-epoch / 5)) * (1 + 0.02 * seed),
        }
        for epoch in range(1, epochs + 1)
    ]
    return {"seed": seed, "settings": settings, "points": points}


def _search(value: float, settings: dict[str, Any]) -> list[dict[str, Any]]:
    tried = [
        {"settings": settings | {"learning_rate": rate}, "seed": 0, "metric": value * by, "seconds": 30.0, "epochs": 20, "converged": True}
        for rate, by in ((0.001, 1.1), (0.003, 1.0))
    ]
    for one in tried:
        one |= {"chosen": one["settings"] == settings, "status": "ok", "reason": None}
    lost = {"settings": settings | {"learning_rate": 1.0}, "seed": 0, "metric": None, "seconds": 1.0, "epochs": 1, "converged": None}
    return [*tried, lost | {"chosen": False, "status": "failed", "reason": "the loss is not finite"}]


def _cross_check(name: str, value: float) -> dict[str, Any]:
    tied = 140 if name == "recbole:Pop" else 0
    theirs = value + (0.0004 if tied else 0.0)
    return {
        "figures": {"NDCG@10": {"recbole": theirs, "ours": value}, "HR@10": {"recbole": value * 1.9, "ours": value * 1.9}},
        "tied_users": tied,
        "users": 943,
        "largest_difference": abs(theirs - value),
        "agrees": not tied,
        "note": "140 users have tied scores" if tied else None,
    }


def _unranked() -> list[dict[str, Any]]:
    nothing: dict[str, Any] = {
        "seeds": [],
        "slices": {},
        "fit_seconds": None,
        "search_seconds": None,
        "seconds_a_seed": [],
        "evaluate_seconds": None,
        "peak_mib": None,
        "converged": None,
        "ended_by": "killed",
        "settings": {},
        "search": [],
        "curves": [],
        "cross_check": None,
    }
    return [
        {
            "name": EVIL,
            "family": "text",
            "source": "bertrec",
            "status": "failed",
            "reason": f"memory ran out in {EVIL}\n" + "x" * 500,
            **nothing,
        },
        {"name": "recbole:LightGCN", "family": "id", "source": "recbole", "status": "invalid", "reason": "it ranked seen items", **nothing},
        {"name": "a_b & 50%|c", "family": "id", "source": "recbole", "status": "not run", "reason": None, **nothing},
    ]


def _tests() -> list[dict[str, Any]]:
    found = []
    for metric, by in {"HR@10": 1.9, "NDCG@10": 1.0, "MRR@10": 0.75}.items():
        for place, first in enumerate(RANKED):
            found += [_test(first, second, metric, by) for second in RANKED[place + 1 :]]
    return found


def _test(first: tuple, second: tuple, metric: str, by: float) -> dict[str, Any]:
    difference = (first[3] - second[3]) * by
    shown = difference > 0.004
    # Every other pair is given the wrong way round, as a run may.
    a, b, sign = (first[0], second[0], 1) if len(first[0]) % 2 else (second[0], first[0], -1)
    ends = sorted([sign * (difference - 0.003), sign * (difference + 0.003)])
    return {
        "a": a,
        "b": b,
        "metric": metric,
        "slice": "all",
        "users": 943,
        "difference": sign * difference,
        "ci95": ends,
        "p_t": 0.0004 if shown else 0.4,
        "p_wilcoxon": 0.0004 if shown else 0.41,
        "p_holm": 0.012 if shown else 1.0,
        "effect_size": sign * difference * 3,
        "verdict": f"{first[0]} is better than {second[0]}" if shown else "no difference shown",
    }


def _protocol() -> dict[str, Any]:
    return {
        "data": {"name": "ml-100k", "format": "recbole", "hash": "9f" * 32, "counts": {"interactions": 100000, "users": 943}},
        "split": {"method": "leave_one_out", "filters": [], "seed": None, "counts": {"train": 98114, "validation": 943, "test": 943}},
        "mask_seen": True,
        "ks": [1, 5, 10, 20, 50],
        "ties": "the target is placed last among equals",
        "primary_metric": "NDCG@10",
        "metrics": METRICS,
        "budget_minutes": 20.0,
        "seeds": [0, 1, 2],
        "users": 943,
        "items": 1682,
        "machine": {"cores": 2, "threads": 1, "memory_gib": 15.6, "processor": "x86_64"},
        "versions": {"bertrec": "0.3.0", "torch": "2.13.0", "recbole": "1.2.1", "numpy": "2.4.0"},
        "started": "2026-11-22T03:10:05+00:00",
        "seconds": 7320.5,
    }
