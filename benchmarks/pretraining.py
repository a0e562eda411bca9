"""UniSRec's pre-training: what it takes, what it knows of other data as it is, and what it brings to a training there.

    nice python -m benchmarks.pretraining pretrain --data DATA_FOLDER --seeds 0 1 2
    nice python -m benchmarks.pretraining zero amazon-scientific --data DATA_FOLDER --seeds 0 1 2
    nice python -m benchmarks.pretraining fine amazon-scientific --data DATA_FOLDER --seeds 0 1 2 --shares 1 0.1 0.01
    nice python -m benchmarks.pretraining pretrain --domains ml-100k --label own-ml-100k \
        --set pretrain.tasks=masked,next,same-user --set pretrain.validation_users=0 --seeds 0 1 2
    nice python -m benchmarks.pretraining fine ml-100k --label own-ml-100k --inputs text --hows scratch whole --seeds 0 1 2
    nice python -m benchmarks.pretraining users ml-100k --label own-ml-100k --seeds 0 1 2
    python -m benchmarks.pretraining table

``pretrain`` is ``bertrec pretrain amazon-beauty amazon-toys amazon-sports --seed SEED``; ``--set`` and ``--label``
make another one of it. ``zero`` is ``bertrec evaluate RUN --data TARGET``. ``fine`` is ``bertrec train TARGET --seed
SEED`` from scratch, and the same with ``--init RUN``, the head free or ``--freeze head``, for each item input; what
is pre-trained goes on as the model that it is. With a share below 1 so many training users are kept, drawn by the
seed, and of the validation users only those among them; test users and their histories are always the same. With
``--pretrained 0`` all seeds of ``fine`` start from the pre-training of seed 0, else each from that of its own.
``users`` tells labels of users (``--labels``) from the vectors of their training histories, by logistic regression in
five folds, beside the largest class, the mean of the text vectors and a model trained from scratch. A name that is no
folder of ``--data`` is one that ``bertrec`` knows. A row that exists is not run again. Seconds are of the clock and
of the processor, memory is the most that the process held.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.new_items import measured, unpacked
from bertrec.cli.options import read_settings
from bertrec.comparison.draws import METRIC, SHOWN
from bertrec.core.files import read_json, write_json
from bertrec.data.load import Dataset, load, make_split
from bertrec.data.splits import Split
from bertrec.evaluation.significance import paired_comparison
from bertrec.models.base import Recommender
from bertrec.models.pretraining import Domains, PretrainingConfig, pretrain
from bertrec.models.registry import create

RESULTS = Path(__file__).parent / "results-pretraining"
MODELS = Path("runs") / "pretraining"
DOMAINS = ("amazon-beauty", "amazon-toys", "amazon-sports")
HOWS = ("scratch", "whole", "head")
LABELS = ("age", "gender", "occupation")
AGES = (18, 25, 35, 45, 50, 56)
"""Where MovieLens parts ages into groups."""
FOLDS = 5


def with_and_without_match(model: Recommender, split: Split) -> dict[str, Any]:
    """Return what `measured` gives of a model, and of its inner products and repeat bias alone."""
    found = {"run": measured(model, split)}
    if getattr(model, "match", None) is not None:
        model.drop_match()
        found["run without its match"] = measured(model, split)
    return found


def spent(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what work gives, its seconds, and the most memory that this process has held so far, in MiB."""
    clock, processor = time.perf_counter(), time.process_time()
    result = work()
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return result, {
        "seconds": round(time.perf_counter() - clock, 1),
        "processor_seconds": round(time.process_time() - processor, 1),
        "peak_mib": round(mib),
    }


