"""The one network behind UniSRec, MoRec and IDRec: item tower, user head, loss."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.encoders.text import TextEncoder
from bertrec.heads import losses
from bertrec.heads.full_softmax import full_softmax
from bertrec.heads.items import ItemTower
from bertrec.heads.repeats import Repeats
from bertrec.heads.similarity import paired_scores, scaled
from bertrec.heads.users import make_head, newest_states
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.text_source import TextSource

# Adam moves a parameter about one learning rate a step; a useful bias is some units of a logit away, which this brings within reach.
_REPEAT_SCALE = 100.0


class Network(nn.Module):
    """Training and inference of a sequence recommender over text, ID or both.

    Args:
        config: the model's settings.
        n_items: size of the catalogue.
        text: where text vectors come from; None for an ID-only model.
        counts: ``[n_items + 1]`` training interactions of each inner id; items with none never enter a loss.
    """

    counts: Tensor
    identity = ""  # of settings and catalogue, by which a resumed training knows its model again

    def __init__(self, config: ModelConfig, *, n_items: int, text: TextSource | None, counts: Tensor) -> None:
        super().__init__()
        self.settings = config
        self.text = text
        self.tower = ItemTower(config.item, n_items=n_items, text_dim=text.dim if text is not None else None)
        self.head = make_head(config.item.width, config.head)
        learns_repeats = config.head.repeat_bias and config.loss.kind == "full"
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
        states: Tensor = self.head(functional.embedding(inputs, items))
        return states

    def newest_states(self, items: Tensor, inputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the head's output at the last of the ``lengths [batch]`` inputs of each row, ``[batch, width]``; else as `user_states`."""
        return newest_states(self.head, functional.embedding(inputs, items), lengths)

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
        steps = {"full": self._full, "in-batch": self._in_batch, "sampled": self._sampled, "gbce": self._pairs, "bpr": self._pairs}
        return {"loss": steps[self.settings.loss.kind](inputs, targets)}

    def _full(self, inputs: Tensor, targets: Tensor) -> Tensor:
        items, used = self.item_vectors(fresh=_read(inputs, targets)), targets > 0
        user = self.scaled_users(self.user_states(items, inputs)[used])
        bias = self.repeat_bias
        repeats = Repeats.of_sequences(inputs, used, bias) if bias is not None else None
        return full_softmax(
            user,
            self.scaled_items(items),
            targets[used],
            candidates=self.counts > 0,
            repeats=repeats,
            smoothing=self.settings.loss.label_smoothing,
        )

    def _distinct(self, *ids: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return the distinct ids (0 first), how often each stands, and each given tensor as rows of them."""
        flat = torch.cat([torch.zeros(1, dtype=torch.long, device=ids[0].device), *(part.reshape(-1) for part in ids)])
        distinct, where, slots = flat.unique(return_inverse=True, return_counts=True)
        parts = where[1:].split([part.numel() for part in ids])
        return distinct, slots, [part.view_as(like) for part, like in zip(parts, ids, strict=True)]

    def _log_share(self, ids: Tensor) -> Tensor:
        return (self.counts[ids].clamp(min=1) / self.counts.sum()).log()

    def _in_batch(self, inputs: Tensor, targets: Tensor) -> Tensor:
        used = targets > 0
        whole = torch.cat([inputs[:, :1], targets], dim=1)
        distinct, slots, (rows, whole_rows) = self._distinct(inputs, whole)
        slots = torch.bincount(whole_rows.reshape(-1), minlength=len(distinct))
        items = self.item_vectors(distinct)
        user = self.scaled_users(self.user_states(items, rows)[used])
        own = torch.zeros(len(inputs), len(distinct), dtype=torch.bool, device=inputs.device).scatter_(1, whole_rows, True)
        # Padding is nobody's candidate; it is row 0 and no target, so that masking it as everybody's own removes it.
        own[:, 0] = True
        return losses.in_batch_softmax(
            user,
            self.scaled_items(items),
            whole_rows[:, 1:][used],
            log_q=self._log_share(distinct),
            slots=slots.clamp(min=1).float(),
            owner=used.nonzero(as_tuple=True)[0],
            own=own,
        )

    def _sampled(self, inputs: Tensor, targets: Tensor) -> Tensor:
        used = targets > 0
        drawn = torch.multinomial(self.counts.float(), self.settings.loss.negatives, replacement=True)
        distinct, _, (rows, target_rows, drawn_rows) = self._distinct(inputs, targets, drawn)
        items = self.item_vectors(distinct, fresh=_read(inputs, targets))
        vectors = self.scaled_items(items)
        user = self.scaled_users(self.user_states(items, rows)[used])
        shift = math.log(self.settings.loss.negatives)
        return losses.sampled_softmax(
            user,
            vectors[target_rows[used]],
            vectors[drawn_rows],
            target_ids=targets[used],
            negative_ids=drawn,
            log_q_positive=self._log_share(targets[used]) + shift,
            log_q_negative=self._log_share(drawn) + shift,
        )

    def _pairs(self, inputs: Tensor, targets: Tensor) -> Tensor:
        used = targets > 0
        wanted = targets[used]
        pool = (self.counts > 0).nonzero(as_tuple=True)[0]
        drawn = pool[torch.randint(len(pool), (len(wanted), self.settings.loss.negatives), device=pool.device)]
        distinct, _, (rows, wanted_rows, drawn_rows) = self._distinct(inputs, wanted, drawn)
        items = self.item_vectors(distinct, fresh=_read(inputs, targets))
        vectors = self.scaled_items(items)
        user = self.scaled_users(self.user_states(items, rows)[used])
        right = paired_scores(user, vectors[wanted_rows][:, None]).squeeze(1)
        wrong = paired_scores(user, vectors[drawn_rows])
        wrong = wrong.masked_fill(drawn == wanted[:, None], -math.inf)
        if self.settings.loss.kind == "bpr":
            return losses.bpr(right, wrong)
        return losses.gbce(right, wrong, n_items=len(pool), calibration=self.settings.loss.calibration)


def _read(inputs: Tensor, targets: Tensor) -> Tensor:
    """Return the ids of a batch's inputs and targets."""
    return torch.cat([inputs.reshape(-1), targets.reshape(-1)])
