"""MoRec (Yuan et al., SIGIR 2023, https://arxiv.org/abs/2303.13835): the text encoder is trained with the recommender."""

from __future__ import annotations

from typing import ClassVar

from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, ItemInput, LossConfig
from bertrec.models.sequential.config import MatchConfig, ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.training.config import TrainConfig


class MoRec(NeuralRecommender):
    """End to end with ``last:K``, ``lora`` or ``full``; two-stage with ``frozen``. Heads: self-attention (SASRec) or dssm."""

    name: ClassVar[str] = "morec"

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return our defaults; `paper_config` has the repository's."""
        return tuned_defaults(ModelConfig(), item_input=item_input or "text+id", tune=tune)

    @classmethod
    def paper_config(cls, *, encoder: str = "bert-base-uncased") -> ModelConfig:
        """Return the settings of the authors' repository, with its in-batch debiased loss."""
        return ModelConfig(
            encoder=EncoderConfig(name=encoder, pooling="cls", max_length=30, tune="full", dropout=True),
            item=ItemConfig(input="text", width=512, whitening="none", adaptor="gelu"),
            head=HeadConfig(layers=2, heads=2, inner=2048, dropout=0.1, max_history=20, repeat_bias=False),
            loss=LossConfig(kind="in-batch", similarity="dot"),
            match=MatchConfig(text=0, behaviour=0, solved=0),
            train=TrainConfig(
                learning_rate=1e-4,
                encoder_learning_rate=5e-5,
                weight_decay=0.01,
                encoder_weight_decay=0.01,
                batch_size=128,
                epochs=150,
                patience=10,
                schedule="constant",
                warmup_share=0.0,
            ),
        )
