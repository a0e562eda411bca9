"""UniSRec's pre-training: what it takes, what it knows of other data as it is, and what it brings to a training there.

    nice python -m benchmarks.pretraining pretrain --data DATA_FOLDER --seeds 0 1 2
    nice python -m benchmarks.pretraining zero amazon-scientific --data DATA_FOLDER --seeds 0 1 2
    nice python -m benchmarks.pretraining fine amazon-scientific --data DATA_FOLDER --seeds 0 1 2 --shares 1 0.1 0.01
    python -m benchmarks.pretraining table

``pretrain`` is ``bertrec pretrain amazon-beauty amazon-toys amazon-sports --seed SEED``; ``--set`` and ``--label`` make another one of it.
``zero`` is ``bertrec evaluate RUN --data TARGET``. ``fine`` is ``bertrec train TARGET --seed SEED`` from scratch, and the same with
``--init RUN``, the head free or ``--freeze head``, for each item input. With a share below 1 so many training users are kept, drawn by the
seed, and of the validation users only those among them; test users and their histories are always the same. A row that exists is not run
again. Seconds are of the clock and of the processor, memory is the most that the process held.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import resource
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.new_items import measured
from bertrec.cli.options import read_settings
from bertrec.comparison.draws import METRIC, SHOWN
from bertrec.core.files import read_json, write_json
from bertrec.data.load import load, make_split
from bertrec.data.splits import Split
from bertrec.evaluation.significance import paired_comparison
from bertrec.models.base import Recommender
from bertrec.models.pretraining import Domains, PretrainingConfig, pretrain
from bertrec.models.registry import create

RESULTS = Path(__file__).parent / "results-pretraining"
MODELS = Path("runs") / "pretraining"
DOMAINS = ("amazon-beauty", "amazon-toys", "amazon-sports")
HOWS = ("scratch", "whole", "head")


def packed(values: list[float]) -> str:
    """Return figures as text: float32, zlib, base64."""
    return base64.b64encode(zlib.compress(np.asarray(values, "<f4").tobytes(), 9)).decode()


def unpacked(text: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return what `packed` was given."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<f4").astype(np.float64)


def figures(model: Recommender, split: Split) -> dict[str, Any]:
    """Return figures on all test users by protocol and slice, with the NDCG@10 of each user."""
    return {rules: row | {"per_user": packed(row["per_user"])} for rules, row in measured(model, split).items()}


def with_and_without_match(model: Recommender, split: Split) -> dict[str, Any]:
    """Return `figures` of a model, and of its inner products and repeat bias alone."""
    found = {"run": figures(model, split)}
    if getattr(model, "match", None) is not None:
        model.drop_match()
        found["run without its match"] = figures(model, split)
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
    domains = Domains.of([load(given.data / name) for name in given.domains])
    model, cost = spent(lambda: pretrain(domains, config, progress=False))
    model.save_pretrained(model_folder(given, seed))
    assert model.train_log is not None
    log = [{"loss": entry.loss, "seconds": round(entry.seconds, 1), **entry.metrics} for entry in model.train_log.epochs]
    about = {"config": config.to_dict(), "domains": [part.learned.to_dict() for part in domains.parts], "weights": model.weights_in_words}
    return {"cost": cost, "best_epoch": model.train_log.best_epoch, "log": log, **about}


def model_folder(given: argparse.Namespace, seed: int) -> Path:
    """Return where a pre-trained model is kept."""
    return MODELS / f"{given.label}-{seed}"


def zero(given: argparse.Namespace, seed: int, target: str) -> dict[str, Any]:
    """Measure a pre-trained model on other data as it is."""
    split = make_split(load(given.data / target))
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
    whole = make_split(load(given.data / target))
    split = thinned(whole, share, seed)
    init = None if how == "scratch" else Recommender.from_pretrained(model_folder(given, seed))
    settings = ({} if init is None else init.shape) | given.settings | ({"head.freeze": True} if how == "head" else {})
    model = create("unisrec", item_input=item_input, settings=settings, seed=seed)
    options = {} if init is None else {"init": init}
    _, cost = spent(lambda: model.fit(split.train, validation=split.validation, progress=False, **options))
    assert model.train_log is not None
    about = {"cost": cost, "best_epoch": model.train_log.best_epoch, "config": model.config.to_dict(), "weights": model.weights_in_words}
    return about | {"training_users": int((split.train.sequences.lengths > 0).sum()), "models": with_and_without_match(model, whole)}


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
    scratch = [row for row in rows if all(row.get(name) == first[name] for name in same) and row["how"] == "scratch"]
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
            if given.kind == "zero":
                found.append((about | {"target": target}, lambda seed=seed, target=target: zero(given, seed, target)))
                continue
            for key in ((item, how, share) for share in given.shares for item in given.inputs for how in given.hows):
                named = about | {"label": given.trained or ("-" if key[1] == "scratch" else given.label), "target": target}
                named |= dict(zip(("item_input", "how", "share"), key, strict=True))
                found.append((named, lambda seed=seed, target=target, key=key: fine(given, seed, target, *key)))
    return found


def main() -> None:
    """Read the command line and run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["pretrain", "zero", "fine", "table"])
    parser.add_argument("targets", nargs="*", help="folders of --data")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--domains", nargs="+", default=list(DOMAINS))
    parser.add_argument("--label", default="three", help="names a pre-training among others")
    parser.add_argument("--trained", default="", help="names rows of fine with other settings")
    parser.add_argument("--set", action="append", default=[], help="a setting of the pre-training, or of the training of fine")
    parser.add_argument("--inputs", nargs="+", default=["text", "text+id"])
    parser.add_argument("--hows", nargs="+", default=list(HOWS), choices=HOWS)
    parser.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.1, 0.01])
    given = parser.parse_args()
    given.settings = read_settings(None, given.set)
    if given.kind == "table":
        table()
        return
    if (given.kind == "pretrain") == bool(given.targets):
        parser.error("zero and fine are of targets, pretrain of --domains")
    RESULTS.mkdir(exist_ok=True)
    for about, make in rows_of(given):
        path = RESULTS / ("-".join(str(value) for value in about.values()) + ".json")
        if not path.exists():
            write_json(path, about | {"machine": machine()} | make())
            print(f"wrote {path}", flush=True)


if __name__ == "__main__":
    main()
