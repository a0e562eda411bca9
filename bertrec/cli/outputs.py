"""Where commands write: seen to before any work, and nothing that is there is replaced unasked."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bertrec.core.errors import BertrecError
from bertrec.core.partial import recover
from bertrec.core.resuming import holds_something

REPORT = ("index.html", "report.md")


def check_files(option: str, paths: Iterable[Path], *, overwrite: bool) -> None:
    """See that files may be written.

    Args:
        option: under which they were asked for, for the error.
        paths: the files.
        overwrite: replace those that are there; pipes and devices are always written to.

    Raises:
        BertrecError: one is there already, or is a folder.
    """
    for path in paths:
        if path.is_dir():
            raise BertrecError(f"{option} {path} is a folder: give the name of a file")
        if path.is_file() and not overwrite:
            raise BertrecError(f"{option} {path} is there already: choose another name, or --overwrite it")


def check_parquet(option: str, path: Path) -> None:
    """See that a file of Parquet is named as one; pipes and devices have names of their own.

    Raises:
        BertrecError: it is not.
    """
    if path.suffix.lower() != ".parquet" and (path.is_file() or not path.exists()):
        raise BertrecError(f"{option} {path}: Parquet is written: give the name of a file that ends with .parquet")


def check_folder(out: Path, *, markers: Iterable[str], holds: str, overwrite: bool) -> None:
    """See that a folder may be written as a whole.

    Args:
        out: the folder, of the option ``--out``.
        markers: files one of which every folder of this kind has.
        holds: what such a folder holds, with its article.
        overwrite: replace one that is there.

    Raises:
        BertrecError: it is a file, or holds something else, or what is not to be replaced.
    """
    recover(out)
    if out.exists() and not out.is_dir():
        raise BertrecError(f"--out {out} is a file, not a folder")
    if not holds_something(out):
        return
    if not any((out / name).exists() for name in markers):
        raise BertrecError(f"--out {out} holds something else than {holds} and is not replaced: choose another folder")
    if not overwrite:
        raise BertrecError(f"--out {out} holds {holds}: choose another folder, or --overwrite it")


def check_report(out: Path | None, *, figures: str, overwrite: bool) -> None:
    """See that a report may be written into a folder, beside whatever else is in it.

    Raises:
        BertrecError: it is a file, or holds a report that is not to be replaced.
    """
    if out is None:
        return
    if out.exists() and not out.is_dir():
        raise BertrecError(f"--out {out} is a file, not a folder")
    check_files("--out", [out / name for name in (*REPORT, figures)], overwrite=overwrite)
