"""What a prompt is told of users beside their histories: labels or keywords of these, their profiles, their earlier reviews."""

from __future__ import annotations

import numpy as np

from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.rankers.context import Context
from bertrec.rankers.keywords import Profiles
from bertrec.rankers.profiles import profiles_of
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.layout import UserWords
from bertrec.rankers.reviews import reviews_before


def user_words(
    config: PromptConfig,
    catalog: ItemCatalog,
    histories: Ragged,
    candidates: Ragged | None,
    context: Context | None,
    *,
    said: Profiles | None,
) -> UserWords:
    """Return what the prompt of ``config`` is told of the users of ``n`` rows.

    Args:
        config: the settings.
        catalog: the items.
        histories: ``[n]`` rows of inner ids, oldest first.
        candidates: ``[n]`` rows of inner ids, whose reviews by the row's user are not read.
        context: of the rows; None where nothing is known of them.
        said: the profiles of histories, if there are any.
    """
    slots = config.prompt.user_texts
    labels = None if said is None else said.say(histories)
    if context is None:
        return UserWords(labels)
    profiles = profiles_of(context) if "profile" in slots else None
    if "reviews" not in slots or context.known.past is None:
        return UserWords(labels, profiles)
    found = reviews_before(context, histories, candidates, most=config.prompt.reviews, catalog=catalog)
    used, number = np.unique(found.values, return_inverse=True)
    texts = context.known.past.text or ()
    return UserWords(labels, profiles, Ragged(number.astype(np.int64), found.offsets), [texts[place] for place in used])
