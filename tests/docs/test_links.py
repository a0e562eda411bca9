"""Every relative link of the pages leads to a file, and its anchor to a heading or a mark there."""

from __future__ import annotations

import pathlib
import posixpath
import re
import unicodedata

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted((ROOT / "docs").rglob("*.md"))
FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2", flags=re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\]\(<?([^)>\s]+)>?\)|(?:src|href)=\"([^\"]+)\"")

pytestmark = pytest.mark.skipif(not PAGES[0].exists(), reason="bertrec is installed without its pages")


def prose(path):
    return re.sub(r"`[^`\n]*`", "", FENCED.sub("", path.read_text(encoding="utf-8")))


def slug(heading):
    """As the site and code hosts name the anchor of a heading: letters, digits and hyphens."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    plain = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors(path):
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    return {slug(found) for found in re.findall(r"^#+ +(.*)$", text, re.MULTILINE)} | set(re.findall(r'<a id="([^"]+)"', text))


def links(path):
    found = (one or other for one, other in LINK.findall(prose(path)))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    wrong = []
    for link in links(page):
        name, _, anchor = link.partition("#")
        target = pathlib.Path(posixpath.normpath(page.parent / name)) if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


def test_the_check_sees_what_is_wrong(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One & two\n\n[a](#one-two) [b](gone.md) `[c](no.md)`\n\n```\n[d](no.md)\n```\n", encoding="utf-8")
    assert links(page) == ["#one-two", "gone.md"]
    assert anchors(page) == {"one-two"}


def test_no_address_is_made_up():
    """An address that is not known is a sentence without one."""
    made_up = re.compile(r"https?://(?:www\.)?(?:example\.(?:com|org)|github\.com/(?:user|bertrec|OWNER)|your)", re.IGNORECASE)
    assert [page.name for page in PAGES if made_up.search(page.read_text(encoding="utf-8"))] == []
