"""The tower beside formulas, brute force, and a catalogue that only pairs can teach to be asked in other words."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from static_folders import static_folder
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError, DataError, IndexFileError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.evaluate import LEARNED, LEARNED_UNTRAINED, learn_weights, measure_tower
from bertrec.models.queries.mining import PairBatches, mine
from bertrec.models.queries.network import TowerLoss, TowerNetwork
from bertrec.models.queries.pairs import Asked, QueryPairs
from bertrec.models.queries.tower import QueryTower
from bertrec.models.queries.train import train_tower
from bertrec.models.text_search import TextSearch
from bertrec.retrieval.word_scores import WordScores
from bertrec.training import checkpoints


def asked_of(queries, targets, elsewhere=None):
    return Asked(queries, Ragged.from_rows(targets), Ragged.from_rows(elsewhere or [[] for _ in queries]))


class Silent:
    """A model that reads no text and likes later items better."""

    text_vectors = None

    def __init__(self, catalog):
        self.catalog = catalog

    def encode_texts(self, texts):
        raise AssertionError("the tower reads the query")

    def score(self, histories, candidates):
        return [row.astype(np.float32) for row in candidates]


class TestUntrained:
    @pytest.mark.parametrize("settings", [{}, {"adapter": "mlp", "hidden": 8}, {"sides": "query"}, {"sides": "shared", "adapter": "mlp"}])
    def test_it_is_the_encoder(self, synonyms, query_config, settings):
        tower = QueryTower.untrained(synonyms.catalog, query_config.updated(settings), progress=False)
        encoder = make_encoder(query_config.encoder)
        texts, queries = (encoder.encode(some) for some in (synonyms.catalog.texts, synonyms.queries[:3]))
        cosines = queries @ texts.T / np.outer(np.linalg.norm(queries, axis=1), np.linalg.norm(texts, axis=1))
        scores = tower.scores(tower.query_vectors(synonyms.queries[:3]))
        np.testing.assert_allclose(scores[:, 1:], cosines, atol=1e-6)
        assert np.all(scores[:, 0] == -np.inf)

    def test_it_can_learn(self, synonyms, query_config):
        """Begun at zero, yet every weight of the last layer gets a gradient."""
        network = TowerNetwork(4, query_config)
        rng = np.random.default_rng(0)
        queries, items = (torch.tensor(rng.normal(size=(3, 4)), dtype=torch.float32) for _ in range(2))
        loss = TowerLoss(network, queries, items, temperature=0.1)
        loss(torch.arange(3), torch.arange(3), torch.eye(3, dtype=torch.bool))["loss"].backward()
        assert network.query.last.weight.grad.abs().min() > 0
        assert network.items.last.weight.grad.abs().min() > 0

    def test_a_tuned_encoder_is_refused(self):
        with pytest.raises(ConfigError, match="stays frozen"):
            QueryTower(QueryConfig().updated({"encoder.tune": "full"}))

    def test_what_was_never_fitted_says_so(self):
        with pytest.raises(ModelError, match="is not fitted"):
            QueryTower().query_vectors(["a"])


class TestLoss:
    def test_it_is_the_formula_with_hard_negatives_and_answers_masked(self):
        rng = np.random.default_rng(1)
        queries, items = rng.normal(size=(3, 5)), rng.normal(size=(6, 5))
        queries, items = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (queries, items))
        masked = np.array([[1, 0, 1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1, 0, 0]], bool)
        columns, expected = np.array([2, 1, 2, 4, 5]), 0.0
        for row in range(3):
            wanted = [column for column in range(5) if column == row or not masked[row, column]]
            terms = [math.exp(queries[row] @ items[columns[column]] / 0.2) for column in wanted]
            expected -= math.log(math.exp(queries[row] @ items[columns[row]] / 0.2) / sum(terms)) / 3
        network = TowerNetwork(5, QueryConfig()).double()
        loss = TowerLoss(network, torch.tensor(queries), torch.tensor(items), temperature=0.2)
        found = loss(torch.arange(3), torch.tensor(columns), torch.tensor(masked))["loss"]
        assert found.item() == pytest.approx(expected, rel=1e-9)

    def test_the_same_item_in_a_batch_is_no_negative(self):
        """Two queries of one item alone: nothing is left to be told apart, so the loss is 0."""
        loss = TowerLoss(TowerNetwork(2, QueryConfig()), torch.eye(2), torch.eye(2), temperature=1.0)
        batches = PairBatches(asked_of(["one", "two", "three"], [[1], [1], [2]]))
        batch = batches.collate(batches.pairs[:2])
        assert batch["masked"].tolist() == [[True, True], [True, True]]
        batch["item"] = torch.zeros(2, dtype=torch.long)
        assert loss(**batch)["loss"].item() == 0.0

    def test_answers_of_a_query_are_masked_wherever_they_stand(self):
        batches = PairBatches(asked_of(["one", "two"], [[1, 3], [2]]), Ragged.from_rows([[4], [3, 4]]), 8)
        batch = batches.collate(batches.pairs[[0, 2]])
        assert batch["item"].tolist() == [1, 2, 3, 4]
        assert batch["masked"].tolist() == [[True, False, True, False], [False, True, False, False]]


class TestHardNegatives:
    def test_they_are_the_best_of_both_lists_and_never_an_answer(self, synonyms, query_config):
        texts = synonyms.catalog.texts
        own = QueryPairs(synonyms.catalog, texts, synonyms.items, np.zeros(len(texts), np.int64), [""] * len(texts))
        untrained = QueryTower.untrained(synonyms.catalog, query_config, progress=False)
        asked, words = own.of("train"), WordScores(texts)
        hard = mine(asked, untrained.encoded(asked.queries), untrained, words, 5)
        for row in range(0, len(texts), 10):
            dense = untrained.scores(untrained.query_vectors([texts[row]]))[0]
            lists = [np.argsort(-values, kind="stable")[:5] for values in (words.of(texts[row]), dense)]
            assert set(hard[row]) == set(np.concatenate(lists).tolist()) - {row + 1}
        assert all(row + 1 not in hard[row] for row in range(len(texts)))

    def test_they_are_drawn_anew_from_the_querys_own(self):
        hard = Ragged.from_rows([[5, 6, 7], [], [8]])
        batches = PairBatches(asked_of(["one", "two", "three"], [[1], [2], [3]]), hard, 2)
        seen = set()
        for epoch in range(20):
            list(batches.batches(epoch, 3, 0))
            drawn = batches.drawn(batches.pairs)
            assert drawn.tolist() == batches.drawn(batches.pairs).tolist()
            assert len(drawn) == 4  # none for the query that has none
            assert set(drawn[:2]) <= {5, 6, 7}
            assert drawn[2:].tolist() == [8, 8]
            seen |= set(drawn[:2].tolist())
        assert seen == {5, 6, 7}

    @pytest.mark.parametrize(("targets", "said"), [([[1]], "1 training pair of one item"), ([[1], [1]], "2 training pairs of one item")])
    def test_one_item_alone_teaches_nothing(self, synonyms, query_config, targets, said):
        queries = [f"q{row}" for row in range(len(targets))]
        items = np.concatenate(targets)
        pairs = QueryPairs(synonyms.catalog, queries, items, np.zeros(len(items), np.int64), [""] * len(items))
        with pytest.raises(DataError, match=said):
            train_tower(pairs, query_config, progress=False)


class TestTrained:
    def test_words_that_no_text_holds_find_their_items(self, tower, synonyms):
        measured = measure_tower(tower, synonyms, "test", bootstrap=200)
        mrr = {name: report.mean("MRR") for name, report in measured.reports.items()}
        assert mrr["tower"] > 0.9
        assert mrr["bm25"] == 0  # no word is shared
        assert mrr["encoder"] < 0.2
        assert mrr["bm25 + tower"] == mrr["tower"]
        n = len(synonyms.catalog)
        assert mrr["random"] == pytest.approx(sum(1 / rank for rank in range(1, n + 1)) / n)
        assert measured.reports["random"].mean("Recall@10") == pytest.approx(10 / n)
        assert any(set(one.names) == {"tower", "bm25"} and one.difference != 0 for one in measured.comparisons)

    def test_figures_have_the_one_shape(self, tower, synonyms):
        figures = measure_tower(tower, synonyms, "valid", bootstrap=50).to_json()
        assert figures["slices"] == figures["models"]["tower"]["slices"]
        assert set(figures["slices"]["all"]["metrics"]) == {"Recall@1", "Recall@10", "Recall@50", "MRR"}
        assert len(figures["slices"]["all"]["metrics"]["MRR"]["ci95"]) == 2
        assert figures["protocol"]["queries"] == figures["slices"]["all"]["users"] == synonyms.counts["valid"]
        assert {LEARNED, LEARNED_UNTRAINED} < figures["models"].keys()

    def test_figures_are_those_of_ranks_by_brute_force(self, tower, synonyms):
        asked = synonyms.of("test")
        scores = tower.query_vectors(asked.queries) @ tower.item_vectors[1:].T
        ranks = [1 + sum(row >= row[target - 1]) - 1 for row, target in zip(scores, asked.targets.values, strict=True)]
        report = measure_tower(tower, synonyms, "test", bootstrap=0).reports["tower"]
        np.testing.assert_allclose(report.per_user("MRR"), [1 / rank for rank in ranks])
        np.testing.assert_allclose(report.per_user("Recall@10"), [float(rank <= 10) for rank in ranks])

    def test_what_answers_a_query_elsewhere_is_out_of_the_way(self, tower, synonyms):
        first, best = int(synonyms.of("test").targets.values[0]), synonyms.of("test").queries[0]
        other = first % len(synonyms.catalog) + 1
        pairs = QueryPairs(synonyms.catalog, [best, best], np.array([first, other]), np.array([0, 2]), ["", ""])
        scores = tower.scores(tower.query_vectors([best]))[0]
        assert np.argmax(scores) == first
        (value,) = measure_tower(tower, pairs, "test", bootstrap=0).reports["tower"].per_user("MRR")
        assert 1 / value == np.sum(scores >= scores[other]) - 1  # the first is not counted

    def test_the_served_order_is_that_of_the_trained_score(self, tower, synonyms):
        """The product in the loss, that of `scores` and that of the index are one: what was published had two."""
        queries = synonyms.of("test").queries[:5]
        loss = TowerLoss(tower.network, tower.encoded(queries), tower.text_vectors, temperature=tower.config.temperature)
        with torch.no_grad():
            left = tower.network.query_vectors(loss.queries) / loss.temperature
            logits = (left @ tower.network.item_vectors(loss.items).T).numpy()
        index = tower.index(kind="flat")
        found = index.search(tower.query_vectors(queries), 20)
        assert index.metric == "inner_product"
        for row in range(5):
            trained = 1 + np.argsort(-logits[row, 1:], kind="stable")[:20]
            assert found.ids[row] == tower.catalog.ids.decode(trained)
        np.testing.assert_allclose(found.scores / tower.config.temperature, -np.sort(-logits[:, 1:], axis=1)[:, :20], rtol=1e-4)

    def test_saved_and_read_it_is_the_same(self, tower, synonyms, tmp_path):
        tower.save_pretrained(tmp_path / "tower")
        read = QueryTower.from_pretrained(tmp_path / "tower")
        assert read.model_hash == tower.model_hash
        assert (read.weights, read.about) == (tower.weights, tower.about)
        vectors = read.query_vectors(synonyms.queries[:4])
        np.testing.assert_array_equal(read.scores(vectors), tower.scores(tower.query_vectors(synonyms.queries[:4])))

    def test_a_damaged_folder_is_named(self, tower, tmp_path):
        tower.save_pretrained(tmp_path / "tower")
        with (tmp_path / "tower" / "model.safetensors").open("r+b") as file:
            file.seek(-4, 2)
            file.write(b"\0\1\2\3")
        with pytest.raises(ModelError, match=r"model\.safetensors is not the file that was saved"):
            QueryTower.from_pretrained(tmp_path / "tower")

    def test_shared_adapters_survive_saving(self, synonyms, query_config, tmp_path):
        shared = train_tower(synonyms, query_config.updated({"sides": "shared", "train.epochs": 1}), progress=False)
        shared.save_pretrained(tmp_path / "tower")
        read = QueryTower.from_pretrained(tmp_path / "tower")
        np.testing.assert_array_equal(read.item_vectors, shared.item_vectors)
        assert read.network.items is read.network.query

    def test_another_encoder_of_that_name_is_refused(self, synonyms, query_config, tmp_path):
        folder = static_folder(tmp_path / "encoder", ["other words"], width=32)
        tower = QueryTower.untrained(synonyms.catalog, query_config, progress=False)
        tower.save_pretrained(tmp_path / "tower")
        read = QueryTower.from_pretrained(tmp_path / "tower")
        read.config = read.config.updated({"encoder.name": folder})
        with pytest.raises(ModelError, match="is not the one that this model was trained with"):
            read.query_vectors(["ding1"])

    def test_a_training_that_was_cut_short_goes_on_to_the_same(self, synonyms, query_config, tower, tmp_path, monkeypatch):
        prune, done = checkpoints.prune, []

        def stop(folder, *rest, **options):
            prune(folder, *rest, **options)
            done.append(folder)
            if len(done) == 2:  # it comes after each epoch
                raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr("bertrec.training.trainer.prune", stop)
            with pytest.raises(KeyboardInterrupt):
                train_tower(synonyms, query_config, run_dir=tmp_path, progress=False)
        resumed = train_tower(synonyms, query_config, run_dir=tmp_path, resume=True, progress=False)
        assert resumed.model_hash == tower.model_hash


class TestOver:
    def test_known_texts_are_not_read_again_and_new_ones_are(self, tower, synonyms, monkeypatch):
        catalog = ItemCatalog(IdMap([*synonyms.catalog.ids.ids[::-1], "new"]), {"title": [*synonyms.catalog.texts[::-1], "thing1 thing2"]})
        read = []
        encode = type(tower.encoder).encode_kept
        monkeypatch.setattr(
            type(tower.encoder), "encode_kept", lambda self, texts, **how: read.append(list(texts)) or encode(self, texts, **how)
        )
        other = tower.over(catalog)
        assert read == [["thing1 thing2"]]
        np.testing.assert_allclose(other.item_vectors[1:-1], tower.item_vectors[1:][::-1], atol=1e-6)
        assert other.weights == tower.weights
        assert tower.over(tower.catalog) is tower

    def test_another_catalogue_is_refused(self, tower):
        with pytest.raises(ModelError, match="was trained over another catalogue: it knows 25% of these 4 items"):
            tower.over(ItemCatalog(IdMap(["i1", "a", "b", "c"]), {"title": ["thing1"] * 4}))

    def test_items_without_text_and_withdrawn_ones_are_not_found(self, synonyms, query_config):
        gone = np.zeros(len(synonyms.catalog), np.bool_)
        gone[4] = True
        texts = ["", *synonyms.catalog.texts[1:]]
        catalog = ItemCatalog(synonyms.catalog.ids, {"title": texts}, withdrawn=gone)
        tower = QueryTower.untrained(catalog, query_config, progress=False)
        scores = tower.scores(tower.query_vectors(["thing1"]))[0]
        assert np.flatnonzero(scores == -np.inf).tolist() == [0, 1, 5]
        assert len(tower.index(kind="flat")) == len(texts) - 2


class TestSearch:
    def test_it_joins_tower_words_and_taste(self, tower, synonyms):
        search = TextSearch(Silent(synonyms.catalog), tower=tower)
        query = synonyms.of("test").queries[0]
        wanted = synonyms.catalog.ids.decode(synonyms.of("test").targets[0])
        found = search.search(query, 5)
        assert found.items[:1] == wanted
        assert set(found.ranks) == {"tower", "words"}
        assert found.ranks["words"] == [0] * 5
        assert found.ranks["tower"] == [1, 2, 3, 4, 5]
        assert set(search.search(query, 5, history=["i1"]).ranks) == {"tower", "words", "user"}

    def test_without_a_tower_nothing_has_changed(self, synonyms):
        with pytest.raises(ModelError, match="this Silent reads no text"):
            TextSearch(Silent(synonyms.catalog))

    def test_an_index_finds_the_same(self, synonyms, query_config):
        tower = QueryTower.untrained(synonyms.catalog, query_config, progress=False)
        query, everything = "thing3 thing5", synonyms.catalog.listed
        some = everything & (np.arange(len(everything)) % 3 == 0)
        plain = [tower.best(query, 10, allowed) for allowed in (everything, some)]
        tower.serve_by(tower.index(kind="flat"))
        for allowed, values in zip((everything, some), plain, strict=True):
            found = tower.best(query, 10, allowed)
            assert np.isfinite(found).sum() == 10
            best = np.argsort(-values, kind="stable")[:10]
            np.testing.assert_allclose(found[best], values[best], rtol=1e-5)

    def test_an_index_of_another_tower_is_refused(self, tower, synonyms, query_config):
        other = QueryTower.untrained(synonyms.catalog, query_config, progress=False)
        with pytest.raises(IndexFileError):
            other.serve_by(tower.index(kind="flat"))

    def test_weights_are_those_of_a_grid_by_brute_force(self, tower, synonyms):
        """Queries whose words speak for one item and whose other words for another; two in three mean the words."""
        texts, other = synonyms.catalog.texts, synonyms.queries
        mixed = [f"{texts[row]} {other[row + 50]}" for row in range(30)]
        targets = [row + 1 if row % 3 else row + 51 for row in range(30)]
        words, mrr = WordScores(texts), {}
        for step in range(21):
            total, weights = 0.0, (step / 10, 2 - step / 10)
            for query, target in zip(mixed, targets, strict=True):
                score = np.full(len(texts) + 1, -np.inf)
                for weight, values in zip(weights, (tower.scores(tower.query_vectors([query]))[0], words.of(query)), strict=True):
                    order = [item for item in np.argsort(-values, kind="stable") if np.isfinite(values[item])]
                    for rank, item in enumerate(order, start=1):
                        score[item] = max(score[item], 0) + weight / (60 + rank)
                total += 1 / (np.round(score, 7) >= round(score[target], 7)).sum()
            mrr[step / 10] = total / 30
        weights = learn_weights(tower, asked_of(mixed, [[target] for target in targets]), words)
        assert weights["tower"] + weights["words"] == pytest.approx(2)
        assert weights["words"] > weights["tower"]
        assert mrr[weights["tower"]] == pytest.approx(max(mrr.values()), abs=0.01)

    def test_weighted_ranks_by_hand(self, tower, synonyms):
        search = TextSearch(Silent(synonyms.catalog), tower=tower, weights={"tower": 0.5, "words": 1.5})
        found = search.search("thing1 ding2", 3)
        expected = [
            sum(weight / (60 + rank) for weight, rank in zip((0.5, 1.5), ranks, strict=True) if rank)
            for ranks in zip(found.ranks["tower"], found.ranks["words"], strict=True)
        ]
        np.testing.assert_allclose(found.scores, expected, rtol=1e-6)


class TestQueries:
    def test_an_empty_query_is_refused(self, tower):
        with pytest.raises(DataError, match="an empty query asks for nothing"):
            tower.query_vectors(["ding1", " "])

    def test_a_query_of_unknown_words_is_noted_and_words_answer(self, tower, synonyms):
        assert tower.note_on("ding1 ding2") is None
        assert "knows no word of this query" in tower.note_on("zzz")

    def test_a_query_in_another_script_is_noted(self, synonyms, tmp_path):
        folder = tiny_bert(tmp_path / "bert", synonyms.catalog.texts, hidden=8, layers=1)
        tower = QueryTower.untrained(synonyms.catalog, QueryConfig(encoder=EncoderConfig(name=folder)), progress=False)
        assert tower.note_on("thing1") is None
        assert "no word to the encoder" in tower.note_on("재미있는 영화")
        assert "knows no word of this query" in tower.note_on("something")
        assert TextSearch(Silent(synonyms.catalog), tower=tower).search("재미있는 영화", 3).items  # the dense part answers

    def test_a_vector_of_zeros_finds_nothing(self, tower):
        zeros = torch.zeros(1, 32)
        assert not np.any(tower.adapted(zeros))
        assert np.all(tower.scores(tower.adapted(zeros)) == -np.inf)
