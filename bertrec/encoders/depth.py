"""How much of a transformer is trained: nothing, its top layers, LoRA matrices, or all of it."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

from torch import nn

from bertrec.core.errors import ConfigError, ModelError
from bertrec.encoders.config import TunedEncoderConfig

_LAYER_PATHS = ("encoder.layer", "transformer.layer", "layers", "encoder.layers")
_FINAL_NORM_PATHS = ("final_norm", "norm", "encoder.final_layer_norm")
# The names of query and value projections in a layer; ModernBERT has one fused matrix, which then also adapts the keys.
_PROJECTIONS = ({"query", "value"}, {"query_proj", "value_proj"}, {"q_lin", "v_lin"}, {"q", "v"}, {"q_proj", "v_proj"}, {"Wqkv"})


def transformer_layers(model: Any) -> nn.ModuleList:
    """Return the list of transformer layers, lowest first.

    Raises:
        ModelError: the architecture keeps them elsewhere or shares one layer's weights among all, as ALBERT does.
    """
    for path in _LAYER_PATHS:
        layers = _find(model, path)
        if isinstance(layers, nn.ModuleList) and len(layers) == model.config.num_hidden_layers:
            return layers
    raise ModelError(f"architecture '{model.config.model_type}' has no list of separate layers: use tune=frozen or tune=full")


def lower_parts(model: Any, tuned_layers: int) -> list[nn.Module]:
    """Return the modules that ``last:K`` leaves frozen and that hold state: embeddings and all layers but the top K."""
    layers = transformer_layers(model)
    trained = {id(module) for top in _top_parts(model, tuned_layers) for module in top.modules()}
    return [module for module in model.modules() if id(module) not in trained and module is not model and module is not layers]


def apply_depth(model: Any, config: TunedEncoderConfig) -> None:
    """Set ``requires_grad`` of every parameter for ``config.tune``, adding LoRA matrices where it asks for them.

    LoRA: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", on the query and value projections as in its section 4.2.

    Raises:
        ConfigError: ``last:K`` with K above the number of layers.
    """
    model.requires_grad_(config.tune == "full")
    if config.tuned_layers:
        for part in _top_parts(model, config.tuned_layers):
            part.requires_grad_(True)
    elif config.tune == "lora":
        _add_lora(model, config)


def set_mode(model: Any, config: TunedEncoderConfig, mode: bool) -> None:
    """Set a transformer to training mode or not: dropout for its tuned part alone, and only where the settings ask for it."""
    model.train(mode and config.tune != "frozen" and config.dropout)
    if mode and config.tuned_layers:
        for module in lower_parts(model, config.tuned_layers):
            module.training = False
    for name, module in model.named_modules():
        if ".lora_dropout" in name:
            module.training = mode


def merge_lora(model: nn.Module) -> None:
    """Add each LoRA matrix to the weights it stands beside, and drop it: the same numbers, from a model without LoRA."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, module.get_base_layer())
    for module in model.modules():
        module.__dict__.pop("peft_config", None)


def is_lora(name: str) -> bool:
    """Say whether the parameter of this name belongs to a LoRA matrix."""
    return ".lora_" in name


def _top_parts(model: Any, count: int) -> list[nn.Module]:
    layers = transformer_layers(model)
    if count > len(layers):
        raise ConfigError(f"encoder.tune last:{count} asks for more than the {len(layers)} layers of this encoder")
    norms = [norm for path in _FINAL_NORM_PATHS if isinstance(norm := _find(model, path), nn.Module)]
    return [*list(layers)[len(layers) - count :], *norms]


def _add_lora(model: Any, config: TunedEncoderConfig) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    settings = LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout, target_modules=attention_projections(model)
    )
    inject_adapter_in_model(settings, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_lora(name))


def attention_projections(model: Any) -> list[str]:
    """Return the names of the query and value projections, in the order of the layers.

    Raises:
        ModelError: the architecture calls them otherwise.
    """
    inside = {id(module) for layer in transformer_layers(model) for module in layer.modules()}
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and id(module) in inside]
    for wanted in _PROJECTIONS:
        found = [name for name in linear if name.rsplit(".", 1)[-1] in wanted]
        if {name.rsplit(".", 1)[-1] for name in found} == wanted:
            return found
    raise ModelError(f"no query and value projections found in architecture '{model.config.model_type}': use tune=last:K or full")


def _find(model: Any, path: str) -> nn.Module | None:
    try:
        found: nn.Module | None = attrgetter(path)(model)
    except AttributeError:
        return None
    return found
