"""Saved models: the same scores, no silent damage, other catalogues."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from records import change

from bertrec.core.errors import BertrecError, ConfigError, IndexFileError, ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import Split
from bertrec.models.base import Recommender
from bertrec.models.explain import explain
from bertrec.models.registry import create
from bertrec.retrieval.index import ItemIndex

KINDS = [("unisrec", "text+id", "frozen"), ("unisrec", "text", "last:1"), ("morec", "text", "lora"), ("idrec", None, None)]


def fitted(split: Split, small: dict[str, Any], name: str = "unisrec", item_input: Any = None, tune: str | None = None, **more: Any) -> Any:
    settings = {**small, "train.epochs": 2, **more}
    return create(name, item_input=item_input, tune=tune, settings=settings).fit(split.train, validation=split.validation, progress=False)


@pytest.mark.parametrize(("name", "item_input", "tune"), KINDS)
def test_save_and_load_leave_scores_unchanged(
    split: Split, small: dict[str, Any], folder: Path, name: str, item_input: Any, tune: Any
) -> None:
    model = fitted(split, small, name, item_input, tune)
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    assert type(loaded) is type(model)
    assert loaded.model_hash == model.model_hash
    assert loaded.config == model.config
    histories = [["red-0", "red-1"], ["빨강-1"]]
    np.testing.assert_array_equal(loaded.user_embeddings(histories), model.user_embeddings(histories))
    assert loaded.recommend(histories, 4) == model.recommend(histories, 4)
    assert loaded.train_log == model.train_log


def test_a_saved_model_recommends_without_the_libraries_of_its_encoder(split: Split, small: dict[str, Any], folder: Path) -> None:
    model = fitted(split, small, "unisrec", "text+id")
    model.save_pretrained(folder)
    code = (
        "import sys\nfrom bertrec.models.base import Recommender\n"
        f"print(Recommender.from_pretrained({str(folder)!r}).recommend([['red-0']], 3))\n"
        "print(sorted({'transformers', 'sentence_transformers', 'sklearn', 'scipy', 'recbole', 'optuna'} & set(sys.modules)))"
    )
    lists, heavy = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lists == str(model.recommend([["red-0"]], 3))
    assert heavy == "[]"


@pytest.mark.parametrize("name", ["popularity", "text-similarity"])
def test_untrained_models_are_saved_too(split: Split, encoder_name: str, folder: Path, name: str) -> None:
    model = create(name, settings={"encoder.name": encoder_name} if name == "text-similarity" else {}).fit(split.train)
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    assert loaded.recommend([["red-0"]], 5) == model.recommend([["red-0"]], 5)


def test_no_file_of_a_model_is_a_pickle(split: Split, small: dict[str, Any], folder: Path) -> None:
    fitted(split, small, "morec", "text", "full").save_pretrained(folder)
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".safetensors", ".parquet", ".txt", ".md"}


def test_damage_is_named(split: Split, small: dict[str, Any], folder: Path) -> None:
    fitted(split, small).save_pretrained(folder)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that was saved"):
        Recommender.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors is missing"):
        Recommender.from_pretrained(folder)
    weights.write_bytes(content)
    change(folder / "config.json", **{"class": "unisrek"})
    with pytest.raises(ModelError, match="did you mean 'unisrec'"):
        Recommender.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json is damaged"):
        Recommender.from_pretrained(folder)
    with pytest.raises(ModelError, match="does not exist"):
        Recommender.from_pretrained(folder / "absent")


def test_a_folder_with_something_else_is_never_replaced(split: Split, small: dict[str, Any], folder: Path) -> None:
    model = fitted(split, small, **{"train.epochs": 1})
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(BertrecError, match="holds something else"):
        model.save_pretrained(folder)
    assert (folder / "thesis.tex").read_text() == "years of work"
    with pytest.raises(BertrecError, match="is a file"):
        model.save_pretrained(folder / "thesis.tex")


def test_a_tuned_encoder_is_saved_and_reads_new_texts_alike(split: Split, small: dict[str, Any], folder: Path) -> None:
    model = fitted(split, small, "morec", "text", "full")
    model.save_pretrained(folder)
    other = ItemCatalog.from_frame(pd.DataFrame({"item_id": ["new"], "title": ["red thing number1"]}))
    loaded = Recommender.from_pretrained(folder)
    assert loaded.encoder().fingerprint == model.encoder().fingerprint
    vectors = [one.with_catalog(other).item_embeddings() for one in (model, loaded)]
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-6)


def test_a_warm_start_over_other_texts_is_refused(split: Split, small: dict[str, Any]) -> None:
    teacher = fitted(split, small)
    with pytest.raises(ConfigError, match=r"item\.whitening 'pca', not 'zca'"):
        create("unisrec", settings={**small, "item.whitening": "zca"}).fit(split.train, init=teacher)


def test_another_setting_is_another_model_to_an_index(split: Split, small: dict[str, Any]) -> None:
    model = fitted(split, small, **{"train.epochs": 1})
    same_weights = type(model)(model.config.updated({"loss.temperature": 0.5}))
    assert same_weights.settings_hash() != model.settings_hash()
    assert type(model)(model.config.updated({"train.epochs": 9})).settings_hash() == model.settings_hash()


def test_a_failed_save_leaves_the_former_model(split: Split, small: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fitted(split, small)
    model.save_pretrained(folder)

    def full_disk(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(BertrecError, match="No space left on device"):
        model.save_pretrained(folder)
    assert Recommender.from_pretrained(folder).model_hash == model.model_hash
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_that_is_full_while_weights_are_written_is_one_error(split: Split, small: dict[str, Any], folder: Path) -> None:
    import resource

    model = fitted(split, small)
    model.save_pretrained(folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "model.safetensors").stat().st_size - 1, hard))
        with pytest.raises(BertrecError, match=r"cannot write .*: .*os error.*; what was there before is unchanged"):
            model.save_pretrained(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Recommender.from_pretrained(folder).model_hash == model.model_hash
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_text_model_moves_to_another_catalogue(split: Split, small: dict[str, Any]) -> None:
    model = fitted(split, small, "unisrec", "text+id", **{"train.epochs": 20})
    rows = [("new", "red thing number2"), ("other", "blue thing number1"), ("red-3", "red thing number3")]
    other = model.with_catalog(ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title"])))
    assert set(other.recommend([["red-3"]], 2, exclude_seen=True).items[0]) == {"new", "other"}
    assert other.network.tower.trained.tolist() == [False, False, False, True]
    assert np.isfinite(other.item_embeddings()).all()


def test_an_id_model_gives_unknown_items_no_score(split: Split, small: dict[str, Any], catalog: ItemCatalog) -> None:
    held = split.train.where(split.train.sequences.values != 7)
    model = create("idrec", settings={**small, "train.epochs": 1}).fit(held, progress=False)
    assert np.isnan(model.item_embeddings()[7]).all()
    assert next(model.score_all(model.histories([["red-0"]])))[0, 7] == -np.inf
    assert np.isnan(model.score([["red-0"]], [[catalog.ids.ids[6]]])[0][0])
    with pytest.raises(ModelError, match="cannot move to other items"):
        model.with_catalog(ItemCatalog.from_frame(pd.DataFrame({"item_id": ["x"], "title": ["y"]})))


def test_warm_start_keeps_what_was_learned(split: Split, small: dict[str, Any]) -> None:
    teacher = fitted(split, small, "unisrec", "text+id", **{"train.epochs": 30})
    cold = fitted(split, small, **{"train.epochs": 1, "train.learning_rate": 1e-6})
    pupil = create("unisrec", settings={**small, "train.epochs": 1, "train.learning_rate": 1e-6})
    pupil.fit(split.train, validation=split.validation, init=teacher, progress=False)
    figures = [model.train_log.epochs[-1].metrics["NDCG@10"] for model in (pupil, cold)]
    assert figures[0] > figures[1] + 0.2


def test_an_index_serves_the_same_recommendations(split: Split, small: dict[str, Any]) -> None:
    model = fitted(split, small)
    index = ItemIndex.build(model.item_embeddings()[1:], model.catalog.ids.ids, kind="flat", model_hash=model.model_hash)
    histories = [["red-0", "red-1"], ["blue-2"], ["빨강-1"]]
    assert model.recommend(histories, 5, index=index).items == model.recommend(histories, 5).items
    stranger = ItemIndex.build(model.item_embeddings()[1:], model.catalog.ids.ids, kind="flat", model_hash="another")
    with pytest.raises(IndexFileError, match="another model"):
        model.recommend(histories, 5, index=stranger)


def test_reasons_are_what_the_score_loses(split: Split, small: dict[str, Any]) -> None:
    model = fitted(split, small, "unisrec", "text", **{"train.epochs": 20})
    reasons = explain(model, ["blue-4", "red-1"], "red-2")
    by_text = {reason.text: reason.contribution for reason in reasons}
    assert set(by_text) == {"blue thing number4", "red thing number1", "title: red thing number2", "colour: red"}
    assert [reason.contribution for reason in reasons] == sorted(by_text.values(), reverse=True)
    target = model.item_embeddings()[model.catalog.ids.encode(["red-2"])[0]]
    without = float((model.user_embeddings([["blue-4"]]) @ target)[0])
    whole = float((model.user_embeddings([["blue-4", "red-1"]]) @ target)[0])
    assert by_text["red thing number1"] == pytest.approx(whole - without, abs=1e-4)
    (only,) = [reason for reason in explain(model, ["red-1"], "red-2") if reason.kind == "history"]
    alone = float((model.user_embeddings([["red-1"]]) @ target)[0])
    assert only.contribution == pytest.approx(alone, abs=1e-4)  # and not against counts, as a user without history is served by


@pytest.mark.parametrize("classes", [3, 1.5, None, [3], ["my_models:Mine", None], {"a": 1}.values(), b"x"])
def test_classes_of_another_kind_are_one_line(split: Split, folder: Path, classes: Any) -> None:
    create("popularity").fit(split.train).save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"from_pretrained: classes holds .*: give classes") as caught:
        Recommender.from_pretrained(folder, classes=classes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["popularity", "text-similarity"])
def test_an_index_of_another_catalogue_is_not_taken_for_ones_own(split: Split, folder: Path, name: str) -> None:
    """Once two catalogues with the same counts, or the same texts, gave one hash, whatever their ids."""
    model = create(name).fit(split.train)
    catalog = split.catalog
    other_ids = [f"other-{item}" for item in catalog.ids.ids]
    other = create(name)
    other.catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": other_ids, **catalog.fields}), text_fields=list(catalog.fields))
    other.load_state_dict(model.state_dict())
    assert other.model_hash != model.model_hash
    index = ItemIndex.build(other.item_embeddings()[1:][:3], other_ids[:3], model_hash=other.model_hash)
    with pytest.raises(IndexFileError, match="another model"):
        model.serve(index)
    model.save_pretrained(folder)
    assert Recommender.from_pretrained(folder).model_hash == model.model_hash


def test_settings_are_in_the_hash_of_a_model_without_training(split: Split) -> None:
    whole = create("text-similarity").fit(split.train)
    short = create("text-similarity", settings={"max_history": 1}).fit(split.train)
    assert whole.model_hash != short.model_hash
