"""The comparison in Markdown."""

from __future__ import annotations

from bertrec.comparison.report.content import sections, title, verdict, when
from bertrec.comparison.report.view import View
from bertrec.pages.markdown import markdown_document


def markdown_report(view: View) -> str:
    """Return the whole report; charts are linked, relative to its own folder."""
    return markdown_document(title(view), verdict(view), when(view), sections(view, all_tests=False))
