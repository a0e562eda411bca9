"""The page: one HTML file that needs no network, written from blocks, drawn by plotly.js that it carries within."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bertrec.core.errors import MissingExtraError
from bertrec.pages.blocks import Section
from bertrec.pages.drawing import Figure, Panel
from bertrec.pages.html_blocks import block_html, embedded_json
from bertrec.pages.palette import DARK, LIGHT, css_variables

# The browser itself refuses to fetch anything, whatever a name or plotly.js may hold.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def plotly_script() -> str:
    """Return plotly.js.

    Raises:
        MissingExtraError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MissingExtraError("plotly", "report") from error
    return str(get_plotlyjs())


@dataclass(frozen=True)
class Heading:
    """What stands above the sections: the title, the verdict in a sentence, and when and over what it was found."""

    title: str
    verdict: str
    when: str


def html_document(
    heading: Heading,
    parts: Sequence[Section],
    drawn: Mapping[str, Sequence[Panel]],
    svg: Mapping[str, bytes],
    script: str,
    *,
    context: Sequence[Figure] = (),
) -> str:
    """Return any page of sections.

    Args:
        heading: of the page.
        parts: the sections; the first is not among the links, since it follows them.
        drawn: the panels of each chart that a section names.
        svg: the still charts by the same names.
        script: plotly.js.
        context: traces that panels with ``context`` draw first.
    """
    body = "".join(_section_html(section, drawn, svg) for section in parts)
    figures = {f"{name}-{number}": panel.figure for name, found in drawn.items() for number, panel in enumerate(found)}
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(heading.title)}</title>'
        f"<style>{_styles()}</style></head>\n<body>{_header_html(heading, parts)}<main>{body}</main>\n"
        f'<script type="application/json" id="figures">{embedded_json({"figures": figures, "context": list(context)})}</script>\n'
        f"<script>{script}</script>\n<script>{_resource('page.js')}</script></body></html>\n"
    )


def _header_html(heading: Heading, parts: Sequence[Section]) -> str:
    links = "".join(f'<li><a href="#{section.anchor}">{escape(section.title)}</a></li>' for section in parts[1:])
    return (
        f'<header><h1>{escape(heading.title)}</h1><p class="verdict">{escape(heading.verdict)}</p>'
        f'<p class="when">{escape(heading.when)}</p><nav aria-label="Sections"><ul>{links}</ul></nav></header>'
    )


def _section_html(section: Section, drawn: Mapping[str, Sequence[Panel]], svg: Mapping[str, bytes]) -> str:
    blocks = "\n".join(block_html(block, drawn, svg) for block in section.blocks)
    return f'<section id="{section.anchor}"><h2>{escape(section.title)}</h2>\n{blocks}</section>\n'


def _styles() -> str:
    dark = f"@media screen and (prefers-color-scheme: dark){{:root{{{css_variables(DARK)}}}}}"
    return f":root{{{css_variables(LIGHT)}}}{dark}\n{_resource('page.css')}"


def _resource(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
