"""Bring an encoder closer to what users take together, before any recommender is trained on it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from bertrec.core.checks import expect
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError, NotFiniteError
from bertrec.core.ragged import IntArray
from bertrec.data.splits import Split
from bertrec.encoders.adaptation import Adaptation
from bertrec.encoders.registry import make_text_encoder
from bertrec.encoders.text import TextEncoder
from bertrec.training.adapt_config import AdaptConfig
from bertrec.training.contrastive import ContrastiveEncoder, partner_figures, with_head
from bertrec.training.fit import fit_module
from bertrec.training.log import TrainLog
from bertrec.training.masked_lm import TokenMasking
from bertrec.training.pairs import HiddenWords, PairDataset, held_out_pairs
from bertrec.training.randomness import preserved_randomness

Say = Callable[[str], None]


def adapt_encoder(
    split: Split,
    config: AdaptConfig | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    say: Say = lambda _: None,
    progress: bool = True,
) -> TextEncoder:
    """Train an encoder to tell which texts belong together, on the training part of a split alone.

    The validation users choose the epoch: the next item's text is ranked by the cosine to that of the item before. Nothing is learned from
    what they took next, and test users are not looked at.

    Args:
        split: whose training part is read, with its reviews where it has any.
        config: the settings; None takes the defaults.
        run_dir: where checkpoints go; needed to resume.
        resume: continue from the newest complete checkpoint.
        say: told what is found, line by line.
        progress: show a progress line, where standard error is a terminal.

    Returns:
        The encoder, frozen: as it was in its best epoch, with a record of what it was adapted on. LoRA matrices are part of its weights.

    Raises:
        ConfigError: ``tune`` is frozen, or a setting does not fit the encoder.
        DataError: no item has a text, or there are too few pairs.
        NotFiniteError: the loss or a figure is no number.
    """
    expect(split, Split, "adapt_encoder: split")
    expect(config, AdaptConfig, "adapt_encoder: config", optional=True, error=ConfigError)
    config = _checked(config or AdaptConfig())
    split.catalog.require_text("encoder adapt")
    dataset = PairDataset.of(split.train, kind=config.pairs, window=config.window, an_epoch=config.pairs_an_epoch)
    pairs = None if split.validation is None else held_out_pairs(split.validation, dataset.texts)
    say(_found(dataset, pairs))
    with preserved_randomness():
        torch.manual_seed(config.train.seed)  # of the first LoRA matrices
        encoder = make_text_encoder(config.encoder, what="encoder adapt", device=chosen_device(config.train.device))
        module = _module(encoder, dataset, config)
    before, log = _trained(module, dataset, pairs, config, say, run_dir=run_dir, resume=resume, progress=progress)
    after = log.epochs[log.best_epoch - 1].metrics if log.best_epoch else {}
    say(_outcome(log, after))
    if after and after[config.train.metric] <= before[config.train.metric]:
        mend = "give it more time or more epochs, another train.encoder_learning_rate, or stay with the former"
        say(f"warning: no epoch is above the encoder as it was by {config.train.metric}: {mend}")
    encoder.to(chosen_device()).freeze()
    encoder.adaptation = _record(split, config, dataset, before, after, log)
    return encoder


def _checked(config: AdaptConfig) -> AdaptConfig:
    if config.encoder.tune == "frozen":
        raise ConfigError("encoder.tune frozen leaves nothing to adapt: set it to full, last:K or lora")
    return config if config.train.batch_size else config.updated({"train.batch_size": AdaptConfig().train.batch_size})


def _module(encoder: TextEncoder, dataset: PairDataset, config: AdaptConfig) -> ContrastiveEncoder:
    how: dict[str, Any] = {"temperature": config.temperature, "gradient_cache": config.train.gradient_cache}
    if config.masked_weight:
        masked = with_head(encoder)
        pad = masked.tokenizer.pad_token_id or 0
        dataset.hidden_words = HiddenWords(masked.tokenize(dataset.texts.texts), TokenMasking.of(masked), pad)
        how |= {"masked": masked, "masked_weight": config.masked_weight}
    return ContrastiveEncoder(encoder, dataset.texts.texts, **how)


def _found(dataset: PairDataset, pairs: IntArray | None) -> str:
    counts = " and ".join(f"{count} pairs of {kind}" for kind, count in dataset.counts.items())
    left_out = f" ({dataset.left_out} pairs without two different texts are left out)" if dataset.left_out else ""
    held = "no validation users: the last epoch is kept" if pairs is None or not len(pairs) else f"{len(pairs)} pairs of validation users"
    return f"training {counts}{left_out}, {len(dataset.positives)} of them different; {held}"


def _trained(
    module: ContrastiveEncoder, dataset: PairDataset, pairs: IntArray | None, config: AdaptConfig, say: Say, **options: Any
) -> tuple[dict[str, float], TrainLog]:
    """Train, and return the validation figures of before and the log."""

    def evaluate() -> dict[str, float]:
        assert pairs is not None
        return partner_figures(module, dataset, pairs, config.train.batch_size)

    judged = pairs is not None and len(pairs) > 0
    before = evaluate() if judged else {}
    if not all(map(math.isfinite, before.values())):
        raise NotFiniteError(f"validation figures of encoder {config.encoder.name} as it is are no numbers: set encoder.precision to fp32")
    if judged:
        say(f"before: {_figures(before)}")
    return before, fit_module(module, dataset, dataset.collate, config.train, evaluate=evaluate if judged else None, **options)


def _outcome(log: TrainLog, after: dict[str, float]) -> str:
    trained = f"after {len(log.epochs)} epochs ({log.seconds:.0f} s)"
    if not after:
        return f"{trained}: loss {log.epochs[-1].loss:.4g}"
    return f"{trained}, of which epoch {log.best_epoch} is kept: {_figures(after)}"


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def _record(
    split: Split, config: AdaptConfig, dataset: PairDataset, before: dict[str, float], after: dict[str, float], log: TrainLog
) -> Adaptation:
    manifest = split.manifest
    try:
        described = {name: manifest[name] for name in ("method", "options", "seed")}
        data_hash = manifest["data_hash"]
    except KeyError as error:
        raise ModelError(f"the split's manifest has no {error}: make it with bertrec.make_split") from error
    return Adaptation(
        encoder=config.encoder.name,
        data=manifest.get("data", ""),
        data_hash=data_hash,
        split=described,
        train_hash=split.train.content_hash,
        pairs=dataset.counts,
        before=before,
        after=dict(after),
        settings=config.to_flat() | {"epochs": len(log.epochs), "best_epoch": log.best_epoch, "seconds": round(log.seconds, 1)},
    )
