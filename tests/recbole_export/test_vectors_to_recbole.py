"""Item vectors of a run as an additional feature of a RecBole data set, read back by RecBole itself."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import yaml

from bertrec.cli.main import main
from bertrec.core.errors import BertrecError, DataError
from bertrec.models.base import Recommender
from bertrec.recbole.export import file_name, write_item_embeddings

SMALL = ["--set", "item.width=16", "--set", "head.layers=1", "--set", "train.batch_size=16", "--set", "head.max_history=10"]

SCRIPT = """
import sys
words = sys.argv[1:]
from bertrec.recbole.worker import patches
patches.apply()
import numpy as np
from recbole.config import Config
from recbole.data import create_dataset, data_preparation

settings = dict(data_path="dataset", state="ERROR", show_progress=False)
config = Config(model="BPR", dataset=words[0], config_file_list=[words[1]], config_dict=settings)
dataset = create_dataset(config)
train_data, _, _ = data_preparation(config, dataset)
given = train_data._dataset
tokens = given.field2id_token["iid"]
assert tokens.tolist() == given.field2id_token["item_id"].tolist()
np.savez(words[2], tokens=np.array(tokens, dtype=str), weight=given.get_preload_weight("iid"), items=given.item_num)
"""


@pytest.fixture(scope="module")
def shop_run(tmp_path_factory):
    """A run on ten items of which the last was never bought: the ID model knows nothing of it."""
    data = tmp_path_factory.mktemp("data") / "my shop"
    data.mkdir()
    rows = [f"{user},{100 + (user + step) % 9},{step}" for user in range(1, 31) for step in range(5)]
    (data / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    items = [f"{100 + row},Kettle {row}" for row in range(10)]
    (data / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n", encoding="utf-8")
    run = tmp_path_factory.mktemp("runs") / "id"
    assert main(["train", str(data), "--model", "idrec", "--out", str(run), "--epochs", "2", "--seed", "1", *SMALL]) == 0
    return run


@pytest.fixture
def atomic(tmp_path):
    """RecBole's own folder of the same items in another order, one of which has no vector."""
    folder = tmp_path / "dataset" / "my_shop"
    folder.mkdir(parents=True)
    rows = [f"{user}\t{109 - (3 * user + step) % 10}\t{step}" for user in range(1, 31) for step in range(5)]
    (folder / "my_shop.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="recbole is not installed")
def test_recbole_loads_our_vectors_at_the_right_items(cli, shop_run, atomic, in_recbole, tmp_path):
    code, out, err = cli("embed", shop_run, "--what", "items", "--format", "recbole", "--out", atomic)
    assert code == 0
    assert "wrote 9 items x 16" in out
    assert "1 of 10 items: they are left out" in err
    in_recbole(tmp_path, SCRIPT, "my_shop", atomic / "my_shop.yaml", "read.npz")
    read = np.load(tmp_path / "read.npz")
    model = Recommender.from_pretrained(shop_run / "model")
    expected = {"[PAD]": np.zeros(16, np.float32), "109": np.zeros(16, np.float32)}
    expected |= dict(zip(map(str, range(100, 109)), model.item_embeddings()[1:], strict=False))
    assert sorted(read["tokens"]) == sorted(expected)
    assert int(read["items"]) == len(expected)
    np.testing.assert_array_equal(read["weight"].astype(np.float32), np.stack([expected[token] for token in read["tokens"]]))


def test_every_float32_is_read_back_exactly(tmp_path):
    bits = np.random.default_rng(0).integers(0, 2**32, (200, 8), dtype=np.uint32).view(np.float32)
    vectors = np.where(np.isfinite(bits) & (np.abs(bits) < 1e15), bits, np.float32(0.1))
    vectors[0, :3] = [np.float32(1e-45), np.finfo(np.float32).tiny, np.float32(16777215)]
    path, _ = write_item_embeddings(tmp_path / "new", "tiny", list(range(200)), vectors)
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    assert header == "iid:token\titem_emb:float_seq"
    assert [line.split("\t")[0] for line in lines] == [str(row) for row in range(200)]
    read = np.array([[float(word) for word in line.split("\t")[1].split(" ")] for line in lines])
    np.testing.assert_array_equal(read.astype(np.float32).view(np.uint32), vectors.view(np.uint32))


def test_the_settings_are_those_that_recbole_needs(tmp_path):
    target, settings = write_item_embeddings(tmp_path, "my data/2024", ["a", "b"], np.eye(2))
    assert (target.name, settings.name) == ("my_data_2024.itemEmb", "my_data_2024.yaml")
    assert yaml.safe_load(settings.read_text(encoding="utf-8")) == {
        "additional_feat_suffix": ["itemEmb"],
        "load_col": {"inter": ["user_id", "item_id", "timestamp"], "itemEmb": ["iid", "item_emb"]},
        "alias_of_item_id": ["iid"],
        "preload_weight": {"iid": "item_emb"},
    }
    write_item_embeddings(tmp_path, "my data/2024", ["a"], np.ones((1, 3)))  # ours may be replaced
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_data_2024.itemEmb", "my_data_2024.yaml"]
    assert len(target.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(("name", "safe"), [("ml-100k", "ml-100k"), ("../..", "items"), ("-x", "x"), ("책 방", "책_방"), ("", "items")])
def test_a_name_is_made_safe(name, safe):
    assert file_name(name) == safe


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", "Red Kettle"], "'Red Kettle' has white space"),
        (["a", "x\ty"], "white space"),
        (["a", "x\u2028y"], "white space"),
        (["a", ""], "''"),
        (["a", "NA"], "'NA'"),
        (["a", '"b'], "as something else"),
        ([1, "1"], "same id"),
        (["a"], "1 items but 2 vectors"),
    ],
)
def test_ids_that_recbole_could_not_read_are_named(tmp_path, ids, said):
    with pytest.raises(DataError, match=said):
        write_item_embeddings(tmp_path / "new", "tiny", ids, np.eye(2))
    assert not (tmp_path / "new").exists()


def test_vectors_that_are_no_numbers_are_refused(tmp_path):
    with pytest.raises(DataError, match="row 1"):
        write_item_embeddings(tmp_path / "new", "tiny", ["a", "b"], [[1.0], [np.nan]])
    assert not (tmp_path / "new").exists()


def test_settings_of_somebody_else_are_not_replaced(tmp_path):
    (tmp_path / "tiny.yaml").write_text("epochs: 5\n", encoding="utf-8")
    with pytest.raises(BertrecError, match=r"tiny\.yaml is there already"):
        write_item_embeddings(tmp_path, "tiny", ["a"], np.ones((1, 2)))
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    assert (tmp_path / "tiny.yaml").read_text(encoding="utf-8") == "epochs: 5\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "recbol"], "did you mean 'recbole'"),
        (["--format", "recbole", "--what", "users"], "--what items"),
    ],
)
def test_bad_options_are_one_line(cli, shop_run, tmp_path, words, said):
    code, out, err = cli("embed", shop_run, "--out", tmp_path / "new", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_file_is_no_folder(cli, shop_run, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    code, _, err = cli("embed", shop_run, "--out", tmp_path / "file", "--format", "recbole")
    assert code == 2
    assert "is a file" in err
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
