"""A RecBole model as a retriever: what it says in our process is what RecBole measured in its own, saved or not."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from records import change

from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import leave_one_out
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.recbole import RecBole, RecBoleConfig
from bertrec.models.registry import create
from bertrec.recbole.asking import AnsweringProcess
from bertrec.rerank.two_stage import retrieve_scored

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
    ),
]
ITEMS, NEW = 30, 31
SMALL = {"hidden_size": 16, "embedding_size": 16, "train_batch_size": 32, "learning_rate": 0.01, "train.epochs": 16}


def walks():
    """Users walk up a ring of 30 items one by one; item 31 is in the catalogue and in nobody's history."""
    generator = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"i{k}" for k in range(1, NEW + 1)]), {"title": [f"thing {k}" for k in range(1, NEW + 1)]}, None)
    rows = [1 + (generator.integers(ITEMS) + np.arange(generator.integers(6, 12))) % ITEMS for _ in range(60)]
    return leave_one_out(Interactions(catalog, IdMap([f"u{k}" for k in range(60)]), Ragged.from_rows(rows)))


@pytest.fixture(scope="module")
def split():
    return walks()


@pytest.fixture(scope="module")
def fitted(split):
    model = create("recbole:GRU4Rec", settings=SMALL)
    return model.fit(split.train, validation=split.validation, progress=False)


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    place = tmp_path_factory.mktemp("recbole") / "model"
    fitted.save_pretrained(place)
    return place


def test_our_figure_is_the_one_of_recboles_own_scores(fitted, split):
    report = evaluate(fitted, split.validation, item_counts=split.train.item_counts)
    assert report.mean("NDCG@10") == pytest.approx(fitted.outcome.best_metric, abs=1e-9)
    assert fitted.outcome.best_metric > 0.8  # the next item of the ring


def test_it_recommends_the_next_item_and_never_one_it_does_not_know(fitted):
    found = fitted.recommend([["i4", "i5", "i6"]], k=NEW, exclude_seen=False)
    assert found.items[0][0] == "i7"
    assert sorted(found.items[0]) == sorted(f"i{k}" for k in range(1, ITEMS + 1))
    assert np.isnan(fitted.item_embeddings()[NEW]).all()
    assert np.isnan(fitted.score([["i4"]], [[f"i{NEW}"]])[0]).all()


def test_an_empty_history_scores_all_items_alike_and_an_unknown_item_is_not_read(fitted):
    assert not fitted.user_embeddings([[]]).any()
    assert not fitted.user_embeddings([[f"i{NEW}"]]).any()
    np.testing.assert_array_equal(fitted.user_embeddings([["i4", f"i{NEW}", "i5"]]), fitted.user_embeddings([["i4", "i5"]]))


def test_a_saved_one_says_the_same(fitted, folder, split):
    loaded = Recommender.from_pretrained(folder)
    assert isinstance(loaded, RecBole)
    assert loaded.model_hash == fitted.model_hash
    np.testing.assert_array_equal(loaded.item_embeddings(), fitted.item_embeddings())
    np.testing.assert_allclose(loaded.user_embeddings(split.test.histories), fitted.user_embeddings(split.test.histories), atol=1e-6)
    with pytest.raises(ModelError, match="cannot move to other items"):
        loaded.with_catalog(split.catalog)


def test_what_it_retrieves_is_ready_for_a_reranker(fitted, split):
    found = retrieve_scored(fitted, split.test.histories, 5)
    assert (found.items.lengths == 5).all()
    scores = np.concatenate(fitted.score(split.test.histories, found.items))
    np.testing.assert_allclose(scores, found.scores, rtol=1e-5, atol=1e-6)


def test_threads_ask_side_by_side(fitted):
    histories = [[f"i{k}" for k in range(start, start + 3)] for start in range(1, 25)]
    alone = [fitted.user_embeddings([history]) for history in histories]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda history: fitted.user_embeddings([history]), histories))
    np.testing.assert_array_equal(np.concatenate(together), np.concatenate(alone))


