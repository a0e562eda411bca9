"""What every ranker must do, as a check that its author runs: `check_ranker`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.errors import BertrecError
from bertrec.core.ragged import Ragged
from bertrec.data.impressions import Impressions
from bertrec.models.contract_parts import check_refit, check_saved, check_settings, close, must
from bertrec.rankers.base import Ranker, Scores
from bertrec.rankers.context import Known


def check_ranker(make: Callable[[], Ranker], impressions: Impressions, *, known: Known | None = None) -> None:
    """See that a ranker keeps the contract; it is fitted five times, so give it few data.

    Settings travel; a second fit starts anew; every candidate gets a finite score, whatever else is in the batch and in whatever order;
    an empty history is scored too; a saved ranker is the same one.

    Args:
        make: makes an untrained ranker, the same each time.
        impressions: with labels, at least two.
        known: for a ranker whose fit reads it, such as ratings.

    Raises:
        AssertionError: the contract is broken; the text says how.
        BertrecError: what the ranker itself raises.
    """
    must(len(impressions) > 1, "give at least two impressions")
    check_settings(make())
    fit = partial(_fit, known=known)
    ranker = fit(make(), impressions)
    _check_scores(ranker, impressions)
    _check_refusals(ranker)
    half = impressions.take(np.arange(0, len(impressions), 2))
    check_refit(make, fit, impressions, half, lambda one: scores_of(one, impressions.histories, impressions.candidates))
    check_saved(ranker, lambda one: scores_of(one, impressions.histories, impressions.candidates))


def _fit(ranker: Ranker, impressions: Impressions, *, known: Known | None) -> Ranker:
    given: dict[str, Any] = {"retrieval_scores": _stand_in(impressions.candidates)} if ranker.needs_retrieval_scores else {}
    if ranker.reads_context:
        given["known"] = known
    return ranker.fit(impressions, progress=False, **given)


def _stand_in(candidates: Ragged) -> npt.NDArray[np.float32]:
    """Return what a retriever might have given: a number for each item."""
    return np.asarray(candidates.values % 7, np.float32)


def scores_of(ranker: Ranker, histories: Ragged, candidates: Ragged) -> Scores:
    """Return a ranker's scores, ``[total candidates]``, with stand-ins for a retriever's where it needs them."""
    given: dict[str, Any] = {"retrieval_scores": _stand_in(candidates)} if ranker.needs_retrieval_scores else {}
    return np.asarray(ranker.score(histories, candidates, **given))


def _check_scores(ranker: Ranker, impressions: Impressions) -> None:
    histories, candidates = impressions.histories, impressions.candidates
    must(ranker.catalog.content_hash == impressions.catalog.content_hash, "fit has to set catalog to that of its data")
    whole = scores_of(ranker, histories, candidates)
    must(whole.shape == (len(candidates.values),), f"score: shape {whole.shape} for {len(candidates.values)} candidates")
    must(np.isfinite(whole).all(), "score: a score is no finite number")
    likely = not ranker.gives_probabilities or bool(((whole >= 0) & (whole <= 1)).all())
    must(likely, "gives_probabilities is true, and a score lies outside 0 to 1")
    rows = range(len(histories))
    alone = [scores_of(ranker, histories.slice(row, row + 1), candidates.slice(row, row + 1)) for row in rows]
    close(np.concatenate(alone), whole, "scores depend on what else is in the batch")
    if not ranker.needs_retrieval_scores:  # for those, a candidate's place in its list counts
        turned = Ragged.from_rows([candidates[row][::-1] for row in rows])
        close(_turned(scores_of(ranker, histories, turned), turned), whole, "scores depend on the order of the candidates")
    nothing = Ragged.from_rows([[]] * len(histories))
    must(np.isfinite(scores_of(ranker, nothing, candidates)).all(), "score: an empty history has to give finite scores")


def _turned(scores: Scores, rows: Ragged) -> Scores:
    return np.concatenate([scores[rows.offsets[row] : rows.offsets[row + 1]][::-1] for row in range(len(rows))])


def _check_refusals(ranker: Ranker) -> None:
    one, beyond = Ragged.from_rows([[1]]), Ragged.from_rows([[len(ranker.catalog) + 1]])
    for histories, candidates in ((one, beyond), (Ragged.from_rows([[1], [1]]), one)):
        try:
            scores_of(ranker, histories, candidates)
        except BertrecError:
            continue
        raise AssertionError("score: ids outside the catalogue and rows that do not match are errors: call check_pairs first")
