"""ALS: matrix factorisation of implicit feedback, by the library `implicit`; a user is the closed-form answer to a history.

Hu, Koren and Volinsky, ICDM 2008, "Collaborative Filtering for Implicit Feedback Datasets", https://doi.org/10.1109/ICDM.2008.22.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from pydantic import Field

from bertrec.core.config import Config
from bertrec.core.errors import MissingExtraError
from bertrec.core.ragged import Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.models.base import FloatArray, Recommender
from bertrec.models.item_weights import HistoryConfig, faded, known_items, taken
from bertrec.models.trained_on import Training

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_FLOATS_AT_ONCE = 1 << 24


class ALSConfig(HistoryConfig):
    """Settings: the factors, their penalty, what an interaction weighs, and what a history counts."""

    width: int = Field(128, ge=1, le=4_096, description="Width of item and user vectors.")
    regularization: float = Field(30.0, gt=0, description="Penalty on the vectors, λ of the paper.")
    alpha: float = Field(40.0, gt=0, description="An interaction weighs 1 + alpha, and one that did not happen 1.")
    iterations: int = Field(15, ge=1, le=10_000, description="Rounds in which users and items are solved in turn.")
    seed: int = Field(0, ge=0, description="Seed of the first vectors.")


class ALS(Recommender):
    """Inner product of factors; no user is stored: one is solved from the history and the item factors, as training solves users.

    Args:
        config: all settings; None takes the defaults.
    """

    name: ClassVar[str] = "als"
    config_class: ClassVar[type[Config]] = ALSConfig
    item_inputs: ClassVar[tuple[str, ...]] = ("id",)
    config: ALSConfig
    _items: torch.Tensor | None = None

    def fit(self, train: Training, *, validation: EvaluationSet | None = None, progress: bool = True, **options: Any) -> Self:
        """Factorise; ``validation`` and the other options have no use here.

        Raises:
            DataError: there is nothing to train on.
            MissingExtraError: the library is not installed.
        """
        train, validation = self.check_data(train, validation)
        self.check_fit_options(options)
        self.check_start(resume=False, init=options.get("init") is not None)
        known = known_items(train)
        vectors = np.full((len(train.catalog) + 1, self.config.width), np.nan, np.float32)
        vectors[known], vectors[0] = factorised(taken(train)[:, known], self.config, progress=progress), 0
        self.reset()
        self.catalog, self._items = train.catalog, torch.from_numpy(vectors)
        self.keep_popularity(train)
        return self

    def reset(self) -> None:
        """Be as before any fit."""
        super().reset()
        self._items = None

    def item_embeddings(self) -> FloatArray:
        """Return the factors ``[n_items + 1, width]``; NaN for items that training does not hold."""
        self.catalog  # noqa: B018  # says that the model is not fitted, where that is so
        assert self._items is not None
        return self._items.numpy().copy()

    @property
    def behaviour_vectors(self) -> FloatArray:
        """The factors."""
        return self.item_embeddings()

    def user_vectors(self, histories: Ragged) -> FloatArray:
        """Return what `folded_in` gives for the known items of each history, ``[n, width]``; zeros where there is none."""
        items = self.item_embeddings()
        known = np.flatnonzero(np.isfinite(items).all(axis=1) & (np.arange(len(items)) > 0))
        table = faded(histories, self.config.decay, len(items))[:, known]
        return folded_in(table, items[known], alpha=self.config.alpha, regularization=self.config.regularization)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the factors."""
        return {"items": torch.from_numpy(self.item_embeddings())}

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        """Take the factors."""
        self._items = state["items"]


def factorised(table: csr_array, config: ALSConfig, *, progress: bool) -> FloatArray:
    """Return the item factors of ``table [users, m]``, ``[m, width]``.

    Raises:
        MissingExtraError: the library is not installed.
    """
    try:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise MissingExtraError("implicit", "als") from error
    from scipy.sparse import csr_matrix

    with threadpool_limits(1, user_api="blas"):  # the library has threads of its own, in which BLAS must have none
        model = AlternatingLeastSquares(
            factors=config.width,
            regularization=config.regularization,
            alpha=1 + config.alpha,  # whose alpha is the whole weight of an interaction
            iterations=config.iterations,
            random_state=config.seed,
        )
        model.fit(csr_matrix(table, dtype=np.float32), show_progress=progress)
    return np.asarray(model.item_factors, np.float32)


def folded_in(table: csr_array, items: FloatArray, *, alpha: float, regularization: float) -> FloatArray:
    """Return ``(YᵀY + Yᵀ(C - I)Y + λI)⁻¹ YᵀCp`` for each row, ``[n, width]``; zeros for an empty one.

    Args:
        table: ``[n, m]``, what each item of a history counts; ``C - I`` is ``alpha`` times that, and p is 1 for all of these.
        items: Y, ``[m, width]``.
        alpha: see above.
        regularization: λ.
    """
    factors, width = items.astype(np.float64), items.shape[1]
    plain = factors.T @ factors + regularization * np.eye(width)
    users = np.zeros((table.shape[0], width), np.float32)
    step = max(1, _FLOATS_AT_ONCE // width**2)
    for start in range(0, len(users), step):
        part = table[start : start + step]
        left, right = np.empty((part.shape[0], width, width)), np.empty((part.shape[0], width, 1))
        for row, (first, stop) in enumerate(zip(part.indptr[:-1], part.indptr[1:], strict=True)):
            read, more = factors[part.indices[first:stop]], alpha * part.data[first:stop]
            left[row], right[row, :, 0] = plain + (read.T * more) @ read, read.T @ (1 + more)
        # torch: NumPy's solver wakes all threads for each small system
        users[start : start + step] = torch.linalg.solve(torch.from_numpy(left), torch.from_numpy(right))[:, :, 0]
    return users
