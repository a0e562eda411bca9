"""AlphaRec against its formulas, written apart over dense matrices; new users, new items, saving."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.splits import Split
from bertrec.models.alpharec import AlphaNetwork, AlphaRec, AlphaRecConfig
from bertrec.models.base import Recommender
from bertrec.models.explain import explain
from bertrec.models.graph import Graph, Pairs, distinct
from bertrec.models.registry import create
from bertrec.retrieval.index import ItemIndex

ITEMS = Ragged.from_rows([[1, 3], [2], [1, 2, 3, 4], [3]])  # of four users; item 5 was taken by nobody
N_ITEMS, N_USERS = 5, 4
Array = npt.NDArray[np.float64]


def adjacency() -> Array:
    """``[users, items]``, 1 / sqrt(|N_u||N_i|) where u took i."""
    taken = np.zeros((N_USERS, N_ITEMS))
    for user, row in enumerate(ITEMS):
        taken[user, row - 1] = 1
    return np.asarray(taken / np.sqrt(taken.sum(1, keepdims=True) * np.maximum(taken.sum(0, keepdims=True), 1)))


def unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def network(layers: int = 2, **more: Any) -> AlphaNetwork:
    torch.manual_seed(0)
    return AlphaNetwork(AlphaRecConfig(width=4, hidden=6, layers=layers, **more), torch.randn(N_ITEMS, 3), ITEMS)


def by_formula(net: AlphaNetwork, layers: int) -> tuple[Array, Array]:
    """Return the final unit vectors of users and items, by powers of the whole graph's matrix."""
    first, last = (layer for layer in net.mlp if isinstance(layer, torch.nn.Linear))

    def mlp(x: Array) -> Array:
        hidden = x @ first.weight.detach().double().numpy().T + first.bias.detach().double().numpy()
        hidden = np.where(hidden > 0, hidden, 0.01 * hidden)
        return np.asarray(hidden @ last.weight.detach().double().numpy().T + last.bias.detach().double().numpy())

    texts, a = net.texts[1:].double().numpy(), adjacency()
    means = np.stack([texts[row - 1].mean(0) for row in ITEMS])
    whole = np.block([[np.zeros((N_USERS, N_USERS)), a], [a.T, np.zeros((N_ITEMS, N_ITEMS))]])
    start = np.concatenate([mlp(means), mlp(texts)])
    mean = sum(np.linalg.matrix_power(whole, k) @ start for k in range(layers + 1)) / (layers + 1)
    final = unit(np.asarray(mean))
    return final[:N_USERS], final[N_USERS:]


def test_distinct_values_of_rows() -> None:
    rows = distinct(Ragged.from_rows([[3, 1, 3], [], [2, 2]]), 3)
    assert [row.tolist() for row in rows] == [[1, 3], [], [2]]


def test_propagation_by_hand() -> None:
    graph = Graph(ITEMS, N_ITEMS)
    users, items = torch.randn(N_USERS, 2), torch.randn(N_ITEMS + 1, 2)
    of_users, of_items = graph.propagate(users, items)
    torch.testing.assert_close(of_users[1], items[2] / math.sqrt(1 * 2))
    torch.testing.assert_close(of_items[4], users[2] / math.sqrt(4 * 1))
    np.testing.assert_allclose(of_users.numpy(), adjacency() @ items[1:].numpy(), atol=1e-6)
    np.testing.assert_allclose(of_items[1:].numpy(), adjacency().T @ users.numpy(), atol=1e-6)
    assert not of_items[[0, 5]].any()


def test_what_a_user_took_is_known() -> None:
    held = Graph(ITEMS, N_ITEMS).holds(torch.tensor([0, 2, 3]), torch.tensor([[1, 2, 3], [5, 4, 1], [3, 5, 4]]))
    assert held.tolist() == [[True, False, True], [False, True, True], [True, False, False]]


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_vectors_equal_the_formula(layers: int) -> None:
    """A user of training who is served by the history has the vector of the graph itself."""
    net = network(layers).eval()
    users, items = by_formula(net, layers)
    served = net.served()
    np.testing.assert_allclose(served.users(ITEMS).numpy(), users, atol=1e-5)
    np.testing.assert_allclose(served.items(served.texts, served.gathered)[1:].numpy(), items, atol=1e-5)


