"""A cross-encoder trained on retrieved lists puts first what the retriever cannot tell from others of its kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from planted_retriever import Planted
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, leave_one_out
from bertrec.evaluation.protocol import Protocol
from bertrec.rankers.base import Ranker
from bertrec.rerank.evaluation import evaluate_reranked
from bertrec.rerank.kinds import load_with_record, save_reranker, train_reranker

COLOURS, THINGS = ("red", "blue", "gold", "pink"), ("car", "hat", "sea", "dog")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in THINGS]


def users(n, seed):
    """Whoever had two items of a colour takes an item of the partner of that colour, of the kind after the newest one's."""
    draw = np.random.default_rng(seed)
    colour, thing = draw.integers(4, size=n), draw.integers(4, size=n)
    histories = np.stack([4 * colour + (thing + 1) % 4 + 1, 4 * colour + thing + 1], axis=1)
    targets = 4 * (colour ^ 1) + (thing + 1) % 4 + 1
    names = [f"{seed}-{row}" for row in range(n)]
    return EvaluationSet(names, Ragged.from_rows(histories), Ragged.from_rows(targets[:, None]))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The retriever, which knows the kind and not the colour; the split; an encoder."""
    things = np.arange(16) % 4
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(16)]), {"title": TITLES, "genres": [THINGS[thing] for thing in things]})
    table = np.zeros((17, 17))
    table[1:, 1:] = things[None, :] == (things[:, None] + 1) % 4
    known = users(40, 0)
    sequences = Ragged.from_rows([[*past, *next_] for past, next_ in zip(known.histories, known.targets, strict=True)])
    train = Interactions(catalog, IdMap(known.users), sequences)
    split = replace(leave_one_out(train), train=train, validation=users(240, 1), test=users(100, 2))
    encoder = tiny_bert(tmp_path_factory.mktemp("bert"), [*TITLES, "likes ; ,"])
    return Planted(table, catalog), split, encoder


def settings(encoder, **more):
    train = {"train.learning_rate": 3e-3, "train.encoder_learning_rate": 3e-3, "train.epochs": 6}
    return {"encoder.name": encoder, "encoder.tune": "full", "encoder.max_length": 32, **train, **more}


def test_it_puts_the_target_first_where_the_retriever_cannot(world, tmp_path):
    model, split, encoder = world
    given = {"kind": "cross-encoder", "candidates": 4, "negatives": 3, "learn_from": "valid", "hard": "genre", "lists": 200}
    trained, record = train_reranker(model, split, settings=settings(encoder), **given)
    rules = Protocol(ks=(1,), bootstrap=0)
    alone, reranked = evaluate_reranked(model, trained, split.test, rules, split.train.item_counts, candidates=4, weight=record["weight"])
    assert alone.mean("HR@1") < 0.1  # equal scores count against it
    assert reranked.mean("HR@1") > 0.9
    assert {"lists": 200, "hard": ["genre"]}.items() <= record.items()
    assert record["chosen_on"]["users"] == 40  # whom it did not learn from
    save_reranker(trained, record, tmp_path / "cross")
    again = load_with_record(tmp_path / "cross")
    scores = np.zeros(4, np.float32)
    pair = (split.test.histories.slice(0, 1), Ragged.from_rows([[1, 2, 3, 4]]))
    given = [one.score(*pair, retrieval_scores=scores) for one in (trained, again.reranker)]
    np.testing.assert_array_equal(*given)


def test_what_is_learned_from_and_who_chooses_are_apart_and_alike(world, monkeypatch):
    model, split, _ = world
    seen = {}

    def chosen(model, reranker, judges, *rest, **options):
        seen["judges"] = judges
        return 0.5, {0.5: 1.0}

    def fit(self, impressions, **options):
        seen["lists"] = impressions
        self.catalog = impressions.catalog
        return self

    monkeypatch.setattr("bertrec.rerank.kinds.choose_weight", chosen)
    monkeypatch.setattr("bertrec.rankers.composite.ranker.Composite.fit", fit)
    monkeypatch.setattr("bertrec.rankers.composite.ranker.Composite.weights", None)
    # Every second target is not retrieved, and so has no list.
    validation = split.validation
    odd = np.arange(len(validation)) % 2 == 1
    targets = np.where(odd, np.array([row[0] for row in validation.histories]), validation.targets.values)
    halved = replace(split, validation=EvaluationSet(validation.users, validation.histories, Ragged(targets, validation.targets.offsets)))
    train_reranker(model, halved, learn_from="valid", candidates=4, negatives=3, lists=60, seed=3)
    assert len(seen["lists"]) == 60
    learned, judges = set(seen["lists"].users), seen["judges"].users
    assert not learned & set(judges)
    place = {user: number for number, user in enumerate(validation.users)}
    without = np.mean([place[user] % 2 for user in judges])
    assert 0.35 < without < 0.65  # those without a list choose in the share that they have among all
    train_reranker(model, halved, learn_from="valid", candidates=4, negatives=3, share_users=10)
    assert (len(seen["lists"]), len(seen["judges"])) == (120, 10)
    train_reranker(model, split, candidates=4, negatives=3, lists=7)
    assert (len(seen["lists"]), len(seen["judges"])) == (7, 240)


def test_users_who_choose_the_share_are_held_out_unless_the_head_is_small(world, monkeypatch):
    model, split, encoder = world
    seen = {}

    def chosen(model, reranker, judges, *rest, **options):
        seen["judges"] = set(judges.users)
        return 0.5, {0.5: 1.0}

    def fit(self, impressions, **options):
        seen["lists"] = set(impressions.users)
        self.catalog = impressions.catalog
        return self

    monkeypatch.setattr("bertrec.rerank.kinds.choose_weight", chosen)
    for place in ("composite.ranker.Composite", "cross.ranker.CrossEncoder"):
        monkeypatch.setattr(f"bertrec.rankers.{place}.fit", fit)
        monkeypatch.setattr(f"bertrec.rankers.{place}.weights", None)
    given = {"learn_from": "valid", "candidates": 4, "negatives": 3, "settings": {"encoder.name": encoder}}
    _, record = train_reranker(model, split, kind="cross-encoder", **given)
    assert (len(seen["lists"]), len(seen["judges"])) == (192, 48)
    assert not seen["lists"] & seen["judges"]
    assert record["notes"] == []
    everybody = set(split.validation.users)
    _, record = train_reranker(model, split, **given)
    assert seen["lists"] == seen["judges"] == everybody
    said = "240 of the 240 users who chose the retriever's share were learned from too"
    assert record["notes"][0].startswith(said)
    for users, overlap in ((3, 0), (1, 1)):
        few = replace(split, validation=split.validation.take(np.arange(users)))
        assert len(train_reranker(model, few, kind="cross-encoder", **given)[1]["notes"]) == overlap
        assert len(seen["judges"]) == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [({"candidates": 3, "negatives": 4}, "raise candidates to 4"), ({"lists": 0}, "lists is 0"), ({"share_users": 0}, "share_users is 0")],
)
def test_what_cannot_be_asked_for_is_said(world, options, said):
    model, split, encoder = world
    with pytest.raises(ConfigError, match=said):
        train_reranker(
            model, split, settings={"encoder.name": encoder, "encoder.max_length": 8}, **{"candidates": 4, "negatives": 3, **options}
        )


class Told(Ranker):
    """Keeps what it is given to learn from."""

    name = "told"

    @property
    def reads_context(self):
        return True

    def fit(self, impressions, *, validation=None, **options):
        self.check_fit_options(options)
        self.catalog, self.given = impressions.catalog, options
        return self

    def score(self, histories, candidates, **options):
        assert options.get("context") is None
        return np.zeros(len(candidates.values))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


@pytest.mark.parametrize(("learn_from", "counted"), [("train", True), ("valid", False)])
def test_a_ranker_is_told_whether_the_clicks_of_its_lists_are_in_the_counts(world, learn_from, counted):
    model, split, _ = world
    trained, record = train_reranker(model, split, kind=Told, learn_from=learn_from, candidates=4, negatives=3)
    assert trained.given["counted"] is counted
    assert trained.given["item_counts"].tolist() == split.train.item_counts.tolist()
    assert any("told also reads who asks, when" in line for line in record["notes"])


@pytest.mark.parametrize(("kind", "known"), [("din", "features.users"), ("lstur", None)])
def test_no_vector_of_a_user_is_learned_where_nobody_says_who_asks(world, kind, known):
    model, split, encoder = world
    given = {"train.epochs": 1} if kind == "din" else {"train.epochs": 1, "encoder.name": encoder, "encoder.max_length": 32}
    trained, record = train_reranker(model, split, kind=kind, candidates=4, negatives=3, settings=given)
    state = trained.state_dict()
    vectors = [value for name, value in state.items() if name.endswith("longterm.weight")]
    assert len(state[known]) == 0 if known else [value.abs().max().item() for value in vectors] == [0.0]
    assert any("a reranker is told nothing of it" in line for line in record["notes"])


def test_a_ranker_of_histories_and_candidates_alone_has_no_such_note(world):
    model, split, encoder = world
    _, record = train_reranker(
        model, split, kind="cross-encoder", candidates=4, negatives=3, settings=settings(encoder, **{"train.epochs": 1})
    )
    assert not any("also reads" in line for line in record["notes"])
