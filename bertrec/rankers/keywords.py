"""What rankers that read titles share: a profile in words before them, and swaps among them in training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.item_labels import ItemLabels, item_labels, usual_field
from bertrec.data.profile import profile_keywords, profile_texts
from bertrec.data.swaps import swapped
from bertrec.retrieval.words import Vocabulary

Rows = TypeVar("Rows")
Profile = Literal["labels", "keywords"]
PROFILE_IN_WORDS = (
    "What stands before the titles of a history: labels, the three most frequent labels of profile_field, or nothing "
    "where that is null; keywords, the five that tell its user most from others (log-odds with a Dirichlet prior over "
    "the training interactions), of profile_field, or of the words of the item texts where that is null."
)
"""For the description of a setting ``profile``."""
PROFILE_FIELD_IN_WORDS = "A text field with labels, such as genres, of which profile speaks; null leaves it to profile."
"""For that of a setting ``profile_field``."""
SWAP_IN_WORDS = (
    "How likely, in training, an item of a history changes places with the next one, and is then replaced by one of the same "
    "label (of profile_field, else of the first usual field of labels, if there is one); other draws in each epoch, 0 leaves "
    "histories as they are."
)
"""For that of a setting ``swap``."""
_LEAST_LETTERS = 3


@dataclass(frozen=True)
class Profiles:
    """Makes the profile of a history in words.

    Attributes:
        say: of ``[n]`` rows of inner ids, oldest first, ``[n]`` texts; ``""`` where there is nothing to say.
    """

    say: Callable[[Ragged], list[str]]

    @classmethod
    def of(
        cls, catalog: ItemCatalog, *, profile: Profile, field: str | None, counts: npt.NDArray[np.integer[Any]] | None
    ) -> Profiles | None:
        """Return the profiles over a catalogue, or None where nothing stands before the titles.

        Args:
            catalog: the items.
            profile: which kind.
            field: of labels.
            counts: ``[n_items + 1]`` interactions; None takes all items alike.

        Raises:
            DataError: there is no such field, or no item has a label in it.
        """
        if profile == "labels":
            return None if field is None else cls(lambda histories: profile_texts(histories, catalog, field=field))
        labels = word_labels(catalog) if field is None else item_labels(catalog, field)
        known = np.ones(len(catalog) + 1, np.int64) if counts is None else counts
        return cls(lambda histories: profile_keywords(histories, labels, known))


def interaction_counts(impressions: Impressions, given: IntArray | None) -> IntArray:
    """Return ``[n_items + 1]`` interactions: those given, or what users met in the histories and clicks of impressions.

    An item counts once for each user: it stands in the history of every later row.
    """
    if given is not None:
        return np.asarray(given, np.int64)
    width, parts = len(impressions.catalog) + 1, (impressions.histories, impressions.clicks)
    number = {user: place for place, user in enumerate(dict.fromkeys(impressions.users))}
    users = np.array([number[user] for user in impressions.users], np.int64)
    pairs = np.unique(np.concatenate([users[part.rows] * width + part.values for part in parts]))
    return np.bincount(pairs % width, minlength=width)


def swapping(
    clicks: Impressions, probability: float, field: str | None, seed: int, rows: Callable[[Ragged], Rows]
) -> Callable[[int], Rows] | None:
    """Return what makes the rows of an epoch from histories with swaps, or None where there are none.

    Args:
        clicks: what is learned from.
        probability: of a swap.
        field: of labels; None takes the first usual one.
        seed: of the draws, which differ from epoch to epoch.
        rows: makes rows of histories.

    Raises:
        DataError: there is no such field, or no item has a label in it.
    """
    if not probability:
        return None
    found = usual_field(clicks.catalog) if field is None else field
    labels = None if found is None else item_labels(clicks.catalog, found).by_inner_id
    return lambda epoch: rows(swapped(clicks.histories, probability, labels=labels, seed=[seed, epoch]))


def word_labels(catalog: ItemCatalog) -> ItemLabels:
    """Return the words of each item's text as its labels, each once; numbers and Latin words below three letters are left out."""
    vocabulary, rows = Vocabulary.of(catalog.texts)
    words = list(vocabulary.number)
    order = np.array(sorted(range(len(words)), key=words.__getitem__), np.int64)
    place = np.empty(len(words), np.int64)
    place[order] = np.arange(len(words))
    told = np.array([_tells(word) for word in words], bool)
    cells = np.unique(rows.rows * max(len(words), 1) + place[rows.values]) if len(words) else np.zeros(0, np.int64)
    width = max(len(words), 1)
    items = Ragged.from_lengths(cells % width, np.bincount(cells // width, minlength=len(rows)))
    kept = items.where(told[order][items.values]) if len(words) else items
    return ItemLabels("text", [words[number] for number in order.tolist()], Ragged(kept.values, kept.offsets[1:]), None)


def _tells(word: str) -> bool:
    return not any(letter.isdigit() for letter in word) and (len(word) >= _LEAST_LETTERS or not word.isascii())
