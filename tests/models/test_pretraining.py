"""Pre-training over data sets whose law is known: what is learned, what is read, what arrives elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_domains import TEXTS, planted_domain, planted_people
from static_folders import static_folder
from transformers import TrainerCallback

import bertrec
from bertrec.core.errors import ConfigError, DataError
from bertrec.core.plugins import path_of
from bertrec.core.ragged import Ragged
from bertrec.data.load import make_split
from bertrec.models.evaluate import evaluate
from bertrec.models.pretraining import Domains, PretrainingConfig, Task, pretrain
from bertrec.models.pretraining.sequences import MixedSequences
from bertrec.models.pretraining.sources import thinned_texts
from bertrec.models.texts import same_encoder
from bertrec.models.unisrec import UniSRec

EVERY = "item,sequence,masked,next,same-user,attributes,reviews"
SHAPE = {"item.width": 32, "head.layers": 1, "head.max_history": 8, "head.dropout": 0.0}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return static_folder(tmp_path_factory.mktemp("static") / "words", TEXTS, width=32)


@pytest.fixture(scope="module")
def settings(words):
    train = {"train.epochs": 15, "train.learning_rate": 0.01, "pretrain.targets": 64, "train.precision": "fp32"}
    return {"encoder.name": words, **SHAPE, **train}


@pytest.fixture(scope="module")
def domains():
    return [planted_domain("north", seed=1, users=90), planted_domain("south", seed=2, users=90)]


def trained(domains, settings, **options):
    return pretrain(domains, PretrainingConfig().updated(settings), progress=False, **options)


@pytest.fixture(scope="module")
def model(domains, settings, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERTREC_CACHE", str(tmp_path_factory.mktemp("cache")))
        return trained(domains, settings | {"pretrain.validation_users": 0})  # who are all served after three epochs, and would end it


def ndcg(model, split):
    return evaluate(model, split.test, item_counts=split.train.item_counts, lists=False).mean("NDCG@10")


def test_a_third_domain_is_known_without_training(model, words):
    """Its ids are those of other items elsewhere; its law is the same, and only the texts say so."""
    split = make_split(planted_domain("east", seed=3))
    ours = ndcg(model.with_catalog(split.catalog), split)
    similarity = bertrec.create("text-similarity", settings={"encoder.name": words}).fit(split.train)
    chance = np.mean(1 / np.log2(1 + np.arange(1, 11))) * 10 / (30 - 4)  # of a target at a place drawn among the unseen
    assert ours > 2.5 * chance
    assert ours > 2.5 * ndcg(similarity, split)


@pytest.mark.parametrize("negatives", ["batch", "domain"])
def test_every_domain_is_judged_and_the_best_epoch_is_kept(domains, settings, negatives):
    model = trained(domains, settings | {"train.epochs": 3, "pretrain.negatives": negatives})
    log = model.train_log
    for entry in log.epochs:
        each = [entry.metrics[f"NDCG@10 {name}"] for name in ("north", "south")]
        assert entry.metrics["NDCG@10"] == pytest.approx(np.mean(each))
    assert log.epochs[log.best_epoch - 1].metrics["NDCG@10"] == max(entry.metrics["NDCG@10"] for entry in log.epochs)
    assert log.epochs[-1].loss < log.epochs[0].loss


def test_a_figure_of_a_domain_is_that_of_the_model_moved_to_its_items(domains, settings):
    model = trained(domains, settings | {"train.epochs": 1, "match.text": 0})
    split = make_split(domains[1])
    own = evaluate(model.with_catalog(split.catalog), split.validation, item_counts=split.train.item_counts, lists=False)
    assert model.train_log.epochs[0].metrics["NDCG@10 south"] == pytest.approx(own.mean("NDCG@10"), abs=1e-6)


def test_ids_of_domains_never_meet(domains):
    both = Domains.of(domains)
    north, south = (make_split(one) for one in domains)
    assert set(north.catalog.ids.ids) == set(south.catalog.ids.ids)  # equal ids, other items
    assert len(both.catalog) == len(north.catalog) + len(south.catalog)
    rows = both.train.sequences
    assert [both.catalog.texts[item - 1] for item in rows[0]] == [north.catalog.texts[item - 1] for item in north.train.sequences[0]]
    first = len(north.train.sequences)
    assert [both.catalog.texts[item - 1] for item in rows[first]] == [south.catalog.texts[item - 1] for item in south.train.sequences[0]]
    assert both.catalog.ids.ids[0] == f"north:{north.catalog.ids.ids[0]}"
    assert both.of_item.tolist() == [-1] + [0] * len(north.catalog) + [1] * len(south.catalog)


def test_only_training_parts_are_read(domains):
    """A held-out item of a user follows in no sequence of that user."""
    both = Domains.of(domains)
    for part in both.parts:
        assert part.split.train.sequences.lengths.tolist() == [3] * part.split.train.n_users  # of 5, two are held out
    assert len(both.train) == sum(len(part.split.train) for part in both.parts)


def test_equal_names_are_told_apart():
    both = Domains.of([planted_domain("shop", seed=1), planted_domain("shop", seed=2)])
    assert [part.name for part in both.parts] == ["shop", "shop-2"]


def test_thinned_texts_lose_words_by_chance_and_are_the_same_every_time():
    texts = [f"{text} number{n} of many words" for n, text in enumerate(TEXTS)] * 5
    thin = thinned_texts(texts, 0.15)
    lost = 1 - sum(len(text.split()) for text in thin) / sum(len(text.split()) for text in texts)
    assert 0.12 < lost < 0.18
    for before, after in zip(texts, thin, strict=True):
        words = iter(before.split())
        assert all(word in words for word in after.split())  # in order
    assert thin == thinned_texts(texts, 0.15)
    assert thinned_texts(["one", "", "a b"], 0.99) == ["one", "", thinned_texts(["a b"], 0.99)[0]]
    assert thinned_texts(["a b"], 0.99)[0] in ("a", "b")


def test_what_says_less_is_the_vector_of_the_thinned_text(domains, settings):
    """By the encoder, the whitening and the adaptor of the model itself."""
    from bertrec.models.pretraining.config import SOURCES

    config = PretrainingConfig().updated(settings | {"train.epochs": 1, "pretrain.words": 0.5})
    model = pretrain(domains, config, progress=False)
    source = SOURCES.find("text")(model, config)
    source.prepare(model, progress=False)
    rows = torch.tensor([1, 7, 40])
    texts = thinned_texts([model.catalog.texts[row - 1] for row in rows], 0.5)
    raw = same_encoder(model.config.encoder, model.encoder_fingerprint).encode(texts)
    expected = model.network.tower.adaptor(model.network.text.whitened(torch.from_numpy(raw)))
    assert torch.allclose(source.altered(rows), expected, atol=1e-5)
    assert not torch.allclose(source.altered(rows), source.vectors(rows), atol=1e-2)


class Stop(TrainerCallback):
    """Ends the process's training at a step."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **_):
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("step", "tasks"), [(1, "item,sequence"), (8, "item,sequence"), (11, "item,sequence"), (9, EVERY)])
def test_cut_short_at_any_step_it_ends_with_the_same_weights(domains, settings, tmp_path, step, tasks):
    """A pool of earlier steps, and the tasks' own weights, go on too."""
    short = settings | {"train.epochs": 3, "head.dropout": 0.2, "match.text": 0, "pretrain.tasks": tasks}
    domains = [planted_people("people", users=60), domains[0]] if tasks == EVERY else domains
    whole = trained(domains, short).state_dict()
    with pytest.raises(KeyboardInterrupt):
        trained(domains, short, run_dir=tmp_path, callbacks=[Stop(step)])
    again = trained(domains, short, run_dir=tmp_path, resume=True).state_dict()
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)


