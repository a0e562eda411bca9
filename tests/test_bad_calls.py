"""Wrong but plausible arguments of every public call end in one line that names what was given and the right call."""

from __future__ import annotations

import importlib
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tiny_encoders import tiny_bert

import bertrec
from bertrec.core import checks
from bertrec.core.errors import BertrecError, ConfigError, DataError, IndexFileError, ModelError
from bertrec.core.id_lists import id_lists
from bertrec.core.ragged import Ragged
from bertrec.data.ids import IdMap
from bertrec.data.load import Dataset
from bertrec.data.negatives import impressions_from_sequences
from bertrec.data.options import LoadOptions
from bertrec.data.splits import cold_items, leave_one_out, time_split
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.encoders.whitening import Whitening
from bertrec.rankers.composite.ranker import Composite, CompositeConfig
from bertrec.rankers.news.nrms import NRMS
from bertrec.rerank.evaluation import evaluate_reranked
from bertrec.rerank.kinds import load_reranker, recommend_reranked, train_reranker
from bertrec.rerank.two_stage import fused_scores, rerank, retrieve

N = 8
ONE = Ragged.from_rows([[1]])
SPACE = {"head.layers": {"int": [1, 2]}}


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    """Eight items with whole numbers as ids, eight users, and one of each class that is easily mixed up with another."""
    folder = tmp_path_factory.mktemp("world")
    items = pd.DataFrame({"item_id": range(50, 50 + N), "title": [f"thing {row}" for row in range(N)]})
    clicks = [(user, 50 + (user + step) % N, 10 * step + user) for user in range(1, 9) for step in range(5)]
    frame = pd.DataFrame(clicks, columns=["user_id", "item_id", "timestamp"])
    catalog = bertrec.ItemCatalog.from_frame(items)
    interactions = bertrec.Interactions.from_frame(frame, catalog)
    dataset = Dataset("shop", "tables", interactions)
    split = bertrec.make_split(dataset)
    settings = {"item.width": 16, "head.layers": 1, "train.epochs": 1}
    model = bertrec.create("idrec", settings=settings).fit(split.train, progress=False)
    vectors = np.eye(N, 4, dtype=np.float32) + 0.1
    (folder / "file").write_text("x", encoding="utf-8")
    encoder = TextEncoder.from_config(EncoderConfig(name=tiny_bert(folder / "encoder", catalog.texts)))
    shown = impressions_from_sequences(interactions, negatives=2, seed=0)
    return SimpleNamespace(
        folder=folder,
        file=folder / "file",
        items=items,
        frame=frame,
        catalog=catalog,
        interactions=interactions,
        dataset=dataset,
        split=split,
        model=model,
        unfitted=bertrec.create("idrec"),
        popular=bertrec.create("popularity"),
        by_text=bertrec.TextSimilarity(),
        vectors=vectors,
        index=bertrec.ItemIndex.build(vectors, range(N)),
        encoder=encoder,
        impressions=shown,
        ranker=Composite(CompositeConfig(encoder=encoder.config)).fit(shown),
        counts=split.train.item_counts,
    )


