"""The transformer under a text encoder: a sentence-transformers module, loaded from local safetensors and without foreign code."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.base.modules.transformer import Transformer
from transformers import AutoModel
from transformers.utils import logging as transformers_logging

from bertrec.core.errors import ConfigError, ModelError
from bertrec.encoders.folder import one_line, transformer_path
from bertrec.encoders.limits import check_sizes

logger = logging.getLogger(__name__)

LOCAL_ONLY = {"local_files_only": True, "trust_remote_code": False}
"""What every call of a loader is told: no network, no code of the folder."""
_ONE_AT_A_TIME = threading.RLock()


class Backbone(Transformer):
    """The sentence-transformers module, with a check that no weight was made up while loading."""

    def _load_model(
        self, model_name_or_path: str, transformer_task: str, config: Any, backend: str, is_peft_model: bool, **options: Any
    ) -> Any:
        if getattr(config, "is_encoder_decoder", False):
            raise ModelError(f"{model_name_or_path} is an encoder-decoder ({config.model_type}), not a BERT-family encoder")
        if options.pop("skeleton", False):
            return AutoModel.from_config(config, trust_remote_code=False)
        model, info = AutoModel.from_pretrained(model_name_or_path, config=config, output_loading_info=True, **options)
        absent = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
        if absent:
            raise ModelError(f"{model_name_or_path} has no weights for {absent[0]}" + and_more(len(absent) - 1))
        return model


def load_backbone(folder: str | Path, *, skeleton: bool = False) -> Backbone:
    """Load the transformer and tokenizer of a folder, its pooler (which no pooling here uses) left out.

    Args:
        folder: a Hugging Face or sentence-transformers folder.
        skeleton: only build the layers; the caller fills in the weights.

    Raises:
        ModelError: the folder lacks a file, has weights in another format than safetensors, or is of an unknown architecture.
    """
    folder = Path(folder)
    place = folder / transformer_path(folder)
    check_sizes(place)
    try:
        with loading():
            backbone = Backbone.load(str(place), model_kwargs=_model_options(skeleton), **LOCAL_ONLY)
    except ModelError:
        raise
    except Exception as error:  # Files of other people: each library's classes have their own ways to fail.
        raise ModelError(f"cannot load an encoder from {place}: {one_line(error)}") from error
    if backbone.tokenizer is None or not backbone.tokenizer.is_fast:
        raise ModelError(f"{place} has no fast tokenizer (tokenizer.json)")
    if getattr(backbone.model, "pooler", None) is not None:
        backbone.model.pooler = None
    return backbone


def position_limit(model: torch.nn.Module) -> int | None:
    """Return how many tokens fit into the model's positions, or None where positions are relative only."""
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    if isinstance(table, torch.nn.Embedding):
        # RoBERTa and MPNet number positions from the padding index + 1.
        return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)
    limit = getattr(model.config, "max_position_embeddings", None)
    return int(limit) if table is None and hasattr(model, "rotary_emb") and limit else None


def check_length(model: torch.nn.Module, max_length: int, name: str) -> None:
    """Raise ConfigError where ``max_length`` is above the positions of the model."""
    limit = position_limit(model)
    if limit is not None and max_length > limit:
        raise ConfigError(f"encoder.max_length {max_length} is above the {limit} positions of {name}: set it to {limit} or less")


def length_limit(backbone: Backbone) -> int:
    """Return how many tokens of a text a sentence-transformers folder reads."""
    named = int(backbone.tokenizer.model_max_length)
    return min(named, position_limit(backbone.model) or named)


def usable_length(limit: int, max_length: int, name: str) -> int:
    """Return ``max_length``, lowered to what the encoder reads; a lowering is logged."""
    if limit < max_length:
        logger.warning("encoder.max_length %d is above the %d tokens that %s reads: %d is taken", max_length, limit, name, limit)
    return min(limit, max_length)


def _model_options(skeleton: bool) -> dict[str, Any]:
    return {"skeleton": True} if skeleton else {"use_safetensors": True, "dtype": torch.float32}


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Build or read a model of transformers in the block: one thread at a time, in silence, without a trace in random numbers.

    While the library reads a model it takes the tying of weights out of a class that all threads share. Of two that read at once the later
    one would put back what it found, which is nothing: from then on no head of the process would be tied to its word embeddings.
    The loading report and bars are hidden, for what matters of them is checked here. Neither first random weights nor a missing pooler move
    the caller's random numbers.
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
        level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        try:
            yield
        finally:
            transformers_logging.set_verbosity(level)
            if bars:
                transformers_logging.enable_progress_bar()


def and_more(count: int) -> str:
    """Return `` and N more``, empty for 0."""
    return f" and {count} more" if count else ""
