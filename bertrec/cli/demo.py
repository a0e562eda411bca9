"""``bertrec demo``: the whole way on ml-100k, from raw files to recommendations with titles."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli.output import note, print_comparison, print_figures, protocol_line, say
from bertrec.cli.runs import item_vectors, split_data
from bertrec.core.described import SHOWN_METRICS
from bertrec.runs.data import load_data
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

EXAMPLES = "Example: bertrec demo --out my-demo"

DATA = "ml-100k"
MODEL, BASELINE = "UniSRec text+id", "IDRec"
PLANS = {MODEL: ("unisrec", "text+id"), BASELINE: ("idrec", "id")}
SETTINGS: dict[str, Any] = {"item.width": 64}
TITLES = ("Toy Story", "Aladdin", "Babe")
SHORT_EPOCHS = 6  # of the training without new films


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the runs, the figures and the index go.")] = Path("bertrec-demo"),
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs, to be done sooner.")] = None,
) -> None:
    """Train, measure, index and recommend on MovieLens 100k, which the installed RecBole wheel carries."""
    started = time.perf_counter()
    plans = {name: plan(model, item_input, epochs) for name, (model, item_input) in PLANS.items()}
    note(f"1/5  reading {DATA}")
    dataset = load_data(plans[MODEL])
    split = split_data(dataset, plans[MODEL])
    models = train_all(out, plans, dataset, split)
    note("3/5  measuring on each user's last film, all films ranked, those already seen left out")
    figures = measure_all(models, split)
    save_figures(out, figures)
    print_comparison(f"{DATA}, test", figures, SHOWN_METRICS)
    print_figures(f"{MODEL} by slice", figures[MODEL], SHOWN_METRICS)
    say(protocol_line(figures[MODEL]["protocol"]))
    note("4/5  building the index and recommending from it")
    show_lists(models[MODEL], dataset, build_index(models[MODEL], out / "items.index"))
    note("5/5  new films: a tenth of the films is kept from a short training, then recommended from their texts")
    show_new_items(dataset, epochs)
    say(f"done in {time.perf_counter() - started:.0f} s; everything is in {out}")
    say(f'go on with: bertrec recommend {out / "unisrec"} --history "{TITLES[0]}" --why')


def plan(model: str, item_input: str, epochs: int | None) -> dict[str, Any]:
    """Return the training plan of one of the demo's models: the defaults, but for a width that keeps the demo short."""
    from bertrec.cli.runs import data_record

    settings = dict(SETTINGS) if epochs is None else {**SETTINGS, "train.epochs": epochs}
    chosen = {"model": model, "item_input": item_input, "tune": "frozen", "settings": settings, "init": None}
    return {**data_record(DATA), "load": {}, "split": {"method": "leave-one-out", "options": {}}, **chosen}


def train_all(out: Path, plans: dict[str, dict[str, Any]], dataset: Dataset, split: Split) -> dict[str, Recommender]:
    """Train the demo's models into ``out``, with popularity beside them."""
    from bertrec.cli.train import announce, fit
    from bertrec.models.popularity import Popularity
    from bertrec.models.registry import create

    announce(dataset, split)
    models: dict[str, Recommender] = {"Popularity": Popularity().fit(split.train)}
    for name, wanted in plans.items():
        shown = " ".join(f"--set {key}={value}" for key, value in wanted["settings"].items())
        note(f"2/5  training {name} (defaults, but {shown})")
        model = create(wanted["model"], item_input=wanted["item_input"], tune=wanted["tune"], settings=wanted["settings"])
        wanted["data_hash"] = dataset.content_hash
        _, seconds = fit(Run(out / wanted["model"]), wanted, model, split, overwrite=True)
        note(f"     {seconds:.0f} s")
        models[name] = model
    return models


