"""Train a query tower on pairs: everything is encoded once, then only the adapters learn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bertrec.core.checks import expect
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.evaluate import UNTRAINED_WEIGHTS, figures_of, learn_weights, ranks_of
from bertrec.models.queries.mining import PairBatches, mine
from bertrec.models.queries.network import TowerLoss
from bertrec.models.queries.pairs import Asked, QueryPairs
from bertrec.models.queries.tower import QueryTower
from bertrec.retrieval.word_scores import WordScores
from bertrec.training.fit import fit_module

Say = Callable[[str], None]


def train_tower(
    pairs: QueryPairs,
    config: QueryConfig | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    say: Say = lambda _: None,
    progress: bool = True,
) -> QueryTower:
    """Train a tower on the training part of pairs.

    The validation part chooses the epoch and the weights of lists; the test part is not read.

    Args:
        pairs: over a catalogue; phrases that queries took from it are out of what is indexed.
        config: the settings; None takes the defaults.
        run_dir: where checkpoints go; needed to resume.
        resume: continue from the newest complete checkpoint.
        say: told what is found, line by line.
        progress: show a progress line, where standard error is a terminal.

    Raises:
        DataError: no training pair, or all of one item; or no item has a text.
        ModelError: the encoder cannot be loaded, or the loss is no number.
    """
    expect(pairs, QueryPairs, "train_tower: pairs")
    expect(config, QueryConfig, "train_tower: config", optional=True, error=ConfigError)
    config = _batched(config or QueryConfig())
    asked, held = pairs.of("train"), pairs.of("valid") if pairs.counts["valid"] else None
    PairBatches(asked)  # says what is too little before anything is encoded
    tower = QueryTower.untrained(pairs.indexed, config, progress=progress)
    words = WordScores(tower.catalog.texts)
    encoded = tower.encoded(asked.queries)
    hard = mine(asked, encoded, tower, words, config.mined) if config.hard_negatives else None
    batches = PairBatches(asked, hard, config.hard_negatives)
    say(_found(pairs, hard))
    before, after = _fitted(tower, batches, encoded, held, say, run_dir=run_dir, resume=resume, progress=progress)
    tower.about = {"pairs": pairs.counts, "pairs_hash": pairs.content_hash, "dealt_by": pairs.dealt_by, "before": before, "after": after}
    if held is not None:
        tower.weights = learn_weights(tower, held, words)
        tower.about[UNTRAINED_WEIGHTS] = learn_weights(tower, held, words, untrained=True)
    return tower


def _batched(config: QueryConfig) -> QueryConfig:
    return config if config.train.batch_size else config.updated({"train.batch_size": QueryConfig().train.batch_size})


def _found(pairs: QueryPairs, hard: Ragged | None) -> str:
    taken = sum(bool(phrase) for phrase in pairs.phrases)
    parts = ", ".join(f"{count} {name}" for name, count in pairs.counts.items())
    mined = "" if hard is None else f"; {hard.lengths.mean():.0f} hard negatives a query to draw from"
    return f"pairs: {parts}{f'; {taken} phrases of queries are out of the indexed texts' if taken else ''}{mined}"


def _fitted(
    tower: QueryTower, batches: PairBatches, encoded: torch.Tensor, held: Asked | None, say: Say, **options: Any
) -> tuple[dict[str, float], dict[str, float]]:
    """Train the adapters in place; return the validation figures of before and after."""
    config, judge = tower.config, None if held is None else _judge(tower, held)
    identity = sha256_text(tower.encoder_fingerprint, tower.catalog.content_hash, str(config.temperature))
    loss = TowerLoss(tower.network, encoded, tower.text_vectors, temperature=config.temperature, identity=identity)
    before = judge() if judge is not None else {}
    if judge is not None:
        say(f"before: {_in_words(before)}")
    loss.to(chosen_device(config.train.device))
    tower.train_log = log = fit_module(loss, batches, batches.collate, config.train, evaluate=judge, **options)
    loss.to(chosen_device()).eval()
    tower.forget_vectors()
    after = dict(log.epochs[log.best_epoch - 1].metrics) if log.best_epoch else {}
    kept = f", of which epoch {log.best_epoch} is kept: {_in_words(after)}" if after else f": loss {log.epochs[-1].loss:.4g}"
    say(f"after {len(log.epochs)} epochs ({log.seconds:.0f} s){kept}")
    if after and after[config.train.metric] <= before[config.train.metric]:
        say(f"warning: no epoch is above the untrained encoder by {config.train.metric}: give it more pairs, or search without a tower")
    return before, after


def _judge(tower: QueryTower, held: Asked) -> Callable[[], dict[str, float]]:
    """Return what measures the tower, as it is, on validation queries."""
    encoded = tower.encoded(held.queries)

    def judge() -> dict[str, float]:
        tower.forget_vectors()
        queries = tower.adapted(encoded)
        ranks = ranks_of((tower.scores(queries[row : row + 1])[0] for row in range(len(queries))), held)
        figures = figures_of(Ragged(ranks, held.targets.offsets), len(tower.catalog))
        return {name: float(values.mean()) for name, values in figures.items()}

    return judge


def _in_words(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
