"""Templates, answer words and token rows: what a filled prompt reads, and what is never cut from it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_tokenizer

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.rankers.prompts.layout import Layout, UserWords, join
from bertrec.rankers.prompts.template import Part, Prompt, library, load_prompts
from bertrec.rankers.prompts.verbalizer import Verbalizer

ANSWERS = {"negative": ["no"], "positive": ["yes"]}
TITLES = ["red car", "blue hat", "영화 하나", "a very long title about nothing at all that goes on", ""]
TOKENIZER = tiny_tokenizer([*TITLES, "user : item is to yes no good bad related unrelated ; nothing read before [MASK]"], max_length=64)
SOFT = {name: 1000 + number for number, name in enumerate(["NSEP", "P1", "P2", "Q1"])}
ORDERS = ("{history} [SEP] {candidate} : [MASK]", "{candidate} is [MASK] to {history}")


def rows(*lists):
    return Ragged.from_lengths(np.array([k for row in lists for k in row], np.int64), np.array([len(row) for row in lists], np.int64))


def prompt(text, **more):
    return Prompt.from_dict({"name": "p", "text": text, "answers": ANSWERS, **more})


def read(ids):
    names = {number: f"[{name}]" for name, number in SOFT.items()}
    return " ".join(names.get(int(k)) or TOKENIZER.convert_ids_to_tokens(int(k)) for k in ids)


def filled(template, history, item, max_length=40, **more):
    layout = Layout(prompt(template, **more), TOKENIZER, SOFT, TITLES, max_length)
    return read(layout.pairs(layout.slots(rows(history)), np.array([0]), np.array([item])).values)


def test_a_filled_template_reads_as_written_newest_title_first():
    text = "User: {history} [SEP] Item: {candidate} [MASK]"
    assert filled(text, [1, 2], 3) == "[CLS] user : [NSEP] blue hat [NSEP] red car [SEP] item : 영화 하나 [MASK] [SEP]"
    assert filled(text, [1, 2], 1, newest_first=False) == "[CLS] user : [NSEP] red car [NSEP] blue hat [SEP] item : red car [MASK] [SEP]"
    assert filled("{candidate} is [MASK] to {history}", [1], 2, separator=";") == "[CLS] blue hat is [MASK] to ; red car [SEP]"
    assert filled("[P1][P2]{history}[Q1]{candidate}[MASK]", [1], 2) == "[CLS] [P1] [P2] [NSEP] red car [Q1] blue hat [MASK] [SEP]"


def test_a_profile_stands_before_the_titles_and_takes_at_most_half_of_the_slot():
    layout = Layout(prompt("{history} {candidate} [MASK]", candidate_words=1), TOKENIZER, SOFT, ["red car", "blue hat"], 14)
    assert layout.history_budget == 10
    slots = layout.slots(rows([1], [1, 2, 1, 2], []), UserWords(["user is good", "no no no no no no", "yes"]))[0]
    assert [read(slot) for slot in slots] == ["user is good [NSEP] red car", "no no no no no [NSEP] blue hat [NSEP] red", ""]


def test_an_empty_history_reads_as_its_text_and_an_empty_title_as_nothing():
    assert filled("{history} [SEP] {candidate} [MASK]", [], 1) == "[CLS] [SEP] red car [MASK] [SEP]"
    assert (
        filled("{history} [SEP] {candidate} [MASK]", [], 1, empty_history="nothing read") == "[CLS] nothing read [SEP] red car [MASK] [SEP]"
    )
    assert filled("{history} {candidate} [MASK]", [5], 5) == "[CLS] [NSEP] [MASK] [SEP]"


def test_titles_are_cut_to_words_and_histories_to_titles():
    assert filled("{history} {candidate} [MASK]", [4, 4], 4, title_words=2, candidate_words=3, titles=1) == (
        "[CLS] [NSEP] a very a very long [MASK] [SEP]"
    )


def test_marks_inside_a_title_are_no_marks():
    layout = Layout(prompt("{history} {candidate} [MASK]"), TOKENIZER, SOFT, ["red [MASK] car [SEP]"], 40)
    tokens = layout.pairs(layout.slots(rows([1])), np.array([0]), np.array([1])).values
    assert read(tokens) == "[CLS] [NSEP] red [UNK] car [UNK] red [UNK] car [UNK] [MASK] [SEP]"
    assert filled("{history} {candidate} [MASK]", [], 1, empty_history="no [MASK]") == "[CLS] no [UNK] red car [MASK] [SEP]"


def test_half_of_a_surrogate_pair_in_a_title_is_an_unknown_character():
    layout = Layout(prompt("{history} {candidate} [MASK]"), TOKENIZER, SOFT, ["red \ud83d car"], 40)
    assert read(layout.pairs(layout.slots(rows([])), np.array([0]), np.array([1])).values) == "[CLS] red [UNK] car [MASK] [SEP]"


def test_a_user_vector_behind_the_history_would_stand_in_each_continuation():
    assert prompt("{user} {history} {item} {candidate} [MASK]").history_first
    assert not prompt("{history} {user} {candidate} [MASK]").history_first
    assert not prompt("{item} {history} {candidate} [MASK]").history_first


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), max_size=30), st.integers(1, 5), st.integers(14, 60), st.sampled_from(ORDERS))
def test_mask_and_candidate_survive_any_budget_and_the_newest_title_comes_first(history, item, max_length, template):
    layout = Layout(prompt(template), TOKENIZER, SOFT, TITLES, max_length)
    pairs = layout.pairs(layout.slots(rows(history)), np.array([0]), np.array([item]))
    assert len(pairs.values) <= max_length
    assert (pairs.values == TOKENIZER.mask_token_id).sum() == 1
    shown = read(pairs.values)
    words = TITLES[item - 1].split()
    assert not words or words[0] in shown
    if history and TITLES[history[-1] - 1]:
        newest = TITLES[history[-1] - 1].split()[0]
        assert f"[NSEP] {newest}" in shown or max_length < 30
    # the same history for every candidate, or its computed states could not be shared
    assert layout.slots(rows(history, history))[0][0].tolist() == layout.slots(rows(history))[0][0].tolist()


def test_a_template_that_leaves_no_room_is_refused():
    with pytest.raises(ConfigError, match="fill half or more of max_length 8"):
        Layout(prompt("user : item is to {history} {candidate} [MASK]"), TOKENIZER, SOFT, TITLES, 8)
    with pytest.raises(ConfigError, match="its own 3 tokens fill half"):  # exactly half would leave the candidate nothing
        Layout(prompt("{history} {candidate} [MASK]"), TOKENIZER, SOFT, TITLES, 6)


def test_rows_are_joined_row_by_row():
    assert [row.tolist() for row in join([rows([1], [], [2, 3]), rows([], [4], [5])])] == [[1], [4], [2, 3, 5]]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{candidate} {history}", r"needs \[MASK\] exactly once"),
        ("{candidate} [MASK] [MASK]", r"needs \[MASK\] exactly once"),
        ("[MASK] {history}", "needs {candidate} exactly once"),
        ("[MASK] {candidate} {history} {history}", "{history} stands more than once"),
        ("[MASK] {candidat}", "unknown slot 'candidat': did you mean 'candidate'"),
    ],
)
def test_templates_that_are_not_whole_are_refused(text, says):
    with pytest.raises(ConfigError, match=says):
        prompt(text)


@pytest.mark.parametrize("separator", ["[MASK]", "{candidate}"])
def test_a_separator_is_no_place_for_marks_and_slots(separator):
    with pytest.raises(ConfigError, match="a separator holds text, soft tokens"):
        prompt("{history} {candidate} [MASK]", separator=separator)


def test_answers_need_both_labels():
    with pytest.raises(ConfigError, match="at least one word for negative and one for positive"):
        Prompt.from_dict({"name": "p", "text": "{candidate}[MASK]", "answers": {"positive": ["yes"]}})


def test_every_prompt_of_the_library_has_a_source_and_prompt4nr_is_complete():
    prompts = {name: Prompt.load(name) for name in library()}
    assert all(p.source and p.name == name for name, p in prompts.items())
    theirs = {f"{view}-{kind}" for view in ("relevance", "emotion", "action", "utility") for kind in ("discrete", "continuous", "hybrid")}
    assert theirs <= prompts.keys()
    assert [name for name in sorted(theirs) if prompts[name].history_first] == sorted(
        [*(f"{view}-hybrid" for view in ("relevance", "emotion", "action", "utility")), "action-discrete", "action-continuous"]
    )
    assert prompts["action-hybrid"].soft_tokens == ["P1", "P2", "P3", "Q1", "Q2", "Q3", "NSEP"]
    assert prompts["relevance-discrete"].parts == (
        Part("slot", "candidate"),
        Part("text", " is "),
        Part("mask"),
        Part("text", " to "),
        Part("slot", "history"),
    )


def test_a_prompt_of_ones_own_is_a_file_and_bad_files_are_named(tmp_path):
    path = tmp_path / "영화.yaml"
    path.write_text("text: '{history} [SEP] {candidate} : [MASK]'\nanswers: {negative: ['no'], positive: ['yes']}\n", encoding="utf-8")
    assert Prompt.load(path).name == "영화"
    with pytest.raises(ConfigError, match="stands twice"):
        load_prompts([str(path), str(path)])
    for content, says in (("text: [", "not readable YAML"), ("3", "must hold name, text and answers"), ("text: a", "answers")):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=says):
            Prompt.load(path)
    with pytest.raises(ConfigError, match="no such file"):
        Prompt.load(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="did you mean 'action-hybrid'"):
        Prompt.load("action-hybrd")


@pytest.mark.parametrize("answers", ["{negative: [no], positive: ['yes']}", "{negative: 'no', positive: yes}"])
def test_answers_that_yaml_takes_for_true_and_false_are_told_to_stand_between_quotes(tmp_path, answers):
    path = tmp_path / "mine.yaml"
    path.write_text(f"text: '{{history}} {{candidate}} [MASK]'\nanswers: {answers}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: an answer is true or false: put words such as"):
        Prompt.load(path)


def test_label_logits_are_means_over_words_and_pieces():
    two = Prompt.from_dict(
        {"name": "p", "text": "{candidate}[MASK]", "answers": {"negative": ["bad", "no"], "positive": ["yes"]}, "several_pieces": "average"}
    )
    logits = torch.zeros(1, len(TOKENIZER))
    for word, value in (("bad", 1.0), ("no", 3.0), ("yes", 5.0)):
        logits[0, TOKENIZER.convert_tokens_to_ids(word)] = value
    assert Verbalizer.of(two, TOKENIZER)(logits).tolist() == [[2.0, 5.0]]
    pieces = Prompt.from_dict({**two.to_dict(), "answers": {"negative": ["no"], "positive": ["good yes"]}})
    assert Verbalizer.of(pieces, TOKENIZER)(logits).tolist() == [[3.0, 2.5]]


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"negative": ["no"], "positive": ["good yes"]}, r"has 2 word pieces \(good yes\)"),
        ({"negative": ["no"], "positive": ["relatd"]}, "does not know the answer 'relatd', such as .*related"),
        ({"negative": ["yes"], "positive": ["yes"]}, "the same words"),
    ],
)
def test_answers_that_cannot_be_asked_for_are_refused(answers, says):
    with pytest.raises(ConfigError, match=says):
        Verbalizer.of(Prompt.from_dict({"name": "p", "text": "{candidate}[MASK]", "answers": answers}), TOKENIZER)


def test_the_page_lists_every_prompt_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "prompts.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \| (\S+) / (\S+) \| (once|joint) \| (.+) \|$", page, flags=re.MULTILINE)
    assert sorted(name for name, *_ in table) == sorted(library())
    for name, text, negative, positive, reads, source in table:
        found = Prompt.load(name)
        assert (found.text, found.answers) == (text, {"negative": (negative,), "positive": (positive,)}), name
        assert (reads == "once") == found.history_first, name
        assert found.source == source, name
