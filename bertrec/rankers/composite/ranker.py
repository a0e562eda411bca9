"""Composite: a reranker of precomputed token interactions, BM25 and priors in one linear head, with no BERT at query time.

The shape is BECR's (Yang et al. 2021, arXiv 2103.06499), moved from queries and documents to histories and candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.item_labels import item_labels, usual_field
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_text_encoder
from bertrec.models.folder import hash_tensors
from bertrec.rankers.base import Ranker, labels_of
from bertrec.rankers.composite.token_store import TokenStore, word_pieces
from bertrec.rankers.counts import without_own
from bertrec.rankers.linear_head import fit_linear_head, places_in_lists
from bertrec.rankers.losses import LOSSES_IN_WORDS, RankLoss
from bertrec.retrieval.sparse_text import BM25, shared_labels

FloatArray = npt.NDArray[np.float32]
_OWN = ("maxsim_mean", "maxsim_max", "maxsim_last", "bm25_mean", "bm25_last", "popularity", "labels")
_RETRIEVAL = ("retrieval_score", "retrieval_place")


class CompositeConfig(Config):
    """Settings."""

    encoder: EncoderConfig = Field(
        EncoderConfig(max_length=32),
        description="The encoder that reads the item texts once, at training.",
    )
    tokens: Literal["int8", "lsh"] = Field(
        "int8", description="How token vectors are kept: as int8, or as lsh footprints of so many bits as bits says."
    )
    bits: int = Field(256, ge=8, le=65_536, multiple_of=8, description="Bits of a footprint (tokens=lsh).")
    max_history: int = Field(20, ge=1, le=100_000, description="Newest items of a history that are read.")
    bm25_k1: float = Field(
        1.2,
        ge=0,
        description="BM25's k1: how soon repeats of a word count no more; 0 counts a word once.",
    )
    bm25_b: float = Field(
        0.75,
        ge=0,
        le=1,
        description="BM25's b: how far long texts are counted down; 0 not at all, 1 in full.",
    )
    label_field: str | None = Field(
        None,
        description="Text field with genres or categories; null takes the first known one, an empty text reads none.",
    )
    retrieval: bool = Field(
        False,
        description="Also read the retriever's score and place; the lists must then be of users whom the retriever "
        "was not trained on, for it finds its own training items far too well.",
    )
    loss: RankLoss = Field("listwise", description=f"Of the linear head: {LOSSES_IN_WORDS}.")
    l2: float = Field(1e-3, ge=0, description="Penalty on the squared weights of the standardised features.")
    seed: int = Field(0, ge=0, description="Seed of the planes of the footprints (tokens=lsh).")


class Composite(Ranker):
    """A linear head over what can be counted and looked up: text overlap by token vectors and by words, popularity, shared labels.

    Features of a candidate: MaxSim of the history's tokens with the candidate's (mean over the history, best, newest item), BM25 (mean,
    newest item), ``ln(1 + training interactions)``, the share of the history with its labels, and with ``retrieval`` the retriever's score
    and the candidate's place in the list by it (0 first, towards 1). All that need a history are 0 without one.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "composite"
    config_class: ClassVar[type[Config]] = CompositeConfig
    small_head: ClassVar[bool] = True
    config: CompositeConfig

    def __init__(self, config: CompositeConfig | None = None) -> None:
        super().__init__(config)
        self._parts: dict[str, torch.Tensor] = {}
        self._bm25: BM25 | None = None

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Read the retriever's scores where they may be learned from."""
        return {"retrieval": scored}

    @property
    def needs_retrieval_scores(self) -> bool:
        """Whether ``score`` needs the retriever's scores."""
        return self.config.retrieval

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features, in the order of the columns of ``features``."""
        return _OWN + (_RETRIEVAL if self.config.retrieval else ())

    @property
    def weights(self) -> dict[str, float]:
        """The head's weight of each standardised feature."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        return dict(zip(self.feature_names, self._parts["head.weight"].tolist(), strict=True))

    def fit(
        self,
        impressions: Impressions,
        *,
        validation: Impressions | None = None,
        item_counts: IntArray | None = None,
        counted: bool = False,
        retrieval_scores: npt.NDArray[Any] | None = None,
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Read the catalogue's texts, then learn the head: softmax over each list, clicked items share the target (L-BFGS).

        Args:
            impressions: lists with labels; those with clicks only or none teach nothing.
            validation: has no use here.
            item_counts: ``[n_items + 1]`` training interactions; None counts the clicks.
            counted: whether these clicks are among them. Then no click counts for its own popularity while the head is learned.
            retrieval_scores: ``[total candidates]``; needed with ``config.retrieval``.
            progress: show a bar while texts are encoded.
            **options: have no use here.

        Raises:
            ConfigError: ``config.retrieval`` without the retriever's scores.
            DataError: labels are withheld, no list has both labels, or arrays that do not fit.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        if self.config.retrieval and retrieval_scores is None:
            raise ConfigError("retrieval=true needs lists of users whom the retriever was not trained on: learn from valid")
        clicks = impressions.clicks  # says where labels are withheld
        catalog = impressions.catalog
        counts = np.bincount(clicks.values, minlength=len(catalog) + 1) if item_counts is None else np.asarray(item_counts)
        if counts.shape != (len(catalog) + 1,):
            wanted = f"{len(catalog) + 1} numbers, one per item and one for padding"
            raise DataError(f"item_counts must hold {wanted}, not {list(counts.shape)}")
        with self.fitting():
            labels = labels_of(impressions)
            self.catalog, self._parts, self._bm25 = catalog, self._read(catalog, counts, progress), None
            features = self.features(impressions.histories, impressions.candidates, retrieval_scores=retrieval_scores)
            if counted or item_counts is None:
                met = without_own(counts[impressions.candidates.values], labels)
                features[:, self.feature_names.index("popularity")] = np.log1p(met)
            mean, spread = features.mean(axis=0), features.std(axis=0)
            spread[spread < 1e-6] = 1.0
            standard = (features - mean) / spread
            weight = fit_linear_head(standard, labels, impressions.candidates, l2=self.config.l2, loss=self.config.loss)
            head = {"head.mean": mean, "head.spread": spread, "head.weight": weight}
            self._parts |= {name: torch.from_numpy(value.astype(np.float32)) for name, value in head.items()}
        return self

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._parts, self._bm25 = {}, None

    def _read(self, catalog: ItemCatalog, counts: IntArray, progress: bool) -> dict[str, torch.Tensor]:
        """Compute all that is known of the items beforehand."""
        config = self.config
        catalog.require_text(self.name)
        encoder = make_text_encoder(config.encoder, what=self.name)
        store = TokenStore.build(encoder, catalog.texts, kind=config.tokens, bits=config.bits, seed=config.seed, progress=progress)
        words = word_pieces(encoder, catalog.texts)
        field = usual_field(catalog) if config.label_field is None else config.label_field
        empty = Ragged(np.zeros(0, np.int64), np.zeros(len(catalog) + 2, np.int64))
        labels = item_labels(catalog, field).by_inner_id if field else empty
        arrays = {"tokens.codes": store.codes, "tokens.offsets": store.offsets, "popularity": np.log1p(counts).astype(np.float32)}
        for name, rows in (("words", words), ("labels", labels)):
            arrays |= {f"{name}.values": rows.values, f"{name}.offsets": rows.offsets}
        return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}

    def features(self, histories: Ragged, candidates: Ragged, *, retrieval_scores: npt.NDArray[Any] | None = None) -> FloatArray:
        """Return the features before standardisation, ``[total candidates, features]``.

        Raises:
            DataError: rows that do not match, ids outside the catalogue, or the retriever's scores are missing or too many.
        """
        self._check(histories, candidates, retrieval_scores)
        read = histories.last(self.config.max_history)
        words, newest = self._words(), read.last(1)
        columns = [*self._interactions(read, candidates).T, words.score(read, candidates), words.score(newest, candidates)]
        columns.append(self._parts["popularity"].numpy()[candidates.values])
        columns.append(shared_labels(self._ragged("labels"), read, candidates))
        if self.config.retrieval and retrieval_scores is not None:
            columns += [np.asarray(retrieval_scores, np.float32), places_in_lists(retrieval_scores, candidates)]
        return np.stack(columns, axis=1).astype(np.float32)

    def _words(self) -> BM25:
        if self._bm25 is None:
            self._bm25 = BM25.build(self._ragged("words"), k1=self.config.bm25_k1, b=self.config.bm25_b)
        return self._bm25

    def _interactions(self, histories: Ragged, candidates: Ragged) -> FloatArray:
        """Return mean, maximum and newest item's MaxSim, ``[total candidates, 3]``: one matrix product per list."""
        store = TokenStore(self.config.tokens, self._parts["tokens.codes"].numpy(), self._parts["tokens.offsets"].numpy())
        out = np.zeros((len(candidates.values), 3), np.float32)
        for row in np.flatnonzero((histories.lengths > 0) & (candidates.lengths > 0)).tolist():
            similar = store.maxsim(histories[row], candidates[row])
            part = slice(candidates.offsets[row], candidates.offsets[row + 1])
            out[part] = np.stack([similar.mean(axis=0), similar.max(axis=0), similar[-1]], axis=1)
        return out

    def score(
        self, histories: Ragged, candidates: Ragged, *, retrieval_scores: npt.NDArray[Any] | None = None, progress: bool = False
    ) -> FloatArray:
        """Return the score of every candidate, float32 ``[total candidates]``, higher is better.

        Args:
            histories: ``n`` rows of inner ids, oldest first.
            candidates: ``n`` rows of inner ids.
            retrieval_scores: ``[total candidates]``; needed with ``config.retrieval``, ignored without.
            progress: has no use here.
        """
        features = self.features(histories, candidates, retrieval_scores=retrieval_scores)
        mean, spread, weight = (self._parts[f"head.{name}"].numpy() for name in ("mean", "spread", "weight"))
        return np.asarray((features - mean) / spread @ weight, dtype=np.float32)

    def _check(self, histories: Ragged, candidates: Ragged, retrieval_scores: npt.NDArray[Any] | None) -> None:
        self.check_pairs(histories, candidates)
        if self.config.retrieval and (retrieval_scores is None or retrieval_scores.shape != candidates.values.shape):
            raise DataError(f"this reranker reads the retriever's scores: give retrieval_scores, {len(candidates.values)} numbers")

    def _ragged(self, name: str) -> Ragged:
        return Ragged(self._parts[f"{name}.values"].numpy(), self._parts[f"{name}.offsets"].numpy())

    @property
    def model_hash(self) -> str:
        """SHA-256 over what the scores depend on."""
        return sha256_text(self.catalog.content_hash, hash_tensors(self._parts), str(self.config.to_flat()))

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return token vectors, words, labels, popularity and the head."""
        return self._parts

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._parts, self._bm25 = dict(state), None
