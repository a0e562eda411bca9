"""The classes of docs/extending.md, chapter “Parts”, as a module outside bertrec: what the page shows is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
CHAPTER = PAGE.read_text(encoding="utf-8").partition("\n## Parts\n")[2].partition("\n## ")[0]
SOURCE = "\n".join(re.findall(r"```python\n# my_parts\.py\n(.*?)```", CHAPTER, flags=re.DOTALL))
COMMANDS = re.findall(r"```sh\n(bertrec .*?)\n```", CHAPTER, flags=re.DOTALL)

exec(compile(SOURCE, str(PAGE), "exec"))
