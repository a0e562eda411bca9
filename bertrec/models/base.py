"""The contract that every recommender keeps."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np
import torch

from bertrec.core.checks import expect, expect_path
from bertrec.core.devices import product_device
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.foreign import Check, matrix
from bertrec.core.id_lists import id_lists
from bertrec.core.lifts import Lifts
from bertrec.core.products import pair_scores
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.changes import catalog_changes
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split
from bertrec.models.best_items import listable
from bertrec.models.card import CardFacts
from bertrec.models.fallback import CATALOGUE, POPULARITY, cold_rows, scored_by_popularity, unknown_ids
from bertrec.models.finding import Finding
from bertrec.models.fitted import Fitted
from bertrec.models.groups import GroupList, recommend_group
from bertrec.models.names import MODELS
from bertrec.models.serving import FloatArray, Histories, Id, Recommendations, Server
from bertrec.models.trained_on import TrainedOn, Training, takes_data
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules

logger = logging.getLogger(__name__)

_USERS_AT_ONCE = 512


class Recommender(Fitted, Finding):
    """A user is a function of a history, an item a function of what is known of it; the score is their inner product.

    A model of one's own defines ``name``, `fit`, `item_embeddings`, `user_vectors`, `state_dict` and `load_state_dict`; all else is here.

    Attributes:
        trained_on: what the last fit saw; None where that is not known.
        trains_nothing: whether scores come from what items say alone, so that no interaction can be learned.
    """

    registry = MODELS
    trained_on: TrainedOn | None = None
    trains_nothing: ClassVar[bool] = False
    _popularity: FloatArray | None = None
    results: ClassVar[Mapping[str, Check]] = {**Fitted.results, "item_embeddings": matrix, "user_vectors": matrix}
    fit_options: ClassVar[frozenset[str]] = frozenset({"run_dir", "resume", "init", "progress", "on_epoch", "mask_seen", "callbacks"})

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "fit" in vars(cls):
            setattr(cls, "fit", takes_data(vars(cls)["fit"]))  # noqa: B010  # a method is assigned

    @abstractmethod
    def fit(self, train: Training, *, validation: EvaluationSet | None = None, **options: Any) -> Self:
        """Learn from ``train`` and set ``catalog``; fitting again starts anew.

        Whoever calls may also give a `Split`, which brings its validation users, or a `Dataset`, which is split as `bertrec.make_split`
        does without options. A ``fit`` of one's own always gets interactions and evaluation sets: see `check_data`.

        Args:
            train: sequences over one catalogue.
            validation: users by whom a model may choose what it keeps.
            **options: some of `fit_options`; a model has its own use for them, or none (see `check_fit_options`).
        """

    @property
    def shape(self) -> dict[str, Any]:
        """The settings, by their flat names, that a model which starts from this one's weights must have in common with it."""
        return {}

    def check_start(self, *, resume: bool, init: bool) -> None:
        """See, before any work, that training can go on with a checkpoint or begin with another model's weights, where that is asked for.

        Raises:
            ConfigError: it cannot.
        """
        if init:
            raise ConfigError(f"{self.name} trains nothing that could start from another model's weights: leave out --init")

    def continued(
        self,
        train: Training,
        *,
        validation: EvaluationSet | None = None,
        epochs: int | None = None,
        share: float = 0.25,
        **options: Any,
    ) -> Self:
        """Return a model that goes on from these weights with more interactions; see `check_start` for whether there is one.

        Args:
            train: all interactions, the former ones too; see `fit`.
            validation: users by whom the epoch is chosen.
            epochs: at most so many.
            share: where ``epochs`` is not said, of those of the settings.
            **options: of `fit`.

        Raises:
            ConfigError: nothing here could be gone on from.
        """
        self.check_start(resume=False, init=True)
        raise ConfigError(f"a {self.name} model cannot go on from its own weights: fit another")

    @abstractmethod
    def item_embeddings(self) -> FloatArray:
        """Return ``[n_items + 1, dim]``; row 0 is padding, a row of NaN is an item that the model does not know."""

    @abstractmethod
    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return ``[n, dim]`` for histories of inner ids, oldest first, of any length from 0."""

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """Return the same model over other items.

        Raises:
            DataError: ``catalog`` is no catalogue.
            ModelError: the model does not read what items say.
        """
        expect(catalog, ItemCatalog, "with_catalog: catalog")
        raise ModelError(f"a {self.name} model cannot move to other items: it does not read what they say")

    def with_products(self, products: Any, *, delta: bool = False, **options: Any) -> Self:
        """Return the same model over today's products; only texts that it has not read are encoded, and it stays as it is.

        Vanished products are recommended no more and stay readable in histories, as with ``bertrec catalog update``.

        Args:
            products: a pandas, polars or PyArrow table with the columns of the item table that the model was trained on.
            delta: the table holds new and changed products alone; none vanishes.
            **options: of `ItemCatalog.from_frame`, such as ``item_id`` or ``max_words``; text fields and template are the model's.

        Raises:
            DataError: a text field is missing, or an id occurs twice with different texts.
            ModelError: there are new products, and the model does not read what they say.
        """
        own = {"text_fields": list(self.catalog.fields), "template": self.catalog.template, "source": "the products"}
        table = ItemCatalog.from_frame(products, **{**options, **own})
        return self.with_catalog(catalog_changes(self.catalog, table, delta=delta).catalog)

    @property
    def takes_vectors(self) -> bool:
        """Whether item vectors made elsewhere stand in place of an encoder of texts."""
        return False

    def add_vectors(self, vectors: Any) -> None:
        """Take vectors of items that `with_catalog` is to meet, for a model that was trained on vectors made elsewhere.

        Raises:
            ModelError: it was not.
        """
        raise ModelError(f"this {self.name} model was not trained on vectors made elsewhere: leave out --vectors")

    @property
    def reads_text(self) -> bool:
        """Whether scores depend on what items say, or on vectors given in place of it."""
        return False

    def vectors_with_texts(self, item: int, texts: Sequence[str]) -> FloatArray | None:
        """Return the vectors ``[len(texts), dim]`` that an item would have with each of these texts; None for a model that cannot say.

        Args:
            item: inner id.
            texts: as the catalogue joins them of the fields.
        """
        return None

    def scores_with_vectors(self, item: int, vectors: FloatArray, user: FloatArray, history: Ragged) -> FloatArray:
        """Return the scores ``[m]`` that an item would have with each of some vectors, what other items lend it apart.

        Args:
            item: inner id.
            vectors: ``[m, dim]``.
            user: ``[dim]``, of the history.
            history: one row of inner ids.
        """
        return np.asarray(vectors @ user)

    def profile_vectors(self, texts: Sequence[str]) -> FloatArray | None:
        """Return the vectors ``[len(texts), dim]`` of users of whom a text alone is known; None for a model that cannot read one so.

        The text is read as if it were the one item of their history.

        Args:
            texts: profiles, not empty.
        """
        return None

    @property
    def repeat_bias(self) -> float:
        """What is added to the score of an item of the history; 0 for a model that has no such term."""
        return 0.0

    @property
    def popularity(self) -> FloatArray:
        """How often training held each item, ``[n_items + 1]``: what a user without a history is served by; zeros where it was not kept."""
        return np.zeros(len(self.catalog) + 1, np.float32) if self._popularity is None else self._popularity

    @property
    def fallback(self) -> str:
        """What orders the list of a user without a history, in words."""
        return CATALOGUE if self._popularity is None else POPULARITY

    def keep_popularity(self, train: Interactions) -> None:
        """Keep how often training holds each item; a `fit` calls it, so that users without a history can be served."""
        self._popularity = train.item_counts.astype(np.float32)

    @property
    def absorbed(self) -> str:
        """What a fit made of all users together, so that no single one can be taken out of it; empty where it only counts."""
        return "the weights"

    def recount(self, split: Split) -> None:
        """Count the training part of a split anew, from which users were taken out; what was learned of them stays as `absorbed` says."""
        if self._popularity is not None:
            self.keep_popularity(split.train)
        self.trained_on = TrainedOn.of(split.train, split)

    def _popularity_over(self, catalog: ItemCatalog) -> FloatArray | None:
        """Return the popularity over other items, 0 for new ones."""
        if self._popularity is None:
            return None
        moved: FloatArray = np.where(rows := self.catalog.ids.encode(catalog.ids.ids), self._popularity[rows], np.float32(0))
        return np.concatenate([np.zeros(1, np.float32), moved])

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._popularity = self.trained_on = None

    def card_facts(self) -> CardFacts:
        """Return what the card says of the model: what its fit saw, and what it cannot do."""
        facts = super().card_facts()
        seen = None if self.trained_on is None else self.trained_on.to_dict()
        if not self.reads_text:
            facts = replace(facts, encoder=None, tuned=False)
        return replace(facts, trained_on=seen, limits=self._limits())

    def _limits(self) -> list[str]:
        reads = "An item that training did not see is known by what it says alone."
        lines = [reads if self.reads_text else "It does not read what items say: of an item that training did not see it knows nothing."]
        lines.append(f"A user of whose history nothing is known gets a list ordered by {self.fallback}.")
        if self.absorbed:
            lines.append(f"One user cannot be taken out of {self.absorbed} again, except by training anew.")
        return lines

    def kept_values(self) -> dict[str, Any]:
        """Return what the fit saw, as hashes."""
        return {} if self.trained_on is None else {"trained_on": self.trained_on.to_dict()}

    def take_kept_values(self, kept: Mapping[str, Any]) -> None:
        """Take what the fit saw."""
        self.trained_on = TrainedOn.from_dict(kept.get("trained_on"))

    def kept_tensors(self) -> dict[str, torch.Tensor]:
        """Return the popularity, where it was kept."""
        return {} if self._popularity is None else {POPULARITY: torch.from_numpy(self._popularity)}

    def take_kept(self, kept: Mapping[str, torch.Tensor]) -> None:
        """Take the popularity."""
        self._popularity = kept[POPULARITY].numpy() if POPULARITY in kept else None

    def histories(self, histories: Histories) -> Ragged:
        """Turn external ids into inner ones; unknown items are left out, and a warning counts them. An empty history is allowed.

        Raises:
            DataError: a history has items and all of them are unknown; the text names the row.
        """
        known, unknown = self.known_histories(histories)
        lost = [row for row in unknown if not known.lengths[row]]
        if lost:
            raise DataError(self._lost(lost[0], unknown[lost[0]]))
        return known

    def _lost(self, row: int, ids: Sequence[Id]) -> str:
        kinds = set(map(type, self.catalog.ids.ids))
        other = "" if type(ids[0]) in kinds else f": its ids are as {self.catalog.ids.ids[0]!r}"
        return f"history {row + 1}: none of its {len(ids)} items is in the catalogue, such as {ids[0]!r}{other}"

    def known_histories(self, histories: Histories) -> tuple[Ragged, dict[int, list[Id]]]:
        """Return the inner ids of the known items of each history, and by row the ids that are no items; a warning counts these.

        Raises:
            DataError: no id is known, and they are of another kind than the catalogue's, such as text instead of numbers.
        """
        if isinstance(histories, Ragged):
            self._check_inner(histories, "histories")
            return histories if (histories.values > 0).all() else histories.where(histories.values > 0), {}
        flat, given = id_lists(histories, "histories", a="history")
        rows = Ragged.from_lengths(self.catalog.ids.encode(flat), given)
        if (rows.values > 0).all():
            return rows, {}
        unknown = unknown_ids(rows, flat)
        first, count = next(iter(unknown)), sum(map(len, unknown.values()))
        if count == len(flat) and not {type(one) for one in flat} & set(map(type, self.catalog.ids.ids)):
            raise DataError(self._lost(first, unknown[first]))
        logger.warning("%d of %d ids in histories are no items, such as %r (history %d)", count, len(flat), unknown[first][0], first + 1)
        return rows.where(rows.values > 0), unknown

    def _check_inner(self, rows: Ragged, what: str) -> None:
        if len(rows.values) and rows.values.max() > len(self.catalog):
            raise DataError(f"{what}: inner id {rows.values.max()} is beyond the {len(self.catalog)} items of the catalogue")

    def user_embeddings(self, histories: Histories) -> FloatArray:
        """Return ``[n, dim]`` user vectors; histories are oldest first."""
        return self.user_vectors(self.histories(histories))

    def score(self, histories: Histories, candidates: Sequence[Sequence[Id]] | Ragged) -> list[FloatArray]:
        """Score given candidates.

        Args:
            histories: ``n`` histories, oldest first.
            candidates: ``n`` rows of items, of any length.

        Returns:
            ``n`` float32 rows, as long as the rows of ``candidates``; NaN for an item that the model does not know.
        """
        known = self.histories(histories)
        if isinstance(candidates, Ragged):
            wanted = candidates
            self._check_inner(wanted, "candidates")
            if len(wanted.values) and wanted.values.min() < 0:
                raise DataError(f"candidates: {wanted.values.min()} is no inner id")
        else:
            flat, lengths = id_lists(candidates, "candidates", a="row")
            wanted = Ragged.from_lengths(self.catalog.ids.encode(flat), lengths)
        if len(wanted) != len(known):
            raise DataError(f"{len(known)} histories but {len(wanted)} rows of candidates")
        vectors, users = self.item_embeddings(), self.user_vectors(known)
        scores = pair_scores(users, vectors, wanted.rows, wanted.values)
        if (lifts := self.lifts(self.read_histories(known))) is not None:
            scores += lifts.of(wanted.rows, wanted.values)
        popular = scored_by_popularity(vectors, self.popularity)[wanted.values, 0]
        scores = np.where(cold_rows(users)[wanted.rows], popular, scores)
        scores[wanted.values == 0] = np.nan
        return [scores[wanted.offsets[row] : wanted.offsets[row + 1]] for row in range(len(wanted))]

    def score_all(self, histories: Ragged, *, batch_size: int = _USERS_AT_ONCE) -> Iterator[FloatArray]:
        """Yield scores of all items for batches of histories, in order; a history of which nothing is read is scored by popularity.

        Returns:
            float32 ``[b, n_items + 1]`` by inner id; −inf in column 0, for items that the model does not know, and for withdrawn ones.
        """
        vectors = listable(self.item_embeddings(), self.catalog)
        unknown = np.asarray(np.isnan(vectors).any(axis=1))
        unknown[0] = True
        device = product_device(vectors.nbytes) or torch.device("cpu")
        items = torch.from_numpy(np.where(unknown[:, None], np.float32(0), vectors)).to(device).T
        popular = self.popularity
        for vectors_of_users, lifts in self.user_batches(histories):
            users = torch.from_numpy(vectors_of_users).to(device)
            cold = cold_rows(vectors_of_users)
            for first in range(0, len(users), batch_size):
                stop = min(first + batch_size, len(users))
                scores = (users[first:stop] @ items).cpu().numpy()
                scores[cold[first:stop]] = popular
                if lifts is not None:
                    lifts.slice(first, stop).add_to(scores)
                scores[:, unknown] = -np.inf
                yield scores

    def user_batches(self, histories: Ragged) -> Iterator[tuple[FloatArray, Lifts | None]]:
        """Yield user vectors ``[b, dim]`` for batches of histories, in order, and the users' lifts (none for a zero vector)."""
        expect(histories, Ragged, "histories")
        for start in range(0, len(histories), self.users_at_once):
            part = histories.slice(start, min(start + self.users_at_once, len(histories)))
            users = self.user_vectors(part)
            yield users, self.lifts_of(users, part)

    @property
    def reads_times(self) -> bool:
        """Whether it matters to user vectors when an item of a history was met, and not its place alone."""
        return False

    def knows_all(self, histories: Ragged) -> bool:
        """Say whether no user vector of these histories can be zero; False where only the vectors tell."""
        return False

    @property
    def users_at_once(self) -> int:
        """How many histories are scored at a time: many, since those of one length are read together, but no more than memory holds."""
        return 1 << 15

    def lifts(self, read: Ragged) -> Lifts | None:
        """Return what is added to the scores of some items of each user, beyond the inner products; None for a model that adds nothing.

        Args:
            read: what `read_histories` gave.
        """
        return Lifts.constant(read, self.repeat_bias) if self.repeat_bias else None

    @property
    def weights_in_words(self) -> str:
        """What the fit chose that a user should know, in a line; empty where there is nothing."""
        return ""

    @property
    def lifts_apart(self) -> str:
        """What vectors alone leave out of the score, in words; empty where inner products are all of it."""
        return ""

    def without_new_weights(self) -> Self | None:
        """Return the model as it would serve without weights of its own for new items; None where it has none."""
        return None

    def lifts_of(self, users: FloatArray, histories: Ragged) -> Lifts | None:
        """Return the `lifts` of users whose vectors are given, ``[b, dim]``; none for a vector of zeros."""
        lifts = self.lifts(self.read_histories(histories))
        cold = cold_rows(users)
        return lifts if lifts is None or not cold.any() else lifts.where(~cold[lifts.items.rows])

    def read_histories(self, histories: Ragged) -> Ragged:
        """Return the part of each history that the model reads: its newest items, or those that it knows."""
        return histories

    def recommend(
        self,
        histories: Histories,
        k: int = 10,
        *,
        exclude_seen: bool = True,
        index: ItemIndex | None = None,
        rules: Rules | None = None,
    ) -> Recommendations:
        """Return the ``k`` best items for each history; one of which the model reads nothing gets the most popular items, and is marked.

        Args:
            histories: lists of external ids, or a ``Ragged`` of inner ids; oldest first.
            k: more than the catalogue holds means all of it.
            exclude_seen: leave out items of the history.
            index: search this index instead of scoring the whole catalogue.
            rules: which items may be listed, how many of a kind, what lifts them, how varied a list is.

        Raises:
            DataError: ``k`` is below 1, or the rules name an attribute that the items do not have.
            IndexFileError: the index was built from another model.
        """
        return self.serve(index).recommend(histories, k, exclude_seen=exclude_seen, rules=rules)

    def recommend_group(self, histories: Histories, k: int = 10, **options: Any) -> GroupList:
        """Return the ``k`` best items for a group, a history each; see `bertrec.models.groups.recommend_group`."""
        return recommend_group(self, histories, k, **options)

    def serve(self, index: ItemIndex | None = None) -> Server:
        """Return what answers many calls: item vectors, ids and index are taken once, as the model is now.

        Args:
            index: search this index instead of all item vectors.

        Raises:
            IndexFileError: the index was built from another model.
        """
        return Server(self, index)

    def check_data(self, train: object, validation: object, run_dir: object = None) -> tuple[Interactions, EvaluationSet | None]:
        """Return what `fit` was given, once it is seen to be what it takes.

        Raises:
            DataError: it was not; the text says what to give instead.
        """
        call = f"{type(self).__name__}.fit"
        expect(train, Interactions, f"{call}: train")
        expect(validation, EvaluationSet, f"{call}: validation", optional=True)
        if run_dir is not None and expect_path(run_dir, f"{call}: run_dir").is_file():
            raise DataError(f"{call}: run_dir {run_dir} is a file: name a folder")
        assert isinstance(train, Interactions)
        assert validation is None or isinstance(validation, EvaluationSet)
        return train, validation

    def known_items(self) -> IntArray:
        """Return the inner ids of the items that the model can score and that are not withdrawn."""
        return np.flatnonzero(np.isfinite(self.item_embeddings()).all(axis=1) & self.catalog.listed)
