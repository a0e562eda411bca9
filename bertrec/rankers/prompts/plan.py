"""What a run of cloze prompts trains: one ranker per template."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bertrec.core.errors import ConfigError, DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.load import Dataset
from bertrec.data.splits import time_split
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.models.base import Recommender
from bertrec.models.fitted import seeded
from bertrec.models.registry import create
from bertrec.models.untrained import UNTRAINED
from bertrec.rankers.base import Ranker
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import load_prompts
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.rankers.prompts.verbalizer import Verbalizer
from bertrec.rankers.runs import RATINGS, RankerPlan
from bertrec.runs.folder import Run

FEW = {"train.epochs": 20, "train.batch_size": 8}
"""What replaces the defaults where a few pairs are all there is to learn from."""


@dataclass(frozen=True)
class PromptPlan(RankerPlan):
    """What is trained.

    Attributes:
        templates: names or YAML files of prompts.
        zero_shot: train nothing.
        id_model: folder of a trained model whose vectors fill the slots ``{user}`` and ``{item}``.
        prior: folder of a trained model from whose scores the training of each prompt starts.
        teacher: folder of a trained model whose order the training also learns, or the name of one that trains nothing
            (`bertrec.models.untrained.UNTRAINED`).
    """

    ranker: str = "prompt4nr"
    templates: tuple[str, ...] = ("action-hybrid",)
    zero_shot: bool = False
    id_model: Path | None = None
    prior: Path | None = None
    teacher: Path | None = None

    @property
    def _taken(self) -> Mapping[str, Any]:
        """The settings; of few shots there are smaller batches and more epochs, unless these are said."""
        return {**({} if self.shots is None else FEW), **super()._taken}

    @property
    def trains(self) -> bool:  # type: ignore[override]  # decided by an option here
        """Whether anything is trained."""
        return not self.zero_shot

    def configs(self) -> list[PromptConfig]:
        """Return the settings of each ranker.

        Raises:
            ConfigError: a template or setting that does not exist, or one outside its range.
        """
        for name in self.settings:
            if name == "prompt" or name.startswith("prompt."):
                raise ConfigError(f"--set {name}: a prompt is chosen with --template; write one of your own as a YAML file")
        if self.prior is not None and self.zero_shot:
            raise ConfigError("--prior: how the scores of another model join is learned: leave out --zero-shot")
        if self.shots is not None and self.zero_shot:
            raise ConfigError("--shots are trained on: leave out --zero-shot")
        for name, run in self._runs.items():
            if run is not None and not run.exists():
                raise ConfigError(f"--{name.replace('_', '-')} {run}: no such run; make one with  bertrec train DATA --out {run}")
        self._check_teacher()
        prompts = load_prompts(self.templates)
        for prompt in prompts:
            if prompt.slots & {"user", "item"} and self.id_model is None:
                raise ConfigError(f"prompt '{prompt.name}' has vectors of users and items in it: name their model with --id-model RUN")
        if self.id_model is not None and not any(prompt.slots & {"user", "item"} for prompt in prompts):
            raise ConfigError("--id-model: no template has {user} or {item} in it: take collaborative, or leave the option out")
        plain = [PromptConfig(prompt=prompt) for prompt in prompts]
        made = [config.updated(seeded(config, self._taken, self.seed)) for config in plain]
        if self.teacher is not None and not made[0].distill:
            raise ConfigError("--teacher: distill 0 learns nothing of a teacher: set it above, or leave the option out")
        return made

    def _check_teacher(self) -> None:
        """See that a teacher is one, and has something to teach.

        Raises:
            ConfigError: it is not, or has not.
        """
        if self.teacher is None:
            return
        if self.zero_shot:
            raise ConfigError("--teacher is there in training alone: leave out --zero-shot")
        if not self.teacher.exists() and self._made_teacher is None:
            raise ConfigError(f"--teacher {self.teacher}: no such run; name one, or {' or '.join(UNTRAINED)}, which need no training")

    @property
    def _made_teacher(self) -> str | None:
        """The name of a teacher that is made on the spot; a run in a folder of that name is taken first."""
        known = self.teacher is not None and not self.teacher.exists() and str(self.teacher) in UNTRAINED
        return str(self.teacher) if known else None

    @property
    def _config(self) -> PromptConfig:
        return self.configs()[0]

    def started(self) -> dict[str, Any]:
        """Return what must be the same when the training goes on, JSON values."""
        hashes = {name: None if run is None else self._model(run).model_hash for name, run in self._runs.items()}
        taught = None if self.teacher is None else self._made_teacher or self._model(self.teacher).model_hash
        return {"prompts": [config.to_dict() for config in self.configs()], "zero_shot": self.zero_shot, **hashes, "teacher": taught}

    @property
    def _runs(self) -> dict[str, Path | None]:
        return {"id_model": self.id_model, "prior": self.prior}

    def makers(self, dataset: Dataset) -> Sequence[Callable[[], Ranker]]:
        """Return what makes the ranker of each template.

        Raises:
            ConfigError: a prompt does not fit the encoder.
            DataError: the ID model, the prior or the teacher is of other items, or may have learned rated pairs that are measured.
        """
        vectors, prior = (None if run is None else self._vectors(run, dataset, name) for name, run in self._runs.items())
        configs = self.configs()
        _check_prompts(configs, vectors)
        shared: dict[str, Any] = {"prior": prior, "teacher": self._teacher(dataset)}
        return [
            partial(PromptRanker, config, vectors=vectors if config.prompt.slots & {"user", "item"} else None, **shared)
            for config in configs
        ]

    def _teacher(self, dataset: Dataset) -> UserVectors | None:
        if self.teacher is None:
            return None
        if (name := self._made_teacher) is None:
            return self._vectors(self.teacher, dataset, "teacher")
        return untrained_teacher(name, dataset.catalog)

    def _model(self, run: Path) -> Recommender:
        return Run(run).load_model() if Run(run).finished else Recommender.from_pretrained(run)

    def _vectors(self, run: Path, dataset: Dataset, option: str) -> UserVectors:
        model = self._model(run)
        if model.catalog.content_hash != dataset.catalog.content_hash:
            raise DataError(f"{run} was trained on other items than those of {dataset.name}: train it on the same data")
        if self.pairs == RATINGS:
            _check_past(model, dataset, f"--{option.replace('_', '-')} {run}")
        return UserVectors.from_model(model)


def _check_past(model: Recommender, dataset: Dataset, called: str) -> None:
    """See that a model was trained on the interactions that rated pairs are learned from, if on any.

    Raises:
        DataError: it was not, or nobody knows.
    """
    seen = None if model.trained_on is None else model.trained_on.train
    if not model.trains_nothing and seen != time_split(dataset.interactions).train.content_hash:
        mend = "train it on these data with --split time, or take one that trains nothing, such as text-similarity"
        raise DataError(f"{called} may have learned the rated pairs that are measured: {mend}")


def untrained_teacher(name: str, catalog: ItemCatalog) -> UserVectors:
    """Return a model of `bertrec.models.untrained.UNTRAINED` over a catalogue, with its default encoder."""
    model: Any = create(name)  # of a kind that needs the items alone
    return UserVectors.from_model(model.over(catalog))


def _check_prompts(configs: Sequence[PromptConfig], vectors: UserVectors | None) -> None:
    """See that the encoder can be asked all of the prompts, before the first of several is trained.

    Raises:
        ConfigError: a prompt does not fit the encoder.
    """
    if len(configs) > 1:
        encoder = MaskedEncoder.from_config(configs[0].encoder)
        for config in configs:
            PromptRanker(config, encoder=encoder, vectors=vectors if config.prompt.slots & {"user", "item"} else None)
            Verbalizer.of(config.prompt, encoder.tokenizer)
