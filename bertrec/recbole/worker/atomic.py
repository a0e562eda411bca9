"""Our split as RecBole's benchmark files. Tokens are our inner ids, so that no id of the user's can upset the format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import EvaluationSet, Split

NAME = "split"
PARTS = ("train", "valid", "test")
_WORDS = 16  # of a text, for the models that want an item feature


def write_flat(split: Split, folder: Path) -> None:
    """Write one row per interaction, for general and context-aware models."""
    rows = [(split.train.sequences, np.arange(1, len(split.train.sequences) + 1))]
    rows += [(part.targets, np.asarray(part.users)) for part in _evaluated(split)]
    for name, (items, users) in zip(PARTS, rows, strict=True):
        lines = (f"{user}\t{item}" for user, item in zip(users[items.rows], items.values, strict=True))
        _write(folder, name, "user_id:token\titem_id:token", lines)
    write_items(split, folder)


def write_sequential(split: Split, folder: Path, *, max_length: int) -> None:
    """Write one row per prediction with the items before it: RecBole's own training data of sequential models.

    Args:
        split: the split.
        folder: where to.
        max_length: histories keep their newest items up to this many, as RecBole's own augmentation does.
    """
    header = "user_id:token\titem_id_list:token_seq\titem_id:token"
    _write(folder, "train", header, _prefixes(split.train.sequences, max_length))
    for name, part in zip(PARTS[1:], _evaluated(split), strict=True):
        _write(folder, name, header, _targets(part, max_length))
    write_items(split, folder)


def write_items(split: Split, folder: Path) -> None:
    """Write all items of the catalogue, so that they have a place in RecBole's vocabulary, with the words of their text as a feature."""
    lines = (f"{item}\t{_feature(text)}" for item, text in enumerate(split.catalog.texts, start=1))
    with (folder / f"{NAME}.item").open("w", encoding="utf-8", newline="\n") as stream:
        stream.write("item_id:token\tclass:token_seq\n")
        stream.writelines(f"{line}\n" for line in lines)


def _evaluated(split: Split) -> list[EvaluationSet]:
    assert split.validation is not None
    assert split.test is not None
    return [split.validation, split.test]


def _feature(text: str) -> str:
    return " ".join(text.replace('"', "'").split()[:_WORDS]) or "-"  # RecBole cannot read an empty value under pandas 3


def _prefixes(sequences: Ragged, max_length: int) -> Iterable[str]:
    for user, sequence in enumerate(sequences, start=1):
        words = sequence.astype(str).tolist()
        for end in range(1, len(words)):
            yield f"{user}\t{' '.join(words[max(0, end - max_length) : end])}\t{words[end]}"


def _targets(part: EvaluationSet, max_length: int) -> Iterable[str]:
    for user, history, targets in zip(part.users, part.histories, part.targets, strict=True):
        for target in targets:
            yield f"{user}\t{_words(history[-max_length:])}\t{target}"


def _words(items: IntArray) -> str:
    return " ".join(items.astype(str).tolist())


def _write(folder: Path, part: str, header: str, lines: Iterable[str]) -> None:
    with (folder / f"{NAME}.{part}.inter").open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(header + "\n")
        stream.writelines(f"{line}\n" for line in lines)
