"""Build the site into ``site/`` and see that reading it asks nobody else for anything.

python -m checks.site
"""

from __future__ import annotations

import logging
import os
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

from checks.site.reference import ROOT

ASSETS = {"script": ("src",), "img": ("src", "srcset"), "iframe": ("src",), "source": ("src", "srcset"), "video": ("src",)}
"""What a browser fetches by itself; ``link`` does so too, but for those that only say where a page is."""
ONLY_SAID = {"canonical", "next", "prev", "alternate", "license", "edit"}


class Assets(HTMLParser):
    """The addresses that a page makes a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a tag fetches."""
        values = dict(attrs)
        names = ASSETS.get(tag, ())
        if tag == "link" and values.get("rel") not in ONLY_SAID:
            names = ("href",)
        self.found += [value for name in names if (value := values.get(name))]


def fetched_outside(html: str) -> list[str]:
    """Return what a page makes a browser fetch from elsewhere."""
    reader = Assets()
    reader.feed(html)
    return [address for address in reader.found if address.startswith(("http:", "https:", "//"))]


def main() -> None:
    """Build, look, and end with the first page that fetches from elsewhere or shows a block of code that was not understood."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # a word of the theme's makers to the builder, no fault of a page
    from mkdocs.commands.build import build
    from mkdocs.config import load_config
    from mkdocs.exceptions import Abort

    start = time.monotonic()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    os.chdir(ROOT)
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), strict=True))
    except Abort as error:
        sys.exit(str(error))
    built = sorted(Path(ROOT / "site").rglob("*.html"))
    for page in built:
        html = page.read_text(encoding="utf-8")
        if outside := fetched_outside(html):
            sys.exit(f"{page.relative_to(ROOT)} fetches {outside[0]}")
        if "```" in html:
            sys.exit(f"{page.relative_to(ROOT)} shows the marks of a block of code: its first line was not understood")
    print(f"site: {len(built)} pages in {time.monotonic() - start:.0f} s, nothing fetched from elsewhere")


if __name__ == "__main__":
    main()
