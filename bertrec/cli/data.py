"""``bertrec data``: look at data before training on them, and write them in other formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_table, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import BertrecError
from bertrec.core.resuming import holds_something

if TYPE_CHECKING:
    from bertrec.data.load import Dataset

app = typer.Typer(
    help="Look at data, and write them in other formats.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec data describe ml-100k

bertrec data describe my-folder --text-fields title,brand --json counts.json

bertrec data convert my-folder --out my-parquet

bertrec data convert my-folder --to atomic --out for-recbole
""",
)
FORMATS = ("parquet", "atomic")
_IN_ONE_ROW = ("days", "empty_by_field")  # whose names are few, or those of columns


@app.command(epilog="Example: bertrec data describe ml-100k")
@reads_data()
def describe(
    data: o.DataArgument,
    reading: Reading,
    encoder: Annotated[str, typer.Option(help="Whose word pieces to count: a name or folder, or none.")] = "minilm",
    json_out: o.Json = None,
) -> None:
    """Print counts, density, text lengths and what is worth knowing before training."""
    from bertrec.data.describe import describe as count

    dataset = _load(data, reading)
    found = count(dataset, **({} if encoder == "none" else _pieces_of(encoder)))
    print_table(f"{found['name']} ({found['format']})", ["what", "value"], list(_rows(found)))
    for line in found["notes"]:
        say(f"note: {line}")
    for line in found["warnings"]:
        say(f"warning: {line}")
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, found)
        note(f"wrote {json_out}")


@app.command(epilog="Example: bertrec data convert my-folder --to atomic --out for-recbole")
@reads_data(without=("max_words", "template"))
def convert(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to write into.")],
    reading: Reading,
    to: Annotated[str, typer.Option(help="parquet (tables) or atomic (RecBole).")] = "parquet",
    split: Annotated[str | None, typer.Option(help="Write this split too, such as leave-one-out; else the one that came along.")] = None,
    overwrite: o.Overwrite = False,
) -> None:
    """Write DATA as Parquet tables or RecBole atomic files; texts are written whole."""
    from bertrec.data.convert import convert as write
    from bertrec.data.load import make_split

    o.choice("format", to, FORMATS)
    _check_out(out, overwrite=overwrite)
    dataset = _load(data, {**reading, "max_words": None})
    note_each(dataset.notes)
    written = write(
        dataset,
        out,
        format="atomic" if to == "atomic" else "parquet",
        split=None if split is None else make_split(dataset, split),
        overwrite=overwrite,
    )
    note_each(written.notes)
    for path in written.paths:
        say(path)


def _check_out(out: Path, *, overwrite: bool) -> None:
    """See that nothing is mixed with what a folder holds: a folder of two readable formats is read by none.

    Raises:
        BertrecError: it holds something.
    """
    if out.exists() and not out.is_dir():
        raise BertrecError(f"--out {out} is a file, not a folder")
    if holds_something(out) and not overwrite:
        raise BertrecError(f"--out {out} is not empty: choose another folder, or --overwrite what has the same names in it")


def _load(data: str, given: Mapping[str, Any]) -> Dataset:
    from bertrec.data.load import load
    from bertrec.data.options import LoadOptions

    return load(data, LoadOptions.from_dict(given))


def _pieces_of(name: str) -> dict[str, Any]:
    """Return how an encoder cuts texts into word pieces, whole texts and without its own marks."""
    from transformers import AutoTokenizer

    from bertrec.core.errors import ModelError
    from bertrec.encoders.backbone import LOCAL_ONLY
    from bertrec.encoders.folder import one_line
    from bertrec.encoders.source import resolve_folder

    place = resolve_folder(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(place, **LOCAL_ONLY)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ModelError(f"--encoder {name}: no tokenizer can be read from {place}: {one_line(error)}") from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # what transformers makes of a folder without a vocabulary
        raise ModelError(f"--encoder {name}: no tokenizer can be read from {place}: it has no vocabulary")

    def pieces(texts: list[str]) -> Sequence[Sequence[int]]:
        return tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]

    cut: Callable[[list[str]], Sequence[Sequence[int]]] = pieces
    return {"tokenize": cut, "unknown_id": tokenizer.unk_token_id}


def _rows(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        if name in ("name", "format", "notes", "warnings") or value is None or value == {} or value == []:
            continue
        if isinstance(value, dict) and "median" not in value and name not in _IN_ONE_ROW:
            yield from ((f"{name.replace('_', ' ')}: {inner}", shown) for inner, shown in _rows(value))
        else:
            yield name.replace("_", " "), _shown(value)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, float):
        return f"{value:.0f}" if value == int(value) else f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
