"""Token rows of a prompt: texts tokenized once, what is said of the user cut first, the mask and the candidate never lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.templates import cut_words
from bertrec.encoders.tokens import token_ids
from bertrec.rankers.prompts.template import ROW_SLOTS, Part, Prompt, parse_template

_CHUNK = 4096


@dataclass(frozen=True)
class UserWords:
    """What is said of the users of ``n`` rows, beside their histories.

    Attributes:
        labels: what stands before the titles of the history, ``[n]``, or None.
        profiles: for ``{profile}``, ``[n]``, or None where none is known.
        reviews: for ``{reviews}``, ``[n]`` rows of numbers of ``review_texts``, newest first, or None.
        review_texts: the texts.
    """

    labels: Sequence[str] | None = None
    profiles: Sequence[str] | None = None
    reviews: Ragged | None = None
    review_texts: Sequence[str] = ()


class Layout:
    """A prompt over one catalogue's texts, as token ids.

    A filled prompt is parts of its item and slots of its row by turns: ``parts[0] + slot + parts[1] + slot + … + parts[-1]``. One of the
    parts holds the candidate, and one the mask. The slots have what ``max_length`` leaves beside the longest candidate, which is the same
    for every pair. Beside a history, profile and reviews take at most half of it, in equal shares; the history has the rest of the row.
    Newest titles and newest reviews are kept.

    Args:
        prompt: the template.
        tokenizer: of the encoder.
        soft_ids: the id of each soft token, and of the slots ``user`` and ``item`` where the prompt has them.
        texts: one per item, ``[n_items]``; row ``i`` is inner id ``i + 1``.
        max_length: tokens of a filled prompt at most.

    Raises:
        ConfigError: the fixed part of the template fills half of ``max_length`` or more, so that no candidate would fit beside it.
    """

    def __init__(self, prompt: Prompt, tokenizer: Any, soft_ids: Mapping[str, int], texts: Sequence[str], max_length: int) -> None:
        self.prompt, self.max_length = prompt, max_length
        self._tokenizer, self._soft = tokenizer, dict(soft_ids)
        self._soft |= {"[CLS]": special_id(tokenizer, "cls"), "[SEP]": special_id(tokenizer, "sep")}
        parts, self.row_slots = _by_slots([Part("soft", "[CLS]"), *prompt.parts, Part("soft", "[SEP]")])
        fixed = sum(len(self._fixed(part)) for some in parts for part in some)
        if fixed >= max_length // 2:
            raise ConfigError(f"prompt '{prompt.name}': its own {fixed} tokens fill half or more of max_length {max_length}")
        candidates = self._tokenize([cut_words(text, prompt.candidate_words) for text in texts])
        candidates = _head(candidates, max_length // 2 - fixed)
        self.parts = [self._per_item(some, candidates) for some in parts]
        self.item_lengths = np.sum([part.lengths for part in self.parts], axis=0)
        self.history_budget = max_length - int(self.item_lengths.max(initial=fixed)) if self.row_slots else 0
        beside = sum(name != "history" for name in self.row_slots)
        self._share = self.history_budget // max(beside, 1) // (2 if "history" in self.row_slots else 1)
        self._titles = self._with_separator([cut_words(text, prompt.title_words) for text in texts])
        self._empty = self._tokenize([prompt.empty_history])[0]

    @property
    def after(self) -> Ragged:
        """What stands behind the last slot of each item, ``[n_items]`` rows."""
        return self.parts[-1]

    def slots(self, histories: Ragged, words: UserWords | None = None) -> tuple[Ragged, ...]:
        """Return the tokens of each slot in the order of the template, ``[n]`` rows each.

        Args:
            histories: inner item ids, oldest first, ``[n]`` rows.
            words: what else is said of the users; None where nothing is.
        """
        words = words or UserWords()
        filled: dict[str, Ragged] = {}
        if "profile" in self.row_slots:
            profiles = words.profiles if words.profiles is not None else [""] * len(histories)
            filled["profile"] = _head(self._tokenize([cut_words(text, self.prompt.profile_words) for text in profiles]), self._share)
        if "reviews" in self.row_slots:
            filled["reviews"] = self._reviews(words, len(histories))
        if "history" in self.row_slots:
            room = self.history_budget - np.sum([np.zeros(len(histories), np.int64), *(one.lengths for one in filled.values())], axis=0)
            filled["history"] = self._histories(histories, words.labels, room)
        return tuple(filled[name] for name in self.row_slots)

    def prefixes(self, slots: Sequence[Ragged]) -> Ragged:
        """Return the part that all candidates of a row share, of what `slots` gave; for prompts with ``history_first``."""
        columns = []
        for part, slot in zip(self.parts[:-1], slots, strict=True):
            lead = part.values[: part.offsets[1]]
            columns += [Ragged.from_lengths(np.tile(lead, len(slot)), np.full(len(slot), len(lead), np.int64)), slot]
        return join(columns)

    def pairs(self, slots: Sequence[Ragged], rows: IntArray, items: IntArray) -> Ragged:
        """Return whole prompts.

        Args:
            slots: from `slots`.
            rows: ``[n]``, which of their rows each pair has.
            items: ``[n]``, inner ids.
        """
        columns = [self.parts[0].take(items - 1)]
        for slot, part in zip(slots, self.parts[1:], strict=True):
            columns += [slot.take(rows), part.take(items - 1)]
        return join(columns)

    def _histories(self, histories: Ragged, labels: Sequence[str] | None, room: IntArray) -> Ragged:
        """Return the titles of each history behind its labels, which take at most half; that of an empty one is ``empty_history``."""
        newest = histories.last(self.prompt.titles)
        lead = self._tokenize(labels) if labels is not None else None
        rows = []
        for row, space in enumerate(room.tolist()):
            items = newest[row]
            first = lead[row][: space // 2] if lead is not None else self._empty[:0]
            rows.append(self._history(items[::-1], first, space) if len(items) else self._empty[:space])
        return _ragged(rows)

    def _history(self, newest_first: IntArray, lead: IntArray, room: int) -> IntArray:
        kept = fitting(self._titles, newest_first - 1, room - len(lead))
        return np.concatenate([lead, *(kept if self.prompt.newest_first else kept[::-1])])

    def _reviews(self, words: UserWords, count: int) -> Ragged:
        if words.reviews is None:
            return _ragged([self._empty[:0]] * count)
        texts = self._with_separator([cut_words(text, self.prompt.review_words) for text in words.review_texts])
        return _ragged([np.concatenate([self._empty[:0], *fitting(texts, row, self._share)]) for row in words.reviews])

    def _per_item(self, parts: Sequence[Part], candidates: Ragged) -> Ragged:
        n = len(candidates)
        columns = []
        for part in parts:
            if part == Part("slot", "candidate"):
                columns.append(candidates)
            else:
                ids = np.array(self._fixed(part), np.int64)
                columns.append(Ragged.from_lengths(np.tile(ids, n), np.full(n, len(ids), np.int64)))
        return join(columns) if columns else Ragged.from_lengths(np.zeros(0, np.int64), np.zeros(n, np.int64))

    def _fixed(self, part: Part) -> list[int]:
        if part.kind == "text":
            return self._words(part.value)
        if part.kind == "mask":
            return [special_id(self._tokenizer, "mask")]
        if part.kind == "end":
            return [special_id(self._tokenizer, "sep")]
        return [] if part.value in ("candidate", *ROW_SLOTS) else [self._soft[part.value]]

    def _with_separator(self, titles: Sequence[str]) -> Ragged:
        lead = np.array([piece for part in parse_template(self.prompt.separator) for piece in self._fixed(part)], np.int64)
        rows = self._tokenize(titles)
        return join([Ragged.from_lengths(np.tile(lead, len(rows)), np.full(len(rows), len(lead), np.int64)), rows])

    def _words(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _tokenize(self, texts: Sequence[str]) -> Ragged:
        return plain_tokens(self._tokenizer, texts)


def plain_tokens(tokenizer: Any, texts: Sequence[str]) -> Ragged:
    """Return the tokens of texts without special ones, ``[n]`` rows."""
    rows: list[list[int]] = []
    for start in range(0, len(texts), _CHUNK):
        rows += token_ids(tokenizer, list(texts[start : start + _CHUNK]), add_special_tokens=False)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    pieces = np.fromiter((piece for row in rows for piece in row), np.int64, int(lengths.sum()))
    # A title may hold the words [MASK] or [SEP]: they are no marks of the template.
    pieces[np.isin(pieces, tokenizer.all_special_ids)] = special_id(tokenizer, "unk")
    return Ragged.from_lengths(pieces, lengths)


def _by_slots(parts: Sequence[Part]) -> tuple[list[list[Part]], tuple[str, ...]]:
    """Return what stands before, between and behind the slots of a row, and their names in order."""
    between: list[list[Part]] = [[]]
    slots: list[str] = []
    for part in parts:
        if part.kind == "slot" and part.value in ROW_SLOTS:
            slots.append(part.value)
            between.append([])
        else:
            between[-1].append(part)
    return between, tuple(slots)


def fitting(texts: Ragged, order: IntArray, room: int) -> list[IntArray]:
    """Return as many of the texts numbered ``order`` as there is room for, the last one cut."""
    kept: list[IntArray] = []
    for number in order:
        if room <= 0:
            break
        kept.append(texts[number][:room])
        room -= len(kept[-1])
    return kept


def _ragged(rows: Sequence[IntArray]) -> Ragged:
    return Ragged.from_lengths(np.concatenate([np.zeros(0, np.int64), *rows]), np.array([len(row) for row in rows], np.int64))


def join(columns: Sequence[Ragged]) -> Ragged:
    """Return rows that are the rows of several ragged arrays one after the other."""
    lengths = np.stack([column.lengths for column in columns])
    total = lengths.sum(axis=0)
    out = Ragged.from_lengths(np.zeros(int(total.sum()), np.int64), total)
    starts = out.offsets[:-1] + np.cumsum(lengths, axis=0) - lengths
    for column, begin in zip(columns, starts, strict=True):
        within = np.arange(len(column.values)) - np.repeat(column.offsets[:-1], column.lengths)
        out.values[np.repeat(begin, column.lengths) + within] = column.values
    return out


def _head(rows: Ragged, count: int) -> Ragged:
    """Return each row cut to its first ``count`` values."""
    within = np.arange(len(rows.values)) - np.repeat(rows.offsets[:-1], rows.lengths)
    return rows.where(within < count)


def special_id(tokenizer: Any, name: str) -> int:
    """Return the id of a special token, such as ``mask``.

    Raises:
        ConfigError: the tokenizer has none.
    """
    found = getattr(tokenizer, f"{name}_token_id")
    if found is None:
        raise ConfigError(f"the encoder's tokenizer has no {name} token: cloze prompts need one")
    return int(found)