@pytest.fixture(scope="module")
def target():
    return make_split(planted_domain("east", seed=3))


def fitted(model, target, item_input, **more):
    """Return the target's model as it starts from ``model`` and is trained for a while, and its weights at the start."""
    short = {"train.epochs": 2, "train.batch_size": 16, "match.text": 0, "match.behaviour": 0, "match.solved": 0}
    own = UniSRec.configured(item_input=item_input, settings=model.shape | short | more)
    seen = {}

    class Look(TrainerCallback):
        def on_train_begin(self, *_, **__):
            seen.update({name: value.clone() for name, value in own.network.state_dict().items()})

    own.fit(target.train, init=model, progress=False, callbacks=[Look()])
    return own, seen


@pytest.mark.parametrize("item_input", ["text", "text+id"])
def test_its_parts_arrive_bit_for_bit(model, target, item_input):
    _, start = fitted(model, target, item_input)
    given = model.network.state_dict()
    arrived = {name for name in given if name in start and given[name].shape == start[name].shape and torch.equal(given[name], start[name])}
    assert {name for name in given if name != "tower.trained"} <= arrived
    assert ("tower.id.weight" in start) == (item_input == "text+id")


@pytest.mark.parametrize("item_input", ["text", "text+id"])
def test_a_frozen_head_stays_and_the_rest_learns(model, target, item_input):
    own, start = fitted(model, target, item_input, **{"head.freeze": True})
    moved = {name for name, value in own.network.state_dict().items() if not torch.equal(value, start[name])}
    kept = {name for name in start if name == "head.positions" or name.startswith("head.layers.")}
    assert kept
    assert not moved & kept
    learned = {"tower.adaptor.weight", "tower.adaptor.bias", "head.norm.weight", "head.norm.bias"}
    assert learned | ({"tower.id.weight"} if item_input == "text+id" else set()) <= moved
    whole, start = fitted(model, target, item_input)
    assert kept <= {name for name, value in whole.network.state_dict().items() if not torch.equal(value, start[name])}