def test_a_new_item_has_its_text_through_the_mlp_alone() -> None:
    net = network().eval()
    served = net.served()
    with torch.no_grad():
        alone = torch.nn.functional.normalize(net.mlp(net.texts[5]), dim=-1)
    torch.testing.assert_close(served.items(served.texts, served.gathered)[5], alone)
    assert not served.passed[5].any()
    assert served.known.tolist() == [False, True, True, True, True, False]


def test_a_new_user_reads_the_graph_as_it_was() -> None:
    """Items 4 and 5; 5 is in no graph, so that it is no neighbour and counts in the mean text alone."""
    net = network(1).eval()
    served = net.served()
    with torch.no_grad():
        text = net.mlp((net.texts[4] + net.texts[5]) / 2)
        passed = net.mlp(net.texts[4]) / math.sqrt(1 * 1)
    wanted = torch.nn.functional.normalize(text + passed, dim=-1)
    found = served.users(Ragged.from_rows([[4, 5, 4], []]))
    torch.testing.assert_close(found[0], wanted)
    assert not found[1].any()


@pytest.mark.parametrize("negatives", [1, 7, 40])
def test_the_loss_is_infonce_without_the_users_own_items(negatives: int) -> None:
    net = network(temperature=0.2, negatives=negatives)
    users, items = torch.tensor([0, 1, 3]), torch.tensor([3, 2, 3])
    torch.manual_seed(5)
    drawn = np.asarray(net.pool)[torch.randint(len(net.pool), (3, negatives)).numpy()]
    assert set(drawn.ravel()) <= {1, 2, 3, 4}
    torch.manual_seed(5)
    loss = net(users, items)["loss"]
    user_vectors, item_vectors = by_formula(net, 2)
    wanted = []
    for user, item, others in zip(users.tolist(), items.tolist(), drawn.tolist(), strict=True):
        score = {one: math.exp(user_vectors[user] @ item_vectors[one - 1] / 0.2) for one in range(1, 6)}
        below = score[item] + sum(score[one] for one in others if one not in ITEMS[user])
        wanted.append(-math.log(score[item] / below))
    assert loss.item() == pytest.approx(np.mean(wanted), rel=1e-4)


def test_both_ways_to_score_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for factor in (0, 100):
        monkeypatch.setattr("bertrec.models.alpharec._ALL_AT_ONCE", factor)
        net = network()
        torch.manual_seed(1)
        loss = net(torch.tensor([0, 2]), torch.tensor([1, 4]))["loss"]
        loss.backward()
        found.append((loss.item(), net.mlp[0].weight.grad))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    torch.testing.assert_close(found[0][1], found[1][1])


def test_pairs_are_every_user_with_each_item() -> None:
    pairs = Pairs(ITEMS)
    assert [pairs[row] for row in range(len(pairs))] == [(0, 1), (0, 3), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4), (3, 3)]
    batch = Pairs.collate(pairs.__getitems__([7, 0]))
    assert {name: part.tolist() for name, part in batch.items()} == {"users": [3, 0], "items": [3, 1]}


@pytest.fixture(scope="module")
def settings(encoder_name: str) -> dict[str, Any]:
    train = {"epochs": 30, "batch_size": 32, "learning_rate": 0.02, "patience": 0}
    return {"encoder.name": encoder_name, "width": 16, "hidden": 32, "negatives": 8, **{f"train.{name}": v for name, v in train.items()}}


@pytest.fixture(scope="module")
def model(split: Split, settings: dict[str, Any]) -> AlphaRec:
    made = create("alpharec", settings=settings, seed=1).fit(split.train, progress=False)
    assert isinstance(made, AlphaRec)
    return made


def test_what_was_taken_together_comes_first(model: AlphaRec) -> None:
    """Training holds two neighbours of a circle of five for each user: 0 and 1 were taken with 4 and 2."""
    assert model.train_log is not None
    for colour in ("red", "green", "blue"):
        found = model.recommend([[f"{colour}-0", f"{colour}-1"]], 2).items[0]
        assert set(found) == {f"{colour}-2", f"{colour}-4"}
    first, *_, last = (epoch.loss for epoch in model.train_log.epochs)
    assert last < first


