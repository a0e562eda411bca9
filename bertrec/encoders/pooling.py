"""Hidden states to one vector per text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bertrec.core.errors import ConfigError, ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.folder import FolderForm, one_line
from bertrec.encoders.limits import check_layer

_MODES = {"last-token": "lasttoken", "weighted-mean": "weightedmean", "auto": "mean"}


class TokenPooling(torch.nn.Module):
    """Pooling over tokens, or the mean of the last K layers before it; what follows it in a sentence-transformers folder; a cut.

    The vectors are raw: they are not normalised at the end, which is the head's business.

    Args:
        dim: width of a hidden state.
        config: its ``pooling`` says how, and ``truncate_dim`` how many components are kept.
        read: the Pooling module of a folder and those after it, where ``pooling`` is ``auto`` and there are any.
        prompt_length: tokens of the prompt, which the folder may leave out of the pooling.

    Raises:
        ConfigError: ``truncate_dim`` is above the width.
    """

    def __init__(self, dim: int, config: EncoderConfig, read: Sequence[torch.nn.Module] = (), *, prompt_length: int = 0) -> None:
        from sentence_transformers.sentence_transformer.modules.pooling import Pooling

        super().__init__()
        self.layers, self.prompt_length = config.pooled_layers, prompt_length
        mode = "mean" if config.pooling.startswith("mean") else _MODES.get(config.pooling, config.pooling)
        self.over_tokens: Any = read[0] if read else Pooling(dim, mode)
        # The Dense layers stay as the folder has them, whatever is tuned.
        self.after = torch.nn.ModuleList(read[1:]).requires_grad_(False)
        sized: list[Any] = [one for one in (self.over_tokens, *self.after) if hasattr(one, "get_embedding_dimension")]
        width = int(sized[-1].get_embedding_dimension())
        if config.truncate_dim is not None and config.truncate_dim > width:
            raise ConfigError(f"encoder.truncate_dim {config.truncate_dim} is above the {width} dimensions of {config.name}")
        self.kept, self.dim = config.truncate_dim, config.truncate_dim or width

    def forward(self, hidden: Sequence[torch.Tensor], attention_mask: torch.Tensor) -> torch.Tensor:
        """Pool.

        Args:
            hidden: the outputs of (at least) the last ``layers`` layers, ``[b, L, width]`` each, the top one last.
            attention_mask: ``[b, L]``, 1 at tokens and 0 at padding.

        Returns:
            ``[b, dim]`` float32.
        """
        tokens = hidden[-1] if self.layers == 1 else torch.stack(tuple(hidden[-self.layers :])).mean(dim=0)
        features: dict[str, Any] = {"token_embeddings": tokens, "attention_mask": attention_mask, "prompt_length": self.prompt_length}
        # In float32 from here: what a pass in bfloat16 gives would not fit the Dense layers.
        pooled: torch.Tensor = self.over_tokens(features)["sentence_embedding"].float()
        for module in self.after:
            pooled = module({"sentence_embedding": pooled})["sentence_embedding"].float()
        return pooled if self.kept is None else pooled[:, : self.kept]

    def described(self, config: EncoderConfig) -> list[str]:
        """Return what names the pooling in a fingerprint: for a plain pooling the setting alone, as ever; then all else."""
        mode = self.over_tokens.pooling_mode
        plain = config.pooling if config.pooling != "auto" else mode if isinstance(mode, str) else "+".join(mode)
        names = {short: name for name, short in _MODES.items() if name != "auto"}
        parts = [names.get(plain, plain)]
        if not self.over_tokens.include_prompt and self.prompt_length:
            parts.append(f"without {self.prompt_length} tokens of the prompt")
        parts += [module_hash(module) for module in self.after]
        return parts + ([] if self.kept is None else [f"truncated to {self.kept}"])


def read_modules(folder: Path, form: FolderForm) -> list[torch.nn.Module]:
    """Load the Pooling module of a sentence-transformers folder and those after it; empty for a folder of another kind.

    A Normalize module at the end is left out: the head does its work. So is dropout, which does nothing in use.

    Raises:
        ModelError: a module that is not known, in an order that is not known, or damaged.
    """
    listed = [(kind, path) for kind, path in form.modules if kind != "Dropout"]
    while listed and listed[-1][0] == "Normalize":
        listed.pop()
    if not listed:
        return []
    kinds = [kind for kind, _ in listed]
    strange = sorted(set(kinds[2:]) - {"Dense", "Normalize", "LayerNorm"})
    if kinds[:2] != ["Transformer", "Pooling"] or strange:
        what = f"has {', '.join(strange)}" if strange else f"has {' then '.join(kinds[:2])}, not Transformer then Pooling"
        raise ModelError(f"{folder / 'modules.json'} {what}: set encoder.pooling to mean, for one, to pool its tokens alone")
    with torch.random.fork_rng(devices=[]):
        return [load_module(folder, kind, path) for kind, path in listed[1:]]


def load_module(folder: Path, kind: str, path: str) -> torch.nn.Module:
    """Load one module of a sentence-transformers folder: Pooling, Dense, LayerNorm or Normalize.

    Raises:
        ModelError: it is damaged, or its weights are no safetensors.
    """
    from sentence_transformers.base.modules import dense, normalize
    from sentence_transformers.sentence_transformer.modules import layer_norm, pooling

    places: tuple[Any, ...] = (dense, normalize, layer_norm, pooling)
    found: Any = next(getattr(place, kind) for place in places if hasattr(place, kind))
    place = folder / path
    try:
        if kind in {"Dense", "LayerNorm"}:
            _check_weights(place)
        module: torch.nn.Module = found.load(str(place), local_files_only=True, trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:  # Files of other people: each module's class has its own way to fail.
        raise ModelError(f"cannot load the module {kind} from {place}: {one_line(error)}") from error
    return module.eval()


def _check_weights(place: Path) -> None:
    """Refuse pickles, and what sentence-transformers itself would read otherwise than it is written."""
    if not (place / "model.safetensors").is_file():
        raise ModelError(f"{place} has no model.safetensors: weights in other formats are not read")
    said = check_layer(place)
    if not str(said.get("activation_function", "torch.")).startswith("torch."):
        raise ModelError(f"{place / 'config.json'} names the activation {said['activation_function']}, which is none of torch")
    if said.get("module_input_name", "sentence_embedding") != "sentence_embedding":
        raise ModelError(f"{place / 'config.json'} is a Dense layer over {said['module_input_name']}, not over the pooled vector")


def module_hash(module: Any) -> str:
    """Return the SHA-256 over kind, settings and weights of a module."""
    digest = hashlib.sha256(json.dumps([type(module).__name__, module.get_config_dict()], sort_keys=True, default=str).encode())
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}:{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
