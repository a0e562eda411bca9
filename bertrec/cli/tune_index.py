"""``bertrec tune index``: which index finds a run's items fast enough and well enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note
from bertrec.cli.runs import item_vectors, split_data, trained_data
from bertrec.cli.tune_finish import finish
from bertrec.cli.tune_start import Storage, StudyFolder, StudyName, Timeout, counts_of, minutes
from bertrec.runs.data import fit_catalog
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.models.base import Recommender
    from bertrec.tuning.study_data import Vectors

    Matrix = npt.NDArray[np.float32]

EXAMPLES = """
Examples:

bertrec tune index runs/ml --out tuned-index

bertrec tune index items.parquet --queries users.parquet --kinds hnsw,ivf --k 20 --trials 50 --out tuned-index

bertrec tune best tuned-index --least 0.95 > best.yaml

bertrec index build runs/ml --config tuned-index/best.yaml --out runs/ml.index
"""


def index(
    source: Annotated[Path, typer.Argument(metavar="RUN|ITEMS.parquet", help="A trained run, or item vectors of bertrec embed.")],
    out: StudyFolder,
    queries: Annotated[
        Path | None, typer.Option(metavar="USERS.parquet", help="Vectors to search for (default: of the run's validation users).")
    ] = None,
    trusted: o.Classes = None,
    kinds: Annotated[str, typer.Option(help="What is searched: some of hnsw, ivf, ivfpq and flat.")] = "hnsw,ivf,ivfpq",
    k: Annotated[int, typer.Option("--k", "-k", min=1, help="Items per query.")] = 10,
    most_queries: Annotated[int, typer.Option(min=1, help="At most so many queries, drawn at random.")] = 1000,
    threads: Annotated[int, typer.Option(min=1, help="Of a search that is timed.")] = 1,
    least_recall: Annotated[float, typer.Option(min=0, max=1, help="best.yaml is the fastest trial with this recall.")] = 0.95,
    trials: Annotated[int, typer.Option(min=1)] = 30,
    timeout: Timeout = None,
    space: Annotated[Path | None, typer.Option(metavar="F.yaml", help="A space of your own instead of that of --kinds.")] = None,
    sampler: Annotated[str, typer.Option(help="tpe, nsgaii, random or grid.")] = "tpe",
    set_: o.FixedSettings = None,
    study: StudyName = None,
    storage: Storage = None,
    seed: Annotated[int, typer.Option(min=0, help="Of sampler, queries, k-means and graphs.")] = 0,
) -> None:
    """Search index settings by two figures: recall against exact search, and queries per second."""
    from bertrec.tuning.objectives.index import SPEED, first_settings, index_space
    from bertrec.tuning.plan import JOURNAL, TunePlan
    from bertrec.tuning.run import begin
    from bertrec.tuning.space import Space

    settings, budget = o.read_settings(None, set_ or []), minutes(timeout)
    name, study_data, asked = _study_data(source, queries, most_queries, seed)
    names = [kind.strip() for kind in kinds.split(",") if kind.strip()]
    searched = Space.load(space) if space else index_space(names, study_data, settings)
    named = searched.parameters.get("kind")
    plan = TunePlan.from_dict(
        {
            "study": study or out.absolute().name,
            "storage": storage or str(out / JOURNAL),
            "source": "index",
            "model": "index",
            "settings": settings,
            "first": first_settings([str(kind) for kind in (named and named.choice) or ["auto"]], study_data, settings),
            "space": searched.to_dict(),
            "metrics": (f"recall@{k}", SPEED),
            "sampler": sampler,
            "pruner": "none",
            "trials": trials,
            "timeout_minutes": budget,
            "seed": seed,
            "final_seeds": 0,
            "least": least_recall,
            "threads": threads,
            "about": {
                "data": {"name": name, "counts": counts_of(study_data), "queries": asked},
                "timing": {"threads": threads, **_exact_speed(study_data, k, threads, settings)},
            },
        }
    )
    begin(plan, study_data, out)
    note(f"{name}: {len(study_data.items)} items, {len(study_data.queries)} queries ({asked}), trials: {plan.wanted}")
    exact = plan.about["timing"]["exact search, queries_per_second"]
    note(f"exact search: {exact:.6g} queries per second, {threads} thread(s)")
    finish(out, 1)


def _exact_speed(study_data: Vectors, k: int, threads: int, settings: dict[str, Any]) -> dict[str, float]:
    """Return what every trial is to be held against: the speed of a flat index over the same vectors."""
    from bertrec.retrieval.index import ItemIndex
    from bertrec.tuning.objectives.index import SPEED, queries_per_second

    flat = ItemIndex.build(study_data.items, range(len(study_data.items)), kind="flat", metric=settings.get("metric", "inner_product"))
    return {f"exact search, {SPEED}": queries_per_second(flat, study_data.queries, k, threads=threads)}


def _study_data(source: Path, queries: Path | None, most: int, seed: int) -> tuple[str, Vectors, str]:
    """Return a name, the vectors, and what the queries are; the test users of a run are left alone."""
    import numpy as np

    from bertrec.runs.vectors import read_vectors
    from bertrec.tuning.study_data import Vectors

    if source.suffix == ".parquet":
        items, asked, what = read_vectors(source)[1], None, "items"
    else:
        items, asked, what = _of_run(Run(source), users=queries is None)
    if queries is not None:
        asked, what = read_vectors(queries)[1], str(queries)
    asked = items if asked is None else asked
    rows = np.sort(np.random.default_rng(seed).permutation(len(asked))[:most])
    return source.stem, Vectors.of(items, asked[rows]), what


def _of_run(run: Run, *, users: bool) -> tuple[Matrix, Matrix | None, str]:
    record, model = run.record(), run.load_model()
    items = item_vectors(model)[1]
    if not users:
        return items, None, ""
    return items, *_user_vectors(run, record, model)


def _user_vectors(run: Run, record: dict[str, Any], model: Recommender) -> tuple[Matrix | None, str]:
    """Return the vectors of the run's validation users, else of its training users."""
    dataset = trained_data(run, record)
    parts = split_data(dataset, record)
    fitted = fit_catalog(model, dataset)
    if parts.validation is not None and len(parts.validation):
        return fitted.user_embeddings(parts.validation.histories), "validation users"
    return (fitted.user_embeddings(parts.train.timed), "training users") if len(parts.train.sequences) else (None, "items")