def test_order_and_repeats_say_nothing(model: AlphaRec) -> None:
    one, other = model.user_embeddings([["red-0", "red-1"], ["red-1", "red-0", "red-1"]])
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_it_is_saved_and_moves_to_other_items(model: AlphaRec, folder: Path) -> None:
    model.save_pretrained(folder)
    loaded = Recommender.from_pretrained(folder)
    assert loaded.model_hash == model.model_hash
    assert loaded.train_log == model.train_log
    np.testing.assert_array_equal(loaded.item_embeddings(), model.item_embeddings())
    frame = model.catalog.to_frame()
    new = pd.DataFrame({"item_id": ["new"], "title": ["red thing number7"], "colour": ["red"]})
    other = loaded.with_catalog(ItemCatalog.from_frame(pd.concat([new, frame.iloc[::-1]])))
    np.testing.assert_allclose(other.item_embeddings()[2:], model.item_embeddings()[:0:-1], atol=1e-5)
    history = [["blue-1", "blue-3"]]
    np.testing.assert_allclose(other.user_embeddings(history), model.user_embeddings(history), atol=1e-5)
    assert other.served.known.tolist()[:3] == [False, False, True]  # padding, the new item, an old one
    torch.testing.assert_close(
        torch.from_numpy(other.item_embeddings()[1]), other.served.items(other.served.texts[1:2], torch.zeros(16))[0]
    )
    found = other.recommend(history, 4).items[0]
    index = ItemIndex.build(other.item_embeddings()[1:], other.catalog.ids.ids, kind="flat", model_hash=other.model_hash)
    assert other.recommend(history, 4, index=index).items[0] == found


def test_the_text_of_an_item_is_explained(model: AlphaRec) -> None:
    text = model.catalog.texts[2]
    vectors = model.vectors_with_texts(3, [text, "blue"])
    assert vectors is not None
    np.testing.assert_allclose(vectors[0], model.item_embeddings()[3], atol=1e-5)
    assert {reason.kind for reason in explain(model, ["red-0", "red-1"], "red-2")} == {"history", "field"}


def test_it_goes_on_after_a_stop(split: Split, settings: dict[str, Any], tmp_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(figures: dict[str, float]) -> None:
        seen.append(figures)
        if len(seen) == 3:
            raise Enough

    def fit(**options: Any) -> AlphaRec:
        made = create("alpharec", settings=settings | {"train.epochs": 5}, seed=1)
        made.fit(split.train, validation=split.validation, progress=False, run_dir=tmp_path / "run", **options)
        assert isinstance(made, AlphaRec)
        return made

    seen: list[dict[str, float]] = []
    with pytest.raises(Enough):
        fit(on_epoch=stop)
    resumed = fit(resume=True)
    whole = create("alpharec", settings=settings | {"train.epochs": 5}, seed=1)
    whole.fit(split.train, validation=split.validation, progress=False)
    np.testing.assert_array_equal(resumed.item_embeddings(), whole.item_embeddings())


def test_what_it_cannot_do_is_one_line(split: Split, model: AlphaRec, settings: dict[str, Any], encoder_name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reads a frozen encoder: leave out --tune"):
        create("alpharec", tune="last:1")
    with pytest.raises(ConfigError, match="no --item-input id"):
        create("alpharec", item_input="id")
    with pytest.raises(ConfigError, match="leave out --init"):
        create("alpharec", settings=settings).fit(split.train, init=model)
    with pytest.raises(ConfigError, match=r"AlphaRec\.fit has no option 'epochs'"):
        create("alpharec", settings=settings).fit(split.train, epochs=3)
    with pytest.raises(ModelError, match="is not fitted"):
        create("alpharec", settings=settings).item_embeddings()
    silent = ItemCatalog(split.catalog.ids, {"title": [""] * len(split.catalog)})
    with pytest.raises(DataError, match="alpharec has nothing to read"):
        create("alpharec", settings=settings).fit(type(split.train)(silent, split.train.users, split.train.sequences))
    other = AlphaRec(model.config)
    other.catalog, other._served, other.encoder_fingerprint = model.catalog, model.served, "another"
    with pytest.raises(ModelError, match="is not the one that this model was trained with"):
        other.with_catalog(ItemCatalog(IdMap(["new"]), {"title": ["unheard of"]}))  # a known text needs no encoder
