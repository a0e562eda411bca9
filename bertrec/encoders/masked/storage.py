"""The folder of a saved masked-language-model encoder; without LoRA it is a plain Hugging Face folder too."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_folder, read_json, write_json
from bertrec.core.partial import recover
from bertrec.core.seal import check_seal, sealed
from bertrec.encoders.depth import apply_depth
from bertrec.encoders.folder import one_line
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.loading import masked_skeleton
from bertrec.encoders.storage import check_files, file_hashes

MANIFEST = "masked.json"
FORMAT = 1
_SOFT = "soft-tokens.safetensors"


@dataclasses.dataclass(frozen=True)
class HeadRecord:
    """How a head that did not come with its encoder, or was trained further, came about.

    Attributes:
        data: name of the data whose texts it was trained on.
        texts, held_out: distinct texts that it was trained and measured on.
        before, after: perplexity on the held-out texts.
        new: whether the encoder had no head of its own.
        settings: of the training, plain values.
    """

    data: str
    texts: int
    held_out: int
    before: float
    after: float
    new: bool
    settings: dict[str, Any]

    @property
    def note(self) -> str:
        """One line for reports."""
        trained = "trained" if self.new else "trained further"
        return f"masked-language-model head {trained} by bertrec on {self.data}, perplexity {self.before:.4g} -> {self.after:.4g}"


def weights_name(config: MaskedConfig) -> str:
    """Return the weights' file: with LoRA matrices another name, for Hugging Face's loaders would drop them without a word."""
    return "masked-lora.safetensors" if config.tune == "lora" else "model.safetensors"


def save_masked(folder: str | Path, config: MaskedConfig, model: Any, tokenizer: Any, soft: Tensor | None, head: HeadRecord | None) -> None:
    """Write the encoder, whole or not at all."""
    with atomic_folder(folder, marker=MANIFEST) as place:
        save_file(_distinct(model), place / weights_name(config), metadata={"format": "pt"})
        if soft is not None:
            save_file({"soft_tokens": soft.detach().cpu().contiguous()}, place / _SOFT)
        described = copy.deepcopy(model.config)
        described.architectures = [type(model).__name__]
        described.save_pretrained(place)
        tokenizer.save_pretrained(place)
        known = None if head is None else dataclasses.asdict(head)
        record = {"format": FORMAT, "config": config.to_dict(), "head": known, "sha256": file_hashes(place)}
        write_json(place / MANIFEST, sealed(record))


def load_masked(folder: str | Path) -> tuple[MaskedConfig, Any, Any, Tensor | None, HeadRecord | None]:
    """Read what ``save_masked`` wrote, running no code of the folder.

    Returns:
        Settings, model with its depth applied, tokenizer, soft tokens ``[s, e]`` or None, and what is known of the head.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved; the text names it.
    """
    folder = Path(folder)
    config, head = read_manifest(folder)
    model, tokenizer = masked_skeleton(folder)
    with torch.random.fork_rng(devices=[]):  # The first LoRA matrices are overwritten below.
        apply_depth(model.base_model, config)
    weights = folder / weights_name(config)
    try:
        _fill(model, load_file(weights))
        soft = load_file(folder / _SOFT)["soft_tokens"] if (folder / _SOFT).exists() else None
    except Exception as error:  # safetensors and torch raise unrelated classes; all mean that file and configuration do not fit.
        raise ModelError(f"{weights} does not fit {folder / 'config.json'}: {one_line(error)}") from error
    return config, model, tokenizer, soft, head


def read_manifest(folder: Path) -> tuple[MaskedConfig, HeadRecord | None]:
    """Return the settings and what is known of the head of a saved folder, each of its files compared with its hash.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved.
    """
    recover(folder)
    manifest: Any = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else manifest
        raise ModelError(f"{folder / MANIFEST} has format {found!r}; this version reads {FORMAT}")
    check_seal(manifest, folder / MANIFEST)
    try:
        config = MaskedConfig.from_dict(manifest["config"])
        head = None if manifest["head"] is None else HeadRecord(**manifest["head"])
        hashes = dict(manifest["sha256"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged: {error!r}") from error
    check_files(folder, hashes, {weights_name(config), "config.json"}, MANIFEST)
    return config, head


def _distinct(model: Any) -> dict[str, Tensor]:
    """Return the weights, a tensor that has several names (a decoder that is the word embeddings) once."""
    seen: set[tuple[int, torch.Size]] = set()
    state: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if (key := (tensor.data_ptr(), tensor.shape)) not in seen:
            seen.add(key)
            state[name] = tensor.detach().cpu().contiguous()
    return state


def _fill(model: Any, state: dict[str, Tensor]) -> None:
    absent, unknown = model.load_state_dict(state, strict=False)
    tensors = model.state_dict()
    filled = {tensors[name].data_ptr() for name in state if name in tensors}
    lacking = [name for name in absent if tensors[name].data_ptr() not in filled]
    if lacking or unknown:
        raise ValueError(f"weights differ in {(lacking + unknown)[0]}")
