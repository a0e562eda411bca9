"""Notebooks as pages: what their cells say and what they printed, without a plugin."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from checks.site.reference import ROOT


def notebooks() -> dict[str, str]:
    """Return the page of each notebook of the tutorials, by its place under ``docs``."""
    return {
        page_of(path.relative_to(ROOT / "docs").as_posix()): page(path) for path in sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
    }


def page_of(place: str) -> str:
    """Return where the page of a notebook stands; anything else stays where it is."""
    return f"{place.removesuffix('.ipynb')}.md" if place.endswith(".ipynb") else place


def page(path: Path) -> str:
    """Return a notebook as Markdown, with a link to itself below its heading."""
    heading, *parts = (cell_text(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"])
    title, _, rest = heading.partition("\n")
    link = f'<a href="{path.name}" download>Download this notebook</a>.'
    return "\n\n".join([title, link, rest.strip(), *parts]) + "\n"


def cell_text(cell: dict[str, Any]) -> str:
    """Return a cell: words as they are, code in a block, and below it what it showed."""
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    shown = "".join("".join(one.get("text") or one.get("data", {}).get("text/plain", "")) for one in cell["outputs"]).rstrip()
    return f"```python\n{source}\n```" + (f"\n\n```text\n{shown}\n```" if shown else "")