DATA = [
    (lambda w: bertrec.load(w.frame), DataError, r"needs its items: give them, as in bertrec.load\(frame, items=items\)"),
    (lambda w: bertrec.load(None), DataError, "data is None, not a path"),
    (lambda w: bertrec.load(w.dataset), DataError, "data is a Dataset, not a path"),
    (lambda w: bertrec.load(["ml-100k"]), DataError, "data is a list, not a path"),
    (lambda w: bertrec.load("ml-100k", {"k_core": 5}), ConfigError, r"a dict, not LoadOptions: give LoadOptions.from_dict\(values\)"),
    (lambda w: bertrec.make_split(w.interactions), DataError, r"is Interactions, not a Dataset: call bertrec.data.splits.leave_one_out"),
    (lambda w: bertrec.make_split(w.split), DataError, "dataset is a Split, not a Dataset"),
    (lambda w: bertrec.make_split("ml-100k"), DataError, r"the text 'ml-100k', not a Dataset: give bertrec.load\(data\)"),
    (lambda w: bertrec.make_split(w.folder), DataError, r"Path, not a Dataset: give bertrec.load\(data\)"),
    (lambda w: bertrec.make_split(w.frame), DataError, "is a DataFrame, not a Dataset: give bertrec.Dataset.from_frames"),
    (lambda w: bertrec.make_split(w.dataset, None), DataError, "method is None, not a name"),
    (lambda w: bertrec.make_split(w.dataset, "cold_items", share="x"), DataError, "share must be a number, not 'x'"),
    (lambda w: bertrec.make_split(w.dataset, "cold_items", seed=1.5), DataError, "seed must be a whole number of at least 0, not 1.5"),
    (lambda w: bertrec.make_split(w.dataset, "ratio", test_share="x"), DataError, "must be a number, not 'x'"),
    (lambda w: time_split(w.interactions, validation_from="a", test_from="b"), DataError, "must be a number, not 'a'"),
    (lambda w: leave_one_out(w.dataset), DataError, "is a Dataset, not Interactions: give dataset.interactions"),
    (lambda w: cold_items(w.frame), DataError, "is a DataFrame, not Interactions: give bertrec.Dataset.from_frames"),
    (lambda w: bertrec.Interactions.from_frame(w.frame, w.items), DataError, r"DataFrame, not an ItemCatalog: give .*from_frame\(frame\)"),
    (lambda w: bertrec.Interactions.from_frame(w.frame, w.dataset), DataError, "not an ItemCatalog: give dataset.catalog"),
    (lambda w: bertrec.Interactions.from_frame(w.catalog, w.frame), DataError, "catalog is a DataFrame, not an ItemCatalog"),
    (lambda w: bertrec.Interactions.from_frame(w.frame, w.catalog, users=[1]), DataError, r"a list, not an IdMap: give IdMap\(ids\)"),
    (lambda w: bertrec.Interactions.from_frame("x.csv", w.catalog), DataError, "expected a pandas, polars or PyArrow table, got str"),
    (lambda w: bertrec.ItemCatalog.from_frame(w.items, text_fields="title"), DataError, r"not a list of columns: give \['title'\]"),
    (lambda w: bertrec.ItemCatalog.from_frame(w.items, max_words="64"), DataError, "max_words must be a whole number of at least 1"),
    (lambda w: bertrec.ItemCatalog.from_frame(w.items, template=5), DataError, "template is 5, not a text"),
    (lambda w: bertrec.ItemCatalog.load(None), ModelError, "folder is None, not a path"),
    (lambda w: bertrec.ItemCatalog.load(w.file), ModelError, "items.json is missing"),
    (lambda w: w.catalog.save(5), DataError, "folder is 5, not a path"),
    (lambda w: IdMap("abc"), DataError, r"the text 'abc', not a list of ids: give \['abc'\]"),
    (lambda w: w.catalog.ids.encode("50"), DataError, r"not a list of ids: give \['50'\]"),
    (lambda w: w.catalog.ids.encode([[50]]), DataError, "an id must be text or a whole number"),
    (lambda w: w.catalog.ids.decode([1.5]), DataError, "a list of whole numbers"),
]
MODELS = [
    (lambda w: bertrec.create(None), ConfigError, "None is no model"),
    (lambda w: bertrec.create(w.model), ConfigError, "is no model"),
    (lambda w: bertrec.create(bertrec.ItemCatalog), ConfigError, "ItemCatalog is no model"),
    (lambda w: bertrec.create("unisrec", settings=["head.layers=2"]), ConfigError, "settings is a list, not a mapping"),
    (lambda w: bertrec.UniSRec({"head.layers": 1}), ConfigError, "a dict, not a ModelConfig: call UniSRec.configured"),
    (lambda w: bertrec.Popularity("x"), ConfigError, "not a (PopularityConfig|NoSettings)"),
    (lambda w: bertrec.TextSimilarity("minilm"), ConfigError, "not a TextSimilarityConfig"),
    (lambda w: w.unfitted.fit(w.dataset, validation=w.split.validation), DataError, "a data set brings its own validation users"),
    (lambda w: w.unfitted.fit(w.split, validation=w.split.validation), DataError, "a split brings its own validation users: leave val"),
    (lambda w: w.unfitted.fit(w.split.validation), DataError, "an EvaluationSet, not Interactions: give split.train"),
    (lambda w: w.unfitted.fit(w.frame), DataError, "a DataFrame, not Interactions: give .*from_frames.*Interactions.from_frame"),
    (lambda w: w.unfitted.fit("ml-100k"), DataError, r"not Interactions: give split.train, .*bertrec.load\(data\)"),
    (lambda w: w.unfitted.fit(w.split.train, validation=w.split), DataError, "validation is a Split, not an EvaluationSet: give split.val"),
    (lambda w: w.unfitted.fit(w.split.train, validation=True), DataError, "validation is True, not an EvaluationSet"),
    (lambda w: w.unfitted.fit(w.split.train, run_dir=w.file), DataError, "file is a file: name a folder"),
    (lambda w: w.popular.fit(w.catalog), DataError, "Popularity.fit: train is an ItemCatalog, not Interactions"),
    (lambda w: w.by_text.fit(w.catalog), DataError, "TextSimilarity.fit: train is an ItemCatalog, not Interactions"),
    (lambda w: w.by_text.over(w.items), DataError, "a DataFrame, not an ItemCatalog"),
    (lambda w: w.model.with_catalog(w.items), DataError, r"a DataFrame, not an ItemCatalog: give bertrec.ItemCatalog.from_frame\(frame\)"),
    (lambda w: w.popular.with_catalog("items.csv"), DataError, "not an ItemCatalog"),
    (lambda w: w.model.save_pretrained(None), BertrecError, "the folder to write is None, not a path"),
    (lambda w: w.model.save_pretrained(w.file), BertrecError, "is a file; choose the name of a folder"),
    (lambda w: w.model.save_pretrained(5), BertrecError, "the folder to write is 5, not a path"),
    (lambda w: bertrec.Recommender.from_pretrained(w.model), ModelError, "an IDRec, not a path"),
    (lambda w: bertrec.Recommender.from_pretrained(w.file), ModelError, "is no model folder: it is a file"),
    (lambda w: w.model.recommend("50"), DataError, r"one list per user: give a single history as \[history\]"),
    (lambda w: w.model.recommend(["50", "51"]), DataError, "one list per user"),
    (lambda w: w.model.recommend([50, 51]), DataError, "one list per user"),
    (lambda w: w.model.recommend(np.array(50)), DataError, "one list per user"),
    (lambda w: w.model.recommend(None), DataError, "one list per user"),
    (lambda w: w.model.recommend({"u": [50]}), DataError, "one list per user"),
    (lambda w: w.model.recommend([{50, 51}]), DataError, "one list per user"),
    (lambda w: w.model.recommend(w.frame), DataError, "one list per user"),
    (lambda w: w.model.recommend(w.split), DataError, "as in split.test.histories"),
    (lambda w: w.model.recommend(w.split.train), DataError, "give interactions.sequences"),
    (
        lambda w: w.model.recommend([["50"]]),
        DataError,
        "history 1: none of its 1 items is in the catalogue, such as '50': its ids are as 50",
    ),
    (lambda w: w.model.recommend([[50.0]]), DataError, r"50.0 \(float\) is no id"),
    (lambda w: w.model.recommend([[50, True]]), DataError, r"True \(bool\) is no id"),
    (lambda w: w.model.recommend([[[50]]]), DataError, r"\[50\] \(list\) is no id"),
    (lambda w: w.model.recommend(Ragged.from_rows([[99]])), DataError, "inner id 99 is beyond the 8 items"),
    (lambda w: w.model.recommend([[50]], 0), DataError, "k must be a whole number of at least 1, not 0"),
    (lambda w: w.model.recommend([[50]], True), DataError, "k must be a whole number of at least 1, not True"),
    (lambda w: w.model.recommend([[50]], "10"), DataError, "k must be a whole number of at least 1, not '10'"),
    (lambda w: w.model.recommend([[50]], 2.0), DataError, "k must be a whole number of at least 1, not 2.0"),
    (lambda w: w.model.recommend([[50]], index="items.index"), DataError, r"not an ItemIndex: give bertrec.ItemIndex.load\(folder\)"),
    (lambda w: w.model.serve(w.vectors), DataError, r"an array, not an ItemIndex: give bertrec.ItemIndex.build\(vectors, ids\)"),
    (lambda w: w.model.serve().from_vectors([[1.0]], ONE, 3), DataError, "a list, not an array"),
    (lambda w: w.model.serve().from_vectors(np.zeros(16, np.float32), ONE, 3), DataError, r"must be \[1, dimensions\]"),
    (lambda w: w.model.serve().from_vectors(np.zeros((1, 3), np.float32), ONE, 3), DataError, "3 dimensions, the model's 16"),
    (lambda w: w.model.score([[50]], ["50"]), DataError, r"candidates are lists of item ids, .*give a single row as \[row\]"),
    (lambda w: w.model.score([["1"]], ["50"]), DataError, "history 1: none of its 1 items"),
    (lambda w: w.model.score([[50]], 51), DataError, "candidates are lists of item ids"),
    (lambda w: w.model.score([[50]], [[51.0]]), DataError, r"candidates: 51.0 \(float\) is no id"),
    (lambda w: w.model.score([[50]], Ragged.from_rows([[99]])), DataError, "candidates: inner id 99 is beyond"),
    (lambda w: w.model.score([[50]], Ragged.from_rows([[-1]])), DataError, "candidates: -1 is no inner id"),
    (lambda w: w.model.user_embeddings(50), DataError, "one list per user"),
    (lambda w: list(w.model.score_all([[50]])), DataError, r"a list, not a Ragged: give model.histories\(lists\)"),
]
STUDIES = [
    (
        lambda w: bertrec.evaluate(w.model, w.split, item_counts=w.counts),
        DataError,
        "item_counts, held_out and manifest are those of the split: leave them out",
    ),
    (lambda w: bertrec.evaluate(w.model, w.interactions, item_counts=w.counts), DataError, "Interactions, not an EvaluationSet: give"),
    (lambda w: bertrec.evaluate("idrec", w.split.test, item_counts=w.counts), ModelError, "not a Recommender: give .*from_pretrained"),
    (lambda w: bertrec.evaluate(bertrec.IDRec, w.split.test, item_counts=w.counts), ModelError, "the class IDRec, .*give an instance"),
    (lambda w: bertrec.evaluate(w.split.test, w.model, item_counts=w.counts), ModelError, "an EvaluationSet, not a Recommender"),
    (lambda w: bertrec.evaluate(w.model, w.split.test, item_counts=None), DataError, "item_counts must be"),
    (lambda w: bertrec.evaluate(w.model, w.split.test, item_counts=w.counts, protocol={"ks": [5]}), ConfigError, "Protocol.from_dict"),
    (lambda w: bertrec.Protocol(ks=10), ConfigError, "setting 'ks'"),
    (lambda w: bertrec.Protocol(k=10), ConfigError, "unknown setting 'k': did you mean 'ks'"),
    (lambda w: bertrec.Protocol(10), ConfigError, r"by name, such as Protocol\(mask_seen=…\)"),
    (lambda w: bertrec.Protocol.from_dict([1]), ConfigError, "a list, not a mapping"),
    (lambda w: LoadOptions(k_core=-1), ConfigError, "setting 'k_core'"),
    (lambda w: bertrec.make_plan("unisrec"), ConfigError, r"not a list of names: give \['unisrec'\]"),
    (lambda w: bertrec.make_plan([w.model]), ConfigError, "an IDRec, not a name: give the model's name"),
    (lambda w: bertrec.make_plan(["idrec"], None), ConfigError, "baselines is None, not a list of names"),
    (lambda w: bertrec.make_plan(["idrec"], [], settings={"idrec": 5}), ConfigError, "settings is 5, not a mapping"),
    (lambda w: bertrec.make_plan(["idrec"], [], seeds=1.5), ConfigError, "seeds must be a whole number, not 1.5"),
    (lambda w: bertrec.make_plan(["idrec"], [], budget_minutes="20"), ConfigError, "budget_minutes must be a number, not '20'"),
    (lambda w: bertrec.make_plan(["idrec"], [], budget_minutes=float("nan")), ConfigError, "must be a number, not nan"),
    (lambda w: bertrec.compare(w.dataset, None, "c"), DataError, r"a Dataset, not a Split: give bertrec.make_split\(dataset\)"),
    (lambda w: bertrec.compare(w.split, ["idrec"], "c"), ConfigError, r"a list, not a Plan: give bertrec.make_plan\(names\)"),
    (lambda w: bertrec.compare(w.split, bertrec.make_plan(["idrec"], []), None), DataError, "folder is None, not a path"),
    (
        lambda w: bertrec.tune(w.dataset, "idrec", SPACE, folder="t"),
        DataError,
        r"a Dataset, not a Split: give bertrec.make_split\(dataset\)",
    ),
    (lambda w: bertrec.tune(w.split, w.model, SPACE, folder="t"), ConfigError, "an IDRec, not a name"),
    (lambda w: bertrec.tune(w.split, "idrec", "quick", folder="t"), ConfigError, "not a mapping: give ranges by setting, or Space.preset"),
    (lambda w: bertrec.tune(w.split, "idrec", SPACE, folder=None), DataError, "folder is None, not a path"),
    (lambda w: bertrec.tune(w.split, "idrec", SPACE, folder="t", workers="2"), ConfigError, "workers must be a whole number"),
    (lambda w: bertrec.run_baseline(w.model, w.split), ConfigError, "an IDRec, not a name"),
    (lambda w: bertrec.run_baseline("Pop", w.interactions), DataError, r"Interactions, not a Split: give bertrec.data.splits"),
    (lambda w: bertrec.run_baseline("Pop", w.split, settings=["x"]), ConfigError, "settings is a list, not a mapping"),
    (lambda w: bertrec.run_baseline("Pop", w.split, limit_minutes="1"), ConfigError, "limit_minutes must be a number"),
    (lambda w: retrieve("idrec", ONE, 3), ModelError, "the text 'idrec', not a Recommender"),
    (lambda w: retrieve(w.model, w.split.test, 3), DataError, "an EvaluationSet, not a Ragged: give its histories"),
    (lambda w: retrieve(w.model, ONE, "3"), ConfigError, "k must be a whole number"),
    (lambda w: rerank("composite", ONE, ONE), ModelError, "not a fitted reranker"),
    (lambda w: rerank(w.model, [[1]], [[1]]), DataError, "histories is a list, not a Ragged"),
    (lambda w: fused_scores(w.model, ONE, ONE, weight="x"), ConfigError, "weight must be a number, not 'x'"),
    (lambda w: recommend_reranked(w.model, None, [[50]], 3), ModelError, "folder is None, not a path"),
    (lambda w: train_reranker("idrec", w.split), ModelError, "not a Recommender"),
    (lambda w: train_reranker(w.model, w.dataset), DataError, "a Dataset, not a Split"),
    (lambda w: load_reranker(5), ModelError, "folder is 5, not a path"),
    (lambda w: evaluate_reranked(w.model, w.model, w.split, bertrec.Protocol(), w.counts), DataError, "a Split, not an EvaluationSet"),
    (lambda w: evaluate_reranked("x", w.model, w.split.test, bertrec.Protocol(), w.counts), ModelError, "not a Recommender"),
]
RANKERS = [
    (lambda w: Composite().fit(w.dataset), DataError, r"a Dataset, not Impressions: give dataset.impressions\['train'\], or bertrec.data"),
    (lambda w: NRMS().fit(w.split), DataError, r"a Split, not Impressions: give bertrec.data.impressions_from_sequences\(split.train"),
    (lambda w: NRMS().fit(w.impressions, validation=w.split.validation), DataError, "an EvaluationSet, not Impressions"),
    (lambda w: w.ranker.score([[50]], [[51]]), DataError, "histories is a list, not a Ragged"),
    (lambda w: w.ranker.score(ONE, [[51]]), DataError, "candidates is a list, not a Ragged"),
    (lambda w: w.ranker.figures(w.split.test), DataError, "an EvaluationSet, not Impressions"),
]
VECTORS = [
    (lambda w: bertrec.ItemIndex.build(w.vectors, None), DataError, "ids is None, not a list of ids"),
    (lambda w: bertrec.ItemIndex.build(w.vectors, w.catalog), DataError, "an ItemCatalog, not a list of ids: give catalog.ids.ids"),
    (lambda w: bertrec.ItemIndex.build(w.vectors, "abcdefgh"), DataError, "not the single str 'abcdefgh'"),
    (lambda w: bertrec.ItemIndex.build(w.vectors[0], [1]), DataError, r"must have the shape \[n, dimensions\]"),
    (lambda w: bertrec.ItemIndex.build(w.vectors, range(N), model_hash=w.model), DataError, "model_hash is an IDRec, not a text"),
    (lambda w: w.index.search(w.vectors[0], 3), DataError, r"must have the shape \[n, dimensions\]"),
    (lambda w: w.index.search(w.vectors, "10"), ConfigError, "k must be a whole number of at least 1, not '10'"),
    (lambda w: w.index.search(w.vectors, 3, exclude="1"), DataError, "the excluded items are lists of item ids"),
    (lambda w: w.index.search(w.vectors, 3, exclude=["1"] * N), DataError, r"give a single list as \[list\]"),
    (lambda w: w.index.search(w.vectors, 3, exclude=[1] * N), DataError, "the excluded items are lists of item ids"),
    (lambda w: w.index.search(w.vectors, 3, exclude=[[1.0]] * N), DataError, r"1.0 \(float\) is no id"),
    (lambda w: w.index.search(w.vectors, 3, exclude=[[1]]), DataError, "exclude has 1 rows for 8 queries"),
    (lambda w: w.index.add(w.vectors[:1], 99), DataError, "ids is 99, not a list of ids"),
    (lambda w: w.index.add(w.vectors[:1], "99"), DataError, "not the single str '99'"),
    (lambda w: w.index.remove(1), DataError, "ids is 1, not a list of ids"),
    (lambda w: w.index.remove("1"), DataError, "not the single str '1'"),
    (lambda w: w.index.save(None), IndexFileError, "folder is None, not a path"),
    (lambda w: w.index.save(w.file), IndexFileError, "is a file"),
    (lambda w: bertrec.ItemIndex.load(w.index), IndexFileError, "an ItemIndex, not a path"),
    (lambda w: Whitening.fit("x"), DataError, "no matrix of numbers"),
    (lambda w: Whitening.fit(w.vectors, [99]), DataError, "rows must be row numbers or a mask of the 8 vectors"),
    (lambda w: Whitening.fit(w.vectors, dim="2"), ConfigError, "dim must be a whole number, not '2'"),
    (lambda w: Whitening.fit(w.vectors).transform(None), DataError, r"give \[n, 4\], not \[\]"),
    (lambda w: Whitening.fit(w.vectors).transform(w.vectors[0]), DataError, r"give \[n, 4\], not \[4\]"),
    (lambda w: w.encoder.encode("a text"), DataError, r"not a list of texts: give \['a text'\]"),
    (lambda w: w.encoder.encode(None), DataError, "texts is None, not a list of texts"),
    (lambda w: w.encoder.encode(w.catalog), DataError, "an ItemCatalog, not a list of texts: give catalog.texts"),
    (lambda w: w.encoder.encode(w.items), DataError, r"a DataFrame, not a list of texts: give .*frame\['title'\]"),
    (lambda w: w.encoder.encode(["a"], cache="folder"), DataError, r"not an EmbeddingCache: give EmbeddingCache\(folder\)"),
    (lambda w: TextEncoder.from_config("minilm"), ConfigError, r"not an EncoderConfig: give EncoderConfig\(name=name\)"),
    (lambda w: TextEncoder.load(None), ModelError, "folder is None, not a path"),
    (lambda w: EmbeddingCache(5), DataError, "folder is 5, not a path"),
    (lambda w: EmbeddingCache(w.folder).get_or_encode("minilm", ["a"]), ModelError, "the text 'minilm', not a TextEncoder"),
    (lambda w: EmbeddingCache(w.folder).get_or_encode(TextEncoder, ["a"]), ModelError, "the class TextEncoder, not a TextEncoder"),
]
CALLS = [*DATA, *MODELS, *STUDIES, *RANKERS, *VECTORS]


