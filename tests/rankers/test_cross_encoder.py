"""The cross-encoder: what it reads, what it begins from, and that it learns what no cosine tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_bert, tiny_encoder

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.encoders.config import EncoderConfig
from bertrec.rankers.cross.config import CrossEncoderConfig
from bertrec.rankers.cross.ranker import CrossEncoder
from bertrec.rankers.cross.start import pair_features
from bertrec.rankers.prompts.rows import ClickDataset
from bertrec.training.config import TrainConfig

COLOURS, THINGS = ("red", "blue", "gold", "pink"), ("car", "hat", "sea", "dog")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]
KINDS = [thing for _ in COLOURS for thing in THINGS]


def ragged(*rows):
    return Ragged.from_rows([np.asarray(row, np.int64) for row in rows])


@pytest.fixture(scope="module")
def catalog():
    return ItemCatalog(IdMap([f"n{k}" for k in range(16)]), {"title": TITLES, "genres": KINDS})


def other_colour(catalog, rows, seed=0):
    """Of three candidates of one kind, the click has the partner of the history's colour: neither kind nor likeness tells it."""
    draw = np.random.default_rng(seed)
    histories, shown, labels = [], [], []
    for row in range(rows):
        colour, thing = draw.integers(4), draw.integers(4)
        others = draw.permutation([one for one in range(4) if one != colour ^ 1])[:2]
        items = [4 * one + thing + 1 for one in (colour ^ 1, *others)]
        order = draw.permutation(3)
        histories.append([] if row == 0 else 4 * colour + 1 + draw.permutation([one for one in range(4) if one != thing])[:2])
        shown.append(np.array(items)[order])
        labels += (order == 0).tolist()
    names = [str(row) for row in range(rows)]
    return Impressions(catalog, names, names, ragged(*histories), ragged(*shown), np.array(labels, np.int8))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tiny_bert(tmp_path_factory.mktemp("bert"), [*TITLES, "likes ; ,"])
    train = TrainConfig(learning_rate=3e-3, encoder_learning_rate=3e-3, batch_size=16, epochs=6, metric="AUC")
    encoder = EncoderConfig(name=folder, tune="full", max_length=32, prompt="none")
    return CrossEncoderConfig(encoder=encoder, train=train, negatives=2)


@pytest.fixture(scope="module")
def still(config):
    """Settings with which a training changes nothing that shows."""
    return config.updated({"encoder.tune": "frozen", "train.learning_rate": 1e-12, "train.epochs": 1})


@pytest.fixture(scope="module")
def learned(config, catalog):
    """Treat it as read-only."""
    return CrossEncoder(config).fit(other_colour(catalog, 200), validation=other_colour(catalog, 30, seed=1), progress=False)


def test_it_learns_to_put_the_right_one_of_a_kind_first(learned, catalog):
    assert learned._once
    assert learned.figures(other_colour(catalog, 100, seed=2))["AUC"] > 0.95


def test_so_it_does_where_history_and_candidate_see_one_another(config, catalog):
    joint = CrossEncoder(config.updated({"attention": "joint"})).fit(other_colour(catalog, 200), progress=False)
    assert not joint._once
    assert joint.figures(other_colour(catalog, 100, seed=2))["AUC"] > 0.95


def test_an_encoder_that_cannot_read_a_history_once_reads_pairs(config, catalog, tmp_path):
    folder = tiny_encoder(tmp_path, "distilbert", [*TITLES, ";"])
    other = config.updated({"encoder.name": folder, "train.epochs": 1})
    assert not CrossEncoder(other).fit(other_colour(catalog, 10), progress=False)._once
    with pytest.raises(ConfigError, match="take attention=joint"):
        CrossEncoder(other.updated({"attention": "once"})).fit(other_colour(catalog, 10), progress=False)


def test_untrained_it_stands_where_the_cosine_does(still, catalog):
    shown = other_colour(catalog, 60)
    ranker = CrossEncoder(still).fit(shown, progress=False)
    vectors = ranker.network.encoder.encode(TITLES)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = []
    for history, items in zip(shown.histories, shown.candidates, strict=True):
        mean = vectors[history - 1].mean(axis=0) if len(history) else np.zeros(vectors.shape[1])
        cosines += (vectors[items - 1] @ mean / max(np.linalg.norm(mean), 1e-12)).tolist()
    found = ranker.score(shown.histories, shown.candidates)
    slope, shift = np.polyfit(cosines, found, 1)
    np.testing.assert_allclose(slope * np.array(cosines) + shift, found, atol=1e-5)
    assert ranker.network.prior.gain.item() == pytest.approx(1.0)


def test_with_the_retrievers_scores_it_begins_from_them(still, catalog):
    shown = other_colour(catalog, 60)
    right = np.where(shown.labels == 1, 2.0, np.arange(len(shown.labels)) % 3 / 10).astype(np.float32)
    ranker = CrossEncoder(still.updated({"retrieval": True})).fit(shown, retrieval_scores=right, progress=False)
    scores = ranker.score(shown.histories, shown.candidates, retrieval_scores=right)
    assert all(scores[3 * row : 3 * row + 3].argmax() == right[3 * row : 3 * row + 3].argmax() for row in range(60))
    assert ranker.weights["retrieval_score"] > 0 > ranker.weights["retrieval_place"]  # a low place is a good one
    wrong = ranker.score(shown.histories, shown.candidates, retrieval_scores=-right)
    assert np.corrcoef(scores, wrong)[0, 1] < 0
    with pytest.raises(DataError, match="give retrieval_scores, 180 numbers"):
        ranker.score(shown.histories, shown.candidates)
    with pytest.raises(ConfigError, match="learn from valid"):
        CrossEncoder(still.updated({"retrieval": True})).fit(shown, progress=False)
    with pytest.raises(ConfigError, match="leave these out"):
        CrossEncoder(still.updated({"retrieval": True})).fit(shown, validation=shown, retrieval_scores=right, progress=False)


