"""Settings and records of anyone's making: bombs, depth, doubled names; refused in one line, quickly and in little memory."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import resource
import subprocess
import sys

import pytest
import yaml

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.files import read_json, read_yaml
from bertrec.core.parsing import DEPTH, parse_json, parse_yaml
from bertrec.data.readers.unpack import ALWAYS, unpacked
from bertrec.encoders.limits import check_layer, check_sizes
from bertrec.models.sequential.config import ModelConfig
from bertrec.tuning.space import Space

LEVELS = "abcdefghij"
LISTS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{former}'] * 10)}]\n" for former, name in itertools.pairwise(LEVELS)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{','.join([f'*{former}'] * 10)}], {name}: 1}}\n" for former, name in itertools.pairwise(LEVELS)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LISTS, "once its aliases"),
        (MERGES, "once its aliases"),
        ("a: &a [*a]", "alias within itself"),
        ("[" * 500_000 + "]" * 500_000, "deep"),
        ("- " * 500_000, "deep"),
        ("x: " + "[" * 200 + "]" * 200, "deep"),
        ("a: 1\nb: {c: 1, c: 2}", "line 2: 'c' stands there twice"),
        ("a: " + "9" * 5000, "digits"),
        ("a: 2001-99-99", "month"),
        ("a: !!python/object:os.system {}", "could not determine a constructor"),
        ("? [a]\n: 1", "unhashable"),
        ("a: [", "expected"),
        ("x" * (2 << 20), "longer than 1 MiB"),
    ],
)
def test_yaml_that_is_refused(text, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        parse_yaml(text)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        read_yaml(tmp_path / "a.yaml", holds="settings")
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    "text", ["a: &x {b: 1}\nc: *x", "a: 1e-3", "- 1\n- [2, null]", "", "base: &b {x: 1}\nc: {<<: *b, y: 2}", "a: .inf"]
)
def test_yaml_that_is_read_as_pyyaml_does(text):
    assert parse_yaml(text) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 100_000, "deep"),
        ('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "deep"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ('{"a": NaN}', "NaN is no number"),
        ("[-Infinity]", "-Infinity is no number"),
        ("9" * 5000, "digits"),
        ("{", "property name"),
        ("", "Expecting value"),
    ],
)
def test_json_that_is_refused(text, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        parse_json(text)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=r"a\.json is damaged"):
        read_json(tmp_path / "a.json")


def test_json_of_the_greatest_depth_is_read():
    text = "[" * DEPTH + "]" * DEPTH
    assert parse_json(text) == json.loads(text)


def test_a_folder_in_place_of_a_record(tmp_path):
    with pytest.raises(ModelError, match="cannot be read"):
        read_json(tmp_path)


def test_a_gzip_bomb_and_a_table_that_packs_well(tmp_path):
    with gzip.open(tmp_path / "bomb.csv.gz", "wb") as stream:
        for _ in range(4):
            stream.write(b"\0" * ALWAYS)
    with pytest.raises(DataError, match="200 times as large"):
        unpacked(tmp_path / "bomb.csv.gz")
    rows = b"".join(b"user%d,item%d,%d\n" % (row % 977, row * 7919 % 10007, row) for row in range(100_000))
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(rows))
    assert unpacked(tmp_path / "table.csv.gz") == rows


@pytest.mark.parametrize(
    "settings",
    [
        {"head.layers": 1_000_000},
        {"item.width": 10**11},
        {"head.max_history": 10**11},
        {"item.width": 16_384, "head.layers": 200},
        {"item.adaptor": "mlp", "item.width": 16_384, "item.hidden": 65_536, "head.layers": 2},
        {"head.inner": 262_144, "item.width": 16_384},
        {"encoder.max_length": 10**12},
        {"train.learning_rate": float("inf")},
        {"loss.temperature": float("nan")},
        {"train.seed": 10**400},
    ],
)
def test_settings_beyond_any_machine(settings):
    with pytest.raises(ConfigError) as error:
        ModelConfig().updated(settings)
    assert len(str(error.value)) < 400


def test_a_grid_beyond_any_search():
    for values in ({"a": {"int": [0, 10**12]}}, {name: {"int": [0, 10**5]} for name in "abc"}):
        with pytest.raises(ConfigError, match="is more than"):
            Space.from_dict(values).grid_size()
    assert Space.from_dict({"a": {"int": [1, 3]}, "b": {"choice": [1, "x"]}}).grid_size() == 6


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "max_position_embeddings"])
@pytest.mark.parametrize("value", [10**11, -1, "x", 1.5, True, [1]])
def test_an_encoder_that_its_weights_cannot_be(tmp_path, name, value):
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 64}
    (tmp_path / "model.safetensors").write_bytes(b"0" * 100_000)
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    check_sizes(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**sizes, name: value}))
    with pytest.raises(ModelError, match=r"config\.json"):
        check_sizes(tmp_path)


def test_a_layer_that_its_weights_cannot_be(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"0" * 1000)
    for sizes, fits in [({"in_features": 4, "out_features": 8}, True), ({"in_features": 10**11, "out_features": 8}, False)]:
        (tmp_path / "config.json").write_text(json.dumps(sizes))
        if fits:
            assert check_layer(tmp_path) == sizes
        else:
            with pytest.raises(ModelError, match="other sizes"):
                check_layer(tmp_path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"d.yaml": LISTS}, ["data", "describe", "d.yaml"]),
        ({"d.yaml": MERGES}, ["data", "describe", "d.yaml"]),
        ({"s.yaml": LISTS}, ["train", "shop", "--model", "idrec", "--out", "o", "--config", "s.yaml"]),
        ({}, ["train", "shop", "--model", "idrec", "--out", "o", "--set", "head.layers=1000000"]),
        ({}, ["train", "shop", "--model", "idrec", "--out", "o", "--set", "head.layers=" + "[" * 10_000]),
        ({"r/run.json": '{"a":' * 100_000}, ["evaluate", "r"]),
    ],
    ids=["aliases", "merges", "aliases in settings", "layers", "brackets", "deep record"],
)
def test_it_is_quick_and_small(tmp_path, files, words):
    """In a process of its own with 3 GiB of memory that it may write, and 60 seconds of a processor."""
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "".join(f"{u},{i},{i}\n" for u in range(9) for i in range(5)))
    (shop / "items.csv").write_text("item_id,title\n" + "".join(f"{i},thing {i}\n" for i in range(5)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    def limit():
        resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (60, 60))

    done = subprocess.run(
        [sys.executable, "-m", "bertrec", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=limit,  # no threads here
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
