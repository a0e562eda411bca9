"""Settings of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bertrec.core.config import Config

Schedule = Literal["constant", "linear", "cosine"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
GradientCache = Literal["auto", "on", "off"]
Device = Literal["auto", "cpu", "cuda", "mps"]


class TrainConfig(Config):
    """How a module is trained.

    Attributes:
        learning_rate: of everything that is not the text encoder.
        encoder_learning_rate: of the parameters that ``module.encoder_parameters()`` yields.
        weight_decay: AdamW's decoupled decay; biases, norms and embedding tables never decay.
        encoder_weight_decay: the same for the encoder's parameters.
        batch_size: sequences a step, in each process; 0 leaves the choice to the model.
        epochs: passes over the data at most.
        max_seconds: training ends after this, in mid-epoch if need be; no epoch is begun that would end later, at the pace of the last
            one. 0 sets no limit.
        patience: epochs without a better ``metric`` before training stops; 0 never stops early.
        warmup_share: share of all steps over which the learning rate rises from 0.
        schedule: what the learning rate does after the warm-up, towards 0 at the last step unless constant.
        max_grad_norm: gradients are scaled down to this norm; 0 leaves them alone.
        seed: of the data order, of dropout and of all else that is drawn during training.
        precision: ``auto`` is bf16 autocast where an encoder is tuned and the device computes in bf16, else fp32.
        device: ``auto`` is the accelerator if there is one, else the CPU.
        metric: the validation figure that chooses the best epoch; higher is better.
        loggers: names that the Hugging Face Trainer reports to, e.g. ``("tensorboard",)``: after each epoch its loss,
            learning rate and validation figures.
        save_every_epoch: write a checkpoint after each epoch; without it there is nothing to resume from.
        gradient_cache: run a tuned text encoder twice a step, so that the activations of one small batch of texts are kept and not those of
            all: less memory for about a third more work. ``auto`` does so for the texts whose activations would go beyond 2 GiB.
        refresh_every: a tuned text encoder reads the inputs and targets of each step anew, and the other items of the loss only once in so
            many steps and when an epoch begins; their vectors then carry no gradient to the encoder. 0 reads every item each step.
        evaluate_every: epochs between evaluations; the last epoch is always evaluated.
    """

    learning_rate: float = Field(1e-3, gt=0)
    encoder_learning_rate: float = Field(5e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    encoder_weight_decay: float = Field(0.01, ge=0)
    batch_size: int = Field(0, ge=0)
    epochs: int = Field(30, ge=1)
    max_seconds: float = Field(0.0, ge=0)
    patience: int = Field(5, ge=0)
    warmup_share: float = Field(0.05, ge=0, lt=1)
    schedule: Schedule = "constant"
    max_grad_norm: float = Field(1.0, ge=0)
    seed: int = Field(0, ge=0, lt=2**32)
    precision: Precision = "auto"
    device: Device = "auto"
    metric: str = "NDCG@10"
    loggers: tuple[str, ...] = ()
    save_every_epoch: bool = True
    gradient_cache: GradientCache = "auto"
    refresh_every: int = Field(0, ge=0)
    evaluate_every: int = Field(1, ge=1)
