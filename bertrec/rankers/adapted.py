"""Whether the encoder of a ranker was adapted on pairs that the ranker is measured by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.ragged import Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset, make_split
from bertrec.data.splits import EvaluationSet, Split
from bertrec.encoders.adaptation import Adaptation, adaptation_note, adaptation_of
from bertrec.rankers.base import Ranker

ADAPTATION = "adaptation"


def adaptation_record(ranker: Ranker) -> dict[str, Any]:
    """Return, for a member's record, what its encoder was adapted on; nothing for any other.

    Raises:
        ModelError: the encoder's own record is damaged.
    """
    found = adaptation_of(ranker.config)
    return {} if found is None else {ADAPTATION: found.to_dict()}


def adapted_note(
    record: Mapping[str, Any], ranker: Ranker, dataset: Dataset, measured: Sequence[Impressions], past: Interactions | None = None
) -> str | None:
    """Return one line where the encoder of a ranker was adapted on another split of its data; None elsewhere.

    Args:
        record: with what `adaptation_record` returned.
        ranker: the member.
        dataset: the data; without impressions the default split says what is held out.
        measured: impressions that it is measured by, or that choose its epoch; those without labels are passed over.
        past: of rated pairs, the interactions of the training part; None for clicks.

    Raises:
        ModelError: the record is damaged.
    """
    if record.get(ADAPTATION) is None:
        return None
    adaptation = Adaptation.from_dict(record[ADAPTATION], Path("run.json"))
    if past is not None:
        split = Split(dataset.catalog, past, None, _held(measured, every=True))
    elif dataset.impressions:
        split = Split(dataset.catalog, make_split(dataset).train, None, _held(measured, every=False))
    else:
        split = make_split(dataset)
    return adaptation_note(str(ranker.config.to_flat().get("encoder.name")), adaptation, dataset, split)


def _held(measured: Sequence[Impressions], *, every: bool) -> EvaluationSet | None:
    """Return who took what in impressions with labels, a row for each impression: every candidate, or those with label 1."""
    parts = [part for part in measured if part.labels is not None]
    if not parts:
        return None
    taken = [part.candidates if every else part.candidates.where(np.asarray(part.labels) == 1) for part in parts]
    targets = Ragged.from_lengths(np.concatenate([one.values for one in taken]), np.concatenate([one.lengths for one in taken]))
    users = [user for part in parts for user in part.users]
    return EvaluationSet(users, Ragged.from_rows([[]] * len(users)), targets)
