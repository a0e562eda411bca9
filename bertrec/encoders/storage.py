"""The folder of a saved encoder: JSON, safetensors and tokenizer files, each with its SHA-256."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file

from bertrec.core.checks import expect_path
from bertrec.core.errors import ModelError
from bertrec.core.files import atomic_folder, read_record, sha256_file, write_json
from bertrec.core.partial import recover
from bertrec.core.seal import check_seal, sealed
from bertrec.encoders.adaptation import MANIFEST, Adaptation
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.depth import apply_depth
from bertrec.encoders.folder import MODULES, SETTINGS, FolderForm
from bertrec.encoders.pooling import TokenPooling

if TYPE_CHECKING:
    from bertrec.encoders.backbone import Backbone

FORMAT = 1


def weights_name(config: EncoderConfig) -> str:
    """Return the weights' file: with LoRA matrices another name, for Hugging Face's loaders would drop them without a word."""
    return "encoder-lora.safetensors" if config.tune == "lora" else "model.safetensors"


def save_encoder(
    folder: str | Path,
    config: EncoderConfig,
    backbone: Backbone,
    pooling: TokenPooling,
    form: FolderForm,
    adaptation: Adaptation | None = None,
) -> None:
    """Write the encoder, whole or not at all; the folder is one that sentence-transformers loads too where that can compute the same."""
    with atomic_folder(folder, marker=MANIFEST) as place:
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in backbone.model.state_dict().items()}
        save_file(state, place / weights_name(config), metadata={"format": "pt"})
        backbone.model.config.save_pretrained(place)
        backbone.processor.save_pretrained(place)
        modules = _write_modules(place, pooling)
        if config.tune != "lora" and pooling.layers == 1 and pooling.kept is None:
            _write_listing(place, backbone, modules, form, form.prompt(config))
        # The prompts and the modules that were read, so that settings such as auto mean the same without the first folder.
        listed = ("Transformer", ""), *((type(module).__name__, path) for module, path in modules)
        said = FolderForm(listed if form.modules else (), form.prompts, form.default_prompt).to_dict()
        known = {} if adaptation is None else {"adaptation": adaptation.to_dict()}
        record = {"format": FORMAT, "config": config.to_dict(), "form": said, **known, "sha256": file_hashes(place)}
        write_json(place / MANIFEST, sealed(record))


def load_encoder(folder: str | Path) -> tuple[EncoderConfig, Backbone, FolderForm]:
    """Read what ``save_encoder`` wrote, running no code of the folder.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved; the text names it.
    """
    from bertrec.encoders.backbone import load_backbone

    folder = expect_path(folder, "TextEncoder.load: folder", error=ModelError)
    config, form = _verified_config(folder)
    backbone = load_backbone(folder, skeleton=True)
    with torch.random.fork_rng(devices=[]):  # The first LoRA matrices are overwritten below.
        apply_depth(backbone.model, config)
    weights = folder / weights_name(config)
    try:
        backbone.model.load_state_dict(load_file(weights))
    except Exception as error:  # safetensors and torch raise unrelated classes; all mean that file and configuration do not fit.
        raise ModelError(f"{weights} does not fit {folder / 'config.json'}: {' '.join(str(error).split())[:200]}") from error
    return config, backbone, form


def _verified_config(folder: Path) -> tuple[EncoderConfig, FolderForm]:
    recover(folder)
    manifest = read_record(folder / MANIFEST, {"config": dict, "sha256": dict})
    if manifest.get("format") != FORMAT:
        raise ModelError(f"{folder / MANIFEST} has format {manifest.get('format')!r}; this version reads {FORMAT}")
    check_seal(manifest, folder / MANIFEST)
    config = EncoderConfig.from_dict(manifest["config"])
    check_files(folder, manifest["sha256"], {weights_name(config), "config.json"}, MANIFEST)
    # Folders of versions that read no form name their pooling.
    try:
        return config, FolderForm.from_dict(manifest["form"]) if "form" in manifest else FolderForm()
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder / MANIFEST} is damaged: its form is {error!r}") from error


def check_files(folder: Path, hashes: Mapping[str, str], needed: set[str], manifest: str) -> None:
    """Compare each file of a saved folder with its SHA-256 in the manifest.

    Raises:
        ModelError: a file is missing, damaged or not the one that was saved; the text names it.
    """
    for name in needed | hashes.keys():
        path = folder / name
        if not path.is_file():
            raise ModelError(f"{path} is missing")
        if sha256_file(path) != hashes.get(name):
            raise ModelError(f"{path} is damaged or was changed: its SHA-256 is not the one in {manifest}")


def file_hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file under ``folder``, by its name relative to it."""
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def _write_modules(place: Path, pooling: TokenPooling) -> list[tuple[Any, str]]:
    """Write the pooling and what follows it, each to a folder of its own, and return them with these."""
    modules = [(one, f"{number}_{type(one).__name__}") for number, one in enumerate([pooling.over_tokens, *pooling.after], 1)]
    for module, path in modules:
        (place / path).mkdir()
        module.save(str(place / path))
    return modules


def _write_listing(place: Path, backbone: Backbone, modules: list[tuple[Any, str]], form: FolderForm, prompt: str) -> None:
    """Write what makes the folder one of sentence-transformers, with the prompt that texts were read with as its default."""
    backbone.save_config(str(place))
    kinds = [(type(backbone).__mro__[1], ""), *((type(module), path) for module, path in modules)]
    listing = [
        {"idx": number, "name": str(number), "path": path, "type": f"{kind.__module__}.{kind.__name__}"}
        for number, (kind, path) in enumerate(kinds)
    ]
    (place / MODULES).write_text(json.dumps(listing, indent=2), encoding="utf-8")
    prompts = {**form.prompts, "bertrec": prompt} if prompt else dict(form.prompts)
    write_json(place / SETTINGS, {"prompts": prompts, "default_prompt_name": "bertrec" if prompt else None})
