"""The page's files, read as they are: nothing from outside, nothing inline, no text put in as markup, and small."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

PAGE = files("bertrec.service") / "page"
NAMES = sorted(file.name for file in PAGE.iterdir())
LARGEST = 64_000  # bytes, all files together


def test_they_are_small_and_all_are_used():
    texts = {name: (PAGE / name).read_text(encoding="utf-8") for name in NAMES}
    assert sum(len(text.encode()) for text in texts.values()) < LARGEST
    for name in set(NAMES) - {"index.html"}:
        users = [other for other, text in texts.items() if other != name and re.search(rf"[\"/]{re.escape(name)}\"", text)]
        assert users, name


@pytest.mark.parametrize("name", NAMES)
def test_nothing_comes_from_outside(name):
    text = (PAGE / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"(?:https?:)?//[\w-]+\.\w+", text) == []
    assert re.findall(r"@import|url\(|data:", text) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".html")])
def test_markup_holds_neither_style_nor_script(name):
    text = (PAGE / name).read_text(encoding="utf-8")
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]*\ssrc=)", text) == []


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(".js")])
def test_no_text_becomes_markup_or_code(name):
    text = (PAGE / name).read_text(encoding="utf-8")
    assert (
        re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|localStorage|cookie", text)
        == []
    )
