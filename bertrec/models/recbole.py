"""RecBole's sequential models as retrievers: trained in RecBole's own process, asked there too, ranked, indexed and reranked like ours."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pydantic
import torch

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, ModelError, unknown_name
from bertrec.core.files import sha256_text
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet, Split
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.folder import hash_tensors
from bertrec.models.trained_on import Training
from bertrec.recbole import catalogue
from bertrec.recbole.asking import AnsweringProcess
from bertrec.recbole.exchange import Job, Outcome, Point, save_split
from bertrec.recbole.process import run_fit
from bertrec.recbole.trained import Trained

logger = logging.getLogger(__name__)
_MADE_ONCE = threading.Lock()


class RecBoleTraining(Config):
    """How a RecBole model is trained, beyond its own settings."""

    seed: int = pydantic.Field(0, ge=0, lt=2**32, description="Seed of everything that RecBole draws.")
    epochs: pydantic.PositiveInt | None = pydantic.Field(
        None,
        description="Passes over the data, at most; null is RecBole's own number (300), with its own patience (10).",
    )
    max_minutes: pydantic.NonNegativeFloat = pydantic.Field(
        0.0, description="Training ends after so many minutes with its best epoch; 0 sets no limit."
    )
    metric: str = pydantic.Field(
        "NDCG@10",
        description="The validation figure that chooses the epoch; higher is better.",
    )


class RecBoleConfig(Config):
    """A RecBole model."""

    architecture: str = pydantic.Field("SASRec", description="RecBole's name of the model.")
    settings: dict[str, Any] = pydantic.Field(
        default_factory=dict,
        description="RecBole's own names and values, in place of the documented starting point of the model.",
    )
    train: RecBoleTraining = pydantic.Field(
        RecBoleTraining(),
        description="The training, beyond RecBole's own settings.",
    )

    def check(self) -> None:
        """See that RecBole has such a model, that it reads histories, and that it knows the settings.

        Raises:
            ConfigError: it has not; the text names the nearest right name, or the reason.
            MissingExtraError: RecBole is not installed.
        """
        catalogue.check_names([self.architecture])
        catalogue.check_settings(self.architecture, self.settings)
        if self.train.metric not in (known := rank_metrics(Ragged.from_rows([[1]]), Protocol().ks)):
            raise ConfigError(unknown_name("metric", self.train.metric, known))
        if catalogue.knows_users_by_id(self.architecture):
            raise ConfigError(
                f"RecBole's {self.architecture} knows users by id, and a retriever is asked about any history: take one that reads "
                "histories, such as SASRec, GRU4Rec or BERT4Rec; bertrec compare measures the others"
            )
        if self.architecture in catalogue.READS_ITEM_TEXT:
            raise ConfigError(f"RecBole's {self.architecture} reads item features, which no saved model of it can bring back: take SASRec")

    @property
    def chosen(self) -> dict[str, Any]:
        """RecBole's own settings, as far as they are not left at its defaults."""
        return {**catalogue.candidates(self.architecture)[0], **self.settings}

    def job(self) -> Job:
        """Return what RecBole's process is told to fit."""
        return Job(
            model=self.architecture,
            settings=self.chosen | ({"epochs": self.train.epochs} if self.train.epochs else {}),
            seed=self.train.seed,
            limit_seconds=60.0 * self.train.max_minutes,
            metric=self.train.metric,
            on="validation",
            list_length=1,
            keep=True,
        )


