"""The one network behind UniSRec, MoRec and IDRec: item tower, user head, loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.errors import ModelError
from bertrec.core.plugins import path_of
from bertrec.encoders.text import TextEncoder
from bertrec.heads.items import ItemTower, Tower
from bertrec.heads.objectives import make_loss
from bertrec.heads.similarity import scaled
from bertrec.heads.users import make_head
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.text_source import TextSource

# Adam moves a parameter about one learning rate per step; a useful bias is some units of a
# logit away, which this brings within reach.
_REPEAT_SCALE = 100.0


class Network(nn.Module):
    """Training and inference of a sequence recommender over text, ID or both.

    Args:
        config: the model's settings.
        n_items: size of the catalogue.
        text: where text vectors come from; None for an ID-only model.
        counts: ``[n_items + 1]`` training interactions of each inner id; items with none never enter a loss.
        tower: what makes item vectors; None takes one of text vectors and IDs.
    """

    counts: Tensor
    tower: Tower
    identity = ""  # of settings and catalogue, by which a resumed training knows its model again

    def __init__(self, config: ModelConfig, *, n_items: int, text: TextSource | None, counts: Tensor, tower: Tower | None = None) -> None:
        super().__init__()
        self.settings = config
        self.text = text
        self.tower = tower or ItemTower(config.item, n_items=n_items, text_dim=text.dim if text is not None else None)
        self.head = make_head(config.item.width, config.head)
        self.loss = make_loss(config.loss)
        learns_repeats = config.head.repeat_bias and self.loss.learns_repeats
        self.repeat = nn.Parameter(torch.zeros(())) if learns_repeats else None
        self.register_buffer("counts", counts, persistent=False)
        self.tower.trained.copy_(counts > 0)

    @property
    def repeat_bias(self) -> Tensor | None:
        """What is added to the score of an item of the history, a scalar; None where the model has no such term."""
        return self.repeat * _REPEAT_SCALE if self.repeat is not None else None

    @property
    def encoder(self) -> TextEncoder | None:
        """The encoder that is being tuned, if any."""
        return self.text.encoder if self.text is not None else None

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield what gets the encoder's learning rate."""
        return self.encoder.parameters() if self.encoder is not None else iter(())

    def item_vectors(self, rows: Tensor | None = None, fresh: Tensor | None = None) -> Tensor:
        """Return unscaled item vectors, ``[m, width]`` or ``[n_items + 1, width]``.

        Args:
            rows: ``[m]`` inner ids, each once; None takes all items.
            fresh: inner ids whose text may not be an old vector (``train.refresh_every``); None stands for all.
        """
        return self.tower(self.text(rows, fresh) if self.text is not None else None, rows)

    def user_states(self, items: Tensor, inputs: Tensor) -> Tensor:
        """Return the head's output at every position.

        Args:
            items: ``[m, width]`` item vectors.
            inputs: ``[batch, length]`` rows of ``items``, padded on the right.
        """
        read = functional.embedding(inputs, items)
        states: Tensor = self.head(read)
        if states.shape != read.shape:
            shapes = f"{list(states.shape)} for items of {list(read.shape)}"
            raise ModelError(f"{path_of(type(self.head))} gives {shapes}: its forward must keep the shape")
        return states

    def newest_states(self, items: Tensor, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the head's output at the last of the ``lengths [batch]`` inputs of each row, ``[batch, width]``; else as `user_states`."""
        return self.head.newest(functional.embedding(inputs, items), lengths)

    def scaled_users(self, states: Tensor) -> Tensor:
        """Scale user vectors so that their inner product with `scaled_items` is the score."""
        return scaled(states, self.settings.loss.similarity, self.settings.loss.temperature)

    def scaled_items(self, items: Tensor) -> Tensor:
        """Scale item vectors so that their inner product with `scaled_users` is the score."""
        return scaled(items, self.settings.loss.similarity)

    def forward(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``.

        Args:
            inputs: ``[batch, length]`` inner ids, 0 where padded.
            targets: ``[batch, length]`` the item after each input, 0 where there is none.
        """
        loss = self.loss(self, inputs, targets)
        if loss.ndim:
            raise ModelError(f"{path_of(type(self.loss))} gives a loss of shape {list(loss.shape)}: return a scalar")
        return {"loss": loss}
