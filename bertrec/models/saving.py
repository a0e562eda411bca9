"""Model folders: safetensors and JSON, each file with its hash; reading one runs no code from it.

config.json        class, settings, versions, hashes of the files below
model.safetensors  weights (and text vectors of the catalogue)
items.parquet, items.json
encoder/           the encoder, where it was tuned
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
import torch

from bertrec.core.errors import ModelError, unknown_name
from bertrec.core.files import atomic_folder, read_json, sha256_file, sha256_text, write_json
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.registry import word_piece_class
from bertrec.encoders.text import TextEncoder
from bertrec.encoders.whitening import Whitening
from bertrec.evaluation.protocol import versions
from bertrec.models.base import Recommender
from bertrec.models.sequential.network import Network
from bertrec.models.sequential.text_source import TextTable
from bertrec.training.log import TrainLog

if TYPE_CHECKING:
    from bertrec.models.sequential.neural import NeuralRecommender

FORMAT = 1
WEIGHTS = "model.safetensors"
_TEXT = "catalog.text_vectors"


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{list(value.shape)}:{value.dtype}".encode())
        digest.update(value.view(torch.uint8).numpy().tobytes() if value.dim() else value.numpy().tobytes())
    return digest.hexdigest()


def weights_hash(model: NeuralRecommender) -> str:
    """Return the SHA-256 over everything that the model's scores depend on."""
    return sha256_text(hash_tensors(_tensors(model)), model.settings_hash(), model.catalog.content_hash)


def _tensors(model: NeuralRecommender) -> dict[str, torch.Tensor]:
    state = {name: value for name, value in model.network.state_dict().items() if not name.startswith("text.encoder.")}
    return state if model._text_vectors is None else {**state, _TEXT: model._text_vectors}


def save_tensors(
    folder: Path, *, name: str, config: Mapping[str, Any], catalog: ItemCatalog, tensors: Mapping[str, torch.Tensor], **more: Any
) -> None:
    """Write one model folder in place (the caller makes it atomic).

    Args:
        folder: an empty folder.
        name: the class's name in the registry.
        config: settings as plain values.
        catalog: the items.
        tensors: all weights.
        **more: further JSON values.
    """
    catalog.save(folder)
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, folder / WEIGHTS)
    hashes = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    about = {"format": FORMAT, "class": name, "config": dict(config), "versions": versions()}
    write_json(folder / "config.json", {**about, **more, "sha256": hashes})


def save_neural(model: NeuralRecommender, folder: Path) -> None:
    """Write a trained model's folder, whole or not at all."""
    log = model.train_log.to_dict() if model.train_log is not None else None
    tuned = model.config.encoder.tune != "frozen" and model.uses_text
    with atomic_folder(folder, marker=WEIGHTS) as partial:
        if tuned:
            encoder = model.encoder()
            assert isinstance(encoder, TextEncoder)
            encoder.save(partial / "encoder")
        save_tensors(
            partial,
            name=model.name,
            config=model.config.to_dict(),
            catalog=model.catalog,
            tensors=_tensors(model),
            encoder_fingerprint=model.encoder_fingerprint,
            train_log=log,
        )


def read_tensors(folder: Path) -> tuple[dict[str, Any], ItemCatalog, dict[str, torch.Tensor]]:
    """Read a model folder and compare every file with its hash.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved; the text names it.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder} is no model folder: it does not exist")
    about = read_json(folder / "config.json")
    if not isinstance(about, dict) or not {"format", "class", "config", "sha256"} <= about.keys():
        raise ModelError(f"{folder / 'config.json'} is not the file of a bertrec model")
    if about["format"] > FORMAT:
        raise ModelError(f"{folder} was written by a newer bertrec (format {about['format']}, this one reads {FORMAT}): upgrade bertrec")
    for name in {WEIGHTS, *about["sha256"]}:
        _check_file(folder / name, about["sha256"].get(name))
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS} is damaged: {error}") from error
    return about, ItemCatalog.load(folder), tensors


def _check_file(path: Path, expected: str | None) -> None:
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model folder is not whole")
    if sha256_file(path) != expected:
        raise ModelError(f"{path} is not the file that was saved (its SHA-256 differs): copy or train the model again")


def load_model(folder: Path) -> Recommender:
    """Read any saved model; the class is looked up by name among ours.

    Raises:
        ModelError: see `read_tensors`; also a class that this version does not have.
    """
    from bertrec.models.registry import SAVED
    from bertrec.models.sequential.neural import NeuralRecommender

    about, catalog, tensors = read_tensors(folder)
    kind = SAVED.get(about["class"])
    if kind is None:
        raise ModelError(f"{folder}: {unknown_name('model', about['class'], SAVED)}")
    try:
        if issubclass(kind, NeuralRecommender):
            return _load_neural(kind, folder, about, catalog, tensors)
        loaded: Recommender = kind.from_parts(about["config"], catalog, tensors)  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / 'config.json'} does not fit the files beside it: {error!r}") from error
    return loaded


def _load_neural(
    kind: type[NeuralRecommender], folder: Path, about: dict[str, Any], catalog: ItemCatalog, tensors: dict[str, torch.Tensor]
) -> NeuralRecommender:
    from bertrec.models.sequential.config import ModelConfig

    model = kind(ModelConfig.from_dict(about["config"]))
    model._catalog = catalog
    model.encoder_fingerprint = about["encoder_fingerprint"]
    model.train_log = TrainLog.from_dict(about["train_log"]) if about.get("train_log") else None
    text = None
    if model.uses_text:
        model._text_vectors = tensors.pop(_TEXT)
        dim = model._text_vectors.shape[1]
        whitening = None
        if model.config.item.whitening != "none":
            whitening = Whitening(dim)
            whitening.load_state_dict({part: tensors[f"text.whitening.{part}"] for part in whitening.state_dict()})
        text = TextTable(model._text_vectors, whitening)
        if (folder / "encoder").is_dir():
            model._encoder = word_piece_class(model.config.encoder, what="a tuned model").load(folder / "encoder")
        elif model.config.encoder.tune != "frozen":
            raise ModelError(f"{folder / 'encoder'} is missing: the model folder is not whole")
    network = Network(model.config, n_items=len(catalog), text=text, counts=torch.zeros(len(catalog) + 1, dtype=torch.long))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise ModelError(f"{folder / WEIGHTS} does not fit its config.json: {str(error).splitlines()[-1].strip()}") from error
    model._network = network.eval()
    return model
