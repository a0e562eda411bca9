"""Questions of each task with their answers, made of impressions and of what is known of their users."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.negatives import sample_negatives
from bertrec.rankers.base import labels_of
from bertrec.rankers.context import Context, Known
from bertrec.rankers.p5.task import Task
from bertrec.rankers.profiles import profiles_of
from bertrec.rankers.ratings.given import latest_places

_SENTENCE = re.compile(r"(?<=[.!?。！？])\s+")
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Questions:
    """``n`` questions of one task.

    Attributes:
        histories: ``[n]`` rows of inner ids, oldest first.
        items: ``[n]`` inner ids of the candidates.
        truth: ``[n]``, the rating, or 1 where yes is right and 0 where no is; empty where it is not known.
        texts: what fills other slots, ``[n]`` each.
        group: ``[n]``, questions of which one alone is answered with yes have one number.
        notes: what was left out.
    """

    histories: Ragged
    items: IntArray
    truth: Float64Array
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    group: IntArray | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def labels(self, task: Task) -> IntArray:
        """Return the place of the nearest answer's number, ``[n]``, the lower of two that are as near."""
        return np.abs(self.truth[:, None] - np.array(task.values)).argmin(axis=1)

    def check_answers(self, task: Task) -> None:
        """See that the numbers lie within the task's answers, half a step beyond the ends at most.

        Raises:
            DataError: one does not; it would have a label that is far from it.
        """
        values, low, high = task.values, float(self.truth.min()), float(self.truth.max())
        least, most = 1.5 * values[0] - 0.5 * values[1], 1.5 * values[-1] - 0.5 * values[-2]
        if least <= low and high <= most:
            return
        answers = ", ".join(task.labels)
        raise DataError(f"ratings run from {low:g} to {high:g} and its answers are {answers}: give a task of your own with all answers")


