"""Settings of a training run."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bertrec.core.config import Config

Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
GradientCache = Literal["auto", "on", "off"]
SparseIds = Literal["auto", "on", "off"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class TrainConfig(Config):
    """How a module is trained."""

    learning_rate: float = Field(1e-3, gt=0, description="Learning rate of everything that is not the text encoder.")
    encoder_learning_rate: float = Field(
        5e-5,
        gt=0,
        description="Learning rate of the text encoder's tuned parameters.",
    )
    weight_decay: float = Field(
        0.01,
        ge=0,
        description="AdamW's decoupled weight decay; biases, norms and embedding tables never decay.",
    )
    encoder_weight_decay: float = Field(0.01, ge=0, description="Weight decay of the text encoder's tuned parameters.")
    batch_size: int = Field(
        0,
        ge=0,
        le=10_000_000,
        description="Sequences (or clicks of impressions) read at a time, in all processes together; 0 leaves the choice to the model.",
    )
    accumulate: int = Field(
        1,
        ge=1,
        le=1_000,
        description="Batches whose gradients are added up for one step, which is that of one batch so many times as large, with the memory "
        "of one; with loss.kind=in-batch an item meets the items of its own batch alone. For AlphaRec and recommenders of sequences, but "
        "not loss.kind=masked.",
    )
    epochs: int = Field(30, ge=1, le=1_000_000, description="Passes over the data, at most.")
    max_seconds: float = Field(
        0.0,
        ge=0,
        description="Training ends after so many seconds, in mid-epoch if need be, and begins no epoch that would "
        "end later; 0 sets no limit.",
    )
    patience: int = Field(
        5,
        ge=0,
        description="Epochs without a better validation figure before training stops; 0 never stops early.",
    )
    warmup_share: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Share of all steps over which the learning rate rises from 0.",
    )
    warmup_epochs: float = Field(
        0.0,
        ge=0,
        description="Epochs over which the learning rate rises from 0, however many follow; 0 leaves it to train.warmup_share.",
    )
    schedule: Schedule = Field(
        "constant",
        description="The learning rate after the warm-up: linear and cosine bring it towards 0 at the last step.",
    )
    average: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the steps so far, the latest, over which the weights are averaged: the average is judged, "
        "kept and served, in place of a decay of the learning rate; 0 averages nothing.",
    )
    max_grad_norm: float = Field(1.0, ge=0, description="Gradients are scaled down to this norm; 0 leaves them alone.")
    seed: int = Field(
        0,
        ge=0,
        lt=2**32,
        description="Seed of the data order, of dropout and of all else that is drawn in training.",
    )
    precision: Precision = Field(
        "auto",
        description="Number format of training; auto is bf16 where an encoder is tuned and the device computes in "
        "it, else fp32; fp16 needs CUDA.",
    )
    device: Device = Field(
        "auto",
        description="Where training runs; auto is the accelerator if there is one, else the CPU.",
    )
    metric: str = Field("NDCG@10", description="The validation figure that chooses the best epoch; higher is better.")
    loggers: tuple[str, ...] = Field(
        (),
        description="Where the Hugging Face Trainer reports each epoch's loss and validation figures, such as tensorboard.",
    )
    save_every_epoch: bool = Field(
        True,
        description="Write a checkpoint after each epoch; without one there is nothing to resume from.",
    )
    gradient_cache: GradientCache = Field(
        "auto",
        description="Run a tuned encoder twice per step and keep the activations of one small batch of texts, not of "
        "all: less memory, a third more work; auto does so beyond 2 GiB of activations.",
    )
    refresh_every: int = Field(
        0,
        ge=0,
        description="Steps (batches, with train.accumulate) for which a tuned encoder's vectors of items other than a step's inputs and "
        "targets are kept, without gradient; 0 reads every item each step.",
    )
    sparse_ids: SparseIds = Field(
        "auto",
        description="Whether a step changes the ID vectors of its own items alone, by lazy Adam: moments of other items rest, where Adam "
        "would let them decay and move the items on. auto does so from 100,000 items on, where the loss draws items or takes the batch's.",
    )
    evaluate_every: int = Field(1, ge=1, description="Epochs between evaluations; the last epoch is always evaluated.")

    @model_validator(mode="after")
    def _scales_no_sparse_gradient(self) -> Self:
        if self.sparse_ids == "on" and self.precision == "fp16":
            raise ValueError("sparse_ids=on does not go with precision=fp16: set one of the two to auto")
        return self
