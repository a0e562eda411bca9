"""An index of the item vectors of RecBole's own checkpoints, against brute force over weights that RecBole saved by itself."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from bertrec.core.errors import MissingExtraError, ModelError
from bertrec.recbole import export
from bertrec.recbole.worker.checkpoint import item_vectors, read
from bertrec.retrieval.index import ItemIndex

recbole = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="recbole is not installed"),
]

# The split is random (RecBole's default), so that LightGCN's graph comes back only where the export draws it with the same seeds.
SCRIPT = """
from bertrec.recbole.worker import patches
patches.apply()
import numpy as np
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

for name in ("BPR", "LightGCN", "NeuMF"):
    settings = dict(data_path="data", epochs=1, embedding_size=8, checkpoint_dir="saved", state="ERROR", show_progress=False)
    config = Config(model=name, dataset="tiny", config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train_data, _, _ = data_preparation(config, dataset)
    init_seed(config["seed"], config["reproducibility"])
    model = get_model(name)(config, train_data._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], name)(config, model)
    trainer.saved_model_file = f"saved/{name}.pth"
    trainer.fit(train_data, verbose=False, saved=True)
    tokens = np.array(dataset.field2id_token["item_id"][1:], dtype=str)
    vectors = {"BPR": lambda: model.item_embedding.weight, "LightGCN": lambda: model.eval().forward()[1], "NeuMF": None}[name]
    if vectors is not None:
        np.savez(f"{name}.npz", tokens=tokens, vectors=vectors().detach().numpy()[1:])
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, in_recbole):
    folder = tmp_path_factory.mktemp("recbole")
    generator = np.random.default_rng(3)
    data = folder / "data" / "tiny"
    data.mkdir(parents=True)
    bought = [(user, item) for user in range(30) for item in generator.permutation(25)[:8]]
    rows = [f"u{user}\titem-{item}" for user, item in bought]
    (data / "tiny.inter").write_text("\n".join(["user_id:token\titem_id:token", *rows]) + "\n", encoding="utf-8")
    in_recbole(folder, SCRIPT)
    return folder


def nearest(saved, row, k):
    scores = saved["vectors"] @ saved["vectors"][row]
    return [saved["tokens"][place] for place in np.argsort(-scores, kind="stable")[:k]]


@pytest.mark.parametrize("model", [pytest.param(name, marks=recbole) for name in ("BPR", "LightGCN")])
def test_the_index_finds_the_nearest_items_of_recboles_weights(cli, trained, tmp_path, monkeypatch, model):
    monkeypatch.chdir(trained)  # the checkpoint's data path is relative
    code, out, err = cli("index", "build", f"saved/{model}.pth", "--trust-pickle", "--out", tmp_path / "items.index", "--kind", "flat")
    assert code == 0, err
    assert "recbole:" in out
    saved, index = np.load(f"{model}.npz"), ItemIndex.load(tmp_path / "items.index")
    assert sorted(index.ids) == sorted(saved["tokens"])
    found = index.search(saved["vectors"], 10)
    for row in range(len(index)):
        assert found.ids[row] == nearest(saved, row, 10)
    assert sorted(path.name for path in (trained / "saved").iterdir()) == ["BPR.pth", "LightGCN.pth", "NeuMF.pth"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("NeuMF.pth", "NeuMF has no item vectors", marks=recbole),
        pytest.param("BPR.pth", "its dataset is no longer where the checkpoint says: data/tiny/tiny.inter", marks=recbole),
        pytest.param("other.pth", "is not a RecBole checkpoint", marks=recbole),
        pytest.param("nowhere.pth", "nowhere.pth: no such file"),
    ],
)
def test_what_cannot_be_indexed_is_said_in_one_line(cli, request, tmp_path, monkeypatch, name, said):
    trained = request.getfixturevalue("trained") if name in ("NeuMF.pth", "BPR.pth") else None
    (tmp_path / "other.pth").write_text("a poem\n", encoding="utf-8")
    if trained:
        shutil.copy(trained / "saved" / name, tmp_path)
    monkeypatch.chdir(trained if name == "NeuMF.pth" else tmp_path)
    code, out, err = cli("index", "build", tmp_path / name, "--trust-pickle", "--out", tmp_path / "new")
    assert (code, out) == (2, "")
    assert said in err
    assert err.startswith("bertrec: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_a_missing_recbole_is_said(cli, tmp_path, monkeypatch):
    def missing():
        raise MissingExtraError("recbole", "recbole")

    monkeypatch.setattr(export, "recbole_folder", missing)
    (tmp_path / "some.pth").write_bytes(b"")
    code, _, err = cli("index", "build", tmp_path / "some.pth", "--trust-pickle", "--out", tmp_path / "new")
    assert code == 2
    assert "bertrec[recbole]" in err
    assert err.count("\n") == 1


class Trap:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_no_code_of_a_checkpoint_is_run_unless_it_is_trusted(cli, tmp_path):
    torch.save({"config": Trap(tmp_path / "ran"), "state_dict": {}}, tmp_path / "trap.pth")
    code, out, err = cli("index", "build", tmp_path / "trap.pth", "--out", tmp_path / "new")
    assert (code, out) == (2, "")
    assert "--trust-pickle" in err
    assert err.count("\n") == 1
    with pytest.raises(ModelError, match="is a pickle"):
        export.recbole_item_vectors(tmp_path / "trap.pth")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["trap.pth"]
    torch.load(tmp_path / "trap.pth", weights_only=False)  # the trap is one
    assert (tmp_path / "ran").exists()


def test_weights_alone_are_no_checkpoint(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match="settings and weights are not in it"):
        read(tmp_path / "weights.pth")


class Table(torch.nn.Module):
    """A sequential model with a further row for its mask."""

    def __init__(self):
        super().__init__()
        self.item_embedding = torch.nn.Embedding(6, 2)

    def forward(self, item_seq):
        raise AssertionError


class Graph(Table):
    def forward(self):
        return torch.zeros(3, 2), torch.arange(10.0).reshape(5, 2), []


class Keeping(Table):
    """Keeps what it ranks with; its entities come after the items."""

    USER_ID = "user_id"

    def __init__(self, kept=None):
        super().__init__()
        self.restore_entity_e = kept

    def full_sort_predict(self, interaction):
        self.restore_entity_e = torch.ones(9, 2) * interaction[self.USER_ID]


def test_where_item_vectors_are_looked_for():
    table = Table()
    assert item_vectors(table, 5).tolist() == table.item_embedding.weight[:5].tolist()
    assert item_vectors(Graph(), 5).tolist() == torch.arange(10.0).reshape(5, 2).tolist()
    assert item_vectors(Keeping(), 5).tolist() == [[1.0, 1.0]] * 5
    assert item_vectors(Keeping(torch.zeros(9, 2)), 5).tolist() == [[0.0, 0.0]] * 5
    assert item_vectors(Table(), 7) is None
    assert item_vectors(torch.nn.Linear(2, 2), 5) is None
