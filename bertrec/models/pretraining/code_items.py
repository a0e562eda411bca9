"""Items as codes while a model is pre-trained: VQ-Rec's, over a quantiser of the training items of all data sets together."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from bertrec.heads.codes import CodeTower, semi_synthetic
from bertrec.models.pretraining.sources import ItemSource
from bertrec.models.sequential.neural import NeuralRecommender


class CodeItems(ItemSource):
    """The mean of the vectors of an item's codes; an altered item has most of its codes drawn anew, each from its own slot."""

    model_name: ClassVar[str] = "vqrec"

    def prepare(self, model: NeuralRecommender, *, progress: bool) -> None:
        """Nothing is read for it."""

    def altered(self, rows: Tensor) -> Tensor:
        """Return the vectors of made-up items, one for each of the inner ids ``rows [m]``, ``[m, width]``."""
        tower, text = self.network.tower, self.network.text
        assert text is not None  # the settings have seen to it
        assert isinstance(tower, CodeTower)
        assert tower.text is not None
        codes = semi_synthetic(text(rows), tower.text.size, self.settings.pretrain.made_up)
        vectors: Tensor = tower(codes, rows)
        return vectors
