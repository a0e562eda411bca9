"""Sizes that an encoder's folder asks for, held against the weights that it has, before any memory is taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertrec.core.errors import ModelError
from bertrec.core.parsing import parse_json

MOST_LAYERS = 1024
# Layers may share weights and numbers may be packed, but not so much.
_PARAMETERS_PER_BYTE = 64
_ALWAYS = 1 << 24
_NAMES = {
    "width": ("hidden_size", "dim", "d_model", "n_embd", "embedding_size"),
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "inner": ("intermediate_size", "hidden_dim"),
    "words": ("vocab_size",),
    "positions": ("max_position_embeddings",),
}


def check_sizes(folder: Path) -> None:
    """See that the transformer that ``config.json`` describes is about as large as the weights beside it.

    Raises:
        ModelError: it is far larger, or a size is no whole number; the text names it.
    """
    place, weights = folder / "config.json", sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not place.is_file() or not weights:
        return  # whose lack has an error of its own
    sizes = _sizes(_read(place), place)
    if sizes["layers"] > MOST_LAYERS:
        raise ModelError(f"{place} asks for {sizes['layers']} layers, more than {MOST_LAYERS}")
    inside = sizes["layers"] * (4 * sizes["width"] ** 2 + 2 * sizes["width"] * sizes["inner"])
    wanted = inside + sizes["width"] * (sizes["words"] + sizes["positions"])
    if wanted > _ALWAYS + _PARAMETERS_PER_BYTE * weights:
        raise ModelError(f"{place} asks for {wanted:.1e} parameters, which the {weights} bytes of weights beside it cannot hold")


def check_layer(folder: Path) -> Mapping[str, Any]:
    """Return the configuration of one layer of a sentence-transformers folder, once its sizes are held against its weights.

    Raises:
        ModelError: they do not fit.
    """
    values = _read(folder / "config.json")
    sizes = [values.get(name, 1) for name in ("in_features", "out_features", "dimension")]
    fits = all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes)
    if not fits or sizes[0] * sizes[1] * sizes[2] > (folder / "model.safetensors").stat().st_size:
        raise ModelError(f"{folder / 'config.json'} asks for other sizes than model.safetensors beside it has")
    return values


def _read(place: Path) -> dict[str, Any]:
    try:
        values = parse_json(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{place} is damaged: {error}") from error
    if not isinstance(values, dict):
        raise ModelError(f"{place} is damaged: it holds no names and values")
    return values


def _sizes(values: Mapping[str, Any], place: Path) -> dict[str, int]:
    sizes = {}
    for what, names in _NAMES.items():
        found = [(name, values[name]) for name in names if values.get(name) is not None] or [("", 0)]
        for name, size in found:
            if isinstance(size, bool) or not isinstance(size, int) or size < 0:
                raise ModelError(f"{place}: {name} is {str(size)[:40]!r}, not a whole number")
        sizes[what] = max(size for _, size in found)
    return sizes