def measure_all(models: dict[str, Recommender], split: Split) -> dict[str, dict[str, Any]]:
    """Measure every model on the same test users under the same protocol."""
    from bertrec.cli.evaluate import part_of
    from bertrec.evaluation.protocol import Protocol
    from bertrec.models.evaluate import evaluate

    rows, counts = part_of(split, "test"), split.train.item_counts
    return {
        name: evaluate(model, rows, protocol=Protocol(), item_counts=counts, manifest=split.manifest).to_json()
        for name, model in models.items()
    }


def save_figures(out: Path, figures: dict[str, dict[str, Any]]) -> None:
    """Write one file per model, each in the shape that ``bertrec evaluate --json`` writes."""
    from bertrec.core.files import write_json

    for name, measured in figures.items():
        write_json(out / f"test-{name.split()[0].lower()}.json", measured)


def build_index(model: Recommender, path: Path) -> Path:
    """Build the FAISS index of a model's items and save it."""
    from bertrec.retrieval.index import ItemIndex

    ids, vectors = item_vectors(model)
    index = ItemIndex.build(vectors, ids, model_hash=model.model_hash)
    index.save(path)
    return path


def show_lists(model: Recommender, dataset: Dataset, index: Path) -> None:
    """Print lists for two users of the data and for a history typed as titles."""
    from bertrec.cli.lists import print_tables
    from bertrec.cli.recommend import typed_case
    from bertrec.data.wanted_users import WantedUser
    from bertrec.runs.indexes import open_index
    from bertrec.runs.lists import Known, ListMaker, Tally, answering

    known = Known(model.catalog, dataset.interactions, times=model.reads_times)
    cases = known.cases([WantedUser("", user) for user in dataset.interactions.users.ids[:2]], Tally())
    cases = ListMaker(known, answering(model, 5, index=open_index(index)), model.name).filled([*cases, typed_case(model.catalog, TITLES)])
    print_tables(model.catalog, cases)


def show_new_items(dataset: Dataset, epochs: int | None) -> None:
    """Train on a split with new items, and print what is found of them: an ID model has no score for any."""
    from bertrec.data.load import make_split
    from bertrec.models.registry import create

    split = make_split(dataset, "cold-items", seed=0)
    settings = {**SETTINGS, "train.epochs": min(epochs or SHORT_EPOCHS, SHORT_EPOCHS)}
    models = {name: create(name, settings={}) for name in ("text-similarity", "max-similarity")}
    models[MODEL] = create("unisrec", item_input="text+id", settings=settings)
    for model in models.values():
        model.fit(split.train, validation=split.validation)
    figures = {f"{name} (untrained)" if name != MODEL else name: new_figures(model, split) for name, model in models.items()}
    say(f"users whose next film is one of {len(split.held_out)} kept from training, ranked among these alone")
    print_comparison("", figures, SHOWN_METRICS)
    say("IDRec: nothing, since an ID model has no score for a film that it never saw")
    show_best_new(models[MODEL], split)


def new_figures(model: Recommender, split: Split) -> dict[str, Any]:
    """Measure a model among the new items alone."""
    from bertrec.cli.evaluate import part_of
    from bertrec.evaluation.protocol import Protocol
    from bertrec.models.evaluate import evaluate

    rules, counts = Protocol(candidates="held_out"), split.train.item_counts
    return evaluate(model, part_of(split, "test"), protocol=rules, item_counts=counts, held_out=split.held_out, lists=False).to_json()


def show_best_new(model: Recommender, split: Split) -> None:
    """Print the best new items for the history that is typed as titles."""
    import numpy as np

    from bertrec.cli.output import print_table
    from bertrec.cli.recommend import typed_case
    from bertrec.core.ragged import Ragged

    history = model.catalog.ids.encode(typed_case(model.catalog, TITLES).history)
    scores = next(iter(model.score_all(Ragged.from_rows([history]))))[0]
    best = split.held_out[np.argsort(-scores[split.held_out], kind="stable")[:5]]
    rows = [[rank, model.catalog.titles[item - 1], f"{scores[item]:.4f}"] for rank, item in enumerate(best.tolist(), start=1)]
    say(f"new films for {'; '.join(TITLES)}")
    print_table("", ["rank", "title", "score"], rows, right=["rank", "score"])
