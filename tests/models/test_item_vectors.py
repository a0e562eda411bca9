"""Models trained on item vectors made elsewhere, against the same models with the encoder that made them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bertrec
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split
from bertrec.encoders import EncoderConfig, GivenVectors, make_encoder
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.explain import explain
from bertrec.models.registry import create
from bertrec.models.untrained import untrained_reports

KINDS: dict[str, dict[str, Any]] = {
    "text-similarity": {},
    "text-similarity, whitened": {"whitening": "pca"},
    "max-similarity": {"neighbours": 10},
    "unisrec": {"item.input": "text"},
    "morec": {"train.epochs": 3},
    "alpharec": {"train.epochs": 2, "width": 8, "hidden": 16},
    "ease-text": {},
}
UNLIKE = ("text-similarity", "max-similarity", "alpharec", "ease-text")  # they have settings of their own
NEW = ItemCatalog.from_frame(pd.DataFrame({"item_id": ["red-1", "new-1", "new-2"], "title": ["red thing", "new red", "new blue"]}))


def vectors_of(encoder: str, catalog: ItemCatalog) -> GivenVectors:
    return GivenVectors.of(catalog.ids.ids, make_encoder(EncoderConfig(name=encoder)).encode(catalog.texts))


def write(path: Path, given: GivenVectors) -> str:
    assert given.ids is not None
    pd.DataFrame({"item_id": given.ids.ids, "vector": list(given.values)}).to_parquet(path)
    return str(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, catalog: ItemCatalog, encoder_name: str) -> str:
    """Vectors of the tiny encoder, in another order than the catalogue's and with rows that no item has."""
    given = vectors_of(encoder_name, catalog.take(np.arange(len(catalog))[::-1]))
    more = GivenVectors.of(["other-1"], np.ones((1, given.dim)))
    return write(tmp_path_factory.mktemp("given") / "items.parquet", given.joined(more))


def made(kind: str, encoder: str, small: dict[str, Any]) -> Recommender:
    name = kind.partition(",")[0]
    base = {} if name in UNLIKE else {**small, "train.epochs": 8, "match.new_items": "off"}
    return create(name, settings={**base, **KINDS[kind], "encoder.name": encoder})


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, split: Split, encoder_name: str, file: str, small: dict[str, Any]
) -> tuple[Recommender, Recommender]:
    """The model with the encoder, and with its vectors."""
    models = [made(request.param, encoder, small) for encoder in (encoder_name, file)]
    return tuple(model.fit(split.train, validation=split.validation, progress=False) for model in models)  # type: ignore[return-value]


def gone(model: Recommender, folder: Path) -> Recommender:
    """Save, and load where the file of vectors is no more."""
    model.config = model.config.updated({"encoder.name": str(folder / "no-longer-there.parquet")})
    model.save_pretrained(folder)
    return Recommender.from_pretrained(folder)


def test_scores_are_those_of_the_encoder_that_made_the_vectors(pair: tuple[Recommender, Recommender], split: Split) -> None:
    assert split.validation is not None
    by_text, by_vectors = (np.concatenate(list(model.score_all(split.validation.histories))) for model in pair)
    assert by_vectors == pytest.approx(by_text, abs=1e-5)


def test_a_saved_model_recommends_without_the_file(pair: tuple[Recommender, Recommender], folder: Path) -> None:
    model = pair[1]
    histories: Any = [["red-1", "red-2"], ["blue-0"], []]
    wanted, name = model.recommend(histories, 5), model.config.to_flat()["encoder.name"]
    try:
        assert gone(model, folder).recommend(histories, 5) == wanted
    finally:
        model.config = model.config.updated({"encoder.name": name})


def test_other_items_need_their_vectors(pair: tuple[Recommender, Recommender], folder: Path, tmp_path: Path, encoder_name: str) -> None:
    pair[1].save_pretrained(folder)
    model = Recommender.from_pretrained(folder)
    with pytest.raises(
        ModelError, match=r"2 of 3 items have no vector, such as 'new-1', 'new-2', and .* name a file that holds them: --vec"
    ):
        model.with_catalog(NEW)
    model.add_vectors(write(tmp_path / "new.parquet", vectors_of(encoder_name, NEW)))
    moved, wanted = model.with_catalog(NEW), pair[0].with_catalog(NEW)
    assert moved.item_embeddings() == pytest.approx(wanted.item_embeddings(), abs=1e-5)
    assert moved.with_catalog(NEW.take([2, 1])).catalog.ids.ids == ["new-2", "new-1"]


def test_items_that_the_model_knows_need_no_file(pair: tuple[Recommender, Recommender], split: Split) -> None:
    fewer = split.catalog.take([5, 2, 9])
    moved, wanted = (model.with_catalog(fewer).item_embeddings() for model in reversed(pair))
    assert moved == pytest.approx(wanted, abs=1e-5)


def test_items_of_one_text_keep_vectors_of_their_own(split: Split, file: str, small: dict[str, Any]) -> None:
    alike = ItemCatalog(split.catalog.ids, {"title": ["thing"] * len(split.catalog)})
    for kind in ("alpharec", "ease-text", "text-similarity"):
        model = made(kind, file, small).fit(replace(split.train, catalog=alike), validation=split.validation, progress=False)
        moved = model.with_catalog(alike.take([5, 2, 9]))
        assert moved.item_embeddings()[1:] == pytest.approx(model.item_embeddings()[[6, 3, 10]], abs=1e-6), kind
        assert len(np.unique(np.asarray(moved.text_vectors), axis=0)) == 3, kind


