from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.cli.options import choice, listed_ids, read_settings
from bertrec.core.errors import ConfigError, DataError
from bertrec.core.known_ids import known_id
from bertrec.models.sequential.config import ModelConfig


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("head.layers=2", 2),
        ("train.learning_rate=1e-3", 0.001),
        ("train.learning_rate=1.5E-4", 0.00015),
        ("train.learning_rate=0.01", 0.01),
        ("head.repeat_bias=false", False),
        ("encoder.name=prajjwal1/bert-tiny", "prajjwal1/bert-tiny"),
        ("encoder.lora_rank=null", None),
        ("ks=[1, 10]", [1, 10]),
        ("item.note=a=b", "a=b"),
        ("encoder.name=e5-small", "e5-small"),
    ],
)
def test_a_value_is_read_as_a_yaml_scalar(text, value):
    read = read_settings(None, [text])
    assert read == {text.split("=")[0]: value}
    assert type(next(iter(read.values()))) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives(value):
    assert read_settings(None, [f"x={value!r}"]) == {"x": value}


@pytest.mark.parametrize("text", ["head.layers", "=3", "head={layers: 2}", "head.layers=[1"])
def test_what_is_no_assignment_is_named(text):
    with pytest.raises(ConfigError, match="--set"):
        read_settings(None, [text])


def test_nested_and_dotted_files_say_the_same_and_set_wins(tmp_path):
    nested, dotted = tmp_path / "n.yaml", tmp_path / "d.yaml"
    nested.write_text("head:\n  layers: 2\n  dropout: 5e-1\ntrain:\n  epochs: 3\n")
    dotted.write_text("head.layers: 2\nhead.dropout: 0.5\ntrain.epochs: 3\n")
    expected = {"head.layers": 2, "head.dropout": 0.5, "train.epochs": 3}
    assert read_settings(nested, []) == read_settings(dotted, []) == expected
    assert read_settings(nested, ["train.epochs=9", "train.epochs=10"]) == expected | {"train.epochs": 10}


@pytest.mark.parametrize("content", [b"", b"- 1\n- 2\n", b"head: [1\n", b"\xff\xfe\x00"])
def test_a_config_that_holds_no_settings_is_named(tmp_path, content):
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        read_settings(path, [])


def test_an_absent_config_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        read_settings(tmp_path / "gone.yaml", [])


def test_a_choice_names_the_nearest():
    assert choice("split", "time", ("auto", "time")) == "time"
    with pytest.raises(ConfigError, match="did you mean 'time'"):
        choice("split", "tine", ("auto", "time"))


def test_an_id_is_found_in_the_type_that_the_data_have():
    assert known_id("7", {7, 8}) == 7
    assert known_id("7", {"7", "8"}) == "7"
    assert known_id("7", {7, "7"}) == "7"
    assert known_id("-3", {-3}) == -3
    with pytest.raises(DataError, match=r"unknown id 'user_12'.*user_1"):
        known_id("user_12", {"user_1", "someone"})
    with pytest.raises(DataError, match="unknown id '²'"):
        known_id("²", {2})


def test_ids_of_a_file(tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes("\ufeffa\n\n 사용자 \n7\n".encode())
    assert listed_ids(path, {"a", "사용자", 7}) == ["a", "사용자", 7]
    with pytest.raises(DataError, match=r"ids.txt: line 4: unknown id '7'"):
        listed_ids(path, {"a", "사용자"})
    path.write_text(" \n\n")
    with pytest.raises(DataError, match="is empty"):
        listed_ids(path, {"a"})
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match=r"not UTF-8 \(byte 2\)"):
        listed_ids(path, {"a"})
    with pytest.raises(DataError, match="no such file"):
        listed_ids(tmp_path / "gone", {"a"})


@pytest.mark.parametrize(("name", "word"), [("match.new_items", "off"), ("train.gradient_cache", "off"), ("train.gradient_cache", "on")])
def test_on_and_off_are_words_where_they_are_choices(name, word, tmp_path):
    """YAML reads them as true and false."""
    (tmp_path / "c.yaml").write_text(f"{name}: {word}\n")
    for read in (read_settings(None, [f"{name}={word}"]), read_settings(tmp_path / "c.yaml", [])):
        assert ModelConfig().updated(read).to_flat()[name] == word
    with pytest.raises(ConfigError, match="'auto', 'on' or 'off'"):
        ModelConfig().updated({"train.gradient_cache": 1})
