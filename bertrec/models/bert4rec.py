"""BERT4Rec (Sun et al., CIKM 2019, https://arxiv.org/abs/1904.06690): masked items of a history are found from both sides."""

from __future__ import annotations

from typing import ClassVar

from bertrec.heads.config import ItemInput
from bertrec.models.sequential.config import ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.neural import NeuralRecommender


class BERT4Rec(NeuralRecommender):
    """BERT4Rec's head and loss over text, ids or both."""

    name: ClassVar[str] = "bert4rec"

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return the settings of `bertrec.models.UniSRec` with the head ``bert`` and the loss ``masked``.

        With a tuned encoder the texts of the catalogue are encoded every 100 steps: the softmax runs over all of them.
        """
        config = tuned_defaults(ModelConfig(), item_input=item_input or "text+id", tune=tune)
        config = config.updated({"head.kind": "bert", "loss.kind": "masked"})
        return config if tune == "frozen" else config.updated({"train.refresh_every": 100})
