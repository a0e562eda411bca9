"""Saved prompt rankers and ensembles: safetensors, JSON and tokenizer files, written whole or not at all.

config.json, model.safetensors   settings, versions, hashes; the map of an ID model's vectors, where there is one
items.parquet, items.json        the catalogue
encoder/                         the masked language model with its soft tokens
vectors/                         the ID model, where the prompt has vectors
prior/                           the model whose scores the answers start from, where there is one
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_folder
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.models.base import Recommender
from bertrec.models.saving import WEIGHTS, read_tensors, save_tensors
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.training.log import TrainLog

NAME = "prompt4nr"
_VECTORS, _PRIOR = "vectors", "prior"


def save_ranker(ranker: PromptRanker, folder: Path) -> None:
    """Write a ranker's folder.

    Raises:
        ModelError: it has no catalogue yet.
    """
    catalog = ranker.catalog
    with atomic_folder(folder, marker=WEIGHTS) as partial:
        ranker.encoder.save(partial / "encoder")
        for place, vectors in ((_VECTORS, ranker.vectors), (_PRIOR, ranker.prior)):
            if vectors is not None:
                vectors.model.save_pretrained(partial / place)
        save_tensors(
            partial,
            name=NAME,
            config=ranker.config.to_dict(),
            catalog=catalog,
            tensors=ranker.own_tensors,
            train_log=None if ranker.train_log is None else ranker.train_log.to_dict(),
        )


def load_ranker(folder: Path) -> PromptRanker:
    """Read a ranker's folder.

    Raises:
        ModelError: a file is missing or damaged, or the folder holds another kind of model; the text names it.
    """
    about, catalog, tensors = read_tensors(folder)
    if about["class"] != NAME:
        raise ModelError(f"{folder} holds a {about['class']} model, no cloze prompt")
    own = {name: _part(tensors, name) for name in (_VECTORS, _PRIOR)}
    models = {name: UserVectors.from_model(Recommender.from_pretrained(folder / name)) for name, part in own.items() if part}
    config, encoder = PromptConfig.from_dict(about["config"]), MaskedEncoder.load(folder / "encoder")
    ranker = PromptRanker(config, encoder=encoder, vectors=models.get(_VECTORS), prior=models.get(_PRIOR))
    ranker.prepare(catalog)
    assert ranker.network is not None
    for name, module in ((_VECTORS, ranker.network.vectors), (_PRIOR, ranker.network.prior)):
        if module is not None:
            try:
                module.load_state_dict(own[name])
            except RuntimeError as error:
                raise ModelError(f"{folder / WEIGHTS} does not fit the model beside it: {' '.join(str(error).split())}") from error
    ranker.train_log = TrainLog.from_dict(about["train_log"]) if about.get("train_log") else None
    return ranker


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one module, without its name before theirs."""
    return {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
