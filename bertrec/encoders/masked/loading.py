"""A Hugging Face masked language model and its tokenizer, from local safetensors and without foreign code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForMaskedLM, AutoTokenizer

from bertrec.core.errors import ModelError
from bertrec.encoders.backbone import LOCAL_ONLY, and_more, loading
from bertrec.encoders.folder import one_line, transformer_path
from bertrec.encoders.limits import check_sizes
from bertrec.encoders.masked.heads import check_architecture, start_head


class MissingHeadError(ModelError):
    """The encoder was saved without a masked-language-model head, so that it cannot be asked anything."""

    def __init__(self, name: str, absent: str) -> None:
        super().__init__(
            f"encoder {name} has no masked-language-model head (no weights for {absent}): make one with"
            f"  bertrec encoder adapt-mlm DATA --encoder {name} --out FOLDER  and give FOLDER as the encoder's name"
        )


def load_masked_model(name: str, folder: str | Path, *, new_head: bool = False) -> tuple[Any, Any]:
    """Load model and tokenizer of a folder.

    Args:
        name: of the encoder, for messages.
        folder: a Hugging Face or sentence-transformers folder.
        new_head: give the encoder a head that was never trained, its decoder tied to the word embeddings, whether or not it has one.

    Raises:
        MissingHeadError: the folder has no weights of a head, and no new one is wanted.
        ModelError: the folder lacks a file or other weights, has them in another format than safetensors, or is of an architecture
            whose head is not known here.
    """
    place = Path(folder) / transformer_path(Path(folder))
    try:
        with loading():
            tokenizer = _tokenizer(place)
            config = _config(place)
            config.tie_word_embeddings = config.tie_word_embeddings or new_head
            model, info = AutoModelForMaskedLM.from_pretrained(
                place, config=config, output_loading_info=True, use_safetensors=True, dtype=torch.float32, **LOCAL_ONLY
            )
    except ModelError:
        raise
    except Exception as error:  # Files of other people: each library has its own ways to fail.
        raise ModelError(f"cannot load a masked language model from {place}: {one_line(error)}") from error
    _check_weights(name, place, model, sorted(info["missing_keys"]), new_head=new_head)
    _check_vocabulary(place, model, tokenizer)
    if new_head:
        start_head(model)
    return model, tokenizer


def masked_skeleton(folder: Path) -> tuple[Any, Any]:
    """Build the model of a saved folder without reading its weights, and load the tokenizer.

    Raises:
        ModelError: the configuration or tokenizer cannot be read.
    """
    try:
        with loading():
            tokenizer = _tokenizer(folder)
            model = AutoModelForMaskedLM.from_config(_config(folder), trust_remote_code=False)
    except ModelError:
        raise
    except Exception as error:  # Files of other people: each library has its own ways to fail.
        raise ModelError(f"cannot build the masked language model of {folder}: {one_line(error)}") from error
    return model, tokenizer


def _config(place: Path) -> Any:
    check_sizes(place)
    config = AutoConfig.from_pretrained(place, **LOCAL_ONLY)
    check_architecture(config.model_type)
    return config


def _tokenizer(place: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(place, **LOCAL_ONLY)
    if not tokenizer.is_fast:
        raise ModelError(f"{place} has no fast tokenizer (tokenizer.json)")
    if tokenizer.mask_token_id is None:
        raise ModelError(f"the tokenizer of {place} has no mask token, so the encoder cannot be asked for a word")
    return tokenizer


def _check_weights(name: str, place: Path, model: Any, absent: list[str], *, new_head: bool) -> None:
    inside = f"{model.base_model_prefix}."
    lower = [key for key in absent if key.startswith(inside)]
    if lower:
        raise ModelError(f"{place} has no weights for {lower[0]}" + and_more(len(lower) - 1))
    if absent and not new_head:
        raise MissingHeadError(name, absent[0] + and_more(len(absent) - 1))


def _check_vocabulary(place: Path, model: Any, tokenizer: Any) -> None:
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise ModelError(f"the tokenizer of {place} has {len(tokenizer)} tokens and its word embeddings {rows}: they are not of one model")
