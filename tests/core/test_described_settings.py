"""Every setting has a description, and what is shown of it is what is checked."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import jsonschema
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bertrec
from bertrec.cli.settings import config_of
from bertrec.core.config import Config
from bertrec.core.errors import ConfigError
from bertrec.core.settings import Setting, json_schema, range_of, settings_of, written
from bertrec.models.registry import create

OURS = ("unisrec", "morec", "idrec", "alpharec", "text-similarity")
NAMES = (*OURS, "popularity", "prompt4nr", "nrms", "naml", "lstur", "miner", "multitask", "composite", "index", "data", "protocol")
# What bertrec made of its defaults before the descriptions moved into the fields; saved runs hold these.
UNISREC_HASH = "d85251e58fc3fb63fb4ab7e5fedccd722e09aef596693c6100b8aef7123673c5"
IDREC_HASH = "0071e2ad7268cc8854b412eaf5e3bc3b2ce2da50474460d7d0e3e4625fcf2f6d"
TUNED_HASH = "65d176f9db8caa5991c60d17a90721a17da35bec2ecbe0f05e356e54c3507db5"


def _all_below(kind):
    return {kind}.union(*(_all_below(below) for below in kind.__subclasses__()))


def _config_classes():
    for module in pkgutil.walk_packages(bertrec.__path__, "bertrec."):
        # RecBole's process imports RecBole itself, and __main__ is the program.
        if not module.name.startswith("bertrec.recbole.worker") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = [kind for kind in _all_below(Config) - {Config} if kind.__module__.startswith("bertrec.")]
    return sorted(ours, key=lambda kind: (kind.__module__, kind.__name__))


CLASSES = _config_classes()


def _undescribed(kind):
    """Return the fields without a sentence of their own: none, no sentence, or a field's name in other words."""
    names = {name.strip("_") for other in (*CLASSES, kind) for name in other.model_fields}
    poor = []
    for name, field in kind.model_fields.items():
        said = field.description or ""
        if not re.fullmatch(r"\S.*\.", said) or re.sub(r"\W+", "_", said.lower()).strip("_") in names:
            poor.append(name)
    return poor


def test_the_walk_finds_the_classes():
    found = {kind.__name__ for kind in CLASSES}
    assert {"TrainConfig", "HeadConfig", "ModelConfig", "IndexConfig", "Prompt", "LoadOptions", "TunePlan"} <= found
    assert len(found) >= 25


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_field_is_described_in_its_field(kind):
    assert _undescribed(kind) == []
    assert "Attributes:" not in (inspect.getdoc(kind) or "")


def test_the_check_of_descriptions_finds_what_it_should():
    class Poor(Config):
        none: int = 1
        empty: int = pydantic.Field(1, description="")
        name_only: int = pydantic.Field(1, description="Name only.")
        other: int = pydantic.Field(1, description="Learning rate.")  # the name of a field elsewhere
        fragment: int = pydantic.Field(1, description="items of a list")
        fine: int = pydantic.Field(1, description="Items of a list.")

    assert _undescribed(Poor) == ["none", "empty", "name_only", "other", "fragment"]


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, {}) for name in OURS), ("unisrec", {"tune": "last:2"}), ("morec", {"item_input": "id"})],
)
def test_names_and_defaults_are_those_of_the_model(name, options):
    rows = settings_of(config_of(name, **options))
    assert {row.name: row.default for row in rows} == create(name, **options).config.to_flat()


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_holds_for_the_defaults_and_carries_them(name):
    config = config_of(name)
    schema = json_schema(config)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(config.to_dict())
    assert "$ref" not in str(schema)
    assert {field: part["default"] for field, part in schema["properties"].items()} == config.to_dict()


def test_two_sections_of_one_class_keep_their_own_defaults():
    class Pair(Config):
        short: _Section = pydantic.Field(_Section(length=3), description="The short one.")
        long: _Section = pydantic.Field(_Section(length=9), description="The long one.")

    fields = json_schema(Pair(long=_Section(length=11)))["properties"]
    assert [fields[name]["properties"]["length"]["default"] for name in ("short", "long")] == [3, 11]
    assert [fields[name]["description"] for name in ("short", "long")] == ["The short one.", "The long one."]
    assert [(row.name, row.default) for row in settings_of(Pair())] == [("short.length", 3), ("long.length", 9)]


class _Section(Config):
    length: int = pydantic.Field(1, ge=1, le=12, multiple_of=1, description="How long it is.")


@pytest.mark.parametrize(
    ("name", "values", "at"),
    [
        ("unisrec", {"head": {"layers": 0}}, "head.layers"),
        ("unisrec", {"head": {"layer": 1}}, "head"),
        ("unisrec", {"encoder": {"tune": "last:0"}}, "encoder.tune"),
        ("unisrec", {"encoder": {"pooling": "mean-last:"}}, "encoder.pooling"),
        ("unisrec", {"loss": {"similarity": "hinge"}}, "loss.similarity"),
        ("prompt4nr", {"encoder": {"precision": "int8"}}, "encoder.precision"),
        ("prompt4nr", {"prompt": {"answers": {"negative": ["no"]}}}, "prompt.answers"),
        ("nrms", {"item_text": "body"}, "item_text"),
        ("composite", {"bits": 12}, "bits"),
        ("protocol", {"ks": []}, "ks"),
        ("data", {"columns": 7}, "columns"),
    ],
)
def test_schema_and_settings_refuse_the_same(name, values, at):
    config = config_of(name)
    errors = list(jsonschema.Draft202012Validator(json_schema(config)).iter_errors(values))
    assert [".".join(map(str, error.path)) for error in errors] == [at]
    (section, inner), *_ = values.items()
    whole = {**config.to_dict(), section: {**config.to_dict()[section], **inner} if isinstance(inner, dict) else inner}
    with pytest.raises(ConfigError):
        type(config).from_dict(whole)


