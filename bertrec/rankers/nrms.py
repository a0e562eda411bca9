"""NRMS (Wu et al., EMNLP 2019) over a pretrained encoder: two towers, trained on impressions.

Item vectors come from the text encoder; multi-head self-attention and additive attention over those of the history make the user vector;
a candidate's score is their inner product. The word-level attention of the paper is the encoder's here.

Unlike the paper's, the towers start from what the encoder knows, which a thousand impressions are too few to find: item vectors have
length 1, the self-attention is added to its input and begins at 0, and the additive attention begins with equal weights, so that the
untrained user vector is the mean of the history.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.files import atomic_folder
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_text_encoder, word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.impressions import impression_metrics
from bertrec.training.batches import similar_lengths
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.log import TrainLog

FloatArray = npt.NDArray[np.float32]
_USERS_AT_ONCE = 1024
_NAME = "nrms"


def _train() -> TrainConfig:
    return TrainConfig(learning_rate=1e-3, encoder_learning_rate=5e-5, batch_size=32, epochs=5, metric="AUC", patience=2)


class NRMSConfig(Config):
    """Settings of the two towers.

    Attributes:
        encoder: reads the items; its ``tune`` says how much of it learns (nothing: a frozen encoder overfits less on few impressions).
        train: ``batch_size`` counts clicks, each with its negatives.
        heads: of the self-attention; 0 takes one for 32 dimensions.
        dropout: on item vectors and behind the self-attention.
        negatives: of each click, from the same impression.
        max_history: the newest items of a history that are read.
        item_text: what stands for an item: its ``title`` or all of its ``text``.
        scale: of the inner products in the softmax, at the start.
    """

    encoder: EncoderConfig = Field(default_factory=lambda: EncoderConfig(max_length=32))
    train: TrainConfig = Field(default_factory=_train)
    heads: int = Field(0, ge=0)
    dropout: float = Field(0.2, ge=0, lt=1)
    negatives: int = Field(4, ge=1)
    max_history: int = Field(50, ge=1)
    item_text: str = Field("title", pattern="^(title|text)$")
    scale: float = Field(10.0, gt=0)


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

    def forward(self, histories: Tensor, candidates: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the softmax loss of each click among its negatives; ids ``[u, H]`` and ``[u, g]``, 0 for none, labels -1 for none."""
        distinct, place = torch.cat([histories.flatten(), candidates.flatten()]).unique(return_inverse=True)
        vectors = self.dropout(self.item_vectors(np.maximum(distinct.cpu().numpy() - 1, 0)))
        past, shown = vectors[place].split([histories.numel(), candidates.numel()])
        users = self.users(past.reshape(*histories.shape, -1), histories > 0)
        logits = self.scale.exp() * (shown.reshape(*candidates.shape, -1) * users[:, None]).sum(dim=-1)
        logits = logits.masked_fill(labels < 0, float("-inf"))
        return {"loss": -logits.log_softmax(dim=1)[labels == 1].mean()}


