"""Items as codes: an item's vector is the mean of the vectors of its codes, to scale (VQ-Rec: Hou et al., WWW 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.heads.config import ItemConfig
from bertrec.heads.items import Tower
from bertrec.heads.permutation import SlotPermutation

_STD = 0.02
"""Standard deviation of an item's vector at the start, as that of an ID vector."""


class CodeTable(nn.Module):
    """A vector for each code of each slot; ``forward`` gives the sum over an item's slots, over the root of their number.

    That is the mean times a constant: with it a step of Adam moves an item as far as a step moves an ID vector, and not by the root of
    their number less.

    Args:
        slots: codes of an item.
        size: codes that a slot chooses from.
        width: of the vectors.

    Attributes:
        embeddings: ``[slots · size, width]``; the vector of code c in slot i is row ``size · i + c``.
        permutation: what re-orders the codes of each slot, while that is learned; else None.
    """

    def __init__(self, slots: int, size: int, width: int) -> None:
        super().__init__()
        self.slots, self.size = slots, size
        self.embeddings = nn.Parameter(torch.empty(slots * size, width))
        self.restart()
        self.permutation: SlotPermutation | None = None

    def forward(self, codes: Tensor) -> Tensor:
        """Return item vectors ``[m, width]`` of whole numbers ``[m, slots]``, each below ``size``."""
        table = self.embeddings if self.permutation is None else self.permutation(self.by_slot(self.embeddings)).flatten(0, 1)
        rows = codes.long() + torch.arange(self.slots, device=codes.device) * self.size
        sums: Tensor = functional.embedding_bag(rows, table, mode="sum")
        return sums / self.slots**0.5

    def by_slot(self, weight: Tensor) -> Tensor:
        """Return ``[slots, size, width]``."""
        return weight.view(self.slots, self.size, -1)

    @torch.no_grad()
    def restart(self, points: Tensor | None = None) -> None:
        """Begin anew: at random, or as a random projection of the points that codes stand for, so that items begin as near as these are.

        Args:
            points: ``[slots, size, dim]``; those of one slot are centred here.
        """
        if points is None:
            self.embeddings.normal_(0.0, _STD)
            return
        slots, _, dim = points.shape
        points = points - points.mean(dim=1, keepdim=True)
        projection = torch.randn(slots, dim, self.embeddings.shape[1])
        vectors = points @ projection
        scale = vectors.pow(2).mean(dim=(1, 2)).sum().sqrt() / slots**0.5  # of an item with one vector of each slot
        self.embeddings.copy_((vectors / scale.clamp(min=1e-12) * _STD).flatten(0, 1))

    def start_permutation(self) -> None:
        """Learn from now on which code of each slot takes which vector."""
        self.permutation = SlotPermutation(self.slots, self.size).to(self.embeddings.device)

    @torch.no_grad()
    def keep_permutation(self) -> None:
        """Re-order the vectors as was learned, for good."""
        assert self.permutation is not None
        order = self.permutation.order()
        slots = torch.arange(self.slots, device=order.device)[:, None]
        self.embeddings.copy_(self.by_slot(self.embeddings)[slots, order].flatten(0, 1))
        self.permutation = None


class CodeTower(Tower):
    """``vector = mean over all slots``, to scale: those of an item's text, those of its behaviour, or both.

    Code 0 of a behaviour slot says that nothing is known of the item's behaviour; codes from 1 are its bins.

    Args:
        config: the settings ``item.*``.
        n_items: size of the catalogue.
        text: slots and codes of a slot; None without text.
        behaviour: slots and bins of a slot; None without behaviour.

    Attributes:
        behaviour_codes: ``[n_items + 1, slots]`` uint8, by inner id; 0 where nothing is known.
    """

    behaviour_codes: Tensor

    def __init__(self, config: ItemConfig, *, n_items: int, text: tuple[int, int] | None, behaviour: tuple[int, int] | None) -> None:
        super().__init__(n_items)
        self.config = config
        self.text = None if text is None else CodeTable(*text, config.width)
        self.behaviour = None if behaviour is None else CodeTable(behaviour[0], behaviour[1] + 1, config.width)
        if behaviour is not None:
            self.register_buffer("behaviour_codes", torch.zeros(n_items + 1, behaviour[0], dtype=torch.uint8))

    def forward(self, text: Tensor | None, rows: Tensor | None) -> Tensor:
        """Return item vectors ``[m, width]``.

        Args:
            text: ``[m, slots]`` codes of these items' texts; None for behaviour alone.
            rows: ``[m]`` inner ids; None for all items in order, from 0.
        """
        parts: list[tuple[CodeTable, Tensor]] = []
        if self.text is not None and text is not None:
            parts.append((self.text, text))
        if self.behaviour is not None:
            parts.append((self.behaviour, self._behaviour_of(rows)))
        slots = sum(table.slots for table, _ in parts)
        vectors: Tensor = sum(((table.slots / slots) ** 0.5 * table(codes) for table, codes in parts), start=torch.zeros(()))
        return vectors

    def _behaviour_of(self, rows: Tensor | None) -> Tensor:
        codes = self.behaviour_codes if rows is None else self.behaviour_codes[rows]
        if not (self.training and self.config.id_dropout and self.text is not None):
            return codes
        return codes * (torch.rand(len(codes), 1, device=codes.device) >= self.config.id_dropout)

    def id_vectors(self) -> Tensor | None:
        """Return what the codes of behaviour alone say, ``[n_items + 1, width]``; None without."""
        return None if self.behaviour is None else self.behaviour(self.behaviour_codes)

    def carry_items(self, source: Tower, rows: Tensor, origin: Tensor) -> bool:
        """Take the codes of behaviour, where there are any."""
        if self.behaviour is None or not isinstance(source, CodeTower) or source.behaviour is None:
            return self.behaviour is None
        self.behaviour_codes[rows] = source.behaviour_codes[origin]
        return True


def semi_synthetic(codes: Tensor, size: int, share: float) -> Tensor:
    """Return codes ``[m, slots]`` of which a share is replaced by random codes of the same slot: VQ-Rec's made-up negatives.

    Args:
        codes: whole numbers below ``size``.
        size: codes of a slot.
        share: of the codes, on average.
    """
    replaced = torch.rand(codes.shape, device=codes.device) < share
    return torch.where(replaced, torch.randint_like(codes.long(), size).to(codes.dtype), codes)
