"""LSTUR (An et al., ACL 2019) over a pretrained encoder: what a user likes at all times, and a GRU over the history.

The long-term vector belongs to the user's id; in training it is masked at random, so that the towers also serve users
without one. As in the paper it is either where the GRU begins (``form=ini``) or stands beside where the GRU ends
(``form=con``).

Both start from what the encoder knows: the GRU's last state goes through a matrix that begins at 0 and is added to the
mean of the history. With ``con`` the paper joins two half vectors; here the long-term one is added as it is, as wide as
an item, and begins at 0 too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from bertrec.core.config import Config
from bertrec.core.ragged import IntArray
from bertrec.data.impressions import Impressions
from bertrec.models.folder import SavedParts
from bertrec.rankers.news.config import NewsConfig
from bertrec.rankers.news.known_users import keys_of, numbers_of
from bertrec.rankers.news.texts import ItemTexts
from bertrec.rankers.news.towers import Past, UserTower, mean_of_history
from bertrec.rankers.news.two_tower import TwoTower

Form = Literal["ini", "con"]
_KEYS = "user_keys"  # among the tensors


class LSTURConfig(NewsConfig):
    """Settings of LSTUR."""

    form: Form = Field(
        "ini",
        description="Where the long-term vector goes: ini begins the GRU with it, con adds it to the end.",
    )
    user_dropout: float = Field(0.5, ge=0, le=1, description="Share of training rows whose long-term vector is masked.")


class LongShortTower(UserTower):
    """A GRU over the history and a vector for each user.

    Args:
        dim: of the item vectors.
        users: how many have a vector; number 0, who is unknown, has zeros.
        form: where it goes.
        masked: the share that is masked in training.
    """

    def __init__(self, dim: int, users: int, form: Form, masked: float) -> None:
        super().__init__()
        self.form, self.masked = form, masked
        self.longterm = nn.Embedding(users + 1, dim, padding_idx=0)
        self.gru, self.short = nn.GRU(dim, dim, batch_first=True), nn.Linear(dim, dim, bias=False)
        for begins_at_0 in (self.longterm.weight, self.short.weight):
            nn.init.zeros_(begins_at_0)
        self.empty = nn.Parameter(torch.zeros(dim))

    def forward(self, past: Past) -> Tensor:
        """Return user vectors, ``[u, dim]``."""
        longterm = self._longterm(past)
        begin = longterm if self.form == "ini" else torch.zeros_like(longterm)
        found = mean_of_history(past, self.empty) + self.short(self._last(past, begin))
        return found if self.form == "ini" else found + longterm

    def _longterm(self, past: Past) -> Tensor:
        numbers = torch.zeros_like(past.mask[:, 0], dtype=torch.int64) if past.users is None else past.users
        if self.training and self.masked:
            numbers = numbers * (torch.rand(len(numbers), device=numbers.device) >= self.masked)
        return self.longterm(numbers)

    def _last(self, past: Past, begin: Tensor) -> Tensor:
        """Return the state behind the last item, ``[u, dim]``; where the history is empty, that of the beginning."""
        states, _ = self.gru(past.items, begin[None])
        count = past.mask.sum(dim=1)
        last = states[torch.arange(len(states), device=states.device), count.clamp(min=1) - 1]
        return torch.where(count[:, None] > 0, last, begin)


class LSTUR(TwoTower):
    """A vector for each user, and a GRU over the history; users are looked up in the context that is given."""

    name: ClassVar[str] = "lstur"
    config_class: ClassVar[type[Config]] = LSTURConfig
    config: LSTURConfig

    def __init__(self, config: LSTURConfig | None = None) -> None:
        super().__init__(config)
        self._keys: IntArray = keys_of([])

    @classmethod
    def list_settings(cls, *, negatives: int, scored: bool) -> dict[str, Any]:
        """Return the negatives for lists that a retriever proposed; a reranker is not told who asks, so all users are masked."""
        return {**super().list_settings(negatives=negatives, scored=scored), "user_dropout": 1.0}

    @property
    def reads_context(self) -> bool:
        """Whether `score` reads who is asked."""
        return True

    def learn_names(self, impressions: Impressions, options: Mapping[str, Any]) -> None:
        """Take the users."""
        self._keys = keys_of(set(impressions.users))

    def take_names(self, parts: SavedParts) -> None:
        """Take the keys of users that were saved."""
        self._keys = parts.tensors[_KEYS].numpy()

    def user_numbers(self, users: Sequence[str | int] | None, count: int) -> IntArray:
        """Return the number of each user, 0 for one who is not known; ``[count]``."""
        return super().user_numbers(users, count) if users is None else numbers_of(users, self._keys)

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._keys = keys_of([])

    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the GRU and the vectors of users."""
        return LongShortTower(dim, len(self._keys), self.config.form, self.config.user_dropout)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights, and by which keys users are found."""
        return {**super().state_dict(), _KEYS: torch.from_numpy(self._keys)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take what `state_dict` gave."""
        self._keys = state[_KEYS].numpy()
        super().load_state_dict({name: value for name, value in state.items() if name != _KEYS})
