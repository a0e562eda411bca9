"""Questions as token rows: the task's own tokens, then its template with the slots filled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.templates import cut_words
from bertrec.rankers.p5.questions import Questions
from bertrec.rankers.p5.task import Task
from bertrec.rankers.prompts.layout import fitting, join, plain_tokens, special_id
from bertrec.rankers.prompts.template import Part

_BETWEEN_TITLES = ";"


class Filler:
    """Fills one task's template over one catalogue.

    The slots share what the template leaves of ``max_length`` equally; a history has what the others do not need. So neither the candidate
    nor the mask is ever lost.

    Args:
        task: the template.
        tokenizer: of the encoder.
        titles: of the items, ``[n_items]``.
        lead: how many places for tokens of the task's own stand behind the first token.
        max_length: tokens of a question at most.

    Raises:
        ConfigError: the template and these places fill half of ``max_length`` or more.
    """

    def __init__(self, task: Task, tokenizer: Any, titles: Sequence[str], *, lead: int, max_length: int) -> None:
        self.task, self._tokenizer = task, tokenizer
        own = [special_id(tokenizer, "unk")] * lead  # vectors of the task stand there
        self._parts: list[list[int] | str] = [[special_id(tokenizer, "cls"), *own], *map(self._fixed, task.parts)]
        self._parts.append([special_id(tokenizer, "sep")])
        fixed = sum(len(part) for part in self._parts if isinstance(part, list))
        if 2 * fixed >= max_length:
            raise ConfigError(f"task '{task.name}': its own {fixed} tokens fill half or more of max_length {max_length}")
        self._room = max_length - fixed
        cut = [cut_words(title, task.title_words) for title in titles]
        self._titles = plain_tokens(tokenizer, cut)
        mark = plain_tokens(tokenizer, [_BETWEEN_TITLES])[0]
        marks = Ragged.from_lengths(np.tile(mark, len(cut)), np.full(len(cut), len(mark)))
        self._listed = join([self._titles, marks])

    def _fixed(self, part: Part) -> list[int] | str:
        if part.kind == "slot":
            return part.value
        if part.kind == "text":
            return plain_tokens(self._tokenizer, [part.value])[0].tolist()
        return [special_id(self._tokenizer, "mask" if part.kind == "mask" else "sep")]

    def fill(self, questions: Questions, rows: IntArray) -> Ragged:
        """Return the tokens of some questions, ``[len(rows)]`` rows."""
        slots, share = self.task.slots, self._room // max(1, len(self.task.slots))
        filled: dict[str, list[IntArray]] = {}
        for name in slots:
            if name == "candidate":
                filled[name] = [self._titles[item - 1][:share] for item in questions.items[rows].tolist()]
            elif name != "history":
                texts = [cut_words(questions.texts[name][row], self.task.words) if name in questions.texts else "" for row in rows]
                filled[name] = [row[:share] for row in plain_tokens(self._tokenizer, texts)]
        if "history" in slots:
            filled["history"] = [
                self._history(questions.histories[row], self._room - sum(len(of[at]) for of in filled.values()))
                for at, row in enumerate(rows.tolist())
            ]
        return Ragged.from_rows(
            [np.concatenate([filled[part][at] if isinstance(part, str) else part for part in self._parts]) for at in range(len(rows))]
        )

    def _history(self, history: IntArray, room: int) -> IntArray:
        newest_first = history[::-1][: self.task.titles]
        return np.concatenate([np.zeros(0, np.int64), *fitting(self._listed, newest_first - 1, room)])
