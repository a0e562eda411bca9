"""A masked-language-model head for an encoder that came without one, made on the way to the first prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bertrec.core.errors import BertrecError
from bertrec.encoders.depth import transformer_layers
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.loading import MissingHeadError
from bertrec.encoders.masked.storage import MANIFEST, read_manifest
from bertrec.training.adapt import adapt_masked_lm, texts_hash
from bertrec.training.config import TrainConfig

EPOCHS, LAYERS, MAX_LENGTH = 2, 2, 128


def encoder_with_head(
    name: str, texts: Sequence[str], folder: Path, *, data: str, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> str:
    """Return the name of an encoder that can be asked: ``name`` itself where it has a head, else ``folder``, where one is kept.

    What is in ``folder`` already is taken where it was made of the same encoder, texts and seed.

    Args:
        name: of an encoder.
        texts: of the items, on which a head is trained, with the encoder's two upper layers.
        folder: where the encoder with its head goes.
        data: name of the data, for the record.
        seed: of the training.
        say: told what is done, line by line.

    Raises:
        BertrecError: the folder holds something else, or cannot be written.
        DataError: fewer than two distinct texts have a word that the encoder knows.
        ModelError: the encoder cannot be loaded.
    """
    try:
        MaskedEncoder.from_config(MaskedConfig(name=name, tune="frozen"))
        return name
    except MissingHeadError:
        pass
    if folder.exists():
        _check_same(folder, name, texts, seed)
        say(f"{name} has no masked-language-model head: the encoder in {folder} is taken, which was given one before")
        return str(folder)
    say(f"{name} has no masked-language-model head: one is trained on the item texts first, and the encoder kept in {folder}")
    layers = len(transformer_layers(MaskedEncoder.from_config(MaskedConfig(name=name, tune="frozen"), new_head=True).base))
    config = MaskedConfig(name=name, tune=f"last:{min(LAYERS, layers)}", max_length=MAX_LENGTH)
    training = TrainConfig(epochs=EPOCHS, batch_size=32, schedule="linear", seed=seed, save_every_epoch=False)
    encoder = MaskedEncoder.from_config(config, new_head=True)
    adapt_masked_lm(encoder, texts, training, data=data, new=True, say=say)
    encoder.save(folder)
    return str(folder)


def _check_same(folder: Path, name: str, texts: Sequence[str], seed: int) -> None:
    head = read_manifest(folder)[1] if (folder / MANIFEST).exists() else None
    wanted = {"encoder": name, "seed": seed, "texts": texts_hash(texts)}
    if head is None or any(head.settings.get(key) != value for key, value in wanted.items()):
        raise BertrecError(
            f"{folder} is where {name} would be kept with a head of its own, and it holds something else: "
            f"choose another --out, name the encoder with --encoder (--encoder {folder}, if that is the one), or delete the folder"
        )
