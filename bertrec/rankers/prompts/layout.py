"""Token rows of a prompt: titles tokenized once, histories cut first, the mask and the candidate never lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.templates import cut_words
from bertrec.encoders.tokens import token_ids
from bertrec.rankers.prompts.template import Part, Prompt, parse_template

_CHUNK = 4096


class Layout:
    """A prompt over one catalogue's texts, as token ids.

    A filled prompt is ``before(item) + history + after(item)``, where one of the two holds the candidate and the mask lies in either. The
    history has what ``max_length`` leaves beside the longest candidate, which is the same for every pair; its newest titles are kept.

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
        parts = [Part("soft", "[CLS]"), *prompt.parts, Part("soft", "[SEP]")]
        self._soft |= {"[CLS]": _special(tokenizer, "cls"), "[SEP]": _special(tokenizer, "sep")}
        at = next((number for number, part in enumerate(parts) if part == Part("slot", "history")), None)
        before, after = (parts[:at], parts[at + 1 :]) if at is not None else ([], parts)
        fixed = sum(len(self._fixed(part)) for part in before + after)
        if fixed >= max_length // 2:
            raise ConfigError(f"prompt '{prompt.name}': its own {fixed} tokens fill half or more of max_length {max_length}")
        candidates = self._tokenize([cut_words(text, prompt.candidate_words) for text in texts])
        candidates = _head(candidates, max_length // 2 - fixed)
        self.before, self.after = (self._per_item(some, candidates) for some in (before, after))
        self.history_budget = max_length - int((self.before.lengths + self.after.lengths).max(initial=fixed)) if at is not None else 0
        self._titles = self._with_separator([cut_words(text, prompt.title_words) for text in texts])
        self._empty = self._tokenize([prompt.empty_history])[0][: self.history_budget]

    def histories(self, histories: Ragged, profiles: Sequence[str] | None = None) -> Ragged:
        """Return the tokens of the history slot.

        Args:
            histories: inner item ids, oldest first, ``[n]`` rows.
            profiles: what stands before the titles, ``[n]``; it takes at most half of the slot.

        Returns:
            ``[n]`` rows of at most ``history_budget`` tokens; that of an empty history is ``empty_history``.
        """
        newest = histories.last(self.prompt.titles)
        lead = _head(self._tokenize(profiles), self.history_budget // 2) if profiles is not None else None
        rows = []
        for row in range(len(newest)):
            items = newest.values[newest.offsets[row] : newest.offsets[row + 1]]
            first = lead[row] if lead is not None else self._empty[:0]
            rows.append(self._history(items[::-1], first) if len(items) else self._empty)
        return Ragged.from_lengths(np.concatenate([np.zeros(0, np.int64), *rows]), np.array([len(row) for row in rows], np.int64))

    def prefixes(self, histories: Ragged, profiles: Sequence[str] | None = None) -> Ragged:
        """Return the part that all candidates of a history share; for prompts whose history stands first."""
        slot, lead = self.histories(histories, profiles), self.before.values[: self.before.offsets[1]]
        return join([Ragged.from_lengths(np.tile(lead, len(slot)), np.full(len(slot), len(lead), np.int64)), slot])

    def pairs(self, histories: Ragged, rows: IntArray, items: IntArray) -> Ragged:
        """Return whole prompts.

        Args:
            histories: from `histories`: token rows.
            rows: ``[n]``, which of them each pair has.
            items: ``[n]``, inner ids.
        """
        return join([self.before.take(items - 1), histories.take(rows), self.after.take(items - 1)])

    def _history(self, newest_first: IntArray, lead: IntArray) -> IntArray:
        titles, room, kept = self._titles, self.history_budget - len(lead), []
        for item in newest_first:
            pieces = titles.values[titles.offsets[item - 1] : titles.offsets[item]][:room]
            kept.append(pieces)
            room -= len(pieces)
            if room <= 0:
                break
        return np.concatenate([lead, *(kept if self.prompt.newest_first else kept[::-1])])

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
            return [_special(self._tokenizer, "mask")]
        if part.kind == "end":
            return [_special(self._tokenizer, "sep")]
        return [] if part.value in ("candidate", "history") else [self._soft[part.value]]

    def _with_separator(self, titles: Sequence[str]) -> Ragged:
        lead = np.array([piece for part in parse_template(self.prompt.separator) for piece in self._fixed(part)], np.int64)
        rows = self._tokenize(titles)
        return join([Ragged.from_lengths(np.tile(lead, len(rows)), np.full(len(rows), len(lead), np.int64)), rows])

    def _words(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _tokenize(self, texts: Sequence[str]) -> Ragged:
        rows: list[list[int]] = []
        for start in range(0, len(texts), _CHUNK):
            rows += token_ids(self._tokenizer, list(texts[start : start + _CHUNK]), add_special_tokens=False)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        pieces = np.fromiter((piece for row in rows for piece in row), np.int64, int(lengths.sum()))
        # A title may hold the words [MASK] or [SEP]: they are no marks of the template.
        pieces[np.isin(pieces, self._tokenizer.all_special_ids)] = _special(self._tokenizer, "unk")
        return Ragged.from_lengths(pieces, lengths)


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


def _special(tokenizer: Any, name: str) -> int:
    found = getattr(tokenizer, f"{name}_token_id")
    if found is None:
        raise ConfigError(f"the encoder's tokenizer has no {name} token: cloze prompts need one")
    return int(found)
