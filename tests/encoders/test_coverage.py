from __future__ import annotations

import logging

import pytest
from tiny_encoders import tiny_bert, tiny_tokenizer

from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.coverage import MULTILINGUAL, length_note, script_note
from bertrec.encoders.minilm import packaged_folder
from bertrec.models.registry import create

KOREAN = ["기생충", "올드보이", "부산행 좀비 영화", "살인의 추억", "설국열차"]
ENGLISH = ["toy story", "the matrix", "café society", "unheard of"]


@pytest.mark.parametrize(
    ("texts", "noted"),
    [
        (KOREAN, "Hangul"),
        (["Броненосец Потёмкин", "Солярис"], "Cyrillic"),
        (["七人の侍", "千と千尋の神隠し"], "Hiragana|Cjk"),
        (ENGLISH, None),
        (["Amélie à Montmartre", "Übermäßig"], None),
        ([*ENGLISH, *KOREAN[:1]], None),
        (["", "12", "🚀"], None),
        ([], None),
    ],
)
def test_minilm_reads_latin_letters_alone(texts, noted):
    from transformers import AutoTokenizer

    note = script_note(AutoTokenizer.from_pretrained(packaged_folder()), texts, "minilm")
    if noted is None:
        assert note is None
    else:
        assert any(name in note for name in noted.split("|"))
        assert MULTILINGUAL in note
        assert "minilm" in note


def test_a_vocabulary_with_the_words_has_no_note():
    assert script_note(tiny_tokenizer(KOREAN), KOREAN, "tiny") is None
    assert "100 %" in script_note(tiny_tokenizer(ENGLISH), KOREAN, "tiny")


def test_a_vocabulary_of_characters_of_a_script_reads_it():
    characters = [chr(0x4E00 + number) for number in range(1200)]
    assert script_note(tiny_tokenizer(characters), ["丏", "丐", "丑"], "tiny") is None


def test_bytes_are_no_words():
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(alphabet, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert "100 %" in script_note(PreTrainedTokenizerFast(tokenizer_object=tokenizer), KOREAN, "bytes")


@pytest.mark.parametrize(("titles", "notes"), [(KOREAN, 1), (ENGLISH, 0)])
def test_a_catalogue_is_remarked_once(titles, notes, tmp_path, caplog):
    name = tiny_bert(tmp_path, ENGLISH)
    catalog = ItemCatalog([str(row) for row in range(len(titles))], {"title": titles})
    model = create("text-similarity")
    model = type(model)(model.config.updated({"encoder.name": name}))
    with caplog.at_level(logging.WARNING, "bertrec"):
        model.over(catalog, progress=False)
    assert sum(MULTILINGUAL in record.getMessage() for record in caplog.records) == notes


def of_words(*lengths):
    return [" ".join(["word"] * length) for length in lengths]


@pytest.mark.parametrize(
    ("lengths", "options", "said"),
    [
        (
            [3] * 8 + [48, 48],
            {},
            "20 % of these texts are cut at 20 tokens, 43 % of all tokens lie beyond: encoder.max_length=64 ",
        ),
        ([3] * 8 + [48, 48], {"special": False}, "47 % of all tokens lie beyond: encoder.max_length=64"),  # 2 x 28 of 120
        ([3] * 8 + [48, 48], {"most": 40}, "encoder.max_length=40 reads more, which takes longer and is not always better"),
        ([3] * 8 + [48, 48], {"most": 20}, "and tiny reads no more: let what matters stand first"),
        ([3] * 9 + [48], {}, None),  # a tenth
        ([18] * 10, {}, None),  # with the two special ones just what is read
        ([19] * 10, {}, "100 % of these texts are cut at 20 tokens, 5 % of all tokens lie beyond: encoder.max_length=32"),
        ([0] * 9 + [48, 3], {}, "50 % of these texts"),  # empty texts do not count
        ([0, 0], {}, None),
        ([], {}, None),
    ],
)
def test_cut_texts_are_counted_with_a_length_that_reads_them(lengths, options, said):
    """Each word is a token, and two special ones stand around a text: 2 x 30 of 140 tokens lie beyond 20."""
    found = length_note(tiny_tokenizer(["word"]), of_words(*lengths), "tiny", read=20, **options)
    assert found is None if said is None else said in found


@pytest.mark.parametrize(("read", "noted"), [(6, True), (16, False)])
def test_training_says_that_texts_are_cut_and_nothing_where_they_are_not(caplog, tmp_path, read, noted):
    folder = tiny_bert(tmp_path / "encoder", ["word"])
    catalog = ItemCatalog(["a", "b"], {"title": of_words(9, 9)})
    model = create("text-similarity", settings={"encoder.name": str(folder), "encoder.max_length": read})
    with caplog.at_level(logging.WARNING, "bertrec"):
        model.over(catalog, progress=False)
    assert [("encoder.max_length=32 reads more" in record.getMessage()) for record in caplog.records] == [True] * noted