class RecBole(Recommender):
    """A sequential RecBole model whose scores are inner products (SASRec, GRU4Rec, BERT4Rec, NARM, CORE and more).

    A user vector is the model's own output for the history, an item vector its row of the product behind RecBole's full ranking, both with
    one more column for what the model adds to an item whoever asks. An item without a training interaction is unknown; an empty history
    is a vector of zeros.

    Args:
        config: which model; None takes SASRec.

    Attributes:
        config: the settings.
        outcome: how the last fit went; None for a model that was loaded.
    """

    name: ClassVar[str] = "recbole"
    config_class: ClassVar[type[Config]] = RecBoleConfig
    item_inputs: ClassVar[tuple[str, ...]] = ("id",)
    config: RecBoleConfig
    outcome: Outcome | None = None
    _trained: Trained | None = None
    _process: AnsweringProcess | None = None

    @classmethod
    def default_config(cls, *, item_input: Any = None, tune: str = "frozen") -> RecBoleConfig:
        """Return the settings of SASRec.

        Raises:
            ConfigError: an item input or a depth that these models do not have.
        """
        if item_input not in (None, *cls.item_inputs) or tune != "frozen":
            raise ConfigError("RecBole's models know items by id alone: leave out --item-input and --tune")
        return RecBoleConfig()

    @classmethod
    def variant_of(cls, config: Config, variant: str) -> Config:
        """Return the settings of the model that RecBole calls ``variant``; `with_settings` checks the name."""
        return config.updated({"architecture": variant})

    @classmethod
    def with_settings(cls, config: Config, given: Mapping[str, Any]) -> RecBoleConfig:
        """Replace settings: names that begin with ``train.`` are ours, all others RecBole's own.

        Raises:
            ConfigError: as `RecBoleConfig.check`.
            MissingExtraError: RecBole is not installed.
        """
        theirs = {name: value for name, value in given.items() if not name.startswith("train.")}
        ours = {name: given[name] for name in given.keys() - theirs.keys()}
        chosen = RecBoleConfig.model_validate(config.updated(ours).model_copy(update={"settings": theirs}))
        chosen.check()
        return chosen

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, **options: Any) -> Self:
        """Train in RecBole's own process, where the validation users choose the epoch.

        Args:
            train: sequences over one catalogue.
            validation: the users who choose the epoch; RecBole cannot do without.
            **options: ``progress`` shows a progress line; ``mask_seen=False`` leaves seen items in; ``resume`` and ``init`` are refused,
                for RecBole's training leaves nothing to go on from; others have no use here.

        Raises:
            ConfigError: an unknown model or setting, or one that cannot retrieve.
            DataError: there are no validation users.
            MissingExtraError: RecBole is not installed.
            ModelError: the fit failed; the text says why.
        """
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        from bertrec.training.progress import shows_progress  # with the libraries of an encoder, which a saved model does without

        self.check_start(resume=bool(options.get("resume")), init=options.get("init") is not None)
        self.config.check()
        if validation is None or not len(validation):
            raise DataError("RecBole's models choose their epoch on validation users, and this split has none")
        self._trained = self._process = self._catalog = None
        shown = shows_progress(options.get("progress", True))
        with tempfile.TemporaryDirectory(prefix="bertrec-") as temporary, _Line(self.config, shown) as line:
            folder = Path(temporary)
            save_split(Split(train.catalog, train, validation, validation), folder / "split")
            job = self.config.job().updated({"mask_seen": options.get("mask_seen", True)})
            outcome = run_fit(job, folder / "fit", folder / "split", watch=line)
            if outcome.status != "ok":
                raise ModelError(f"RecBole's {self.config.architecture}: {outcome.status}: {outcome.reason}")
            if outcome.ended_by in ("budget", "killed"):
                if not outcome.best_epoch:
                    raise ModelError(f"RecBole's {self.config.architecture} ended no epoch within train.max_minutes: give it more")
                logger.warning("RecBole's %s ran out of its minutes: its best epoch is %d", self.config.architecture, outcome.best_epoch)
            self._trained = Trained.load(folder / "fit")
        self.catalog, self.outcome = train.catalog, outcome
        self.keep_popularity(train)
        return self

    def check_start(self, *, resume: bool, init: bool) -> None:
        """See that training is to start from nothing.

        Raises:
            ConfigError: it is to go on, or to begin with another model's weights.
        """
        if resume or init:
            hint = "start anew with --overwrite" if resume else "leave out --init"
            raise ConfigError(f"RecBole's models train from nothing in one go: {hint}")

    @property
    def trained(self) -> Trained:
        """Weights and vectors.

        Raises:
            ModelError: the model was not fitted.
        """
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._trained is not None
        return self._trained

    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, d + 1]``; NaN for items that training never saw."""
        vectors: FloatArray = self.trained.vectors.numpy().copy()
        return vectors

    @property
    def behaviour_vectors(self) -> FloatArray:
        """The vectors without the column of what the model adds whoever asks, ``[n_items + 1, d]``."""
        return self.item_embeddings()[:, :-1]

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return what the model gives for each history, ``[n, d + 1]``; zeros for an empty one."""
        known = self.read_histories(histories)
        filled = np.flatnonzero(known.lengths > 0)
        vectors = np.zeros((len(known), self.trained.vectors.shape[1]), np.float32)
        if len(filled):
            vectors[filled] = self._answering().user_vectors(known.take(filled))
        return vectors

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return histories without items that training never saw."""
        return histories.where(self.trained.known[histories.values])

    def _answering(self) -> AnsweringProcess:
        with _MADE_ONCE:
            if self._process is None:
                self.config.check()
                self._process = AnsweringProcess(self.config.job(), self.catalog, self.trained)
            return self._process

    def __getstate__(self) -> dict[str, Any]:
        """Leave the process out of copies: each starts its own."""
        return {**self.__dict__, "_process": None}

    @property
    def model_hash(self) -> str:
        """SHA-256 over weights, vectors and settings."""
        return sha256_text(hash_tensors(self.trained.tensors()), self.config.model_dump_json(), self.catalog.content_hash)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return RecBole's weights, its numbers of our items, and the vectors."""
        return self.trained.tensors()

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state_dict` gave.

        Raises:
            ValueError: they are of another catalogue.
        """
        self._trained = Trained.from_tensors(state)
        if len(self._trained.vectors) != len(self.catalog) + 1 or len(self._trained.vocabulary) != len(self.catalog) + 1:
            raise ValueError(f"vectors of {len(self._trained.vectors) - 1} items, but {len(self.catalog)} in the catalogue")

    def saved_values(self) -> dict[str, Any]:
        """Return how the last fit went."""
        return {"recbole": None if self.outcome is None else asdict(self.outcome)}


class _Line:
    """A progress line that counts epochs."""

    def __init__(self, config: RecBoleConfig, shown: bool) -> None:
        self.config, self.shown = config, shown
        self.bar: Any = None

    def __enter__(self) -> Self:
        if self.shown:
            from tqdm.auto import tqdm

            self.bar = tqdm(desc=f"RecBole's {self.config.architecture}", unit="epoch", dynamic_ncols=True)
        return self

    def __call__(self, points: Sequence[Point]) -> None:
        if self.bar is not None and len(points) > self.bar.n:
            found = [point.metric for point in points if point.metric is not None]
            self.bar.set_postfix_str(f"{self.config.train.metric} {found[-1]:.4f}, best {max(found):.4f}" if found else "", refresh=False)
            self.bar.update(len(points) - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
