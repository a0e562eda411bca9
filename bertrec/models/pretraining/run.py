"""Pre-train a model over several data sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError
from bertrec.data.load import Dataset
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.protocol import Protocol
from bertrec.models.names import MODELS
from bertrec.models.pretraining.config import SOURCES, PretrainingConfig
from bertrec.models.pretraining.domains import Domains
from bertrec.models.pretraining.judge import METRIC, Judge
from bertrec.models.pretraining.module import Pretraining, examine
from bertrec.models.pretraining.sequences import MixedSequences
from bertrec.models.sequential.network import Network
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.trained_on import TrainedOn
from bertrec.training.log import TrainLog

if TYPE_CHECKING:
    from transformers import TrainerCallback

Say = Callable[[str], None]


def pretrain(
    data: Domains | Sequence[Dataset | Split],
    config: PretrainingConfig | None = None,
    *,
    run_dir: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    callbacks: Sequence[TrainerCallback] = (),
) -> NeuralRecommender:
    """Pre-train a model over the items of several data sets, none merged, on their training parts alone.

    Validation users of each data set choose the epoch, by the mean of NDCG@10 within their own catalogues; test users are not looked at.

    Args:
        data: data sets or splits.
        config: the settings; None takes the defaults.
        run_dir: where checkpoints go; needed to resume.
        resume: continue from the newest complete checkpoint.
        progress: show progress bars.
        callbacks: called by the Hugging Face Trainer at its events, see `bertrec.training.fit.fit_module`.

    Returns:
        The model over the joined catalogue, whose ids are ``NAME:ID``: what `fit` takes as ``init``, and what `with_catalog` moves to
        the items of other data as it is.

    Raises:
        ConfigError: a setting that does not fit.
        DataError: a data set is given twice, has no text, no sequence of two items, or nothing for a task.
    """
    expect(config, PretrainingConfig, "pretrain: config", optional=True, error=ConfigError)
    settings = config or PretrainingConfig()
    domains = data if isinstance(data, Domains) else Domains.of(data)
    examine(settings, domains)
    kind = SOURCES.find(settings.pretrain.items)
    retriever = MODELS.find(kind.model_name)
    model: NeuralRecommender = retriever(settings.of_model(retriever.config_class))
    users = domains.validation(settings.pretrain.validation_users, settings.train.seed)
    how = {"run_dir": run_dir, "resume": resume, "progress": progress, "callbacks": callbacks}

    def work(network: Network) -> TrainLog:
        source = kind(model, settings)
        module = Pretraining(source, domains, settings)
        if module.alters:
            source.prepare(model, progress=progress)
        return _trained(module, model, domains, users, settings, **how)

    model.fit_by(domains.train, work, progress=progress)
    model.trained_on = TrainedOn.of(domains.train, None)
    judges = domains.joined(users)
    if len(judges) and settings.match.text:
        model.make_match(domains.train, judges, Protocol(ks=(10,), bootstrap=0), progress=progress)
    return model


def _trained(
    module: Pretraining,
    model: NeuralRecommender,
    domains: Domains,
    users: list[EvaluationSet],
    config: PretrainingConfig,
    **how: Any,
) -> TrainLog:
    from bertrec.training.fit import fit_module  # and with it the Trainer, which no trained model needs

    loop = config.train.updated({"batch_size": config.pretrain.targets, "metric": METRIC})
    dataset = MixedSequences(domains.train.sequences, config.head.max_history)
    judge = Judge(model, domains, users) if any(map(len, users)) else None
    return fit_module(module, dataset, dataset.collate, loop, evaluate=judge, **how)
