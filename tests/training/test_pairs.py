"""Pairs of texts, computed by hand, and that nothing held out is among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, cold_items, leave_one_out, ratio_by_user
from bertrec.training.pairs import PairDataset, PairTexts, held_out_pairs, item_pairs, reviews_of

LONG = "a kettle of red enamel that holds two litres"


def catalog_of(texts):
    return ItemCatalog.from_frame(pd.DataFrame({"item_id": range(1, len(texts) + 1), "title": texts}))


def interactions_of(rows, texts, reviews=None):
    table = [(f"u{user}", item, step) for user, row in enumerate(rows) for step, item in enumerate(row)]
    frame = pd.DataFrame(table, columns=["user_id", "item_id", "timestamp"])
    return Interactions.from_frame(frame if reviews is None else frame.assign(text=reviews), catalog_of(texts))


def named(dataset):
    return [tuple(dataset.texts.texts[number] for number in pair) for pair in dataset.pairs]


@pytest.mark.parametrize(
    ("window", "pairs"),
    [(1, [[1, 2], [2, 3], [4, 4]]), (2, [[1, 2], [2, 3], [4, 4], [1, 3]]), (9, [[1, 2], [2, 3], [4, 4], [1, 3]])],
)
def test_items_of_a_row_within_the_window(window, pairs):
    assert item_pairs(Ragged.from_rows([[1, 2, 3], [], [5], [4, 4]]), window).tolist() == pairs


def test_no_rows_have_no_pairs():
    assert item_pairs(Ragged.from_rows([]), 3).shape == (0, 2)
    assert item_pairs(Ragged.from_rows([[1], [2]]), 3).shape == (0, 2)


def test_equal_and_empty_texts_make_no_pair():
    #        1: red, 2: blue, 3: red again, 4: nothing, 5: oak
    data = interactions_of([[1, 2, 3, 1], [2, 4, 5, 5], [5, 2]], ["red", "blue", "red", " ", "oak"])
    dataset = PairDataset.of(data)
    assert named(dataset) == [("red", "blue"), ("blue", "red"), ("oak", "blue")]
    assert dataset.left_out == 4  # red-red, blue-nothing, nothing-oak, oak-oak
    assert dataset.counts == {"items": 3}
    assert len(dataset.positives) == 2


def test_reviews_go_with_their_items_where_both_are_long():
    texts = [LONG, "short", LONG + " more"]
    said = ["good", "x" * 31, "y" * 31, "  " + "z" * 30 + "  "]
    data = interactions_of([[1, 2, 3], [1]], texts, said)
    assert reviews_of(data)[0] == ["y" * 31]
    assert reviews_of(data)[1].tolist() == [3]
    dataset = PairDataset.of(data)
    assert named(dataset) == [(LONG, "short"), ("short", LONG + " more"), ("y" * 31, LONG + " more")]
    assert dataset.counts == {"items": 2, "reviews": 1}
    assert PairDataset.of(data, kind="items").counts == {"items": 2}


def test_what_cannot_be_paired_is_one_line():
    data = interactions_of([[1, 2]], ["red", "blue"])
    with pytest.raises(DataError, match="fewer than two different pairs"):
        PairDataset.of(data)
    with pytest.raises(DataError, match="the data have no reviews"):
        PairDataset.of(data, kind="reviews")
    with pytest.raises(DataError, match="the data have no reviews"):
        PairDataset.of(data, kind="both")


def test_masked_are_the_text_its_positive_and_all_it_is_a_pair_with():
    texts = ["a", "b", "c", "d", "e"]
    dataset = PairDataset.of(interactions_of([[1, 2], [1, 4], [3, 4], [5, 1]], texts))
    batch = np.array([[0, 1], [2, 3], [4, 0]])  # a-b, c-d, e-a
    right_of_left = [
        [True, True, True],  # a: b is its own; d is one elsewhere; a itself
        [False, True, False],  # c: only d
        [False, False, True],  # e: only a
    ]
    left_of_right = [
        [True, False, False],  # b: only a
        [True, True, False],  # d: a too
        [True, False, True],  # a: a itself; c is a negative; e is its own
    ]
    assert dataset.masked(batch).tolist() == [right_of_left, left_of_right]
    collated = dataset.collate(batch)
    assert collated["rows"].tolist() == [0, 1, 2, 3, 4]
    assert (collated["left"].tolist(), collated["right"].tolist()) == ([0, 2, 4], [1, 3, 0])
    assert collated["masked"].tolist() == [right_of_left, left_of_right]


def test_the_positive_of_another_pair_with_the_same_text_is_masked():
    dataset = PairDataset.of(interactions_of([[1, 2], [3, 2], [3, 4]], ["a", "b", "c", "d"]))
    assert dataset.masked(np.array([[0, 1], [2, 1]]))[0].tolist() == [[True, True], [True, True]]


class TestBatches:
    @pytest.fixture
    def dataset(self):
        rng = np.random.default_rng(0)
        rows = [rng.permutation(40)[:9] + 1 for _ in range(30)]
        reviews = [f"review number {number} is long enough to be taken" for number in range(270)]
        return PairDataset.of(interactions_of(rows, [f"{LONG} {number}" for number in range(40)], reviews))

    def test_an_epoch_has_each_pair_once_and_batches_of_one_kind(self, dataset):
        batches = list(dataset.batches(0, 32, 7))
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(dataset)))
        first_review = dataset.counts["items"]
        assert all((batch >= first_review).all() or (batch < first_review).all() for batch in batches)
        again, other = list(dataset.batches(0, 32, 7)), list(dataset.batches(1, 32, 7))
        assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))
        assert not all(np.array_equal(one, two) for one, two in zip(batches, other, strict=True))

    def test_short_epochs_go_round_all_pairs(self, dataset):
        dataset.an_epoch = 102  # of 510: 48 of 240 pairs of items, and 54 of 270 of reviews
        epochs = [np.concatenate(list(dataset.batches(epoch, 16, 3))) for epoch in range(5)]
        assert [len(epoch) for epoch in epochs] == [102] * 5
        assert sorted(np.concatenate(epochs).tolist()) == list(range(len(dataset)))
        assert len({len(list(dataset.batches(epoch, 16, 3))) for epoch in range(7)}) == 1


@pytest.mark.parametrize("method", [leave_one_out, ratio_by_user, lambda data: cold_items(data, share=0.2, seed=3)])
@pytest.mark.parametrize("window", [1, 4])
def test_a_pair_that_only_held_out_interactions_have_never_appears(method, window):
    """Every user walks alone: pair (i, i + k) has one source, so that a pair with a held-out interaction would show."""
    texts = [f"{LONG} {number}" for number in range(120)]
    rows = [range(first, first + 10) for first in range(1, 120, 10)]
    reviews = [f"the review of item {item} is as long as need be" for row in rows for item in row]
    split = method(interactions_of(rows, texts, reviews))
    dataset = PairDataset.of(split.train, window=window)
    trained = {texts[item - 1] for item in split.train.sequences.values} | set(split.train.text)
    used = {text for pair in named(dataset) for text in pair}
    assert used <= trained
    held = {item for part in (split.validation, split.test) for item in part.targets.values} | set(split.held_out.tolist())
    assert held
    assert not used & {texts[item - 1] for item in held}
    assert not any(f"item {item} is" in text for item in held for text in used)


def test_pairs_of_validation_users():
    texts, _ = PairTexts.of(["a", "b", "a", "", "c"], [])
    part = EvaluationSet(["u", "v", "w", "x"], Ragged.from_rows([[5, 1], [2, 3], [4], [1]]), Ragged.from_rows([[2, 5], [1], [2], [5]]))
    # v has the same text twice and w none.
    assert [[texts.texts[number] for number in pair] for pair in held_out_pairs(part, texts)] == [["a", "b"], ["a", "c"]]
    assert held_out_pairs(replace(part, users=[], histories=Ragged.from_rows([]), targets=Ragged.from_rows([])), texts).shape == (0, 2)
