"""Saved prompt rankers and ensembles: safetensors, JSON and tokenizer files, written whole or not at all.

config.json, model.safetensors   settings, versions, hashes; the map of an ID model's vectors, where there is one
items.parquet, items.json        the catalogue
encoder/                         the masked language model with its soft tokens
vectors/                         the ID model, where the prompt has vectors
"""

from __future__ import annotations

from pathlib import Path

from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_folder
from bertrec.encoders.masked import MaskedEncoder
from bertrec.models.base import Recommender
from bertrec.models.prompt4nr import PromptRanker
from bertrec.models.prompt_config import PromptConfig
from bertrec.models.saving import WEIGHTS, read_tensors, save_tensors
from bertrec.models.user_vectors import UserVectors
from bertrec.training.log import TrainLog

NAME = "prompt4nr"


def save_ranker(ranker: PromptRanker, folder: Path) -> None:
    """Write a ranker's folder.

    Raises:
        ModelError: it has no catalogue yet.
    """
    catalog, network = ranker.catalog, ranker.network
    assert network is not None
    with atomic_folder(folder, marker=WEIGHTS) as partial:
        ranker.encoder.save(partial / "encoder")
        if ranker.vectors is not None:
            ranker.vectors.model.save_pretrained(partial / "vectors")
        save_tensors(
            partial,
            name=NAME,
            config=ranker.config.to_dict(),
            catalog=catalog,
            tensors={} if network.vectors is None else network.vectors.state_dict(),
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
    vectors = UserVectors.from_model(Recommender.from_pretrained(folder / "vectors")) if tensors else None
    ranker = PromptRanker(PromptConfig.from_dict(about["config"]), encoder=MaskedEncoder.load(folder / "encoder"), vectors=vectors)
    ranker.prepare(catalog)
    assert ranker.network is not None
    if ranker.network.vectors is not None:
        try:
            ranker.network.vectors.load_state_dict(tensors)
        except RuntimeError as error:
            raise ModelError(f"{folder / WEIGHTS} does not fit the model beside it: {' '.join(str(error).split())}") from error
    ranker.train_log = TrainLog.from_dict(about["train_log"]) if about.get("train_log") else None
    return ranker
