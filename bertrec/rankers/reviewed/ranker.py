"""U-BERT (Qiu et al., AAAI 2021) as a ranker: what the user wrote, matched with what others wrote of a candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.data.templates import cut_words
from bertrec.encoders.base import Encoder
from bertrec.encoders.given import reads_vectors
from bertrec.encoders.registry import make_encoder
from bertrec.rankers.base import Ranker, checkpoints, labels_of, reporting
from bertrec.rankers.context import Context, Known
from bertrec.rankers.profiles import profiles_of
from bertrec.rankers.reviewed.config import UBERTConfig
from bertrec.rankers.reviewed.network import CoMatching
from bertrec.rankers.reviewed.rows import ReviewedClicks, ReviewRows
from bertrec.rankers.reviews import lacking, reviews_before, reviews_of_candidates
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

FloatArray = npt.NDArray[np.float32]
_PAIRS_AT_ONCE = 1024
_ITEMS = "items"  # among the saved tensors


class UBERT(Ranker):
    """Co-matching of the user's earlier reviews with others' reviews of a candidate, over frozen text vectors; no id is read.

    Without a context, and for users and items of whom nothing was written, the history's mean text and the item's own are matched. A saved
    ranker holds the items' vectors and no text of a user.

    Args:
        config: all settings; None takes the defaults.

    Raises:
        ConfigError: the encoder is to be tuned, or is a file of item vectors, which reads no reviews.
    """

    name: ClassVar[str] = "ubert"
    config_class: ClassVar[type[Config]] = UBERTConfig
    config: UBERTConfig

    def __init__(self, config: UBERTConfig | None = None) -> None:
        super().__init__(config)
        if self.config.encoder.tune != "frozen":
            raise ConfigError("ubert reads each text once: its encoder stays frozen: leave out --tune; encoder adapt-mlm adapts one before")
        if reads_vectors(self.config.encoder):
            raise ConfigError(f"ubert reads reviews, and {self.config.encoder.name} holds vectors of items alone: name an encoder")
        self.network: CoMatching | None = None
        self._items: Tensor | None = None
        self._encoder: Encoder | None = None

    @property
    def reads_context(self) -> bool:
        """Always."""
        return True

    @property
    def learns_pairs(self) -> bool:
        """Whether no list is needed: the loss is pointwise, and no negatives are drawn."""
        return self.config.loss == "pointwise" and not self.config.negatives

    @classmethod
    def check_search(cls, config: Config) -> None:
        """Refuse: a study keeps no texts of users.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("ubert reads texts of users, and a study keeps none: train it with bertrec rankers train")

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed."""
        return {"negatives": negatives}

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on clicks with negatives of their impressions, or with ``negatives=0`` on all candidates as they stand.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            **options: ``known`` (profiles and reviews), ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and ``callbacks``; others have
                no use here.

        Raises:
            DataError: nothing to train on.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        known = options.get("known")
        with self.fitting():
            self._read_items(impressions.catalog, progress=bool(options.get("progress")))
            labels_of(impressions)
            clicks = impressions
            if self.config.negatives:
                clicks = sample_negatives(impressions, self.config.negatives, self.config.train.seed)
            told = lacking(known, {"reviews"} if self.config.user_reviews or self.config.item_reviews else set())
            self.notes = (*clicks.notes[len(impressions.notes) :], *told)
            network = self._new_network()
            dataset = ReviewedClicks(self._rows(clicks.histories, clicks.candidates, Context.of(clicks, known)), clicks)
            evaluate = None if validation is None else reporting(lambda: self.figures(validation, known=known), options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
            network.eval()
        return self

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = self._items = None

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items: their texts are read, what was learned stays.

        Raises:
            ModelError: it was not fitted.
        """
        if self.catalog.content_hash != catalog.content_hash:
            self._read_items(catalog)
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
        """Return a logit for each candidate, ``[total candidates]``.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: have no use here.
            context: of the ``n`` rows; None where nothing is known of them.
            progress: has no use here.

        Raises:
            ModelError: it was not fitted.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        self.check_pairs(histories, candidates)
        network = self._fitted
        was_training, device = network.training, network.scale.device
        network.eval()
        rows = self._rows(histories, candidates, context)
        scores = np.zeros(len(candidates.values), np.float32)
        for start in range(0, len(scores), _PAIRS_AT_ONCE):
            places = np.arange(start, min(start + _PAIRS_AT_ONCE, len(scores)))
            batch = rows.batch(candidates.rows[places], places[:, None])
            found = network.scores(**{name: tensor.to(device) for name, tensor in batch.items()})
            scores[places] = found[:, 0].cpu().numpy()
        network.train(was_training)
        return scores

    @property
    def _fitted(self) -> CoMatching:
        if self.network is None:
            raise ModelError(f"this {type(self).__name__} is not fitted: {self.ready_by} first")
        return self.network

    def _new_network(self) -> CoMatching:
        assert self._items is not None
        config = self.config
        with preserved_randomness():
            torch.manual_seed(config.train.seed)
            parts: dict[str, Any] = {"dropout": config.dropout, "loss": config.loss, "scale": config.scale}
            self.network = CoMatching(self._items.shape[1], config.width, **parts).to(chosen_device())
        return self.network

    def _read_items(self, catalog: ItemCatalog, *, progress: bool = False) -> None:
        catalog.require_text(self.name)
        self._items = self._vectors(catalog.titles if self.config.item_text == "title" else catalog.texts, progress=progress)
        self.catalog = catalog

    def _vectors(self, texts: list[str], *, progress: bool = False) -> Tensor:
        """Return unit vectors ``[n, d]`` of the texts, by way of the cache."""
        if self._encoder is None:
            self._encoder = make_encoder(self.config.encoder)
        return torch.nn.functional.normalize(torch.from_numpy(self._encoder.encode_kept(texts, progress=progress)), dim=1)

    def _rows(self, histories: Ragged, candidates: Ragged, context: Context | None) -> ReviewRows:
        """Find what may be read, and the vectors of it."""
        assert self._items is not None
        context = context or Context([""] * len(histories), None, Known())
        own = reviews_before(context, histories, candidates, most=self.config.user_reviews, catalog=self.catalog)
        others = reviews_of_candidates(context, candidates, most=self.config.item_reviews, catalog=self.catalog)
        texts, profiles, (said, told) = self._told(context, own, others)
        new = self._vectors(texts) if texts else self._items[:0]
        vectors = torch.cat([torch.zeros_like(self._items[:1]), self._items, new])
        said_of = np.concatenate([profiles[:, None], said.padded(self.config.user_reviews)], axis=1)
        return ReviewRows(vectors, histories.last(self.config.max_history), said_of, candidates, told.padded(self.config.item_reviews))

    def _told(self, context: Context, *reviews: Ragged) -> tuple[list[str], IntArray, list[Ragged]]:
        """Return the distinct texts of profiles and reviews, and the number in the table of vectors of each profile and review."""
        past = context.known.past
        written = past.text if past is not None and past.text is not None else []
        number: dict[str, int] = {"": 0}
        first = len(self.catalog)

        def numbered(text: str) -> int:
            text = cut_words(text.strip(), self.config.review_words)
            return first + number.setdefault(text, len(number)) if text else 0

        profiles = np.array([numbered(text) for text in profiles_of(context)], np.int64)
        places, back = np.unique(np.concatenate([rows.values for rows in reviews]), return_inverse=True)
        known = np.array([numbered(written[place]) for place in places.tolist()], np.int64)[back]
        parts = np.split(known, np.cumsum([len(rows.values) for rows in reviews])[:-1])
        return list(number)[1:], profiles, [Ragged(part, rows.offsets) for part, rows in zip(parts, reviews, strict=True)]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the network's weights and the items' vectors."""
        assert self._items is not None
        return {**self._fitted.state_dict(), _ITEMS: self._items}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._items = state[_ITEMS]
        self._new_network().load_state_dict({name: value for name, value in state.items() if name != _ITEMS})
        self._fitted.eval()
