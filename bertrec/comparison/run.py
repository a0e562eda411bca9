"""Run a comparison into a folder: resumable, one model after the other, whatever becomes of each."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.comparison.assemble import Measured, assemble, measure_fits
from bertrec.comparison.fits import FitKey, run_fits
from bertrec.comparison.plan import Contestant, Plan
from bertrec.comparison.search import check_extra
from bertrec.core.checks import expect, expect_path
from bertrec.core.errors import BertrecError, ConfigError, DataError, ModelError
from bertrec.core.files import atomic_file, read_record, write_json
from bertrec.core.resuming import holds_something, only_one
from bertrec.data.splits import EvaluationSet, Split
from bertrec.encoders.unchanged import check_unchanged, encoder_contents
from bertrec.evaluation.protocol import TIE_RULE
from bertrec.evaluation.report import Report
from bertrec.recbole import catalogue
from bertrec.recbole.exchange import Job, Outcome, save_split, with_distinct_targets
from bertrec.recbole.process import RECBOLE, run_fit

OWN = "bertrec.comparison.worker"
LIST_LENGTH = 100
Say = Callable[[str], None]


def compare(split: Split, plan: Plan, folder: str | Path, *, about: Mapping[str, Any] | None = None, say: Say = lambda line: None) -> Any:
    """Fit and measure every model of the plan and write the report; models whose fits are in the folder already are not fitted again.

    Args:
        split: with validation and test users.
        plan: from `bertrec.comparison.plan.make_plan`.
        folder: of this comparison; ``fits/`` in it holds what a killed run goes on from.
        about: what names the data in the protocol.
        say: takes a line at a time of how it goes.

    Returns:
        What ``comparison.json`` holds.

    Raises:
        BertrecError: the folder is in use, or holds another comparison or something else.
        DataError: no validation or test users, or some that training does not know while a general baseline is compared.
        MissingExtraError: matplotlib or optuna is not installed.
    """
    from bertrec.comparison.report import check_extras, write_report

    expect(split, Split, "bertrec.compare: split")
    expect(plan, Plan, "bertrec.compare: plan", error=ConfigError)
    folder = expect_path(folder, "bertrec.compare: folder")
    check_extras()
    check_extra([contestant.search for contestant in plan.contestants])
    split = with_distinct_targets(split)
    _check_users(split, plan)
    with _alone(folder):
        started = _begin(folder, split, plan)
        save_split(split, folder / "fits" / "split")
        measured = [_one(contestant, split, plan, folder, say) for contestant in plan.contestants]
        comparison = assemble(measured, plan, _protocol(split, measured, started, about or {}))
        write_json(folder / "manifest.json", comparison["protocol"])
        _write_per_user(measured, split, plan, folder / "per_user.parquet")
        write_report(comparison, folder)
        write_json(folder / "comparison.json", comparison)
    return comparison


def _one(contestant: Contestant, split: Split, plan: Plan, folder: Path, say: Say) -> Measured:
    place = folder / "fits" / contestant.slug

    def fit(key: FitKey, settings: dict[str, Any], limit: float) -> Outcome:
        done = (place / key.folder / "outcome.json").exists()
        outcome = run_fit(
            _job(contestant, plan, key, settings, limit),
            place / key.folder,
            folder / "fits" / "split",
            module=RECBOLE if contestant.source == "recbole" else OWN,
        )
        say(_fit_line(contestant, key, outcome, done))
        return outcome

    measured = measure_fits(run_fits(contestant, plan, fit), split, plan, lambda key: place / key.folder)
    say(_row_line(measured, plan))
    return measured


def _job(contestant: Contestant, plan: Plan, key: FitKey, settings: dict[str, Any], limit: float) -> Job:
    return Job(
        model=contestant.name,
        settings=settings,
        seed=key.seed,
        limit_seconds=max(limit, 1.0),
        metric=plan.metric,
        mask_seen=plan.mask_seen,
        list_length=LIST_LENGTH,
        cross_check=contestant.source == "recbole" and key.seed == 0,
        options=contestant.options,
    )


def _fit_line(contestant: Contestant, key: FitKey, outcome: Outcome, done: bool) -> str:
    if outcome.status != "ok":
        return f"  {contestant.name}, settings {key.candidate + 1}, seed {key.seed}: {outcome.status}: {outcome.reason}"
    figure = "" if outcome.best_metric is None else f", validation {outcome.best_metric:.4f}"
    epochs = f"{len(outcome.points)} epochs, ended by {outcome.ended_by}"
    again = " (from before)" if done else ""
    return f"  {contestant.name}, settings {key.candidate + 1}, seed {key.seed}: {outcome.total_seconds:.0f} s, {epochs}{figure}{again}"


def _row_line(measured: Measured, plan: Plan) -> str:
    name = measured.fits.contestant.name
    if not measured.reports:
        return f"{name}: {measured.fits.status}: {measured.fits.reason}"
    mean = np.mean([report.mean(plan.metric) for report in measured.reports.values()])
    return f"{name}: test {plan.metric} {mean:.4f}, {len(measured.reports)} seed(s), {measured.fits.total_seconds:.0f} s"


def _check_users(split: Split, plan: Plan) -> None:
    general = [c.name for c in plan.contestants if c.source == "recbole" and catalogue.knows_users_by_id(c.name)]
    for name, part in (("validation", split.validation), ("test", split.test)):
        if part is None or not len(part):
            raise DataError(f"the split has no {name} users: a comparison needs both validation and test users")
        unknown = _unknown_users(split, part)
        if general and len(unknown):
            raise DataError(
                f"{len(unknown)} of {len(part)} {name} users have no interaction in training, such as {part.users[unknown[0]]!r}, and "
                f"{', '.join(general)} know users by id alone: leave these baselines out, or choose another split"
            )


def _unknown_users(split: Split, part: EvaluationSet) -> np.ndarray[Any, np.dtype[np.int64]]:
    inner = split.train.users.encode(part.users)
    lengths = np.concatenate([[0], split.train.sequences.lengths])
    return np.flatnonzero(lengths[inner] == 0)


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Hold the folder's lock."""
    if folder.exists() and not folder.is_dir():
        raise BertrecError(f"{folder} is a file; choose the name of a folder")
    if holds_something(folder) and not (folder / "plan.json").exists():
        raise BertrecError(f"{folder} holds something else; choose another folder")
    return only_one(folder, busy=" by another comparison: wait for it, or choose another folder")


