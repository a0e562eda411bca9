"""What ``mkdocs`` is helped with: generated pages, pages found by folder, and links to files of the repository beside ``docs``."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

from mkdocs.structure.files import File, Files

from checks.site.notebooks import notebooks, page_of
from checks.site.reference import ROOT, pages

PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md", "README.md": "index.md"}
"""Files beside ``docs`` that are pages of the site; all others that a page links to are copied to ``files/``."""
FENCE = re.compile(r"^```(\w+) (\S+)$", re.MULTILINE)
"""How a tutorial's block begins that is a file, or that its test starts as a service or leaves alone."""
FOR_TESTS = ("serve", "notest")
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add generated pages and what pages link to; put the pages of folders into the navigation."""
    texts = {page.src_uri: page.content_string for page in files.documentation_pages()} | pages() | notebooks()
    outer = {name: (ROOT / name).read_text(encoding="utf-8") for name in PAGES if name != "README.md"}
    texts |= {PAGES[name]: LINK.sub(lambda found: into_docs(found), text) for name, text in outer.items()}
    for name, text in texts.items():
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, content=text))
    for place in sorted({place for name, text in texts.items() for place in outside(name, text)}):
        files.append(File.generated(config, f"files/{place}", abs_src_path=str(ROOT / place)))
    config.nav = list(expanded(config.nav, [page.src_uri for page in files.documentation_pages()], named(config.nav)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Lead links that leave ``docs`` to what stands for their targets in the site, and give blocks that are files their names."""
    return FENCE.sub(titled, LINK.sub(lambda found: inside(found, page.file.src_uri), markdown))


def titled(found: re.Match[str]) -> str:
    """Return the first line of a block as the site reads it: the name of a file is its title, a word for tests is none."""
    return f"```{found[1]}" if found[2] in FOR_TESTS else f'```{found[1]} title="{found[2]}"'


def into_docs(found: re.Match[str]) -> str:
    """Return a link of a file beside ``docs`` as it is seen from inside."""
    target = found[2].removeprefix("docs/") if found[2].startswith("docs/") else PAGES.get(found[2], found[2])
    return f"]({target}{found[3] or ''})"


def outside(page: str, text: str) -> Iterator[str]:
    """Give the files of the repository beside ``docs``, pages apart, that a page links to."""
    for found in LINK.finditer(text):
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), found[2]))
        if "://" not in found[2] and not target.startswith("docs/") and target not in PAGES and (ROOT / target).is_file():
            yield target


def inside(found: re.Match[str], page: str) -> str:
    """Return a link as the site has it; a link to a folder of the repository is led to the page that says what lies there."""
    target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), found[2]))
    if "://" in found[2] or target.startswith(("docs/", "..")) or found[2].startswith("mailto:"):
        return f"]({page_of(found[2])}{found[3] or ''})"
    there = PAGES.get(target) or (f"files/{target}" if (ROOT / target).is_file() else "reference/files.md")
    return f"]({posixpath.relpath(there, posixpath.dirname(page) or '.')}{found[3] or ''})"


def short(page: str) -> str | dict[str, str]:
    """Return a page as the navigation has it: a command or a set of settings by its own name, without the words that all share."""
    folder, _, name = page.removesuffix(".md").rpartition("/")
    return {name: page} if folder in ("reference/commands", "reference/settings") else page


def named(nav: Any) -> list[str]:
    """Return the pages that a navigation names one by one."""
    if isinstance(nav, str):
        return [] if "*" in nav else [nav]
    return [name for entry in (nav.values() if isinstance(nav, dict) else nav) for name in named(entry)]


def expanded(nav: Any, found: list[str], taken: list[str]) -> Iterator[Any]:
    """Give a navigation in which a pattern such as ``systems/*.md`` stands for the pages that nothing else names."""
    for entry in nav:
        if isinstance(entry, dict):
            yield {title: below if isinstance(below, str) else list(expanded(below, found, taken)) for title, below in entry.items()}
        elif "*" in entry:
            fitting = (page for page in found if fnmatch(page, entry) and page.count("/") == entry.count("/") and page not in taken)
            yield from map(short, sorted(fitting, key=lambda page: page.removesuffix(".md")))
        else:
            yield entry
