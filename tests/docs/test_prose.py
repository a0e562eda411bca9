"""What is looked at in the prose: width, sentences, words that nobody explained."""

from __future__ import annotations

import pytest

from checks import prose

LONG = "word " * 40


def test_a_paragraph_is_wrapped_and_nothing_else():
    table = f"| {LONG} |"
    code = f"```\n{LONG}\n```"
    text = f"# {LONG}\n\n{LONG.strip()}\n\n{table}\n\n{code}\n"
    made = prose.wrapped(text)
    head, first, second, *rest = [line for line in made.split("\n") if line]
    assert head == f"# {LONG}"
    assert first == " ".join(["word"] * 24)  # 119 letters
    assert second == " ".join(["word"] * 16)
    assert rest == [table, "```", LONG, "```"]


def test_an_item_is_wrapped_under_its_text():
    made = prose.wrapped(f"  - {LONG}\n    end\n- short")
    assert made.split("\n")[1] == "    " + " ".join(["word"] * 17 + ["end"])
    assert made.split("\n")[2] == "- short"


@pytest.mark.parametrize("mark", ["-", "+", "#", "1.", "| x", ">"])
def test_no_line_begins_with_what_would_be_a_mark(mark):
    made = prose.wrapped(f"{'a' * 60} {'b' * 59} {mark} {LONG}").split("\n")
    assert all(len(line) <= prose.WIDTH for line in made)
    assert made[1].startswith(f"{'b' * 59} {mark}")


def test_code_and_addresses_stay_whole():
    made = prose.wrapped(f"{'a' * 110} `one two three` {'b' * 200}").split("\n")
    assert made == ["a" * 110, "`one two three`", "b" * 200]
    assert prose.wide_lines("b" * 200) == []
    assert prose.wide_lines(LONG) == [LONG]


def test_sentences_are_told_apart_without_their_code():
    assert list(prose.sentences("One `a b c`. Two: three?\nFour\n\n| no. no. |")) == ["One .", "Two:", "three?", "Four"]


def test_a_word_that_the_glossary_lacks():
    glossary = "**NDCG@10** · a figure. **UniSRec**, **HR@10** · others."
    text = "NDCG@5 and UniSRec, HR@20; a CSV, `WXYZ`, [x](UVW.md) but MoRec and QRS.\n\n| TUV |"
    assert prose.undefined(text, glossary) == ["MoRec", "QRS", "TUV"]


def test_words_of_the_field_in_small_letters_have_to_be_in_the_glossary_too():
    glossary = "**Epoch** · one pass. **User head**, **token**."
    text = "Epochs, tokens and heads; a softmax, its logits, `loss`, a cosine's fine-tuning, header, loss-free.\n\n| batches |"
    assert prose.undefined(text, glossary) == ["batch", "cosine", "fine-tuning", "logit", "softmax"]


def test_tables_and_code_are_wide_but_not_what_programs_print_nor_addresses():
    row, code = f"| {LONG}|", f"x = 1  # {LONG}"
    linked = f"| [short]({'a' * 200}.md) |"
    text = f"{row}\n{linked}\n\n```python\n{code}\n```\n\n```\n{LONG}\n```\n{LONG}\n"
    assert prose.wide_rows(text) == [row, code]


def test_code_is_broken_at_blanks_and_its_comments_go_on_below():
    arguments = ", ".join(f"argument_{number}=None" for number in range(12))
    code = f"```python\n    name: int   # {LONG}\nf({arguments})  # said\n    # {LONG}\nshort = 1\n```\n\n```\n{LONG}\n```"
    made = prose.broken_code(code)
    assert prose.wide_rows(made) == []
    assert [word for word in made.split() if word != "#"] == [word for word in code.split() if word != "#"]
    beside, below = made.split("\n")[1:3]
    assert beside.index("#") == below.index("#") == 16
    assert f"```\n{LONG}\n```" in made


def test_the_pages_are_in_order():
    assert list(prose.faults()) == []