class NRMS:
    """Two towers on impressions; it scores candidates as `bertrec.rankers.prompts.ranker.PromptRanker` does.

    Args:
        config: the settings.
    """

    def __init__(self, config: NRMSConfig | None = None) -> None:
        self.config = config or NRMSConfig()
        self.catalog: ItemCatalog | None = None
        self.network: NRMSNetwork | None = None
        self.train_log: TrainLog | None = None
        self._vectors: Tensor | None = None

    def fit(
        self, impressions: Impressions, *, validation: Impressions | None = None, run_dir: str | Path | None = None, progress: bool = True
    ) -> Self:
        """Train on clicks, each with negatives of its impression; ``validation`` chooses the best epoch.

        Raises:
            DataError: nothing to train on.
            ConfigError: a setting that does not fit the encoder.
        """
        torch.manual_seed(self.config.train.seed)
        self._prepare(impressions.catalog, make_text_encoder(self.config.encoder, what=_NAME))
        clicks = sample_negatives(impressions, self.config.negatives, self.config.train.seed)
        dataset = _Clicks(clicks, self.config.max_history)
        assert self.network is not None
        evaluate = None if validation is None else lambda: self.figures(validation)
        self.train_log = fit_module(
            self.network, dataset, dataset.collate, self.config.train, evaluate=evaluate, run_dir=run_dir, progress=progress
        )
        self.network.eval()
        self._vectors = None
        return self

    def figures(self, impressions: Impressions) -> dict[str, float]:
        """Return AUC, MRR, nDCG@5 and nDCG@10 without intervals.

        Raises:
            DataError: the labels are withheld.
        """
        if impressions.labels is None:
            raise DataError("these impressions have no labels")
        self._vectors = None  # the weights may have moved
        scores = self.score(impressions.histories, impressions.candidates)
        found = impression_metrics(scores, impressions.labels, impressions.candidates.offsets)
        return {name: float(np.nanmean(values)) for name, values in found.items()}

    @torch.no_grad()
    def score(self, histories: Ragged, candidates: Ragged, **_: Any) -> FloatArray:
        """Return inner products, ``[total candidates]``, of ``[n]`` histories and ``[n]`` rows of candidates; inner ids.

        Raises:
            ModelError: it was not trained.
        """
        if self.network is None:
            raise ModelError("the two towers are not trained yet: call fit")
        network, was_training = self.network, self.network.training
        network.eval()
        if self._vectors is None:
            items = network.item_vectors()
            self._vectors = torch.cat([torch.zeros_like(items[:1]), items])
        newest, parts = histories.last(self.config.max_history), []
        for start in range(0, len(newest), _USERS_AT_ONCE):
            padded = torch.from_numpy(newest.slice(start, min(start + _USERS_AT_ONCE, len(newest))).padded()).to(self._vectors.device)
            parts.append(network.users(self._vectors[padded], padded > 0))
        network.train(was_training)
        users = torch.cat(parts) if parts else self._vectors[:0]
        rows, shown = (torch.from_numpy(array).to(self._vectors.device) for array in (candidates.rows, candidates.values))
        scores: FloatArray = (users[rows] * self._vectors[shown]).sum(dim=1).cpu().numpy()
        return scores

    def save_pretrained(self, folder: str | Path) -> None:
        """Write both towers as safetensors and JSON, whole or not at all.

        Raises:
            ModelError: it was not trained.
        """
        if self.network is None or self.catalog is None:
            raise ModelError("the two towers are not trained yet: call fit")
        from bertrec.models.saving import WEIGHTS, save_tensors

        with atomic_folder(folder, marker=WEIGHTS) as partial:
            self.network.encoder.save(partial / "encoder")
            state = {name: value for name, value in self.network.state_dict().items() if not name.startswith("encoder.")}
            log = None if self.train_log is None else self.train_log.to_dict()
            save_tensors(partial, name=_NAME, config=self.config.to_dict(), catalog=self.catalog, tensors=state, train_log=log)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            ModelError: a file is missing or damaged, or the folder holds another kind of model; the text names it.
        """
        from bertrec.models.saving import read_tensors

        about, catalog, state = read_tensors(Path(folder))
        if about["class"] != _NAME:
            raise ModelError(f"{folder} holds a {about['class']} model, no two towers")
        model = cls(NRMSConfig.from_dict(about["config"]))
        kind = word_piece_class(model.config.encoder, what=_NAME)
        network = model._prepare(catalog, kind.load(Path(folder) / "encoder"))
        encoder = {f"encoder.{name}": value for name, value in network.encoder.state_dict().items()}
        try:
            network.load_state_dict({**encoder, **state})
        except RuntimeError as error:
            raise ModelError(f"{folder} holds weights that do not fit its settings: {' '.join(str(error).split())}") from error
        network.eval()
        model.train_log = TrainLog.from_dict(about["train_log"]) if about.get("train_log") else None
        return model

    def _prepare(self, catalog: ItemCatalog, encoder: TextEncoder) -> NRMSNetwork:
        texts = catalog.titles if self.config.item_text == "title" else catalog.texts
        self.catalog, self.network, self._vectors = catalog, NRMSNetwork(self.config, encoder, encoder.tokenize(texts)), None
        return self.network


class _Clicks(torch.utils.data.Dataset[int]):
    """A row a click with its negatives."""

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
