"""Phrases that are held out: by hand, and for any texts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.models.queries.make import make_pairs
from bertrec.models.queries.phrases import holds, without_phrase, without_phrases
from bertrec.retrieval.words import words_of

# Few words, so that phrases repeat, overlap and stand across fields; some of one form, and some that white space alone is beside.
WORD = st.sampled_from(["a", "b", "A,", "b.", "a-b", "...", "ab", "고", "éa"])
TEXT = st.lists(WORD, max_size=12).map(" ".join)


@pytest.mark.parametrize(
    ("text", "phrase", "left"),
    [
        ("A toy cowboy, and a toy space ranger.", "toy space", "A toy cowboy, and a ranger."),
        ("The Sea, the SEA!", "sea the", "The SEA!"),
        ("one two one two three", "one two", "three"),
        ("x one one two two y", "one two", "x y"),  # the outer two come together where the inner are gone
        ("nothing of it", "of nothing", "nothing of it"),
        ("well-known names", "known", "names"),  # a piece goes whole
        ("nothing", "...", "nothing"),
    ],
)
def test_words_go_wherever_they_stand_together(text, phrase, left):
    assert without_phrase(text, phrase) == left


@given(TEXT, TEXT)
def test_what_is_left_never_holds_the_phrase_and_is_in_order(text, phrase):
    left = without_phrase(text, phrase)
    assert not holds(left, phrase)
    remaining = iter(text.split())
    assert all(piece in remaining for piece in left.split())
    assert holds(text, phrase) or left.split() == text.split()


@given(TEXT, st.lists(TEXT, max_size=3))
def test_of_several_phrases_none_is_left(text, phrases):
    catalog = ItemCatalog(IdMap(["x", "y"]), {"title": ["a b", text]})
    indexed = without_phrases(catalog, np.full(len(phrases), 2), phrases)
    assert not any(holds(indexed.texts[1], phrase) for phrase in phrases)
    assert indexed.texts[0] == "a b"


@settings(max_examples=60)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=4, max_size=8), st.integers(1, 3), st.integers(0, 5))
def test_the_phrase_of_a_query_is_in_no_text_that_is_indexed(rows, words, seed):
    titles, overviews = zip(*rows, strict=True)
    catalog = ItemCatalog(IdMap(range(len(rows))), {"title": list(titles), "overview": list(overviews)})
    try:
        pairs = make_pairs(catalog, ["title"], phrase="overview", words=words, seed=seed)
    except DataError:  # fewer than three items say enough
        return
    for query, item, phrase in zip(pairs.queries, pairs.items.tolist(), pairs.phrases, strict=True):
        assert len(phrase.split()) == words
        assert holds(catalog.fields["overview"][item - 1], phrase)
        assert words_of(query)[-len(words_of(phrase)) :] == words_of(phrase)
        assert not holds(pairs.indexed.texts[item - 1], phrase)
        assert not holds(pairs.indexed.fields["overview"][item - 1], phrase)


class TestMake:
    CATALOG = ItemCatalog(
        IdMap([f"f{n}" for n in range(20)]),
        {
            "title": [f"Film {n}" for n in range(20)],
            "genres": ["Drama, War" if n % 2 else "" for n in range(20)],
            "overview": [f"it is film number{n} of all the films that there are" if n < 16 else "too short" for n in range(20)],
        },
    )

    def test_fields_stand_whole_before_the_phrase(self):
        pairs = make_pairs(self.CATALOG, ["genres"], phrase="overview", words=4)
        assert len(pairs) == 16
        assert pairs.notes == ("4 of 20 items say too little for a query (they are ranked all the same)",)
        assert all(query == f"Drama, War {phrase}" for query, phrase in list(zip(pairs.queries, pairs.phrases, strict=True))[1::2])
        assert all(query == phrase for query, phrase in list(zip(pairs.queries, pairs.phrases, strict=True))[::2])

    def test_the_seed_alone_decides(self):
        one, again, other = (make_pairs(self.CATALOG, ["genres"], phrase="overview", seed=seed) for seed in (1, 1, 2))
        assert one.content_hash == again.content_hash != other.content_hash

    def test_test_items_are_in_no_training_pair(self):
        pairs = make_pairs(self.CATALOG, ["title"])
        assert pairs.counts == {"train": 16, "valid": 2, "test": 2}
        assert pairs.indexed is self.CATALOG  # nothing was taken
        assert not set(pairs.items[pairs.parts == 2]) & set(pairs.items[pairs.parts == 0])

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"fields": ["genre"]}, "did you mean 'genres'"),
            ({"fields": ["title"], "phrase": "plot"}, "unknown text field 'plot'"),
            ({}, "name fields, or the field of a phrase"),
            ({"phrase": "overview", "words": 0}, "words"),
            ({"phrase": "overview", "words": 30}, "only 0 of 20 items say enough"),
        ],
    )
    def test_what_cannot_be_made_is_one_line(self, options, said):
        with pytest.raises(DataError, match=said):
            make_pairs(self.CATALOG, **options)
