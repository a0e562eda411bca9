"""Model folders: safetensors and JSON, each file with its hash; reading one runs no code from it.

config.json        class, settings, versions, hashes of the files below and of itself
model.safetensors  weights (and text vectors of the catalogue)
items.parquet, items.json
README.md          the model card, the one file without a hash: its owner may write in it
…/                 parts that have a folder of their own, such as a tuned encoder
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from bertrec.core.config import Config
from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_file, read_json, sha256_file, write_json
from bertrec.core.partial import recover
from bertrec.core.plugins import is_path, path_of
from bertrec.core.seal import check_seal, sealed
from bertrec.data.catalog import ItemCatalog
from bertrec.evaluation.protocol import versions

FORMAT = 1
WEIGHTS = "model.safetensors"
ABOUT = "config.json"
_KINDS = {"format": int, "class": str, "config": dict, "sha256": dict, "path": str | None}


@dataclass(frozen=True)
class SavedParts:
    """What a model folder holds.

    Attributes:
        folder: where it was read from; parts with a folder of their own lie below it.
        about: ``config.json``: ``class`` (a name), ``config`` (settings), and what the class added.
        catalog: the items.
        tensors: all weights by name.
        classes: what the caller vouches for, for parts that are models themselves.
    """

    folder: Path
    about: Mapping[str, Any]
    catalog: ItemCatalog
    tensors: dict[str, torch.Tensor]
    classes: tuple[str | type, ...] = ()


def hash_tensors(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 over names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(checked_tensors(tensors)):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{list(value.shape)}:{value.dtype}".encode())
        if value.numel():  # an empty one may have strides that no view takes
            digest.update(value.view(torch.uint8).numpy().tobytes() if value.dim() else value.numpy().tobytes())
    return digest.hexdigest()


def checked_tensors(tensors: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """Return what a model's ``state_dict`` gave, if it can be saved.

    Raises:
        ModelError: a value is no tensor; the text names it.
    """
    for name, value in tensors.items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"state_dict: '{name}' is a {type(value).__name__}, and only tensors are saved")
    return tensors


def _apart(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors with memory of their own: two names may stand for one, which safetensors does not write."""
    seen: set[int] = set()
    out = {}
    for name, value in tensors.items():
        out[name] = value.detach().cpu().contiguous()
        place = out[name].untyped_storage().data_ptr()
        if place in seen:
            out[name] = out[name].clone()
        seen.add(place)
    return out


def write_parts(
    folder: Path, kind: type, *, config: Mapping[str, Any], catalog: ItemCatalog, tensors: Mapping[str, torch.Tensor], **more: Any
) -> None:
    """Write one model folder in place (the caller makes it atomic).

    Args:
        folder: holds parts with a folder of their own at most.
        kind: the model's class; one of another package is written down with its dotted path, for whoever is to vouch for it.
        config: settings as plain values.
        catalog: the items.
        tensors: all weights.
        **more: further JSON values.
    """
    catalog.save(folder)
    safetensors.torch.save_file(_apart(checked_tensors(tensors)), folder / WEIGHTS)
    hashes = {file.name: sha256_file(file) for file in sorted(folder.iterdir()) if file.is_file()}
    foreign = {} if kind.__module__.startswith("bertrec.") else {"path": path_of(kind)}
    about = {"format": FORMAT, "class": kind.name, **foreign, "config": dict(config), "versions": versions()}  # type: ignore[attr-defined]  # every model has a name
    write_json(folder / ABOUT, sealed({**about, **more, "sha256": hashes}))


def replace_parts(folder: Path, tensors: Mapping[str, torch.Tensor], **values: Any) -> None:
    """Give some tensors and values of a model folder others of the same name; every other part stays as it was saved.

    Args:
        folder: of the model; the caller makes the change of both files atomic.
        tensors: by name; those that the folder lacks are left out.
        **values: of ``config.json``.

    Raises:
        ModelError: as `read_parts`.
    """
    parts = read_parts(folder)
    now = {name: tensors.get(name, value) for name, value in parts.tensors.items()}
    with atomic_file(folder / WEIGHTS) as temporary:
        safetensors.torch.save_file(_apart(checked_tensors(now)), temporary)
    hashes = {**parts.about["sha256"], WEIGHTS: sha256_file(folder / WEIGHTS)}
    write_json(folder / ABOUT, sealed({**parts.about, **values, "sha256": hashes}))


def read_about(folder: Path) -> dict[str, Any]:
    """Read ``config.json``.

    Raises:
        ModelError: the folder or the file is missing, changed since it was saved, or of a newer bertrec; the text names it.
    """
    if not recover(folder).is_dir():
        raise ModelError(f"{folder} is no model folder: it {'is a file' if folder.exists() else 'does not exist'}")
    about = check_kinds(read_json(folder / ABOUT), folder / ABOUT)
    if about["format"] > FORMAT:
        raise ModelError(f"{folder} was written by a newer bertrec (format {about['format']}, this one reads {FORMAT}): upgrade bertrec")
    check_seal(about, folder / ABOUT)
    return about


def check_kinds(about: Any, path: Path) -> dict[str, Any]:
    """Return what ``config.json`` holds, if it is that of a model of ours.

    Raises:
        ModelError: it is not.
    """
    if not isinstance(about, dict) or not all(isinstance(about.get(name), kind) for name, kind in _KINDS.items()):
        raise ModelError(f"{path} is not the file of a bertrec model")
    return about


def read_parts(folder: Path, classes: tuple[str | type, ...] = ()) -> SavedParts:
    """Read a model folder and compare every file with its hash.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved; the text names it.
    """
    about = read_about(folder)
    for name in {WEIGHTS, *about["sha256"]}:
        check_file(folder / name, about["sha256"].get(name))
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{folder / WEIGHTS} is damaged: {error}") from error
    return SavedParts(folder, about, ItemCatalog.load(folder), tensors, classes)


def check_file(path: Path, expected: str | None) -> None:
    """Compare a file of a saved folder with its SHA-256.

    Raises:
        ModelError: it is missing, damaged or not the one that was saved; the text names it.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing: the model folder is not whole")
    if sha256_file(path) != expected:
        raise ModelError(f"{path} is not the file that was saved (its SHA-256 differs): copy or train the model again")


def check_foreign_parts(kind: type[Config], values: Mapping[str, Any], vouched: Collection[str], where: str) -> None:
    """See that no setting of a saved model names a class of another package that nobody vouches for.

    Args:
        kind: the class of the settings.
        values: the settings as read.
        vouched: dotted paths that the caller vouches for.
        where: the folder, for the error.

    Raises:
        ModelError: one does; the text names setting and class.
    """
    for name, value in _pluggable(kind, values):
        if isinstance(value, str) and is_path(value) and value not in vouched:
            hint = f"name it with --model {value} (classes=… in Python), if you trust that package"
            raise ModelError(f"{where}: setting {name} is {value}, a class of another package: {hint}")


def classes_in_settings(kind: type[Config], values: Mapping[str, Any]) -> list[str]:
    """Return the dotted paths of classes of other packages that settings name."""
    return [value for _, value in _pluggable(kind, values) if isinstance(value, str) and is_path(value)]


def _pluggable(kind: type[Config], values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield flat name and value of the settings that may name a class."""
    for name, field in kind.model_fields.items():
        inner, value = field.annotation, values.get(name)
        if name in kind.pluggable:
            yield f"{prefix}{name}", value
        if isinstance(inner, type) and issubclass(inner, Config) and isinstance(value, Mapping):
            yield from _pluggable(inner, value, f"{prefix}{name}.")
