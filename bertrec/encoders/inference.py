"""Which pass computes an encoder's vectors where no gradient is wanted: a number format and a runtime, measured where asked to."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from bertrec.core.errors import BertrecError, ConfigError, MissingExtraError, ModelError
from bertrec.core.files import read_json, write_json
from bertrec.encoders.bert_forward import BertForward, supports_forward, supports_int8
from bertrec.encoders.config import EncoderConfig, Precision
from bertrec.encoders.fingerprint import hash_encoder
from bertrec.encoders.onnx_forward import OnnxForward, has_onnx, require_onnx
from bertrec.encoders.pooling import TokenPooling
from bertrec.encoders.precision import has_exact_int8, has_fast_bfloat16

Forward = Callable[[Tensor, Tensor], Tensor]
logger = logging.getLogger(__name__)

_PROBE = (32, 20)  # Texts and tokens each: about what titles are, and small enough to be measured in a fraction of a second.
_ROUNDS = 3


class PooledModel(Protocol):
    """What a pass is made of; `bertrec.encoders.text.TextEncoder` says what each part means."""

    config: EncoderConfig
    pooling: TokenPooling
    max_length: int

    @property
    def model(self) -> Any:
        """The Hugging Face model."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dim(self) -> int:
        """Width of a vector."""

    @property
    def trainable(self) -> bool:
        """Whether any weight is tuned."""

    def run_model(self, input_ids: Tensor, attention_mask: Tensor, precision: Precision) -> Tensor:
        """Run the model's own layers without gradients."""


def number_format(encoder: PooledModel, folder: Path) -> str:
    """Return what ``encode`` computes in: ``fp32``, ``bf16``, ``int8-torch`` or ``int8-onnx``; measured and kept in ``folder`` if open.

    Raises:
        ConfigError: int8 on another device than a CPU, or by torch for an architecture that it has no pass for.
        MissingExtraError: ONNX Runtime is asked for, or is all that could compute this architecture in int8, and is not installed.
    """
    precision = encoder.config.precision
    if precision not in {"int8", "fast"}:
        return "bf16" if precision == "bf16" else "fp32"
    if encoder.device.type != "cpu":
        if precision == "int8":
            told = f"encoder.precision int8 is computed on a CPU and the encoder is on {encoder.device}"
            raise ConfigError(f"{told}: set it to bf16, or compute on the CPU (bertrec --device cpu)")
        return "bf16" if has_fast_bfloat16(encoder.device) else "fp32"
    offered = _int8(encoder) if precision == "int8" else _all(encoder)
    return offered[0] if len(offered) == 1 else _quickest(encoder, offered, folder)


def make_forward(encoder: PooledModel, number_format: str, folder: Path) -> Forward:
    """Return ``(input_ids [b, L], attention_mask [b, L]) -> [b, dim]`` float32 in that format; exported models are kept in ``folder``."""
    model, keep = encoder.model, encoder.pooling.layers
    if number_format == "int8-onnx":
        bits = () if has_exact_int8() else ("7 bits",)
        name = hash_encoder(model, encoder.tokenizer, "onnx", str(keep), *bits)[:40]
        states: Callable[[Tensor, Tensor], list[Tensor]] = OnnxForward(model, folder / f"{name}.onnx", keep=keep)
    elif number_format == "int8-torch":
        states = BertForward(model, "int8", keep=keep)
    elif number_format == "bf16" and encoder.device.type == "cpu" and supports_forward(model):
        states = BertForward(model, "bf16", keep=keep)
    else:
        precision: Precision = "bf16" if number_format == "bf16" else "fp32"
        return lambda ids, mask: encoder.run_model(ids, mask, precision)
    return lambda ids, mask: encoder.pooling(states(ids, mask), mask)


def _int8(encoder: PooledModel) -> list[str]:
    wanted, by_torch = encoder.config.backend, supports_int8() and supports_forward(encoder.model)
    if wanted == "torch" and not by_torch:
        raise ConfigError(f"torch has no int8 pass for architecture '{encoder.model.config.model_type}' here: set encoder.backend to onnx")
    if wanted == "onnx" or not by_torch:
        require_onnx()
    return [name for name, there in (("int8-torch", by_torch), ("int8-onnx", has_onnx())) if there and wanted in {"auto", name[5:]}]


def _all(encoder: PooledModel) -> list[str]:
    names = ["fp32", "bf16"] if has_fast_bfloat16(encoder.device) else ["fp32"]
    if encoder.trainable:
        return names
    try:
        return [*names, *_int8(encoder)]
    except (MissingExtraError, ConfigError):
        return names


def _quickest(encoder: PooledModel, names: list[str], folder: Path) -> str:
    """Return the name kept for this machine, architecture and choice, measuring and keeping it where there is none."""
    path = folder / f"quickest-{_place(encoder, names)}.json"
    try:
        if (kept := dict(read_json(path)).get("quickest")) in names:
            return str(kept)
    except (BertrecError, TypeError, ValueError):
        pass  # Not there, or damaged: measured (again).
    seconds = _measure(encoder, names, folder)
    quickest = min(seconds, key=seconds.__getitem__)
    shown = ", ".join(f"{name} {1000 * value:.0f} ms" for name, value in seconds.items())
    logger.warning("encoder %s is computed in %s here, the quickest of: %s", encoder.config.name, quickest, shown)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"encoder": encoder.config.name, "quickest": quickest, "seconds": seconds})
    except (OSError, BertrecError) as error:
        logger.warning("the choice is not kept, for %s cannot be written: %s", path, error)
    return quickest


def _measure(encoder: PooledModel, names: list[str], folder: Path) -> dict[str, float]:
    """Return the least seconds of a batch of each, in turns, so that other work on the machine disturbs all alike."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, encoder.model.config.vocab_size, (_PROBE[0], min(_PROBE[1], encoder.max_length)), generator=generator)
    mask = torch.ones_like(ids)
    passes: dict[str, Forward] = {}
    for name in names:
        try:
            passes[name] = make_forward(encoder, name, folder)
        except ModelError as error:
            logger.warning("%s is left out: %s", name, error)
    if not passes:
        raise ModelError(f"encoder {encoder.config.name} can be computed in none of {', '.join(names)}: set encoder.precision to fp32")
    seconds = dict.fromkeys(passes, float("inf"))
    for turn in range(_ROUNDS + 1):
        for name, forward in passes.items():
            begin = time.perf_counter()
            with torch.no_grad():
                forward(ids, mask)
            if turn:  # The first one warms up.
                seconds[name] = min(seconds[name], time.perf_counter() - begin)
    return seconds


def _place(encoder: PooledModel, names: list[str]) -> str:
    sizes = [encoder.model.config.model_type, encoder.dim, encoder.model.config.num_hidden_layers, encoder.model.config.vocab_size]
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads(), torch.__version__]
    return hashlib.sha256(json.dumps([sizes, machine, names]).encode()).hexdigest()[:16]
