"""Masked-language-model heads: where each architecture keeps its own, and what a new one starts as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from bertrec.core.errors import ModelError, unknown_name


@dataclass(frozen=True)
class _Layout:
    """The parts of a head: hidden states go through ``dense``, an activation and ``norm``, then meet the word embeddings plus ``bias``."""

    logits: Callable[[Any, Tensor], Tensor]
    dense: str
    norm: str
    bias: str


def _bert(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.cls(hidden)
    return scores


def _roberta(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.lm_head(hidden)
    return scores


def _distilbert(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))
    return scores


def _electra(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.generator_lm_head(model.generator_predictions(hidden))
    return scores


def _modernbert(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.decoder(model.head(hidden))
    return scores


def _deberta(model: Any, hidden: Tensor) -> Tensor:
    scores: Tensor = model.lm_predictions(hidden, model.get_input_embeddings())
    return scores


_IN_CLS = _Layout(_bert, "cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.bias")
_IN_LM_HEAD = _Layout(_roberta, "lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
_IN_LM_PREDICTIONS = _Layout(_deberta, "lm_predictions.lm_head.dense", "lm_predictions.lm_head.LayerNorm", "lm_predictions.lm_head.bias")
_LAYOUTS = {
    "bert": _IN_CLS,
    "roberta": _IN_LM_HEAD,
    "xlm-roberta": _IN_LM_HEAD,
    "camembert": _IN_LM_HEAD,
    "mpnet": _IN_LM_HEAD,
    "distilbert": _Layout(_distilbert, "vocab_transform", "vocab_layer_norm", "vocab_projector.bias"),
    "electra": _Layout(_electra, "generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head.bias"),
    "modernbert": _Layout(_modernbert, "head.dense", "head.norm", "decoder.bias"),
    "deberta-v2": _IN_CLS,
}


def check_architecture(model_type: str) -> None:
    """Raise ModelError where the head of this architecture is not known here."""
    if model_type not in _LAYOUTS:
        raise ModelError(unknown_name("architecture for a masked-language-model head", model_type, _LAYOUTS))


def head_logits(model: Any, hidden: Tensor) -> Tensor:
    """Return the head's scores of all words, ``[…, vocabulary]``, for hidden states ``[…, h]``."""
    return _layout(model).logits(model, hidden)


def head_parameters(model: Any) -> list[nn.Parameter]:
    """Return the parameters of the head that are not the encoder's too: a decoder tied to the word embeddings is not among them."""
    inside = {id(parameter) for parameter in model.base_model.parameters()}
    return [parameter for parameter in model.parameters() if id(parameter) not in inside]


def transform_parameters(model: Any) -> list[nn.Parameter]:
    """Return the parameters of the head but for its decoder's matrix: dense layer, norm and the words' biases."""
    layout = _layout(model)
    found = [*_at(model, layout.dense).parameters(), *_at(model, layout.norm).parameters(), _at(model, layout.bias)]
    return [parameter for parameter in found if parameter is not None]


@torch.no_grad()
def start_head(model: Any) -> None:
    """Make the head one that was never trained: its dense layer hands the states on, its norm and biases are neutral."""
    layout = _layout(model)
    dense, norm = _at(model, layout.dense), _at(model, layout.norm)
    nn.init.eye_(dense.weight)
    nn.init.ones_(norm.weight)
    for bias in (dense.bias, norm.bias, _at(model, layout.bias)):
        if bias is not None:
            nn.init.zeros_(bias)


def _layout(model: Any) -> _Layout:
    # DeBERTa's newer checkpoints have the head that its authors trained, older ones the head that transformers first gave it.
    if model.config.model_type == "deberta-v2" and not model.legacy:
        return _IN_LM_PREDICTIONS
    check_architecture(model.config.model_type)
    return _LAYOUTS[model.config.model_type]


def _at(model: Any, path: str) -> Any:
    return attrgetter(path)(model)
