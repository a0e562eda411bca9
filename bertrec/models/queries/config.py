"""Settings of a query tower; read without loading what trains it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config
from bertrec.encoders.config import EncoderConfig
from bertrec.training.config import TrainConfig


class QueryConfig(Config):
    """How a tower over a frozen encoder learns which items answer which queries."""

    encoder: EncoderConfig = Field(EncoderConfig(), description="The encoder that reads queries and items; it stays frozen.")
    adapter: Literal["linear", "mlp"] = Field(
        "linear", description="What is added to the encoder's vectors: a matrix, or a layer of hidden units; both begin at zero."
    )
    hidden: int = Field(512, ge=1, le=1_000_000, description="Units of the adapter mlp; linear has none.")
    sides: Literal["both", "query", "shared"] = Field(
        "both",
        description="Which vectors are adapted: those of queries and items by two adapters (both), of queries alone (query), or all by one "
        "adapter (shared).",
    )
    temperature: float = Field(0.05, gt=0, le=10, description="The loss divides inner products of unit vectors by it.")
    hard_negatives: int = Field(
        4, ge=0, le=1000, description="Hard negatives drawn for each pair in each epoch, beside the other items of the batch."
    )
    mined: int = Field(
        20,
        ge=1,
        le=10_000,
        description="Of each query the best so many items by BM25, and as many by the untrained encoder, are what hard negatives are drawn "
        "from; items that are known to answer the query are left out.",
    )
    train: TrainConfig = Field(
        TrainConfig(batch_size=256, epochs=30, patience=5, metric="MRR"),
        description="The training; the metrics are MRR and Recall@1, @10, @50 over all items.",
    )
