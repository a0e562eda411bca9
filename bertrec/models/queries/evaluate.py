"""How well items are found for words: a tower beside BM25, the untrained encoder, what joins them, and chance."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bertrec.core.checks import expect
from bertrec.core.products import FloatArray
from bertrec.core.ragged import IntArray, Ragged
from bertrec.evaluation.expectation import random_expectation
from bertrec.evaluation.metrics import Float64Array, recall, reciprocal_rank
from bertrec.evaluation.protocol import Protocol, manifest
from bertrec.evaluation.ranks import rank_targets, unlisted
from bertrec.evaluation.report import Report, SliceResult, summarise
from bertrec.evaluation.significance import PairedResult, all_pairs
from bertrec.models.found import DEPTH, best_of
from bertrec.models.queries.pairs import Asked, QueryPairs
from bertrec.models.queries.tower import QueryTower
from bertrec.models.text_search import TOWER, WORDS
from bertrec.retrieval.fusion import fused
from bertrec.retrieval.word_scores import WordScores

KS = (1, 10, 50)
METRICS = (*(f"Recall@{k}" for k in KS), "MRR")
MAIN = "tower"
"""The model whose figures stand first."""
LEARNED, LEARNED_UNTRAINED = "bm25 + tower, learned weights", "bm25 + encoder, learned weights"
UNTRAINED_WEIGHTS = "untrained_weights"
"""In ``about`` of a tower: the weights that validation pairs chose for the untrained encoder beside BM25."""
_AT_ONCE = 64


@dataclass(frozen=True)
class Measured:
    """What was measured on one part of some pairs.

    Attributes:
        reports: by name: ``random``, ``bm25``, ``encoder`` (untrained), ``tower``, and the joined ones.
        comparisons: of the reciprocal rank, in pairs, with Holm's correction.
    """

    reports: dict[str, Report]
    comparisons: list[PairedResult]

    def to_json(self) -> dict[str, Any]:
        """Return the tower's figures in the shape of every measuring command, and all of them under ``models``."""
        models = {name: report.to_json() for name, report in self.reports.items()}
        return models[MAIN] | {"models": models, "comparisons": [one.to_json() for one in self.comparisons]}


def measure_tower(tower: QueryTower, pairs: QueryPairs, part: str = "test", *, bootstrap: int = 1000, seed: int = 0) -> Measured:
    """Rank all items for each query of a part.

    Every model ranks the same items by the same texts: those of ``pairs`` without the phrases that queries took from
        them.

    Args:
        tower: trained.
        pairs: whose part is measured. What answers a query by another part is left out of its ranking.
        part: ``train``, ``valid`` or ``test``.
        bootstrap: resamples of the queries behind each interval.
        seed: of the bootstrap.

    Raises:
        DataError: the part has no pair.
        ModelError: the tower is of another catalogue.
    """
    expect(tower, QueryTower, "measure_tower: tower")
    expect(pairs, QueryPairs, "measure_tower: pairs")
    asked, own = pairs.of(part), tower.over(pairs.indexed)
    protocol = Protocol(ks=KS, bootstrap=bootstrap, seed=seed)
    info = {"part": part, "pairs": len(asked.targets.values), "pairs_hash": pairs.content_hash, "catalog_hash": own.catalog.content_hash}
    reports = {"random": _chance(own, asked, protocol, info)}
    for name, scores in _models(own, asked).items():
        started = time.perf_counter()
        ranks = Ragged(ranks_of(scores, asked), asked.targets.offsets)
        reports[name] = _report(own, asked, figures_of(ranks, len(own.catalog)), protocol, info, time.perf_counter() - started)
    ranks_by = {name: report.per_user("MRR") for name, report in reports.items() if name != "random"}
    return Measured(reports, all_pairs(ranks_by, seed=seed) if len(asked) > 1 else [])


def figures_of(ranks: Ragged, n_items: int) -> dict[str, Float64Array]:
    """Return the metrics of each query, ``[n]``, from the ranks of what answers it."""
    recalls = {f"Recall@{k}": recall(ranks, k) for k in KS}
    return {**recalls, "MRR": reciprocal_rank(ranks, n_items)}


def ranks_of(scores: Iterator[FloatArray], asked: Asked) -> IntArray:
    """Return the rank of each target among all items but those that answer the query elsewhere, ties against it.

    Args:
        scores: ``[n_items + 1]`` for each query in turn, -inf where there is none.
        asked: the queries.
    """
    parts: list[IntArray] = []
    for start in range(0, len(asked), _AT_ONCE):
        stop = min(start + _AT_ONCE, len(asked))
        block, wanted = np.stack([next(scores) for _ in range(start, stop)]), asked.targets.slice(start, stop)
        ranks = rank_targets(block, wanted, seen=asked.elsewhere.slice(start, stop))
        parts.append(unlisted(ranks, block[wanted.rows, wanted.values] == -np.inf))
    return np.concatenate(parts)


