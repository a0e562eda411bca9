"""Runs of rankers: one or several, trained on the same impressions, asked together.

RUN/run.json     what was trained on what, and how it went
RUN/members/N/   the N-th ranker
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.core.files import read_json, write_json
from bertrec.data.clicks import clicks_to_learn
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import Dataset
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import all_pairs
from bertrec.rankers.base import Ranker, Scores, labels_of
from bertrec.rankers.context import Context, Known
from bertrec.rankers.ensemble import MEMBERS, Ensemble, together
from bertrec.rankers.names import RANKERS
from bertrec.rankers.unfinished import check_unfinished, settle, training_into

RECORD = "run.json"
_KINDS = ("rankers", "prompts")  # the latter is what runs of cloze prompts were called once
NEGATIVES = 4  # of a click, where they are sampled and the ranker's settings name no number


@dataclass(frozen=True)
class RankerPlan:
    """What is trained.

    Attributes:
        ranker: a name in `bertrec.rankers.names.RANKERS`, or someone else's class by its dotted path.
        settings: flat names and values that replace its defaults.
        validation_share: of the training impressions, to choose each ranker's epoch; 0 takes the data's valid part.
        seed: of the share and, where the settings name none, of each training.
    """

    ranker: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    validation_share: float = 0.2
    seed: int = 0

    trains = True

    def check(self, folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        """See, before any work, that the settings are right and the folder may be written.

        Raises:
            ConfigError: a ranker or setting that does not exist, or a value outside its range.
            BertrecError: the folder holds something else or a run that is not to be replaced, or a former training is unfinished.
        """
        self.negatives()
        check_folder(folder, overwrite=overwrite, resume=resume)

    def negatives(self) -> int:
        """Return how many negatives a click has, where the data are interactions and they are sampled."""
        config = RANKERS.find(self.ranker).config_from(settings=self.settings)
        return int(config.to_flat().get("negatives", NEGATIVES))

    def started(self) -> dict[str, Any]:
        """Return what must be the same when the training goes on, JSON values."""
        return {"ranker": self.ranker, "settings": dict(self.settings)}

    def makers(self, dataset: Dataset) -> Sequence[Callable[[], Ranker]]:
        """Return what makes each ranker of the run, after seeing that each can be made over the data."""
        return [lambda: RANKERS.find(self.ranker).configured(settings=self.settings, seed=self.seed)]


def check_folder(folder: Path, *, overwrite: bool, resume: bool) -> None:
    """See that a run may be written into the folder.

    Raises:
        BertrecError: it holds something else or a run that is not to be replaced, or a former training is unfinished.
    """
    settle(folder)
    if folder.exists() and not folder.is_dir():
        raise BertrecError(f"--out {folder} is a file, not a folder")
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / RECORD).exists():
            raise BertrecError(f"--out {folder} holds something else and is not replaced: choose another folder")
        if not (overwrite or resume):
            raise BertrecError(f"--out {folder} holds a finished run: choose another --out, or --overwrite it")
    check_unfinished(folder, overwrite=overwrite, resume=resume)


def train_rankers(
    dataset: Dataset,
    plan: RankerPlan,
    folder: Path,
    *,
    about: Mapping[str, Any],
    overwrite: bool = False,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Train the rankers of a plan and write the run, whole or not at all.

    Until then its parts are in a folder beside it, ``FOLDER.unfinished``, with which ``resume`` goes on.

    Args:
        dataset: with impressions; else they are sampled from its interactions.
        plan: the rankers and their settings.
        folder: of the run.
        about: joins the run's record: ``data`` and ``load``, what was read and how.
        overwrite: replace what is there, a finished run or an unfinished one.
        resume: go on with the unfinished training of the same plan, data and ``about``.
        say: takes a line at a time.

    Raises:
        BertrecError: as `RankerPlan.check`; another process is at it; what is to be resumed was started otherwise.
    """
    plan.check(folder, overwrite=overwrite, resume=resume)
    learned, chosen_on = _parts(dataset, plan)
    for line in learned.notes:
        if line not in dataset.notes:
            say(f"note: {line}")
    say(f"{len(learned)} impressions to train on" + ("" if chosen_on is None else f", {len(chosen_on)} to choose the epoch"))
    plain = {"data_hash": dataset.content_hash, "validation_share": plan.validation_share, "seed": plan.seed}
    makers = plan.makers(dataset)
    with training_into(folder, {**about, **plain, **plan.started()}, resume=resume, say=say) as work:
        for entry in work.done:
            say(f"{entry.get('prompt') or entry.get('ranker') or plan.ranker}: done before")
        for make in makers[len(work.done) :]:
            ranker = make()
            known = {"known": Known.of(dataset)} if ranker.reads_context else {}
            if plan.trains:
                ranker.fit(learned, validation=chosen_on, run_dir=work.folder, resume=resume, **known)
            else:
                ranker.prepare(dataset.catalog)
            figures = None if chosen_on is None else ranker.figures(chosen_on, **known)
            _tell(ranker, figures, say)
            ranker.save_pretrained(work.next_member)
            log = None if ranker.train_log is None else ranker.train_log.to_dict()
            work.add({**ranker.about(), "notes": list(ranker.notes), "validation": figures, "train_log": log})
        record = {**plain, "notes": list(learned.notes), "members": work.done, "versions": versions()}
        write_json(work.folder / RECORD, {"kind": _KINDS[0], **about, **record})


