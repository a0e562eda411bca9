"""A masked language model that is asked whether a candidate suits a history."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertrec.core.files import sha256_text
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.shared_prefix import Prefix, read_continuations, read_prefix
from bertrec.heads.dropout import with_quick_dropout
from bertrec.rankers.losses import rank_loss
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.distillation import distillation_loss
from bertrec.rankers.prompts.prior import Prior
from bertrec.rankers.prompts.verbalizer import Verbalizer


class VectorMap(nn.Module):
    """From the space of an ID model into the word embeddings (CoLLM's CIE mapping: Linear, ReLU, Linear).

    Args:
        items: the ID model's item vectors, ``[n_items + 1, d]``, row 0 for padding; constant.
        width: of the word embeddings.
        spread: standard deviation of the word embeddings, to which the mapped vectors are scaled at the start.
    """

    items: Tensor

    def __init__(self, items: Tensor, width: int, spread: float) -> None:
        super().__init__()
        self.register_buffer("items", items, persistent=True)
        inner = 10 * items.shape[1]
        last = nn.Linear(inner, width)
        self.map = nn.Sequential(nn.Linear(items.shape[1], inner), nn.ReLU(), last)
        with torch.no_grad():
            scale = spread / self.map(items[1:]).std().clamp(min=1e-6)
            last.weight.mul_(scale)
            last.bias.mul_(scale)

    def forward(self, vectors: Tensor) -> Tensor:
        """Map ``[…, d]`` to ``[…, width]``."""
        mapped: Tensor = self.map(vectors)
        return mapped


class PromptNetwork(nn.Module):
    """Encoder, verbalizer and loss; what it returns for a pair is the margin of its positive answer.

    Args:
        encoder: the masked language model with the prompt's soft tokens.
        verbalizer: the answers.
        config: the settings.
        slots: token ids that stand in place of the vectors of ``user`` and ``item``.
        vectors: maps them; None where the prompt has no such slot.
        prior: joins another model's scores; None without one.
    """

    def __init__(
        self,
        encoder: MaskedEncoder,
        verbalizer: Verbalizer,
        config: PromptConfig,
        *,
        slots: dict[str, int],
        vectors: VectorMap | None = None,
        prior: Prior | None = None,
    ) -> None:
        super().__init__()
        with_quick_dropout(encoder.base)
        self.encoder, self.vectors, self.prior = encoder, vectors, prior
        self.verbalizer, self.slots, self.loss = verbalizer, slots, config.loss
        self.distill, self.temperature = config.distill, config.distill_temperature
        self.mask_id = int(encoder.tokenizer.mask_token_id)
        # By it a resumed training knows its model again: two templates may have parameters of the same shapes.
        settings = str({name: value for name, value in config.to_flat().items() if not name.startswith("train.")})
        self.identity = sha256_text(settings, *([] if prior is None else ["prior"]))

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return what takes the encoder's learning rate."""
        return list(self.encoder.encoder_parameters())

    def forward(self, labels: Tensor, prior: Tensor | None = None, teacher: Tensor | None = None, **batch: Tensor) -> dict[str, Tensor]:
        """Return the loss of clicks ``labels [u, g]`` (1), negatives (0) and empty places (-1), from ``prior [u, g]`` scores too.

        Where there are scores of a ``teacher [u, g]``, how far the prompt's own margins are from them is added.
        """
        margins = self.margins(**batch)
        joined = self.prior(margins, prior) if self.prior is not None and prior is not None else margins
        # Cross-entropy over two answers is the logistic loss of their margin.
        loss = rank_loss(joined, labels, self.loss)
        if teacher is not None:
            loss = loss + self.distill * distillation_loss(margins, teacher, self.temperature)
        return {"loss": loss}

    def margins(self, items: Tensor, users: Tensor | None = None, **tokens: Tensor) -> Tensor:
        """Return the positive answer's logit less the negative's, ``[u, g]`` float32; places without a candidate hold anything finite."""
        if "prefix" in tokens:
            shared = self.read(tokens["prefix"], tokens["prefix_mask"], users)
            return self.ask(shared, items, tokens["suffix"], tokens["suffix_mask"])
        place = tokens["place"]
        found = self._answer(self._joint(items, users, **tokens))
        return torch.zeros(items.numel(), device=place.device).index_put((place,), found).reshape(items.shape)

    def mask_states(self, items: Tensor, users: Tensor | None = None, **tokens: Tensor) -> Tensor:
        """Return the hidden states at the masks of all candidates, ``[m, dim]``, in the order of ``items [u, g]`` without its zeros."""
        if "prefix" in tokens:
            shared = self.read(tokens["prefix"], tokens["prefix_mask"], users)
            return self._continued(shared, items, tokens["suffix"], tokens["suffix_mask"])[items.flatten() > 0]
        return self._joint(items, users, **tokens)

    def read(self, prefix: Tensor, prefix_mask: Tensor, users: Tensor | None = None) -> Prefix:
        """Read histories, ``[u, P]`` tokens, once for all of their candidates; ``users [u, d]`` fills the slot ``{user}``."""
        with self.encoder.computing():
            lead = self._with_vectors(prefix, "user", None if users is None else users[:, None])
            return read_prefix(self.encoder.base, lead, prefix_mask.bool())

    def ask(self, shared: Prefix, items: Tensor, suffix: Tensor, suffix_mask: Tensor) -> Tensor:
        """Return the margins ``[u, g]`` of candidates ``items [u, g]``, the rest of whose prompts is ``suffix [u, g, S]``."""
        return self._answer(self._continued(shared, items, suffix, suffix_mask)).reshape(items.shape)

    def _continued(self, shared: Prefix, items: Tensor, suffix: Tensor, suffix_mask: Tensor) -> Tensor:
        """Return the hidden states at the masks, ``[u · g, dim]``."""
        with self.encoder.computing():
            own = self._with_vectors(suffix, "item", self._item_vectors(items)[..., None, :] if self.vectors is not None else None)
            hidden = read_continuations(self.encoder.base, shared, own, suffix_mask.bool())
        at = (suffix == self.mask_id).int().argmax(dim=-1)[..., None, None].expand(*items.shape, 1, hidden.shape[-1])
        return hidden.gather(2, at).flatten(0, 2)

    def _joint(self, items: Tensor, users: Tensor | None, tokens: Tensor, tokens_mask: Tensor, place: Tensor) -> Tensor:
        at, vectors = self._places(tokens, place, items, users)
        hidden = self.encoder.hidden(tokens, tokens_mask, vectors=vectors, at=at)
        return hidden[torch.arange(len(tokens), device=tokens.device), (tokens == self.mask_id).int().argmax(dim=1)]

    def _answer(self, hidden: Tensor) -> Tensor:
        scores = self.verbalizer(self.encoder.logits(hidden))
        return scores[:, 1] - scores[:, 0]

    def _item_vectors(self, items: Tensor) -> Tensor:
        assert self.vectors is not None
        return self.vectors.items[items]

    def _with_vectors(self, tokens: Tensor, slot: str, vectors: Tensor | None) -> Tensor:
        """Return word embeddings, those of the slot replaced by mapped vectors, one for each row of tokens."""
        embedded = self.encoder.embed(tokens)
        if self.vectors is None or vectors is None or slot not in self.slots:
            return embedded
        return torch.where((tokens == self.slots[slot])[..., None], self.vectors(vectors), embedded)

    def _places(
        self, tokens: Tensor, place: Tensor, items: Tensor, users: Tensor | None
    ) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
        if self.vectors is None:
            return None, None
        rows, columns, vectors = [], [], []
        for slot, found in self.slots.items():
            row, column = (tokens == found).nonzero(as_tuple=True)
            rows.append(row)
            columns.append(column)
            owner = place[row]
            known = self._item_vectors(items.flatten()[owner]) if slot == "item" else self._user_vectors(users)[owner // items.shape[1]]
            vectors.append(self.vectors(known))
        return (torch.cat(rows), torch.cat(columns)), torch.cat(vectors)

    @staticmethod
    def _user_vectors(users: Tensor | None) -> Tensor:
        assert users is not None
        return users
