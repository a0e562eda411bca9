"""A copy of a folder that shares its files until one of them is replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path


def linked_copy(source: Path, target: Path, *, without: Collection[str] = ()) -> None:
    """Fill an empty folder with the files of another, as hard links where the file system has them.

    A file of the copy may be replaced, as `bertrec.core.files.atomic_file` does, and never be written into: the source would change too.

    Args:
        source: the folder.
        target: an empty folder.
        without: names in ``source`` that are left out.
    """
    for path in source.iterdir():
        if path.name in without:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, target / path.name, symlinks=True, copy_function=_link)
        else:
            _link(path, target / path.name)


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
