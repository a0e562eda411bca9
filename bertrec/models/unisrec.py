"""UniSRec (Hou et al., KDD 2022, https://arxiv.org/abs/2206.05941): whitened text, an adaptor, self-attention, a softmax."""

from __future__ import annotations

from typing import ClassVar

from bertrec.encoders.config import EncoderConfig
from bertrec.heads.config import HeadConfig, ItemConfig, ItemInput, LossConfig
from bertrec.models.sequential.config import MatchConfig, ModelConfig
from bertrec.models.sequential.defaults import tuned_defaults
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.training.config import TrainConfig


class UniSRec(NeuralRecommender):
    """Text alone (the paper's inductive form) or text + ID (transductive)."""

    name: ClassVar[str] = "unisrec"

    @classmethod
    def default_config(cls, *, item_input: ItemInput | None = None, tune: str = "frozen") -> ModelConfig:
        """Return our defaults; `paper_config` has the paper's."""
        return tuned_defaults(ModelConfig(), item_input=item_input or "text+id", tune=tune)

    @classmethod
    def paper_config(cls, *, item_input: ItemInput = "text+id", encoder: str = "bert-base-uncased") -> ModelConfig:
        """Return the settings of the paper's fine-tuning from scratch: [CLS] of BERT, MoE adaptor, width 300, two layers, cosine / 0.07."""
        return ModelConfig(
            encoder=EncoderConfig(name=encoder, pooling="cls", max_length=512),
            item=ItemConfig(input=item_input, width=300, whitening="none", adaptor="moe", experts=8, dropout=0.2, id_dropout=0.0),
            head=HeadConfig(layers=2, heads=2, inner=256, dropout=0.5, max_history=50, repeat_bias=False),
            loss=LossConfig(kind="full", similarity="cosine", temperature=0.07),
            match=MatchConfig(text=0, behaviour=0, solved=0),
            train=TrainConfig(
                learning_rate=1e-3, weight_decay=0.0, batch_size=2048, epochs=300, patience=10, schedule="constant", warmup_share=0.0
            ),
        )
