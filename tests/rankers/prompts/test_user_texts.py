"""Profiles and earlier reviews in a prompt: what it reads, what it must not read, and what is kept of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_reviews import TITLES, WORDS, planted
from tiny_encoders import tiny_masked

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import UserCatalog
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.rankers.base import Ranker
from bertrec.rankers.context import Context, Known
from bertrec.rankers.contract import check_ranker
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.layout import Layout, UserWords
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.training.config import TrainConfig

ANSWERS = {"negative": ["no"], "positive": ["yes"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [*TITLES, "it is", *WORDS, "no yes who", *(Prompt.load(name).text for name in ("profile", "reviews"))]
    return tiny_masked(tmp_path_factory.mktemp("masked"), texts)


def ranker(folder, prompt, **more):
    found = Prompt.load(prompt) if "{" not in prompt else Prompt.from_dict({"name": "p", "text": prompt, "answers": ANSWERS, **more})
    train = TrainConfig(encoder_learning_rate=3e-3, batch_size=16, epochs=5, metric="AUC")
    encoder = MaskedConfig(name=folder, max_length=64, dropout=False)
    return PromptRanker(PromptConfig(prompt=found, encoder=encoder, train=train, negatives=0))


def read(of, impressions, known):
    """Return what the filled prompts of the rows say; where users are read once, what all candidates share."""
    rows = of.prepare(impressions.catalog)._rows(impressions.histories, impressions.candidates, Context.of(impressions, known))
    filled = rows.slots[0] if of.once else of._layout.pairs(rows.slots, np.arange(len(impressions)), impressions.candidates.values)
    return [" ".join(of.encoder.tokenizer.convert_ids_to_tokens(row.tolist())) for row in filled]


def test_the_slots_hold_the_profile_and_the_earlier_reviews_newest_first(folder):
    shown, known = planted(1, seed=0)
    past = known.past
    told = [past.text[place].split()[-1] for place in (2, 1, 0)]
    texts = replace(past, text=[f"{TITLES[item - 1]} {text}" for item, text in zip(past.sequences.values, past.text, strict=True)])
    titles = [TITLES[item - 1] for item in past.sequences.values]
    template = "yes {profile} no {candidate} [MASK] who {reviews}"
    found = read(ranker(folder, template, separator="is", reviews=2), shown, Known(known.users, texts))
    profile = known.users.texts[0]
    assert found == [
        f"[CLS] yes {profile} no {titles[3]} [MASK] who is {titles[2]} it is {told[0]} is {titles[1]} it is {told[1]} [SEP]",
    ]


def test_words_and_room_cut_them_and_the_history_has_the_rest(folder):
    shown, _ = planted(1, seed=0)
    tokenizer = ranker(folder, "profile").encoder.tokenizer
    cut = {"name": "p", "answers": ANSWERS, "separator": "is", "profile_words": 3, "review_words": 2}
    made = {
        text: Prompt.from_dict({**cut, "text": text + " {candidate} [MASK]"}) for text in ("{profile} {reviews} {history}", "{reviews}")
    }
    layout, alone = (Layout(prompt, tokenizer, {}, TITLES, 21) for prompt in made.values())
    assert layout.history_budget == 21 - 3 - 2
    many = UserWords(None, ["red blue green car"], Ragged.from_rows([[0, 1]]), ["car hat sea", "dog hat sea"])
    slots = layout.slots(shown.histories, many)
    pieces = [tokenizer.convert_ids_to_tokens([int(one) for one in slot[0]]) for slot in slots]
    # A quarter of the room of 16 for each of the two; the history has the 9 that they leave.
    assert pieces[0] == ["red", "blue", "green"]
    assert pieces[1] == ["is", "car", "hat", "is"]
    assert len(pieces[2]) == 9
    assert pieces[2][:3] == ["is", *TITLES[shown.histories[0][-1] - 1].split()]
    assert [len(slot[0]) for slot in alone.slots(shown.histories, many)] == [6]


def test_without_a_context_and_for_strangers_the_slots_are_empty(folder):
    shown, known = planted(2, seed=0)
    strangers = replace(shown, users=["stranger", shown.users[1]])
    of = ranker(folder, "{profile} no {reviews} who {candidate} [MASK]", separator="is")
    found = read(of, strangers, known)
    assert found[0] == "[CLS] no"  # and nothing else before the candidate, which is read with what stands before it
    assert "it is" in found[1]
    assert read(of, strangers, Known()) == read(of, strangers, Known(UserCatalog.from_frame(pd.DataFrame({"user_id": [1], "text": ["x"]}))))
    blind = of.score(shown.histories, shown.candidates)
    assert of.score_impressions(replace(shown, users=["a", "b"]), known=known) == pytest.approx(blind)
    assert abs(of.score_impressions(shown, known=known) - blind).max() > 1e-6


def test_a_review_of_the_pair_is_never_read_and_one_that_is_handed_over_tells_all(folder):
    (train, known), (test, later) = planted(96, seed=0), planted(64, seed=1)
    leaky = ranker(folder, "profile").fit(train, known=known, progress=False)
    assert leaky.figures(test, known=later)["AUC"] > 0.97
    ours = ranker(folder, "reviews").fit(train, known=known, progress=False)
    assert abs(ours.figures(test, known=later)["AUC"] - 0.5) < 0.2
    # Whatever the reviews of the pairs say, no score moves.
    past = later.past
    turned = [f"it is {WORDS[0]}" if place % 4 == 3 else text for place, text in enumerate(past.text)]
    moved = Known(later.users, replace(past, text=turned))
    np.testing.assert_array_equal(ours.score_impressions(test, known=moved), ours.score_impressions(test, known=later))


def test_scores_do_not_depend_on_the_batch_and_a_saved_ranker_holds_no_text_of_a_user(folder, tmp_path):
    shown, known = planted(6, seed=0)
    of = ranker(folder, "reviews").prepare(shown.catalog)
    whole = of.score_impressions(shown, known=known)
    alone = [of.score_impressions(shown.take([row]), known=known)[0] for row in range(6)]
    assert whole == pytest.approx(np.array(alone), abs=1e-5)
    of.save_pretrained(tmp_path / "saved")
    again = Ranker.from_pretrained(tmp_path / "saved")
    assert again.reads_context
    np.testing.assert_array_equal(again.score_impressions(shown, known=known), whole)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "saved").rglob("*") if file.is_file())
    assert shown.users[0].encode() not in kept
    assert b"it is lovely" not in kept


def test_a_study_that_keeps_no_texts_of_users_is_not_begun():
    with pytest.raises(ConfigError, match="'reviews' reads texts of users, and a study keeps none"):
        PromptRanker.check_search(PromptRanker.config_from(settings={"template": "reviews"}))


def test_the_contract_holds_without_a_context(folder):
    shown, _ = planted(8, seed=0)
    check_ranker(lambda: ranker(folder, "reviews"), shown)


def test_a_training_does_not_go_on_over_other_reviews(folder, tmp_path):
    shown, known = planted(8, seed=0)
    of = ranker(folder, "reviews").prepare(shown.catalog)
    other = Known(known.users, replace(known.past, text=["it is awful"] * 32))
    assert of._dataset(shown, known).content_hash != of._dataset(shown, other).content_hash


def test_a_slot_that_is_empty_for_all_is_said(folder):
    shown, known = planted(8, seed=0)
    short = {"train.epochs": 1}
    for given, notes in ((known, 0), (Known(known.users), 1), (Known(), 2)):
        of = ranker(folder, "yes {profile} no {candidate} [MASK] who {reviews}")
        of = PromptRanker(of.config.updated(short)).fit(shown, known=given, progress=False)
        assert sum("is known, so none is read" in line for line in of.notes) == notes
