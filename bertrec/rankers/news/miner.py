r"""MINER (Li et al., Findings of ACL 2022) over a pretrained encoder: several vectors of interest for a user.

Poly attention: each of K context codes weighs the history in its own way,

.. math:: u_k = \sum_j \mathrm{softmax}_j\big(c_k^\top \tanh(W h_j) + γ \cos(t_j, t)\big)\, h_j

with :math:`\cos(t_j, t)` how like the labels of the item of the history and of the candidate are (the category-aware
bias; label vectors are the encoder's, of their names). A candidate's score is the largest of its K products, their
mean, or their sum weighted by :math:`\mathrm{softmax}_k(n^\top \mathrm{GELU}(W' u_k))`. A penalty, the mean cosine of
the K vectors, keeps them apart.

W, W' and γ begin at 0 and the codes at random, so that untrained every vector is the mean of the history. The bias is
of the candidate alone: a score does not depend on what else is in the list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize

from bertrec.core.config import Config
from bertrec.core.ragged import IntArray
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.item_labels import usual_field
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.news.config import NewsConfig
from bertrec.rankers.news.texts import ItemTexts, TextVectors, check_fields, labels_in_use, mean_of_labels, read_texts
from bertrec.rankers.news.towers import ItemTower, Past, Shown, UserTower
from bertrec.rankers.news.two_tower import TwoTower

Together = Literal["max", "mean", "weighted"]


class MINERConfig(NewsConfig):
    """Settings of MINER."""

    interests: int = Field(8, ge=1, le=1024, description="Vectors of interest for each user.")
    code_width: int = Field(64, ge=1, le=65_536, description="Dimensions of a context code.")
    together: Together = Field("weighted", description="How products with all vectors of interest become a score.")
    disagreement: float = Field(0.8, ge=0, description="Weight of the penalty on vectors of interest that are alike.")
    label_field: str | None = Field(
        None,
        description="Text field with labels for the category-aware bias; null takes the first known one, '' none.",
    )


class TopicTower(ItemTower):
    """The first view of text, and what the labels say."""

    def topics(self, vectors: TextVectors, rows: IntArray) -> Tensor | None:
        """Return the mean of the labels' names, of length 1 or 0 and without gradient, ``[m, dim]``."""
        if not self.texts.labels:
            return None
        (labels,), (names,) = self.texts.labels, self.texts.names
        used, place = labels_in_use(labels.items, rows, len(labels.names))
        with torch.no_grad():
            return normalize(mean_of_labels(labels.items, rows, vectors(names[used]), place), dim=1)


class PolyTower(UserTower):
    """Poly attention over the history. What `forward` gives are the logits of the attention, ``[u, K, H]``.

    Args:
        dim: of the item vectors.
        interests: how many vectors a user has.
        width: of a context code.
        together: how their products become one score.
        disagreement: weight of the penalty.
    """

    def __init__(self, dim: int, interests: int, width: int, together: Together, disagreement: float) -> None:
        super().__init__()
        self.together, self.disagreement = together, disagreement
        self.project = nn.Linear(dim, width, bias=False)
        self.codes = nn.Parameter(nn.init.xavier_uniform_(torch.empty(interests, width)))
        self.aware = nn.Parameter(torch.zeros(()))
        self.empty = nn.Parameter(torch.zeros(dim))
        self.weigh = nn.Linear(dim, dim, bias=False) if together == "weighted" else None
        for begins_at_0 in filter(None, (self.project, self.weigh)):
            nn.init.zeros_(begins_at_0.weight)

    def forward(self, past: Past) -> Tensor:
        """Return the logits without the bias, ``[u, K, H]``."""
        return (torch.tanh(self.project(past.items)) @ self.codes.T).transpose(1, 2)

    def interests(self, logits: Tensor, items: Tensor, mask: Tensor, like: Tensor | None = None) -> Tensor:
        """Return vectors of interest, ``[u, K, dim]``; ``like [u, H]`` is how like the labels of a candidate are."""
        logits = logits if like is None else logits + self.aware * like[:, None]
        nothing = ~mask.any(dim=1)[:, None, None]
        weights = logits.masked_fill(~mask[:, None] & ~nothing, float("-inf")).softmax(dim=-1)
        return torch.where(nothing, self.empty, weights @ items)

    def match(self, users: Tensor, past: Past, rows: Tensor, shown: Shown) -> Tensor:
        """Return the score of each candidate, ``[p]``."""
        vectors = self._of_pairs(users, past, rows, shown)
        products = (vectors @ shown.items[..., None])[..., 0]
        if self.together == "max":
            return products.amax(dim=1)
        if self.weigh is None:
            return products.mean(dim=1)
        weights = (gelu(self.weigh(vectors)) @ shown.items[..., None])[..., 0].softmax(dim=1)
        return (weights * products).sum(dim=1)

    def _of_pairs(self, users: Tensor, past: Past, rows: Tensor, shown: Shown) -> Tensor:
        """Return the vectors of interest of each candidate's user, ``[p, K, dim]``."""
        if past.topics is None or shown.topics is None:
            return self.interests(users, past.items, past.mask)[rows]
        like = (past.topics[rows] @ shown.topics[..., None])[..., 0]
        return self.interests(users[rows], past.items[rows], past.mask[rows], like)

    def penalty(self, users: Tensor, past: Past) -> Tensor | None:
        """Return the mean cosine of the vectors of interest, of each with each, over users with a history."""
        some = past.mask.any(dim=1)
        vectors = normalize(self.interests(users, past.items, past.mask)[some], dim=-1)
        alike = (vectors @ vectors.transpose(1, 2)).mean(dim=(1, 2))
        return self.disagreement * alike.sum() / some.sum().clamp(min=1)


class MINER(TwoTower):
    """Several vectors of interest by poly attention, kept apart by a penalty; like categories weigh more."""

    name: ClassVar[str] = "miner"
    config_class: ClassVar[type[Config]] = MINERConfig
    config: MINERConfig

    def learn_names(self, impressions: Impressions, options: Mapping[str, Any]) -> None:
        """See that the field of labels is there.

        Raises:
            DataError: it is not.
        """
        check_fields(impressions.catalog, [self.config.label_field] if self.config.label_field else (), "label_field")

    def read_items(self, catalog: ItemCatalog, encoder: TextEncoder) -> ItemTexts:
        """Cut texts and names of labels into word pieces."""
        field = usual_field(catalog) if self.config.label_field is None else self.config.label_field
        return read_texts(catalog, encoder, [self.own_texts(catalog)], [field] if field else ())

    def item_tower(self, dim: int, texts: ItemTexts) -> ItemTower:
        """Make the tower that also says what items are about."""
        return TopicTower(texts)

    def user_tower(self, dim: int, texts: ItemTexts) -> UserTower:
        """Make the poly attention."""
        config = self.config
        return PolyTower(dim, config.interests, config.code_width, config.together, config.disagreement)
