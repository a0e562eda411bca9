"""CTRL (Li et al. 2023, https://arxiv.org/abs/2306.02841): a tabular tower is aligned with texts, then trained and served alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bertrec.core.config import Config
from bertrec.core.files import sha256_text
from bertrec.data.impressions import Impressions
from bertrec.encoders.base import Encoder
from bertrec.encoders.registry import make_encoder
from bertrec.heads.losses import symmetric_info_nce
from bertrec.rankers.base import checkpoints
from bertrec.rankers.tabular.config import CTRLConfig
from bertrec.rankers.tabular.network import TabularNetwork
from bertrec.rankers.tabular.ranker import TabularRanker
from bertrec.rankers.tabular.rows import Batch, RowDataset
from bertrec.rankers.tabular.written import written_pairs
from bertrec.training.fit import fit_module
from bertrec.training.randomness import preserved_randomness

_SAME = 1 - 1e-6  # cosine of texts from which on they are one text
_PAIRS = "pairs"  # in a batch: the number of each candidate among all, for texts of whole pairs


class Alignment(nn.Module):
    """Brings a tabular tower's vector of a pair near the vector of its text, away from those of the batch's other pairs.

    Pairs whose texts are the same are no negatives of one another.

    Args:
        network: whose tower learns.
        texts: ``[n_items + 1, d]`` vectors of the items' texts, padding first; or ``[total pairs, d]`` of whole pairs.
        whole: whether they are of whole pairs.
        config: temperature and width.
    """

    def __init__(self, network: TabularNetwork, texts: Tensor, config: CTRLConfig, *, whole: bool) -> None:
        super().__init__()
        self.network, self.whole, self.temperature = network, whole, config.temperature
        self.register_buffer("texts", texts, persistent=False)
        self.of_tower = nn.Linear(network.tower.dim, config.align_width)
        self.of_text = nn.Linear(texts.shape[1] * (1 if whole else 2), config.align_width)

    def text_vectors(self, histories: Tensor, candidates: Tensor, pairs: Tensor) -> Tensor:
        """Return the vectors of the texts of ``[u, g]`` pairs: of a whole text, or the history's mean beside the candidate's."""
        texts = self.texts
        assert isinstance(texts, Tensor)
        if self.whole:
            return texts[pairs.clamp(min=0)]
        mean = texts[histories].sum(dim=1) / (histories > 0).sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([mean[:, None].expand(-1, candidates.shape[1], -1), texts[candidates]], dim=2)

    def forward(self, labels: Tensor, pairs: Tensor, **batch: Tensor) -> dict[str, Tensor]:
        """Return the symmetric InfoNCE of all candidates of the batch; no label is read, but -1 where there is no candidate."""
        present = labels >= 0
        tower = self.network.pair_vectors(**batch)[present]
        text = self.text_vectors(batch["histories"], batch["candidates"], pairs)[present]
        unit = normalize(text, dim=1)
        same = unit @ unit.T > _SAME
        masked = torch.stack([same, same])
        left, right = self.of_tower(tower), self.of_text(text)
        return {"loss": symmetric_info_nce(left, right, masked=masked, temperature=self.temperature)}


class _Numbered(torch.utils.data.Dataset[int]):
    """Training data with the number of each candidate."""

    def __init__(self, dataset: RowDataset, texts: str) -> None:
        self.dataset, self.content_hash = dataset, sha256_text(dataset.content_hash, texts)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> int:
        return index

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterable[npt.NDArray[np.int64]]:
        return self.dataset.batches(epoch, batch_size, seed)

    def collate(self, indices: list[int]) -> Batch:
        _, at = self.dataset.rows.batch(np.asarray(indices, np.int64))
        return {**self.dataset.collate(indices), _PAIRS: torch.from_numpy(at)}


class CTRL(TabularRanker):
    """A din or dcn tower that is first aligned with texts, then trained; no text is read when it serves."""

    name: ClassVar[str] = "ctrl"
    config_class: ClassVar[type[Config]] = CTRLConfig
    config: CTRLConfig

    def _train(self, dataset: RowDataset, shown: Impressions, evaluate: Any, options: Mapping[str, Any]) -> None:
        """Align the tower, then train it; the checkpoints of the alignment are of no use after that."""
        place = None if options.get("run_dir") is None else Path(options["run_dir"]) / "alignment"
        self._align(dataset, shown, {**options, "run_dir": place})
        super()._train(dataset, shown, evaluate, options)
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)

    def _align(self, dataset: RowDataset, shown: Impressions, options: Mapping[str, Any]) -> None:
        config, network, whole = self.config, self._trained, self.config.text == "written"
        shown.catalog.require_text(self.name)
        encoder = make_encoder(config.encoder)
        texts = torch.from_numpy(self._pair_texts(encoder, dataset, shown) if whole else _item_texts(encoder, shown))
        with preserved_randomness():
            torch.manual_seed(config.train.seed)
            module = Alignment(network, texts, config, whole=whole)
        numbered = _Numbered(dataset, sha256_text(encoder.fingerprint, config.text))
        train = config.align.model_copy(update={"seed": config.train.seed})
        fit_module(module, numbered, numbered.collate, train, **checkpoints(options))

    def _pair_texts(self, encoder: Encoder, dataset: RowDataset, shown: Impressions) -> npt.NDArray[np.float32]:
        return encoder.encode_kept(written_pairs(self._features, dataset.rows, shown.catalog))


def _item_texts(encoder: Encoder, shown: Impressions) -> npt.NDArray[np.float32]:
    vectors = encoder.encode_items(shown.catalog)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return np.concatenate([np.zeros_like(unit[:1]), unit])
