from __future__ import annotations

import importlib.util
import json

import jsonschema
import pytest

from bertrec.cli.settings import config_of
from bertrec.core.errors import ConfigError
from bertrec.models.recbole import RecBole
from bertrec.models.registry import create

needs_recbole = pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="RecBole is not installed")


def table(text):
    """Return the first line of each row by its first cell."""
    lines = [line.strip("│") for line in text.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in line.split("│")] for line in lines]
    return {row[0]: row[1:] for row in cells if row[0]}


def test_every_setting_of_a_model_is_a_row(cli):
    code, out, err = cli("settings", "unisrec")
    rows = table(out)
    assert (code, err) == (0, "")
    assert list(rows) == list(create("unisrec").config.to_flat())
    assert rows["item.width"][:2] == ["256", "whole number >= 1, <= 16384"]
    assert rows["item.width"][2].startswith("Width of item and user vectors")
    assert rows["head.dropout"][:2] == ["0.3", "number >= 0, < 1"]
    assert rows["encoder.tune"][:2] == ["frozen", "frozen, last:K, lora, full"]
    assert rows["encoder.batch_tokens"][:2] == ["null", "whole number >= 1 or null"]


def test_a_word_keeps_the_settings_whose_name_contains_it(cli):
    assert list(table(cli("settings", "unisrec", "max_")[1])) == [
        "encoder.max_length",
        "head.max_history",
        "match.max_history",
        "train.max_seconds",
        "train.max_grad_norm",
    ]
    code, out, err = cli("settings", "unisrec", "head.layer_count")
    assert (code, out) == (2, "")
    assert "did you mean 'head.layers'" in err


def test_defaults_follow_item_input_and_tune(cli):
    assert table(cli("settings", "unisrec", "loss.kind", "--tune", "last:2")[1])["loss.kind"][0] == "in-batch"
    assert table(cli("settings", "unisrec", "train.batch", "--tune", "last:2")[1])["train.batch_size"][0] == "64"
    assert table(cli("settings", "unisrec", "id_dropout", "--item-input", "id")[1])["item.id_dropout"][0] == "0.0"
    assert table(cli("settings", "unisrec", "id_dropout")[1])["item.id_dropout"][0] == "0.2"
    assert table(cli("settings", "prompt4nr", "tune", "--tune", "last:1")[1])["encoder.tune"][0] == "last:1"


def test_the_schema_is_all_that_is_printed(cli):
    code, out, err = cli("settings", "morec", "--json-schema", "--tune", "full")
    schema = json.loads(out)
    assert (code, err) == (0, "")
    assert schema["properties"]["encoder"]["properties"]["tune"]["default"] == "full"
    jsonschema.Draft202012Validator(schema).validate(create("morec", tune="full").config.to_dict())
    assert "leave out 'head'" in cli("settings", "morec", "head", "--json-schema")[2]


def test_a_model_without_settings_says_so_in_one_line(cli):
    assert cli("settings", "popularity") == (0, "popularity has nothing to set\n", "")
    assert cli("settings", "popularity", "head")[1] == "popularity has nothing to set\n"
    assert json.loads(cli("settings", "popularity", "--json-schema")[1])["properties"] == {}


@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("prompt4nr", {"prompt.titles", "encoder.max_length", "attention"}),
        ("nrms", {"heads", "train.metric"}),
        ("composite", {"bits", "bm25_k1"}),
        ("index", {"kind", "nlist", "pq_bits"}),
        ("data", {"format", "k_core", "folder", "columns"}),
        ("protocol", {"ks", "mask_seen"}),
        ("rules", {"filter", "at_most", "diversity"}),
    ],
)
def test_rankers_and_parts_have_tables_too(name, some, cli):
    code, out, _ = cli("settings", name)
    assert code == 0
    assert some <= set(table(out))


@needs_recbole
def test_a_model_of_recboles_shows_our_training_and_its_own_settings(cli):
    rows = table(cli("settings", "recbole:SASRec")[1])
    assert list(rows)[:4] == ["train.seed", "train.epochs", "train.max_minutes", "train.metric"]
    assert rows["hidden_size"][0] == "64"  # SASRec.yaml of RecBole 1.2.1
    assert rows["train_batch_size"][0] == "256"  # the documented starting point, not RecBole's 2,048
    assert not {"architecture", "settings"} & set(rows)


@needs_recbole
def test_what_is_shown_of_a_model_of_recboles_can_be_set(cli):
    schema = json.loads(cli("settings", "recbole:GRU4Rec", "--json-schema")[1])
    theirs = {name: part["default"] for name, part in schema["properties"].items() if name != "train"}
    model = create("recbole:GRU4Rec", settings={**theirs, "train.epochs": 3})
    assert isinstance(model, RecBole)
    assert model.config.settings == theirs
    errors = jsonschema.Draft202012Validator(schema).iter_errors({"train": {"epochs": 0}, "layers": 2})
    assert len(list(errors)) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["unisrek"], "did you mean 'unisrec'"),
        (["indx"], "did you mean 'index'"),
        (["prompt4rn"], "did you mean 'prompt4nr'"),
        (["SASRec"], "RecBole's is recbole:SASRec"),
        (["unisrec", "--item-input", "words"], "unknown item input 'words'"),
        (["unisrec", "--tune", "last:0"], "encoder.tune"),
        (["idrec", "--tune", "full"], "leave out --tune"),
        (["index", "--tune", "full"], "index has no --tune"),
        (["nrms", "--item-input", "text"], "nrms has no --item-input"),
        (["protocol", "--item-input", "text"], "protocol has no --item-input"),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_exit_code_2(words, said, cli):
    code, out, err = cli("settings", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_the_seam_for_other_callers():
    assert config_of("unisrec", None, "last:2") == create("unisrec", tune="last:2").config
    with pytest.raises(ConfigError, match="did you mean 'nrms'"):
        config_of("nmrs")