def test_a_frozen_head_of_nobody_is_refused(target):
    with pytest.raises(ConfigError, match=r"head.freeze keeps the head of another model.*--init RUN"):
        UniSRec.configured(settings={"head.freeze": True}).fit(target.train)


def test_freezing_changes_no_hash(model):
    frozen = UniSRec(model.config.updated({"head.freeze": True}))
    assert frozen.settings_hash() == UniSRec(model.config).settings_hash()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"pretrain.tasks": ["item", "sequenc"]}, r"did you mean 'sequence'\?"),
        ({"pretrain.tasks": ["item", "item"]}, "a task stands twice"),
        ({"pretrain.tasks": []}, "at least 1"),
        ({"pretrain.items": "texts"}, r"did you mean 'text'\?"),
        ({"item.input": "text+id"}, "ids mean nothing elsewhere"),
        ({"encoder.tune": "last:1"}, "frozen encoder"),
        ({"item.fields": "apart"}, "set it to together"),
        ({"head.freeze": True}, "leave them as they are"),
        ({"match.new_items": "balanced"}, "leave them as they are"),
        ({"encoder.name": "items.parquet"}, "name an encoder"),
        ({"train.batch_size": 64}, "pretrain.targets"),
        ({"loss.kind": "sampled"}, "pretrain.tasks says what is learned"),
        ({"loss.contrast": "cl4srec"}, "pretrain.tasks says what is learned"),
        ({"train.metric": "HR@10"}, "judged by NDCG@10"),
        ({"codes.slots": 16}, "pretrain.items=codes"),
        ({"pretrain.tasks": ["next"], "pretrain.removed": 50}, "below head.max_history, 50"),
        ({"pretrain.tasks": ["same-user"], "head.max_history": 1}, "head.max_history to 2"),
        ({"pretrain.tasks": ["made-up"], "pretrain.items": "codes", "pretrain.negatives": "domain"}, "leave pretrain.negatives at batch"),
    ],
)
def test_wrong_settings_are_one_line(given, told):
    with pytest.raises(ConfigError, match=told) as caught:
        PretrainingConfig().updated(given)
    assert "\n" not in str(caught.value)


def test_unusable_data_are_one_line(domains):
    one = domains[0]
    bare, lone = planted_domain("bare", with_text=False), planted_domain("lone", length=1)
    wrong = [([one, one], "given twice"), ([one, bare], "bare: no item has a text"), ([one, lone], "lone: no training sequence has two")]
    for given, told in wrong:
        with pytest.raises(DataError, match=told):
            Domains.of(given)
    with pytest.raises(ConfigError, match="at least one"):
        Domains.of([])


def test_another_shape_is_refused(model, target):
    for name, value in {"item.width": 16, "head.layers": 2}.items():
        with pytest.raises(ConfigError, match=rf"use its settings|has {name} 1, not 2"):
            fitted(model, target, "text", **{name: value})
    with pytest.raises(ConfigError, match=r"has encoder.name"):
        fitted(model, target, "text", **{"encoder.name": "minilm"})


@pytest.mark.parametrize("targets", [1, 7, 40, 10_000])
def test_steps_have_as_many_targets_as_asked_for(targets):
    """Each sequence comes once an epoch, in as many steps each time; a step is longer by less than one sequence."""
    rng = np.random.default_rng(0)
    rows = Ragged.from_rows([np.arange(1, 1 + n) for n in rng.integers(2, 30, 200)])
    dataset = MixedSequences(rows, 50)
    former = None
    for epoch in range(3):
        batches = list(dataset.batches(epoch, targets, 5))
        assert sorted(np.concatenate(batches).tolist()) == list(range(200))
        sums = [int((rows.lengths[batch] - 1).sum()) for batch in batches]
        assert max(sums) < targets + 30
        assert len(batches) == (former or len(batches))
        former = len(batches)
    assert len(batches) >= sum(sums) / (targets + 30)
    first, again = (np.concatenate(list(dataset.batches(epoch, targets, 5))).tolist() for epoch in (0, 0))
    assert first == again
    assert first != np.concatenate(list(dataset.batches(1, targets, 5))).tolist()


class SmallSteps(Task):
    """The states after neighbouring items are alike: the task of docs/extending.md."""

    def forward(self, view):
        both = view.inputs[:, 1:] > 0
        apart = 1 - torch.nn.functional.cosine_similarity(view.states[:, 1:], view.states[:, :-1], dim=-1)
        return (apart * both).sum() / both.sum().clamp(min=1)


def test_a_task_of_someone_elses_is_learned(domains, settings):
    path = path_of(SmallSteps)
    model = trained(domains, settings | {"pretrain.tasks": [path], "train.epochs": 3, "match.text": 0, "pretrain.validation_users": 0})
    assert model.train_log.epochs[-1].loss < 0.5 * model.train_log.epochs[0].loss
