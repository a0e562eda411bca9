"""Tasks of users' behaviour: each beside its formula, what each may read, and what is learned of planted data."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
import torch
from item_tables import TAU, Source, unit
from planted_domains import COLOURS, TEXTS, planted_domain, planted_people
from static_folders import static_folder
from transformers import TrainerCallback

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.ragged import Ragged
from bertrec.data.load import Dataset
from bertrec.models.pretraining import Domains, PretrainingConfig, examine, pretrain
from bertrec.models.pretraining.attributes import TIMES, AttributesTask, bag_loss, time_value, wanted_attributes
from bertrec.models.pretraining.config import PretrainConfig
from bertrec.models.pretraining.reviews import ReviewsTask, bags, opinion_words
from bertrec.models.pretraining.same_user import SameUserTask, halves, medium_hard
from bertrec.models.pretraining.sequences import MixedSequences
from bertrec.models.pretraining.user_tasks import MaskedTask, NextTask, others, without_last
from bertrec.models.pretraining.view import View, hide

OF_ITEM = torch.tensor([-1, 0, 0, 0, 0, 1, 1, 1, 1])
INPUTS = torch.tensor([[1, 2, 3], [5, 6, 0], [6, 5, 7], [2, 0, 0]])
TARGETS = torch.tensor([[2, 3, 4], [6, 7, 0], [5, 7, 8], [4, 0, 0]])
PLACES = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0], [8, 9, 10, 11], [12, 13, 0, 0]])
WHOLE = [[1, 2, 3, 4], [5, 6, 7], [6, 5, 7, 8], [2, 4]]


def view_of(source, inputs=INPUTS, targets=TARGETS, **more):
    return View(source, inputs, targets, OF_ITEM, places=PLACES[: len(inputs)], **more)


def by_ids(view, rows):
    """Return inner ids of rows of a view's items."""
    return view.ids[rows]


def state(source, vectors):
    """Return the head's newest output over item vectors ``[length, width]``."""
    return source.head(vectors[None])[0, -1].detach().numpy()


def softmax_loss(user, right, wrong):
    terms = [math.exp(user @ one / TAU) for one in (right, *wrong)]
    return -math.log(terms[0] / sum(terms))


def fixed_others(monkeypatch, ids):
    """Let negatives be these inner ids for everyone who asks."""

    def chosen(view, rows, count):
        found = torch.tensor([view.ids.tolist().index(one) for one in ids])
        return found.repeat(len(rows), 1), torch.arange(len(rows))

    monkeypatch.setattr("bertrec.models.pretraining.user_tasks.others", chosen)


@pytest.mark.parametrize("whole", [False, True])
def test_the_masked_task_is_the_formula(monkeypatch, whole):
    source = Source(8)
    view = view_of(source, whole=whole)
    columns = torch.tensor([1, 2, 0, 1])
    monkeypatch.setattr("bertrec.models.pretraining.view.hide", lambda view, _: hide(view, columns))
    fixed_others(monkeypatch, [3, 8])
    table, expected = source.table.detach(), []
    for row, column in zip(WHOLE, columns.tolist(), strict=True):
        vectors = table[torch.tensor(row)].clone()
        vectors[column] = 0
        users, items = unit(state(source, vectors)), unit(table.numpy())
        expected.append(softmax_loss(users, items[row[column]], items[[3, 8]]))
    assert MaskedTask(PretrainConfig(), None)(view).item() == pytest.approx(np.mean(expected), rel=1e-9)


def test_a_hidden_item_does_not_reach_the_state_that_predicts_it():
    """Wherever it stands, also twice; another item does reach it."""
    source = Source(8)
    inputs, targets = torch.tensor([[1, 2, 3, 2]]), torch.tensor([[2, 3, 2, 4]])
    places = torch.tensor([[1, 2, 3, 4, 5]])
    found = {}
    for changed in (0, 2, 3):
        with torch.no_grad():
            source.table[changed, 0] += 1.0  # 0 is nobody's
        found[changed] = hide(View(source, inputs, targets, OF_ITEM, places=places), torch.tensor([1]))
    assert found[0].items.tolist() == [2]
    assert found[0].places.tolist() == [2]
    assert torch.equal(found[0].states, found[2].states)
    assert not torch.allclose(found[2].states, found[3].states)


def test_each_item_of_a_sequence_is_hidden_sometimes():
    torch.manual_seed(0)
    view = View(Source(8), INPUTS.repeat(200, 1), TARGETS.repeat(200, 1), OF_ITEM, places=PLACES.repeat(200, 1))
    met = view.hidden.places.view(200, 4)
    for row, places in enumerate(PLACES):
        counts = [(met[:, row] == place).sum().item() for place in places[places > 0].tolist()]
        assert sum(counts) == 200
        assert min(counts) > 200 / len(counts) * 0.6


