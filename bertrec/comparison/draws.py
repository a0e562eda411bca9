"""One model over several draws of new items, beside what needs no training: each draw measured apart, all joined."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.checks import expect_number, expect_whole
from bertrec.core.config import SEEDS
from bertrec.core.errors import BertrecError, ConfigError, DataError
from bertrec.core.files import read_record, write_json
from bertrec.core.resuming import holds_something, only_one
from bertrec.core.seal import check_seal, sealed
from bertrec.data.load import Dataset, make_split
from bertrec.data.splits import Split
from bertrec.encoders.adaptation import adaptation_note, adaptation_of
from bertrec.encoders.unchanged import check_unchanged, encoder_contents
from bertrec.evaluation.intervals import interval_over_groups
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import paired_comparison, with_holm
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.models.untrained import UNTRAINED, untrained_reports

RANKINGS = {"full": "all", "among": "held_out"}
"""What is ranked, by name: all items, or the new ones alone."""
METRIC = "NDCG@10"
SHOWN = (METRIC, "HR@10")
SLICES = ("all", "cold_items", "few_shot_items", "warm_items")
_PLAN, _JOINED = "plan.json", "new-items.json"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Draws:
    """What is drawn and trained.

    Attributes:
        model: a name, as `create` takes it.
        item_input: as there.
        tune: as there.
        settings: as there.
        draws: how many times new items are drawn.
        share: of the catalogue, each time.
        seed: of the first draw and its training; the next ones count on.
        partition: the draws are parts of one deal of the catalogue: no item is in two of them.
        mask_seen: items of the history are left out of the ranking.
    """

    model: str = "unisrec"
    item_input: str | None = None
    tune: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    draws: int = 3
    share: float = 0.1
    seed: int = 0
    partition: bool = False
    mask_seen: bool = True

    def __post_init__(self) -> None:
        expect_whole(self.draws, "draws", least=1, error=ConfigError)
        expect_whole(self.seed, "seed", least=0, error=ConfigError)
        if not 0 < expect_number(self.share, "share", error=ConfigError) < 1:
            raise ConfigError(f"share must be above 0 and below 1, got {self.share}")
        if self.partition and self.draws > (parts := round(1 / self.share)):
            raise ConfigError(f"a share of {self.share:g} deals the catalogue into {parts} parts: there are no {self.draws} draws of them")
        if seeds := [name for name in self.settings if name in SEEDS]:
            raise ConfigError(f"draws are trained with the seeds that follow the first one: leave {seeds[0]} out, and set --seed (seed)")
        if not self.made(0).reads_text:
            raise ConfigError(f"{self.model} reads no text, so it has nothing to say about a new item: name a model that does")

    def split(self, dataset: Dataset, draw: int) -> Split:
        """Return the split of one draw."""
        how: dict[str, Any] = {"seed": self.seed, "part": draw} if self.partition else {"seed": self.seed + draw}
        return make_split(dataset, "cold-items", share=self.share, **how)

    def made(self, draw: int) -> Recommender:
        """Return the model of one draw, not fitted."""
        seed = None if self.model in UNTRAINED else self.seed + draw
        return create(self.model, item_input=self.item_input, tune=self.tune, settings=self.settings, seed=seed)


def measure_draws(dataset: Dataset, plan: Draws, folder: Path, *, progress: bool = True, say: Say = lambda line: None) -> dict[str, Any]:
    """Train and measure a model on every draw and join the figures; a draw that the folder holds is not run again.

    Args:
        dataset: the data.
        plan: what is drawn and trained.
        folder: takes ``draw-N.json`` for each draw, and ``new-items.json`` with all joined.
        progress: show bars.
        say: takes a line at a time of how it goes.

    Returns:
        What ``new-items.json`` holds.

    Raises:
        BertrecError: the folder is in use, or holds draws of another plan or something else.
        DataError: a draw has no test user.
    """
    if holds_something(folder) and not (folder / _PLAN).exists():
        raise BertrecError(f"{folder} holds something else; choose another folder")
    with only_one(folder, busy=" by another measurement: wait for it, or choose another folder"):
        _begin(folder, {"data_hash": dataset.content_hash, **asdict(plan)}, encoder_contents(plan.made(0).config.to_flat().items()))
        rows = [_row(dataset, plan, folder, draw, progress=progress, say=say) for draw in range(plan.draws)]
        joined = {"plan": asdict(plan), "data": dataset.name, "data_hash": dataset.content_hash, **join(rows)}
        write_json(folder / _JOINED, joined)
    return joined


def _begin(folder: Path, wanted: dict[str, Any], encoders: dict[str, str]) -> None:
    """Note the plan, or see that the former one and its encoders are the same; more draws of it may be asked for."""
    path = folder / _PLAN
    former = read_record(path, {"data_hash": str, "draws": int}) if path.exists() else wanted
    for name, value in wanted.items():
        if name != "draws" and former.get(name) != value:
            raise BertrecError(f"{folder} holds draws with {name} = {former.get(name)}, now it is {value}; choose another folder")
    check_unchanged(former.get("encoders", {}), encoders, f"{folder} was begun")
    write_json(path, {**wanted, "draws": max(former["draws"], wanted["draws"]), "encoders": encoders})


def _row(dataset: Dataset, plan: Draws, folder: Path, draw: int, *, progress: bool, say: Say) -> dict[str, Any]:
    path = folder / f"draw-{draw}.json"
    done = path.exists()
    if not done:
        split = plan.split(dataset, draw)
        row, model = measured_draw(plan, split, draw, progress=progress)
        write_json(path, sealed(row | {"notes": _notes(model, dataset, split)}))
    row = read_record(path, {"draw": int, "models": dict, "split": dict})
    check_seal(row, path)
    if row["draw"] != draw:
        raise BertrecError(f"{path} holds draw {row['draw']}: give it its own name again, or remove it to measure draw {draw} anew")
    say(f"draw {draw}: {_in_words(row)}{' (from before)' if done else ''}")
    for line in row.get("notes", ()):
        say(f"draw {draw}: {line}")
    return row


def _notes(model: Recommender, dataset: Dataset, split: Split) -> list[str]:
    """Say where the model's encoder was adapted on items that are new here."""
    adapted = adaptation_of(model.config)
    line = None if adapted is None else adaptation_note(str(model.config.to_flat()["encoder.name"]), adapted, dataset, split)
    return [] if line is None else [line]


