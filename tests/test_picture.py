"""The picture of the rooms is that of today's order, and every row says what happens in it."""

from __future__ import annotations

import pathlib
import re

import pytest

import bertrec
from checks import picture

PACKAGE = pathlib.Path(bertrec.__file__).parent


@pytest.fixture
def drawn():
    return picture.OUT.read_text(encoding="utf-8")


def test_the_picture_is_up_to_date(drawn):
    assert drawn == picture.picture(), "draw it anew: python -m checks.picture"


def test_it_shows_every_room_and_no_other(drawn):
    rooms = {path.name.removesuffix(".py") for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    shown = re.findall(r'fill="#1a237e">([a-z]+)<', drawn)
    assert set(shown) == {room for room in rooms if not room.startswith("__")}
    assert len(shown) == len(set(shown))


def test_every_row_says_what_happens_in_it():
    assert {row[0] for row in picture.rows()} == set(picture.WAY)


def test_words_fit_where_they_stand(drawn):
    width = int(re.search(r'viewBox="0 0 (\d+) ', drawn)[1])
    told = [(float(x), words) for x, words in re.findall(r'<text x="(\d+)" y="\d+" fill="#20242c">([^<]+)<', drawn)]
    assert len(told) == len(picture.WAY)
    assert max(x + 7 * len(words) for x, words in told) <= width  # a letter of 14 is 6.5 to 7 wide
    boxes = re.findall(r'<rect x="[\d.]+" y="\d+" width="([\d.]+)".*\n<text .*font-size="(\d+)" fill="#1a237e">([a-z]+)<', drawn)
    assert len(boxes) == sum(map(len, picture.rows()))
    assert all(float(box) > 0.5 * int(size) * len(name) for box, size, name in boxes)
