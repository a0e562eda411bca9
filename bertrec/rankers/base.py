"""The contract that every ranker keeps: it is fitted to impressions and scores given candidates after given histories."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect
from bertrec.core.errors import DataError, ModelError
from bertrec.core.foreign import Check, plain, row
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.evaluation.impressions import IMPRESSION_METRICS, evaluate_impressions
from bertrec.evaluation.labels import auc
from bertrec.evaluation.protocol import Protocol
from bertrec.models.card import CardFacts
from bertrec.models.fitted import Fitted
from bertrec.rankers.context import Context, Known
from bertrec.rankers.names import RANKERS

Scores = npt.NDArray[np.floating[Any]]
OnEpoch = Callable[[dict[str, float]], None]


class Ranker(Fitted):
    """Scores candidates of a history, higher is better.

    A ranker of one's own defines ``name``, `fit`, `score`, `state_dict` and `load_state_dict`; all else is here.

    Attributes:
        notes: what the last fit left out, a line each.
        small_head: whether so few numbers are learned that the users learned from may also choose how a retriever's score
            joins.
    """

    registry = RANKERS
    results: ClassVar[Mapping[str, Check]] = {**Fitted.results, "score": row, "about": plain}
    fit_options: ClassVar[frozenset[str]] = frozenset(
        {"run_dir", "resume", "progress", "on_epoch", "callbacks", "item_counts", "counted", "retrieval_scores", "known"}
    )
    task = "text-ranking"
    notes: tuple[str, ...] = ()
    small_head: ClassVar[bool] = False

    @abstractmethod
    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Learn from labelled lists and set ``catalog``; fitting again starts anew.

        Args:
            impressions: histories, candidates and labels over one catalogue.
            validation: impressions by which a ranker may choose what it keeps.
            **options: some of `fit_options`; a ranker has its own use for them, or none (see `check_fit_options`). ``item_counts
                [n_items + 1]`` are training interactions, those of these very clicks among them where ``counted`` is true;
                ``retrieval_scores [total candidates]`` are a retriever's, ``known`` is the `bertrec.rankers.context.Known` of a ranker
                that reads it.
        """

    @abstractmethod
    def score(
        self, histories: Ragged, candidates: Ragged, *, retrieval_scores: npt.NDArray[Any] | None = None, progress: bool = False
    ) -> Scores:
        """Return a score for each candidate, ``[total candidates]``, whatever else is in the batch.

        A ranker with ``reads_context`` also takes the keyword ``context``, a `bertrec.rankers.context.Context` of ``n`` rows, or None where
        nothing is known of them.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first; may be empty.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: ``[total candidates]``, for a ranker with ``needs_retrieval_scores``.
            progress: show a bar where it takes long.

        Raises:
            DataError: as many histories as rows of candidates are needed, with ids of the catalogue.
        """

    @property
    def needs_retrieval_scores(self) -> bool:
        """Whether `fit` and `score` need the retriever's scores."""
        return False

    @property
    def reads_context(self) -> bool:
        """Whether `score` reads who is asked and when, and `fit` what is known of them (`bertrec.rankers.context`)."""
        return False

    @property
    def predicts_ratings(self) -> bool:
        """Whether a score is the rating that the user would give."""
        return False

    @property
    def learns_pairs(self) -> bool:
        """Whether `fit` needs no lists, as it learns each pair by itself.

        Rated pairs then come with the history of their own moment; for others those of several moments are joined in lists, after the
        history of the first.
        """
        return False

    @property
    def gives_probabilities(self) -> bool:
        """Whether a score is the probability of a click."""
        return False

    @property
    def squashes(self) -> bool:
        """Whether a score is the logistic function of a margin, be it a probability or not: calibration reads the margin."""
        return self.gives_probabilities

    def score_impressions(self, impressions: Impressions, *, known: Known | None = None, progress: bool = False) -> Scores:
        """Return the score of each candidate of impressions, ``[total candidates]``, with their context where it is read."""
        given: dict[str, Any] = {"context": Context.of(impressions, known)} if self.reads_context else {}
        return self.score(impressions.histories, impressions.candidates, progress=progress, **given)

    @property
    def weights(self) -> dict[str, float] | None:
        """What a linear ranker gives each feature; None for others."""
        return None

    @property
    def label(self) -> str:
        """What tells it from others of its class in a table."""
        return self.name

    @property
    def head_note(self) -> str | None:
        """What must be said of a part that bertrec trained where others take a published one; None where there is nothing to say."""
        return None

    def about(self) -> Mapping[str, Any]:
        """Return what a report says of it, JSON values."""
        return {"ranker": self.name}

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return settings that suit lists which a retriever proposed.

        Args:
            negatives: how many were drawn for a list.
            scored: whether the retriever's scores may be learned from.
        """
        return {}

    def card_facts(self) -> CardFacts:
        """Return what the card says of the ranker."""
        limits = ["It orders candidates that something else has chosen, and finds none itself."]
        return replace(super().card_facts(), door="Ranker", limits=limits)

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items; what was learned stays. Nothing is done where they are the same.

        Raises:
            ModelError: it cannot.
        """
        if self.catalog.content_hash != catalog.content_hash:
            raise ModelError(f"a {self.name} ranker cannot move to other items: it was made over {len(self.catalog)} items of its own")
        return self

    def figures(self, impressions: Impressions, *, known: Known | None = None) -> dict[str, float]:
        """Return AUC, MRR, nDCG@5 and nDCG@10 without intervals; of impressions with one candidate each the AUC over all pairs alone.

        Args:
            impressions: with labels.
            known: for a ranker that reads it; that of a fit is read as `Known.measuring`.

        Raises:
            DataError: the labels are withheld or all alike.
        """
        labels = labels_of(impressions)
        scores = self.score_impressions(impressions, known=None if known is None else known.measuring)
        if impressions.candidates.lengths.max(initial=0) <= 1:
            return {"AUC": auc(scores, labels)}
        report = evaluate_impressions(scores, labels, impressions.candidates.offsets, impressions.users, Protocol(bootstrap=0))
        return {name: report.mean(name) for name in IMPRESSION_METRICS}

    def check_data(self, impressions: object, validation: object) -> None:
        """See that `fit` was given what it takes.

        Raises:
            DataError: it was not; the text says what to give instead.
        """
        call = f"{type(self).__name__}.fit"
        expect(impressions, Impressions, f"{call}: impressions")
        expect(validation, Impressions, f"{call}: validation", optional=True)

    def check_pairs(self, histories: Ragged, candidates: Ragged) -> None:
        """See that histories and candidates go together and hold ids of the catalogue.

        Raises:
            DataError: they do not.
            ModelError: it was not fitted.
        """
        last = len(self.catalog)
        expect(histories, Ragged, f"{type(self).__name__}.score: histories")
        expect(candidates, Ragged, f"{type(self).__name__}.score: candidates")
        if len(histories) != len(candidates):
            raise DataError(f"{len(histories)} histories for {len(candidates)} rows of candidates")
        for what, ids in (("history", histories.values), ("candidate", candidates.values)):
            if len(ids) and not 1 <= ids.min() <= ids.max() <= last:
                raise DataError(f"a {what} holds an id outside 1 to {last}, the catalogue's")


def labels_of(impressions: Impressions) -> npt.NDArray[np.int8]:
    """Return the labels.

    Raises:
        DataError: they are withheld.
    """
    expect(impressions, Impressions, "impressions")
    if impressions.labels is None:
        raise DataError("these impressions have no labels")
    return impressions.labels


def reporting(judge: Callable[[], dict[str, float]], on_epoch: OnEpoch | None) -> Callable[[], dict[str, float]]:
    """Return ``judge`` with its figures also handed to ``on_epoch``."""

    def judged() -> dict[str, float]:
        figures = judge()
        if on_epoch is not None:
            on_epoch(figures)
        return figures

    return judged


def checkpoints(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those options of `Ranker.fit` that `bertrec.training.fit.fit_module` takes."""
    taken: dict[str, Any] = {name: options[name] for name in ("resume", "progress", "callbacks") if name in options}
    run_dir: str | Path | None = options.get("run_dir")
    return taken | {"run_dir": run_dir}
