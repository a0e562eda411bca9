from __future__ import annotations

import logging

import pytest
from tiny_encoders import tiny_bert, tiny_tokenizer

from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.coverage import MULTILINGUAL, script_note
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