def test_a_process_that_is_gone_or_was_interrupted_is_started_anew(fitted, monkeypatch, tmp_path):
    """An answer that was not waited for would else be taken for that of the next question. Python files of the folder are never run."""
    right = fitted.user_embeddings([["i4"]]), fitted.user_embeddings([["i9"]])
    first = fitted._process._running[0].process
    first.kill()
    first.wait()
    (tmp_path / "numpy.py").write_text("raise SystemExit('run from the folder')")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(fitted.user_embeddings([["i4"]]), right[0])
    second = fitted._process._running[0].process
    assert second.pid != first.pid
    with monkeypatch.context() as patched:
        patched.setattr(AnsweringProcess, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fitted.user_embeddings([["i4"]])
    assert second.poll() is not None
    np.testing.assert_array_equal(fitted.user_embeddings([["i9"]]), right[1])
    np.testing.assert_array_equal(copy.deepcopy(fitted).user_embeddings([["i4"]]), right[0])


def interrupted(self, running, histories):
    raise KeyboardInterrupt


def test_no_epoch_in_time_is_an_error(split):
    with pytest.raises(ModelError, match=r"ended no epoch within train\.max_minutes"):
        create("recbole:GRU4Rec", settings={**SMALL, "train.max_minutes": 1e-9}).fit(
            split.train, validation=split.validation, progress=False
        )


def test_the_commands_train_measure_and_index_it(tmp_path, capsys, monkeypatch):
    """ml-100k is too large here: a few users who watch one after the other."""
    lines = [f"u{user},i{(user + step) % 12 + 1},{step}" for user in range(30) for step in range(6)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(lines) + "\n")
    titles = [f"i{k},title {k}" for k in range(1, 13)]
    (tmp_path / "data" / "items.csv").write_text("item_id,title\n" + "\n".join(titles) + "\n")
    words = ["train", str(tmp_path / "data"), "--model", "recbole:GRU4Rec", "--out", str(tmp_path / "run")]
    small = [word for name in ("hidden_size=16", "embedding_size=16", "train_batch_size=16") for word in ("--set", name)]
    for option, says in ((["--init", "other"], "leave out --init"), (["--item-input", "text"], "leave out --item-input")):
        assert main([*words, *option]) == 2
        assert says in capsys.readouterr().err
    assert main([*words, *small, "--epochs", "1", "--seed", "3"]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["config"]["train"] | {"metric": "NDCG@10"} == {"seed": 3, "epochs": 1, "max_minutes": 0.0, "metric": "NDCG@10"}
    assert main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "figures.json")]) == 0
    assert json.loads((tmp_path / "figures.json").read_text())["slices"]["all"]["users"] == 30
    assert main(["index", "build", str(tmp_path / "run"), "--out", str(tmp_path / "index")]) == 0
    assert main(["recommend", str(tmp_path / "run"), "--user", "u1", "--index", str(tmp_path / "index")]) == 0


def test_files_that_do_not_fit_are_refused(folder, tmp_path):
    import shutil

    broken = tmp_path / "model"
    shutil.copytree(folder, broken)
    config = json.loads((broken / "config.json").read_text())["config"]
    config["settings"]["hidden_size"] = 8
    change(broken / "config.json", config=config)
    with pytest.raises(ModelError, match=r"RecBole's GRU4Rec does not answer: .*the weights do not fit this RecBole"):
        Recommender.from_pretrained(broken).user_embeddings([["i4"]])


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("recbole:BPR", {}, "BPR knows users by id, and a retriever is asked about any history"),
        ("recbole:Caser", {}, "Caser knows users by id"),
        ("recbole:SASRecF", {}, "SASRecF reads item features"),
        ("recbole:sasrec", {}, "did you mean 'SASRec'"),
        ("recbole:SASRec", {"hidden_siz": 8}, "hidden_siz"),
        ("recbole:SASRec", {"train.epoch": 8}, r"train\.epoch"),
        ("recbole:SASRec", {"train.metric": "ndcg@10"}, "unknown metric 'ndcg@10'"),
        ("recbole:SASRec", {"train.seed": 2**40}, r"train\.seed"),
        ("recbol:SASRec", {}, "unknown model 'recbol:SASRec'"),
        ("sasrec", {}, "unknown model 'sasrec': RecBole's is recbole:SASRec"),
    ],
)
def test_what_cannot_retrieve_or_is_unknown_is_refused_before_any_work(name, settings, says):
    with pytest.raises(ConfigError, match=says):
        create(name, settings=settings)


def test_options_that_mean_nothing_to_recbole_are_refused(split, fitted):
    with pytest.raises(ConfigError, match="leave out --item-input and --tune"):
        create("recbole:SASRec", item_input="text")
    model = RecBole(RecBoleConfig())
    with pytest.raises(ModelError, match="is not fitted"):
        model.item_embeddings()
    with pytest.raises(DataError, match="this split has none"):
        model.fit(split.train)
    for option, value, says in (("resume", True, "start anew with --overwrite"), ("init", fitted, "leave out --init")):
        with pytest.raises(ConfigError, match=says):
            model.fit(split.train, validation=split.validation, **{option: value})
    with pytest.raises(ConfigError, match="no option 'colour'"):
        model.fit(split.train, validation=split.validation, colour=1)


def test_a_model_whose_scores_are_no_products_is_refused_before_its_training(split):
    with pytest.raises(ModelError, match=r"RecBole's DIN does not score items by one product of vectors.*SASRec and GRU4Rec can"):
        create("recbole:DIN", settings={"MAX_ITEM_LIST_LENGTH": 6}).fit(split.train, validation=split.validation, progress=False)
