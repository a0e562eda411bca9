"""Two towers on impressions: the formula by hand, and that they learn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.models.hub import left_out
from bertrec.models.registry import create
from bertrec.rankers.losses import rank_loss
from bertrec.rankers.news.nrms import NRMS, NRMSConfig, SelfAttentionTower
from bertrec.rankers.news.towers import Past
from bertrec.training.config import TrainConfig

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "gold") for thing in ("car", "hat", "sea", "dog")]


def ragged(*rows):
    return Ragged.from_lengths(np.array([item for row in rows for item in row], np.int64), np.array([len(row) for row in rows], np.int64))


def same_colour(n, seed=0):
    rng = np.random.default_rng(seed)
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(12)]), {"title": TITLES})
    histories, shown, labels = [], [], []
    for row in range(n):
        colour = rng.integers(3)
        items = 4 * colour + 1 + rng.permutation(4)
        others = rng.choice([k for k in range(1, 13) if (k - 1) // 4 != colour], 2, replace=False)
        histories.append([] if row == 0 else items[:2])
        shown.append([others[0], items[3], others[1]])
        labels += [0, 1, 0]
    names = [str(k) for k in range(n)]
    return Impressions(catalog, names, list(names), ragged(*histories), ragged(*shown), np.array(labels, np.int8))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tiny_bert(tmp_path_factory.mktemp("bert"), TITLES)
    train = TrainConfig(learning_rate=3e-3, encoder_learning_rate=1e-3, batch_size=16, epochs=8, metric="AUC")
    return NRMSConfig(encoder=EncoderConfig(name=folder, tune="full", max_length=8), train=train, heads=2, negatives=2, dropout=0.0)


def test_it_learns_and_scores_are_inner_products_that_padding_does_not_move(config):
    model = NRMS(config).fit(same_colour(80), validation=same_colour(30, seed=1), progress=False)
    assert model.figures(same_colour(30, seed=2))["AUC"] > 0.9
    histories, candidates = ragged([1, 2], [], [5, 6, 7, 8]), ragged([3], [1, 2], [9, 1])
    together = model.score(histories, candidates)
    alone = [model.score(ragged(histories[row]), ragged([item]))[0] for row in range(3) for item in candidates[row]]
    assert together == pytest.approx(np.array(alone), abs=1e-5)
    empty = model.network.users.empty.detach() @ model._table.items[1]
    assert together[1] == pytest.approx(empty.item(), abs=1e-5)


def test_the_user_tower_is_attention_over_attended_items():
    torch.manual_seed(0)
    tower, items = SelfAttentionTower(4, 1, 0.0).eval(), torch.randn(1, 3, 4)
    mask = torch.tensor([[True, True, False]])
    assert torch.allclose(tower(Past(items, mask))[0], items[0, :2].mean(dim=0), atol=1e-6)  # untrained: the mean of the history
    for weight in (tower.attention.out_proj.weight, tower.query.weight):
        torch.nn.init.normal_(weight)
    weight, bias = tower.attention.in_proj_weight, tower.attention.in_proj_bias
    query, key, value = (items[0] @ weight[4 * k : 4 * k + 4].T + bias[4 * k : 4 * k + 4] for k in range(3))
    attended = items[0] + tower.attention.out_proj((query @ key.T / 2).softmax(dim=1) @ value)
    share = tower.query(torch.tanh(tower.project(attended)))[:, 0].softmax(dim=0)
    expected = (share[:, None] * attended).sum(dim=0)
    assert torch.allclose(tower(Past(items, torch.ones(1, 3, dtype=torch.bool)))[0], expected, atol=1e-6)


def test_an_untrained_tower_is_the_mean_and_a_frozen_encoder_reads_each_item_once(config, monkeypatch):
    read = []
    real = TextEncoder.encode_tokens
    monkeypatch.setattr(TextEncoder, "encode_tokens", lambda self, tokens, rows=None: read.append(rows) or real(self, tokens, rows))
    still = config.updated({"encoder.tune": "frozen", "train.learning_rate": 1e-12, "train.epochs": 2})
    model = NRMS(still).fit(same_colour(40), validation=same_colour(10, seed=1), progress=False)
    model.score(ragged([1]), ragged([1]))
    assert read == [None]
    vectors = model._table.items.numpy()
    assert np.linalg.norm(vectors[1:], axis=1) == pytest.approx(np.ones(12), abs=1e-6)
    expected = [vectors[[1, 7]].mean(axis=0) @ vectors[3], 0.0]
    assert model.score(ragged([1, 7], []), ragged([3], [3])) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("tune", ["frozen", "full"])
def test_saved_towers_give_the_same_scores(config, tmp_path, tune):
    model = NRMS(config.updated({"encoder.tune": tune, "train.epochs": 2})).fit(same_colour(40), progress=False)
    model.save_pretrained(tmp_path / "towers")
    loaded = NRMS.from_pretrained(tmp_path / "towers")
    assert left_out(tmp_path / "towers") == []  # all of it would be sent to the hub
    assert "bertrec.Ranker.from_pretrained(name)" in (tmp_path / "towers" / "README.md").read_text()
    histories, candidates = ragged([1, 2], [], [5, 6, 7, 8]), ragged([3], [1, 2], [9, 1])
    np.testing.assert_array_equal(loaded.score(histories, candidates), model.score(histories, candidates))
    assert (loaded.config, loaded.train_log) == (model.config, model.train_log)
    assert loaded.catalog.content_hash == model.catalog.content_hash
    weights = tmp_path / "towers" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(ModelError, match=r"model\.safetensors is not the file that was saved"):
        NRMS.from_pretrained(tmp_path / "towers")


def test_what_cannot_be_is_said(config, tmp_path):
    with pytest.raises(ModelError, match="not fitted"):
        NRMS(config).save_pretrained(tmp_path / "towers")
    create("popularity").fit(Interactions(same_colour(2).catalog, IdMap(["u"]), ragged([1, 2]))).save_pretrained(tmp_path / "popular")
    with pytest.raises(ModelError, match="holds a popularity model, not one of"):
        NRMS.from_pretrained(tmp_path / "popular")
    with pytest.raises(ModelError, match="not fitted"):
        NRMS(config).score(ragged([1]), ragged([1]))
    with pytest.raises(DataError, match="no labels"):
        NRMS(config).figures(replace(same_colour(3), labels=None))
    with pytest.raises(ConfigError, match="does not divide"):
        NRMS(config.updated({"heads": 5})).fit(same_colour(10), progress=False)


@pytest.mark.parametrize("loss", ["pointwise", "pairwise", "listwise"])
def test_it_minimises_the_loss_that_is_asked_for(config, loss):
    model = NRMS(config.updated({"loss": loss, "encoder.tune": "frozen", "train.epochs": 1})).fit(same_colour(20), progress=False)
    network = model.trained
    histories, candidates = torch.tensor([[1, 2], [5, 0]]), torch.tensor([[3, 5], [1, 6]])
    labels = torch.tensor([[1, 0], [0, 1]])
    found = network(histories, candidates, labels, torch.zeros(2, dtype=torch.int64))["loss"]
    scores = model.score(ragged([1, 2], [5]), ragged([3, 5], [1, 6])).reshape(2, 2)
    logits = torch.from_numpy(scores) if loss == "pointwise" else network.scale.exp() * torch.from_numpy(scores)
    assert found.item() == pytest.approx(rank_loss(logits, labels, loss).item(), rel=1e-4)
    assert ("bias" in model.state_dict()) == (loss == "pointwise")


def test_pointwise_scores_are_logits_of_a_click(config):
    model = NRMS(config.updated({"loss": "pointwise", "train.epochs": 12})).fit(same_colour(80), progress=False)
    shown = same_colour(60, seed=2)
    chance = 1 / (1 + np.exp(-model.score_impressions(shown)))
    assert chance.mean() == pytest.approx(1 / 3, abs=0.1)  # one of three is clicked; a cosine alone would be far above
    assert ((chance > 0.5) == shown.labels).mean() > 0.85


def test_a_folder_of_before_the_losses_is_read(config, tmp_path):
    """Its settings name no loss and its weights have no bias."""
    model = NRMS(config.updated({"train.epochs": 1})).fit(same_colour(20), progress=False)
    model.save_pretrained(tmp_path / "towers")
    record = json.loads((tmp_path / "towers" / "config.json").read_text())
    del record["config"]["loss"], record["record_sha256"]
    (tmp_path / "towers" / "config.json").write_text(json.dumps(record))
    shown = same_colour(10, seed=1)
    np.testing.assert_array_equal(NRMS.from_pretrained(tmp_path / "towers").score_impressions(shown), model.score_impressions(shown))
    other = NRMS(config.updated({"loss": "pointwise", "train.epochs": 1})).fit(same_colour(20), progress=False)
    other.load_state_dict({name: value for name, value in other.state_dict().items() if name != "bias"})
    assert other.trained.bias.item() == 0
