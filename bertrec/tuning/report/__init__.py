"""What a study leaves behind for a reader: one HTML page, the same in Markdown, and every trial as a row of a Parquet file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.pages.render import write_document
from bertrec.tuning.report.content import document
from bertrec.tuning.statistics import expected_regression
from bertrec.tuning.study_view import read_study
from bertrec.tuning.trials_table import write_trials

if TYPE_CHECKING:
    from optuna import Study

__all__ = ["expected_regression", "write_trials", "write_tuning_report"]


def write_tuning_report(study: Study, folder: str | Path, *, about: Mapping[str, Any]) -> list[Path]:
    """Write a study as one page that needs no network, and as Markdown with its charts beside it.

    Of the trials' user attributes these are read: ``default`` (true: the trial of the default settings), ``standard_error`` (of the
    trial's figure, for the expected regression) and ``reason`` (why it failed).

    Args:
        study: any Optuna study, also an empty one, one with several objectives, or one that is still running.
        folder: is made where it is absent; files of the same names are replaced.
        about: what a reader should know beyond the trials, nested JSON values, shown as they are: data, protocol, space, sampler, pruner,
            how to open the storage, versions. These keys mean something: ``model`` and ``data`` (a name, or a mapping with ``name``) make
            the title; ``metric`` or ``metrics`` name the objectives where the study does not; ``space``, ``versions`` and ``machine`` get
            tables of their own; ``test`` holds the winner's test figures, ``{"seeds": […], "metrics": {NAME: {"mean", "ci95", "sd"}},
            "default": {NAME: …}}``.

    Returns:
        The documents: ``index.html`` and ``report.md``; the charts that the latter shows are beside it as ``charts/NAME.svg``.

    Raises:
        MissingExtraError: matplotlib is not installed; nothing is written then.
        BertrecError: a file cannot be written.
    """
    return write_document(document(read_study(study, about)), folder)[:2]
