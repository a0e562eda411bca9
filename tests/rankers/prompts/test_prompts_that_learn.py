"""What a prompt may learn from beside labels: a teacher's order, histories, and answer words found by search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import log_softmax, rel_entr
from tiny_encoders import tiny_masked
from transformers import TrainerCallback

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.models.popularity import Popularity
from bertrec.rankers.context import Known
from bertrec.rankers.prompts import pretraining
from bertrec.rankers.prompts.answers import search_answers, write_prompt
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.distillation import distillation_loss
from bertrec.rankers.prompts.pretraining import Chunks, history_lists
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.training.config import TrainConfig

COLOURS = ("red", "blue", "green", "gold")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in ("car", "hat", "sea", "dog", "cup")]


class SameColour(Popularity):
    """A teacher that scores the share of a history that has the candidate's colour."""

    name = "same-colour"

    def item_embeddings(self):
        vectors = np.zeros((21, 4), np.float32)
        vectors[np.arange(1, 21), np.arange(20) // 5] = 1
        return vectors

    def user_vectors(self, histories):
        items = self.item_embeddings()
        return np.stack([items[row].mean(axis=0) if len(row) else items[0] for row in histories])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_masked(tmp_path_factory.mktemp("masked"), [*TITLES, *TITLES, Prompt.load("action-hybrid").text, "yes no"])


@pytest.fixture(scope="module")
def catalog():
    return ItemCatalog(IdMap([f"n{k}" for k in range(20)]), {"title": TITLES})


@pytest.fixture(scope="module")
def teacher(catalog):
    model = SameColour()
    model._catalog, model._counts = catalog, torch.zeros(21)
    return UserVectors.from_model(model)


def config(folder, **more):
    encoder = MaskedConfig(name=folder, tune="full", max_length=40, dropout=False)
    train = {"encoder_learning_rate": 3e-3, "batch_size": 16, "epochs": 1, "metric": "AUC"} | more.pop("train", {})
    made = PromptConfig(prompt=more.pop("prompt", Prompt.load("action-hybrid")), encoder=encoder, train=TrainConfig(**train))
    return made.updated({"loss": "listwise", **more})


def colours(catalog, n, seed=0, labels="colour"):
    """Impressions of four candidates, one of the colour of the history; it is the click, or the click is any of them."""
    rng = np.random.default_rng(seed)
    histories, candidates, clicks = [], [], []
    for _ in range(n):
        colour = rng.integers(4)
        items = 5 * colour + 1 + rng.permutation(5)
        others = rng.choice([k for k in range(1, 21) if (k - 1) // 5 != colour], 3, replace=False)
        order = rng.permutation(4)
        histories.append(items[: rng.integers(2, 5)])
        candidates.append(np.array([items[4], *others])[order])
        clicks.append(order == (0 if labels == "colour" else rng.integers(4)))
    names = [f"u{k}" for k in range(n)]
    shown = np.concatenate(clicks).astype(np.int8)
    return Impressions(catalog, names, names, Ragged.from_rows(histories), Ragged.from_rows(candidates), shown)


def test_the_distillation_is_the_divergence_of_two_softmaxes():
    margins, scores = np.array([[1.0, -2, 0.5], [3, 0, 9]]), np.array([[0.2, 0.1, 0.3], [0.5, 0.1, np.nan]])
    first = rel_entr(np.exp(log_softmax(scores[0] / 0.1)), np.exp(log_softmax(margins[0]))).sum()
    second = rel_entr(np.exp(log_softmax([5, 1])), np.exp(log_softmax([3, 0]))).sum()  # what the teacher does not know is left out
    found = distillation_loss(torch.tensor(margins), torch.tensor(scores), 0.1)
    assert found.item() == pytest.approx((first + second) / 2)
    same = torch.tensor([[0.3, 0.1, 0.7]])
    assert distillation_loss(same / 0.1 + 4, same, 0.1).item() == pytest.approx(0, abs=1e-6)


def test_lists_in_which_the_teacher_knows_less_than_two_teach_nothing():
    margins = torch.tensor([[1.0, -2], [0, 1]], requires_grad=True)
    loss = distillation_loss(margins, torch.tensor([[np.nan, np.nan], [1.0, np.nan]]), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert margins.grad.tolist() == [[0, 0], [0, 0]]


def test_it_joins_the_loss_with_its_weight(folder, catalog, teacher):
    lists = colours(catalog, 6)
    losses = {}
    for weight in (0.5, 2.0):
        ranker = PromptRanker(config(folder, distill=weight, distill_temperature=0.3), teacher=teacher).prepare(catalog)
        batch = ranker.clicks(lists).collate(list(range(6)))
        with torch.no_grad():
            whole, plain = ranker.network(**batch)["loss"], ranker.network(**{**batch, "teacher": None})["loss"]
        losses[weight] = (whole - plain).item()
    margins = np.log(ranker.score(lists.histories, lists.candidates)).reshape(6, 4)
    margins -= np.log1p(-np.exp(margins))
    taught = log_softmax(teacher.scores(lists.histories, lists.candidates).reshape(6, 4) / 0.3, axis=1)
    expected = rel_entr(np.exp(taught), np.exp(log_softmax(margins, axis=1))).sum(axis=1).mean()
    assert losses == pytest.approx({0.5: 0.5 * expected, 2.0: 2 * expected}, rel=1e-3)


@pytest.fixture(scope="module")
def taught(folder, catalog, teacher):
    """A prompt whose labels say nothing, but whose teacher does."""
    asked = config(folder, distill=10, distill_temperature=0.2, train={"epochs": 12, "encoder_learning_rate": 5e-3})
    return PromptRanker(asked, teacher=teacher).fit(colours(catalog, 96, labels="random"), progress=False)


def test_a_teacher_teaches_where_labels_say_nothing(taught, folder, catalog):
    test = colours(catalog, 60, seed=1)
    assert taught.figures(test)["AUC"] > 0.85
    alone = PromptRanker(config(folder, train={"epochs": 3})).fit(colours(catalog, 96, labels="random"), progress=False)
    assert alone.figures(test)["AUC"] < 0.7


def test_a_teacher_is_in_training_alone(taught, catalog, tmp_path, monkeypatch):
    monkeypatch.setattr(UserVectors, "scores", lambda *_: pytest.fail("the teacher was asked"))
    taught.save_pretrained(tmp_path / "ranker")
    again = PromptRanker.from_pretrained(tmp_path / "ranker")
    assert again.teacher is None
    assert {path.name for path in (tmp_path / "ranker").iterdir() if path.is_dir()} == {"encoder"}
    test = colours(catalog, 5, seed=1)
    assert again.score(test.histories, test.candidates).tolist() == taught.score(test.histories, test.candidates).tolist()
    assert again.model_hash == taught.model_hash
    assert taught.about()["teacher"] == "same-colour"


def test_a_teacher_that_cannot_teach_is_refused(folder, catalog, teacher):
    with pytest.raises(ConfigError, match="distill is 0"):
        PromptRanker(config(folder, distill=0), teacher=teacher)
    others = ItemCatalog(IdMap([f"m{k}" for k in range(20)]), {"title": TITLES})
    with pytest.raises(ModelError, match="has a teacher of other items"):
        PromptRanker(config(folder), teacher=teacher).prepare(others)


LISTS = {"negatives": 3, "alpha": 1.0, "seed": 0, "most": 50}


def test_lists_are_prefixes_of_histories_and_what_came_next(catalog):
    shown = colours(catalog, 12)
    made = history_lists(shown, lists=0, **LISTS)
    of = {user: shown.histories[row].tolist() for row, user in enumerate(shown.users)}
    assert len(made) == sum(len(history) - 1 for history in of.values())  # each place but the first, once
    occurring = {item for history in of.values() for item in history}
    for row, user in enumerate(made.users):
        before, history = made.histories[row].tolist(), of[user]
        items, labels = made.candidates[row], made.labels[made.candidates.offsets[row] : made.candidates.offsets[row + 1]]
        assert history[: len(before)] == before
        assert items[labels == 1].tolist() == [history[len(before)]]
        assert not set(items[labels == 0].tolist()) & set(history)
        assert set(items.tolist()) <= occurring
        assert len(set(items.tolist())) == len(items) == 4


def test_no_candidate_and_no_label_is_read(catalog):
    shown = colours(catalog, 12)
    marker = 20
    histories = Ragged.from_rows([row[row != marker] for row in shown.histories])
    planted = Ragged.from_lengths(np.full(len(shown.candidates.values), marker), shown.candidates.lengths)
    labels = np.zeros_like(shown.labels)
    hidden = Impressions(catalog, shown.ids, shown.users, histories, planted, labels)
    made = history_lists(hidden, lists=100, **LISTS)
    assert not np.isin(marker, np.concatenate([made.candidates.values, made.histories.values]))


def test_the_longest_history_of_a_user_is_read_once(catalog):
    labels, shown = np.array([1, 0] * 3, np.int8), Ragged.from_rows([[6, 7]] * 3)
    histories = Ragged.from_rows([[1, 2], [1, 2, 3], [8, 9, 10]])
    made = history_lists(Impressions(catalog, ["a", "b", "c"], ["u", "u", "v"], histories, shown, labels), lists=0, **LISTS)
    assert sorted(map(tuple, (row.tolist() for row in made.histories))) == [(1,), (1, 2), (8,), (8, 9)]


def test_more_lists_than_places_have_other_negatives(catalog):
    shown = colours(catalog, 12)
    once, most = history_lists(shown, lists=0, **LISTS), history_lists(shown, lists=70, **LISTS)
    assert (len(most), len(set(most.ids))) == (70, 70)
    np.testing.assert_array_equal(most.candidates.values[: len(once.candidates.values)], once.candidates.values)
    places = [(user, len(row)) for user, row in zip(most.users, most.histories, strict=True)]
    again = [tuple(sorted(most.candidates[row].tolist())) for row, place in enumerate(places) if place == places[0]]
    assert len(again) > 1
    assert len(set(again)) > 1
    assert len(history_lists(shown, lists=5, **LISTS)) == 5
    other = history_lists(shown, lists=0, **LISTS | {"seed": 1})
    assert other.candidates.values.tolist() != once.candidates.values.tolist()


def test_histories_that_hold_nothing_to_learn_are_one_line(catalog):
    shown, labels = Ragged.from_rows([[6, 7]]), np.array([1, 0], np.int8)
    for history in ([], [3], [3, 4]):  # the last has no other item to set beside it
        with pytest.raises(DataError, match=r"leave out --pretrain|no position is left"):
            history_lists(Impressions(catalog, ["a"], ["u"], Ragged.from_rows([history]), shown, labels), lists=0, **LISTS)


def test_each_list_is_read_once_in_equal_parts(folder, catalog, monkeypatch):
    monkeypatch.setattr(pretraining, "CHUNK", 10)
    ranker = PromptRanker(config(folder)).prepare(catalog)
    chunks = Chunks.of(ranker.clicks(history_lists(colours(catalog, 20), lists=31, **LISTS)))
    assert chunks.count == 3
    parts = [np.concatenate(list(chunks.batches(epoch, 4, 0))) for epoch in range(3)]
    assert [len(part) for part in parts] == [10, 10, 10]
    assert sorted(np.concatenate(parts).tolist()) == list(range(30))


def test_histories_teach_what_labels_do_not_say(folder, catalog):
    shown = colours(catalog, 500)
    labels = shown.labels.copy()
    labels[16:] = 0  # four lists are left to train on
    few = Impressions(catalog, shown.ids, shown.users, shown.histories, shown.candidates, labels)
    asked = config(folder, **{"pretrain.kind": "histories", "pretrain.lists": 900}, train={"encoder_learning_rate": 5e-3})
    ranker = PromptRanker(asked).fit(few, progress=False)
    assert ranker.figures(colours(catalog, 60, seed=1))["AUC"] > 0.75
    assert [entry.epoch for entry in ranker.pretrain_log.epochs] == [1]
    assert "496 impressions without a click" in ranker.notes[0]


class Killed(Exception):
    """What stands for a kill."""


class KillAfter(TrainerCallback):
    """Ends the process, as it were, after so many epochs, those before the training among them."""

    def __init__(self, epochs):
        self.left = epochs

    def on_epoch_begin(self, args, state, control, **kwargs):
        if not self.left:
            raise Killed
        self.left -= 1


@pytest.fixture(scope="module")
def stages(folder, catalog, teacher):
    """Settings of a training of two parts before it and two epochs, its data, and what it ends with unharmed."""
    asked = config(folder, **{"pretrain.kind": "histories", "pretrain.lists": 40, "train.epochs": 2})
    shown = colours(catalog, 32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "CHUNK", 20)
        ended = PromptRanker(asked, teacher=teacher).fit(shown, progress=False)
    return asked, shown, ended.encoder.fingerprint


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_what_was_cut_short_ends_with_the_same_weights(stages, teacher, tmp_path, monkeypatch, epochs):
    asked, shown, expected = stages
    monkeypatch.setattr(pretraining, "CHUNK", 20)
    with pytest.raises(Killed):
        PromptRanker(asked, teacher=teacher).fit(shown, run_dir=tmp_path, progress=False, callbacks=[KillAfter(epochs)])
    assert (tmp_path / "pretraining" / "checkpoints").is_dir()
    again = PromptRanker(asked, teacher=teacher).fit(shown, run_dir=tmp_path, resume=True, progress=False)
    assert again.encoder.fingerprint == expected
    assert not (tmp_path / "pretraining").exists()


def test_a_training_with_another_teacher_is_another_one(stages, teacher, tmp_path, monkeypatch):
    asked, shown, _ = stages
    monkeypatch.setattr(pretraining, "CHUNK", 20)
    with pytest.raises(Killed):
        PromptRanker(asked, teacher=teacher).fit(shown, run_dir=tmp_path, progress=False, callbacks=[KillAfter(1)])
    with pytest.raises(ModelError, match="another run: data was"):
        PromptRanker(asked).fit(shown, run_dir=tmp_path, resume=True, progress=False)


@pytest.fixture(scope="module")
def wordy(catalog):
    """The same items, in whose texts the answers stand too."""
    return ItemCatalog(catalog.ids, {"title": TITLES, "about": ["yes no"] * 20})


def test_the_search_finds_the_words_that_a_tuned_encoder_says(taught, catalog, wordy):
    shown = colours(wordy, 40, seed=2)
    found = search_answers(taught, shown, words=2, pairs=60, min_count=20)  # colours and things stand 5 and 4 times
    assert (found.positive, found.negative) == (("yes",), ("no",))
    assert (found.clicked, found.others) == (30, 30)
    assert found.gaps["yes"] > 0 > found.gaps["no"]
    assert search_answers(taught, shown, words=2, pairs=60, min_count=1).positive[0] == "yes"
    taught.prepare(catalog)  # in whose texts they do not stand
    with pytest.raises(DataError, match="no word that stands 6 times"):
        search_answers(taught, colours(catalog, 40, seed=2), pairs=60, min_count=6)


@pytest.mark.parametrize("attention", ["once", "joint"])
def test_a_gap_is_the_difference_of_mean_log_probabilities(folder, wordy, attention):
    shown = colours(wordy, 5, seed=3)
    two = Impressions(wordy, shown.ids, shown.users, shown.histories, *_first_two(shown))
    ranker = PromptRanker(config(folder, attention=attention, prompt=Prompt.load("action-hybrid")))
    found = search_answers(ranker, two, words=3, pairs=10, min_count=1)
    tokenizer, network = ranker.encoder.tokenizer, ranker.network
    for word, gap in found.gaps.items():
        token, means = tokenizer.convert_tokens_to_ids(word), {0: [], 1: []}
        for row in range(5):
            for item, label in zip(two.candidates[row], two.labels[2 * row :], strict=False):
                batch = ranker._rows(two.histories).batch(np.array([row]), np.array([[item]]), 0)
                with torch.no_grad():
                    states = network.mask_states(**batch)
                    means[label].append(ranker.encoder.model.cls(states)[0].log_softmax(0)[token].item())
        assert np.mean(means[1]) - np.mean(means[0]) == pytest.approx(gap, abs=1e-4)


def test_the_search_reads_what_training_will_read_of_users(folder, wordy):
    """With a profile before the mask other words are said there: those of the profile's own rows."""
    shown = colours(wordy, 12, seed=3)
    prompt = Prompt.from_dict({"name": "p", "text": "{profile} {candidate} [MASK]", "answers": {"negative": ["no"], "positive": ["yes"]}})
    ranker = PromptRanker(config(folder, prompt=prompt, attention="joint"))
    texts = pd.DataFrame({"user_id": shown.users, "text": ["red car"] * len(shown)})
    fixed = Prompt.from_dict({**prompt.to_dict(), "text": "red car {candidate} [MASK]"})
    asked = {"words": 3, "pairs": 24, "min_count": 1}
    found = search_answers(ranker, shown, known=Known(UserCatalog.from_frame(texts)), **asked)
    plain = search_answers(PromptRanker(config(folder, prompt=fixed, attention="joint")), shown, **asked)
    assert found.gaps == pytest.approx(plain.gaps, abs=1e-5)
    assert search_answers(ranker, shown, **asked).gaps != pytest.approx(plain.gaps, abs=1e-5)


def _first_two(shown):
    """The click and one other candidate of each row, and their labels."""
    order = [np.argsort(-shown.labels[start : start + 4], kind="stable")[:2] for start in shown.candidates.offsets[:-1]]
    items = [shown.candidates[row][at] for row, at in enumerate(order)]
    return Ragged.from_rows(items), np.array([1, 0] * len(shown), np.int8)


def test_what_was_found_is_a_prompt_like_any_other(taught, wordy, folder, tmp_path):
    found = search_answers(taught, colours(wordy, 40, seed=2), words=2, pairs=60, min_count=20)
    prompt = Prompt.load("action-hybrid").model_copy(update={"titles": 7})
    written = write_prompt(prompt, found, tmp_path / "mine.yaml", source="found")
    assert written == Prompt.load(tmp_path / "mine.yaml")
    assert (written.name, written.text, written.titles, written.source) == ("mine", prompt.text, 7, "found")
    assert written.answers == {"negative": ("no",), "positive": ("yes",)}


@pytest.mark.parametrize("bad", [{"words": 0}, {"pairs": 0}, {"min_count": 0}])
def test_numbers_below_one_are_refused(taught, wordy, bad):
    with pytest.raises(ConfigError, match="must be 1 or more, got 0"):
        search_answers(taught, colours(wordy, 4), **bad)