@pytest.mark.parametrize(("call", "error", "said"), CALLS, ids=[row[2] for row in CALLS])
def test_a_wrong_argument_is_one_line_with_the_right_call(call, error, said, w, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BertrecError, match=said) as caught:
        call(w)
    assert type(caught.value) is error
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_right_arguments_of_other_types_still_do(w):
    """Ids of numpy, tuples, arrays, a generator of lists and a column of texts are as good as lists."""
    expected = w.model.recommend([[50, 51]], 3)
    for histories in (np.array([[50, 51]]), [(50, 51)], [np.array([50, 51])], iter([[50, 51]]), [[np.int64(50), 51]]):
        assert w.model.recommend(histories, np.int64(3)) == expected
    assert np.array_equal(w.encoder.encode(w.items["title"]), w.encoder.encode(w.catalog.texts))
    assert len(bertrec.ItemIndex.build(w.vectors, (number for number in range(N)))) == N


def test_id_lists_are_flat_with_lengths():
    flat, lengths = id_lists([["a", 7], [], ("b",)], "histories", a="history")
    assert flat == ["a", 7, "b"]
    assert lengths.tolist() == [2, 0, 1]


def test_the_calls_that_messages_name_exist():
    text = " ".join(mend for mends in checks._MENDS.values() for mend in mends.values())
    names = set(re.findall(r"bertrec(?:\.\w+)+", text))
    assert {"bertrec.make_split", "bertrec.data.splits.leave_one_out", "bertrec.ItemIndex.load"} <= names
    for name in names - {"bertrec.data.splits"}:
        found = bertrec
        for part in name.split(".")[1:]:
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
        assert callable(found), name
