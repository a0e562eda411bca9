"""Lists of a match that a linear model gives: EASE of behaviour, and of texts where there are any."""

from __future__ import annotations

import logging

from bertrec.data.interactions import Interactions
from bertrec.models.base import FloatArray
from bertrec.models.ease import solved
from bertrec.models.ease_text import EaseTextConfig, unit
from bertrec.models.item_weights import known_items, largest_of, missing_memory, taken
from bertrec.retrieval.neighbours import Neighbours

logger = logging.getLogger(__name__)

MOST = 15_000
"""Items of training beyond which there are no such lists: time grows with the third power, memory with the square (3.6 GB here)."""


def solved_lists(train: Interactions, texts: FloatArray | None, m: int) -> Neighbours | None:
    """Return the ``m`` items that each item of training lends most to; None where these are too many, or the memory too small.

    Args:
        train: the interactions.
        texts: vectors of the catalogue, ``[n_items, dim]``; None for behaviour alone.
        m: length of the lists.
    """
    known, settings = known_items(train), EaseTextConfig()
    if len(known) > MOST:
        logger.info("match.solved: left out, training holds %d items and a linear model is solved for %d at most", len(known), MOST)
        return None
    if short := missing_memory(len(known)):
        logger.warning("match.solved is left out, which inverts %s", short)
        return None
    own = None if texts is None else unit(texts[known - 1])
    weights = solved(taken(train)[:, known], l2=settings.l2, texts=own, text=settings.text)
    return largest_of(weights, known, len(train.item_counts), m).scaled()