def test_the_hash_is_of_the_vectors(pair: tuple[Recommender, Recommender], split: Split) -> None:
    model = pair[1]
    state = model.state_dict()
    name = next(name for name in ("catalog.text_vectors", "given_vectors", "vectors", "texts") if name in state)
    other = type(model)(model.config)
    other.catalog = split.catalog
    other.load_state_dict({**state, name: state[name] + 1e-3})
    assert other.model_hash != model.model_hash


def test_no_text_explains_a_score(pair: tuple[Recommender, Recommender]) -> None:
    assert {reason.kind for reason in explain(pair[1], ["red-1", "red-2"], "red-3")} == {"history"}


def test_items_need_no_text_at_all(split: Split, file: str, small: dict[str, Any]) -> None:
    bare = ItemCatalog(split.catalog.ids, {})
    train, validation = replace(split.train, catalog=bare), split.validation
    for kind in ("text-similarity", "unisrec", "alpharec", "ease-text"):
        model = made(kind, file, {**small, "train.epochs": 1}).fit(train, validation=validation, progress=False)
        assert model.recommend([["red-1"]], 3).items[0]


def test_an_item_without_a_vector_ends_a_fit(split: Split, file: str, tmp_path: Path, small: dict[str, Any]) -> None:
    given = pd.read_parquet(file)
    given[given["item_id"] != "red-3"].to_parquet(tmp_path / "fewer.parquet")
    for kind in ("text-similarity", "unisrec"):
        with pytest.raises(DataError, match="1 of 20 items have no vector, such as 'red-3'"):
            made(kind, str(tmp_path / "fewer.parquet"), small).fit(split.train, progress=False)


def test_vectors_may_come_from_memory(split: Split, encoder_name: str) -> None:
    model = create("text-similarity", settings={"encoder.name": "memory.npy"})
    model.add_vectors(vectors_of(encoder_name, split.catalog))
    wanted = create("text-similarity", settings={"encoder.name": encoder_name}).fit(split.train, progress=False)
    assert model.fit(split.train, progress=False).item_embeddings() == pytest.approx(wanted.item_embeddings(), abs=1e-6)


def test_a_model_goes_on_to_other_data_with_other_vectors(
    split: Split, file: str, tmp_path: Path, encoder_name: str, small: dict[str, Any]
) -> None:
    first = made("unisrec", file, small).fit(split.train, progress=False)
    rows = [(user, item, step) for user in "abc" for step, item in enumerate(["new-1", "new-2", "red-1"])]
    data = Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), NEW)
    name = write(tmp_path / "new.parquet", vectors_of(encoder_name, NEW))
    second = made("unisrec", name, {**small, "train.epochs": 1}).fit(data, init=first, progress=False)
    assert second.recommend([["new-1"]], 1).items[0]
    with pytest.raises(ConfigError, match=r"the model given as init has encoder\.name"):
        made("unisrec", encoder_name, small).fit(split.train, init=first, progress=False)


def test_a_training_does_not_go_on_with_other_vectors(split: Split, file: str, tmp_path: Path, small: dict[str, Any]) -> None:
    given = pd.read_parquet(file)
    name = str(tmp_path / "items.parquet")
    given.to_parquet(name)
    fast = {**small, "train.epochs": 1}
    made("unisrec", name, fast).fit(split.train, run_dir=tmp_path / "run", progress=False)
    given.assign(vector=[row + 1 for row in given["vector"]]).to_parquet(name)
    with pytest.raises(bertrec.BertrecError, match="other"):
        made("unisrec", name, fast).fit(split.train, run_dir=tmp_path / "run", resume=True, progress=False)


def test_untrained_figures_need_no_file(split: Split, file: str, folder: Path) -> None:
    assert split.test is not None
    fitted = create("max-similarity", settings={"encoder.name": file}).fit(split.train, progress=False)
    wanted = create("text-similarity", settings={"encoder.name": file}).fit(split.train, progress=False)
    found = untrained_reports(gone(fitted, folder), split, split.test, Protocol(bootstrap=0))
    report = evaluate(wanted, split.test, protocol=Protocol(bootstrap=0), item_counts=split.train.item_counts)
    assert found["text-similarity"].mean("NDCG@10") == report.mean("NDCG@10") > 0


def test_a_model_without_given_vectors_takes_none(split: Split, encoder_name: str, file: str, small: dict[str, Any]) -> None:
    for name, settings in (("popularity", {}), ("text-similarity", {"encoder.name": encoder_name}), ("idrec", {"encoder.name": file})):
        with pytest.raises(ModelError, match=f"this {name} model was not trained on vectors made elsewhere"):
            create(name, settings=settings).add_vectors(file)


def test_ids_alone_leave_the_file_unread(split: Split, small: dict[str, Any]) -> None:
    model = create("idrec", settings={**small, "train.epochs": 1, "encoder.name": "nowhere.npy"})
    assert model.fit(split.train, progress=False).recommend([["red-1"]], 1).items[0]


@pytest.mark.parametrize("kind", ["unisrec", "text-similarity"])
def test_vectors_cannot_be_tuned(split: Split, file: str, small: dict[str, Any], kind: str) -> None:
    with pytest.raises(ConfigError, match=r"tune"):
        create(kind, tune="last:1", settings={"encoder.name": file}).fit(split.train, progress=False)


def test_added_vectors_must_fit(pair: tuple[Recommender, Recommender], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds vectors of 2 numbers, not 32"):
        pair[1].add_vectors(write(tmp_path / "narrow.parquet", GivenVectors.of(["new-1"], [[1.0, 2.0]])))
    np.save(tmp_path / "bare.npy", np.zeros((3, 32)))
    with pytest.raises(DataError, match="names no ids"):
        pair[1].add_vectors(tmp_path / "bare.npy")