def _begin(folder: Path, split: Split, plan: Plan) -> str:
    """Note what is compared, or see that a comparison begun here is the same; return when it was begun."""
    path = folder / "plan.json"
    encoders = encoder_contents(named for contestant in plan.contestants for named in contestant.named)
    wanted = {"split_hash": split.content_hash, "catalog_hash": split.catalog.content_hash, "threads": _threads(), **plan.to_dict()}
    if not path.exists():
        started = datetime.now(UTC).isoformat(timespec="seconds")
        write_json(path, {**wanted, "encoders": encoders, "started": started})
        return started
    former = read_record(path, {"contestants": list, "started": str})
    if not all(isinstance(row, dict) and isinstance(row.get("name"), str) for row in former["contestants"]):
        raise ModelError(f"{path} is damaged: its contestants have no names")
    for name, value in wanted.items():
        if name != "contestants" and former.get(name) != value:
            raise BertrecError(f"{folder} holds a comparison with {name} = {former.get(name)}, now it is {value}; choose another folder")
    _check_contestants(folder, former, wanted)
    before = former.get("encoders", {})
    check_unchanged(before, encoders, f"{folder} was begun")
    names = {row["name"] for row in wanted["contestants"]}
    kept = [row for row in former.get("contestants", []) if row["name"] not in names]  # their fits stay, and so must what they are
    row = {"contestants": [*wanted["contestants"], *kept], "encoders": before | encoders, "started": former["started"]}
    write_json(path, wanted | row)
    return str(former["started"])


def _check_contestants(folder: Path, former: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Models may be added to a comparison or left out; those in both must have the same settings."""
    before = {row["name"]: row for row in former.get("contestants", [])}
    for row in wanted["contestants"]:
        if row["name"] in before and before[row["name"]] != row:
            raise BertrecError(
                f"{folder} holds {row['name']} with other settings ({before[row['name']].get('search')}); choose another folder"
            )


def _protocol(split: Split, measured: list[Measured], started: str, about: Mapping[str, Any]) -> dict[str, Any]:
    assert split.test is not None
    versions: dict[str, str] = {}
    for one in measured:
        for outcome in one.fits.outcomes.values():
            versions |= outcome.versions
    from bertrec.core.version import __version__

    manifest = {name: value for name, value in split.manifest.items() if name != "held_out"}
    manifest["notes"] = [re.sub(r"^.*/(?=[^/:]+:)", "", note) for note in manifest.get("notes", [])]  # without the user's folders
    return {
        "data": {"hash": manifest.get("data_hash"), "counts": manifest.get("counts", {}), **about},
        "split": manifest,
        "ties": TIE_RULE,
        "users": next((report.slices["all"].users for one in measured for report in one.reports.values()), len(split.test)),
        "items": len(split.catalog),
        "started": started,
        "seconds": sum(one.fits.total_seconds for one in measured),
        "machine": {"cores": os.cpu_count(), "threads": _threads(), "system": f"{platform.system()} {platform.machine()}"},
        "versions": {"bertrec": __version__, "python": platform.python_version(), **versions},
    }


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _write_per_user(measured: list[Measured], split: Split, plan: Plan, path: Path) -> None:
    """Write a row per model, seed and test user; this file holds user ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    assert split.test is not None
    tables = [
        _user_rows(one.fits.contestant.name, seed, report, [str(user) for user in split.test.users], plan.metrics)
        for one in measured
        for seed, report in one.reports.items()
    ]
    if tables:
        with atomic_file(path) as temporary:
            pq.write_table(pa.concat_tables(tables, promote_options="default").unify_dictionaries(), temporary, compression="zstd")


def _user_rows(model: str, seed: int, report: Report, users: list[str], metrics: Sequence[str]) -> Any:
    """Return the figures of one fit as a table; a user whose targets were all left out has no row."""
    import pyarrow as pa

    rows = report.slices["all"].rows
    columns = {"user_id": [users[row] for row in rows], **{metric: report.per_user(metric) for metric in metrics}}
    name = pa.array([model] * len(rows)).dictionary_encode()
    return pa.table({"model": name, "seed": pa.array(np.full(len(rows), seed, np.int32)), **columns})


def total_minutes(plan: Plan) -> float:
    """Return the most that a plan's fits may take, measuring aside."""
    return plan.budget_minutes * len(plan.contestants)
