"""``bertrec encoder``: give an encoder the masked-language-model head that cloze prompts need."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, say
from bertrec.cli.outputs import check_folder
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import ConfigError

if TYPE_CHECKING:
    from bertrec.encoders.masked.encoder import MaskedEncoder

app = typer.Typer(
    help="Prepare an encoder for cloze prompts.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec encoder adapt-mlm ml-100k --out encoders/minilm-ml

bertrec encoder adapt-mlm data/mind --encoder encoders/minilm-ml --tune last:2 --epochs 3 --out encoders/minilm-mind
""",
)


@app.callback()
def _group() -> None:
    """Keep the command's name: without this a group of one command would be that command."""


@app.command(
    "adapt-mlm",
    epilog="""
Examples:

bertrec encoder adapt-mlm ml-100k --out encoders/minilm-ml

bertrec encoder adapt-mlm data/shop --text-fields title,description --max-minutes 5 --out encoders/minilm-shop
""",
)
@reads_data()
def adapt_mlm(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the encoder with its head.")],
    reading: Reading,
    encoder: Annotated[str, typer.Option(metavar="NAME", help="minilm, a folder, or a name of the Hugging Face hub.")] = "minilm",
    tune: Annotated[str, typer.Option(help="What learns: head (its transform alone), or also last:K layers or the full encoder.")] = "head",
    epochs: Annotated[int, typer.Option(min=1, help="At most this many epochs.")] = 30,
    max_minutes: Annotated[float, typer.Option(min=0, help="End the training after this; 0 sets no limit.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of the head.")] = 1e-3,
    encoder_learning_rate: Annotated[float, typer.Option(help="Of the encoder, where it learns.")] = 5e-5,
    max_length: Annotated[int, typer.Option(min=3, help="Tokens per text.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Of the held-out texts, the masks and the batches.")] = 0,
    overwrite: o.Overwrite = False,
) -> None:
    """Train a masked-language-model head on the item texts of DATA.

    An encoder without a head (MiniLM) gets a new one whose decoder is its word embeddings; a head that is there is trained further.
    A tenth of the texts is held out, and its perplexity is printed before and after.
    """
    from bertrec.data.load import load
    from bertrec.data.options import LoadOptions
    from bertrec.encoders.masked.storage import MANIFEST
    from bertrec.training.adapt import adapt_masked_lm
    from bertrec.training.config import TrainConfig

    check_folder(out, markers=[MANIFEST], holds="an encoder", overwrite=overwrite)
    config = TrainConfig.from_dict(
        {
            "epochs": epochs,
            "max_seconds": max_minutes * 60,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "encoder_learning_rate": encoder_learning_rate,
            "schedule": "linear",
            "seed": seed,
            "save_every_epoch": False,
        }
    )
    dataset = load(data, LoadOptions.from_dict(reading))
    note_each(dataset.notes)
    dataset.catalog.require_text("encoder adapt")
    model, new = _open(encoder, tune, max_length)
    record = adapt_masked_lm(model, dataset.catalog.texts, config, data=dataset.name, new=new, say=print)
    model.save(out)
    say(record.note)
    say(f"wrote {out}")


def _open(name: str, tune: str, max_length: int) -> tuple[MaskedEncoder, bool]:
    """Return the encoder and whether its head is a new one."""
    from bertrec.encoders.masked.config import MaskedConfig
    from bertrec.encoders.masked.encoder import MaskedEncoder
    from bertrec.encoders.masked.loading import MissingHeadError

    if tune in ("lora", "frozen"):
        raise ConfigError(f"--tune {tune}: give head, last:K or full; what is written is a plain encoder")
    config = MaskedConfig.from_dict({"name": name, "tune": "frozen" if tune == "head" else tune, "max_length": max_length})
    try:
        return MaskedEncoder.from_config(config), False
    except MissingHeadError:
        note(f"{name} has no masked-language-model head: a new one is trained, its decoder tied to the word embeddings")
        return MaskedEncoder.from_config(config, new_head=True), True