def test_a_sequence_that_is_longer_than_the_head_reads_loses_its_oldest():
    source = Source(8, max_history=3)
    view = view_of(source)
    assert [by_ids(view, row[row > 0]).tolist() for row in view.behaviours] == [[2, 3, 4], [5, 6, 7], [5, 7, 8], [2, 4]]
    assert view.behaviour_places.tolist() == [[2, 3, 4], [5, 6, 7], [9, 10, 11], [12, 13, 0]]
    wide = view_of(Source(8))
    assert [by_ids(wide, row[row > 0]).tolist() for row in wide.behaviours] == WHOLE


def test_the_next_task_is_the_formula(monkeypatch):
    source = Source(8)
    view = view_of(source)
    fixed_others(monkeypatch, [1, 8])
    task = NextTask(PretrainConfig(), None)
    task.build(8)
    table, positions, expected = source.table.detach(), task.positions.detach().double().numpy(), []
    items = unit(table.numpy())
    for row in WHOLE[:3]:  # the last one has two items: nothing is left of it
        before = state(source, table[torch.tensor(row[:-2])])
        expected += [softmax_loss(unit(before + positions[k]), items[row[k - 2]], items[[1, 8]]) for k in range(2)]
    assert task(view).item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_what_is_removed_does_not_reach_the_state_that_predicts_it():
    source = Source(8)
    rows, before, wanted = without_last(view_of(source), 2)
    assert rows.tolist() == [0, 1, 2]
    assert by_ids(view_of(source), wanted).tolist() == [[3, 4], [6, 7], [7, 8]]
    with torch.no_grad():
        source.table[[3, 4, 7, 8], 0] += 1.0
    _, after, _ = without_last(view_of(source), 2)
    assert torch.equal(before, after)
    with torch.no_grad():
        source.table[1, 0] += 1.0
    assert not torch.allclose(without_last(view_of(source), 2)[1][0], before[0])


def test_a_batch_of_sequences_that_are_too_short_costs_nothing():
    source = Source(8)
    task = NextTask(PretrainConfig(removed=5), None)
    task.build(8)
    loss = task(view_of(source))
    assert loss.item() == 0
    loss.backward()


@pytest.mark.parametrize("whole", [False, True])
def test_others_are_of_other_sequences_of_the_same_data_set_as_often_as_they_stand_there(whole):
    torch.manual_seed(0)
    view = view_of(Source(8), whole=whole)
    drawn, some = others(view, torch.tensor([3, 1]), 4000)
    assert some.tolist() == [0, 1]
    for row, allowed in zip(by_ids(view, drawn), ({1: 1, 3: 1}, {8: 1}), strict=True):
        ids, counts = row.unique(return_counts=True)
        shares = dict(zip(ids.tolist(), (counts / counts.sum()).tolist(), strict=True))
        assert shares == pytest.approx({one: n / sum(allowed.values()) for one, n in allowed.items()}, abs=0.05)
    alone = View(Source(8), INPUTS[:1], TARGETS[:1], OF_ITEM)
    nobody, some = others(alone, torch.tensor([0]), 3)
    assert nobody.shape == (0, 3)
    assert not len(some)
    assert MaskedTask(PretrainConfig(), None)(alone).item() == 0


@pytest.fixture(scope="module")
def people():
    return planted_people("people", users=40, seed=5)


@pytest.fixture
def same_user(people):
    def made(**settings):
        task = SameUserTask(PretrainConfig(**settings), Domains.of([people]))
        task.owner = torch.tensor([0] + [1] * 4 + [2] * 3 + [1] * 4 + [3] * 2)  # the third sequence is another part of the first one's user
        task.build(8)
        return task

    return made


