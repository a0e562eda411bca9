"""``bertrec encoder``: adapt an encoder to what users take together, or to the words of a catalogue with a head for cloze prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, say
from bertrec.cli.outputs import check_folder
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import data_record, split_data
from bertrec.core.errors import ConfigError
from bertrec.runs.data import load_data

if TYPE_CHECKING:
    from bertrec.data.splits import Split
    from bertrec.encoders.masked.encoder import MaskedEncoder
    from bertrec.training.adapt_config import AdaptConfig

EncoderName = Annotated[
    str | None, typer.Option("--encoder", metavar="NAME", help="minilm (the default), a folder, or a name of the Hugging Face hub.")
]

app = typer.Typer(
    help="Prepare an encoder: for the items of a data set, or for cloze prompts.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec encoder adapt data/scientific --max-minutes 10 --out encoders/scientific

bertrec encoder adapt-mlm ml-100k --out encoders/minilm-ml

bertrec encoder adapt-mlm data/mind --encoder encoders/minilm-ml --tune last:2 --epochs 3 --out encoders/minilm-mind
""",
)


@app.command(
    "adapt",
    epilog="""
Examples:

bertrec encoder adapt data/scientific --max-minutes 10 --out encoders/scientific

bertrec train data/scientific --set encoder.name=encoders/scientific --out runs/scientific

bertrec encoder adapt data/shop --split cold-items --seed 1 --tune last:2 --set window=3 --out encoders/shop

bertrec encoder adapt data/shop --split cold-items --seed 1 --tune last:2 --set window=3 --out encoders/shop --resume
""",
)
@reads_data()
def adapt(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the encoder.")],
    reading: Reading,
    encoder: EncoderName = None,
    tune: Annotated[
        str | None, typer.Option(help="What learns: full, last:K layers or lora (default full). What is written is frozen.")
    ] = None,
    pairs: Annotated[
        str | None,
        typer.Option(help="Texts that belong together: items of one user, reviews with their items, both (default auto: what there is)."),
    ] = None,
    split: o.Split = "auto",
    seed: Annotated[int | None, typer.Option(min=0, help="Of a random split and of the training, as in bertrec train.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option("--max-minutes", "--minutes", min=0, help="End the training after this; 0 sets no limit.")
    ] = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Adapt an encoder to what the users of DATA take together, by its training part alone.

    It learns to tell the text of the item that a user took next, or that a review is of, from other items' texts. Validation users
    choose the epoch. Train with the same --split and --seed: bertrec train warns where they differ. See bertrec settings adapt.
    """
    from bertrec.encoders.adaptation import MANIFEST
    from bertrec.encoders.registry import require_path, word_piece_class
    from bertrec.rankers.unfinished import check_unfinished, training_beside
    from bertrec.training.adapt_config import AdaptConfig
    from bertrec.training.adapt_items import adapt_encoder

    check_folder(out, markers=[MANIFEST], holds="an encoder", overwrite=overwrite or resume)
    check_unfinished(out, overwrite=overwrite, resume=resume)
    o.choice("split", split, o.SPLITS)
    given: dict[str, Any] = {"encoder.name": encoder, "encoder.tune": tune, "pairs": pairs, "train.epochs": epochs, "train.seed": seed}
    given["train.max_seconds"] = None if max_minutes is None else max_minutes * 60
    settings = o.read_settings(config, set_ or []) | {name: value for name, value in given.items() if value is not None}
    chosen = AdaptConfig().updated(settings)
    require_path(chosen.encoder.name)
    word_piece_class(chosen.encoder, what="encoder adapt")
    options = {"seed": seed} if split == "cold-items" and seed is not None else {}
    plan = {**data_record(data), "load": reading, "split": {"method": split, "options": options}}
    parts, plan["data_hash"] = _split_of(plan)
    plan["settings"] = _kept_settings(chosen)
    with training_beside(out, plan, resume=resume, say=note) as work:
        adapted = adapt_encoder(parts, chosen, run_dir=work.folder, resume=resume, say=say)
        adapted.save(out)
    work.drop()
    say(f"wrote {out}: bertrec train {data} --set encoder.name={out}")


def _kept_settings(config: AdaptConfig) -> dict[str, Any]:
    """Return the settings that a training that goes on must have in common with the one that was cut short."""
    from bertrec.training.fit import FREE_SETTINGS

    return {name: value for name, value in config.to_flat().items() if name.removeprefix("train.") not in FREE_SETTINGS}


def _split_of(plan: dict[str, Any]) -> tuple[Split, str]:
    """Return the split of a plan's data and the data's hash, after saying what was read."""
    dataset = load_data(plan)
    parts = split_data(dataset, plan)
    note(f"{dataset.name} ({dataset.format}): {len(dataset.interactions.users)} users, {len(dataset.catalog)} items")
    note_each(dataset.notes)
    note(f"split {parts.manifest['method']}: training {len(parts.train)} interactions")
    return parts, dataset.content_hash


@app.command(
    "adapt-mlm",
    epilog="""
Examples:

bertrec encoder adapt-mlm ml-100k --out encoders/minilm-ml

bertrec encoder adapt-mlm data/shop --text-fields title,description --max-minutes 5 --out encoders/minilm-shop

bertrec encoder adapt-mlm data/shop --texts items,reviews --mask words --tune last:2 --epochs 10 --out encoders/shop
""",
)
@reads_data()
def adapt_mlm(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write the encoder with its head.")],
    reading: Reading,
    encoder: EncoderName = None,
    tune: Annotated[str, typer.Option(help="What learns: head (its transform alone), or also last:K layers or the full encoder.")] = "head",
    texts: Annotated[str, typer.Option(help="What is read: items, reviews (of the training part), or both as items,reviews.")] = "items",
    mask: Annotated[str, typer.Option(help="What is hidden: tokens, or words with all of their pieces.")] = "tokens",
    epochs: Annotated[int, typer.Option(min=1, help="At most this many epochs.")] = 30,
    max_minutes: Annotated[float, typer.Option(min=0, help="End the training after this; 0 sets no limit.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Texts per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of the head.")] = 1e-3,
    encoder_learning_rate: Annotated[float, typer.Option(help="Of the encoder, where it learns.")] = 5e-5,
    max_length: Annotated[int, typer.Option(min=3, help="Tokens per text.")] = 128,
    seed: Annotated[int, typer.Option(min=0, help="Of the held-out texts, the masks and the batches.")] = 0,
    resume: o.Resume = False,
    overwrite: o.Overwrite = False,
) -> None:
    """Train a masked-language-model head on the texts of DATA.

    An encoder without a head (MiniLM) gets a new one whose decoder is its word embeddings; a head that is there is trained further.
    A tenth of the texts is held out, and its perplexity is printed before and after.
    """
    from bertrec.encoders.masked.storage import MANIFEST
    from bertrec.encoders.registry import require_path
    from bertrec.rankers.unfinished import check_unfinished, training_beside
    from bertrec.training.adapt import adapt_masked_lm
    from bertrec.training.config import TrainConfig

    check_folder(out, markers=[MANIFEST], holds="an encoder", overwrite=overwrite or resume)
    check_unfinished(out, overwrite=overwrite, resume=resume)
    o.choice("mask", mask, ("tokens", "words"))
    steps: dict[str, Any] = {
        "epochs": epochs,
        "max_seconds": max_minutes * 60,
        "batch_size": batch_size,
        "schedule": "linear",
        "seed": seed,
    }
    rates = {"learning_rate": learning_rate, "encoder_learning_rate": encoder_learning_rate}
    config = TrainConfig.from_dict({**steps, **rates})
    name_of_encoder = encoder or "minilm"
    require_path(name_of_encoder)
    read, name, content = _texts(data, reading, texts)
    model, new = _open(name_of_encoder, tune, max_length)
    plan: dict[str, Any] = {**data_record(data), "load": reading, "data_hash": content, "texts": texts, "mask": mask}
    plan |= {"encoder": name_of_encoder, "tune": tune, "max_length": max_length, **steps, **rates}
    with training_beside(out, plan, resume=resume, say=note) as work:
        kinds: dict[str, Any] = {"what": _KINDS_IN_WORDS[texts], "whole_words": mask == "words"}
        record = adapt_masked_lm(model, read, config, data=name, new=new, run_dir=work.folder, resume=resume, say=say, **kinds)
        model.save(out)
    work.drop()
    say(record.note)
    say(f"wrote {out}")


_KINDS_IN_WORDS = {"items": "item texts", "reviews": "reviews", "items,reviews": "item texts and reviews"}


def _texts(data: str, reading: dict[str, Any], kinds: str) -> tuple[list[str], str, str]:
    """Return the texts to learn from, the data's name and hash."""
    from bertrec.core.errors import DataError
    from bertrec.data.load import load, make_split
    from bertrec.data.options import LoadOptions

    o.choice("texts", kinds, tuple(_KINDS_IN_WORDS))
    dataset = load(data, LoadOptions.from_dict(reading))
    note_each(dataset.notes)
    found: list[str] = []
    if "items" in kinds:
        dataset.catalog.require_text("encoder adapt")
        found += dataset.catalog.texts
    if "reviews" in kinds:
        if dataset.interactions.text is None:
            raise DataError(f"--texts {kinds}: {dataset.name} has no reviews (a column of texts beside the interactions): take items")
        split = make_split(dataset)
        found += split.train.text or []  # what is held out for measuring stays unread
        note(
            f"note: reviews are those of the training part of the split {split.manifest['method']}: where another one measures, "
            "an encoder that learns from them (--tune last:K, full) has read what that holds out"
        )
    return found, dataset.name, dataset.content_hash


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
