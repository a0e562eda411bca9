"""The graph of users and items, and propagation over it.

He et al., SIGIR 2020, "LightGCN", https://arxiv.org/abs/2002.02126.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bertrec.core.ragged import IntArray, Ragged


def neighbour_sums(vectors: Tensor, values: Tensor, offsets: Tensor, *, mean: bool = False) -> Tensor:
    """Return for each row the sum of the vectors that it names, or their mean, ``[n, width]``; zeros for an empty row.

    Args:
        vectors: ``[m, width]``.
        values: ``[total]`` rows of ``vectors``.
        offsets: ``[n + 1]``, where each row's values begin; the last one ends them.
        mean: divide by the number.
    """
    mode = "mean" if mean else "sum"
    summed: Tensor = functional.embedding_bag(values, vectors, offsets, mode=mode, include_last_offset=True)
    return summed


def distinct(rows: Ragged, n_items: int) -> Ragged:
    """Return the distinct values of each row, in rising order; none is above ``n_items``."""
    keys = np.unique(rows.rows * (n_items + 1) + rows.values)
    return Ragged.from_lengths(keys % (n_items + 1), np.bincount(keys // (n_items + 1), minlength=len(rows)))


def inverse_root(degree: Tensor) -> Tensor:
    """Return ``1 / sqrt(degree)`` as a column, ``[n, 1]``; 0 where the degree is 0."""
    roots = degree.clamp(min=1).float().rsqrt() * (degree > 0)
    return roots[:, None]


class Graph(nn.Module):
    """Which users took which items; all of it is constant.

    Args:
        items: of each user, distinct and in rising order.
        n_items: size of the catalogue.

    Attributes:
        user_scale: ``[n_users, 1]``, ``1 / sqrt(|N_u|)``.
        item_scale: ``[n_items + 1, 1]``, ``1 / sqrt(|N_i|)``; 0 for an item that nobody took.
    """

    user_scale: Tensor
    item_scale: Tensor
    user_values: Tensor
    user_offsets: Tensor
    item_values: Tensor
    item_offsets: Tensor
    keys: Tensor

    def __init__(self, items: Ragged, n_items: int) -> None:
        super().__init__()
        self.n_items = n_items
        order = np.argsort(items.values, kind="stable")
        users = Ragged.from_lengths(items.rows[order], np.bincount(items.values, minlength=n_items + 1))
        for name, rows in (("user", items), ("item", users)):
            self._constant(f"{name}_values", torch.from_numpy(rows.values))
            self._constant(f"{name}_offsets", torch.from_numpy(rows.offsets))
            self._constant(f"{name}_scale", inverse_root(torch.from_numpy(rows.lengths)))
        self._constant("keys", torch.from_numpy(items.rows * (n_items + 1) + items.values))

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value, persistent=False)

    def propagate(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return both sides one layer on: ``e_u = Σ e_i / sqrt(|N_u||N_i|)`` over the items of u, and the other way.

        Args:
            users: ``[n_users, width]``.
            items: ``[n_items + 1, width]``.
        """
        of_users = neighbour_sums(items * self.item_scale, self.user_values, self.user_offsets) * self.user_scale
        of_items = neighbour_sums(users * self.user_scale, self.item_values, self.item_offsets) * self.item_scale
        return of_users, of_items

    def holds(self, users: Tensor, items: Tensor) -> Tensor:
        """Return which of ``items [b, k]`` each of ``users [b]`` took, bool ``[b, k]``."""
        wanted = users[:, None] * (self.n_items + 1) + items
        place = torch.searchsorted(self.keys, wanted).clamp(max=len(self.keys) - 1)
        return self.keys[place] == wanted


class Pairs(torch.utils.data.Dataset[tuple[int, int]]):
    """Each user with each of the items: what is trained on.

    Args:
        rows: items of each user, distinct.
    """

    def __init__(self, rows: Ragged) -> None:
        self.users, self.items = rows.rows, rows.values

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[int, int]:
        return int(self.users[index]), int(self.items[index])

    def __getitems__(self, indices: Sequence[int] | IntArray) -> tuple[IntArray, IntArray]:  # how torch asks for a batch
        return self.users[indices], self.items[indices]

    @staticmethod
    def targets(indices: IntArray) -> int:
        """Return the targets of some pairs, one each."""
        return len(indices)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the pairs, by which a resumed run knows its data again."""
        digest = hashlib.sha256(self.users.tobytes())
        digest.update(self.items.tobytes())
        return digest.hexdigest()

    @staticmethod
    def collate(pairs: tuple[IntArray, IntArray]) -> dict[str, Tensor]:
        """Return ``users`` and ``items``, int64 ``[b]``."""
        return {"users": torch.from_numpy(pairs[0]), "items": torch.from_numpy(pairs[1])}