def measured_draw(plan: Draws, split: Split, draw: int, *, progress: bool = True) -> tuple[dict[str, Any], Recommender]:
    """Return the figures of one draw, of the model and of the untrained similarities with the same encoder, and the model.

    Raises:
        DataError: the draw has no test user.
    """
    if split.test is None or not len(split.test):
        raise DataError(f"draw {draw}: no user's last item is among the new ones: raise the share")
    model = plan.made(draw).fit(split, mask_seen=plan.mask_seen, progress=progress)
    log = model.train_log
    row = {
        "draw": draw,
        "split": {name: value for name, value in split.manifest.items() if name != "held_out"},
        "config": model.config.to_dict(),
        "train": None if log is None else {"seconds": round(log.seconds), "best_epoch": log.best_epoch},
        "weights": model.weights_in_words,
        "models": figures_of(model, split, mask_seen=plan.mask_seen),
        "others": others(model, split, mask_seen=plan.mask_seen),
    }
    return row, model


def figures_of(model: Recommender, split: Split, *, mask_seen: bool = True) -> dict[str, Any]:
    """Return figures on the test users by model (``run`` and the untrained ones), ranking and slice, with the NDCG@10 of each user."""
    assert split.test is not None
    found: dict[str, Any] = {}
    for ranking, candidates in RANKINGS.items():
        rules = Protocol(candidates=candidates, mask_seen=mask_seen)
        how: dict[str, Any] = {"item_counts": split.train.item_counts, "held_out": split.held_out, "lists": False}
        reports = {"run": evaluate(model, split.test, protocol=rules, **how)} | untrained_reports(model, split, split.test, rules)
        for name, report in reports.items():
            found.setdefault(name, {})[ranking] = told(report) | {"per_user": [round(float(v), 6) for v in report.per_user(METRIC)]}
    return found


