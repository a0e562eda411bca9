"""P5 (Geng et al., RecSys 2022) in discriminative form: several tasks asked of one masked language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError, unknown_name
from bertrec.core.files import sha256_text
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.models.folder import SavedParts, hash_tensors
from bertrec.rankers.base import Ranker, checkpoints, reporting
from bertrec.rankers.context import Context, Known
from bertrec.rankers.p5.config import P5Config
from bertrec.rankers.p5.figures import task_figures
from bertrec.rankers.p5.fill import Filler
from bertrec.rankers.p5.mixed import Mixed, tokens_of
from bertrec.rankers.p5.network import P5Network
from bertrec.rankers.p5.questions import Asked, Float64Array, Questions
from bertrec.rankers.p5.task import OF_PAIRS, Task, load_tasks
from bertrec.rankers.profiles import profiles_of
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness


class P5(Ranker):
    """Rates, orders, classes reviews and chooses texts by one encoder that is asked in words; tasks have tokens of their own.

    Args:
        config: the settings.
        tasks: the tasks themselves, in place of those that ``config.tasks`` names.
    """

    name: ClassVar[str] = "p5"
    config_class: ClassVar[type[Config]] = P5Config
    config: P5Config

    def __init__(self, config: P5Config | None = None, *, tasks: Sequence[Task] | None = None) -> None:
        super().__init__(config)
        self.tasks = {task.name: task for task in (load_tasks(self.config.tasks) if tasks is None else tasks)}
        if self.config.task not in self.tasks:
            raise ConfigError(f"task={self.config.task} orders candidates and is none of tasks {', '.join(self.tasks)}")
        if (asks := self.tasks[self.config.task].asks) not in OF_PAIRS:
            raise ConfigError(f"task={self.config.task}: {asks} is asked of texts and orders no candidates: take {', '.join(OF_PAIRS)}")
        weights = self.config.weights
        if weights and (len(weights) != len(self.tasks) or min(weights) < 0 or not sum(weights)):
            raise ConfigError(f"weights: {len(self.tasks)} numbers are needed, one for each task, 0 or more and not all 0")
        if self.config.task in self._weightless:
            raise ConfigError(f"task={self.config.task} orders candidates and has a weight of 0: name another, or give it a weight")
        self.network: P5Network | None = None
        self.learned: tuple[str, ...] = ()
        self._fillers: dict[str, Filler] = {}

    @property
    def reads_context(self) -> bool:
        """Profiles are read when scoring, ratings and reviews of the training pairs in a fit."""
        return True

    @property
    def learns_pairs(self) -> bool:
        """Always: a rated pair has its own question, and its rating is looked up at its own moment."""
        return True

    @property
    def predicts_ratings(self) -> bool:
        """Whether candidates are ordered by the expected rating."""
        return self.tasks[self.config.task].asks == "rating"

    @property
    def gives_probabilities(self) -> bool:
        """Whether candidates are ordered by the probability of yes."""
        return not self.predicts_ratings

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Learn all tasks that have a weight and for which there are examples; the others are left out, and named in ``notes``.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric`` of the task that orders candidates.
            **options: ``known`` has profiles, ratings and reviews; ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and
                ``callbacks``. Others have no use here.

        Raises:
            DataError: there is nothing to learn the task from that orders candidates.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        known = options.get("known") or Known()
        with self.fitting():
            self.reset()
            asked = self._asked(impressions, known)
            with preserved_randomness():
                torch.manual_seed(self.config.train.seed)
                network = self._build(impressions.catalog, MaskedEncoder.from_config(self.config.encoder))
            numbers = {name: number for number, name in enumerate(network.names)}
            fillers = {numbers[name]: self._fillers[name] for name in asked}
            data = {numbers[name]: questions for name, questions in asked.items()}
            dataset = Mixed(data, fillers, self._pad, impressions.content_hash)
            evaluate = None if validation is None else reporting(lambda: self.figures(validation, known=known), options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
            network.eval()
        return self

    def _asked(self, impressions: Impressions, known: Known) -> dict[str, Questions]:
        source = Asked(impressions, known, self.config.negatives, self.config.drawn, self.config.train.seed, fitting=True)
        found, notes = {}, [f"task '{name}' is left out: its weight is 0" for name in self._weightless]
        for name, task in self.tasks.items():
            if name in self._weightless:
                continue
            try:
                asked = source.questions(task)
                asked.check_answers(task)
                found[name] = asked
                notes += [f"task '{name}': {note}" for note in asked.notes]
            except DataError as error:
                if name == self.config.task:
                    raise DataError(f"task '{name}', which orders candidates, has nothing to learn from: {error}") from error
                notes.append(f"task '{name}' is left out: {error}")
        self.learned, self.notes = tuple(found), tuple(notes)
        return found

    def _build(self, catalog: ItemCatalog, encoder: MaskedEncoder) -> P5Network:
        self.network = P5Network(encoder, list(self.tasks.values()), self.config, learned=self.learned).to(encoder.device)
        self._over(catalog)
        return self.network

    def _over(self, catalog: ItemCatalog) -> None:
        catalog.require_text(self.name)
        network = self._fitted
        encoder = network.encoder
        how: dict[str, Any] = {"lead": network.lead, "max_length": encoder.config.max_length}
        self._fillers = {name: Filler(task, encoder.tokenizer, catalog.titles, **how) for name, task in self.tasks.items()}
        self.catalog = catalog

    @property
    def _fitted(self) -> P5Network:
        if self.network is None:
            raise ModelError(f"this P5 is not fitted: {self.ready_by} first")
        return self.network

    @property
    def _weightless(self) -> tuple[str, ...]:
        """The tasks that are not to be learned."""
        return tuple(name for name, weight in zip(self.tasks, self.config.weights, strict=False) if not weight)

    @property
    def _pad(self) -> int:
        return int(self._fitted.encoder.tokenizer.pad_token_id or 0)

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network, self.learned, self._fillers = None, (), {}

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items; what was learned stays."""
        if self.catalog.content_hash != catalog.content_hash:
            self._over(catalog)
        return self

    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> Float64Array:
        """Return the probability of yes, or the expected rating, by ``config.task``, ``[total candidates]``.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: have no use here.
            context: of the ``n`` rows, for profiles; None leaves them empty.
            progress: show a bar.

        Raises:
            ModelError: it was not fitted.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        self._fitted  # noqa: B018  # says that it is not fitted, where that is so
        self.check_pairs(histories, candidates)
        if context is not None and len(context) != len(histories):
            raise DataError(f"{len(histories)} histories and a context of {len(context)} rows")
        rows = candidates.rows
        profiles = [""] * len(histories) if context is None else profiles_of(context)
        texts = {"profile": [profiles[row] for row in rows]}
        questions = Questions(histories.take(rows), candidates.values, np.zeros(0), texts)
        return self.answers(self.config.task, questions, progress=progress)

    @torch.no_grad()
    def answers(self, name: str, questions: Questions, *, progress: bool = False) -> Float64Array:
        """Return the expected answers of a task's questions, ``[n]``.

        Raises:
            ModelError: it was not fitted, or had no examples of the task.
            ConfigError: there is no such task.
            NotFiniteError: the encoder gives a value that is no number.
        """
        network, was_training = self._fitted, self._fitted.training
        if name not in self.tasks:
            raise ConfigError(unknown_name("task", name, list(self.tasks)))
        if name not in self.learned:
            raise ModelError(f"task '{name}' was not learned: the training data had no examples of it")
        network.eval()
        found, step = np.zeros(len(questions)), max(1, network.encoder.batch_tokens // network.encoder.config.max_length)
        with progress_bar(progress, "ask", len(found), unit="question") as bar:
            for start in range(0, len(found), step):
                rows = np.arange(start, min(start + step, len(found)))
                batch = tokens_of(self._fillers[name], questions, rows, self._pad)
                here = {key: value.to(network.encoder.device) for key, value in batch.items()}
                found[rows] = network.expected(name, **here).cpu().numpy()
                bar.update(len(rows))
        network.train(was_training)
        if not np.isfinite(found).all():
            raise NotFiniteError("the encoder gives answers that are no numbers: set encoder.precision to fp32")
        return found

    def measure(
        self, impressions: Impressions, *, known: Known | None = None, drawn: int = 99, seed: int = 0
    ) -> dict[str, dict[str, float]]:
        """Return the figures of each task that was learned and of which the impressions have questions.

        Args:
            impressions: with labels.
            known: profiles, ratings and reviews.
            drawn: how many wrong ones stand beside each right one where one is chosen; fewer where there are fewer.
            seed: of that draw.
        """
        source = Asked(impressions, known or Known(), 0, drawn, seed)
        found = {}
        for name in self.learned:
            try:
                questions = source.questions(self.tasks[name])
            except DataError:
                continue
            found[name] = task_figures(self.tasks[name], questions, self.answers(name, questions))
        return found

    @property
    def costs(self) -> dict[str, Any]:
        """What the training took: parameters in all, trained and of each task's own, peak memory in MiB and seconds."""
        network = self._fitted
        own, whole = network.own_parameters(), sum(one.numel() for one in network.encoder.parameters())
        shared = sum(one.numel() for one in network.encoder_parameters())
        log = {} if self.train_log is None else {"peak_mib": self.train_log.peak_mib, "seconds": self.train_log.seconds}
        tuning = "option" if network.option else self.config.encoder.tune
        return {"tuning": tuning, "encoder": whole, "trained": shared + sum(own.values()), "of_each_task": own, **log}

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of it: its tasks and what their training took."""
        head = None if self.network is None else self.network.encoder.head_note
        costs = {} if self.network is None else {"costs": self.costs}
        return {"ranker": self.name, "task": self.config.task, "learned": list(self.learned), "head": head, **costs}

    @property
    def head_note(self) -> str | None:
        """What must be said of a masked-language-model head that bertrec trained."""
        return None if self.network is None else self.network.encoder.head_note

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        settings = {name: value for name, value in self.config.to_flat().items() if not name.startswith("train.")}
        tasks = str([task.to_dict() for task in self.tasks.values()])
        state = hash_tensors(self.state_dict())
        return sha256_text(self.catalog.content_hash, self._fitted.encoder.fingerprint, str(settings), tasks, state)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what tasks have of their own."""
        return {name: value for name, value in self._fitted.state_dict().items() if not name.startswith("encoder.")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave; the encoder is in place already."""
        network = self._fitted
        encoder = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
        network.load_state_dict({**encoder, **state})
        network.eval()

    def saved_values(self) -> dict[str, Any]:
        """Return the tasks as they were asked, and which were learned."""
        tasks = [task.to_dict() for task in self.tasks.values()]
        return {**super().saved_values(), "tasks": tasks, "learned": list(self.learned)}

    def save_folders(self, folder: Path) -> None:
        """Write the encoder."""
        self._fitted.encoder.save(folder / "encoder")

    @classmethod
    def from_parts(cls, parts: SavedParts) -> Self:
        """Rebuild from what was saved; files of tasks are not looked for."""
        ranker = cls(P5Config.from_dict(parts.about["config"]), tasks=[Task.from_dict(one) for one in parts.about["tasks"]])
        ranker.restore(parts)
        return ranker

    def restore(self, parts: SavedParts) -> None:
        """Take the encoder, then all else."""
        self.learned = tuple(parts.about["learned"])
        self._build(parts.catalog, MaskedEncoder.load(parts.folder / "encoder"))
        super().restore(parts)
