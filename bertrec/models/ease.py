"""EASE: a linear model from a user's items to all items, solved in one step.

Steck, WWW 2019, "Embarrassingly Shallow Autoencoders for Sparse Data", https://arxiv.org/abs/1905.03375. Written from the paper's formulas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from bertrec.core.config import Config
from bertrec.models.base import FloatArray
from bertrec.models.item_weights import Float64Array, ItemWeights, ItemWeightsConfig, check_memory

if TYPE_CHECKING:
    from scipy.sparse import csr_array

L2 = "Penalty on the weights: λ of the paper over the mean number of users of an item in training."


class EASEConfig(ItemWeightsConfig):
    """Settings: the penalty, what a history counts, and which weights are kept."""

    l2: float = Field(6.0, gt=0, description=L2)


class EASE(ItemWeights):
    """Least squares of the matrix of users and items on itself, where no item may lend to itself.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "ease"
    config_class: ClassVar[type[Config]] = EASEConfig
    config: EASEConfig

    def weights_of(self, table: csr_array) -> Float64Array:
        """Return B, ``[m, m]``."""
        check_memory(table.shape[1], self.name)
        return solved(table, l2=self.config.l2)


def solved(table: csr_array, *, l2: float, texts: FloatArray | None = None, text: float = 0.0) -> Float64Array:
    """Return the weights ``[m, m]`` between items of a table of users and, where they are given, of texts; row h what item h lends.

    Args:
        table: ``[users, m]``, 1 where a user took an item.
        l2: penalty over the mean number of users of an item.
        texts: ``[m, dim]`` of length 1.
        text: what the cosine of two texts adds to the number of users whom two items share.
    """
    gram = (table.T @ table).toarray()
    penalty = l2 * float(np.diag(gram).mean())
    if texts is not None:
        gram += text * (texts @ texts.T)
    return autoencoder(gram, penalty)


def autoencoder(gram: Float64Array, l2: float) -> Float64Array:
    """Return B of ``min |X - XB|² + λ|B|²`` with a diagonal of 0: ``P = (XᵀX + λI)⁻¹``, ``B_ij = -P_ij / P_jj``.

    Args:
        gram: ``XᵀX``, ``[m, m]``; its memory is used.
        l2: λ, above 0.
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    gram[np.diag_indices_from(gram)] += l2
    factor, _ = dpotrf(gram.T, lower=1, overwrite_a=1)  # a transposed view is as LAPACK wants it, and symmetric: nothing is copied
    lower, _ = dpotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(lower, -1)
    inverse += inverse.T
    inverse /= -np.diag(lower)
    return inverse
