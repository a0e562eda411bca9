"""Worlds whose ranks are known beforehand: a retriever with given scores, an oracle, and rerankers that change nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_retriever import Planted
from tiny_encoders import tiny_masked

from bertrec.core.errors import ConfigError, DataError, ModelError, NotFiniteError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.negatives import sample_negatives
from bertrec.data.splits import EvaluationSet, leave_one_out
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.evaluation.evaluate import evaluate_scores
from bertrec.evaluation.protocol import Protocol
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.rerank.evaluation import choose_weight, evaluate_reranked, ranked_lists
from bertrec.rerank.kinds import train_reranker
from bertrec.rerank.lists import retrieval_scores, retrieved_impressions, validation_impressions
from bertrec.rerank.two_stage import fused_scores, rerank, retrieve, retrieve_scored, standardised
from bertrec.retrieval.index import ItemIndex

RULES = Protocol(ks=(1, 3, 5, 10), bootstrap=0)


class Oracle:
    """Gives the one item it was told a high score in every list."""

    def __init__(self, best):
        self.best = best

    def score(self, histories, candidates):
        return (candidates.values == np.asarray(self.best)[candidates.rows]).astype(np.float32)


class Constant:
    def __init__(self, value=0.1):
        self.value = value

    def score(self, histories, candidates):
        return np.full(len(candidates.values), self.value, np.float32)


def catalog_of(n):
    return ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{k}" for k in range(1, n + 1)], "title": [f"제목 {k}" for k in range(n)]}))


@pytest.fixture
def falling():
    """Ten items; whatever the history, item 1 scores best and item 10 worst."""
    table = np.tile(np.array([0.0, *np.arange(10, 0, -1)]), (11, 1))
    return Planted(table, catalog_of(10))


def one_user(history, targets):
    return EvaluationSet(["u"], Ragged.from_rows([history]), Ragged.from_rows([targets]))


COUNTS = np.array([0, *[3] * 10])


def test_the_retrievers_list_is_what_the_table_says(falling):
    histories = Ragged.from_rows([[2], [1, 3], []])
    assert [row.tolist() for row in retrieve(falling, histories, 3)] == [[1, 3, 4], [2, 4, 5], [1, 2, 3]]
    assert [row.tolist() for row in retrieve(falling, histories, 3, mask_seen=False)] == [[1, 2, 3]] * 3
    found = retrieve_scored(falling, histories, 99)
    assert found.items.lengths.tolist() == [9, 8, 10]
    assert found.scores[:2].tolist() == [10.0, 8.0]
    assert len(retrieve(falling, Ragged.from_rows([]), 3)) == 0
    with pytest.raises(ConfigError, match="at least 1"):
        retrieve(falling, histories, 0)


def test_an_index_retrieves_the_same(falling):
    index = ItemIndex.build(falling.item_embeddings()[1:], falling.catalog.ids.ids, model_hash=falling.model_hash)
    histories = Ragged.from_rows([[2], [1, 3]])
    plain, indexed = retrieve_scored(falling, histories, 4), retrieve_scored(falling, histories, 4, index=index)
    assert indexed.items.values.tolist() == plain.items.values.tolist()
    assert indexed.scores.tolist() == plain.scores.tolist()


def test_an_oracle_puts_the_right_item_first_and_equal_scores_change_nothing(falling):
    histories = Ragged.from_rows([[2], [3]])
    lists = retrieve(falling, histories, 4)  # 1 3 4 5 and 1 2 4 5
    assert [row.tolist() for row in rerank(Oracle([5, 4]), histories, lists)] == [[5, 1, 3, 4], [4, 1, 2, 5]]
    assert rerank(Constant(), histories, lists).values.tolist() == lists.values.tolist()


def test_a_target_within_the_list_takes_its_new_rank_and_one_outside_keeps_its_own(falling):
    data = one_user([10], [4, 7])  # ranks 4 and 7 of nine candidates
    retriever, reranked = evaluate_reranked(falling, Oracle([4]), data, RULES, COUNTS, candidates=5)
    assert retriever.mean("MRR@10") == pytest.approx(1 / 4)
    assert reranked.mean("MRR@10") == 1.0
    assert reranked.mean("Recall@5") == 0.5  # item 7 stays on rank 7
    assert reranked.protocol["rerank"]["targets_within"] == 1
    assert "rerank" not in retriever.protocol
    lists = ranked_lists(falling, data, RULES, 5)
    assert lists.reranked(np.array([0, 0, 0, 9.0, 0])).values.tolist() == [1, 7]
    assert lists.reranked(np.array([0, 0, 0, -9.0, 0])).values.tolist() == [5, 7]  # never below the list's last place


def test_the_retrievers_report_is_that_of_the_evaluator():
    draw = np.random.default_rng(3)
    table = draw.integers(0, 4, (31, 31)).astype(np.float32)  # many ties
    model = Planted(table, catalog_of(30))
    histories = Ragged.from_rows([draw.integers(1, 31, draw.integers(1, 6)) for _ in range(40)])
    targets = Ragged.from_rows([draw.choice(np.arange(1, 31), 2, replace=False) for _ in range(40)])
    data = EvaluationSet([f"u{n}" for n in range(40)], histories, targets)
    counts = np.array([0, *[1] * 30])
    expected = evaluate_scores(model.score_all(histories), data, RULES, counts)
    retriever, same = evaluate_reranked(model, Constant(), data, RULES, counts, candidates=7)
    for metric in ("NDCG@10", "MRR@5", "HR@1"):
        assert retriever.per_user(metric).tolist() == expected.per_user(metric).tolist()
        assert same.per_user(metric).tolist() == expected.per_user(metric).tolist()


def test_a_report_names_the_head_that_a_cloze_reranker_asks(falling, tmp_path, monkeypatch):
    monkeypatch.setattr(MaskedEncoder, "head_note", property(lambda self: "head trained by bertrec on the test"))
    encoder = MaskedConfig(name=tiny_masked(tmp_path, [*falling.catalog.titles, "yes no ? does the user want item"]), max_length=60)
    ranker = PromptRanker(PromptConfig(prompt=Prompt.load("item-hybrid"), encoder=encoder)).prepare(falling.catalog)
    about = evaluate_reranked(falling, ranker, one_user([2, 3], [1]), RULES, COUNTS, candidates=4)[1].protocol["rerank"]
    assert {"head": "head trained by bertrec on the test", "prompt": "item-hybrid", "hash": ranker.model_hash}.items() <= about.items()


@pytest.mark.parametrize(("settings", "learned"), [({}, 6), ({"negatives": 2}, 2)])
def test_a_cloze_reranker_learns_from_every_negative_that_was_drawn(falling, tmp_path, monkeypatch, settings, learned):
    lengths = []

    def fit(self, impressions, **options):
        clicks = sample_negatives(impressions, self.config.negatives, 0)
        lengths.extend(clicks.candidates.lengths.tolist())
        return fitted(self, impressions, **options)

    fitted = PromptRanker.fit
    monkeypatch.setattr(PromptRanker, "fit", fit)
    monkeypatch.setattr(MaskedEncoder, "head_note", property(lambda self: "head trained by bertrec on the test"))
    ids = falling.catalog.ids.decode(np.array([9, 10, 8, 10, 9, 8]))
    table = pd.DataFrame({"user_id": ["a", "a", "a", "b", "b", "b"], "item_id": ids, "timestamp": range(6)})
    split = leave_one_out(Interactions.from_frame(table, falling.catalog))
    split = replace(split, train=Interactions.from_frame(table, falling.catalog), validation=None)
    encoder = tiny_masked(tmp_path / "e", [*falling.catalog.titles, "yes no ? does the user want item"])
    given = {"encoder.name": encoder, "encoder.max_length": 60, "train.epochs": 1, **settings}
    _, record = train_reranker(falling, split, kind="prompt4nr", candidates=8, negatives=6, settings=given)
    assert set(lengths) == {1 + learned}
    assert "head trained by bertrec on the test" in record["notes"]


def test_no_user_at_all_is_said(falling):
    with pytest.raises(DataError, match="no users"):
        ranked_lists(falling, EvaluationSet([], Ragged.from_rows([]), Ragged.from_rows([])), RULES, 4)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.booleans())
def test_ranks_after_any_reranking_are_those_of_the_list_it_makes(seed, n, mask_seen):
    draw = np.random.default_rng(seed)
    model = Planted(draw.integers(0, 3, (10, 10)).astype(np.float32), catalog_of(9))
    histories = Ragged.from_rows([draw.integers(1, 10, draw.integers(1, 5)) for _ in range(5)])
    targets = Ragged.from_rows([draw.choice(np.arange(1, 10), draw.integers(1, 4), replace=False) for _ in range(5)])
    data = EvaluationSet(list("abcde"), histories, targets)
    lists = ranked_lists(model, data, RULES.model_copy(update={"mask_seen": mask_seen}), n)
    scores = draw.random(len(lists.items.values))
    ranks = lists.reranked(scores)
    for row in range(5):
        seen = set(histories[row].tolist()) if mask_seen else set()
        assert not seen & set(lists.items[row].tolist())
        part = slice(lists.items.offsets[row], lists.items.offsets[row + 1])
        order = lists.items[row][np.argsort(-scores[part], kind="stable")]
        new = dict(zip(order.tolist(), lists.places[row].tolist(), strict=True))
        old = dict(zip(targets[row].tolist(), lists.ranks[row].tolist(), strict=True))
        assert ranks[row].tolist() == [new.get(item, rank) for item, rank in old.items()]
        assert len(set(ranks[row].tolist())) == len(ranks[row])
        assert all((rank <= n) == (item in new) for item, rank in old.items() if item not in seen)


def test_a_seen_target_keeps_its_rank_and_is_in_no_list(falling):
    data = one_user([2, 2], [2, 4])  # repeat purchase of item 2
    published = RULES.model_copy(update={"seen_targets": "rank"})
    lists = ranked_lists(falling, data, published, 4)
    assert lists.ranks.values.tolist() == [2, 4]
    assert lists.items[0].tolist() == [1, 3, 4]
    assert lists.reranked(np.array([0, 0, 1.0])).values.tolist() == [2, 1]
    report = evaluate_reranked(falling, Oracle([4]), data, published, COUNTS, candidates=4)[1]
    assert report.mean("MRR@10") == 1.0


def test_a_seen_target_is_left_out_unless_seen_items_are_kept(falling):
    data = one_user([2, 2], [2, 4])
    lists = ranked_lists(falling, data, RULES, 4)
    assert lists.ranks.values[1] == 3  # item 2 holds no place
    assert lists.items[0].tolist() == [1, 3, 4, 5]
    report = evaluate_reranked(falling, Oracle([2]), data, RULES, COUNTS, candidates=4)[1]
    assert report.protocol["left_out"]["seen_targets"] == 1
    kept = evaluate_reranked(falling, Oracle([2]), data, RULES.model_copy(update={"mask_seen": False}), COUNTS, candidates=4)[1]
    assert kept.mean("MRR@10") == 1.0


def test_an_item_without_a_score_is_in_no_list():
    table = np.tile(np.array([0.0, 3, 2, 1]), (4, 1))
    model = Planted(table, catalog_of(3))
    vectors = model.item_embeddings()
    vectors[3] = np.nan
    model.item_embeddings = lambda: vectors
    lists = ranked_lists(model, one_user([1], [3]), RULES, 5)
    assert lists.items[0].tolist() == [2]
    assert lists.ranks.values[0] > 1000  # in no list, though there are three items only
    assert lists.reranked(np.array([1.0])).values.tolist() == lists.ranks.values.tolist()


def test_held_out_candidates_alone_are_reranked(falling):
    rules = RULES.model_copy(update={"candidates": "held_out"})
    data = one_user([10], [1, 8])  # item 1 is no candidate, item 8 the second of three
    retriever, reranked = evaluate_reranked(falling, Oracle([8]), data, rules, COUNTS, candidates=3, held_out=np.array([7, 8, 9]))
    assert (retriever.mean("MRR@10"), reranked.mean("MRR@10")) == (0.5, 1.0)
    with pytest.raises(DataError, match="cold_items"):
        evaluate_reranked(falling, Oracle([8]), data, rules, COUNTS)


def test_fusion_runs_from_the_reranker_alone_to_the_retriever_alone(falling):
    histories = Ragged.from_rows([[10]])
    found = retrieve_scored(falling, histories, 4)
    options = {"retrieval_scores": found.scores}
    assert rerank(Oracle([4]), histories, found.items, weight=0.0, **options).values.tolist() == [4, 1, 2, 3]
    assert rerank(Oracle([4]), histories, found.items, weight=1.0, **options).values.tolist() == [1, 2, 3, 4]
    # z(oracle) of item 4 is √3, z(retriever) runs 1.342, 0.447, -0.447, -1.342
    half = fused_scores(Oracle([4]), histories, found.items, weight=0.5, **options)
    assert half == pytest.approx(0.5 * np.array([1.3416 - 0.5774, 0.4472 - 0.5774, -0.4472 - 0.5774, -1.3416 + 1.7321]), abs=1e-4)
    with pytest.raises(ConfigError, match="scores are not given"):
        rerank(Oracle([4]), histories, found.items, weight=0.5)
    with pytest.raises(ConfigError, match="between 0"):
        rerank(Oracle([4]), histories, found.items, weight=1.5, **options)


def test_standardised_scores_of_equal_values_are_nought():
    lists = Ragged.from_rows([[1, 2, 3], [], [4], [5, 6]])
    out = standardised(np.array([0.1, 0.1, 0.1, 7.0, 1.0, 3.0]), lists)
    assert out.tolist() == [0, 0, 0, 0, -1, 1]


def test_the_weight_is_chosen_on_validation(falling):
    data = EvaluationSet(["a", "b"], Ragged.from_rows([[10], [9]]), Ragged.from_rows([[4], [4]]))
    weight, figures = choose_weight(falling, Oracle([4, 4]), data, RULES, COUNTS, candidates=5, metric="MRR@10")
    assert figures[0.0] == 1.0
    assert figures[1.0] == pytest.approx(0.25)
    assert figures[weight] == 1.0
    assert weight == max(share for share, figure in figures.items() if figure == 1.0)
    assert choose_weight(falling, Constant(), data, RULES, COUNTS)[0] == 1.0  # a reranker without an opinion changes nothing
    with pytest.raises(ConfigError, match="empty"):
        choose_weight(falling, Constant(), data, RULES, COUNTS, grid=())


def walk(users=6, length=4, items=10):
    frame = pd.DataFrame([(f"u{u}", f"i{1 + (u + s) % items}", s) for u in range(users) for s in range(length)])
    frame.columns = ["user_id", "item_id", "timestamp"]
    return Interactions.from_frame(frame, catalog_of(items))


def test_hard_negatives_come_from_the_list_and_never_from_the_users_own_items(falling):
    data = walk()
    made = retrieved_impressions(falling, data, n=8, negatives=2, positions=2, seed=5)
    assert len(made) == 12
    assert made.users[:2] == ["u0", "u0"]
    assert [row.tolist() for row in made.histories][:2] == [[1, 2], [1, 2, 3]]
    assert made.clicks.values.tolist()[:2] == [3, 4]
    assert made.candidates.lengths.tolist() == [3] * 12
    lists = retrieve(falling, made.histories, 8)
    for row in range(len(made)):
        own = set(data.sequences[row // 2].tolist())
        negatives = set(made.candidates[row].tolist()) - {int(made.clicks[row][0])}
        assert len(negatives) == 2
        assert negatives <= set(lists[row].tolist()) - own
    again = retrieved_impressions(falling, data, n=8, negatives=2, positions=2, seed=5)
    other = retrieved_impressions(falling, data, n=8, negatives=2, positions=2, seed=6)
    assert again.candidates.values.tolist() == made.candidates.values.tolist() != other.candidates.values.tolist()
    places = {int(np.flatnonzero(made.labels[3 * row : 3 * row + 3])[0]) for row in range(12)}
    assert len(places) > 1  # shuffled
    scores = retrieval_scores(falling, made.histories, made.candidates)
    assert scores.tolist() == (11 - made.candidates.values).tolist()


def test_rows_whose_item_was_not_retrieved_can_be_dropped_and_are_counted(falling):
    made = retrieved_impressions(falling, walk(), n=4, negatives=None, only_retrieved=True)
    # the last items are 4 … 9; the unseen best four of user 0 (saw 1 2 3) are 4 5 6 7, …, of user 4 (saw 5 6 7) 1 2 3 4, without its 8
    assert made.users == ["u0", "u1", "u2", "u3"]
    assert [sorted(row.tolist()) for row in made.candidates] == [[4, 5, 6, 7], [1, 5, 6, 7], [1, 2, 6, 7], [1, 2, 3, 7]]
    assert made.notes == ("reranker's training data: 2 of 6 positions whose item is not among the retriever's best 4 (dropped)",)


def test_validation_rows_become_lists_too(falling):
    data = EvaluationSet(["a"], Ragged.from_rows([[1]]), Ragged.from_rows([[2, 3]]))
    made = validation_impressions(falling, data, n=4)
    assert made.users == ["a", "a"]
    assert [sorted(row.tolist()) for row in made.candidates] == [[2, 4, 5], [3, 4, 5]]  # the user's other target is no negative
    assert made.clicks.values.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"negatives": 0}, ConfigError, "negatives is 0"),
        ({"positions": 0}, ConfigError, "positions is 0"),
        ({"n": 0}, ConfigError, "at least 1"),
        ({"n": 1}, DataError, "none of 6"),
    ],
)
def test_training_data_that_cannot_be_made(falling, options, error, said):
    data = walk() if options != {"n": 1} else walk(length=10)
    with pytest.raises(error, match=said):
        retrieved_impressions(falling, data, **options)


def test_users_of_one_item_make_no_training_data(falling):
    with pytest.raises(DataError, match="history before it"):
        retrieved_impressions(falling, walk(length=1))


def test_bad_lists_and_scores_are_named(falling):
    histories = Ragged.from_rows([[1], [2]])
    with pytest.raises(DataError, match="2 histories but 1 lists"):
        rerank(Constant(), histories, Ragged.from_rows([[3]]))
    with pytest.raises(DataError, match="list 1: 0 is no inner item id"):
        rerank(Constant(), histories, Ragged.from_rows([[3], [0]]))
    with pytest.raises(NotFiniteError, match="list 0, item 3"):
        rerank(Constant(np.nan), histories, Ragged.from_rows([[3], [4]]))
    with pytest.raises(DataError, match="for 2 candidates"):
        rerank(Constant(), histories, Ragged.from_rows([[3], [4]]), retrieval_scores=np.ones(3), weight=0.5)
    short = Constant()
    short.score = lambda histories, candidates: np.zeros(1)
    with pytest.raises(ModelError, match="Constant gave scores of shape"):
        rerank(short, histories, Ragged.from_rows([[3], [4]]))


def test_a_reranker_of_other_items_is_refused(falling):
    stranger = Constant()
    stranger.catalog = catalog_of(9)
    with pytest.raises(DataError, match="other items"):
        evaluate_reranked(falling, stranger, one_user([1], [2]), RULES, COUNTS)