def joined_scores(orders: Sequence[IntArray], weights: Sequence[float], n_items: int) -> FloatArray:
    """Return the scores of reciprocal rank fusion, ``[n_items + 1]``, -inf where no list holds the item."""
    items, values = fused(orders, weights=weights)
    scores = np.full(n_items + 1, -np.inf, np.float32)
    scores[items] = values
    return scores


def learn_weights(tower: QueryTower, asked: Asked, words: WordScores, *, untrained: bool = False) -> dict[str, float]:
    """Return the weights, of a grid, of the tower's list and of BM25's that give the largest MRR on queries.

    Their sum is 2. With weights of 1 they are joined alike, as everywhere; among equals the weights nearest to that
    are taken.

    Args:
        tower: trained.
        asked: the queries.
        words: of the same catalogue.
        untrained: take the list of the encoder as it is in place of the tower's.
    """
    encoded = tower.encoded(asked.queries)
    dense = _plain(tower, encoded.numpy()) if untrained else _dense(tower, tower.adapted(encoded))
    orders = [_orders(lists) for lists in zip(dense, _lexical(tower, asked, words), strict=True)]
    best, chosen = -1.0, 1.0
    for share in sorted(np.linspace(0, 2, 21).tolist(), key=lambda value: abs(value - 1)):
        ranks = ranks_of((joined_scores(one, (share, 2 - share), len(tower.catalog)) for one in orders), asked)
        figure = float(reciprocal_rank(Ragged(ranks, asked.targets.offsets), len(tower.catalog)).mean())
        best, chosen = (figure, share) if figure > best + 1e-9 else (best, chosen)
    return {TOWER: round(chosen, 6), WORDS: round(2 - chosen, 6)}


def _models(tower: QueryTower, asked: Asked) -> dict[str, Iterator[FloatArray]]:
    """Return the scores of each query in turn by each model's name."""
    words, encoded = WordScores(tower.catalog.texts), tower.encoded(asked.queries)
    lexical = partial(_lexical, tower, asked, words)
    plain, trained = partial(_plain, tower, encoded.numpy()), partial(_dense, tower, tower.adapted(encoded))
    found: dict[str, Iterator[FloatArray]] = {"bm25": lexical(), "encoder": plain(), MAIN: trained()}
    found |= {"bm25 + encoder": _joined(plain(), lexical(), tower), "bm25 + tower": _joined(trained(), lexical(), tower)}
    if weights := tower.about.get(UNTRAINED_WEIGHTS):
        found[LEARNED_UNTRAINED] = _joined(plain(), lexical(), tower, weights)
    return found | ({LEARNED: _joined(trained(), lexical(), tower, tower.weights)} if tower.weights else {})


def _joined(
    dense: Iterator[FloatArray], lexical: Iterator[FloatArray], tower: QueryTower, weights: Mapping[str, float] | None = None
) -> Iterator[FloatArray]:
    shares = [(weights or {}).get(name, 1.0) for name in (TOWER, WORDS)]
    for lists in zip(dense, lexical, strict=True):
        yield joined_scores(_orders(lists), shares, len(tower.catalog))


def _orders(lists: tuple[FloatArray, FloatArray]) -> list[IntArray]:
    return [best_of(values, DEPTH) for values in lists]


def _dense(tower: QueryTower, vectors: FloatArray) -> Iterator[FloatArray]:
    for row in range(len(vectors)):
        yield tower.scores(vectors[row : row + 1])[0]


def _plain(tower: QueryTower, encoded: FloatArray) -> Iterator[FloatArray]:
    """Yield the cosines of the encoder as it is."""
    texts = tower.text_vectors.numpy()
    for row in encoded:
        yield np.where(tower.told & bool(np.any(row)), texts @ row, -np.inf).astype(np.float32)


def _lexical(tower: QueryTower, asked: Asked, words: WordScores) -> Iterator[FloatArray]:
    for query in asked.queries:
        yield np.where(tower.catalog.listed, words.of(query), np.float32(-np.inf))


def _chance(tower: QueryTower, asked: Asked, protocol: Protocol, info: Mapping[str, Any]) -> Report:
    """Return what a random order of the items reaches in expectation."""
    total, targets = len(tower.catalog) - asked.elsewhere.lengths, asked.targets.lengths
    values = {f"Recall@{k}": random_expectation("Recall", k, total, targets) for k in KS}
    values["MRR"] = random_expectation("MRR", len(tower.catalog), total, targets)
    return _report(tower, asked, values, protocol, info, 0.0)


def _report(
    tower: QueryTower, asked: Asked, values: dict[str, Float64Array], protocol: Protocol, info: Mapping[str, Any], seconds: float
) -> Report:
    rows = np.arange(len(asked))
    described = manifest(protocol, users=len(asked), items=len(tower.catalog))
    for name in ("mask_seen", "seen_targets", "candidates", "users"):
        described.pop(name)
    described |= {"queries": len(asked), "interval": "percentile bootstrap over queries", **info}
    figures = summarise(values, resamples=protocol.bootstrap, seed=protocol.seed)
    whole = SliceResult(rows, figures, values, len(tower.catalog) - asked.elsewhere.lengths, asked.targets.lengths)
    return Report(described, {"all": whole}, seconds, asked.queries)
