"""Objects show themselves shortly, and what others wrote into them is shown and never obeyed."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest

import bertrec
from bertrec.core.described import Described, Preview
from bertrec.core.ragged import Ragged
from bertrec.models import Recommendations

EVIL = '<script>alert("x")</script>\x1b[31m\u202e'


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)

    def handle_data(self, data):
        self.text += f"{data}|"


@pytest.fixture(scope="module")
def dataset():
    items = pd.DataFrame({"item_id": [f"{EVIL}{row}" for row in range(30)], "title": [f"{EVIL} {row}" for row in range(30)]})
    rows = [(f"{EVIL}u{user}", items.item_id[(user + step) % 30], step) for user in range(20) for step in range(5)]
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    return bertrec.load(frame, items=items, users=pd.DataFrame({"user_id": frame.user_id.unique(), "about": [EVIL] * 20}))


def everything(dataset):
    split = bertrec.make_split(dataset)
    model = bertrec.create("popularity").fit(split)
    report = bertrec.evaluate(model, split)
    found = model.recommend(split.test.histories, 3)
    ids = dataset.catalog.ids
    parts = [dataset, dataset.catalog, dataset.users, dataset.interactions, split, split.train, split.test, split.test.histories]
    return [*parts, ids, model, model.serve(), report, report.slices["all"], found, bertrec.create("idrec")]


def test_every_object_is_a_short_line_and_a_harmless_table(dataset):
    for one in everything(dataset):
        line, page = repr(one), one._repr_html_()
        assert line.startswith(f"{type(one).__name__}(")
        assert len(line) < 400
        assert len(page) < 40_000
        assert not set("\n\x1b\u202e") & set(line + page)
        assert Tags(page).tags <= {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "p"}


def test_the_lines_say_what_counts(dataset):
    split = bertrec.make_split(dataset)
    assert repr(dataset) == "Dataset(name='frames', format='frames', users=20, items=30, interactions=100)"
    method = "Split(method='leave_one_out', items=30, train_interactions=60, validation_users=20, test_users=20)"
    assert repr(split) == method
    assert repr(Ragged.from_rows([[1, 2], [3]])) == "Ragged(rows=2, values=3)"
    assert repr(bertrec.create("idrec")) == "IDRec(fitted=False)"
    assert repr(Recommendations([["a"], []], [[1.0], []], [None, "popularity"])) == "Recommendations(users=2, k=1, by_fallback=1)"


def test_a_preview_stops_and_says_how_much_is_left(dataset):
    page = Tags(dataset.catalog._repr_html_()).text
    assert "… and 20 more" in page
    assert '<script>alert("x")</script>␛[31m\\u202e 9|' in page
    assert "\\u202e 10|" not in page


def test_facts_without_a_value_are_left_out_and_numbers_are_cut():
    class Thing(Described):
        def _facts(self):
            return {"a": None, "b": 1234, "c": 0.123456, "d": "x" * 500, "e": list(range(50))}

        def _preview(self):
            return Preview(["n"], [[1234567], [0.5], [None]])

    assert repr(Thing()).startswith("Thing(b=1234, c=0.1235, d='xxx")
    assert len(repr(Thing())) < 150
    page = Tags(Thing()._repr_html_()).text
    assert page.startswith("Thing|b|1,234|c|0.1235|d|xx")
    assert page.endswith("n|1,234,567|0.5|")
