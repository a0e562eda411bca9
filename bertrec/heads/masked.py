"""The cloze: some items of a sequence are masked, and each is to be found from the others (Sun et al., CIKM 2019)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bertrec.heads.full_softmax import full_softmax
from bertrec.heads.objectives import SequenceLoss, SequenceModel
from bertrec.heads.repeats import Repeats

_LAST_ALONE = 0.2
"""Share of sequences whose last item alone is masked, as it is when users are served."""


class MaskedSoftmax(SequenceLoss):
    """Cross-entropy over all items of training, at masked places."""

    learns_repeats = True
    masks_targets: ClassVar[bool] = True

    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        whole = torch.cat([inputs[:, :1], targets], dim=1)
        masked = masked_places(whole > 0, self.config.mask_share)
        items = model.item_vectors(fresh=whole.reshape(-1))
        user = model.scaled_users(model.filled_states(items, whole, masked)[masked])
        bias = model.repeat_bias
        return full_softmax(
            user,
            model.scaled_items(items),
            whole[masked],
            candidates=model.counts > 0,
            repeats=None if bias is None else Repeats.of_visible(whole.masked_fill(masked, 0), masked, bias),
            smoothing=self.config.label_smoothing,
        )


def masked_places(real: Tensor, share: float) -> Tensor:
    """Draw which items of sequences are masked, ``[batch, length]`` bool: at least one of each, and never all.

    Args:
        real: ``[batch, length]`` bool, which places are no padding; at least two of each sequence, and the first ones.
        share: of items, each by itself. Of a fifth of the sequences, and where none or all were drawn, the last item
            alone is masked.
    """
    drawn = (torch.rand(real.shape, device=real.device) < share) & real
    alone = torch.rand(len(real), device=real.device) < _LAST_ALONE
    alone = alone | ~drawn.any(dim=1) | (drawn == real).all(dim=1)
    last = torch.arange(real.shape[1], device=real.device) == real.sum(dim=1, keepdim=True) - 1
    return torch.where(alone[:, None], last, drawn)