def _tell(ranker: Ranker, figures: Mapping[str, float] | None, say: Callable[[str], None]) -> None:
    for line in ranker.notes:
        say(f"note: {ranker.label}: {line}")
    shown = "" if figures is None else "  " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    say(f"{ranker.label}:{shown}")


def _parts(dataset: Dataset, plan: RankerPlan) -> tuple[Impressions, Impressions | None]:
    shown = clicks_to_learn(dataset, negatives=plan.negatives(), seed=plan.seed)
    if plan.validation_share:
        return split_share(shown, plan.validation_share, plan.seed)
    return shown, dataset.impressions.get("valid")


def open_rankers(*folders: Path, classes: str | type | Iterable[str | type] = ()) -> tuple[Ensemble, list[dict[str, Any]]]:
    """Read a run, or several as one ensemble, such as those of several seeds.

    Args:
        *folders: of the runs.
        classes: see `bertrec.models.fitted.Fitted.from_pretrained`.

    Returns:
        All of their rankers, and the record of each run.

    Raises:
        ConfigError: the runs rank different items, or one is named twice.
        ModelError: a folder holds no run of rankers, or a file of it is missing or damaged.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is named twice: an ensemble counts each once")
    records = [_record(folder) for folder in folders]
    members: list[Ranker] = [
        Ranker.from_pretrained(folder / MEMBERS / str(number), classes=classes)
        for folder, record in zip(folders, records, strict=True)
        for number in range(len(record["members"]))
    ]
    return Ensemble(members), records


def _record(folder: Path) -> dict[str, Any]:
    settle(folder)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run; make one with  bertrec rankers train DATA --out {folder}")
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("kind") not in _KINDS:
        raise ModelError(f"{folder} is no run of rankers: bertrec rankers train and bertrec prompt train make them")
    kinds = {"members": list, "data": str, "data_hash": str, "load": dict}
    if wrong := [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]:
        raise ModelError(f"{folder / RECORD} is damaged: its {wrong[0]} is {record.get(wrong[0])!r}")
    return record


@dataclass(frozen=True)
class Measured:
    """Figures of a run.

    Attributes:
        reports: by name; ``together`` is the ensemble's.
        comparisons: a line for each pair of members that were measured, corrected by Holm.
    """

    reports: dict[str, Report]
    comparisons: list[str]


TOGETHER = "together"


def measure_rankers(
    ensemble: Ensemble,
    impressions: Impressions,
    *,
    bootstrap: int = 1000,
    members: bool = False,
    known: Known | None = None,
    info: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure an ensemble and, where asked for, each of its members on the same impressions.

    Args:
        ensemble: over the items of the impressions.
        impressions: with labels.
        bootstrap: resamples behind each interval.
        members: measure each ranker too.
        known: what is known of the users, for members that read it.
        info: JSON values that join each report's protocol, such as the data's hash.

    Raises:
        DataError: the impressions have no labels, or none holds both a click and another candidate.
    """
    each = ensemble.member_scores(impressions.histories, impressions.candidates, context=Context.of(impressions, known), progress=True)
    asked: dict[str, tuple[Ranker, Scores]] = {TOGETHER: (ensemble, together(each))}
    if members and len(ensemble.members) > 1:
        for number, (member, found) in enumerate(zip(ensemble.members, each, strict=True), start=1):
            asked[f"{number} {member.label}"] = (member, found)
    reports = {}
    for name, (ranker, scores) in asked.items():
        reports[name] = evaluate_impressions(
            scores,
            labels_of(impressions),
            impressions.candidates.offsets,
            impressions.users,
            Protocol(bootstrap=bootstrap),
            ids=impressions.ids,
            history_lengths=impressions.histories.lengths,
            info={**ranker.about(), "model_hash": ranker.model_hash, **(info or {})},
        )
    pairs = all_pairs({name: report.per_user("AUC") for name, report in reports.items()}) if len(reports) > 1 else []
    return Measured(reports, [f"AUC: {pair.verdict}" for pair in pairs])
