"""What ``bertrec tune index`` takes from a trained run, and that its settings build an index."""

from __future__ import annotations

import numpy as np
import pytest

from bertrec.cli.runs import split_data
from bertrec.cli.tune_index import _study_data
from bertrec.models.base import Recommender
from bertrec.retrieval.index import ItemIndex
from bertrec.runs.data import load_data
from bertrec.runs.folder import Run


def test_the_queries_of_a_run_are_its_validation_users(trained):
    name, vectors, what = _study_data(trained, None, 1000, 0)
    model, record = Recommender.from_pretrained(trained / "model"), Run(trained).record()
    validation = split_data(load_data(record), record).validation
    assert (name, what) == (trained.stem, "validation users")
    np.testing.assert_allclose(vectors.items, model.item_embeddings()[1:], rtol=1e-5)
    np.testing.assert_allclose(vectors.queries, model.user_embeddings(validation.histories), rtol=1e-5, atol=1e-6)
    assert len(_study_data(trained, None, 2, 0)[1].queries) == 2


def test_items_stand_for_queries_where_a_file_is_all_there_is(cli, trained, tmp_path):
    items, users = tmp_path / "items.parquet", tmp_path / "users.parquet"
    assert cli("embed", trained, "--out", items)[0] == 0
    assert cli("embed", trained, "--what", "users", "--out", users)[0] == 0
    _, vectors, what = _study_data(items, None, 1000, 0)
    assert what == "items"
    np.testing.assert_array_equal(vectors.items, vectors.queries)
    asked = _study_data(trained, users, 1000, 0)
    assert asked[2] == str(users)
    assert asked[1].queries.shape[1] == vectors.items.shape[1]


@pytest.mark.parametrize("source", ["run", "file"])
def test_an_index_is_built_with_the_settings_of_a_file(source, cli, trained, tmp_path):
    (tmp_path / "best.yaml").write_text("kind: ivf\nnlist: 3\nnprobe: 2\n")
    place = trained
    if source == "file":
        place = tmp_path / "items.parquet"
        assert cli("embed", trained, "--out", place)[0] == 0
    words = ("--config", tmp_path / "best.yaml", "--set", "nprobe=1", "--metric", "cosine")
    assert cli("index", "build", place, *words, "--out", tmp_path / "index")[0] == 0
    index = ItemIndex.load(tmp_path / "index")
    assert (index.kind, index.metric) == ("ivf", "cosine")
    assert {"nlist": 3, "nprobe": 1}.items() <= index.info()["settings"].items()
    assert index.model_hash == Recommender.from_pretrained(trained / "model").model_hash


def test_a_setting_that_is_none_is_said_before_the_run_is_read(cli, tmp_path):
    code, _, err = cli("index", "build", tmp_path / "none", "--set", "nlst=3", "--out", tmp_path / "index")
    assert code == 2
    assert "did you mean 'nlist'" in err
