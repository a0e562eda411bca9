"""How much of the texts an encoder reads: whether its vocabulary has words of their script, and where they are cut."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from bertrec.encoders.tokens import token_ids

MULTILINGUAL = "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2"
_TEXTS = 1000  # enough for a share
_LONGEST = 4096  # tokens of a text that are counted
_STEP = 32  # of the lengths that are proposed
_FEW = 1000  # a vocabulary with as many pieces of a script reads it, if only character by character, as Chinese is read


def script_note(tokenizer: Any, texts: Sequence[str], name: str) -> str | None:
    """Return a note where most letters of ``texts`` are unknown to the vocabulary or read one by one, None where they are not.

    Args:
        tokenizer: a fast one of Hugging Face.
        texts: of a catalogue; at most a thousand of them, evenly spread, are looked at.
        name: of the encoder.
    """
    looked_at = _some(texts)
    letters, poor = 0, Counter[str]()
    for text in looked_at:
        letters += sum(map(str.isalpha, text))
        # A text of Latin letters costs no tokenizing.
        if not text.isascii():
            poor.update(_script(letter) for letter in _poorly_read(tokenizer, text))
    if not letters or 2 * poor.total() <= letters:
        return None
    script = poor.most_common(1)[0][0]
    if _pieces_in(tokenizer, script) >= _FEW:
        return None
    share = f"{round(100 * poor.total() / letters)} % of the letters of these texts, mostly {script.title()},"
    return f"{share} are no word to the encoder {name}, which reads them one by one or not at all: set encoder.name to {MULTILINGUAL}"


def length_note(tokenizer: Any, texts: Sequence[str], name: str, *, read: int, most: int | None = None, special: bool = True) -> str | None:
    """Return a note where more than a tenth of ``texts`` is cut, None where it is not.

    Args:
        tokenizer: a fast one of Hugging Face.
        texts: of a catalogue, each with the encoder's prompt; at most a thousand of them, evenly spread, are looked at.
        name: of the encoder.
        read: tokens that are read of a text.
        most: how many the encoder could read; None where there is no limit.
        special: whether special tokens are among them.
    """
    looked_at = _some(texts)
    if not looked_at:
        return None
    rows = token_ids(tokenizer, looked_at, truncation=True, max_length=_LONGEST, add_special_tokens=special)
    lengths = np.array([len(row) for row in rows])
    cut = int((lengths > read).sum())
    if 10 * cut <= len(lengths):
        return None
    unread = 1 - np.minimum(lengths, read).sum() / lengths.sum()
    said = f"{round(100 * cut / len(lengths))} % of these texts are cut at {read} tokens, {round(100 * unread)} % of all tokens lie beyond"
    wanted = int(-(-np.quantile(lengths, 0.95) // _STEP)) * _STEP
    longer = wanted if most is None else min(wanted, most)
    if longer > read:
        return f"{said}: encoder.max_length={longer} reads more, which takes longer and is not always better"
    return f"{said}, and {name} reads no more: let what matters stand first, by the order of --text-fields"


def _some(texts: Sequence[str]) -> list[str]:
    """Return a thousand texts at most, evenly spread; empty ones are passed over."""
    return [text for text in texts[:: -(-len(texts) // _TEXTS) or 1] if text]


def is_unknown(tokenizer: Any, text: str) -> bool:
    """Say whether a vocabulary has no word or piece for anything in a text."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    pieces = tokenizer(clean, add_special_tokens=False, truncation=True, max_length=512)["input_ids"]
    return all(number == tokenizer.unk_token_id for number in pieces)


def _poorly_read(tokenizer: Any, text: str) -> list[str]:
    """Return the letters of other scripts than Latin that are unknown, or a piece each (or several, as bytes are)."""
    clean = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    read = tokenizer(clean, add_special_tokens=False, return_offsets_mapping=True, truncation=True, max_length=512)
    places = {
        place
        for number, (start, end) in zip(read["input_ids"], read["offset_mapping"], strict=True)
        if number == tokenizer.unk_token_id or end - start <= 1
        for place in range(start, max(end, start + 1))
    }
    return [letter for place in places if place < len(clean) and (letter := clean[place]).isalpha() and _script(letter) != "LATIN"]


def _pieces_in(tokenizer: Any, script: str) -> int:
    pieces = tokenizer.batch_decode([[number] for number in range(len(tokenizer))])
    return sum(any(letter.isalpha() and _script(letter) == script for letter in piece if not letter.isascii()) for piece in pieces)


def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "other").split()[0]
