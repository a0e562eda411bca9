"""ItemKNN: the items whose users are most alike, by cosine.

Deshpande and Karypis, ACM TOIS 2004, "Item-Based Top-N Recommendation Algorithms", https://doi.org/10.1145/963770.963776.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from bertrec.core.config import Config
from bertrec.models.item_weights import ItemWeights, ItemWeightsConfig

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class ItemKNNConfig(ItemWeightsConfig):
    """Settings: the lists, their cosine, and what a history counts."""

    decay: float = Field(
        0.8, gt=0, le=1, description="What an item of a history counts for each step that it is older; 1 counts all alike, as published."
    )
    neighbours: int = Field(20, ge=1, le=100_000, description="Items that each item's list holds.")
    shrinkage: float = Field(
        20.0, ge=0, description="Added to the product of two lengths in the cosine: what few users tell counts less; 0 is the plain cosine."
    )
    unit_users: bool = Field(False, description="Scale users to length 1 first, so that one with many items tells less of each pair.")


class ItemKNN(ItemWeights):
    """Cosine of the columns of the matrix of users and items: ``c_ij / (|x_i| |x_j| + s)``; each item lends to those of its list.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "itemknn"
    config_class: ClassVar[type[Config]] = ItemKNNConfig
    config: ItemKNNConfig

    def weights_of(self, table: csr_array) -> csr_array:
        """Return the cosines, ``[m, m]``, 0 for an item and itself."""
        from scipy.sparse import coo_array, diags_array

        scaled = diags_array(1 / np.sqrt(np.maximum(np.diff(table.indptr), 1))) @ table if self.config.unit_users else table
        lengths = np.sqrt(np.asarray(scaled.power(2).sum(axis=0)).ravel())
        counts = coo_array(scaled.T @ scaled)
        values = counts.data / (lengths[counts.row] * lengths[counts.col] + self.config.shrinkage) * (counts.row != counts.col)
        return coo_array((values, (counts.row, counts.col)), shape=counts.shape).tocsr()