def machine() -> dict[str, Any]:
    """Return what figures of time depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
    }


def pretrained(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Pre-train and save a model."""
    config = PretrainingConfig().updated({**given.settings, "train.seed": seed})
    domains = Domains.of([data_named(given, name) for name in given.domains])
    model, cost = spent(lambda: pretrain(domains, config, progress=False))
    model.save_pretrained(model_folder(given, seed))
    assert model.train_log is not None
    log = [{"loss": entry.loss, "seconds": round(entry.seconds, 1), **entry.metrics} for entry in model.train_log.epochs]
    about = {"config": config.to_dict(), "domains": [part.learned.to_dict() for part in domains.parts], "weights": model.weights_in_words}
    return {"cost": cost, "best_epoch": model.train_log.best_epoch, "log": log, **about}


def data_named(given: argparse.Namespace, name: str) -> Dataset:
    """Read a folder of ``--data``, or data that are known by name."""
    return load(given.data / name if (given.data / name).exists() else name)


def model_folder(given: argparse.Namespace, seed: int) -> Path:
    """Return where a pre-trained model is kept."""
    return MODELS / f"{given.label}-{seed if given.pretrained is None else given.pretrained}"


def zero(given: argparse.Namespace, seed: int, target: str) -> dict[str, Any]:
    """Measure a pre-trained model on other data as it is."""
    split = make_split(data_named(given, target))
    model = Recommender.from_pretrained(model_folder(given, seed)).with_catalog(split.catalog)
    return {"models": with_and_without_match(model, split)}


def thinned(split: Split, share: float, seed: int) -> Split:
    """Return a split with some of the training users, and of the validation users those among them; test users are as they were."""
    if share >= 1:
        return split
    train = split.train
    kept = np.random.default_rng([seed, 7]).permutation(train.n_users)[: max(1, round(share * train.n_users))]
    stays = np.zeros(train.n_users, np.bool_)
    stays[kept] = True
    names = {train.users.ids[row] for row in kept}
    validation = split.validation
    if validation is not None:
        validation = validation.take(np.flatnonzero([user in names for user in validation.users]))
    return replace(split, train=train.where(stays[train.sequences.rows]), validation=validation)


def fine(given: argparse.Namespace, seed: int, target: str, item_input: str, how: str, share: float) -> dict[str, Any]:
    """Train on other data, from scratch or from a pre-trained model, and measure."""
    whole = make_split(data_named(given, target))
    split = thinned(whole, share, seed)
    init = None if how == "scratch" else Recommender.from_pretrained(model_folder(given, seed))
    settings = ({} if init is None else init.shape) | given.settings | ({"head.freeze": True} if how == "head" else {})
    model = create(given.model if init is None else init.name, item_input=item_input, settings=settings, seed=seed)
    options = {} if init is None else {"init": init}
    _, cost = spent(lambda: model.fit(split.train, validation=split.validation, progress=False, **options))
    assert model.train_log is not None
    about = {"cost": cost, "best_epoch": model.train_log.best_epoch, "config": model.config.to_dict(), "weights": model.weights_in_words}
    return about | {"training_users": int((split.train.sequences.lengths > 0).sum()), "models": with_and_without_match(model, whole)}


def users(given: argparse.Namespace, seed: int, target: str) -> dict[str, Any]:
    """Tell labels of users from the vectors of their training histories."""
    dataset = data_named(given, target)
    split = make_split(dataset)
    people = dataset.users
    if people is None:
        raise SystemExit(f"{target} has no table of users")
    chosen = np.flatnonzero(split.train.sequences.lengths)
    rows = people.ids.encode([split.train.users.ids[row] for row in chosen]) - 1
    vectors = {name: one.user_vectors(split.train.sequences)[chosen] for name, one in models_of_users(given, seed, split).items()}
    found = {}
    for name in given.labels:
        column = np.array([age_group(people.fields[name][row]) if name == "age" else people.fields[name][row] for row in rows])
        found[name] = label_figures(vectors, column, seed)
    return {"labels": found}


