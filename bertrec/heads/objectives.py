"""What is minimised over a batch of sequences, by name: a loss asks a model for vectors and gives one number.

The formulas are those of `bertrec.heads.losses` and `bertrec.heads.full_softmax`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from bertrec.core.foreign import guard_results, tensor
from bertrec.heads import losses
from bertrec.heads.config import LOSSES, LossConfig
from bertrec.heads.draws import ItemDraw
from bertrec.heads.full_softmax import full_softmax
from bertrec.heads.gathered import gathered_items
from bertrec.heads.repeats import Repeats
from bertrec.heads.similarity import paired_scores


class SequenceModel(Protocol):
    """What a loss may ask of the model.

    Attributes:
        counts: ``[n_items + 1]`` training interactions of each inner id; items with none must never enter a loss.
    """

    counts: Tensor

    @property
    def repeat_bias(self) -> Tensor | None:
        """What is added to the score of an item of the history, a scalar; None where the model has no such term."""

    def item_vectors(self, rows: Tensor | None = None, fresh: Tensor | None = None) -> Tensor:
        """Return item vectors, ``[m, width]`` of the inner ids ``rows`` or ``[n_items + 1, width]`` of all.

        Args:
            rows: ``[m]`` inner ids, each once; row 0 is padding.
            fresh: inner ids whose text may not be an old vector (``train.refresh_every``); None stands for all.
        """

    def user_states(self, items: Tensor, inputs: Tensor) -> Tensor:
        """Return the user vector at every position, ``[batch, length, width]``.

        Args:
            items: ``[m, width]``, from `item_vectors`.
            inputs: ``[batch, length]`` rows of ``items``, padded on the right.
        """

    def filled_states(self, items: Tensor, sequences: Tensor, masked: Tensor) -> Tensor:
        """Return the vector at every position, of a head that reads both ways, ``[batch, length, width]``.

        Args:
            items: ``[m, width]``, from `item_vectors`.
            sequences: ``[batch, length]`` rows of ``items``, padded with 0 on the right.
            masked: ``[batch, length]`` bool, places whose item the head may not read.
        """

    def scaled_users(self, states: Tensor) -> Tensor:
        """Scale user vectors ``[…, width]`` so that their inner product with `scaled_items` is the score."""

    def scaled_items(self, items: Tensor) -> Tensor:
        """Scale item vectors ``[…, width]`` so that their inner product with `scaled_users` is the score."""


class SequenceLoss(ABC):
    """The number that training makes small; ``loss.kind`` names a class derived from it.

    A loss has no settings and no weights of its own: it reads those settings that mean something to it.

    Args:
        config: the settings ``loss.*``.

    Attributes:
        learns_repeats: whether it adds `SequenceModel.repeat_bias` to the scores of repeated items, so that the model has
            one to learn (with ``head.repeat_bias``).
        masks_targets: whether it asks for `SequenceModel.filled_states` with its targets masked, and so trains a head that reads both ways;
            others ask for `SequenceModel.user_states`.
        reads_all_items: whether it may ask for the vectors of all items; one that never does lets a step cost what its items cost
            (``train.sparse_ids``).
    """

    learns_repeats: ClassVar[bool] = False
    masks_targets: ClassVar[bool] = False
    reads_all_items: ClassVar[bool] = True

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        guard_results(cls, {"__call__": tensor})

    @abstractmethod
    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the positions that have a target, a scalar.

        Args:
            model: gives vectors, with gradients.
            inputs: ``[batch, length]`` inner ids, oldest first, 0 where padded on the right.
            targets: ``[batch, length]`` the item after each input, 0 where there is none.
        """


class FullSoftmax(SequenceLoss):
    """Cross-entropy over all items of training."""

    learns_repeats = True

    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        items, used = model.item_vectors(fresh=_read(inputs, targets)), targets > 0
        user = model.scaled_users(model.user_states(items, inputs)[used])
        bias = model.repeat_bias
        repeats = Repeats.of_sequences(inputs, used, bias) if bias is not None else None
        return full_softmax(
            user,
            model.scaled_items(items),
            targets[used],
            candidates=model.counts > 0,
            repeats=repeats,
            smoothing=self.config.label_smoothing,
        )


class _Drawing(SequenceLoss):
    """A loss over items that are drawn, or that the batch has."""

    reads_all_items = False
    _draw: ItemDraw | None = None

    def _draw_of(self, model: SequenceModel) -> ItemDraw:
        if self._draw is None or self._draw.counts is not model.counts:
            self._draw = ItemDraw(model.counts)
        return self._draw


