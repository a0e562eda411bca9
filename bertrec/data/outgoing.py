"""Columns as a data frame of the caller's library: pandas where it is installed, else PyArrow, or polars where asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bertrec.core.errors import ConfigError, unknown_name

Backend = Literal["pandas", "polars", "pyarrow"]
"""The library of a data frame."""
Column = Sequence[Any] | npt.NDArray[Any]


def frame_of(columns: Mapping[str, Column], backend: Backend | None = None) -> Any:
    """Return a new data frame.

    Args:
        columns: of one length. Where ids of both types stand in one, pandas keeps them and the others, whose columns are of one type, get
            text.
        backend: the library; None takes pandas where it is installed, else PyArrow.

    Raises:
        ConfigError: an unknown library, or one that is not installed.
    """
    backend = backend or ("pandas" if _installed("pandas") else "pyarrow")
    if backend not in get_args(Backend):
        raise ConfigError(unknown_name("data frame library", backend, get_args(Backend)))
    if not _installed(backend):
        raise ConfigError(f"{backend} is not installed:  pip install {backend}, or take backend='pyarrow'")
    if backend == "pandas":
        return _pandas(columns)
    table = pa.table({name: _arrow(values) for name, values in columns.items()})
    if backend == "pyarrow":
        return table
    import narwhals as nw

    return nw.from_arrow(table, backend=backend).to_native()


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _pandas(columns: Mapping[str, Column]) -> Any:
    import pandas as pd

    return pd.DataFrame({name: _series(pd, values) for name, values in columns.items()}).infer_objects()


def _series(pd: Any, values: Column) -> Any:
    return np.array(values) if isinstance(values, np.ndarray) else pd.Series(list(values), dtype=None if len(values) else object)


def _arrow(values: Column) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values)
    if {type(value) for value in values} >= {int, str}:
        values = [None if value is None else str(value) for value in values]
    known = any(value is not None for value in values)
    return pa.array(list(values), None if known else pa.string())