def told(report: Report) -> dict[str, Any]:
    """Return what is kept of a report: users and `SHOWN` by slice."""
    parts = {name: report.slices[name].to_json() for name in SLICES if report.slices[name].users}
    return {"slices": {name: {"users": one["users"], **{m: one["metrics"][m] for m in SHOWN}} for name, one in parts.items()}}


def others(model: Recommender, split: Split, *, mask_seen: bool = True) -> dict[str, float] | None:
    """Return NDCG@10 of the validation users, who want known items all, without and with the weights of new items; None without a match."""
    plain, figures = model.without_new_weights(), {}
    if plain is None or split.validation is None:
        return None
    for name, served in (("before", plain), ("after", model)):
        rules = Protocol(bootstrap=0, mask_seen=mask_seen)
        report = evaluate(served, split.validation, protocol=rules, item_counts=split.train.item_counts, lists=False)
        figures[name] = round(report.mean(METRIC), 6)
    return figures


def join(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join draws: means over their users, and the run beside the better untrained similarity.

    Returns:
        ``draws``; ``users``; ``models``: by name, ranking and metric the mean over the users of all draws; ``against``: for each ranking
        a paired comparison, ``p_holm`` over the rankings, ``ci95`` over users and ``ci95_draws`` over draws and users.
    """
    names = [name for name in rows[0]["models"] if all(name in row["models"] for row in rows)]
    models = {name: {ranking: _means(rows, name, ranking) for ranking in RANKINGS} for name in names}
    untrained = [name for name in UNTRAINED if name in names]
    best = {ranking: _best(models, untrained, ranking) for ranking in RANKINGS} if untrained else {}
    return {
        "draws": [row["draw"] for row in rows],
        "users": len(_values(rows, "run", "full")),
        "models": models,
        "against": _against(rows, best),
    }


def _best(models: Mapping[str, Any], names: Sequence[str], ranking: str) -> str:
    return max(names, key=lambda name: float(models[name][ranking][METRIC]))


def _against(rows: Sequence[Mapping[str, Any]], best: Mapping[str, str]) -> dict[str, Any]:
    pairs = {r: (_values(rows, "run", r), _values(rows, name, r)) for r, name in best.items()}
    results = with_holm([paired_comparison(*pair, names=(f"run, {r}", best[r])) for r, pair in pairs.items()])
    ends = np.cumsum([len(row["models"]["run"]["full"]["per_user"]) for row in rows])[:-1]
    groups = {r: [part for part in np.split(run - other, ends) if len(part)] for r, (run, other) in pairs.items()}
    return {r: result.to_json() | {"ci95_draws": interval_over_groups(groups[r])} for r, result in zip(pairs, results, strict=True)}


def _values(rows: Sequence[Mapping[str, Any]], name: str, ranking: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.concatenate([np.asarray(row["models"][name][ranking]["per_user"], np.float64) for row in rows])


def _means(rows: Sequence[Mapping[str, Any]], name: str, ranking: str) -> dict[str, float]:
    """Return the means over the users of all draws."""
    parts = [row["models"][name][ranking]["slices"]["all"] for row in rows]
    users = [part["users"] for part in parts]
    return {metric: float(np.average([part[metric]["mean"] for part in parts], weights=users)) for metric in SHOWN}


def _in_words(row: Mapping[str, Any]) -> str:
    own, seconds = row["models"]["run"], "" if row["train"] is None else f", trained in {row['train']['seconds']} s"
    figures = ", ".join(f"{ranking} {own[ranking]['slices']['all'][METRIC]['mean']:.4f}" for ranking in RANKINGS)
    return f"{METRIC} {figures}, {own['full']['slices']['all']['users']} users{seconds}"