@dataclass(frozen=True)
class Asked:
    """What questions are made of.

    Attributes:
        impressions: with labels.
        known: profiles, ratings and reviews. Of the past nothing is read but the ratings and reviews of the impressions' own
            pairs, which are what is asked about.
        negatives: see `bertrec.rankers.p5.config.P5Config`.
        drawn: see there.
        seed: of the draws.
        fitting: draw items among those that occur in the impressions, else among all.
    """

    impressions: Impressions
    known: Known
    negatives: int
    drawn: int
    seed: int
    fitting: bool = False

    def questions(self, task: Task) -> Questions:
        """Return those of a task.

        Raises:
            DataError: the data have none.
        """
        return {
            "rating": self._ratings,
            "sequential": self._next,
            "direct": self._direct,
            "review": self._reviews,
            "summary": self._summaries,
            "explanation": self._explanations,
        }[task.asks]()

    def _next(self) -> Questions:
        shown = self.impressions
        labels_of(shown)
        if self.negatives:
            shown = sample_negatives(shown, self.negatives, self.seed)
        rows = shown.candidates.rows
        texts, notes = {"profile": self._profiles(shown, rows)}, shown.notes[len(self.impressions.notes) :]
        truth = labels_of(shown).astype(np.float64)
        return Questions(shown.histories.take(rows), shown.candidates.values, truth, texts, notes=notes)

    def _direct(self) -> Questions:
        shown = self.impressions
        clicked = np.flatnonzero(labels_of(shown) == 1)
        if not len(clicked):
            raise DataError("nothing was clicked or liked")
        rows, own = shown.candidates.rows[clicked], shown.candidates.values[clicked]
        pool, met = self._met()
        beside = _others(len(pool), [met[shown.users[row]] for row in rows], self.drawn, self.seed)
        some = np.array([bool(more) for more in beside])
        if not some.any():
            raise DataError("every user met every item: none is left to stand beside the right one")
        offered = [[item, *pool[np.array(more) - 1]] for item, more in zip(own.tolist(), beside, strict=True) if more]
        items, left_out = Ragged.from_rows(offered), int((~some).sum())
        notes = (f"{left_out} of {len(own)} clicks of users who met every item (left out)",) if left_out else ()
        return replace(self._one_of(items, rows[some][items.rows], items.values, {}), notes=notes)

    def _met(self) -> tuple[IntArray, dict[str | int, set[int]]]:
        """Return the items to draw from, rising, and for each user the places of theirs among them, from 1."""
        shown = self.impressions
        items = np.concatenate([shown.histories.values, shown.candidates.values])
        pool = np.unique(items) if self.fitting else np.arange(1, len(shown.catalog) + 1)
        places = np.searchsorted(pool, items) + 1
        met: dict[str | int, set[int]] = {}
        for row, place in zip(np.concatenate([shown.histories.rows, shown.candidates.rows]).tolist(), places.tolist(), strict=True):
            met.setdefault(shown.users[row], set()).add(place)
        return pool, met

    def _ratings(self) -> Questions:
        places, pairs, notes = self._pairs("ratings", "rating")
        rating = self._past.rating
        assert rating is not None
        return replace(self._about(pairs, rating[places].astype(np.float64), {}), notes=notes)

    def _reviews(self) -> Questions:
        places, pairs, notes = self._pairs("reviews with ratings", "text", "rating")
        past = self._past
        assert past.text is not None
        assert past.rating is not None
        reviews = [past.text[place] for place in places]
        return replace(self._about(pairs, past.rating[places].astype(np.float64), {"review": reviews}), notes=notes)

    def _summaries(self) -> Questions:
        """A review is asked about without its first sentence, which stands for its summary."""
        pairs, first, rest, notes = self._sentences()
        pairs, first, rest = pairs[rest != ""], first[rest != ""], rest[rest != ""]
        return replace(self._chosen(pairs, first, {"review": rest}), notes=notes)

    def _explanations(self) -> Questions:
        pairs, first, _, notes = self._sentences()
        return replace(self._chosen(pairs, first, {}), notes=notes)

    def _sentences(self) -> tuple[IntArray, npt.NDArray[np.object_], npt.NDArray[np.object_], tuple[str, ...]]:
        """Return pairs with a review, its first sentence, what follows, and notes."""
        places, pairs, notes = self._pairs("reviews", "text")
        text = self._past.text
        assert text is not None
        cut = [[*_SENTENCE.split(text[place].strip(), maxsplit=1), ""][:2] for place in places]
        return pairs, np.array([one for one, _ in cut], object), np.array([rest for _, rest in cut], object), notes

    def _chosen(self, pairs: IntArray, own: npt.NDArray[np.object_], texts: Mapping[str, npt.NDArray[np.object_]]) -> Questions:
        """Return the user's own text and others beside it for each pair."""
        distinct, number = np.unique(own.astype(str), return_inverse=True)
        if len(distinct) < 2:
            raise DataError("there are no two reviews to choose from")
        beside = _others(len(distinct), [{one + 1} for one in number.tolist()], self.drawn, self.seed)
        offered = Ragged.from_rows([[one, *(np.array(more) - 1)] for one, more in zip(number.tolist(), beside, strict=True)])
        shown, at = self.impressions, pairs[offered.rows]
        filled = {name: [value[row] for row in offered.rows] for name, value in texts.items()}
        filled["text"] = [str(distinct[one]) for one in offered.values]
        return self._one_of(offered, shown.candidates.rows[at], shown.candidates.values[at], filled)

    def _one_of(self, offered: Ragged, rows: IntArray, items: IntArray, texts: dict[str, list[str]]) -> Questions:
        """Return questions of which the first of each row of ``offered`` is right."""
        truth = np.zeros(len(offered.values))
        truth[offered.offsets[:-1]] = 1
        texts["profile"] = self._profiles(self.impressions, rows)
        return Questions(self.impressions.histories.take(rows), items, truth, texts, offered.rows)

    def _about(self, pairs: IntArray, truth: Float64Array, texts: dict[str, list[str]]) -> Questions:
        shown, rows = self.impressions, self.impressions.candidates.rows[pairs]
        texts["profile"] = self._profiles(shown, rows)
        return Questions(shown.histories.take(rows), shown.candidates.values[pairs], truth, texts)

    def _profiles(self, shown: Impressions, rows: IntArray) -> list[str]:
        texts = profiles_of(Context.of(shown, self.known))
        return [texts[row] for row in rows]

    @property
    def _past(self) -> Interactions:
        assert self.known.past is not None
        return self.known.past

    def _pairs(self, what: str, *columns: str) -> tuple[IntArray, IntArray, tuple[str, ...]]:
        """Return places in the past, and places among the candidates, of the pairs that have all these columns, and notes.

        Raises:
            DataError: none has.
        """
        shown, past = self.impressions, self.known.past
        if past is None or any(getattr(past, name) is None for name in columns):
            raise DataError(f"there are no {what}")
        places = latest_places(past, shown)
        there = (places >= 0) & np.logical_and.reduce([_there(past, name)[places] for name in columns])
        if not there.any():
            raise DataError(f"none of the {len(places)} pairs has {what}")
        without = int((~there).sum())
        notes = (f"{without} of {len(there)} pairs without {what} (left out)",) if without else ()
        return places[there], np.flatnonzero(there), notes


def _there(past: Interactions, name: str) -> npt.NDArray[np.bool_]:
    if name == "text":
        return np.array([bool(one.strip()) for one in past.text or ()], bool)
    return np.isfinite(np.asarray(getattr(past, name)))


def _others(count: int, without: Sequence[AbstractSet[int]], drawn: int, seed: int) -> list[list[int]]:
    """Return up to ``drawn`` distinct numbers from 1 to ``count`` for each row, none of those that it is without."""
    generator = np.random.default_rng(seed)
    return [_other(generator, count, row, drawn) for row in without]


def _other(generator: np.random.Generator, count: int, without: AbstractSet[int], drawn: int) -> list[int]:
    if count < 4 * (drawn + len(without)):
        free = [number for number in range(1, count + 1) if number not in without]
        return generator.permutation(free)[:drawn].tolist() if free else []
    found: dict[int, None] = {}
    while len(found) < drawn:
        found |= {number: None for number in generator.integers(1, count + 1, drawn).tolist() if number not in without}
    return list(found)[:drawn]
