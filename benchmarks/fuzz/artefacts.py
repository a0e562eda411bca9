"""Everything that bertrec writes and reads again, as small whole examples."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.engine import Target
from benchmarks.fuzz.tables import CLICKS, TITLES

SMALL = {"item.width": 8, "head.layers": 1, "head.heads": 1, "train.epochs": 1, "head.max_history": 5}


@cache
def _split() -> Any:
    import pandas as pd

    import bertrec
    from bertrec.data.load import Dataset

    catalog = bertrec.ItemCatalog.from_frame(pd.DataFrame({"item_id": list(TITLES), "title": list(TITLES.values())}))
    frame = pd.DataFrame(CLICKS, columns=["user_id", "item_id", "timestamp"])
    return bertrec.make_split(Dataset("shop", "tables", bertrec.Interactions.from_frame(frame, catalog)))


@cache
def _model(name: str) -> Any:
    import bertrec

    settings = SMALL if name == "idrec" else {}
    return bertrec.create(name, settings=settings).fit(_split().train, validation=_split().validation, progress=False)


def _scores(model: Any) -> Any:
    return _table(model, model.histories([[1, 2], [3]]))


def _table(model: Any, histories: Any) -> Any:
    return np.concatenate(list(model.score_all(histories))).tolist(), model.catalog.titles


def _read_model(folder: Path) -> Any:
    import bertrec

    return _scores(bertrec.Recommender.from_pretrained(folder / "model"))


def _saved(name: str) -> Callable[[Path], None]:
    return lambda folder: _model(name).save_pretrained(folder / "model")


def _run(folder: Path) -> None:
    """A run of ``bertrec train`` on tables beside it."""
    import bertrec
    from benchmarks.fuzz.tables import readers
    from bertrec.cli.runs import data_record, end
    from bertrec.runs.folder import Run

    readers()[0].make(folder)
    model = bertrec.Popularity().fit(bertrec.make_split(bertrec.load(folder)).train)
    end(Run(folder / "run"), model, {**data_record(str(folder)), "load": {}, "split": {"method": "auto", "options": {}}})


def _read_run(folder: Path) -> Any:
    from bertrec.cli.runs import split_data
    from bertrec.runs.data import data_for, fit_catalog
    from bertrec.runs.folder import Run

    run = Run(folder / "run")
    record, model = run.record(), run.load_model()
    dataset = data_for(record, str(folder))
    split = split_data(dataset, record)
    return _table(model, split.train.sequences), fit_catalog(model, dataset).catalog.titles, split.manifest.get("counts")


@cache
def _impressions() -> Any:
    from bertrec.data import impressions_from_sequences

    return impressions_from_sequences(_split().train, negatives=2, seed=0)


@cache
def _reach_support() -> None:
    """Let what the tests make their examples with be imported."""
    import sys

    sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))


@cache
def _encoder_folder() -> str:
    import atexit
    import tempfile

    _reach_support()
    from tiny_encoders import tiny_bert

    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    return str(tiny_bert(Path(place.name) / "encoder", TITLES.values(), hidden=8, layers=1))


@cache
def _composite() -> Any:
    from bertrec.encoders.config import EncoderConfig
    from bertrec.rankers.composite.ranker import Composite, CompositeConfig

    return Composite(CompositeConfig(encoder=EncoderConfig(name=_encoder_folder()))).fit(_impressions())


def _ranked(ranker: Any) -> Any:
    return ranker.score(_impressions().histories, _impressions().candidates).tolist()


def _reranker(folder: Path) -> None:
    from bertrec.rerank.kinds import save_reranker

    save_reranker(_composite(), {"kind": "composite", "candidates": 5, "weight": 0.5, "retriever": {"class": "idrec"}}, folder / "rerank")


def _read_reranker(folder: Path) -> Any:
    from bertrec.rerank.kinds import load_with_record

    loaded = load_with_record(folder / "rerank")
    return _ranked(loaded.reranker), loaded.weight, loaded.record.get("candidates")


def _ranker_run(folder: Path) -> None:
    from bertrec.core.files import write_json

    _composite().save_pretrained(folder / "run" / "members" / "0")
    record = {"kind": "rankers", "members": [{"ranker": "composite"}], "data": "shop", "data_hash": "x", "load": {}}
    write_json(folder / "run" / "run.json", record)


def _read_ranker_run(folder: Path) -> Any:
    from bertrec.rankers.runs import open_rankers

    ensemble, records = open_rankers(folder / "run")
    return [_ranked(member) for member in ensemble.members], [record["data"] for record in records]


def _index(kind: str) -> Target:
    from bertrec.retrieval.index import ItemIndex

    vectors = np.random.default_rng(0).standard_normal((80, 8)).astype(np.float32)

    def make(folder: Path) -> None:
        more = {"nlist": 4, "pq_parts": 2, "pq_bits": 4} if kind == "ivfpq" else {}
        index = ItemIndex.build(vectors, [f"é{row}" for row in range(80)], kind=kind, **more)
        index.remove(["é3"])
        index.save(folder / "index")

    def read(folder: Path) -> Any:
        index = ItemIndex.load(folder / "index")
        found = index.search(vectors[:5], 4)
        return found.padded_ids.tolist(), found.scores.tolist(), len(index)

    return Target(f"index, {kind}", make, read)


def _study(folder: Path) -> None:
    import optuna

    from bertrec.tuning.plan import TunePlan
    from bertrec.tuning.storages.open import open_storage

    plan = TunePlan(study="s", storage="study.journal", model="idrec", space={"head.layers": {"int": [1, 3]}}, settings={"item.width": 8})
    plan.save(folder)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=open_storage(folder / "study.journal"), study_name="s", direction="maximize")
    for layers in (1, 2, 3):
        trial = study.ask({"head.layers": optuna.distributions.IntDistribution(1, 3)})
        study.tell(trial, 0.1 * layers)


def _read_study(folder: Path) -> Any:
    from bertrec.tuning.plan import load_plan
    from bertrec.tuning.report.content import document
    from bertrec.tuning.run import open_study
    from bertrec.tuning.study_view import read_study

    plan = load_plan(folder)
    study = open_study(plan.model_copy(update={"storage": str(folder / "study.journal")}))
    plan.objective(folder)
    view = read_study(study, plan.about)
    document(view)
    return plan.to_dict(), [(trial.number, trial.params, trial.values) for trial in view.trials]


def _embeddings(folder: Path) -> None:
    from bertrec.runs.vectors import vector_schema, write_vectors

    block = list(TITLES), np.eye(len(TITLES), 4, dtype=np.float32)
    write_vectors(folder / "vectors.parquet", [block], vector_schema(4, whole=False), model_hash="abc", what="items")


def _read_embeddings(folder: Path) -> Any:
    from bertrec.runs.vectors import read_vectors

    ids, vectors, model_hash = read_vectors(folder / "vectors.parquet")
    return ids, vectors.tolist(), model_hash


def _encoder(folder: Path) -> None:
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    TextEncoder.from_config(EncoderConfig(name=_encoder_folder())).save(folder / "encoder")


def _read_encoder(folder: Path) -> Any:
    from bertrec.encoders.text import TextEncoder

    return TextEncoder.load(folder / "encoder").encode(list(TITLES.values())[:2]).tolist()


def _foreign_encoder(folder: Path) -> None:
    import shutil

    shutil.copytree(_encoder_folder(), folder / "encoder")


def _read_foreign(folder: Path) -> Any:
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    return TextEncoder.from_config(EncoderConfig(name=str(folder / "encoder"))).encode(list(TITLES.values())[:2]).tolist()


def _static_encoder(folder: Path) -> None:
    _reach_support()
    from static_folders import static_folder

    static_folder(folder / "encoder", TITLES.values())


def _model2vec(folder: Path) -> None:
    _reach_support()
    from static_folders import model2vec_folder

    model2vec_folder(folder / "encoder", TITLES.values(), shared_rows=4)


def _read_static(folder: Path) -> Any:
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.static import StaticEncoder

    return StaticEncoder.from_config(EncoderConfig(name=str(folder / "encoder"))).encode(list(TITLES.values())[:2]).tolist()


def _tower(folder: Path) -> None:
    from bertrec.models.queries.config import QueryConfig
    from bertrec.models.queries.tower import QueryTower

    config = QueryConfig().updated({"encoder.name": _encoder_folder()})
    QueryTower.untrained(_split().catalog, config, progress=False).save_pretrained(folder / "tower")


def _read_tower(folder: Path) -> Any:
    from bertrec.models.queries.tower import QueryTower

    tower = QueryTower.from_pretrained(folder / "tower")
    return tower.scores(tower.query_vectors(["a thing"])).tolist(), tower.weights, tower.about


def _given_parquet(folder: Path) -> None:
    import pandas as pd

    rows = list(np.eye(len(TITLES), 4))
    pd.DataFrame({"item_id": list(TITLES), "embedding": rows}).to_parquet(folder / "items.parquet")


def _given_matrix(folder: Path) -> None:
    np.save(folder / "items.npy", np.eye(len(TITLES), 4))
    (folder / "items.ids.json").write_text(str(list(TITLES)), encoding="utf-8")


def _read_given(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from bertrec.encoders.config import EncoderConfig
        from bertrec.encoders.given import GivenVectors

        return GivenVectors.from_config(EncoderConfig(name=str(folder / name))).encode_items(_split().catalog).tolist()

    return read


def _cache(folder: Path) -> None:
    from bertrec.encoders.cache import EmbeddingCache
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    EmbeddingCache(folder / "cache").get_or_encode(_encoder_of(EncoderConfig, TextEncoder), list(TITLES.values()))


@cache
def _encoder_of(config: Any, kind: Any) -> Any:
    return kind.from_config(config(name=_encoder_folder()))


def _read_cache(folder: Path) -> Any:
    from bertrec.encoders.cache import EmbeddingCache
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    found = EmbeddingCache(folder / "cache").get_or_encode(_encoder_of(EncoderConfig, TextEncoder), list(TITLES.values()))
    return np.round(found, 4).tolist()


def _training(folder: Path) -> None:
    """A training that was cut short in its third epoch."""
    with suppress(KeyboardInterrupt):
        _longer().fit(_split().train, validation=_split().validation, progress=False, run_dir=folder / "run", on_epoch=_Cut())


def _longer() -> Any:
    from bertrec.models.registry import create

    return create("idrec", settings={**SMALL, "train.epochs": 4, "train.patience": 0})


class _Cut:
    """Ends a training after two epochs."""

    def __init__(self) -> None:
        self.told = 0

    def __call__(self, *_: Any) -> None:
        self.told += 1
        if self.told > 2:
            raise KeyboardInterrupt


def _read_training(folder: Path) -> Any:
    model = _longer()
    model.fit(_split().train, validation=_split().validation, progress=False, run_dir=folder / "run", resume=True)
    return _scores(model)


def _study_data(folder: Path) -> None:
    from bertrec.tuning.study_data import save_study_data

    save_study_data(_split(), folder)


def _read_study_data(folder: Path) -> Any:
    from bertrec.data.splits import Split
    from bertrec.tuning.study_data import load_study_data

    data = load_study_data("bertrec", folder)
    assert isinstance(data, Split)  # as `save_study_data` wrote it
    return data.content_hash


_FIGURE = {"NDCG@10": {"mean": 0.25, "ci95": [0.2, 0.3], "sd": 0.1}}
_TEST = {"settings": {"head.layers": 1}, "seeds": [0], "metrics": _FIGURE, "default": _FIGURE, "paired": {"verdict": "better"}}


def _left(folder: Path) -> None:
    from bertrec.core.files import write_json

    _study(folder)
    write_json(folder / "test.json", _TEST)
    (folder / "plan.json").rename(folder / "kept.plan")
    (folder / "study.journal").rename(folder / "kept.study")


def _read_left(folder: Path) -> Any:
    """The report of a study, of which the test figures alone are harmed."""
    from bertrec.tuning.plan import TunePlan
    from bertrec.tuning.report.content import document
    from bertrec.tuning.run import open_study
    from bertrec.tuning.selection import read_test
    from bertrec.tuning.study_view import read_study

    test = read_test(folder)
    plan = TunePlan(study="s", storage="unused", model="idrec", space={"head.layers": {"int": [1, 3]}})
    _study(folder / "own")
    study = open_study(plan.model_copy(update={"storage": str(folder / "own" / "study.journal")}))
    document(read_study(study, {"test": test}))
    return test


def _fit(folder: Path) -> None:
    from bertrec.recbole.exchange import Arrays, Outcome, Point, append_point

    points = (Point(1, 2.0, 0.5, 0.1), Point(2, 3.0, None, 0.2))
    for point in points:
        append_point(folder, point)
    Arrays(np.arange(1, 5), np.arange(8, dtype=np.int32).reshape(4, 2)).save(folder)
    Outcome(status="ok", points=points).save(folder)


def _read_fit(folder: Path) -> Any:
    from bertrec.recbole.exchange import Arrays, Outcome, read_points

    arrays = Arrays.load(folder)
    return arrays.ranks.tolist(), arrays.lists.tolist(), Outcome.load(folder), read_points(folder)


def _comparison(folder: Path) -> None:
    from bertrec.comparison import make_plan
    from bertrec.comparison.run import _begin

    _begin(folder, _split(), make_plan([], []))


def _read_comparison(folder: Path) -> Any:
    from bertrec.comparison import make_plan
    from bertrec.comparison.run import _begin

    return _begin(folder, _split(), make_plan([], []))


def _lists(folder: Path) -> None:
    (folder / "lists.yaml").write_text(
        "templates:\n  ask: ['a film for {word}', 'films {word} likes']\n"
        "attributes:\n  sex:\n    templates: ask\n    neutral: someone\n    groups: {women: [Anna, Eve], men: [Bob, Tom]}\n"
    )


def _read_lists(folder: Path) -> Any:
    from bertrec.studies.audit.lists import read_lists

    return read_lists(folder / "lists.yaml")


def _half_done(folder: Path) -> None:
    """A change of two folders that was cut short when both were whole."""
    from bertrec.core import together
    from bertrec.core.files import write_json

    home = folder / "home"
    for place, state in ((home / "model", 0), (folder / "index", 0)):
        place.mkdir(parents=True)
        write_json(place / "about.json", {"state": state})
    with suppress(KeyboardInterrupt), together.changing(home) as change:
        for target in (home / "model", folder / "index"):
            place = change.place_for(target)
            place.mkdir()
            write_json(place / "about.json", {"state": 1})
        change._note(whole=True)
        raise KeyboardInterrupt


def _read_settled(folder: Path) -> Any:
    from bertrec.core.files import read_json
    from bertrec.core.together import settle

    settle(folder / "home")
    states = [read_json(place / "about.json") for place in (folder / "home" / "model", folder / "index")]
    return states[0] == states[1]  # without its journal a change is none


def artefacts() -> list[Target]:
    """Return a target for each artefact."""
    return [
        Target("model folder, popularity", _saved("popularity"), _read_model),
        Target("model folder, idrec", _saved("idrec"), _read_model),
        Target("run folder", _run, _read_run, ("run.json", "*.csv")),
        Target("ranker run", _ranker_run, _read_ranker_run, ("run.json",)),
        Target("reranker", _reranker, _read_reranker),
        *map(_index, ("flat", "hnsw", "ivfpq")),
        Target("study", _study, _read_study, ("plan.json", "study.journal")),
        Target("study's test figures", _left, _read_left, ("test.json", "kept.*")),
        Target("study's data", _study_data, _read_study_data),
        Target("fit of a comparison", _fit, _read_fit, ("outcome.json", "curve.jsonl")),
        Target("comparison's plan", _comparison, _read_comparison, ("plan.json",)),
        Target("audit lists", _lists, _read_lists, ("*",)),
        Target("embeddings", _embeddings, _read_embeddings, ("*",)),
        Target("embedding cache", _cache, _read_cache),
        Target("encoder folder", _encoder, _read_encoder),
        Target("sentence-transformers folder", _foreign_encoder, _read_foreign, ("*",)),
        Target("static encoder", _static_encoder, _read_static, ("*",)),
        Target("Model2Vec folder", _model2vec, _read_static, ("*",)),
        Target("query tower", _tower, _read_tower),
        Target("item vectors, Parquet", _given_parquet, _read_given("items.parquet"), ("*",)),
        Target("item vectors, NumPy", _given_matrix, _read_given("items.npy"), ("*",)),
        Target("change that was cut short", _half_done, _read_settled),
        Target("training checkpoint", _training, _read_training),
    ]
