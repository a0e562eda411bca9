"""The cloze ranker: what it reads, what it learns, and that reading the history once changes no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_masked

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.models.hub import left_out
from bertrec.models.popularity import Popularity
from bertrec.rankers.ensemble import Ensemble as PromptEnsemble
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.rows import ClickDataset
from bertrec.rankers.prompts.template import Prompt, library
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.training.config import TrainConfig

COLOURS = ("red", "blue", "green", "gold")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in ("car", "hat", "sea", "dog", "cup")]
WORDS = [*TITLES, "user news does the click is to of no yes bad good boring interesting related unrelated 영화 ; ? :"]


def ragged(*rows):
    return Ragged.from_lengths(np.array([item for row in rows for item in row], np.int64), np.array([len(row) for row in rows], np.int64))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tiny_masked(tmp_path_factory.mktemp("masked"), [*WORDS, *(Prompt.load(name).text for name in library())])


@pytest.fixture(scope="module")
def catalog():
    return ItemCatalog(IdMap([f"n{k}" for k in range(len(TITLES))]), {"title": TITLES})


def config(folder, prompt="action-hybrid", **more):
    encoder = MaskedConfig(name=folder, tune=more.pop("tune", "full"), max_length=more.pop("max_length", 60), dropout=False)
    train = TrainConfig(**{"encoder_learning_rate": 3e-3, "batch_size": 8, "epochs": 6, "metric": "AUC", **more.pop("train", {})})
    return PromptConfig(prompt=Prompt.load(prompt), encoder=encoder, train=train, **more)


def same_colour(catalog, n=60, seed=0):
    """Impressions in which the click has the colour of the history."""
    rng = np.random.default_rng(seed)
    histories, candidates, labels = [], [], []
    for _ in range(n):
        colour = rng.integers(4)
        items = 5 * colour + 1 + rng.permutation(5)
        others = [k for k in range(1, 21) if (k - 1) // 5 != colour]
        shown = [items[4], *rng.choice(others, 3, replace=False)]
        order = rng.permutation(4)
        histories.append(items[: rng.integers(1, 4)])
        candidates.append([shown[at] for at in order])
        labels += [int(at == 0) for at in order]
    names = [f"i{k}" for k in range(n)]
    return Impressions(catalog, names, [f"u{k}" for k in range(n)], ragged(*histories), ragged(*candidates), np.array(labels, np.int8))


HISTORIES = ragged([1, 2, 3], [], [7], [8, 9, 10, 11, 12])
CANDIDATES = ragged([4, 6, 11], [1, 2], [8], list(range(1, 21)))


@pytest.mark.parametrize("prompt", ["relevance-discrete", "action-hybrid", "utility-continuous", "item-text"])
def test_a_score_is_the_share_of_the_positive_answer_at_the_mask_of_the_filled_template(folder, catalog, prompt):
    ranker = PromptRanker(config(folder, prompt, attention="joint")).prepare(catalog)
    scores = ranker.score(HISTORIES, CANDIDATES)
    rows = ranker._layout.slots(HISTORIES)
    at = 0
    for row in range(4):
        for item in CANDIDATES[row]:
            tokens = torch.from_numpy(ranker._layout.pairs(rows, np.array([row]), np.array([item])).values)[None]
            with torch.no_grad():
                hidden = ranker.encoder.hidden(tokens, torch.ones_like(tokens))
                mask = int((tokens[0] == ranker.encoder.tokenizer.mask_token_id).nonzero())
                logits = ranker.encoder.logits(hidden[:, mask])[0]
            answers = [ranker.encoder.tokenizer.convert_tokens_to_ids(ranker.config.prompt.answers[x][0]) for x in ("negative", "positive")]
            assert scores[at] == pytest.approx(logits[answers].softmax(0)[1].item(), abs=1e-5)
            at += 1


def test_reading_the_history_once_gives_what_a_block_mask_gives(folder, catalog):
    ranker = PromptRanker(config(folder, attention="once")).prepare(catalog)
    assert ranker.once
    scores = ranker.score(HISTORIES, CANDIDATES)
    prefixes, after = ranker._layout.prefixes(ranker._layout.slots(HISTORIES)), ranker._layout.after
    expected = []
    for row in range(4):
        for item in CANDIDATES[row]:
            tokens = torch.from_numpy(np.concatenate([prefixes[row], after[item - 1]]))[None]
            sees = torch.ones(1, tokens.shape[1], tokens.shape[1], dtype=torch.long)
            sees[:, : len(prefixes[row]), len(prefixes[row]) :] = 0
            with torch.no_grad():
                hidden = ranker.encoder.hidden(tokens, sees)[0, int((tokens[0] == ranker.network.mask_id).nonzero())]
                expected.append(torch.sigmoid(ranker.network._answer(hidden[None]))[0].item())
    assert scores == pytest.approx(np.array(expected), abs=1e-5)


def test_it_learns_that_the_click_has_the_colour_of_the_history(folder, catalog):
    train, test = same_colour(catalog, 96), same_colour(catalog, 40, seed=1)
    ranker = PromptRanker(config(folder, loss="listwise", train={"epochs": 10, "batch_size": 16}))
    assert ranker.fit(train, validation=test, progress=False).figures(test)["AUC"] > 0.85
    assert max(entry.metrics["AUC"] for entry in ranker.train_log.epochs) == pytest.approx(ranker.figures(test)["AUC"])


@pytest.mark.parametrize("attention", ["once", "joint"])
def test_both_losses_are_their_formulas(folder, catalog, attention):
    clicks = sample_negatives(same_colour(catalog, 5), 2, seed=0)
    for loss in ("pointwise", "listwise"):
        ranker = PromptRanker(config(folder, attention=attention, loss=loss)).prepare(catalog)
        dataset = ClickDataset(ranker._rows(clicks.histories), clicks, 0)
        scores = ranker.score(clicks.histories, clicks.candidates).astype(np.float64).reshape(5, 3)
        clicked, odds = clicks.labels.reshape(5, 3) == 1, scores / (1 - scores)
        expected = {
            "pointwise": -np.log(np.where(clicked, scores, 1 - scores)).mean(),
            "listwise": -np.log((odds / odds.sum(axis=1, keepdims=True))[clicked]).mean(),
        }[loss]
        with torch.no_grad():
            assert ranker.network(**dataset.collate(list(range(5))))["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_a_batch_without_a_click_teaches_the_listwise_loss_nothing(folder, catalog):
    ranker = PromptRanker(config(folder, loss="listwise", negatives=0)).prepare(catalog)
    shown = Impressions(catalog, ["a", "b"], ["a", "b"], ragged([1], []), ragged([2, 3], [4]), np.array([0, 0, 0], np.int8))
    loss = ranker.network(**ClickDataset(ranker._rows(shown.histories), shown, 0).collate([0, 1]))["loss"]
    loss.backward()
    assert loss.item() == 0
    assert all(torch.isfinite(p.grad).all() for p in ranker.network.parameters() if p.grad is not None)


def test_soft_tokens_come_from_the_seed_whatever_was_drawn_before(folder, catalog):
    drawn = {}
    for seed in (1, 1, 2):
        torch.rand(1)
        state = torch.random.get_rng_state()
        made = PromptRanker(config(folder, train={"seed": seed})).prepare(catalog)
        assert torch.equal(torch.random.get_rng_state(), state)
        before = drawn.setdefault(seed, made.encoder.soft_embeddings)
        assert torch.equal(before, made.encoder.soft_embeddings)
    assert not torch.equal(drawn[1], drawn[2])


def test_sure_answers_do_not_tie(folder, catalog, monkeypatch):
    ranker = PromptRanker(config(folder)).prepare(catalog)
    margins = [(np.arange(3), np.array([20, 25, -800], np.float32))]
    monkeypatch.setattr("bertrec.rankers.prompts.ranker.pair_margins", lambda *given, **how: iter(margins))
    scores = ranker.score(ragged([1]), ragged([2, 3, 4]))
    assert 0 <= scores[2] < scores[0] < scores[1] < 1


def test_another_template_does_not_go_on_from_a_checkpoint(folder, catalog, tmp_path):
    clicks = same_colour(catalog, 16)
    first = PromptRanker(config(folder, tune="frozen", train={"epochs": 1})).fit(clicks, run_dir=tmp_path, progress=False)
    assert first.notes == ()
    other = PromptRanker(config(folder, "utility-hybrid", tune="frozen", train={"epochs": 2}))
    with pytest.raises(ModelError, match="another run: model was"):
        other.fit(clicks, run_dir=tmp_path, resume=True, progress=False)


def test_what_training_leaves_out_is_counted(folder, catalog):
    shown = same_colour(catalog, 16)
    labels = shown.labels.copy()
    labels[:4] = 0
    ranker = PromptRanker(config(folder, tune="frozen", train={"epochs": 1}))
    ranker.fit(Impressions(catalog, shown.ids, shown.users, shown.histories, shown.candidates, labels, None, ("before",)), progress=False)
    assert ranker.notes == ("1 impressions without a click (left out of training)",)


def test_prompt_tuning_moves_the_soft_tokens_and_nothing_else(folder, catalog):
    ranker = PromptRanker(config(folder, tune="frozen", train={"epochs": 1})).prepare(catalog)
    before = {name: value.clone() for name, value in ranker.network.state_dict().items()}
    ranker.fit(same_colour(catalog, 16), progress=False)
    moved = [name for name, value in ranker.network.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["encoder.soft_embeddings"]


def test_a_prompt_without_soft_tokens_over_a_frozen_encoder_has_nothing_to_train(folder, catalog):
    with pytest.raises(ModelError, match="nothing to train"):
        PromptRanker(config(folder, "item-text", tune="frozen")).fit(same_colour(catalog, 8), progress=False)


def test_scores_do_not_depend_on_what_stands_beside_them(folder, catalog):
    ranker = PromptRanker(config(folder)).prepare(catalog)
    together = ranker.score(HISTORIES, CANDIDATES)
    alone = [ranker.score(ragged(HISTORIES[row]), ragged([item]))[0] for row in range(4) for item in CANDIDATES[row]]
    assert together == pytest.approx(np.array(alone), abs=1e-6)
    assert ranker.score(ragged([1, 2, 3], []), ragged([], [])).shape == (0,)


def test_a_saved_ranker_scores_as_before_and_an_ensemble_is_the_mean_of_its_members(folder, catalog, tmp_path):
    members = [PromptRanker(config(folder, name)).prepare(catalog) for name in ("action-hybrid", "relevance-discrete")]
    scores = [member.score(HISTORIES, CANDIDATES) for member in members]
    members[0].save_pretrained(tmp_path / "ranker")
    again = PromptRanker.from_pretrained(tmp_path / "ranker")
    assert left_out(tmp_path / "ranker") == []  # all of it would be sent to the hub
    assert again.score(HISTORIES, CANDIDATES) == pytest.approx(scores[0], abs=1e-7)
    assert again.config == members[0].config
    assert again.model_hash == members[0].model_hash != members[1].model_hash
    assert PromptEnsemble(members).score(HISTORIES, CANDIDATES) == pytest.approx(np.mean(scores, axis=0), abs=1e-7)
    with pytest.raises(ConfigError, match="at least one"):
        PromptEnsemble([])


def test_attention_once_is_refused_where_the_candidate_comes_first(folder):
    assert not PromptRanker(config(folder, "relevance-discrete")).once
    with pytest.raises(ConfigError, match="before what is said of the user"):
        PromptRanker(config(folder, "relevance-discrete", attention="once"))


def test_a_profile_in_words_is_read_before_the_titles(folder, catalog):
    labelled = ItemCatalog(catalog.ids, {"title": TITLES, "kind": ["red"] * 10 + ["gold"] * 10})
    ranker = PromptRanker(config(folder, profile_field="kind")).prepare(labelled)
    tokens = ranker._rows(ragged([1, 2, 11], [])).slots[0]
    words = [ranker.encoder.tokenizer.convert_ids_to_tokens(int(k)) for k in tokens[0] if k < ranker.encoder.vocabulary]
    assert words[:4] == ["[CLS]", "[UNK]", "red", "[UNK]"]  # likes red, gold
    assert words[4] == "gold"
    with pytest.raises(DataError, match="unknown text field 'genre'"):
        PromptRanker(config(folder, profile_field="genre")).prepare(labelled).score(ragged([1]), ragged([2]))


def test_keywords_stand_there_instead_and_are_saved_with_what_they_are_told_by(folder, catalog, tmp_path):
    labelled = ItemCatalog(catalog.ids, {"title": TITLES, "kind": ["red"] * 10 + ["gold"] * 10})
    shown = same_colour(labelled, 10)
    ranker = PromptRanker(config(folder, profile="keywords", profile_field="kind", train={"epochs": 1}))
    ranker.fit(shown, item_counts=np.array([0, *[100] * 10, *[1] * 10]), progress=False)
    assert ranker._profiles.say(ragged([1, 2, 11], [1], [])) == ["likes gold", "", ""]  # red is what all take
    ranker.save_pretrained(tmp_path / "keywords")
    again = PromptRanker.from_pretrained(tmp_path / "keywords")
    assert again._profiles.say(ragged([1, 2, 11])) == ["likes gold"]
    assert again.model_hash == ranker.model_hash
    lead = [token for token in again._rows(ragged([1, 2, 11])).slots[0].values.tolist() if token < again.encoder.vocabulary]
    assert lead[1:3] == again.encoder.tokenizer("likes gold", add_special_tokens=False)["input_ids"]


def test_swaps_are_made_in_training_alone(folder, catalog):
    shown = same_colour(catalog, 20)
    ranker = PromptRanker(config(folder, swap=0.5, train={"epochs": 1})).fit(shown, progress=False)
    dataset, plain = ranker._dataset(shown), ranker._rows(shown.histories).slots[0].values.tolist()
    assert dataset.rows.slots[0].values.tolist() == plain
    told = []
    for epoch in (0, 1, 0):
        list(dataset.batches(epoch, 8, 0))
        told.append(dataset.rows.slots[0].values.tolist())
    assert told[0] == told[2] != told[1]
    assert plain not in told


def test_bad_rows_are_named(folder, catalog):
    ranker = PromptRanker(config(folder))
    with pytest.raises(ModelError, match="or prepare"):
        ranker.score(HISTORIES, CANDIDATES)
    ranker.prepare(catalog)
    with pytest.raises(DataError, match="4 histories for 1 rows"):
        ranker.score(HISTORIES, ragged([1]))
    with pytest.raises(DataError, match="candidate holds an id outside"):
        ranker.score(ragged([1]), ragged([21]))
    with pytest.raises(ConfigError, match="ID model go together"):
        PromptRanker(config(folder, "collaborative"))


class KnownVectors(Popularity):
    """A model whose item vectors mark a group and whose user vector is that of the newest item."""

    def item_embeddings(self):
        vectors = np.zeros((21, 2), np.float32)
        vectors[np.arange(1, 21), np.arange(20) % 2] = 1
        return vectors

    def user_vectors(self, histories):
        return self.item_embeddings()[[row[-1] for row in (histories[k] for k in range(len(histories)))]]


def labelled_pairs(catalog, n, seed=0):
    """Pairs that only the vectors tell apart: the label says whether candidate and newest item are of one group."""
    rng = np.random.default_rng(seed)
    past, item = rng.integers(1, 21, n), rng.integers(1, 21, n)
    names = [f"i{k}" for k in range(n)]
    labels = ((past % 2) == (item % 2)).astype(np.int8)
    return Impressions(catalog, names, names, ragged(*past[:, None]), ragged(*item[:, None]), labels)


@pytest.mark.parametrize("attention", ["once", "joint"])
def test_vectors_of_an_id_model_tell_a_frozen_encoder_what_no_text_says(folder, catalog, attention, tmp_path):
    model = KnownVectors()
    model._catalog = catalog
    vectors = UserVectors.from_model(model)
    assert vectors.items[0].tolist() == [0, 0]
    assert vectors.of(ragged([1, 2], [])).tolist() == [[0, 1], [0, 0]]
    others = ItemCatalog(IdMap([f"m{k}" for k in range(20)]), {"title": TITLES})
    with pytest.raises(ModelError, match="of other items"):
        PromptRanker(config(folder, "collaborative"), vectors=vectors).prepare(others)
    train = {"learning_rate": 3e-2, "epochs": 10, "batch_size": 32}
    tuned = config(folder, "collaborative", tune="frozen", negatives=0, attention=attention, train=train)
    ranker = PromptRanker(tuned, vectors=vectors).prepare(catalog)
    before = {name: value.clone() for name, value in ranker.network.state_dict().items()}
    ranker.fit(labelled_pairs(catalog, 200), progress=False)
    moved = {name for name, value in ranker.network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {f"vectors.map.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    assert ranker.figures(labelled_pairs(catalog, 100, seed=1))["AUC"] > 0.9
