"""Full score rows of a RecBole model, in our inner ids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import EvaluationSet
from bertrec.recbole.worker.products import Products

FloatArray = npt.NDArray[np.float32]
_SCORES_AT_ONCE = 1 << 22


class Scorer:
    """Scores of a RecBole model for rows of an evaluation set.

    Args:
        trainer: RecBole's trainer of the model, whose own way of scoring is used (``full_sort_predict``, else ``predict`` of every pair).
        dataset: the training dataset, for the vocabulary.
        n_items: of our catalogue.
        trained: ``[n_items + 1]``, items that training holds.
    """

    def __init__(self, trainer: Any, dataset: Any, *, n_items: int, trained: npt.NDArray[np.bool_]) -> None:
        self.trainer, self.dataset, self.n_items, self.trained = trainer, dataset, n_items, trained
        self.items = _vocabulary(dataset, "item_id", n_items)
        trainer.item_tensor = dataset.get_item_feature().to(trainer.device)
        trainer.tot_item_num = dataset.item_num
        # Pair by pair, every score carries a whole history with it.
        width = 1 if _ranks_at_once(trainer.model) else dataset.config["MAX_ITEM_LIST_LENGTH"]
        self.batch_size = max(1, _SCORES_AT_ONCE // (dataset.item_num * width))

    def raw(self, part: EvaluationSet) -> Iterator[FloatArray]:
        """Yield ``[b, n_items + 1]`` of what the model itself says of every item, in the order of ``part``."""
        for rows in self._batches(part):
            yield self._scores(rows)[:, self.items]

    def products(self, part: EvaluationSet) -> Iterator[tuple[FloatArray, FloatArray, FloatArray] | None]:
        """Yield the same with the factors of the product behind it: scores, ``[b, d]`` of users, ``[n_items + 1, d]`` of items.

        None where the model multiplies no such matrices.
        """
        for rows in self._batches(part):
            with Products(self.dataset.item_num) as products:
                scores = self._scores(rows)
            yield None if products.last is None else (scores[:, self.items], products.last[0], products.last[1][self.items])

    def user_factors(self, part: EvaluationSet) -> Iterator[FloatArray | None]:
        """Yield of the same the users' factors alone."""
        for rows in self._batches(part):
            with Products(self.dataset.item_num) as products:
                self._scores(rows)
            yield None if products.last is None else products.last[0]

    def known(self, part: EvaluationSet) -> Iterator[FloatArray]:
        """Yield the same without items that training never saw, whose vectors are still random: no score, and no place in a history."""
        for scores in self.raw(EvaluationSet(part.users, self.readable(part.histories), part.targets)):
            scores[:, ~self.trained] = -np.inf
            yield scores

    def readable(self, histories: Ragged) -> Ragged:
        """Return histories without items that training never saw."""
        return histories.where(self.trained[histories.values])

    def _batches(self, part: EvaluationSet) -> Iterator[EvaluationSet]:
        self.trainer.model.eval()
        for start in range(0, len(part), self.batch_size):
            yield part.take(np.arange(start, min(start + self.batch_size, len(part))))

    def _scores(self, rows: EvaluationSet) -> FloatArray:
        with torch.no_grad():
            _, scores, _, _ = self.trainer._full_sort_batch_eval((self._interaction(rows), None, None, None))
        scores_of_all: FloatArray = scores.detach().float().cpu().numpy()
        return scores_of_all

    def _interaction(self, rows: EvaluationSet) -> Any:
        from recbole.data.interaction import Interaction

        tokens = self.dataset.field2token_id["user_id"]
        values = {"user_id": torch.tensor([tokens.get(str(user), 0) for user in rows.users])}
        length = self.dataset.config["MAX_ITEM_LIST_LENGTH"]
        if "item_id_list" in self.dataset.field2type:
            recent = rows.histories.last(length)
            values["item_id_list"] = torch.from_numpy(self.items[recent.padded(length)])
            values["item_length"] = torch.from_numpy(np.maximum(recent.lengths, 1))
            # A place that some models look up, though they score every item; never the target.
            values["item_id"] = torch.ones(len(rows), dtype=torch.long)
            if self.dataset.config["model"] == "DIEN":
                values["neg_item_id_list"] = torch.zeros_like(values["item_id_list"])
        return Interaction(values)


def _ranks_at_once(model: Any) -> bool:
    from recbole.model.abstract_recommender import AbstractRecommender

    return type(model).full_sort_predict is not AbstractRecommender.full_sort_predict


def _vocabulary(dataset: Any, field: str, size: int) -> IntArray:
    """Return RecBole's number of each of our inner ids, ``[size + 1]``; 0 is padding in both."""
    tokens = dataset.field2token_id[field]
    return np.array([0, *(tokens[str(number)] for number in range(1, size + 1))], dtype=np.int64)
