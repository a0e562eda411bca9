"""The comparison as one HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from bertrec.comparison.report.charts_plotly import context, panels
from bertrec.comparison.report.content import CHARTS, sections, title, verdict, when
from bertrec.comparison.report.view import View
from bertrec.pages.document import Heading, html_document


def html_page(view: View, svg: Mapping[str, bytes], script: str) -> str:
    """Return the whole page.

    Args:
        view: the comparison.
        svg: the still charts by name.
        script: plotly.js.
    """
    drawn = {name: panels(view, name) for name in CHARTS}
    heading = Heading(title(view), verdict(view), when(view))
    return html_document(heading, sections(view, all_tests=True), drawn, svg, script, context=context(view))
