"""VQ-Rec: codes of texts and of behaviour in a model that is trained, saved, moved and carried over."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pandas as pd
import pytest
import torch

from bertrec import ConfigError, DataError, create
from bertrec.data.catalog import ItemCatalog
from bertrec.data.splits import Split
from bertrec.heads.codes import CodeTower
from bertrec.heads.config import CodeConfig
from bertrec.models import Recommender, VQRec, check_recommender
from bertrec.models.sequential.quantiser import Quantiser, centroid_bits

INPUTS = ("text", "id", "text+id")


@pytest.fixture(scope="session")
def quick(small: dict[str, Any]) -> dict[str, Any]:
    return small | {"train.epochs": 2, "codes.slots": 4, "codes.components": 3, "codes.bins": 5}


def test_codes_are_those_of_faiss() -> None:
    vectors = np.random.default_rng(0).normal(size=(1200, 24)).astype(np.float32)
    own = Quantiser.fit(vectors, CodeConfig(slots=4))
    theirs = faiss.ProductQuantizer(24, 4, 8)
    faiss.copy_array_to_vector(own.centroids.numpy().ravel(), theirs.centroids)
    turn = faiss.LinearTransform(24, 24, False)
    faiss.copy_array_to_vector(own.rotation.numpy().ravel(), turn.A)
    turn.is_trained = True
    others = np.random.default_rng(1).normal(size=(500, 24)).astype(np.float32)
    assert np.array_equal(own(torch.from_numpy(others)).numpy(), theirs.compute_codes(turn.apply(others)))
    torch.testing.assert_close(own.rotation @ own.rotation.T, torch.eye(24), atol=1e-4, rtol=0)


def test_a_width_that_slots_do_not_divide_is_filled_up_with_zeros() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 10)).astype(np.float32)
    own = Quantiser.fit(vectors, CodeConfig(slots=4, centroids=16))
    assert own.rotation.shape == (12, 10)
    assert own.centroids.shape == (4, 16, 3)
    torch.testing.assert_close(own.rotation.T @ own.rotation, torch.eye(10), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("items", "most", "bits"), [(8, 256, 1), (1023, 256, 7), (1024, 256, 8), (10**6, 256, 8), (10**6, 100, 6)])
def test_few_items_have_fewer_centroids(items: int, most: int, bits: int) -> None:
    assert centroid_bits(items, most) == bits


def test_what_a_quantiser_cannot_be_learned_of_is_said() -> None:
    vectors = np.ones((20, 4), np.float32)
    with pytest.raises(ConfigError, match=r"codes\.slots': 5 is above the 4 dimensions"):
        Quantiser.fit(vectors, CodeConfig(slots=5))
    with pytest.raises(DataError, match="at least 8 items of training, and there are 7"):
        Quantiser.fit(vectors[:7], CodeConfig(slots=2))


@pytest.mark.parametrize("item_input", INPUTS)
def test_it_keeps_the_contract(split: Split, quick: dict[str, Any], item_input: str) -> None:
    check_recommender(lambda: create("vqrec", item_input=item_input, settings=quick), split.train, validation=split.validation)


@pytest.mark.parametrize("item_input", INPUTS)
def test_it_learns_the_planted_order(split: Split, small: dict[str, Any], item_input: str) -> None:
    settings = small | {"codes.slots": 8, "codes.components": 8, "codes.bins": 10}
    model = create("vqrec", item_input=item_input, settings=settings).fit(split.train, progress=False)
    assert split.test is not None
    lists = model.recommend(split.test.histories, 2).items
    wanted = [split.catalog.ids.decode(row)[0] for row in split.test.targets]
    assert np.mean([one in items for one, items in zip(wanted, lists, strict=True)]) > 0.6


@pytest.fixture(scope="module")
def fitted(split: Split, quick: dict[str, Any]) -> dict[str, VQRec]:
    return {name: create("vqrec", item_input=name, settings=quick).fit(split, progress=False) for name in INPUTS}


def another(catalog: ItemCatalog) -> ItemCatalog:
    """The catalogue with a new item that has the text of one, and one with a text of its own."""
    rows = [(name, title, colour) for name, title, colour in zip(catalog.ids.ids, *catalog.fields.values(), strict=True)]
    rows += [("twin", *rows[3][1:]), ("other", "green thing number9", "green")]
    return ItemCatalog.from_frame(pd.DataFrame(rows[::-1], columns=["item_id", *catalog.fields]))


@pytest.mark.parametrize("item_input", ["text", "text+id"])
def test_a_new_item_has_the_codes_of_its_text(fitted: dict[str, VQRec], split: Split, item_input: str) -> None:
    model = copy.copy(fitted[item_input])
    model.drop_match()
    moved = model.with_catalog(another(split.catalog))
    rows, own = moved.catalog.ids.encode(split.catalog.ids.ids), moved.item_embeddings()
    np.testing.assert_allclose(own[rows], model.item_embeddings()[1:], atol=1e-6)
    twin, same = own[moved.catalog.ids.encode(["twin", split.catalog.ids.ids[3]])]
    assert np.array_equal(twin, same) == (item_input == "text")
    assert np.isfinite(own).all()


def test_codes_of_behaviour_know_no_new_item(split: Split, quick: dict[str, Any]) -> None:
    part = split.train.where(split.train.sequences.values != 7)
    model = create("vqrec", item_input="id", settings=quick).fit(part, progress=False)
    assert np.isnan(model.item_embeddings()[7]).all()
    assert np.isfinite(np.delete(model.item_embeddings(), 7, axis=0)).all()


@pytest.mark.parametrize("item_input", INPUTS)
def test_a_saved_model_is_the_same(fitted: dict[str, VQRec], folder: Path, split: Split, item_input: str) -> None:
    model = fitted[item_input]
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    assert isinstance(loaded, VQRec)
    assert loaded.model_hash == model.model_hash
    assert np.array_equal(loaded.item_embeddings(), model.item_embeddings())
    if item_input != "id":
        moved = [one.with_catalog(another(split.catalog)).item_embeddings() for one in (loaded, model)]
        assert np.array_equal(*moved)


def test_items_alike_by_behaviour_are_found_by_its_codes(fitted: dict[str, VQRec]) -> None:
    tower = fitted["id"].network.tower
    assert isinstance(tower, CodeTower)
    assert tower.behaviour is not None
    vectors = fitted["id"].behaviour_vectors
    assert vectors is not None
    own = tower.behaviour.embeddings.view(3, 6, 32)[torch.arange(3), tower.behaviour_codes[5].long()].sum(dim=0) / 3**0.5
    np.testing.assert_allclose(vectors[5], own.detach().numpy(), atol=1e-6)
    assert fitted["text"].behaviour_vectors is None
    assert set(fitted["id"].similar("red-0", 2).items) == {"red-1", "red-4"}  # taken before and after it


def test_the_items_memory_is_counted_by_hand(fitted: dict[str, VQRec]) -> None:
    memory = fitted["text+id"].item_memory()
    assert memory == {
        "codes": 21 * (4 + 3),
        "vectors": (4 * 4 + 3 * 6) * 32 * 4,  # 20 items: 4 centroids in each slot
        "texts": 20 * fitted["text+id"]._raw_vectors().shape[1] * 4,
        "ids": 21 * 32 * 4,
    }
    assert "of codes and" in fitted["text+id"].weights_in_words.splitlines()[0]
    assert "text vectors" not in fitted["id"].weights_in_words.splitlines()[0]


@pytest.mark.parametrize("item_input", INPUTS)
def test_training_goes_on_with_the_codes_that_it_has(split: Split, quick: dict[str, Any], item_input: str) -> None:
    part = split.train.where(split.train.sequences.values != 7)
    model = create("vqrec", item_input=item_input, settings=quick).fit(part, progress=False)
    later = model.continued(split.train, epochs=1, progress=False)
    rows = np.flatnonzero(np.arange(21) != 7)
    if item_input != "id":
        assert torch.equal(later.network.text(None), model.network.text(None))
    if item_input != "text":
        theirs, own = (one.network.tower.behaviour_codes.numpy() for one in (model, later))
        assert np.array_equal(theirs[rows], own[rows])
        assert own[7].all()
    assert np.isfinite(later.item_embeddings()).all()


def test_a_start_from_another_run_keeps_its_quantiser(split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]) -> None:
    held = split.train.where(split.train.sequences.values > 5)
    pupil = create("vqrec", settings=quick).fit(held, init=fitted["text"], progress=False)
    assert torch.equal(pupil.network.text(None), fitted["text"].network.text(None))


def test_the_order_of_new_codes_is_learned_with_all_else_as_it_was(split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]) -> None:
    seen: dict[str, torch.Tensor] = {}

    class Watched(VQRec):
        name = "watched"

        def _learn_order(self, permutation: Any, *args: Any, **options: Any) -> None:
            before = {name: value.clone() for name, value in self.network.state_dict().items()}
            super()._learn_order(permutation, *args, **options)
            after = self.network.state_dict()
            seen["moved"] = [name for name, value in after.items() if not torch.equal(value, before[name])]
            seen["theirs"], seen["order"] = before["tower.text.embeddings"].view(4, 4, -1), permutation.order()

        def _own_share(self, *args: Any) -> float:
            seen["kept"] = self.network.tower.text.embeddings.detach().clone().view(4, 4, -1)
            return super()._own_share(*args)

    settings = quick | {"codes.transfer": "permute", "codes.permute_epochs": 2}
    pupil = Watched.configured(settings=settings).fit(split.train, init=fitted["text"], progress=False)
    assert seen["moved"] == ["tower.text.permutation.logits"]
    assert [sorted(slot) for slot in seen["order"].tolist()] == [[0, 1, 2, 3]] * 4
    torch.testing.assert_close(seen["kept"], seen["theirs"][torch.arange(4)[:, None], seen["order"]])
    torch.testing.assert_close(seen["theirs"].flatten(0, 1), fitted["text"].network.tower.text.embeddings.detach())
    assert pupil.network.tower.text.permutation is None
    assert all(one.requires_grad for one in pupil.network.parameters())


def test_codes_of_another_number_cannot_be_started_from(split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]) -> None:
    for name, said in (("codes.slots", "4, not 2"), ("codes.centroids", "256, not 2")):
        with pytest.raises(ConfigError, match=rf"given as init has {name.replace('.', '[.]')} {said}: set it to the same"):
            create("vqrec", settings=quick | {name: 2}).fit(split.train, init=fitted["text"], progress=False)


def test_fewer_items_than_the_other_run_had_have_fewer_new_codes(split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]) -> None:
    few = split.train.where(split.train.sequences.values <= 10)
    with pytest.raises(ConfigError, match=r"4 codes in each slot, and 10 items of training allow 2: set codes\.transfer=keep"):
        create("vqrec", settings=quick | {"codes.transfer": "permute"}).fit(few, init=fitted["text"], progress=False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"encoder.tune": "last:1"}, "codes of texts need a frozen encoder"),
        ({"item.whitening": "zca+relaxed"}, "codes are of one copy"),
        ({"codes.bins": 255}, r"codes\.bins"),
        ({"codes.centroids": 1}, r"codes\.centroids"),
        ({"codes.slot": 1}, r"did you mean 'codes\.slots'"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create("vqrec", settings=settings)


def test_vectors_made_elsewhere_are_coded_too(split: Split, quick: dict[str, Any], tmp_path: Path) -> None:
    given = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    path = tmp_path / "given.npy"
    np.save(path, given)
    model = create("vqrec", settings=quick | {"encoder.name": str(path)}).fit(split.train, progress=False)
    assert model.takes_vectors
    assert np.isfinite(model.item_embeddings()).all()
    with pytest.raises(ConfigError, match=r"codes\.slots': 7 is above the 6 dimensions"):
        create("vqrec", settings=quick | {"encoder.name": str(path), "codes.slots": 7}).fit(split.train, progress=False)


def test_text_models_and_code_models_start_from_one_another(split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]) -> None:
    plain = {name: value for name, value in quick.items() if not name.startswith("codes.")}
    plain |= {"item.whitening": fitted["text"].config.item.whitening}
    text = create("unisrec", item_input="text", settings=plain).fit(split.train, init=fitted["text"], progress=False)
    create("vqrec", settings=quick).fit(split.train, init=text, progress=False)


def test_a_start_from_codes_of_behaviour_knows_the_items_of_its_own_data_alone(
    split: Split, quick: dict[str, Any], fitted: dict[str, VQRec]
) -> None:
    """Codes of another SVD mean nothing in a table that was begun anew."""
    seen = split.train.sequences.values
    fewer = split.train.where(seen > 3)
    model = create("vqrec", item_input="id", settings=quick).fit(fewer, init=fitted["id"], progress=False)
    assert np.isnan(model.item_embeddings()[1:4]).all()
    assert not model.network.tower.behaviour_codes[1:4].any()
