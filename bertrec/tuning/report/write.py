"""Write the report of a study into a folder, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.files import atomic_file
from bertrec.pages.document import Heading, html_document, plotly_script
from bertrec.pages.markdown import markdown_document
from bertrec.tuning.report.content import content
from bertrec.tuning.report.sentences import title, verdict, when
from bertrec.tuning.report.stills import still_charts
from bertrec.tuning.report.view import read_study

if TYPE_CHECKING:
    from optuna import Study


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
        MissingExtraError: plotly or matplotlib is not installed; nothing is written then.
        BertrecError: a file cannot be written.
    """
    script = plotly_script()
    view = read_study(study, about)
    found = content(view)
    heading = Heading(title(view), verdict(view), when(view))
    stills = still_charts(found.drawn)
    page = html_document(heading, found.sections, found.drawn, stills, script)
    text = markdown_document(heading.title, heading.verdict, heading.when, found.sections)
    files = {f"charts/{name}.svg": drawing for name, drawing in stills.items()}
    files |= {name: whole.encode("utf-8", "replace") for name, whole in (("index.html", page), ("report.md", text))}
    for name, whole in files.items():
        with atomic_file(Path(folder) / name) as temporary:
            temporary.write_bytes(whole)
    return [Path(folder) / name for name in ("index.html", "report.md")]
