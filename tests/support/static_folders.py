"""Folders of static encoders: of sentence-transformers by itself, of Model2Vec by its documented form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tiny_encoders import tiny_tokenizer


def static_folder(folder: str | Path, texts: Iterable[str], *, after: Sequence[Any] = (), width: int = 8, **options: Any) -> str:
    """Let sentence-transformers save a StaticEmbedding of random vectors (seed 0), with the modules ``after`` it."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        static = StaticEmbedding(tiny_tokenizer(texts), embedding_dim=width)
        SentenceTransformer(modules=[static, *after], **options).save(str(folder))
    return str(folder)


def model2vec_folder(
    folder: str | Path, texts: Iterable[str], *, shared_rows: int = 0, normalize: bool = False, listed: bool = True, dtype: str = "float32"
) -> str:
    """Write what ``StaticModel.save_pretrained`` of model2vec 0.10 writes, with random vectors (seed 0).

    Args:
        folder: where to write.
        texts: every word of them gets a token.
        shared_rows: tokens share so many vectors, and each has a weight; 0 gives each its own.
        normalize: as in the folder's configuration.
        listed: write ``modules.json``, which older versions did not.
        dtype: of the vectors.
    """
    from safetensors.numpy import save_file

    place, draw = Path(folder), np.random.default_rng(0)
    place.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer(texts).backend_tokenizer
    size = tokenizer.get_vocab_size()
    tensors = {"embeddings": draw.normal(scale=30, size=(shared_rows or size, 8)).astype(dtype)}
    if shared_rows:
        tensors |= {"mapping": draw.integers(0, shared_rows, size), "weights": draw.random(size)}
    save_file(tensors, place / "model.safetensors")
    tokenizer.save(str(place / "tokenizer.json"))
    config = {"model_type": "model2vec", "architectures": ["StaticModel"], "normalize": normalize, "max_length": 512}
    (place / "config.json").write_text(json.dumps(config), encoding="utf-8")
    modules = [{"idx": 0, "name": "0", "path": ".", "type": "sentence_transformers.models.StaticEmbedding"}]
    modules += [{"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"}] if normalize else []
    if listed:
        (place / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    return str(place)
