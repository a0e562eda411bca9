"""One RecBole model on one split, as a library call."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertrec.core.checks import expect, expect_number
from bertrec.core.described import Described
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.splits import Split
from bertrec.recbole import catalogue
from bertrec.recbole.exchange import Arrays, Job, Outcome, save_pairs, save_split, with_distinct_targets
from bertrec.recbole.process import run_fit

Pairs = tuple[IntArray, IntArray]


@dataclass(frozen=True, repr=False)
class BaselineRun(Described):
    """What a baseline gave back.

    Attributes:
        outcome: training log, epochs, seconds, peak memory and RecBole's cross-check.
        ranks: of every target of the test users, ready for `bertrec.evaluation.evaluate.evaluate_ranks`.
        lists: ``[users, list_length]`` inner ids, best first, padded with 0.
        scores: ``[pairs]`` of the pairs asked for, ready for `bertrec.evaluation.evaluate.evaluate_labels`; None without any.
    """

    outcome: Outcome
    ranks: Ragged
    lists: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32] | None

    def _facts(self) -> dict[str, object]:
        outcome = self.outcome
        return {"status": outcome.status, "best_epoch": outcome.best_epoch, "seconds": outcome.seconds, "users": len(self.ranks)}


def run_baseline(
    model: str,
    split: Split,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    limit_minutes: float = 0.0,
    mask_seen: bool = True,
    list_length: int = 100,
    pairs: Pairs | None = None,
    cross_check: bool = True,
) -> BaselineRun:
    """Fit a RecBole model in a process of its own and rank the test users' targets with it.

    Args:
        model: RecBole's name of it.
        split: with validation users, who choose the epoch, and test users.
        settings: RecBole's own names; None takes the first of `bertrec.recbole.catalogue.candidates`.
        seed: of the fit.
        limit_minutes: training ends after this; 0 sets no limit.
        mask_seen: whether items of the history are no candidates.
        list_length: of each user's list.
        pairs: rows of test users and inner item ids, ``[m]`` each, to be scored as well (labelled data).
        cross_check: also let RecBole measure itself.

    Raises:
        ConfigError: an unknown model or setting.
        DataError: no validation or test users, or pairs outside the split.
        MissingExtraError: RecBole is not installed.
        ModelError: the fit failed, or its scores are no numbers; the text says why.
    """
    call = "bertrec.run_baseline"
    expect(model, str, f"{call}: model", error=ConfigError, called="name")
    expect(split, Split, f"{call}: split")
    expect(settings, Mapping, f"{call}: settings", optional=True, error=ConfigError)
    expect_number(limit_minutes, f"{call}: limit_minutes")
    catalogue.check_names([model])
    chosen = dict(catalogue.candidates(model)[0] if settings is None else settings)
    catalogue.check_settings(model, chosen)
    split = with_distinct_targets(split)
    with tempfile.TemporaryDirectory(prefix="bertrec-") as temporary:
        folder = Path(temporary)
        save_split(split, folder / "split")
        if pairs is not None:
            _check_pairs(pairs, split)
            save_pairs(*pairs, folder / "split")
        job = Job(
            model=model,
            settings=chosen,
            seed=seed,
            limit_seconds=60.0 * limit_minutes,
            mask_seen=mask_seen,
            list_length=list_length,
            cross_check=cross_check,
        )
        outcome = run_fit(job, folder / "fit", folder / "split")
        if outcome.status != "ok":
            raise ModelError(f"RecBole's {model}: {outcome.status}: {outcome.reason}")
        arrays = Arrays.load(folder / "fit")
    assert split.test is not None
    return BaselineRun(outcome, Ragged(arrays.ranks, split.test.targets.offsets), arrays.lists, arrays.scores)


def _check_pairs(pairs: Pairs, split: Split) -> None:
    if not isinstance(pairs, tuple) or len(pairs) != 2 or not all(isinstance(one, np.ndarray) and one.dtype.kind in "iu" for one in pairs):
        raise DataError("pairs: give two arrays of whole numbers, (rows, items)")
    rows, items = pairs
    assert split.test is not None
    if len(rows) != len(items):
        raise DataError(f"pairs: {len(rows)} rows and {len(items)} items")
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(split.test) and items.min() >= 1 and items.max() <= len(split.catalog)):
        raise DataError(f"pairs: rows must be 0 to {len(split.test) - 1} and items inner ids 1 to {len(split.catalog)}")
