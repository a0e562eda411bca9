"""Training data of several tasks: each batch has one task, and the tasks take turns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray
from bertrec.encoders.batching import padded_tokens
from bertrec.rankers.p5.fill import Filler
from bertrec.rankers.p5.questions import Questions


class Mixed(torch.utils.data.Dataset[int]):
    """Questions of all tasks under one count; every question is asked once in an epoch.

    Args:
        asked: the questions of each task, by the numbers of the tasks.
        fillers: of the same tasks.
        pad: the padding token.
        content_hash: of the data, to recognise a run that goes on.
    """

    whole_batches = True

    def __init__(self, asked: Mapping[int, Questions], fillers: Mapping[int, Filler], pad: int, content_hash: str) -> None:
        self._asked, self._fillers, self._pad = dict(asked), fillers, pad
        self._numbers = list(self._asked)
        self._starts = np.concatenate([[0], np.cumsum([len(one) for one in self._asked.values()])])
        self._labels = {number: one.labels(fillers[number].task) for number, one in self._asked.items()}
        whole = (f"{number} {_hash_of(one)} {self._labels[number].tobytes().hex()}" for number, one in self._asked.items())
        self.content_hash = sha256_text(content_hash, *whole)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> int:
        return int(index)

    def batches(self, epoch: int, batch_size: int, seed: int) -> Iterator[IntArray]:
        """Yield the rows of each batch; a task's batches are spread evenly over the epoch, whose order is that of seed and epoch."""
        generator = np.random.default_rng([seed, epoch])
        turns: list[tuple[float, int, IntArray]] = []
        for place, (start, stop) in enumerate(zip(self._starts[:-1], self._starts[1:], strict=True)):
            rows = generator.permutation(np.arange(start, stop))
            cuts = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
            turns += [((number + 0.5) / len(cuts), place, cut) for number, cut in enumerate(cuts)]
        for _, _, rows in sorted(turns, key=lambda turn: turn[:2]):
            yield rows

    def collate(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Return the keyword arguments of the network."""
        rows = np.asarray(indices, np.int64)
        place = int(np.searchsorted(self._starts, rows[0], side="right")) - 1
        number, rows = self._numbers[place], rows - self._starts[place]
        batch = tokens_of(self._fillers[number], self._asked[number], rows, self._pad)
        return {"task": torch.tensor([number]), **batch, "labels": torch.from_numpy(self._labels[number][rows])}


def _hash_of(questions: Questions) -> str:
    """Return a hash over all that is asked: histories, items, what was drawn beside, and texts."""
    arrays = (questions.histories.values, questions.histories.offsets, questions.items)
    texts = (text for name in sorted(questions.texts) for text in (name, *questions.texts[name]))
    return sha256_text(*(array.tobytes().hex() for array in arrays), *texts)


def tokens_of(filler: Filler, questions: Questions, rows: IntArray, pad: int) -> dict[str, Tensor]:
    """Return ``tokens`` and ``mask``, ``[b, L]``, of some questions."""
    filled = filler.fill(questions, rows)
    tokens, mask = padded_tokens(filled, np.arange(len(rows)), pad)
    return {"tokens": torch.from_numpy(tokens), "mask": torch.from_numpy(mask)}
