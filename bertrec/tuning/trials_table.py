"""Every trial as a row of a Parquet file, whatever became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.files import atomic_file
from bertrec.tuning.study_view import StudyView, parameters_of, read_study, reason_of, seconds_of, state_of

if TYPE_CHECKING:
    import pyarrow as pa
    from optuna import Study

# What a trial does not have; None itself may be a choice.
_ABSENT = object()
_LARGEST = 2**63 - 1


def write_trials(study: Study, path: str | Path) -> None:
    """Write all trials of a study as Parquet, failed, pruned and running ones too: one row per trial, by number.

    Columns: ``number``; ``state`` (``complete``, ``pruned``, ``failed``, ``running``, ``waiting``); ``value``, or ``values/NAME`` for each
    of several objectives (of a pruned trial the last figure that it reported, as Optuna records it); ``params.NAME`` each parameter, null
    where a trial does not use it; ``user.NAME`` each user attribute that is one number, text or truth value; ``start`` and ``end`` (local
    time of the worker), ``seconds``, ``reported`` (how many figures on the way:
    epochs, or chunks of users for the Wilcoxon pruner) and ``reason`` (why it failed).
    A parameter whose values are of several types becomes text: texts as they are, all else as JSON, so that a choice of None is ``null``
    in letters.

    Args:
        study: any Optuna study.
        path: the file; its folder is made where it is absent.

    Raises:
        BertrecError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = dict(_columns(read_study(study, {})))
    table = pa.Table.from_arrays(list(columns.values()), names=list(columns))
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary)


def _columns(view: StudyView) -> Iterator[tuple[str, pa.Array]]:
    import pyarrow as pa

    trials = view.trials
    yield "number", pa.array([trial.number for trial in trials], pa.int64())
    yield "state", pa.array([state_of(trial) for trial in trials], pa.string())
    for place, name in enumerate(view.objectives):
        column = "value" if view.single else f"values/{name}"
        yield column, pa.array([None if trial.values is None else trial.values[place] for trial in trials], pa.float64())
    parameters = [parameters_of(trial) for trial in trials]
    for name in view.parameters:
        yield f"params.{name}", _column([used.get(name, _ABSENT) for used in parameters])
    for name in _scalar_attributes(view):
        yield f"user.{name}", _column([_scalar(trial.user_attrs.get(name)) for trial in trials])
    yield "start", pa.array([trial.datetime_start for trial in trials], pa.timestamp("us"))
    yield "end", pa.array([trial.datetime_complete for trial in trials], pa.timestamp("us"))
    yield "seconds", pa.array([seconds_of(trial) for trial in trials], pa.float64())
    yield "reported", pa.array([len(trial.intermediate_values) for trial in trials], pa.int64())
    yield "reason", pa.array([_encodable(reason_of(trial)) for trial in trials], pa.string())


def _scalar_attributes(view: StudyView) -> list[str]:
    found = {name for trial in view.trials for name, value in trial.user_attrs.items() if _scalar(value) is not _ABSENT}
    return sorted(found - {"reason"})


def _scalar(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str)) else _ABSENT


def _column(values: Sequence[Any]) -> pa.Array:
    """Return one column of one type: the type that all values have, numbers where they are all numbers, else text."""
    import pyarrow as pa

    known = [value for value in values if value is not _ABSENT]
    kinds = {type(value) for value in known}
    fits = all(abs(value) <= _LARGEST for value in known) if kinds == {int} else False
    for kind, types in ((pa.bool_(), {bool}), (pa.int64(), {int}), (pa.float64(), {int, float}), (pa.float64(), {float})):
        if kinds == types and (kind != pa.int64() or fits):
            return pa.array([None if value is _ABSENT else value for value in values], kind)
    return pa.array([None if value is _ABSENT else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    return _encodable(value) if isinstance(value, str) else json.dumps(value, default=str)


def _encodable(text: str | None) -> str | None:
    # Half a surrogate pair, as a file name may hold, is no UTF-8.
    return None if text is None else text.encode("utf-8", "backslashreplace").decode("utf-8")
