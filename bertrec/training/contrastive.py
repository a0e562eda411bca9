"""The contrastive task over pairs of texts, and how well an encoder knows pairs that it has not learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors
from bertrec.heads.losses import symmetric_info_nce
from bertrec.training.config import GradientCache
from bertrec.training.gradient_cache import encode_in_parts, pass_over
from bertrec.training.pairs import PairDataset

KS = (1, 10, 50)


class ContrastiveEncoder(nn.Module):
    """An encoder that learns which texts belong together: symmetric InfoNCE over the texts of a batch.

    Args:
        encoder: in its tuning depth, on the device that trains.
        texts: which rows of a batch are numbers of.
        temperature: cosines are divided by it.
        gradient_cache: see `bertrec.training.config.TrainConfig`.
    """

    def __init__(self, encoder: TextEncoder, texts: list[str], *, temperature: float, gradient_cache: GradientCache = "auto") -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.gradient_cache: GradientCache = gradient_cache
        tokens = encoder.tokenize(texts)
        self.lengths, self._encode = tokens.lengths, pass_over(encoder, tokens)
        self.identity = encoder.fingerprint

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield all that is trained."""
        return (parameter for parameter in self.encoder.parameters() if parameter.requires_grad)

    def vectors(self, rows: Tensor) -> Tensor:
        """Return the vectors of the texts ``rows [m]``, each once, ``[m, dim]``."""
        if self.training and torch.is_grad_enabled():
            return encode_in_parts(self._encode, self.lengths, rows, self.encoder, self.gradient_cache)
        return self._encode(rows)

    def forward(self, rows: Tensor, left: Tensor, right: Tensor, masked: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}`` of a batch of `PairDataset.collate`."""
        vectors = self.vectors(rows)
        return {"loss": symmetric_info_nce(vectors[left], vectors[right], masked=masked, temperature=self.temperature)}


@torch.no_grad()
def partner_figures(module: ContrastiveEncoder, dataset: PairDataset, pairs: IntArray, batch_size: int) -> dict[str, float]:
    """Rank the second text of each pair among all item texts but the first by the cosine to the first.

    Args:
        module: is in evaluation mode meanwhile.
        dataset: whose texts ``pairs`` holds the numbers of.
        pairs: ``[n, 2]``.
        batch_size: pairs per batch of the loss.

    Returns:
        ``Recall@1``, ``Recall@10``, ``Recall@50``, ``MRR``, and the contrastive ``loss``, which is better the lower it is.
    """
    was_training = module.training
    module.eval()
    try:
        items = np.unique(dataset.texts.of_item[dataset.texts.of_item >= 0])
        unit = functional.normalize(module.vectors(torch.from_numpy(items).to(module.encoder.device)), dim=1).float().cpu()
    finally:
        module.train(was_training)
    places = np.searchsorted(items, pairs)
    table = np.concatenate([np.zeros((1, unit.shape[1]), np.float32), unit.numpy()])
    anchors, targets = (Ragged.from_lengths(places[:, side] + 1, np.ones(len(pairs), np.int64)) for side in (0, 1))
    ranks = rank_vectors(unit.numpy()[places[:, 0]], RankedItems.of(table), targets, seen=anchors)
    recalls = {f"Recall@{k}": float((ranks <= k).mean()) for k in KS}
    return recalls | {"MRR": float((1 / ranks).mean()), "loss": _loss(unit, dataset, pairs, places, batch_size, module.temperature)}


def _loss(unit: Tensor, dataset: PairDataset, pairs: IntArray, places: IntArray, batch_size: int, temperature: float) -> float:
    """Return the mean loss of the pairs in their order."""
    total = 0.0
    for start in range(0, len(pairs), batch_size):
        some = slice(start, start + batch_size)
        left, right = unit[places[some, 0]], unit[places[some, 1]]
        masked = torch.from_numpy(dataset.masked(pairs[some]))
        total += float(symmetric_info_nce(left, right, masked=masked, temperature=temperature)) * len(left)
    return total / len(pairs)
