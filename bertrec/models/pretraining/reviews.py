"""What a user writes of an item and how it is rated: U-BERT's tasks (Qiu et al., AAAI 2021), over words instead of masked tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bertrec.core.errors import DataError
from bertrec.core.ragged import IntArray
from bertrec.models.pretraining.attributes import bag_loss
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.domains import Domain, Domains
from bertrec.models.pretraining.tasks import Task
from bertrec.models.pretraining.view import View

FloatArray = npt.NDArray[np.float32]
_WORD = re.compile(r"[^\W\d_][\w']*")
_OF_REVIEW = 32
"""Opinion words of a review that are predicted, at most."""
_LEAST = 2
"""Reviews that a word stands in, at least."""


class ReviewsTask(Task):
    """The opinion words of a review, as a bag, and its rating, from the user's vector before the item and the item's.

    Cross-entropy to the review's words in equal shares, plus ``pretrain.rating_weight`` times the squared error of the standardised rating.
    """

    words: Tensor
    ratings: Tensor

    def __init__(self, config: PretrainConfig, domains: Domains) -> None:
        super().__init__(config, domains)
        texts, ratings = _reviews(domains)
        self.vocabulary = opinion_words(texts, ratings, config.review_words)
        self.register_buffer("words", torch.from_numpy(bags(texts, self.vocabulary)), persistent=False)
        self.register_buffer("ratings", torch.from_numpy(_standardised(ratings)), persistent=False)

    @classmethod
    def examine(cls, config: PretrainConfig, domains: Domains) -> list[str]:
        """See that there are reviews, and say where there are none."""
        without = [part.name for part in domains.parts if not _has_reviews(part)]
        if len(without) == len(domains):
            raise DataError("the task reviews has nothing to read: no data set has texts of reviews (column text): leave the task out")
        return [f"{name}: no reviews, of which the task reviews could learn" for name in without]

    def build(self, width: int) -> None:
        """Make the linear heads of words and rating."""
        self.word_head = nn.Linear(2 * width, max(1, len(self.vocabulary)))
        self.rating_head = nn.Linear(2 * width, 1)

    @property
    def weight(self) -> float:
        """``pretrain.reviews_weight``."""
        return self.config.reviews_weight

    def forward(self, view: View) -> Tensor:
        """Return the loss of a batch; 0 where it has no review."""
        assert view.places is not None  # every batch of a pre-training has them
        places = view.places[:, 1:][view.used]
        both = torch.cat([view.states[view.used], view.items[view.wanted]], dim=1)
        labels, ratings = self.words[places], self.ratings[places]
        said, rated = (labels >= 0).any(1), ratings.isfinite()
        loss = view.items.sum() * 0.0
        if said.any():
            loss = loss + bag_loss(self.word_head(both[said]), labels[said])
        if rated.any():
            loss = loss + self.config.rating_weight * (self.rating_head(both[rated])[:, 0] - ratings[rated]).square().mean()
        return loss


def _has_reviews(part: Domain) -> bool:
    return any(text.strip() for text in part.split.train.text or ())


def _reviews(domains: Domains) -> tuple[list[str], FloatArray]:
    """Return the texts and ratings of all training interactions, ``""`` and NaN of data sets without reviews; row 0 is padding."""
    texts, ratings = [""], [np.full(1, np.nan, np.float32)]
    for part in domains.parts:
        train, use = part.split.train, _has_reviews(part)
        texts += train.text if use and train.text is not None else [""] * len(train)
        ratings.append(train.rating if use and train.rating is not None else np.full(len(train), np.nan, np.float32))
    return texts, np.concatenate(ratings)


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, each once, in order.

    >>> words_of("Great card, GREAT gift: 10/10!")
    ['great', 'card', 'gift']
    """
    return list(dict.fromkeys(_WORD.findall(text.lower())))


def opinion_words(texts: Sequence[str], ratings: FloatArray, most: int) -> list[str]:
    """Return the words that tell most of a rating.

    A word is weighed by the distance of the mean rating of its n reviews from that of all, times √n; where no two ratings differ, by
    ``n (N − n)``, N reviews being all. Words of one review are left out.

    Args:
        texts: of reviews.
        ratings: ``[n]``, NaN where there is none.
        most: of the words.
    """
    centred = np.nan_to_num(_standardised(ratings))
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for text, rating in zip(texts, centred.tolist(), strict=True):
        for word in words_of(text):
            counts[word] = counts.get(word, 0) + 1
            sums[word] = sums.get(word, 0.0) + rating
    total = sum(1 for text in texts if text.strip())
    weights = {word: abs(sums[word]) / n**0.5 if centred.any() else n * (total - n) for word, n in counts.items() if n >= _LEAST}
    return sorted(weights, key=lambda word: (-weights[word], word))[:most]


def bags(texts: Sequence[str], vocabulary: Sequence[str]) -> IntArray:
    """Return the numbers of each text's words of the vocabulary, ``[n, most]``, the first of the vocabulary first; -1 is none."""
    number = {word: place for place, word in enumerate(vocabulary)}
    rows = [sorted(number[word] for word in words_of(text) if word in number)[:_OF_REVIEW] for text in texts]
    labels = np.full((len(rows), max([1, *map(len, rows)])), -1, dtype=np.int64)
    for place, row in enumerate(rows):
        labels[place, : len(row)] = row
    return labels


def _standardised(ratings: FloatArray) -> FloatArray:
    """Return ratings less their mean, by their deviation; NaN stays, also where no two differ."""
    known = np.isfinite(ratings)
    deviation = ratings[known].std() if known.any() else 0.0
    if not deviation:
        return np.full_like(ratings, np.nan)
    return ((ratings - ratings[known].mean()) / deviation).astype(np.float32)
