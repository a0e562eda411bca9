"""The composite reranker's parts beside naive loops, and a planted world that its head must learn."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.item_labels import usual_field
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.rankers.composite.ranker import Composite, CompositeConfig
from bertrec.rankers.composite.token_store import TokenStore, maxsim, word_pieces
from bertrec.rankers.linear_head import fit_linear_head
from bertrec.rankers.losses import rank_loss
from bertrec.retrieval.sparse_text import BM25, shared_labels

DOCUMENTS = [[], [5, 6, 5], [6], [], [7, 8, 9, 5], [6, 6, 6, 8]]


def naive_bm25(query, document, documents, k1=1.2, b=0.75):
    filled = [row for row in documents if row]
    average = sum(map(len, filled)) / len(filled)
    score = 0.0
    for term in query:  # a term that stands twice in the query counts twice
        tf = document.count(term)
        df = sum(term in row for row in filled)
        idf = math.log(1 + (len(filled) - df + 0.5) / (df + 0.5))
        score += idf * tf * (k1 + 1) / (tf + k1 * (1 - b + b * len(document) / average)) if tf else 0.0
    return score


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.0, 0.0), (2.0, 1.0)])
def test_bm25_beside_a_loop(k1, b):
    histories, candidates = Ragged.from_rows([[1, 4], [5], [], [3, 2]]), Ragged.from_rows([[2, 4, 3], [1], [1, 2], [5, 5]])
    expected = []
    for history, row in zip(histories, candidates, strict=True):
        for item in row:
            each = [naive_bm25(DOCUMENTS[past], DOCUMENTS[item], DOCUMENTS, k1, b) for past in history]
            expected.append(np.mean(each) if each else 0.0)
    found = BM25.build(Ragged.from_rows(DOCUMENTS), k1=k1, b=b).score(histories, candidates)
    assert found == pytest.approx(expected, rel=1e-5)


def test_bm25_by_hand():
    # Two texts of one word each, k1 = 0: the score is the idf, ln(1 + (2 - 1 + 0.5) / (1 + 0.5)) = ln 2
    words = BM25.build(Ragged.from_rows([[], [3], [4]]), k1=0.0, b=0.0)
    assert words.score(Ragged.from_rows([[1]]), Ragged.from_rows([[1, 2]])).tolist() == pytest.approx([math.log(2), 0.0])
    for bad in ({"k1": -1.0}, {"b": 1.5}):
        with pytest.raises(ConfigError, match="BM25"):
            BM25.build(Ragged.from_rows([[]]), **bad)
    none = BM25.build(Ragged.from_rows([[], []]))
    assert none.score(Ragged.from_rows([[1]]), Ragged.from_rows([[1]])).tolist() == [0.0]


def test_shared_labels_by_hand():
    labels = Ragged.from_rows([[], [0, 1], [1], []])
    # of the history (1, 2, 2) one third has label 0 and all have label 1
    found = shared_labels(labels, Ragged.from_rows([[1, 2, 2], []]), Ragged.from_rows([[1, 2, 3], [1]]))
    assert found.tolist() == pytest.approx([(1 / 3 + 1) / 2, 1.0, 0.0, 0.0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 99))
def test_maxsim_beside_a_loop(query_lengths, document_lengths, seed):
    draw = np.random.default_rng(seed)
    queries, documents = (draw.standard_normal((sum(lengths), 3)).astype(np.float32) for lengths in (query_lengths, document_lengths))
    found = maxsim(queries, np.array(query_lengths), documents, np.array(document_lengths), footprints=False)
    for i, query in enumerate(np.split(queries, np.cumsum(query_lengths)[:-1])):
        for j, document in enumerate(np.split(documents, np.cumsum(document_lengths)[:-1])):
            best = [max(float(q @ d) for d in document) for q in query] if len(document) else []
            assert found[i, j] == pytest.approx(np.mean(best) if best else 0.0, abs=1e-5)


KINDS = ("red", "green", "빨강", "blue")


@pytest.fixture(scope="module")
def catalog():
    rows = [(f"{kind}{n}", f"{kind} thing", kind) for n in range(3) for kind in KINDS] + [("none", "", "")]
    return ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title", "genres"]), text_fields=["title", "genres"])


@pytest.fixture(scope="module")
def encoder_name(tmp_path_factory, catalog):
    from tiny_encoders import tiny_bert

    return tiny_bert(tmp_path_factory.mktemp("encoder"), catalog.texts, hidden=16, layers=1)


def settings_of(encoder_name, **more):
    return CompositeConfig(encoder=EncoderConfig(name=encoder_name, max_length=16), **more)


@pytest.fixture(scope="module")
def impressions(catalog):
    """The clicked item has the colour of the history, the others have not."""
    histories = [[n] for n in range(1, 13)]
    candidates = [[1 + (n - 1 + 4) % 12, *(1 + (n - 1 + step) % 12 for step in (1, 2, 3))] for n in range(1, 13)]
    labels = np.tile(np.array([1, 0, 0, 0], np.int8), 12)
    users = [f"u{n}" for n in range(12)]
    return Impressions(catalog, users, list(users), Ragged.from_rows(histories), Ragged.from_rows(candidates), labels)


@pytest.fixture(scope="module")
def fitted(encoder_name, impressions):
    return Composite(settings_of(encoder_name)).fit(impressions)


def test_stored_token_vectors_are_the_encoders_own(encoder_name, catalog):
    encoder = TextEncoder.from_config(EncoderConfig(name=encoder_name, max_length=16))
    store = TokenStore.build(encoder, catalog.texts)
    pieces = word_pieces(encoder, catalog.texts)
    assert np.diff(store.offsets).tolist() == pieces.lengths.tolist() == [0, *[3] * 12, 0]
    ids = encoder.tokenizer(catalog.texts[2], return_tensors="pt")
    hidden = encoder.model(**ids).last_hidden_state[0, 1:-1].detach()
    expected = torch.nn.functional.normalize(hidden, dim=1).numpy()
    vectors, lengths = store.vectors(np.array([3]))
    assert lengths.tolist() == [3]
    assert np.abs(vectors - expected).max() < 0.005  # half a step of int8
    naive = np.mean([max(float(q @ d) for d in expected) for q in expected])
    assert store.maxsim(np.array([3]), np.array([3, 13])) == pytest.approx(np.array([[naive, 0.0]]), abs=0.02)


def test_footprints_estimate_the_cosine(encoder_name, catalog):
    encoder = TextEncoder.from_config(EncoderConfig(name=encoder_name, max_length=16))
    items = np.arange(1, 14)
    exact = TokenStore.build(encoder, catalog.texts).maxsim(items, items)
    bits = TokenStore.build(encoder, catalog.texts, kind="lsh", bits=4096)
    assert bits.codes.shape == (36, 512)
    assert bits.codes.dtype == np.uint8
    assert np.abs(bits.maxsim(items, items) - exact).max() < 0.1
    with pytest.raises(ConfigError, match="multiple of 8"):
        TokenStore.build(encoder, catalog.texts, kind="lsh", bits=12)


def test_the_planted_colour_is_learned(fitted, impressions):
    scores = fitted.score(impressions.histories, impressions.candidates).reshape(12, 4)
    assert (scores.argmax(axis=1) == 0).all()
    assert scores.dtype == np.float32
    assert fitted.weights["labels"] > 0
    assert set(fitted.weights) == set(fitted.feature_names)


def test_each_feature_is_what_its_part_says(fitted):
    histories, candidates = Ragged.from_rows([[1, 2], []]), Ragged.from_rows([[5, 13], [5, 6]])
    found = dict(zip(fitted.feature_names, fitted.features(histories, candidates).T, strict=True))
    assert found["labels"].tolist() == [0.5, 0, 0, 0]
    assert found["popularity"] == pytest.approx(np.log1p([1, 0, 1, 1]))  # every item but the last was clicked once
    assert found["maxsim_max"][0] >= found["maxsim_mean"][0] >= min(found["maxsim_last"][0], found["maxsim_mean"][0])
    for name in ("maxsim_mean", "maxsim_max", "maxsim_last", "bm25_mean", "bm25_last"):
        assert found[name][1:].tolist() == [0, 0, 0]  # no text, no history
    assert fitted.score(histories, candidates)[2] == fitted.score(histories, candidates)[3]  # without a history popularity decides


def clicked_by_chance(n, items):
    """Nobody has a history, all items have one text, and one of the five that are shown is clicked, whichever."""
    draw = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"i{number}" for number in range(items)]), {"title": ["red thing"] * items})
    shown = np.stack([draw.permutation(items)[:5] + 1 for _ in range(n)])
    labels = np.tile(np.array([1, 0, 0, 0, 0], np.int8), n)
    users = [f"u{number}" for number in range(n)]
    return Impressions(catalog, users, list(users), Ragged.from_rows([[]] * n), Ragged.from_rows(shown), labels)


@pytest.mark.parametrize("given", [False, True])
def test_a_click_does_not_count_for_its_own_popularity(encoder_name, given):
    """Where clicks fall by chance popularity says nothing; with its own click in its count an item that was clicked has one more."""
    shown = clicked_by_chance(2000, 1000)
    counts = np.bincount(shown.clicks.values, minlength=1001)
    known = {"item_counts": counts, "counted": True} if given else {}
    learned = Composite(settings_of(encoder_name)).fit(shown, **known)
    told = Composite(settings_of(encoder_name)).fit(shown, item_counts=counts)  # as if the counts were of another time
    assert abs(learned.weights["popularity"]) < 0.1
    assert told.weights["popularity"] > 0.5
    empty, one = Ragged.from_rows([[]]), Ragged.from_rows([[1, 2]])
    found = learned.features(empty, one)[:, learned.feature_names.index("popularity")]
    assert found == pytest.approx(np.log1p(counts[1:3]))  # all clicks count in use


def test_only_the_newest_items_are_read(encoder_name, impressions):
    model = Composite(settings_of(encoder_name, max_history=1)).fit(impressions)
    long, short = Ragged.from_rows([[2, 3, 4, 1]]), Ragged.from_rows([[1]])
    candidates = Ragged.from_rows([[5, 6, 7]])
    assert model.score(long, candidates).tolist() == model.score(short, candidates).tolist()


def test_the_retrievers_scores_are_read_where_asked_for(encoder_name, impressions):
    config = settings_of(encoder_name, retrieval=True, label_field="")
    helpful = np.tile(np.array([5.0, 1, 2, 3], np.float32), 12)
    model = Composite(config).fit(impressions, retrieval_scores=helpful)
    assert model.needs_retrieval_scores
    assert model.weights["retrieval_score"] > 0 > model.weights["retrieval_place"]
    assert model.weights["labels"] == 0
    with pytest.raises(DataError, match="retrieval_scores, 4 numbers"):
        model.score(Ragged.from_rows([[1]]), Ragged.from_rows([[2, 3, 4, 5]]))


@pytest.mark.parametrize("kind", ["int8", "lsh"])
def test_a_saved_model_scores_the_same(encoder_name, impressions, tmp_path, kind):
    model = Composite(settings_of(encoder_name, tokens=kind, bits=64)).fit(impressions)
    model.save_pretrained(tmp_path / "model")
    again = Composite.from_pretrained(tmp_path / "model")
    asked = impressions.histories, impressions.candidates
    assert again.score(*asked).tolist() == model.score(*asked).tolist()
    assert again.model_hash == model.model_hash
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        Composite.from_pretrained(tmp_path / "model")


def test_what_cannot_be_learned_or_scored_is_named(encoder_name, impressions, fitted):
    model = Composite(settings_of(encoder_name))
    with pytest.raises(ModelError, match="not fitted"):
        model.score(Ragged.from_rows([[1]]), Ragged.from_rows([[1]]))
    hidden = Impressions(impressions.catalog, ["a"], ["a"], Ragged.from_rows([[1]]), Ragged.from_rows([[2]]))
    with pytest.raises(DataError, match="no labels"):
        model.fit(hidden)
    with pytest.raises(DataError, match="item_counts must hold 14"):
        model.fit(impressions, item_counts=np.ones(3))
    with pytest.raises(DataError, match="a candidate holds an id outside 1 to 13"):
        fitted.score(Ragged.from_rows([[1]]), Ragged.from_rows([[0, 99]]))
    with pytest.raises(DataError, match="1 histories for 2"):
        fitted.score(Ragged.from_rows([[1]]), Ragged.from_rows([[1], [2]]))
    with pytest.raises(DataError, match="did you mean 'genres'"):
        Composite(settings_of(encoder_name, label_field="genre")).fit(impressions)


def test_the_heads_weights_are_at_the_minimum():
    lists = Ragged.from_rows([[1, 2], [3, 4, 5], [6]])
    x, labels = np.random.default_rng(0).standard_normal((6, 2)), np.array([1, 0, 1, 0, 1, 1])

    def loss(weight):
        parts = []
        for start, stop in ((0, 2), (2, 5)):  # the list of one click teaches nothing
            logits = x[start:stop] @ weight
            log_p = logits - np.log(np.exp(logits).sum())
            parts.append(-(log_p * labels[start:stop]).sum() / labels[start:stop].sum())
        return np.mean(parts) + 0.1 * (weight**2).sum()

    best = fit_linear_head(x, labels, lists, l2=0.1)
    for step in ([1e-3, 0], [-1e-3, 0], [0, 1e-3], [0, -1e-3]):
        assert loss(best + step) > loss(best)
    with pytest.raises(DataError, match="nothing to learn from"):
        fit_linear_head(x[5:], labels[5:], Ragged.from_rows([[6]]), l2=0.1)


@pytest.mark.parametrize("kind", ["pointwise", "pairwise"])
def test_the_other_losses_are_those_of_every_ranker(kind):
    lists = Ragged.from_rows([[1, 2, 3], [3, 4, 5], [6]])
    draw = np.random.default_rng(0)
    x, labels = draw.standard_normal((7, 2)), np.array([1, 0, 1, 0, 1, 0, 1])
    best = torch.from_numpy(fit_linear_head(x, labels, lists, l2=0.1, loss=kind))
    padded = torch.tensor([[1, 0, 1], [0, 1, 0], [1, -1, -1]])
    weight, shift = best.clone().requires_grad_(), torch.zeros(1, dtype=torch.float64, requires_grad=True)

    def loss():
        scores = torch.zeros(3, 3, dtype=torch.float64).masked_scatter(padded >= 0, torch.from_numpy(x) @ weight + shift)
        return rank_loss(scores, padded, kind) + 0.1 * weight.square().sum()

    search = torch.optim.LBFGS([shift], max_iter=100)  # pointwise has an intercept, which is not returned
    search.step(lambda: [search.zero_grad(), value := loss(), value.backward()][1])
    weight.grad = None
    loss().backward()
    assert weight.grad.abs().max() < 1e-4  # at the minimum


def test_a_pointwise_head_needs_both_labels_and_a_pairwise_one_in_one_list():
    x, rows = np.ones((2, 1)), Ragged.from_rows([[1], [2]])
    with pytest.raises(DataError, match="hold clicks alone, or none"):
        fit_linear_head(x, np.ones(2), rows, l2=0.1, loss="pointwise")
    with pytest.raises(DataError, match="none of the 2 lists has both"):
        fit_linear_head(x, np.array([1, 0]), rows, l2=0.1, loss="pairwise")
    assert fit_linear_head(np.array([[1.0], [-1.0]]), np.array([1, 0]), rows, l2=0.1, loss="pointwise")[0] > 0


@pytest.mark.parametrize("kind", ["pointwise", "pairwise"])
def test_the_planted_colour_is_learned_by_any_loss(encoder_name, impressions, kind):
    model = Composite(settings_of(encoder_name, loss=kind)).fit(impressions)
    scores = model.score(impressions.histories, impressions.candidates).reshape(12, 4)
    assert (scores.argmax(axis=1) == 0).all()


def test_a_field_of_labels_that_is_empty_for_all_items_is_none():
    titles, blank = ["a", "b"], ["", " "]
    assert usual_field(ItemCatalog(IdMap([1, 2]), {"title": titles, "genres": blank})) is None
    assert usual_field(ItemCatalog(IdMap([1, 2]), {"title": titles, "genres": blank, "category": ["x", ""]})) == "category"