def models_of_users(given: argparse.Namespace, seed: int, split: Split) -> dict[str, Recommender]:
    """Return whose user vectors are compared."""
    pretrained_one = Recommender.from_pretrained(model_folder(given, seed)).with_catalog(split.catalog)
    scratch = create("unisrec", item_input="text", settings=given.settings, seed=seed)
    scratch.fit(split.train, validation=split.validation, progress=False)
    return {given.label: pretrained_one, "from scratch": scratch, "mean of texts": create("text-similarity").fit(split.train)}


def age_group(age: str) -> str:
    """Return the first age of MovieLens's group."""
    return str(max((bound for bound in AGES if bound <= float(age)), default=0))


def label_figures(vectors: dict[str, Any], labels: Any, seed: int) -> dict[str, Any]:
    """Return accuracy and macro-F1 of each fold, by whose vectors; labels of fewer users than folds are left out."""
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, counts = np.unique(labels, return_counts=True)
    kept = np.isin(labels, names[counts >= FOLDS])
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    # Vectors are of different widths: each takes the penalty that is best within its training folds.
    weighed = GridSearchCV(LogisticRegression(max_iter=2000), {"C": [1e-4, 1e-3, 1e-2, 1e-1, 1]}, cv=3, scoring="neg_log_loss")
    learner = make_pipeline(StandardScaler(), weighed)
    found: dict[str, Any] = {"users": int(kept.sum()), "classes": int((counts >= FOLDS).sum())}
    largest = {"largest class": (DummyClassifier(), np.zeros((len(labels), 1)))}
    for name, (by, given) in (largest | {name: (learner, one) for name, one in vectors.items()}).items():
        scores = cross_validate(by, given[kept], labels[kept], cv=folds, scoring=["accuracy", "f1_macro"])
        found[name] = {metric: scores[f"test_{metric}"].tolist() for metric in ("accuracy", "f1_macro")}
    return found


def table() -> None:
    """Print what was measured: means over seeds, and paired differences to the training from scratch."""
    rows = [read_json(path) for path in sorted(RESULTS.glob("*.json"))]
    for row in (one for one in rows if one["kind"] == "pretrain"):
        best = row["log"][row["best_epoch"] - 1]
        shown = ", ".join(f"{name.removeprefix(METRIC).strip() or 'mean'} {value:.4f}" for name, value in best.items() if METRIC in name)
        epoch = np.mean([one["seconds"] for one in row["log"]])
        print(f"pretrain {row['label']} seed {row['seed']}: epoch {row['best_epoch']}, {shown}; {epoch:.0f} s an epoch, {row['cost']}")
    for row_name, own in _grouped(rows, "zero", ("label", "target")):
        print(f"zero {row_name}: {_means(own)}")
    for row_name, own in _grouped(rows, "fine", ("target", "item_input", "share", "label", "how")):
        print(f"fine {row_name}: {_means(own)}{_against_scratch(rows, own)}")
    for row_name, own in _grouped(rows, "users", ("target", "label")):
        for label in own[0]["labels"]:
            print(f"users {row_name}, {label}: {_label_means([row['labels'][label] for row in own])}")


def _label_means(rows: list[dict[str, Any]]) -> str:
    """Return accuracy and macro-F1, the mean and the deviation over the folds of all seeds."""
    words = [f"{rows[0]['users']} users, {rows[0]['classes']} classes, {len(rows)} seeds"]
    for name in (name for name, value in rows[0].items() if isinstance(value, dict)):
        parts = [np.concatenate([row[name][metric] for row in rows]) for metric in ("accuracy", "f1_macro")]
        words.append(f"{name} " + " / ".join(f"{part.mean():.3f} ± {part.std():.3f}" for part in parts))
    return "; ".join(words)


def _grouped(rows: list[dict[str, Any]], kind: str, names: tuple[str, ...]) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["kind"] == kind:
            found.setdefault(tuple(row[name] for name in names), []).append(row)
    return [(" ".join(map(str, key)), own) for key, own in sorted(found.items(), key=lambda pair: str(pair[0]))]


