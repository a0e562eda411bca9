"""An index as a objective of a study: recall and speed of what is built, built once and searched often."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

pytest.importorskip("optuna")
from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, DataError
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.recall import recall_at_k, recall_each
from bertrec.tuning.objectives import index as problem_index
from bertrec.tuning.objectives.index import SPEED, IndexObjective, first_settings, index_space, queries_per_second, recall_k
from bertrec.tuning.plan import TunePlan
from bertrec.tuning.run import go_on, tune
from bertrec.tuning.selection import best_settings, winner
from bertrec.tuning.study_data import Vectors, load_study_data, save_study_data

METRICS = ("recall@5", SPEED)
KINDS = ["hnsw", "ivf", "ivfpq"]


@pytest.fixture(scope="module")
def vectors():
    generator = np.random.default_rng(0)
    return Vectors.of(generator.normal(size=(400, 8)), generator.normal(size=(30, 8)))


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(problem_index, "_SECONDS", 0.0)


def run(objective, vectors, **settings):
    return objective.run(settings, vectors, METRICS, lambda epoch, value: None)


def test_a_flat_index_finds_all_and_its_speed_is_positive(vectors):
    result = run(IndexObjective(), vectors, kind="flat")
    assert result.values[0] == 1.0
    assert result.values[1] > 0
    assert result.per_user.tolist() == [1.0] * 30


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": "ivf", "nlist": 10, "nprobe": 1},
        {"kind": "ivfpq", "nlist": 10, "nprobe": 1, "pq_parts": 2, "refine": True, "refine_factor": 2},
        {"kind": "hnsw", "hnsw_links": 4, "ef_construction": 8, "ef_search": 1},
    ],
)
def test_recall_is_that_of_an_index_built_with_these_settings(settings, vectors):
    """A searched-again index beside one that is built afresh."""
    objective = IndexObjective()
    run(objective, vectors, **{**settings, **{name: 3 for name in ("nprobe", "ef_search", "refine_factor") if name in settings}})
    found = run(objective, vectors, **settings)
    assert len(objective._built) == 1
    fresh = ItemIndex.build(vectors.items, range(400), recall_queries=vectors.queries, recall_k=5, **settings)
    if settings["kind"] != "hnsw":  # a graph is repeatable on one thread alone
        assert found.values[0] == pytest.approx(fresh.recall)
        assert (found.values[0] < 1) == (settings["kind"] == "ivf")
    assert found.values[0] == pytest.approx(fresh.recall, abs=0.2)


def test_recall_of_each_query_is_brute_force_and_its_mean_that_of_all(vectors):
    index = ItemIndex.build(vectors.items, range(400), kind="ivf", nlist=8, nprobe=1)
    found, true = (index.search(vectors.queries, 5, exact=exact) for exact in (False, True))
    by_hand = [len(set(a) & set(b)) / 5 for a, b in zip(found.positions.tolist(), true.positions.tolist(), strict=True)]
    assert recall_each(found, true).tolist() == pytest.approx(by_hand)
    assert recall_at_k(index, vectors.queries, 5) == pytest.approx(np.mean(by_hand))


def test_an_index_is_built_once_for_all_search_settings_and_the_oldest_is_dropped(vectors, monkeypatch):
    built = []
    monkeypatch.setattr(problem_index, "_KEPT", 2)
    make = ItemIndex.build

    def counting(*words, **settings):
        built.append(settings["nlist"])
        return make(*words, **settings)

    monkeypatch.setattr(ItemIndex, "build", counting)
    objective = IndexObjective()
    for nlist, nprobe in ((4, 1), (4, 2), (4, 4), (6, 1), (4, 3), (8, 1), (4, 1), (6, 1)):
        run(objective, vectors, kind="ivf", nlist=nlist, nprobe=nprobe)
    assert built == [4, 6, 8, 6]  # 6 made room for 8, while 4 was in use
    assert len(objective._built) == 2


def test_searched_with_leaves_the_index_it_came_from_alone(vectors):
    index = ItemIndex.build(vectors.items, range(400), kind="ivf", nlist=10, nprobe=1)
    wide = index.searched_with(nprobe=10)
    assert recall_at_k(wide, vectors.queries, 5) == 1.0 > recall_at_k(index, vectors.queries, 5)
    assert (wide.info()["settings"]["nprobe"], index.info()["settings"]["nprobe"]) == (10, 1)
    with pytest.raises(ConfigError, match="nprobe"):
        index.searched_with(nprobe=0)


def test_the_threads_are_put_back_after_timing(vectors):
    import faiss

    index, before = ItemIndex.build(vectors.items, range(400), kind="flat"), faiss.omp_get_max_threads()
    assert queries_per_second(index, vectors.queries, 3, threads=2) > 0
    assert faiss.omp_get_max_threads() == before


def test_the_space_fits_the_vectors_and_holds_the_first_trial(vectors):
    space = index_space(KINDS, vectors, {"hnsw_links": 16})
    assert list(space.parameters) == ["kind", "ef_construction", "ef_search", "nlist", "nprobe", "pq_parts", "refine", "refine_factor"]
    assert space.parameters["pq_parts"].choice == (1, 2, 4, 8)
    assert space.parameters["nlist"].bounds == (1, 10)
    for kind in ("hnsw", "ivf", "ivfpq"):
        first = first_settings([kind], vectors, {})
        assert first["kind"] == kind
        space.check(IndexObjective(first, {"hnsw_links": 16}).defaults)
    assert first_settings(["hnsw", "flat"], vectors, {})["kind"] == "flat"  # what auto is for so few items
    assert list(index_space(["flat", "hnsw"], vectors, {}).parameters) == ["kind", "hnsw_links", "ef_construction", "ef_search"]


@pytest.mark.parametrize("kinds", [[], ["hnsw", "hnsw"], ["auto"], ["hsnw"]])
def test_kinds_that_are_none_are_said_so(kinds, vectors):
    with pytest.raises(ConfigError, match="--kinds takes some of flat, ivf, hnsw, ivfpq"):
        index_space(kinds, vectors, {})


@pytest.mark.parametrize("metrics", [(), (SPEED,), ("recall@0", SPEED), ("NDCG@10", "recall@5"), ("recall@5", "speed")])
def test_an_index_has_its_own_metrics(metrics):
    with pytest.raises(ConfigError, match="an index is tuned by recall@K and queries_per_second"):
        recall_k(metrics)
    assert recall_k(METRICS) == 5


def test_vectors_survive_and_bad_ones_are_refused(vectors, tmp_path):
    save_study_data(vectors, tmp_path)
    again = load_study_data("index", tmp_path)
    assert again.content_hash == vectors.content_hash
    np.testing.assert_array_equal(again.items, vectors.items)
    assert Vectors.of(vectors.items, vectors.queries + 1).content_hash != vectors.content_hash
    with pytest.raises(DataError, match="8 dimensions, the queries 7"):
        Vectors.of(vectors.items, vectors.queries[:, :7])
    with pytest.raises(DataError, match="0 queries"):
        Vectors.of(vectors.items, vectors.queries[:0])


def plan_of(**changes):
    return TunePlan.from_dict(
        {"study": "s", "storage": "s", "source": "index", "model": "index", "space": {"kind": {"choice": ["flat"]}}} | changes
    )


class Trial:
    def __init__(self, *values):
        self.values = values


def test_the_winner_is_the_fastest_that_is_good_enough():
    front = [Trial(0.9, 100.0), Trial(0.97, 50.0), Trial(0.99, 60.0), Trial(1.0, 10.0)]
    chosen = {least: winner(front, plan_of(metrics=METRICS, least=least)).values for least in (None, 0.8, 0.95, 0.995, 1.1)}
    assert chosen == {None: (0.9, 100.0), 0.8: (0.9, 100.0), 0.95: (0.99, 60.0), 0.995: (1.0, 10.0), 1.1: (1.0, 10.0)}
    down = plan_of(metrics=("NDCG@10", "latency"), least=0.95)
    assert winner(front, down).values == (1.0, 10.0)


def test_a_study_of_an_index_keeps_the_default_first_and_has_no_two_workers(vectors, tmp_path):
    space, first = index_space(["ivf"], vectors, {}), first_settings(["ivf"], vectors, {})
    kept = {"source": "index", "metrics": METRICS, "pruner": "none", "first": first, "final_seeds": 0}
    study = tune(vectors, "index", space, folder=tmp_path / "s", trials=3, **kept)
    assert study.trials[0].params == {"kind": "ivf", "nlist": first["nlist"], "nprobe": first["nprobe"]}
    assert study.trials[0].user_attrs["threads"] == 1
    assert study.trials[0].values[0] == 1.0  # so few lists are all visited
    assert set(best_settings(tmp_path / "s")) == {"kind", "nlist", "nprobe"}
    with pytest.raises(ConfigError, match="--workers 1"):
        go_on(tmp_path / "s", workers=2)


def written(path, rows):
    column = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1), pa.float32()), rows.shape[1])
    pq.write_table(pa.table({"id": list(range(len(rows))), "vector": column}), path)
    return str(path)


@pytest.mark.slow
def test_the_command_leaves_settings_that_build_an_index(vectors, tmp_path, capsys, here):
    items, users = written(tmp_path / "items.parquet", vectors.items), written(tmp_path / "users.parquet", vectors.queries)
    out = tmp_path / "study"
    words = ["tune", "index", items, "--queries", users, "--kinds", "ivf", "-k", "5", "--trials", "2"]
    assert main([*words, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "Pareto front" in printed.out
    assert "exact search:" in printed.err
    plan = json.loads((out / "plan.json").read_text())
    assert plan["about"]["data"]["counts"] == {"items": 400, "queries": 30, "dimensions": 8}
    assert not (out / "test.json").exists()
    assert (out / "charts" / "front.svg").read_bytes().startswith(b"<?xml")
    assert "](charts/front.svg)" in (out / "report.md").read_text()
    assert main(["index", "build", items, "--config", str(out / "best.yaml"), "--out", str(tmp_path / "index")]) == 0
    best = yaml.safe_load((out / "best.yaml").read_text())
    made = ItemIndex.load(tmp_path / "index").info()
    settings = {**made["settings"], "kind": made["kind"]}
    visited = {"nprobe": min(best["nprobe"], settings["nlist"])} if "nprobe" in best else {}  # no more lists than there are
    assert {name: settings[name] for name in best} == best | visited
    assert main(["tune", "best", str(out), "--least", "0.5"]) == 0
    assert json.loads((out / "plan.json").read_text())["least"] == 0.5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--kinds", "hsnw"], "--kinds takes some of"),
        (["--set", "ef_serch=3"], "did you mean 'ef_search'"),
        (["--set", "kind=ivf"], "is both in the space and set to 'ivf'"),
        (["--sampler", "gp"], "knows a single objective here"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(words, says, tmp_path, capsys):
    items = written(tmp_path / "items.parquet", np.eye(8, dtype=np.float32))
    assert main(["tune", "index", items, "--out", str(tmp_path / "out"), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("shape", "kinds", "settings"), [((900, 34), ["ivfpq"], {}), ((900, 6), ["ivf"], {"nlist": 500})])
def test_the_first_trial_lies_within_the_space_whatever_the_vectors(shape, kinds, settings):
    drawn = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    data = Vectors.of(drawn, drawn[:10])
    objective = IndexObjective(first_settings(kinds, data, settings), settings)
    index_space(kinds, data, settings).check(objective.defaults)
