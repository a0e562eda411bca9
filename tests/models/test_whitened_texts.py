"""Whitening in one copy or two, of whole texts or field by field: the formulas, and where the vectors go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertrec.core.errors import BertrecError, ConfigError, DataError
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import Split
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.encoders.whitening import Whitening
from bertrec.heads.config import ItemConfig
from bertrec.heads.items import ItemTower
from bertrec.models.base import Recommender
from bertrec.models.explain import explain
from bertrec.models.registry import create
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.models.sequential.whitened import empty_whitening, fit_whitening

APART = {"item.fields": "apart", "item.input": "text", "train.epochs": 2}


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    random = np.random.default_rng(0)
    return (random.normal(size=(300, 6)) @ random.normal(size=(6, 6)) + 3).astype(np.float32)


def whitened(config: ItemConfig, vectors: np.ndarray, fields: tuple[str, ...] = ()) -> np.ndarray:
    fitted = fit_whitening(config, vectors, np.arange(len(vectors)), fields)
    assert fitted is not None
    return np.asarray(fitted(torch.from_numpy(vectors)).numpy())


def test_two_copies_are_the_full_one_and_the_relaxed_one(vectors: np.ndarray) -> None:
    found = whitened(ItemConfig(whitening="pca+relaxed", whitening_groups=2), vectors)
    full, relaxed = np.split(found, 2, axis=1)
    np.testing.assert_allclose(np.cov(full.T), np.eye(6), atol=1e-3)
    np.testing.assert_allclose(full, Whitening.fit(vectors).transform(vectors), atol=1e-4)
    for part in (slice(0, 3), slice(3, 6)):
        np.testing.assert_allclose(np.cov(relaxed[:, part].T), np.eye(3), atol=1e-3)
    assert np.abs(np.cov(relaxed.T)[:3, 3:]).max() > 0.1
    np.testing.assert_allclose(relaxed, whitened(ItemConfig(whitening="relaxed", whitening_groups=2), vectors), atol=1e-6)


def test_one_group_is_zca(vectors: np.ndarray) -> None:
    found = whitened(ItemConfig(whitening="zca+relaxed", whitening_groups=1), vectors)
    np.testing.assert_array_equal(found[:, :6], found[:, 6:])
    np.testing.assert_array_equal(found[:, :6], whitened(ItemConfig(whitening="zca"), vectors))


@pytest.mark.parametrize("adaptor", ["linear", "mlp", "moe"])
def test_copies_share_one_adaptor_and_are_summed(adaptor: str) -> None:
    torch.manual_seed(0)
    tower = ItemTower(ItemConfig(width=4, input="text", whitening="zca+relaxed", adaptor=adaptor, experts=2), n_items=3, text_dim=10).eval()
    assert tower.adaptor is not None
    with torch.no_grad():
        for weight in tower.parameters():
            weight.normal_()
    text = torch.randn(4, 10)
    torch.testing.assert_close(tower(text, None), tower.adaptor(text[:, :5]) + tower.adaptor(text[:, 5:]), rtol=1e-4, atol=1e-4)


def test_fields_are_whitened_by_themselves_and_empty_ones_stay_zero(vectors: np.ndarray) -> None:
    two = np.concatenate([vectors[:, :4], vectors[:, 2:6]], axis=1)
    two[:100, 4:] = 0
    found = whitened(ItemConfig(), two, ("title", "brand"))
    np.testing.assert_allclose(found[:, :4], Whitening.fit(two[:, :4]).transform(two[:, :4]), atol=1e-4)
    np.testing.assert_allclose(found[100:, 4:], Whitening.fit(two[100:, 4:]).transform(two[100:, 4:]), atol=1e-4)
    assert not found[:100, 4:].any()
    both = whitened(ItemConfig(whitening="pca+relaxed", whitening_groups=2), two, ("title", "brand"))
    np.testing.assert_allclose(both[:, :8], found, atol=1e-6)
    np.testing.assert_allclose(both[:, 8:12], whitened(ItemConfig(whitening="relaxed", whitening_groups=2), two[:, :4].copy()), atol=1e-4)


@pytest.mark.parametrize("form", ["pca", "relaxed", "zca+relaxed"])
@pytest.mark.parametrize("fields", [(), ("title", "brand")])
def test_an_empty_one_takes_the_state(vectors: np.ndarray, form: Any, fields: tuple[str, ...]) -> None:
    config = ItemConfig(whitening=form, whitening_groups=3)
    fitted, other = fit_whitening(config, vectors, np.arange(300), fields), empty_whitening(config, 6, fields)
    assert fitted is not None
    assert other is not None
    other.load_state_dict(fitted.state_dict())
    given = torch.from_numpy(vectors)
    torch.testing.assert_close(other(given), fitted(given))
    assert empty_whitening(ItemConfig(whitening="none"), 6) is None


def test_what_cannot_be_whitened(vectors: np.ndarray) -> None:
    with pytest.raises(ConfigError, match=r"item\.whitening_groups': 7 is above the 6 dimensions"):
        fit_whitening(ItemConfig(whitening="relaxed", whitening_groups=7), vectors, np.arange(300))
    two = vectors.copy()
    two[1:, 3:] = 0
    with pytest.raises(DataError, match=r"text field 'brand' is filled in for 1 of the items.*item\.fields=together"):
        fit_whitening(ItemConfig(), two, np.arange(300), ("title", "brand"))


def fitted(split: Split, small: dict[str, Any], **more: Any) -> NeuralRecommender:
    model = create("unisrec", settings={**small, **more}).fit(split.train, validation=split.validation, progress=False)
    assert isinstance(model, NeuralRecommender)
    return model


def test_near_texts_are_those_of_the_full_copy(split: Split, small: dict[str, Any], folder: Path) -> None:
    more = {"train.epochs": 2, "item.whitening": "pca+relaxed", "item.whitening_groups": 4, "item.input": "text"}
    model = fitted(split, small, **more)
    plain = fitted(split, small, **more | {"item.whitening": "pca"})
    found, wanted = model.whitened_texts(), plain.whitened_texts()
    assert found is not None
    assert wanted is not None
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert model.network.text is not None
    assert model.network.text.dim == 2 * found.shape[1]
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    assert loaded.model_hash == model.model_hash
    np.testing.assert_array_equal(loaded.item_embeddings(), model.item_embeddings())
    np.testing.assert_allclose(loaded.with_catalog(model.catalog).item_embeddings(), model.item_embeddings(), atol=1e-5)


def test_two_copies_with_a_tuned_encoder(split: Split, small: dict[str, Any]) -> None:
    more = {"item.whitening": "zca+relaxed", "item.whitening_groups": 2, "item.input": "text", "encoder.tune": "last:1"}
    model = fitted(split, small, **more | {"train.epochs": 1, "loss.kind": "in-batch"})
    assert np.isfinite(model.item_embeddings()).all()


def over(split: Split, catalog: ItemCatalog) -> Split:
    """Return the same data with other texts."""
    return replace(split, catalog=catalog, train=replace(split.train, catalog=catalog))


@pytest.fixture(scope="module")
def shop(catalog: ItemCatalog, split: Split) -> Split:
    """Every fourth item has no colour."""
    frame = catalog.to_frame()
    frame.loc[::4, "colour"] = ""
    return over(split, ItemCatalog.from_frame(frame, text_fields=["title", "colour"]))


class TestFieldsApart:
    def test_each_field_is_read_by_itself(self, shop: Split, small: dict[str, Any]) -> None:
        model = fitted(shop, small, **APART)
        assert model.text_fields == ("title", "colour")
        encoder = TextEncoder.from_config(EncoderConfig(name=small["encoder.name"]))
        titles, colours = (encoder.encode(shop.catalog.fields[name]) for name in model.text_fields)
        empty = np.array([not text for text in shop.catalog.fields["colour"]])
        seen = shop.train.item_counts[1:] > 0
        wanted = np.concatenate([
            Whitening.fit(titles, seen).transform(titles),
            np.where(empty[:, None], 0, Whitening.fit(colours, seen & ~empty).transform(colours)),
        ], axis=1)  # fmt: skip
        found = model.whitened_texts()
        assert found is not None
        assert empty.sum() == 5
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        assert not found[empty, encoder.dim :].any()

    def test_it_is_saved_and_moves_to_other_items(self, shop: Split, small: dict[str, Any], folder: Path) -> None:
        model = fitted(shop, small, **APART)
        model.save_pretrained(folder)
        loaded = Recommender.from_pretrained(folder)
        assert loaded.model_hash == model.model_hash
        np.testing.assert_array_equal(loaded.item_embeddings(), model.item_embeddings())
        frame = shop.catalog.to_frame()[["item_id", "colour", "title"]].iloc[::-1]  # other order of rows and of fields
        other = loaded.with_catalog(ItemCatalog.from_frame(frame, text_fields=["colour", "title"]))
        np.testing.assert_allclose(other.item_embeddings()[1:], model.item_embeddings()[:0:-1], atol=1e-5)
        other.save_pretrained(folder)
        again = Recommender.from_pretrained(folder)
        np.testing.assert_array_equal(again.item_embeddings(), other.item_embeddings())
        with pytest.raises(DataError, match="reads the text fields title, colour apart, and the catalogue has no 'colour'"):
            loaded.with_catalog(ItemCatalog.from_frame(frame[["item_id", "title"]]))

    def test_fields_are_those_of_the_template(self, shop: Split) -> None:
        catalog = shop.catalog
        assert catalog.read_fields == ["title", "colour"]
        assert ItemCatalog(catalog.ids, catalog.fields, "{colour}: {title}, {colour}").read_fields == ["colour", "title"]
        assert ItemCatalog(catalog.ids, catalog.fields, "a {title}").read_fields == ["title"]

    def test_an_item_is_explained_by_its_history_alone(self, shop: Split, small: dict[str, Any]) -> None:
        model = fitted(shop, small, **APART)
        assert {reason.kind for reason in explain(model, ["red-0", "red-1"], "red-2")} == {"history"}

    @pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
    def test_a_tuned_encoder_is_refused(self, tune: str) -> None:
        with pytest.raises(BertrecError, match=rf"item\.fields=apart needs a frozen encoder, not encoder\.tune={tune}") as caught:
            create("morec", tune=tune, settings={"item.fields": "apart"})
        assert "\n" not in str(caught.value)

    def test_a_warm_start_reads_the_same_fields(self, shop: Split, small: dict[str, Any]) -> None:
        teacher = fitted(shop, small, **APART)
        settings = {**small, **APART, "train.epochs": 1}
        student = create("unisrec", settings=settings).fit(shop.train, init=teacher, progress=False)
        assert np.isfinite(student.item_embeddings()).all()
        with pytest.raises(ConfigError, match=r"item\.fields 'apart', not 'together'"):
            create("unisrec", settings={**settings, "item.fields": "together"}).fit(shop.train, init=teacher, progress=False)
        frame = shop.catalog.to_frame()
        renamed = ItemCatalog.from_frame(frame.rename(columns={"colour": "shade"}), text_fields=["title", "shade"])
        with pytest.raises(ConfigError, match="reads the text fields title, colour, not title, shade"):
            create("unisrec", settings=settings).fit(over(shop, renamed).train, init=teacher, progress=False)


def test_settings_that_change_nothing_leave_the_hash(small: dict[str, Any]) -> None:
    def known(**more: Any) -> str:
        model = create("unisrec", settings=more)
        assert isinstance(model, NeuralRecommender)
        return model.settings_hash()

    assert known(**{"item.whitening_groups": 4}) == known()
    assert known(**{"item.whitening": "relaxed", "item.whitening_groups": 4}) != known(**{"item.whitening": "relaxed"})
    assert known(**{"item.fields": "apart"}) != known()