def _means(rows: list[dict[str, Any]]) -> str:
    words = []
    for name in rows[0]["models"]:
        for rules in ("masked", "unmasked"):
            parts = [row["models"][name][rules]["slices"]["all"] for row in rows]
            words.append(f"{name}, {rules} " + " / ".join(f"{np.mean([part[metric]['mean'] for part in parts]):.4f}" for metric in SHOWN))
    return f"{len(rows)} seeds; " + "; ".join(words)


def _against_scratch(rows: list[dict[str, Any]], own: list[dict[str, Any]]) -> str:
    """Return the paired difference of the users' mean NDCG@10 over the seeds that both have."""
    first = own[0]
    same = ("kind", "target", "item_input", "share")
    every = [row for row in rows if all(row.get(name) == first[name] for name in same) and row["how"] == "scratch"]
    scratch = [row for row in every if row["label"] == first["label"]] or [row for row in every if row["label"] == "-"]
    seeds = sorted({row["seed"] for row in own} & {row["seed"] for row in scratch})
    if first["how"] == "scratch" or not seeds:
        return ""
    pair = [_per_user([row for row in some if row["seed"] in seeds]) for some in (own, scratch)]
    found = paired_comparison(*pair, names=(first["how"], "scratch")).to_json()
    low, high = found["ci95"]
    words = f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}] against scratch, {found['mean_a'] / found['mean_b']:.3f} x"
    return f"\n    {words}, seeds {seeds}"


def _per_user(rows: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the masked NDCG@10 of each user, the mean over seeds."""
    return np.mean([unpacked(row["models"]["run"]["masked"]["per_user"]) for row in rows], axis=0)


def rows_of(given: argparse.Namespace) -> list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]]:
    """Return what names each row, and how it is made."""
    found: list[tuple[dict[str, Any], Callable[[], dict[str, Any]]]] = []
    for seed in given.seeds:
        about = {"kind": given.kind, "label": given.label, "seed": seed}
        if given.kind == "pretrain":
            found.append((about, lambda seed=seed: pretrained(given, seed)))
        for target in given.targets:
            if given.kind in ("zero", "users"):
                make = {"zero": zero, "users": users}[given.kind]
                found.append((about | {"target": target}, lambda seed=seed, target=target, make=make: make(given, seed, target)))
                continue
            for key in ((item, how, share) for share in given.shares for item in given.inputs for how in given.hows):
                named = about | {"label": given.trained or ("-" if key[1] == "scratch" else given.label), "target": target}
                named |= dict(zip(("item_input", "how", "share"), key, strict=True))
                found.append((named, lambda seed=seed, target=target, key=key: fine(given, seed, target, *key)))
    return found


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["pretrain", "zero", "fine", "users", "table"])
    parser.add_argument("targets", nargs="*", help="folders of --data")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS))
    parser.add_argument("--label", default="three", help="names a pre-training among others")
    parser.add_argument("--pretrained", type=int, metavar="SEED", help="of the one pre-training that all seeds of fine start from")
    parser.add_argument("--model", default="unisrec", help="what fine trains from scratch")
    parser.add_argument("--trained", default="", help="names rows of fine with other settings")
    parser.add_argument("--set", action="append", default=[], help="a setting of the pre-training, or of the training of fine")
    parser.add_argument("--inputs", nargs="+", default=["text", "text+id"])
    parser.add_argument("--hows", nargs="+", default=list(HOWS), choices=HOWS)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1, 0.01])
    parser.add_argument("--labels", nargs="+", default=list(LABELS), help="columns of the table of users")
    given = parser.parse_args()
    given.settings = read_settings(None, given.set)
    if given.kind == "table":
        table()
        return
    if (given.kind == "pretrain") == bool(given.targets):
        parser.error("zero, fine and users are of targets, pretrain of --domains")
    RESULTS.mkdir(exist_ok=True)
    for about, make in rows_of(given):
        path = RESULTS / ("-".join(str(value) for value in about.values()) + ".json")
        if not path.exists():
            write_json(path, about | {"machine": machine()} | make())
            print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
