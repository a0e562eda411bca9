"""The contrastive task over pairs of texts, and how well an encoder knows pairs that it has not learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.vector_ranks import RankedItems, rank_vectors
from bertrec.heads.losses import symmetric_info_nce
from bertrec.training.config import GradientCache
from bertrec.training.gradient_cache import encode_in_parts, pass_over
from bertrec.training.masked_lm import MaskedLanguageModel
from bertrec.training.pairs import PairDataset

KS = (1, 10, 50)


class ContrastiveEncoder(nn.Module):
    """An encoder that learns which texts belong together: symmetric InfoNCE over the texts of a batch.

    Args:
        encoder: in its tuning depth, on the device that trains.
        texts: which rows of a batch are numbers of.
        temperature: cosines are divided by it.
        gradient_cache: see `bertrec.training.config.TrainConfig`.
        masked: the same weights with a head, whose loss is added.
        masked_weight: what that loss is multiplied by.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        texts: list[str],
        *,
        temperature: float,
        gradient_cache: GradientCache = "auto",
        masked: MaskedEncoder | None = None,
        masked_weight: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder, self.temperature = encoder, temperature
        self.gradient_cache: GradientCache = gradient_cache
        tokens = encoder.tokenize(texts)
        self.lengths, self._encode = tokens.lengths, pass_over(encoder, tokens)
        self.words = None if masked is None else MaskedLanguageModel(masked)
        self.masked_weight = masked_weight
        self.identity = sha256_text(encoder.fingerprint, str(temperature), str(masked_weight))

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what is trained of the encoder."""
        return (parameter for parameter in self.encoder.parameters() if parameter.requires_grad)

    @torch.no_grad()
    def served(self, texts: list[str], rows: IntArray) -> Tensor:
        """Return unit vectors of the texts ``rows [m]``, float32 ``[m, dim]``, as the encoder gives them in use."""
        if self.encoder.supports_lower_states:  # what lies below the tuned layers is there already
            raw = self._encode(torch.from_numpy(rows)).cpu()
        else:
            raw = torch.from_numpy(self.encoder.encode([texts[row] for row in rows]))
        return functional.normalize(raw.float(), dim=1)

    def forward(self, rows: Tensor, left: Tensor, right: Tensor, masked: Tensor, **hidden_words: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}`` of a batch of `PairDataset.collate`."""
        vectors = encode_in_parts(self._encode, self.lengths, rows, self.encoder, self.gradient_cache)
        loss = symmetric_info_nce(vectors[left], vectors[right], masked=masked, temperature=self.temperature)
        if self.words is not None:
            loss = loss + self.masked_weight * self.words(**hidden_words)["loss"]
        return {"loss": loss}


def with_head(encoder: TextEncoder) -> MaskedEncoder:
    """Return the head that the encoder was saved with, over the encoder's own weights: what trains one trains the other.

    Raises:
        ModelError: there is none, or the architecture's head is not known here.
    """
    wanted = {name: getattr(encoder.config, name) for name in ("name", "tune", "dropout", "lora_rank", "lora_alpha", "lora_dropout")}
    precision = "bf16" if encoder.config.precision == "bf16" else "fp32" if encoder.config.precision == "fp32" else "auto"
    config = MaskedConfig.from_dict({**wanted, "precision": precision, "max_length": encoder.max_length})
    masked = MaskedEncoder.from_config(config, device=encoder.device)
    setattr(masked.model, masked.model.base_model_prefix, encoder.model)
    masked.model.tie_weights()
    return masked


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
        unit = module.served(dataset.texts.texts, items)
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
