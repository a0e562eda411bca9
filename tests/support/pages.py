"""Code blocks of docs/extending.md as modules outside bertrec: what the page shows is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


def source(module: str) -> str:
    """Return the blocks of one file of the page."""
    return "\n".join(re.findall(rf"```python\n# {module}\.py\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL))


def commands(chapter: str) -> list[str]:
    """Return the command lines of one chapter."""
    text = PAGE.read_text(encoding="utf-8").partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines()]
