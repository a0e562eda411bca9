"""Rankers of a tabular tower: din and dcn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ModelError
from bertrec.core.files import sha256_parts, sha256_text
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.models.card import CardFacts
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, checkpoints, labels_of, reporting
from bertrec.rankers.context import Context, Known
from bertrec.rankers.tabular.config import DCNConfig, DINConfig, TabularConfig
from bertrec.rankers.tabular.features import FeatureReader, FeatureSpace, TrainingCounts
from bertrec.rankers.tabular.network import TabularNetwork
from bertrec.rankers.tabular.rows import MOST, RowDataset, Rows
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

FloatArray = npt.NDArray[np.float64]
_FEATURES = "features"  # among the saved values, and before the names of its arrays
_NETWORK = "network."


class TabularRanker(Ranker):
    """Scores a candidate by features of user, moment, history and item; what is given as text is not read."""

    config: TabularConfig

    def __init__(self, config: TabularConfig | None = None) -> None:
        super().__init__(config)
        self.network: TabularNetwork | None = None
        self._reader: FeatureReader | None = None
        self._table: Tensor | None = None

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed; a reranker is not told who asks, so no user's id is learned."""
        return {"negatives": negatives, "user_ids": False}

    @property
    def reads_context(self) -> bool:
        """Whether `score` reads who is asked and when: it does."""
        return True

    @property
    def gives_probabilities(self) -> bool:
        """Whether the loss is pointwise: scores are then probabilities, else logits."""
        return self.config.loss == "pointwise"

    @property
    def learns_pairs(self) -> bool:
        """Whether no list is needed: the loss is pointwise, and no negatives are drawn."""
        return self.config.loss == "pointwise" and not self.config.negatives

    def fit(
        self,
        impressions: Impressions,
        *,
        validation: Impressions | None = None,
        known: Known | None = None,
        item_counts: IntArray | None = None,
        counted: bool = False,
        **options: Any,
    ) -> Self:
        """Train on candidates with labels.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            known: its ``past``, where it has a clock, gives the counts before each moment.
            item_counts: ``[n_items + 1]`` interactions from before the impressions, read where there is no such past; without them the
                training's own showings are counted.
            counted: whether the clicks of the impressions are among ``item_counts``; none counts for itself then.
            **options: ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and ``callbacks``; others have no use here.

        Raises:
            DataError: nothing to train on, or a column that the settings name is not there.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        with self.fitting():
            shown = self._shown(impressions)
            rows = self._prepared(shown, known, item_counts, counted)
            evaluate = None if validation is None else self._judge(validation, known, options)
            self._train(RowDataset(rows, labels_of(shown)), shown, evaluate, options)
            self._table = None
        return self

    def _shown(self, impressions: Impressions) -> Impressions:
        labels_of(impressions)
        if not self.config.negatives:
            self.notes = ()
            return impressions
        clicks = sample_negatives(impressions, self.config.negatives, self.config.train.seed)
        self.notes = clicks.notes[len(impressions.notes) :]
        return clicks

    def _prepared(self, shown: Impressions, known: Known | None, item_counts: IntArray | None, counted: bool) -> Rows:
        """Fix the features, make the network, and return what it is trained on."""
        counts = TrainingCounts.of(shown, known, item_counts, counted=counted)
        space = FeatureSpace.fit(shown, self.config, counts.totals)
        reader = FeatureReader(space, shown.catalog, counts.past)
        with preserved_randomness():
            torch.manual_seed(self.config.train.seed)
            self._over(shown.catalog, reader)
        features = reader.rows(shown.histories, shown.candidates, Context.of(shown, known), counts=counts.pairs)
        most = MOST if self.config.loss == "pointwise" else None  # the others compare within a whole list
        return Rows.of(shown.histories.last(self.config.max_history), shown.candidates, features, most=most)

    def _judge(self, validation: Impressions, known: Known | None, options: Mapping[str, Any]) -> Any:
        def figures() -> dict[str, float]:
            self._table = None  # the weights have moved
            return self.figures(validation, known=known)

        return reporting(figures, options.get("on_epoch"))

    def _train(self, dataset: RowDataset, shown: Impressions, evaluate: Any, options: Mapping[str, Any]) -> None:
        network = self._trained
        self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
        network.eval()

    def _over(self, catalog: ItemCatalog, reader: FeatureReader) -> None:
        self.network = TabularNetwork(reader.space, reader.items, self.config).to(chosen_device())
        self.catalog, self._reader, self._table = catalog, reader, None

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = self._reader = self._table = None

    @property
    def _trained(self) -> TabularNetwork:
        if self.network is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: {self.ready_by} first")
        return self.network

    @property
    def _features(self) -> FeatureReader:
        self._trained  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._reader is not None
        return self._reader

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items: those that training met keep their ids, new ones have labels and numbers alone.

        Raises:
            ModelError: it was not trained.
            DataError: a column that was read in training is not there.
        """
        if catalog is not self.catalog:
            reader = FeatureReader(self._features.space, catalog)
            self._trained.take(reader.items)
            self.catalog, self._reader, self._table = catalog, reader, None
        return self

    @torch.no_grad()
    def score(
        self,
        histories: Ragged,
        candidates: Ragged,
        *,
        retrieval_scores: npt.NDArray[Any] | None = None,
        context: Context | None = None,
        progress: bool = False,
    ) -> FloatArray:
        """Return a click's probability for each candidate, ``[total candidates]``; with the other losses a logit.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: have no use here.
            context: who is asked and when; None: nobody that is known, at no moment that is known.
            progress: show a bar.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        network, was_training = self._trained, self._trained.training
        self.check_pairs(histories, candidates)
        network.eval()
        if self._table is None:
            self._table = network.item_vectors()
        features = self._features.rows(histories, candidates, context)
        rows = Rows.of(histories.last(self.config.max_history), candidates, features, most=MOST)
        logits = self._logits(network, rows, progress=progress)
        network.train(was_training)
        return np.exp(-np.logaddexp(0, -logits)) if self.gives_probabilities else logits

    def _logits(self, network: TabularNetwork, rows: Rows, *, progress: bool) -> FloatArray:
        assert self._table is not None
        logits = np.zeros(len(rows.candidates.values))
        with progress_bar(progress, "score", len(logits), unit="pair") as bar:
            for pieces in rows.blocks():
                batch, at = rows.batch(pieces)
                found = network.logits(table=self._table, **{name: value.to(self._table.device) for name, value in batch.items()})
                logits[at[at >= 0]] = found.cpu().numpy()[at >= 0]
                bar.update(int((at >= 0).sum()))
        return logits

    @property
    def model_hash(self) -> str:
        """SHA-256 over settings, catalogue, weights, and what of the items is read beside their texts."""
        reader = self._features
        return sha256_text(super().model_hash, sha256_parts(reader.space.labels, [reader.items.labels, reader.items.numbers]))

    def card_facts(self) -> CardFacts:
        """Return what the card says of the ranker."""
        facts = super().card_facts()
        kept = ["It holds a vector for each user of its training, found by a hash of the user's id."] if self.config.user_ids else []
        return replace(facts, limits=[*facts.limits, *kept])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights, and the hashes and counts of what training met."""
        arrays = self._features.space.arrays()
        kept = {f"{_FEATURES}.{name}": torch.from_numpy(array) for name, array in arrays.items()}
        return kept | {f"{_NETWORK}{name}": value for name, value in self._trained.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights; the features are in place already."""
        network = self._trained
        network.load_state_dict({name.removeprefix(_NETWORK): value for name, value in state.items() if name.startswith(_NETWORK)})
        network.eval()
        self._table = None

    def saved_values(self) -> dict[str, Any]:
        """Return the names and edges of the features, beside what every ranker saves."""
        return {**super().saved_values(), _FEATURES: self._features.space.values()}

    def restore(self, parts: SavedParts) -> None:
        """Take the features, then all else."""
        kept = f"{_FEATURES}."
        arrays = {name.removeprefix(kept): value.numpy() for name, value in parts.tensors.items() if name.startswith(kept)}
        space = FeatureSpace.restored(arrays, parts.about[_FEATURES])
        self._over(parts.catalog, FeatureReader(space, parts.catalog))
        super().restore(parts)


class DIN(TabularRanker):
    """Deep Interest Network: each item of the history is weighed for the candidate; features of user, moment and item."""

    name: ClassVar[str] = "din"
    config_class: ClassVar[type[Config]] = DINConfig
    config: DINConfig


class DCN(TabularRanker):
    """Deep and Cross Network V2: products of features by cross layers, beside a multilayer perceptron."""

    name: ClassVar[str] = "dcn"
    config_class: ClassVar[type[Config]] = DCNConfig
    config: DCNConfig
