"""Two views of a history that are to be alike, and unlike those of others: what ``loss.contrast`` adds to a loss."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import torch
from torch import Tensor, nn

from bertrec.heads.config import LossConfig
from bertrec.heads.losses import info_nce_of_views
from bertrec.heads.objectives import distinct_rows
from bertrec.heads.views import random_view


class ViewModel(Protocol):
    """What a contrast may ask of the model."""

    def item_vectors(self, rows: Tensor | None = None, fresh: Tensor | None = None) -> Tensor:
        """Return the item vectors ``[m, width]`` of the inner ids ``rows``."""

    def newest_states(self, items: Tensor, inputs: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """Return the user vector after the last of the ``lengths [batch]`` inputs, ``[batch, width]``."""


class Contrast(nn.Module, ABC):
    """What is added to a loss.

    Args:
        config: the settings ``loss.*``.
        width: of item and user vectors.
    """

    def __init__(self, config: LossConfig, width: int) -> None:
        super().__init__()
        self.settings = config

    @abstractmethod
    def forward(self, model: ViewModel, inputs: Tensor, targets: Tensor, times: Tensor | None, **partners: Tensor) -> Tensor:
        """Return the weighted contrast of a batch, a scalar.

        Args:
            model: gives vectors, with gradients.
            inputs: ``[batch, length]`` inner ids, oldest first, 0 where padded on the right.
            targets: ``[batch, length]`` the item after each input, 0 where there is none.
            times: ``[batch, length]`` of the inputs, in seconds; None where they are not known.
            **partners: what `bertrec.training.partners` adds to a batch.
        """

    def _of(self, left: Tensor, right: Tensor, masked: Tensor | None = None) -> Tensor:
        loss = info_nce_of_views(left, right, masked=masked, temperature=self.settings.contrast_temperature)
        return self.settings.contrast_weight * loss


class CL4SRec(Contrast):
    """Two random views of each history (Xie et al., ICDE 2022, https://arxiv.org/abs/2010.14395).

    A learned vector stands for masked items.
    """

    def __init__(self, config: LossConfig, width: int) -> None:
        super().__init__(config, width)
        self.mask = nn.Parameter(torch.empty(width).normal_(0.0, 0.02))

    def forward(self, model: ViewModel, inputs: Tensor, targets: Tensor, times: Tensor | None, **partners: Tensor) -> Tensor:
        """Return the weighted contrast of a batch."""
        distinct, (rows,) = distinct_rows(inputs)
        items = torch.cat([model.item_vectors(distinct), self.mask[None]])
        lengths = (inputs > 0).sum(dim=1)
        vectors = []
        for _ in range(2):
            view = random_view(lengths, inputs.shape[1])
            seen = rows.gather(1, view.places).masked_fill(view.masked, len(distinct))
            when = None if times is None else times.gather(1, view.moments)
            vectors.append(model.newest_states(items, seen, view.lengths, when))
        return self._of(*vectors)


class DuoRec(Contrast):
    """A history under another dropout, and one that led to the same item.

    Qiu et al., WSDM 2022, https://arxiv.org/abs/2110.05730. Histories that led to the same item are no negatives of one another.
    """

    def forward(self, model: ViewModel, inputs: Tensor, targets: Tensor, times: Tensor | None, **partners: Tensor) -> Tensor:
        """Return the weighted contrast of a batch."""
        others = partners["partners"]
        distinct, (rows, other_rows) = distinct_rows(inputs, others)
        items = model.item_vectors(distinct)
        lengths = (inputs > 0).sum(dim=1)
        left = model.newest_states(items, rows, lengths, times)
        right = model.newest_states(items, other_rows, (others > 0).sum(dim=1), partners.get("partner_times"))
        led_to = targets.gather(1, lengths[:, None] - 1)
        return self._of(left, right, led_to == led_to.T)


def make_contrast(config: LossConfig, width: int) -> Contrast | None:
    """Build what ``config.contrast`` names; None for ``none``."""
    if config.contrast == "none":
        return None
    return CL4SRec(config, width) if config.contrast == "cl4srec" else DuoRec(config, width)
