"""Texts as numbered words, for what counts words: without a tokenizer, in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from bertrec.core.ragged import IntArray, Ragged

# Scripts that are written without spaces are taken letter by letter.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, without case and accents' forms.

    >>> words_of("Men's Boots, size 42 (waterproof)")
    ['men', 's', 'boots', 'size', '42', 'waterproof']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass
class Vocabulary:
    """Words and their numbers from 0, as they first occur."""

    number: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, texts: Sequence[str]) -> tuple[Self, Ragged]:
        """Number the words of texts.

        Returns:
            The vocabulary, and the words of each text after an empty row 0 for padding, ``n + 1`` rows.
        """
        found = cls()
        rows = [[found.number.setdefault(word, len(found.number)) for word in words_of(text)] for text in texts]
        return found, Ragged.from_rows([[], *rows])

    def encode(self, text: str) -> IntArray:
        """Return the numbers of the words of a text that are known."""
        return np.array([self.number[word] for word in words_of(text) if word in self.number], np.int64)