def test_scores_of_negatives_that_were_drawn_are_their_own(still, catalog, monkeypatch):
    """Of four candidates beside the click two are drawn: the retriever's score of each must go with it."""
    shown = Impressions(
        catalog, list("abcd"), list("abcd"), ragged(*[[6]] * 4), ragged(*[[1, 2, 3, 4, 5]] * 4), np.array([0, 0, 1, 0, 0] * 4, np.int8)
    )
    seen = []

    def features(items, histories, candidates, scores):
        seen.append((candidates.values, scores))
        return pair_features(items, histories, candidates, scores)

    monkeypatch.setattr("bertrec.rankers.cross.ranker.pair_features", features)
    CrossEncoder(still.updated({"retrieval": True})).fit(shown, retrieval_scores=shown.candidates.values * 10.0, progress=False)
    (items, scores), *_ = seen
    assert len(items) == 12
    assert scores.tolist() == (items * 10.0).tolist()


def words(ranker, tokens):
    return ranker.network.encoder.tokenizer.convert_ids_to_tokens(tokens.tolist())


def test_a_pair_is_the_profile_the_newest_titles_and_the_candidate(config, still, catalog):
    keywords = still.updated({"profile": "keywords", "profile_field": "genres", "titles": 2, "attention": "joint"})
    ranker = CrossEncoder(keywords).fit(other_colour(catalog, 40), item_counts=np.array([0, *[100] * 15, 1]), progress=False)
    rows = ranker._rows(ragged([1, 2, 6, 10], []))
    whole = rows.layout.pairs(rows.slots, np.array([0, 1]), np.array([7, 16]))
    read = "[CLS] likes hat ; gold hat ; blue hat [SEP] blue sea [SEP]"  # hat is on three of four, and on a quarter of all
    assert words(ranker, whole[0]) == read.split()
    assert words(ranker, whole[1]) == ["[CLS]", "[SEP]", "pink", "dog", "[SEP]"]
    once = CrossEncoder(still).fit(other_colour(catalog, 40), progress=False)
    rows = once._rows(ragged([1, 2]))
    assert words(once, rows.slots[0][0]) == ["[CLS]", ";", "red", "hat", ";", "red", "car"]
    assert words(once, rows.layout.after[6]) == ["[SEP]", "blue", "sea", "[SEP]"]


def test_keywords_of_words_tell_what_the_texts_do(still, catalog):
    ranker = CrossEncoder(still.updated({"profile": "keywords"})).fit(other_colour(catalog, 40), progress=False)
    assert ranker._profiles.say(ragged([5, 6, 7], []))[0].split()[:2] == ["likes", "blue"]
    with pytest.raises(DataError, match="unknown text field 'genre'"):
        CrossEncoder(still.updated({"profile": "keywords", "profile_field": "genre"})).fit(other_colour(catalog, 40), progress=False)


def test_swaps_are_drawn_anew_in_each_epoch_of_a_training_and_nowhere_else(config, still, catalog, monkeypatch):
    seen = []
    real = ClickDataset.batches

    def batches(self, epoch, batch_size, seed):
        found = list(real(self, epoch, batch_size, seed))
        seen.append((epoch, self.rows.slots[0].values.tolist()))
        return found

    monkeypatch.setattr(ClickDataset, "batches", batches)
    shown = other_colour(catalog, 40)
    ranker = CrossEncoder(still.updated({"swap": 0.5, "train.epochs": 2})).fit(shown, progress=False)
    by_epoch = {epoch: [values for one, values in seen if one == epoch] for epoch in (0, 1)}
    assert all(one == values[0] for values in by_epoch.values() for one in values)
    plain = CrossEncoder(still).fit(shown, progress=False)._rows(shown.histories).slots[0].values.tolist()
    assert len({str(one) for one in (by_epoch[0][0], by_epoch[1][0], plain)}) == 3
    assert ranker._rows(shown.histories).slots[0].values.tolist() == plain


def test_saved_it_gives_the_same_scores_and_moves_to_other_items(learned, catalog, tmp_path):
    learned.save_pretrained(tmp_path / "cross")
    loaded = CrossEncoder.from_pretrained(tmp_path / "cross")
    histories, candidates = ragged([1, 2], [], [5, 6, 7, 8]), ragged([3], [1, 2], [9, 1])
    np.testing.assert_array_equal(loaded.score(histories, candidates), learned.score(histories, candidates))
    assert loaded.model_hash == learned.model_hash
    turned = ItemCatalog(IdMap([f"m{k}" for k in range(16)]), {"title": TITLES[::-1]})
    moved = loaded.prepare(turned).score(*(Ragged(17 - rows.values, rows.offsets) for rows in (histories, candidates)))
    np.testing.assert_allclose(moved, learned.score(histories, candidates), atol=1e-5)


def test_what_cannot_be_is_said(config, catalog):
    with pytest.raises(ModelError, match="not fitted"):
        CrossEncoder(config).score(ragged([1]), ragged([1]))
    with pytest.raises(ConfigError, match="positions"):
        CrossEncoder(config.updated({"encoder.max_length": 500})).fit(other_colour(catalog, 10), progress=False)
    with pytest.raises(ConfigError, match="swap"):
        config.updated({"swap": 1.5})
    torch.manual_seed(0)
    drawn = torch.rand(1)
    torch.manual_seed(0)
    CrossEncoder(config.updated({"train.epochs": 1})).fit(other_colour(catalog, 4), progress=False)
    assert torch.equal(torch.rand(1), drawn)  # the caller's random numbers go on as they were