def test_the_same_user_task_is_the_formula_and_its_negatives_are_of_others(same_user):
    source = Source(8)
    task = same_user(too_hard=0.0, pool=5).double()
    rng = np.random.default_rng(0)
    kept = unit(rng.normal(size=(3, 8)))
    task.pool[:3], task.pool_owner[:3] = torch.from_numpy(kept), torch.tensor([2, 1, 9])
    table, users = source.table.detach(), [1, 2, 1, 3]
    early = [unit(state(source, table[torch.tensor(row[: len(row) // 2])])) for row in WHOLE]
    late = [unit(state(source, table[torch.tensor(row[len(row) // 2 :])])) for row in WHOLE]
    candidates = [*zip(late, users, strict=True), *zip(kept, [2, 1, 9], strict=True)]
    expected = [softmax_loss(early[row], late[row], [vector for vector, owner in candidates if owner != users[row]]) for row in range(4)]
    assert task(view_of(source)).item() == pytest.approx(np.mean(expected), rel=1e-6)


def test_halves_are_read_each_by_itself():
    source = Source(8)
    view = view_of(source)
    early, late = halves(view)
    with torch.no_grad():
        source.table[[1, 2, 5], 0] += 1.0
    changed_early, changed_late = halves(view_of(source))
    assert torch.equal(late[0], changed_late[0])  # 3, 4
    assert not torch.allclose(early[0], changed_early[0])  # 1, 2


def test_the_pool_holds_the_newest_periods_of_earlier_steps(same_user):
    task, source = same_user(pool=6), Source(8)
    late = torch.nn.functional.normalize(halves(view_of(source))[1], dim=-1).detach().float()
    task(view_of(source))
    assert torch.allclose(task.pool[:4], late)
    assert task.pool_owner.tolist() == [1, 2, 1, 3, 0, 0]
    assert not task.pool.requires_grad
    task(view_of(source))
    assert task.pool_owner.tolist() == [1, 3, 1, 3, 1, 2]
    assert torch.allclose(task.pool[[4, 5, 0, 1]], late)
    task.eval()(view_of(source))
    assert task.filled.item() == 2
    small, none = same_user(pool=3), same_user(pool=0)
    assert small(view_of(source)).isfinite()
    assert small.pool_owner.tolist() == [2, 1, 3]
    assert none(view_of(source)).isfinite()
    assert {"pool", "pool_owner", "filled"} <= set(task.state_dict())  # what a checkpoint needs


def test_the_hardest_are_taken_after_a_share_of_the_very_hardest():
    none = -math.inf
    logits = torch.tensor([[5.0, 1.0, 4.0, 3.0, 2.0], [1.0, none, none, 2.0, none], [none] * 5])
    assert medium_hard(logits, 2, 0.0).tolist() == [[5, 4], [2, 1], [none, none]]
    assert medium_hard(logits, 2, 0.2).tolist() == [[4, 3], [2, 1], [none, none]]
    assert medium_hard(logits, 2, 0.5).tolist() == [[3, 2], [1, none], [none, none]]
    assert medium_hard(logits, 9, 0.2)[0].tolist()[:4] == [4, 3, 2, 1]


def test_a_bag_is_met_in_equal_shares():
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    labels = torch.tensor([[0, 2], [1, -1]])
    log = [row - np.log(np.exp(row).sum()) for row in logits.numpy()]
    expected = np.mean([-(log[0][0] + log[0][2]) / 2, -log[1][1]])
    assert bag_loss(logits, labels).item() == pytest.approx(expected, rel=1e-12)


def test_parts_of_a_time_are_those_of_the_calendar():
    seconds = np.random.default_rng(0).integers(0, 2_000_000_000, 50)
    found = [time_value(name, seconds).tolist() for name in TIMES]
    for moment, *values in zip(seconds.tolist(), *found, strict=True):
        when = datetime.fromtimestamp(moment, UTC)
        assert values == [when.year, when.month - 1, when.weekday(), when.hour]


def test_attributes_are_those_that_there_are(people):
    domains = Domains.of([people])
    found = {one.name: one for one in wanted_attributes(PretrainConfig(), domains)}
    assert {name: one.classes for name, one in found.items()} == {
        "categories": len(COLOURS),
        "weekday": 2,
    }  # of one year, month and hour
    places = domains.train.sequences.rows
    labels = found["weekday"].labels[1:, 0]
    assert [set(labels[places == user]) for user in range(4)] in ([{0}, {1}, {0}, {1}], [{1}, {0}, {1}, {0}])
    told = examine(PretrainingConfig().updated({"pretrain.tasks": "attributes"}), domains)
    assert told == ["attributes: categories (6), weekday (2)"]


def test_the_attributes_task_is_the_mean_over_attributes(people):
    domains = Domains.of([people])
    task = AttributesTask(PretrainConfig(attributes=("categories", "weekday")), domains)
    task.build(8)
    task.double()
    source = Source(len(domains.catalog))
    batch = MixedSequences.collate(MixedSequences(domains.train.sequences, 8).__getitems__([0, 1, 2]))
    view = View(source, batch["inputs"], batch["targets"], torch.from_numpy(domains.of_item), places=batch["places"])
    ids, places = view.ids[view.hidden.items].tolist(), view.hidden.places.tolist()
    assert [domains.train.sequences.values[place - 1] for place in places] == ids
    colours = sorted(COLOURS)
    expected = []
    for one, classifier in zip(task.known, task.classifiers, strict=True):
        logits = classifier(view.hidden.states).detach().numpy()
        labels = [one.labels[row, 0] for row in (places if one.of_time else ids)]
        expected.append(np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(logits, labels, strict=True)]))
    assert task(view).item() == pytest.approx(np.mean(expected), rel=1e-9)
    of_label = {}
    for item in range(1, 1 + len(domains.catalog)):
        of_label.setdefault(int(task.known[0].labels[item, 0]), set()).add(domains.catalog.texts[item - 1].split()[0])
    assert sorted(*map(sorted, [[next(iter(names)) for names in of_label.values()]])) == colours
    assert all(len(names) == 1 for names in of_label.values())


def test_absent_attributes_are_one_line(people):
    position = planted_domain("north", users=20)
    cases = [
        ([people], {"attributes": ["categries"]}, ConfigError, r"did you mean 'categories'\?"),
        ([people], {"attributes": ["hour"]}, ConfigError, "hour has no two different values"),
        ([position], {"attributes": ["hour"]}, ConfigError, "no data set has times of interactions"),
        ([position], {}, DataError, "the task attributes has nothing to predict"),
        ([position], {"tasks": ["reviews"]}, DataError, "no data set has texts of reviews"),
        ([people], {"tasks": ["next"], "removed": 4}, DataError, "people: no training sequence has 5 items, which the task next needs"),
    ]
    for data, given, kind, told in cases:
        config = PretrainingConfig().updated({f"pretrain.{name}": value for name, value in ({"tasks": ["attributes"]} | given).items()})
        with pytest.raises(kind, match=told) as caught:
            pretrain(data, config, progress=False)
        assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="an attribute stands twice"):
        PretrainingConfig().updated({"pretrain.attributes": "hour,hour"})


def test_positions_are_no_times():
    rows = pd.DataFrame(
        [(user, item, step) for user in range(6) for step, item in enumerate((1, 2, 3, 4))], columns=["user_id", "item_id", "timestamp"]
    )
    items = pd.DataFrame({"item_id": [1, 2, 3, 4], "title": TEXTS[:4], "genres": ["a|b", "b", "", "c"]})
    domains = Domains.of([Dataset.from_frames(rows, items, name="plain")])
    config = PretrainingConfig().updated({"pretrain.tasks": "attributes"})
    assert examine(config, domains) == [
        "attributes: genres (3)",
        "plain: no times of interactions, of which the task attributes could learn",
    ]
    (genres,) = wanted_attributes(config.pretrain, domains)
    assert (genres.labels >= 0).sum(1).tolist() == [0, 2, 1, 0, 1]


def test_what_one_of_several_data_sets_lacks_is_said(people):
    both = Domains.of([people, planted_domain("north", users=20)])
    told = {"": "categories and no times of interactions", "categories": "categories", "weekday": "times of interactions"}
    for asked, lacking in told.items():
        lines = examine(PretrainingConfig().updated({"pretrain.tasks": "attributes", "pretrain.attributes": asked}), both)
        assert lines[1:] == [f"north: no {lacking}, of which the task attributes could learn"]
    assert examine(PretrainingConfig().updated({"pretrain.tasks": "reviews"}), both) == [
        "north: no reviews, of which the task reviews could learn"
    ]


SHAPE = {"item.width": 32, "head.layers": 1, "head.max_history": 8, "head.dropout": 0.0, "train.precision": "fp32", "match.text": 0}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    words = static_folder(tmp_path_factory.mktemp("static") / "words", TEXTS, width=32)
    return {"encoder.name": words, **SHAPE, "train.learning_rate": 0.01, "pretrain.targets": 64, "pretrain.validation_users": 0}


class Keep(TrainerCallback):
    """Holds on to what is trained, the tasks' own weights too."""

    def on_train_end(self, *_, model, **__):
        self.module = model


def learned(data, settings, tasks, epochs):
    """Return what was trained, in eval mode, and the model."""
    keep = Keep()
    config = PretrainingConfig().updated(settings | {"pretrain.tasks": tasks, "train.epochs": epochs})
    model = pretrain(data, config, progress=False, callbacks=[keep])
    return keep.module.eval(), model


def fresh_view(module, seed):
    """Return a view of people whom nothing was learned from; items have the same inner ids."""
    batch = MixedSequences.collate(MixedSequences(Domains.of([planted_people("people", users=60, seed=seed)]).train.sequences, 8).chunks)
    return View(module.source, batch["inputs"], batch["targets"], module.of_item, places=batch["places"])


def test_a_category_that_the_sequence_tells_is_learned(people, settings):
    module, _ = learned([people], settings | {"pretrain.attributes": "categories"}, "attributes", 8)
    view, (task,) = fresh_view(module, 77), module.tasks
    labels = task.labels_0[view.ids[view.hidden.items]][:, 0]
    majority = labels.bincount().max() / len(labels)
    right = (task.classifiers[0](view.hidden.states).argmax(1) == labels).float().mean()
    assert majority < 0.4
    assert right > 0.9


def test_user_tasks_alone_recommend_what_is_next(people, settings):
    """After masked, next and same-user a user's nearest items are those of the user's colour, though no task is the next item's."""
    module, model = learned([people], settings, "masked,next,same-user", 8)
    view = fresh_view(module, 77)
    histories = Ragged(view.inputs.flatten(), np.arange(0, 1 + view.inputs.numel(), view.inputs.shape[1]))
    vectors, items = model.user_vectors(histories), model.item_embeddings()
    colours = np.array([text.split()[0] for text in model.catalog.texts])
    nearest = (vectors @ items[1:].T).argsort(axis=1)[:, ::-1][:, :5]
    alike = colours[nearest] == colours[view.inputs[:, :1].numpy() - 1]
    assert alike.mean() > 0.8


def test_opinion_words_are_those_that_part_ratings():
    texts = ["", "good card", "good gift card", "bad card", "bad gift card", "fine card"]
    ratings = np.array([np.nan, 5, 5, 1, 1, 3], np.float32)
    assert opinion_words(texts, ratings, 2) == ["bad", "good"]
    assert opinion_words(texts, ratings, 9) == ["bad", "good", "card", "gift"]  # fine stands in one review alone
    alike = opinion_words(texts, np.full(6, 5, np.float32), 1)
    assert alike in (["bad"], ["gift"], ["good"])  # card, which stands in all, says nothing
    assert bags(["good, BAD card", "", "other"], ["bad", "good"]).tolist() == [[0, 1], [-1, -1], [-1, -1]]


def test_the_reviews_task_is_its_formula(people):
    domains = Domains.of([people])
    task = ReviewsTask(PretrainConfig(rating_weight=0.5), domains)
    task.build(8)
    task.double()
    source = Source(len(domains.catalog))
    batch = MixedSequences.collate(MixedSequences(domains.train.sequences, 8).__getitems__([3, 4]))
    view = View(source, batch["inputs"], batch["targets"], torch.from_numpy(domains.of_item), places=batch["places"])
    train = domains.parts[0].split.train
    scale = train.rating.mean(), train.rating.std()
    words, squares = [], []
    for row in range(2):
        start = train.sequences.offsets[3 + row]
        items = train.sequences[3 + row]
        for step in range(1, len(items)):
            before = source.table[torch.from_numpy(items[:step])]
            both = torch.cat([source.head(before[None])[0, -1], source.table[items[step]]])
            logits = task.word_head(both).detach().numpy()
            said = [task.vocabulary.index(word) for word in train.text[start + step].split()]
            words.append(np.log(np.exp(logits).sum()) - np.mean(logits[said]))
            squares.append((task.rating_head(both).item() - (train.rating[start + step] - scale[0]) / scale[1]) ** 2)
    assert task(view).item() == pytest.approx(np.mean(words) + 0.5 * np.mean(squares), rel=1e-5)


def test_words_and_ratings_that_user_and_item_tell_are_learned(people, settings):
    module, _ = learned([people], settings, "reviews", 8)
    view, (task,) = fresh_view(module, 77), module.tasks
    assert set(task.vocabulary) == {"lovely", "awful", "dearly", "plainly"}
    both = torch.cat([view.states[view.used], view.items[view.wanted]], dim=1)
    colours, sizes = zip(*(divmod(int(one) - 1, 5) for one in view.ids[view.wanted]), strict=True)
    wanted = [
        {"awful" if size % 2 else "lovely", "dearly" if colour < 3 else "plainly"} for size, colour in zip(sizes, colours, strict=True)
    ]
    said = [{task.vocabulary[place] for place in row} for row in task.word_head(both).topk(2).indices.tolist()]
    assert np.mean([one == other for one, other in zip(said, wanted, strict=True)]) > 0.9
    rated = (task.rating_head(both)[:, 0] > 0).tolist()
    assert np.mean([good == (size % 2 == 0) for good, size in zip(rated, sizes, strict=True)]) > 0.9
