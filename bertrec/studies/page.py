"""Write a report of tables as one HTML page and as Markdown, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bertrec.core.files import atomic_file, write_json
from bertrec.pages.blocks import Section
from bertrec.pages.document import Heading, html_document
from bertrec.pages.markdown import markdown_document


def write_page(folder: str | Path, name: str, figures: dict[str, Any], heading: Heading, sections: Sequence[Section]) -> list[Path]:
    """Write ``index.html``, ``report.md`` and the figures as ``NAME.json``.

    The page holds tables and no chart, so that it needs no optional package.

    Raises:
        BertrecError: a file cannot be written.
    """
    folder = Path(folder)
    texts = {
        "index.html": html_document(heading, sections, {}, {}, ""),
        "report.md": markdown_document(heading.title, heading.verdict, heading.when, sections),
    }
    for file, text in texts.items():
        with atomic_file(folder / file) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    write_json(folder / f"{name}.json", figures)
    return [folder / "index.html", folder / "report.md", folder / f"{name}.json"]