class InBatchSoftmax(_Drawing):
    """Softmax over the items of the batch, debiased by their shares of the training interactions."""

    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        used = targets > 0
        whole = torch.cat([inputs[:, :1], targets], dim=1)
        distinct, (rows, whole_rows) = distinct_rows(inputs, whole)
        items = model.item_vectors(distinct)
        user = model.scaled_users(model.user_states(items, rows)[used])
        slots = torch.bincount(whole_rows.reshape(-1), minlength=len(distinct))
        offered = gathered_items(distinct, slots, model.scaled_items(items))
        own = torch.zeros(len(inputs), len(offered.ids), dtype=torch.bool, device=inputs.device)
        own.scatter_(1, whole_rows, True)
        # Padding is nobody's candidate; it is row 0 and no target, so that masking it as everybody's own removes it.
        own[:, 0] = True
        return losses.in_batch_softmax(
            user,
            offered.vectors,
            whole_rows[:, 1:][used],
            log_q=self._draw_of(model).log_share(offered.ids),
            slots=offered.slots.clamp(min=1).float(),
            owner=used.nonzero(as_tuple=True)[0],
            own=own,
        )


class SampledSoftmax(_Drawing):
    """Softmax over the target and items drawn by their shares of the interactions, the same for a whole batch."""

    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        used, draw = targets > 0, self._draw_of(model)
        drawn = draw.by_share(self.config.negatives)
        distinct, (rows, target_rows, drawn_rows) = distinct_rows(inputs, targets, drawn)
        items = model.item_vectors(distinct, fresh=_read(inputs, targets))
        vectors = model.scaled_items(items)
        user = model.scaled_users(model.user_states(items, rows)[used])
        shift = math.log(self.config.negatives)
        return losses.sampled_softmax(
            user,
            vectors[target_rows[used]],
            vectors[drawn_rows],
            target_ids=targets[used],
            negative_ids=drawn,
            log_q_positive=draw.log_share(targets[used]) + shift,
            log_q_negative=draw.log_share(drawn) + shift,
        )


class _Pairs(_Drawing):
    """Each target against items drawn evenly for its position."""

    def __call__(self, model: SequenceModel, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of a batch."""
        used, draw = targets > 0, self._draw_of(model)
        wanted = targets[used]
        drawn = draw.evenly((len(wanted), self.config.negatives))
        distinct, (rows, wanted_rows, drawn_rows) = distinct_rows(inputs, wanted, drawn)
        items = model.item_vectors(distinct, fresh=_read(inputs, targets))
        vectors = model.scaled_items(items)
        user = model.scaled_users(model.user_states(items, rows)[used])
        right = paired_scores(user, vectors[wanted_rows][:, None]).squeeze(1)
        wrong = paired_scores(user, vectors[drawn_rows])
        return self._of(right, wrong.masked_fill(drawn == wanted[:, None], -math.inf), len(draw.pool))

    @abstractmethod
    def _of(self, right: Tensor, wrong: Tensor, n_items: int) -> Tensor:
        """Return the loss of a batch.

        Args:
            right: ``[positions]`` scores of the targets.
            wrong: ``[positions, k]`` scores of the drawn items; −inf where one must not count.
            n_items: how many items were drawn from.
        """


class GeneralisedBCE(_Pairs):
    """Generalised binary cross-entropy of gSASRec."""

    def _of(self, right: Tensor, wrong: Tensor, n_items: int) -> Tensor:
        return losses.gbce(right, wrong, n_items=n_items, calibration=self.config.calibration)


class BPR(_Pairs):
    """Bayesian personalised ranking."""

    def _of(self, right: Tensor, wrong: Tensor, n_items: int) -> Tensor:
        return losses.bpr(right, wrong)


def make_loss(config: LossConfig) -> SequenceLoss:
    """Build the loss that ``config.kind`` names.

    Raises:
        ConfigError: there is no such class, or it is no whole loss.
    """
    loss: SequenceLoss = LOSSES.find(config.kind)(config)
    return loss


def distinct_rows(*ids: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return the distinct ids, 0 first, and each given tensor as rows of them.

    `SequenceModel.item_vectors` of these ids computes each item once.
    """
    flat = torch.cat([torch.zeros(1, dtype=torch.long, device=ids[0].device), *(part.reshape(-1) for part in ids)])
    distinct, where = flat.unique(return_inverse=True)
    parts = where[1:].split([part.numel() for part in ids])
    return distinct, [part.view_as(like) for part, like in zip(parts, ids, strict=True)]


def _read(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the ids of a batch's inputs and targets."""
    return torch.cat([inputs.reshape(-1), targets.reshape(-1)])
