"""From the settings to the encoder: a class of another package, a file of vectors, a static encoder, or one of Hugging Face."""

from __future__ import annotations

from pathlib import Path

import torch

from bertrec.core.errors import ConfigError
from bertrec.core.plugins import Registry, path_of
from bertrec.data.readers.vectors import is_vector_file
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.folder import is_static
from bertrec.encoders.given import GivenVectors
from bertrec.encoders.source import check_path, resolve_folder
from bertrec.encoders.static import StaticEncoder
from bertrec.encoders.text import TextEncoder

ENCODERS = Registry(
    what="encoder",
    base="bertrec.encoders.base:Encoder",
    group="bertrec.encoders",
    own={"minilm": "bertrec.encoders.text:TextEncoder"},
)
"""The values of ``encoder.name`` that are neither a folder nor a model of the hub."""


def encoder_class(name: str) -> type[Encoder]:
    """Return the class that ``encoder.name`` stands for, as far as its form and the folders of this machine say it.

    Raises:
        ConfigError: a dotted path without such a class, or one of a class that is no whole encoder.
    """
    if ENCODERS.knows(name):
        return ENCODERS.find(name)
    if is_vector_file(name):
        return GivenVectors
    folder = Path(name).expanduser()
    return StaticEncoder if folder.is_dir() and is_static(folder) else TextEncoder


def make_encoder(config: EncoderConfig, *, device: torch.device | str | None = None) -> Encoder:
    """Make the encoder that ``config`` names.

    Raises:
        ModelError: there is no such encoder, or it cannot be loaded.
        ConfigError: see `encoder_class`; or a setting does not fit the encoder.
    """
    kind = encoder_class(config.name)
    if kind is TextEncoder and config.name != "minilm" and is_static(resolve_folder(config.name)):  # of the hub
        kind = StaticEncoder
    check_tune(config, kind)
    return kind.from_config(config, device=device)


def require_path(name: object) -> None:
    """See, before any data are read, that an encoder named by a path is there; names of the hub are not looked for.

    Args:
        name: ``encoder.name``; None where there is no such setting.

    Raises:
        ModelError: there is no such folder.
    """
    if isinstance(name, str) and not ENCODERS.knows(name) and not is_vector_file(name):
        check_path(name)


def check_tune(config: EncoderConfig, kind: type[Encoder]) -> None:
    """See that an encoder of this class is only tuned where it can be.

    Raises:
        ConfigError: it cannot.
    """
    if config.tune != "frozen" and not issubclass(kind, TextEncoder):
        reason = f"it is no {path_of(TextEncoder)}"
        raise ConfigError(f"encoder {config.name} cannot be tuned, for {reason}: set encoder.tune to frozen")


def make_text_encoder(config: EncoderConfig, *, what: str, device: torch.device | str | None = None) -> TextEncoder:
    """Make the encoder that ``config`` names for ``what``, which reads word pieces and not whole texts.

    Raises:
        ModelError: there is no such encoder, or it cannot be loaded.
        ConfigError: see `encoder_class`; or the encoder has no word pieces.
    """
    return word_piece_class(config, what=what).from_config(config, device=device)


def word_piece_class(config: EncoderConfig, *, what: str) -> type[TextEncoder]:
    """Return the class of ``config.name``, which ``what`` needs to be one with word pieces.

    Raises:
        ConfigError: see `encoder_class`; or the class has no word pieces.
    """
    kind = encoder_class(config.name)
    if not issubclass(kind, TextEncoder):
        hint = "set encoder.name to a Hugging Face encoder"
        raise ConfigError(f"{what} reads word pieces and encoder {config.name} has none: {hint}")
    return kind