def _rows():
    """Return every setting but those that are checked as a whole: what makes up a template, and a mapping."""
    rows = [(name, row) for name in NAMES for row in settings_of(config_of(name))]
    whole = {"columns", "prompt.text", "prompt.separator", "prompt.answers.negative", "prompt.answers.positive"}
    return [pytest.param(name, row, id=f"{name}-{row.name}") for name, row in rows if row.name not in whole]


def _values_of(shown, other):
    """Return a value at each end of a range that is shown, and values just outside."""
    shown = shown.removesuffix(" or null")
    step = 1 if shown.startswith("whole number") else 1e-6
    inside, outside = [], []
    for sign, text in re.findall(r"(>=|<=|>|<) ([0-9.]+)", shown):
        bound, away = float(text) if step < 1 else int(text), step if sign[0] == ">" else -step
        inside.append(bound if "=" in sign else bound + away)
        outside.append(bound - away if "=" in sign else bound)
    for text in re.findall(r"multiple of (\d+)", shown):
        inside, outside = [int(text) * 3], [*outside, int(text) * 3 + 1]
    if re.match(r"(whole )?number", shown):
        return inside, [*outside, "many", *([1.5] if step == 1 else [])]
    if shown == "true, false":
        return [True, False], ["many", 7]
    if shown.startswith("text"):
        return ["some words"], [{}] + ([""] if "not empty" in shown else [])
    if shown.startswith("list of "):
        return [["words"] if "text" in shown else [1]], [7, "words"] + ([[]] if "not empty" in shown else [])
    return [choice.replace("K", "3") for choice in shown.split(", ")], [other, "K", ""]


@pytest.mark.parametrize(("name", "row"), _rows())
def test_the_range_that_is_shown_is_the_one_that_is_checked(name, row):
    config = config_of(name)
    inside, outside = _values_of(row.range, "no-such-value")
    for value in inside:
        assert config.updated({row.name: value}).to_flat()[row.name] == value
    if row.range.endswith("or null"):
        assert config.updated({row.name: None}).to_flat()[row.name] is None
    assert outside
    for value in outside:
        with pytest.raises(ConfigError, match=re.escape(row.name)):
            config.updated({row.name: value})


def test_the_ranges_under_test_are_of_every_form():
    shown = {row.range for name in NAMES for row in settings_of(config_of(name))}
    assert {"whole number >= 1", "number >= 0, < 1", "number > 0", "true, false", "frozen, last:K, lora, full"} <= shown
    assert {"whole number >= 8, <= 65536, multiple of 8", "whole number >= 1 or null", "title, text", "auto, fp32, bf16"} <= shown
    assert not {text for text in shown if not text or "{" in text}


@given(low=st.integers(-50, 50), width=st.integers(0, 50), value=st.integers(-120, 120))
def test_bounds_of_any_field_are_read_off_it(low, width, value):
    size = pydantic.Field(low, ge=low, le=low + width, description="A size.")
    kind = pydantic.create_model("Any", __base__=Config, size=(int, size))
    (row,) = settings_of(kind())
    assert row == Setting("size", low, f"whole number >= {low}, <= {low + width}", "A size.")
    if low <= value <= low + width:
        assert kind().updated({"size": value}).size == value
    else:
        with pytest.raises(ConfigError, match="size"):
            kind().updated({"size": value})


@pytest.mark.parametrize(
    ("part", "shown"),
    [
        ({}, "any value"),
        ({"type": "string"}, "text"),
        ({"type": "string", "pattern": "^[a-z]+$"}, "text like ^[a-z]+$"),
        ({"type": "array", "items": {"type": "string"}}, "list of text"),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}]}, "[whole number, number]"),
        ({"type": "object", "additionalProperties": True}, "names and values"),
        ({"type": "integer", "exclusiveMinimum": 0, "maximum": 12}, "whole number > 0, <= 12"),
        ({"enum": ["a", 1, None]}, "a, 1, null"),
    ],
)
def test_a_range_in_words(part, shown):
    assert range_of(part) == shown


def test_values_are_written_as_set_reads_them():
    assert [written(value) for value in (None, True, 0.5, "", "a b", [1, "x"], {})] == [
        "null",
        "true",
        "0.5",
        '""',
        "a b",
        '[1, "x"]',
        "{}",
    ]


def test_the_entries_of_a_mapping_are_rows():
    rows = {row.name: row for row in settings_of(config_of("prompt4nr"))}
    assert rows["prompt.answers.positive"].default == ["yes"]
    assert rows["prompt.answers.positive"].range == "list of text, not empty"
    assert rows["prompt.answers.positive"].meaning == rows["prompt.answers.negative"].meaning != ""


@pytest.mark.parametrize(
    ("name", "options", "known"),
    [("unisrec", {}, UNISREC_HASH), ("idrec", {}, IDREC_HASH), ("unisrec", {"tune": "last:2"}, TUNED_HASH)],
)
def test_hashes_of_settings_are_what_they_were(name, options, known):
    assert create(name, **options).settings_hash() == known
