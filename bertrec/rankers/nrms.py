"""NRMS (Wu et al., EMNLP 2019) over a pretrained encoder: two towers, trained on impressions.

Item vectors come from the text encoder; multi-head self-attention and additive attention over those of the history make the user vector;
a candidate's score is their inner product. The word-level attention of the paper is the encoder's here.

Unlike the paper's, the towers start from what the encoder knows, which a thousand impressions are too few to find: item vectors have
length 1, the self-attention is added to its input and begins at 0, and the additive attention begins with equal weights, so that the
untrained user vector is the mean of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_text_encoder, word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.models.folder import SavedParts
from bertrec.rankers.base import Ranker, checkpoints, reporting
from bertrec.rankers.context import Known
from bertrec.training.batches import similar_lengths
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

FloatArray = npt.NDArray[np.float32]
_USERS_AT_ONCE = 1024


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, encoder_learning_rate=5e-5, batch_size=32, epochs=5, metric="AUC", patience=2)


class NRMSConfig(Config):
    """Settings of the two towers."""

    encoder: EncoderConfig = Field(
        default_factory=lambda: EncoderConfig(max_length=32),
        description="The encoder that reads the items; a frozen one overfits less on few impressions.",
    )
    train: TrainConfig = Field(
        default_factory=_train,
        description="The training; batch_size counts clicks, each with its negatives.",
    )
    heads: int = Field(
        0,
        ge=0,
        description="Heads of the self-attention, a divisor of the encoder's width; 0 takes one for 32 dimensions.",
    )
    dropout: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of components dropped on item vectors and behind the self-attention.",
    )
    negatives: int = Field(
        4,
        ge=1,
        le=10_000,
        description="Items shown but not clicked that go with each click, from the same impression.",
    )
    max_history: int = Field(50, ge=1, le=100_000, description="Newest items of a history that are read.")
    item_text: str = Field(
        "title",
        pattern="^(title|text)$",
        description="What stands for an item: its title or all of its text.",
    )
    scale: float = Field(
        10.0,
        gt=0,
        description="Factor of the inner products in the softmax, at the start; it is learned on.",
    )


class UserTower(nn.Module):
    """Multi-head self-attention, then additive attention; an empty history is a learned vector.

    Args:
        dim: of the item vectors.
        heads: of the self-attention.
        dropout: behind it.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.project, self.query = nn.Linear(dim, dim), nn.Linear(dim, 1, bias=False)
        for begins_at_0 in (self.attention.out_proj.weight, self.query.weight):
            nn.init.zeros_(begins_at_0)
        self.empty = nn.Parameter(torch.zeros(dim))

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Return ``[u, dim]`` user vectors of item vectors ``[u, H, dim]`` with ``mask [u, H]``, true at items."""
        nothing = ~mask.any(dim=1)
        padding = ~mask & ~nothing[:, None]  # a row of padding alone would have no softmax
        attended = items + self.dropout(self.attention(items, items, items, key_padding_mask=padding, need_weights=False)[0])
        weights = self.query(torch.tanh(self.project(attended)))[..., 0].masked_fill(padding, float("-inf")).softmax(dim=1)
        return torch.where(nothing[:, None], self.empty, (weights[..., None] * attended).sum(dim=1))


class NRMSNetwork(nn.Module):
    """Both towers; every distinct item of a batch is encoded once."""

    def __init__(self, config: NRMSConfig, encoder: TextEncoder, tokens: Ragged) -> None:
        super().__init__()
        dim = encoder.dim
        heads = config.heads or max(1, dim // 32)
        if dim % heads:
            raise ConfigError(f"heads={heads} does not divide the encoder's {dim} dimensions")
        self.encoder, self.tokens = encoder, tokens
        self.users, self.dropout = UserTower(dim, heads, config.dropout), nn.Dropout(config.dropout)
        self.scale = nn.Parameter(torch.tensor(float(np.log(config.scale))))
        self._frozen_items: Tensor | None = None

    def encoder_parameters(self) -> Iterable[nn.Parameter]:
        """Return what takes the encoder's learning rate."""
        return self.encoder.parameters()

    def item_vectors(self, rows: IntArray | None = None) -> Tensor:
        """Return vectors of length 1 of some items (from 0), or of all; a frozen encoder reads each item once for the whole training."""
        if self.encoder.trainable:
            return normalize(self.encoder.encode_tokens(self.tokens, rows), dim=1)
        if self._frozen_items is None:
            with torch.no_grad():
                self._frozen_items = normalize(self.encoder.encode_tokens(self.tokens), dim=1)
        return self._frozen_items if rows is None else self._frozen_items[torch.from_numpy(rows).to(self._frozen_items.device)]

    def take(self, tokens: Ragged) -> None:
        """Take other items' word pieces."""
        self.tokens, self._frozen_items = tokens, None

    def forward(self, histories: Tensor, candidates: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the softmax loss of each click among its negatives; ids ``[u, H]`` and ``[u, g]``, 0 for none, labels -1 for none."""
        distinct, place = torch.cat([histories.flatten(), candidates.flatten()]).unique(return_inverse=True)
        vectors = self.dropout(self.item_vectors(np.maximum(distinct.cpu().numpy() - 1, 0)))
        past, shown = vectors[place].split([histories.numel(), candidates.numel()])
        users = self.users(past.reshape(*histories.shape, -1), histories > 0)
        logits = self.scale.exp() * (shown.reshape(*candidates.shape, -1) * users[:, None]).sum(dim=-1)
        logits = logits.masked_fill(labels < 0, float("-inf"))
        return {"loss": -logits.log_softmax(dim=1)[labels == 1].mean()}


class NRMS(Ranker):
    """Two towers on impressions; a candidate's score is the inner product of its vector and the user's."""

    name: ClassVar[str] = "nrms"
    config_class: ClassVar[type[Config]] = NRMSConfig
    config: NRMSConfig

    def __init__(self, config: NRMSConfig | None = None) -> None:
        super().__init__(config)
        self.network: NRMSNetwork | None = None
        self._vectors: Tensor | None = None

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed."""
        return {"negatives": negatives}

    def fit(self, impressions: Impressions, *, validation: Impressions | None = None, **options: Any) -> Self:
        """Train on clicks, each with negatives of its impression; ``validation`` chooses the best epoch.

        Args:
            impressions: with labels.
            validation: chooses the best epoch by ``train.metric``; without it the last one is kept.
            **options: ``run_dir``, ``resume``, ``progress``, ``on_epoch`` and ``callbacks``; others have no use here.

        Raises:
            DataError: nothing to train on.
            ConfigError: a setting that does not fit the encoder.
        """
        self.check_data(impressions, validation)
        self.check_fit_options(options)
        with self.fitting():
            with preserved_randomness():
                torch.manual_seed(self.config.train.seed)
                network = self._over(impressions.catalog, make_text_encoder(self.config.encoder, what=self.name))
            clicks = sample_negatives(impressions, self.config.negatives, self.config.train.seed)
            self.notes = clicks.notes[len(impressions.notes) :]
            dataset = _Clicks(clicks, self.config.max_history)
            evaluate = None if validation is None else reporting(lambda: self.figures(validation), options.get("on_epoch"))
            self.train_log = fit_module(network, dataset, dataset.collate, self.config.train, evaluate=evaluate, **checkpoints(options))
            network.eval()
            self._vectors = None
        return self

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self.network = self._vectors = None

    def figures(self, impressions: Impressions, *, known: Known | None = None) -> dict[str, float]:
        """Return AUC, MRR, nDCG@5 and nDCG@10 without intervals.

        Raises:
            DataError: the labels are withheld or all alike.
        """
        self._vectors = None  # the weights may have moved
        return super().figures(impressions, known=known)

    def prepare(self, catalog: ItemCatalog) -> Self:
        """Move to other items: both towers stay as they are.

        Raises:
            ModelError: it was not trained.
        """
        if self.catalog.content_hash != catalog.content_hash:
            self._trained.take(self._tokens(catalog, self._trained.encoder))
            self.catalog, self._vectors = catalog, None
        return self

    @property
    def _trained(self) -> NRMSNetwork:
        if self.network is None:
            raise ModelError(f"this NRMS is not fitted: {self.ready_by} first")
        return self.network

    @torch.no_grad()
    def score(
        self, histories: Ragged, candidates: Ragged, *, retrieval_scores: npt.NDArray[Any] | None = None, progress: bool = False
    ) -> FloatArray:
        """Return inner products, ``[total candidates]``, of ``[n]`` histories and ``[n]`` rows of candidates; inner ids.

        Raises:
            ModelError: it was not trained.
            DataError: rows that do not match, or ids outside the catalogue.
        """
        network, was_training = self._trained, self._trained.training
        self.check_pairs(histories, candidates)
        network.eval()
        if self._vectors is None:
            items = network.item_vectors()
            self._vectors = torch.cat([torch.zeros_like(items[:1]), items])
        users = self._users(network, histories.last(self.config.max_history), self._vectors)
        network.train(was_training)
        rows, shown = (torch.from_numpy(array).to(self._vectors.device) for array in (candidates.rows, candidates.values))
        scores: FloatArray = (users[rows] * self._vectors[shown]).sum(dim=1).cpu().numpy()
        return scores

    @staticmethod
    def _users(network: NRMSNetwork, histories: Ragged, items: Tensor) -> Tensor:
        """Return user vectors ``[n, dim]``."""
        parts = [items[:0]]
        for start in range(0, len(histories), _USERS_AT_ONCE):
            padded = torch.from_numpy(histories.slice(start, min(start + _USERS_AT_ONCE, len(histories))).padded()).to(items.device)
            parts.append(network.users(items[padded], padded > 0))
        return torch.cat(parts)

    def _over(self, catalog: ItemCatalog, encoder: TextEncoder) -> NRMSNetwork:
        self.network, self._vectors = NRMSNetwork(self.config, encoder, self._tokens(catalog, encoder)), None
        self.catalog = catalog
        return self.network

    def _tokens(self, catalog: ItemCatalog, encoder: TextEncoder) -> Ragged:
        catalog.require_text(self.name)
        return encoder.tokenize(catalog.titles if self.config.item_text == "title" else catalog.texts)

    @property
    def model_hash(self) -> str:
        """SHA-256 over settings, catalogue, encoder and towers."""
        return sha256_text(super().model_hash, self._trained.encoder.fingerprint)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights of the towers, without the encoder's."""
        return {name: value for name, value in self._trained.state_dict().items() if not name.startswith("encoder.")}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the towers; the encoder is in place already."""
        network = self._trained
        encoder = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
        network.load_state_dict({**encoder, **state})
        network.eval()
        self._vectors = None

    def save_folders(self, folder: Path) -> None:
        """Write the encoder."""
        self._trained.encoder.save(folder / "encoder")

    def restore(self, parts: SavedParts) -> None:
        """Take the encoder, then all else."""
        self._over(parts.catalog, word_piece_class(self.config.encoder, what=self.name).load(parts.folder / "encoder"))
        super().restore(parts)


class _Clicks(torch.utils.data.Dataset[int]):
    """A row per click with its negatives."""

    def __init__(self, clicks: Impressions, max_history: int) -> None:
        assert clicks.labels is not None
        self.histories = clicks.histories.last(max_history)
        self.items = clicks.candidates.padded()
        self.labels = Ragged(clicks.labels.astype(np.int64) + 1, clicks.candidates.offsets).padded() - 1
        self.content_hash = clicks.content_hash

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[IntArray]:
        return similar_lengths(self.histories.lengths, epoch, batch_size, seed)

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        rows = np.asarray(indices, np.int64)
        arrays = {"histories": self.histories.take(rows).padded(), "candidates": self.items[rows], "labels": self.labels[rows]}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
