"""The one network behind UniSRec, MoRec and IDRec: item tower, user head, loss."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.plugins import path_of
from bertrec.core.processes import world
from bertrec.encoders.text import TextEncoder
from bertrec.heads.config import HEADS, LOSSES
from bertrec.heads.contrast import make_contrast
from bertrec.heads.items import ItemTower, Tower
from bertrec.heads.objectives import SequenceLoss, make_loss
from bertrec.heads.similarity import scaled
from bertrec.heads.users import make_head
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.text_source import TextSource

# Adam moves a parameter about one learning rate per step; a useful bias is some units of a
# logit away, which this brings within reach.
_REPEAT_SCALE = 100.0
_SPARSE_FROM = 100_000
"""Items from which ``train.sparse_ids=auto`` has ID vectors learn by rows."""


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
        self.contrast = make_contrast(config.loss, config.item.width)
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

    def user_states(self, items: Tensor, inputs: Tensor, times: Tensor | None = None) -> Tensor:
        """Return the head's output at every position.

        Args:
            items: ``[m, width]`` item vectors.
            inputs: ``[batch, length]`` rows of ``items``, padded on the right.
            times: ``[batch, length]`` when each was met, in seconds; None where that is not known. A head that reads none gets none.
        """
        read = functional.embedding(inputs, items)
        states: Tensor = self.head(read, times) if self.head.reads_times else self.head(read)
        return self._checked(states, read)

    def filled_states(self, items: Tensor, sequences: Tensor, masked: Tensor) -> Tensor:
        """Return the output of a head that reads both ways; see `bertrec.heads.objectives.SequenceModel.filled_states`."""
        read = functional.embedding(sequences, items)
        return self._checked(self.head(read, masked, (sequences > 0).sum(dim=1)), read)

    def _checked(self, states: Tensor, read: Tensor) -> Tensor:
        if states.shape != read.shape:
            shapes = f"{list(states.shape)} for items of {list(read.shape)}"
            raise ModelError(f"{path_of(type(self.head))} gives {shapes}: its forward must keep the shape")
        return states

    def newest_states(self, items: Tensor, inputs: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """Return the head's output at the last of the ``lengths [batch]`` inputs of each row, ``[batch, width]``; else as `user_states`."""
        read = functional.embedding(inputs, items)
        if not self.head.reads_times:
            return self.head.newest(read, lengths)
        newest: Tensor = self.head.newest(read, lengths, times)  # type: ignore[call-arg]  # such a head takes them
        return newest

    def scaled_users(self, states: Tensor) -> Tensor:
        """Scale user vectors so that their inner product with `scaled_items` is the score."""
        return scaled(states, self.settings.loss.similarity, self.settings.loss.temperature)

    def scaled_items(self, items: Tensor) -> Tensor:
        """Scale item vectors so that their inner product with `scaled_users` is the score."""
        return scaled(items, self.settings.loss.similarity)

    def forward(self, inputs: Tensor, targets: Tensor, times: Tensor | None = None, **partners: Tensor) -> dict[str, Tensor]:
        """Return ``{"loss": scalar}``.

        Args:
            inputs: ``[batch, length]`` inner ids, 0 where padded.
            targets: ``[batch, length]`` the item after each input, 0 where there is none.
            times: ``[batch, length + 1]`` when the inputs and the last target were met, in seconds; None where that is not known.
            **partners: what `bertrec.training.partners` adds to a batch.
        """
        read = None if times is None else times[:, :-1]
        loss = self.loss(self if read is None else _WithTimes(self, read), inputs, targets)
        if loss.ndim:
            raise ModelError(f"{path_of(type(self.loss))} gives a loss of shape {list(loss.shape)}: return a scalar")
        return {"loss": loss if self.contrast is None else loss + self.contrast(self, inputs, targets, read, **partners)}


class _WithTimes:
    """A network whose user vectors read the times of one batch, so that losses need not know of them."""

    def __init__(self, network: Network, times: Tensor) -> None:
        self._network, self._times = network, times
        self.counts, self.repeat_bias = network.counts, network.repeat_bias
        self.item_vectors, self.filled_states = network.item_vectors, network.filled_states
        self.scaled_users, self.scaled_items = network.scaled_users, network.scaled_items

    def user_states(self, items: Tensor, inputs: Tensor) -> Tensor:
        """Return the head's output at every position."""
        return self._network.user_states(items, inputs, self._times)


def learn_by_rows(network: Network) -> None:
    """Before a training, give ID vectors sparse gradients where settings, loss, device and their number have it so.

    Raises:
        ConfigError: they were asked for where several GPUs train, or the device is not there.
    """
    if _learns_by_rows(network.settings, network.loss, len(network.counts) - 1):
        network.tower.learn_by_rows()


def _learns_by_rows(config: ModelConfig, loss: SequenceLoss, n_items: int) -> bool:
    if loss.reads_all_items or config.train.sparse_ids == "off":
        return False
    device = chosen_device(config.train.device).type
    if world() > 1 and device == "cuda":  # NCCL adds up no sparse gradients
        if config.train.sparse_ids == "on":
            raise ConfigError("train.sparse_ids=on: several GPUs add up no sparse gradients: leave it at auto, or train in one process")
        return False
    # What scales an fp16 loss knows no sparse gradients, and Apple's GPUs have none.
    dense = config.train.precision == "fp16" or device not in ("cpu", "cuda")
    return config.train.sparse_ids == "on" or (n_items >= _SPARSE_FROM and not dense)


def check_parts(config: ModelConfig) -> None:
    """See that head and loss belong together: whoever reads later items must not be trained on the next one.

    Raises:
        ConfigError: they do not, or there is no such class.
    """
    head, loss = HEADS.find(config.head.kind), LOSSES.find(config.loss.kind)
    if config.train.sparse_ids == "on" and loss.reads_all_items:
        raise ConfigError(f"loss.kind={config.loss.kind} reads all items in each step: leave train.sparse_ids at auto")
    if loss.masks_targets and config.train.accumulate > 1:
        what = f"loss.kind={config.loss.kind} masks at random, so that parts of a batch do not count for what their rows do"
        raise ConfigError(f"{what}: set train.accumulate to 1")
    if head.bidirectional and not loss.masks_targets:
        what = f"head.kind={config.head.kind} reads later items, which loss.kind={config.loss.kind} asks for"
        raise ConfigError(f"{what}: set loss.kind to masked")
    if loss.masks_targets and not head.bidirectional:
        what = f"loss.kind={config.loss.kind} masks items within a history, of which head.kind={config.head.kind} reads no later ones"
        raise ConfigError(f"{what}: set head.kind to bert")
