"""Multi-task ranking over text vectors: every step of a chain has a probability, and any of them can be the score.

The shape is that of multi-task product ranking with BERT (2202.05317): vectors of a domain-adapted encoder, a mixture
of experts with a gate for each task, and probabilities that are handed along the chain. It was built from the formulas;
the paper has no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, unknown_name
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.chain import STEPS, broken_notes, levels_from, rating_depths, unread_notes
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.labels import auc
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, labels_of
from bertrec.rankers.context import Context, Known
from bertrec.rankers.multitask.config import MultiTaskConfig
from bertrec.rankers.multitask.network import ChainNetwork, ChainTower, log_chain, step_shares
from bertrec.rankers.news.clicks import Lists
from bertrec.rankers.news.pair_ranker import FloatArray, PairRanker
from bertrec.rankers.news.texts import ItemTexts, TextVectors
from bertrec.rankers.news.towers import ItemTower, UserTower

Levels = npt.NDArray[np.int8]
Names = tuple[str, ...]
OF_RATINGS, OF_EVENTS = ("watched", "rated", "liked"), ("click", "cart", "purchase")
_TASKS, _SCORED, _LEARNED = "tasks", "scored", "learned"  # among the values of config.json


class MultiTask(PairRanker):
    """A mixture of experts over pairs of texts with a head for each step of a chain; the score is a step's probability.

    The chain is in the impressions (`Impressions.levels`), or it is made of the ratings or the labels of the
    interactions that they come from; where neither is known there is one step, the click.
    """

    name: ClassVar[str] = "multitask"
    config_class: ClassVar[type[Config]] = MultiTaskConfig
    config: MultiTaskConfig
    fit_options: ClassVar[frozenset[str]] = Ranker.fit_options | {"queries"}

    def __init__(self, config: MultiTaskConfig | None = None) -> None:
        super().__init__(config)
        self.tasks: tuple[str, ...] = ()
        self._learned: tuple[bool, ...] = ()
        self._scored = 0
        self._levels: Levels = np.zeros(0, np.int8)
        self._queries: dict[str, list[str]] = {}  # of each row, by the hash of the impressions

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed."""
        return {"negatives": negatives}

    @property
    def reads_context(self) -> bool:
        """Whether `fit` reads what is known: ratings and labels make the chain. `score` reads nothing of it."""
        return True

    @property
    def learns_pairs(self) -> bool:
        """Always: each pair has a loss of its own, and its rating is looked up at its own moment."""
        return True

    @property
    def scored(self) -> str:
        """The task whose probability is the score."""
        return self.tasks[self._scored]

    def learn_names(self, impressions: Impressions, options: Mapping[str, Any]) -> None:
        """Find the chain and its names.

        Raises:
            DataError: nothing was clicked, or the task that is to be the score has no positive.
            ConfigError: names, weights or queries that do not fit.
        """
        known, config = options.get("known"), self.config
        levels, names, notes = _chain_of(impressions, known, config)
        if names != OF_RATINGS and config.steps != STEPS:
            notes = (*notes, "steps are of a chain of ratings, and this one comes from clicks or labels: they are not read")
        self.tasks, self._levels = _named(names, int(levels.max(initial=0)), config), levels
        self._queries, unasked = _queries_of(options.get("queries"), impressions, options.get("validation"))
        self._learned = tuple(bool((levels >= depth).any()) for depth in range(1, len(self.tasks) + 1))
        if not any(self._learned):
            raise DataError(f"none of {len(levels)} candidates was clicked: there is nothing to learn from")
        self._scored = sum(self._learned) - 1 if not config.task else _place(config.task, self.tasks)
        if not self._learned[self._scored]:
            hint = "leave out the setting task, or name another"
            raise DataError(f"task '{self.scored}' has no positive to learn from: {hint}")
        if config.weights and not any(np.array(config.weights)[list(self._learned)]):
            raise DataError("every task that has a positive has a weight of 0: there is nothing to learn")
        missing = [task for task, learned in zip(self.tasks, self._learned, strict=True) if not learned]
        self.notes = (*notes, *unasked, *(f"task '{task}' has no positive in training: it is not learned" for task in missing))

    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the mixture of experts."""
        config = self.config
        return ChainTower(dim, len(self.tasks), experts=config.experts, hidden=config.hidden, dropout=config.dropout)

    def make_network(self, encoder: TextEncoder, items: ItemTower, users: UserTower) -> ChainNetwork:
        """Join the towers under the loss; a task without a positive has no part in it."""
        weights = self.config.weights or (1.0,) * len(self.tasks)
        own = [weight if learned else 0.0 for weight, learned in zip(weights, self._learned, strict=True)]
        return ChainNetwork(encoder, items, users, weights=own)

    def lists(self, impressions: Impressions, options: Mapping[str, Any]) -> Lists:
        """Return the impressions with their levels, after the biases took the shares of each step."""
        levels, self._levels = self._levels, np.zeros(0, np.int8)
        self.trained.users.begin(step_shares(levels, len(self.tasks)))
        return Lists(impressions, levels, self.config.max_history, queries=self._rows_of_queries(impressions))

    def _rows_of_queries(self, impressions: Impressions) -> IntArray:
        """Return the row of each impression's query among those that the network now holds, -1 for none."""
        network, texts = self.trained, self._queries.get(_hash_of(impressions), [])
        place = {text: row for row, text in enumerate(dict.fromkeys(filter(None, texts)))}
        encoder: TextEncoder = network.encoder
        network.queries = TextVectors(encoder, encoder.tokenize(list(place))) if place else None
        return np.array([place.get(text, -1) for text in texts or [""] * len(impressions)], np.int64)

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on all candidates of the impressions; ``validation`` chooses the best epoch.

        Args:
            impressions: with labels, and `levels` where the chain is known.
            validation: chooses the best epoch by ``train.metric``: see `figures`.
            **options: ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and ``callbacks``; ``known``, whose ratings
                or labels make the chain where the impressions have none; ``queries``, the text of what was asked for,
                by the id of the impression, validation included; of no other impressions, whose ids may be the same.
                An impression without a query is scored by its history.

        Raises:
            DataError: nothing to train on.
            ConfigError: names, weights or queries that do not fit.
        """
        return super().fit(impressions, validation=validation, **options)

    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
        queries: Sequence[str | None] | None = None,
    ) -> FloatArray:
        """Return the probability of the scored task, ``[total candidates]``, from 0 to 1.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: have no use here.
            context: has no use here.
            progress: has no use here.
            queries: ``[n]`` texts that were asked for; an empty one, or None, leaves the history to speak.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        return self.score_tasks(histories, candidates, queries=queries)[:, self._scored]

    def score_tasks(self, histories: Ragged, candidates: Ragged, *, queries: Sequence[str | None] | None = None) -> FloatArray:
        """Return the probability of each task, ``[total candidates, tasks]``, never rising; see `score`."""
        if queries is not None and len(queries) != len(histories):
            raise DataError(f"{len(histories)} histories and {len(queries)} queries")
        asked = None if queries is None else self._vectors_of([text or "" for text in queries])
        chances = log_chain(self.matched(histories, candidates, queries=asked)).exp()
        return np.asarray(chances.cpu().numpy(), np.float32)

    @torch.no_grad()
    def _vectors_of(self, queries: Sequence[str]) -> Tensor:
        encoder: TextEncoder = self.trained.encoder
        encoder.eval()
        held = torch.tensor([bool(text.strip()) for text in queries], device=encoder.device)
        return normalize(encoder.encode_tokens(encoder.tokenize(queries)), dim=1) * held[:, None]

    def figures(self, impressions: Impressions, *, known: Known | None = None) -> dict[str, float]:
        """Return AUC and logloss of the scored task over all pairs, and those of each task with its name behind them.

        A task whose labels are all alike has no AUC; where that is the scored one, ``AUC`` is that of the deepest task
        that has one.

        Raises:
            DataError: the labels are withheld, or no task has both labels.
        """
        labels_of(impressions)
        levels = _chain_of(impressions, None if known is None else known.measuring, self.config)[0]
        queries = self._queries.get(_hash_of(impressions)) if self._queries else None
        self._table = None  # the weights may have moved
        chances = self.score_tasks(impressions.histories, impressions.candidates, queries=queries).astype(np.float64)
        found = {task: _figures(chances[:, place], levels > place) for place, task in enumerate(self.tasks)}
        mixed = [task for task in self.tasks if "AUC" in found[task]]
        chosen = self.scored if self.scored in mixed or not mixed else mixed[-1]
        if not mixed:
            auc(chances[:, 0], levels >= 1)  # says what is missing
        each = {f"{name} {task}": value for task in self.tasks for name, value in found[task].items()}
        return {"AUC": found[chosen]["AUC"], "logloss": found[self.scored]["logloss"], **each}

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.tasks, self._learned, self._scored, self._queries = (), (), 0, {}

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of it."""
        return {**super().about(), "tasks": list(self.tasks), "scored": self.scored} if self.tasks else super().about()

    def saved_values(self) -> dict[str, Any]:
        """Return the chain beside all else."""
        chain = {_TASKS: list(self.tasks), _SCORED: self._scored, _LEARNED: list(self._learned)}
        return {**super().saved_values(), **chain}

    def take_names(self, parts: SavedParts) -> None:
        """Take the chain that was saved."""
        self.tasks = tuple(str(task) for task in parts.about[_TASKS])
        self._learned, self._scored = tuple(map(bool, parts.about[_LEARNED])), int(parts.about[_SCORED])


def _chain_of(impressions: Impressions, known: Known | None, config: MultiTaskConfig) -> tuple[Levels, Names, Names]:
    """Return how far each candidate went, ``[total candidates]``, the usual names of the steps, and notes."""
    if impressions.levels is not None:
        return impressions.levels, OF_EVENTS, ()
    past = None if known is None else known.past
    if past is not None and past.catalog.content_hash == impressions.catalog.content_hash:
        if past.rating is not None and np.isfinite(past.rating).any():
            levels = levels_from(impressions, past, rating_depths(past, config.steps))
            return levels, OF_RATINGS, (*_without_rating(levels), *unread_notes(impressions, past, levels))
        if past.label is not None and past.label.max(initial=0) > 1:
            depths = _whole(past)
            levels = levels_from(impressions, past, depths)
            return levels, OF_EVENTS, (*broken_notes(past, depths), *unread_notes(impressions, past, levels))
    return (labels_of(impressions) == 1).astype(np.int8), OF_EVENTS[:1], ()


def _without_rating(levels: Levels) -> Names:
    first, met = int((levels == 1).sum()), int((levels > 0).sum())
    return (f"{first} of {met} pairs that were met have no rating, or one below all steps (watched alone)",) if first else ()


def _whole(past: Interactions) -> IntArray:
    """Return the labels as numbers of steps.

    Raises:
        DataError: one is no small whole number.
    """
    labels = past.label
    if labels is None or not np.array_equal(labels, np.clip(np.round(labels), 1, 100)):
        steps = "1 for its first step, 2 for the next, up to 100"
        raise DataError(f"labels above 1 are steps of a chain and must be whole numbers: {steps}")
    return labels.astype(np.int64)


def _named(usual: tuple[str, ...], deepest: int, config: MultiTaskConfig) -> tuple[str, ...]:
    """Return the names of the tasks, as many as there are steps.

    Raises:
        ConfigError: there are more steps than names, a name occurs twice, or the weights do not fit.
    """
    names = config.tasks or usual[: max(deepest, len(config.steps) + 1 if usual == OF_RATINGS else 1)]
    if deepest > len(names):
        hint = f"name all {deepest}, the first one first, as tasks=[{', '.join(OF_EVENTS[:2])},…]"
        raise ConfigError(f"the chain has {deepest} steps and tasks names {', '.join(names)}: {hint}")
    if len(set(names)) < len(names):
        raise ConfigError(f"tasks names a step twice: {', '.join(names)}")
    weights = config.weights
    if weights and (len(weights) != len(names) or min(weights) < 0 or not any(weights)):
        each = f"one for each of {', '.join(names)}"
        raise ConfigError(f"weights must be {len(names)} numbers of 0 or more, not all 0, {each}")
    return tuple(names)


def _place(task: str, tasks: Sequence[str]) -> int:
    if task not in tasks:
        raise ConfigError(unknown_name("task", task, tasks))
    return list(tasks).index(task)


def _hash_of(impressions: Impressions) -> str:
    return sha256_text(impressions.content_hash, *impressions.ids)


def _queries_of(queries: object, impressions: Impressions, validation: Impressions | None) -> tuple[dict[str, list[str]], Names]:
    """Return the query of each row, "" for none, by the hash of the impressions, and notes.

    Raises:
        ConfigError: they are no mapping of ids to texts, fit no impression, or an id that stands in both parts.
    """
    asked = _checked_queries(queries)
    parts = {_hash_of(one): one for one in (impressions, validation) if one is not None}
    if not asked:
        return {}, ()
    ids = [set(one.ids) & set(asked) for one in parts.values()]
    if both := set.intersection(*ids) if len(ids) > 1 else set():
        hint = "give each impression an id of its own"
        raise ConfigError(f"MultiTask.fit: impression '{min(both)}' stands in training and validation, and has one query: {hint}")
    if not (unasked := len(asked) - sum(map(len, ids))) < len(asked):
        raise ConfigError(f"MultiTask.fit: none of {len(asked)} queries has the id of an impression, such as '{impressions.ids[0]}'")
    notes = (f"{unasked} of {len(asked)} queries have no impression (left out)",) if unasked else ()
    return {name: [asked.get(one, "") for one in of.ids] for name, of in parts.items()}, notes


def _checked_queries(queries: object) -> Mapping[str, str]:
    if queries is None:
        return {}
    if not isinstance(queries, Mapping) or not all(isinstance(text, str) for text in queries.values()):
        raise ConfigError("MultiTask.fit: queries must map ids of impressions to texts")
    return {str(name): text for name, text in queries.items() if text.strip()}


def _figures(chances: npt.NDArray[np.float64], taken: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return AUC, where both labels are there, and logloss of one task."""
    held = np.clip(chances, 1e-7, 1 - 1e-7)
    loss = -np.where(taken, np.log(held), np.log1p(-held)).mean()
    return ({"AUC": auc(chances, taken)} if 0 < taken.sum() < len(taken) else {}) | {"logloss": float(loss)}
