"""A cross-encoder over lists: history and candidate in one text, read by any encoder, from what it knows without training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError
from bertrec.core.files import sha256_text
from bertrec.core.progress import progress_bar
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_places
from bertrec.encoders.registry import make_text_encoder, word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, checkpoints, labels_of, reporting
from bertrec.rankers.cross.config import CrossEncoderConfig
from bertrec.rankers.cross.network import CrossNetwork, reads_once
from bertrec.rankers.cross.start import FEATURES, Start, pair_features
from bertrec.rankers.keywords import Profiles, interaction_counts, swapping
from bertrec.rankers.prompts.groups import pair_margins
from bertrec.rankers.prompts.layout import Layout, UserWords
from bertrec.rankers.prompts.rows import ClickDataset, PromptRows
from bertrec.rankers.prompts.template import Prompt
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

FloatArray = npt.NDArray[np.float64]
_ITEMS, _COUNTS, _START = "items", "counts", "start."  # among the saved tensors, beside those of the network


class CrossEncoder(Ranker):
    """Scores a pair by the pooled vector of ``profile, titles of the history [SEP] candidate``, joined to the score that it begins from.

    That score is the cosine between the history's mean text vector and the candidate's, both of the encoder as it comes; with
    ``retrieval`` also the retriever's score and place. The untrained order is therefore theirs.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "cross-encoder"
    config_class: ClassVar[type[Config]] = CrossEncoderConfig
    config: CrossEncoderConfig

    def __init__(self, config: CrossEncoderConfig | None = None) -> None:
        super().__init__(config)
        self.network: CrossNetwork | None = None
        self._start: Start | None = None
        self._items: npt.NDArray[np.float32] | None = None
        self._counts: IntArray | None = None

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed, and read its scores where they may be learned from."""
        return {"negatives": negatives, "retrieval": scored}

    @property
    def needs_retrieval_scores(self) -> bool:
        """Whether `fit` and `score` need the retriever's scores."""
        return self.config.retrieval

    @property
    def weights(self) -> dict[str, float] | None:
        """The weights of the standardised features that scores begin from."""
        return None if self._start is None else dict(zip(FEATURES, self._start.weight.tolist(), strict=False))

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on clicks with negatives of their impressions.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            **options: ``retrieval_scores`` (needed with ``config.retrieval``), ``item_counts`` (for ``profile=keywords``; without them
                histories and clicks are counted), ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and ``callbacks``; others have no
                use here.

        Raises:
            DataError: nothing to train on.
            ConfigError: ``config.retrieval`` without the retriever's scores, or with ``validation``, which has none.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        scores = self._given_scores(options.get("retrieval_scores"), validation)
        labels_of(impressions)
        with self.fitting():
            with preserved_randomness():
                torch.manual_seed(self.config.train.seed)
                network = self._over(impressions.catalog, make_text_encoder(self.config.encoder, what=self.name))
            self._read_items(network.encoder)
            self._count(interaction_counts(impressions, options.get("item_counts")))
            dataset = self._dataset(impressions, scores)
            evaluate = None if validation is None else reporting(lambda: self.figures(validation), options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
            network.eval()
        return self

    def _given_scores(self, scores: npt.NDArray[Any] | None, validation: Impressions | None) -> npt.NDArray[Any] | None:
        if not self.config.retrieval:
            return None
        if scores is None:
            raise ConfigError("retrieval=true needs lists of users whom the retriever was not trained on: learn from valid")
        if validation is not None:
            raise ConfigError("retrieval=true reads the retriever's scores, which validation impressions have not: leave these out")
        return np.asarray(scores)

    def _dataset(self, impressions: Impressions, scores: npt.NDArray[Any] | None) -> ClickDataset:
        config = self.config
        clicks, places = impressions, np.arange(len(impressions.candidates.values))
        if config.negatives:
            clicks, places = sample_places(impressions, config.negatives, config.train.seed)
        self.notes = clicks.notes[len(impressions.notes) :]
        labels = labels_of(clicks)
        features = self._features(clicks.histories, clicks.candidates, None if scores is None else scores[places])
        self._start = Start.fitted(features, labels, clicks.candidates, config.loss)
        prior = self._start.score(features)
        self._trained.prior.start(prior, labels, clicks.candidates, config.loss)
        swap = swapping(clicks, config.swap, config.profile_field, config.train.seed, self._rows)
        return ClickDataset(self._rows(clicks.histories), clicks, self._pad, prior, remade=swap)

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = self._start = self._items = self._counts = None

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items: their texts are read; what was learned stays. For keywords all of them count alike.

        Raises:
            ModelError: it was not fitted.
        """
        if self.catalog.content_hash != catalog.content_hash:
            network = self._trained
            self._lay_out(catalog, network.encoder)
            self._read_items(make_text_encoder(self.config.encoder, what=self.name))
            self._count(None)
        return self

    @torch.no_grad()
    def score(
        self, histories: Ragged, candidates: Ragged, *, retrieval_scores: npt.NDArray[Any] | None = None, progress: bool = False
    ) -> FloatArray:
        """Return the score of each candidate, ``[total candidates]``, float64.

        Args:
            histories: ``[n]`` rows of inner ids, oldest first; may be empty.
            candidates: ``[n]`` rows of inner ids.
            retrieval_scores: ``[total candidates]``; needed with ``config.retrieval``, ignored without.
            progress: show a bar.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, ids outside the catalogue, or the retriever's scores are missing.
            NotFiniteError: the encoder gives a value that is no number.
        """
        network, was_training = self._trained, self._trained.training
        self.check_pairs(histories, candidates)
        if self.config.retrieval and (retrieval_scores is None or np.shape(retrieval_scores) != candidates.values.shape):
            raise DataError(f"this reranker reads the retriever's scores: give retrieval_scores, {len(candidates.values)} numbers")
        network.eval()
        try:
            margins = self._margins(self._rows(histories), candidates, progress)
        finally:
            network.train(was_training)
        if not np.isfinite(margins).all():
            raise NotFiniteError("the encoder gives scores that are no numbers: set encoder.precision to fp32")
        assert self._start is not None
        features = self._features(histories, candidates, retrieval_scores if self.config.retrieval else None)
        return network.prior.join(margins, self._start.score(features))

    def _margins(self, rows: PromptRows, candidates: Ragged, progress: bool) -> FloatArray:
        encoder, total = self._trained.encoder, len(candidates.values)
        margins = np.zeros(total)
        room = {"pad": self._pad, "budget": encoder.config.batch_tokens or (4096 if encoder.device.type == "cpu" else 32768)}
        with progress_bar(progress, "score", total, unit="pair") as bar:
            for places, found in pair_margins(self._trained, rows, candidates, **room, device=encoder.device):
                margins[places] = found
                bar.update(len(places))
        return margins

    def _features(self, histories: Ragged, candidates: Ragged, retrieval_scores: npt.NDArray[Any] | None) -> FloatArray:
        assert self._items is not None
        return pair_features(self._items, histories.last(self.config.titles), candidates, retrieval_scores)

    def _rows(self, histories: Ragged) -> PromptRows:
        words = UserWords(None if self._profiles is None else self._profiles.say(histories))
        return PromptRows.of(self._layout, histories, once=self._once, words=words)

    @property
    def _trained(self) -> CrossNetwork:
        if self.network is None:
            raise ModelError(f"this cross-encoder is not fitted: {self.ready_by} first")
        return self.network

    @property
    def _pad(self) -> int:
        return int(self._trained.encoder.tokenizer.pad_token_id or 0)

    def _over(self, catalog: ItemCatalog, encoder: TextEncoder) -> CrossNetwork:
        self._lay_out(catalog, encoder)
        self.network = CrossNetwork(encoder, self.config).to(encoder.device)
        return self.network

    def _lay_out(self, catalog: ItemCatalog, encoder: TextEncoder) -> None:
        catalog.require_text(self.name)
        self._layout = Layout(_template(self.config), encoder.tokenizer, {}, self._texts(catalog), encoder.max_length)
        _as_in_use(encoder)
        self._once = reads_once(encoder, self.config.attention)
        self.catalog = catalog

    def _texts(self, catalog: ItemCatalog) -> list[str]:
        return catalog.titles if self.config.item_text == "title" else catalog.texts

    def _read_items(self, encoder: TextEncoder) -> None:
        """Keep the items' vectors of the encoder as it comes, at length 1."""
        vectors = encoder.encode_kept(self._texts(self.catalog))
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        self._items = np.concatenate([np.zeros_like(vectors[:1]), vectors])

    def _count(self, counts: IntArray | None) -> None:
        """Take the interactions that keywords are told by."""
        config = self.config
        self._counts = counts if config.profile == "keywords" else None
        self._profiles = Profiles.of(self.catalog, profile=config.profile, field=config.profile_field, counts=self._counts)

    @property
    def model_hash(self) -> str:
        """SHA-256 over settings, catalogue, encoder and head."""
        _as_in_use(self._trained.encoder)
        return sha256_text(super().model_hash, self._trained.encoder.fingerprint)

    def state_dict(self) -> dict[str, Tensor]:
        """Return head and prior, what scores begin from, the items' vectors and their counts; not the encoder's weights."""
        assert self._start is not None
        assert self._items is not None
        own = {name: value for name, value in self._trained.state_dict().items() if not name.startswith("encoder.")}
        arrays: dict[str, npt.NDArray[Any]] = {f"{_START}{name}": value for name, value in vars(self._start).items()}
        arrays |= {_ITEMS: self._items} | ({} if self._counts is None else {_COUNTS: self._counts})
        return own | {name: torch.from_numpy(value) for name, value in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave; the encoder is in place already."""
        network = self._trained
        self._start = Start(*(state[f"{_START}{name}"].numpy() for name in ("mean", "spread", "weight")))
        self._items = state[_ITEMS].numpy()
        self._count(state[_COUNTS].numpy() if _COUNTS in state else None)
        encoder = {name: value for name, value in network.state_dict().items() if name.startswith("encoder.")}
        network.load_state_dict(encoder | {name: value for name, value in state.items() if name.startswith(("head.", "prior."))})
        network.eval()

    def save_folders(self, folder: Path) -> None:
        """Write the encoder."""
        self._trained.encoder.save(folder / "encoder")

    def restore(self, parts: SavedParts) -> None:
        """Take the encoder, then all else."""
        self._over(parts.catalog, word_piece_class(self.config.encoder, what=self.name).load(parts.folder / "encoder"))
        super().restore(parts)


def _template(config: CrossEncoderConfig) -> Prompt:
    """Return the text of a pair; it has no mask, for nothing is asked, so that the checks of a prompt are left out."""
    words: dict[str, Any] = {"titles": config.titles, "title_words": config.title_words, "candidate_words": config.candidate_words}
    return Prompt.model_construct(name=CrossEncoder.name, text="{history}[SEP]{candidate}", answers={}, separator=";", **words)


def _as_in_use(encoder: TextEncoder) -> None:
    """Leave the tokenizer as encoding does: whether it cut its last text is in its file, and so in the encoder's fingerprint."""
    encoder.tokenize([""])
