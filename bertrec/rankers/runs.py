"""Runs of rankers: one or several, trained on the same impressions, asked together.

RUN/run.json     what was trained on what, how it went, and how scores become probabilities
RUN/members/N/   the N-th ranker
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.config import Config
from bertrec.core.errors import BertrecError, ConfigError, DataError, ModelError, unknown_name
from bertrec.core.files import read_json, write_json
from bertrec.data.clicks import clicks_to_learn, past_to_learn
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.interactions import Interactions
from bertrec.data.load import Dataset
from bertrec.data.ratings import LIKED_FROM, RatedParts, few_shots, one_candidate_each, rated_parts
from bertrec.encoders.registry import require_path
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.reliability import Bin
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import all_pairs
from bertrec.rankers.adapted import adaptation_record, adapted_note
from bertrec.rankers.base import Ranker, Scores, labels_of
from bertrec.rankers.calibration import CALIBRATIONS, Calibration, CalibrationKind
from bertrec.rankers.context import Context, Known
from bertrec.rankers.ensemble import MEMBERS, Ensemble, together
from bertrec.rankers.names import RANKERS
from bertrec.rankers.unfinished import check_unfinished, settle, training_into

RECORD = "run.json"
_KINDS = ("rankers", "prompts")  # the latter is what runs of cloze prompts were called once
RATINGS = "ratings"
NEGATIVES = 4  # of a click, where they are sampled and the ranker's settings name no number


@dataclass(frozen=True)
class RankerPlan:
    """What is trained.

    Attributes:
        ranker: a name in `bertrec.rankers.names.RANKERS`, or someone else's class by its dotted path.
        settings: flat names and values that replace its defaults.
        validation_share: of the training impressions, to choose each ranker's epoch; 0 takes the data's valid part.
            Rated pairs have a validation part of their own.
        seed: of the share and, where the settings name none, of each training.
        pairs: ``ratings`` trains on rated pairs (`bertrec.data.ratings.rated_parts`) in place of clicks.
        liked_from: the lowest rating with label 1.
        calibrate: how the scores become probabilities, fitted on what chose the epoch: one of `CALIBRATIONS`.
        shots: train on so many rated pairs alone, drawn by ``seed`` (`bertrec.data.ratings.few_shots`). Nothing chooses the
            epoch then, for that would take more labels: the last one is kept.
    """

    ranker: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    validation_share: float = 0.2
    seed: int = 0
    pairs: str | None = None
    liked_from: float = LIKED_FROM
    calibrate: str = "none"
    shots: int | None = None

    trains = True

    def check(self, folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        """See, before any work, that the settings are right and the folder may be written.

        Raises:
            ConfigError: a ranker or setting that does not exist, or a value outside its range.
            ModelError: the encoder is named by a path, and there is no such folder.
            BertrecError: the folder holds something else or a run that is not to be replaced, or a former training is unfinished.
        """
        if self.calibrate not in CALIBRATIONS:
            raise ConfigError(unknown_name("calibration", self.calibrate, CALIBRATIONS))
        if self.pairs not in (None, RATINGS):
            raise ConfigError(unknown_name("kind of pairs", str(self.pairs), [RATINGS]))
        if self.shots is not None:
            self._check_shots()
        require_path(self._config.to_flat().get("encoder.name"))
        check_folder(folder, overwrite=overwrite, resume=resume)

    def _check_shots(self) -> None:
        if self.pairs != RATINGS:
            raise ConfigError("--shots draws rated pairs: add --pairs ratings")
        if self.calibrate != "none":
            raise ConfigError("--calibrate needs pairs to be fitted on, and --shots leaves none: leave one of them out")

    def negatives(self) -> int:
        """Return how many negatives a click has, where the data are interactions and they are sampled."""
        return int(self._config.to_flat().get("negatives", NEGATIVES))

    @property
    def _config(self) -> Config:
        return RANKERS.find(self.ranker).config_from(settings=self.settings)

    def started(self) -> dict[str, Any]:
        """Return what must be the same when the training goes on, JSON values."""
        return {"ranker": self.ranker, "settings": dict(self._taken)}

    @property
    def _taken(self) -> Mapping[str, Any]:
        """The settings; of rated pairs none is drawn as a negative, where the ranker can do without."""
        if self.pairs is None or "negatives" in self.settings:
            return self.settings
        whole = {**self.settings, "negatives": 0}
        try:
            RANKERS.find(self.ranker).config_from(settings=whole)
        except ConfigError:  # it has no such setting, or draws some always
            return self.settings
        return whole

    def makers(self, dataset: Dataset) -> Sequence[Callable[[], Ranker]]:
        """Return what makes each ranker of the run, after seeing that each can be made over the data."""
        return [self.configured]

    def configured(self) -> Ranker:
        """Return the untrained ranker."""
        return RANKERS.find(self.ranker).configured(settings=self._taken, seed=self.seed)


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
    material = _material(dataset, plan)
    material.check_calibration(plan.calibrate)
    for line in material.learned.notes:
        if line not in dataset.notes:
            say(f"note: {line}")
    say(material.sizes)
    plain = {"data_hash": dataset.content_hash, "validation_share": plan.validation_share, "seed": plan.seed, **material.asked}
    makers = plan.makers(dataset)
    with training_into(folder, {**about, **plain, **plan.started()}, resume=resume, say=say) as work:
        for entry in work.done:
            say(f"{entry.get('prompt') or entry.get('ranker') or plan.ranker}: done before")
        for make in makers[len(work.done) :]:
            ranker = make()
            adapted = adaptation_record(ranker)
            if warned := adapted_note(adapted, ranker, dataset, material.held_out, material.past):
                say(warned)
            record = adapted | _trained(ranker, material, plan, work.folder, resume=resume, say=say)
            ranker.save_pretrained(work.next_member)
            work.add(record)
        record = {**plain, "notes": list(material.learned.notes), "members": work.done, "versions": versions()}
        write_json(work.folder / RECORD, {"kind": _KINDS[0], **about, **record})


@dataclass(frozen=True)
class _Material:
    """What a run learns from.

    Attributes:
        learned: the impressions.
        chosen_on: by which the epoch is chosen and scores are calibrated; None where there are none.
        known: for rankers that read it: the past of the training part to learn from, the whole for figures and calibration.
        asked: what of it the record keeps, JSON values, where it is not the usual.
        held_out: what measures a run, of rated pairs also what chooses its epoch.
        past: of rated pairs, the interactions of the training part.
    """

    learned: Impressions
    chosen_on: Impressions | None
    known: Known
    asked: dict[str, Any] = field(default_factory=dict)
    held_out: tuple[Impressions, ...] = ()
    past: Interactions | None = None

    @property
    def sizes(self) -> str:
        beside = "" if self.chosen_on is None else f", {len(self.chosen_on)} to choose the epoch"
        return f"{len(self.learned)} impressions to train on{beside}"

    def check_calibration(self, kind: str) -> None:
        """See, before any training, that there is what scores can be calibrated on.

        Raises:
            ConfigError: there is no validation.
            DataError: its labels are all alike.
        """
        if kind == "none":
            return
        if self.chosen_on is None:
            raise ConfigError("--calibrate needs pairs to be fitted on: give a --validation-share above 0")
        if len(np.unique(labels_of(self.chosen_on))) < 2:
            raise DataError("--calibrate needs both labels among the pairs that choose the epoch: raise --validation-share")


def _material(dataset: Dataset, plan: RankerPlan) -> _Material:
    kept = {"calibrate": plan.calibrate} if plan.calibrate != "none" else {}
    if plan.pairs == RATINGS:
        rated = rated_parts(dataset.interactions, liked_from=plan.liked_from)
        asked = {"kind": RATINGS, "liked_from": plan.liked_from, "moments": list(rated.moments)}
        if plan.shots is not None:
            return _few(dataset, rated, plan, asked)
        valid = one_candidate_each(rated.parts["valid"].impressions)  # so that all pairs are judged together
        learned = rated.parts["train"].impressions if plan.configured().learns_pairs else rated.learned
        return _Material(learned, valid, Known.for_training(dataset, rated.past), {"pairs": asked, **kept}, *_rated_beyond(rated))
    measured = tuple(shown for name, shown in dataset.impressions.items() if name != "train")
    return _Material(*impressions_to_learn(dataset, plan), Known.for_training(dataset, past_to_learn(dataset)), kept, measured)


def impressions_to_learn(dataset: Dataset, plan: RankerPlan) -> tuple[Impressions, Impressions | None]:
    """Return the impressions that a plan learns from, and those by which its rankers choose their epoch, where there are any."""
    shown = clicks_to_learn(dataset, negatives=plan.negatives(), seed=plan.seed)
    if plan.validation_share:
        return split_share(shown, plan.validation_share, plan.seed)
    return shown, dataset.impressions.get("valid")


def _few(dataset: Dataset, rated: RatedParts, plan: RankerPlan, asked: dict[str, Any]) -> _Material:
    assert plan.shots is not None
    drawn = few_shots(rated.parts["train"], plan.shots, seed=plan.seed).impressions
    shots = {"count": plan.shots, "seed": plan.seed, "liked": int(labels_of(drawn).sum())}
    return _Material(drawn, None, Known(dataset.users, rated.past), {"pairs": {**asked, "shots": shots}}, *_rated_beyond(rated))


def _rated_beyond(rated: RatedParts) -> tuple[tuple[Impressions, ...], Interactions]:
    """Return the pairs of validation and test, and what was before them."""
    return tuple(rated.parts[name].impressions for name in ("valid", "test")), rated.past


def _trained(
    ranker: Ranker, material: _Material, plan: RankerPlan, folder: Path, *, resume: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """Train one ranker and return its record."""
    known = {"known": material.known} if ranker.reads_context else {}
    if plan.trains:
        ranker.fit(material.learned, validation=material.chosen_on, run_dir=folder, resume=resume, **known)
    else:
        ranker.prepare(material.learned.catalog)
    figures = None if material.chosen_on is None else ranker.figures(material.chosen_on, **known)
    _tell(ranker, figures, say)
    log = None if ranker.train_log is None else ranker.train_log.to_dict()
    record = {**ranker.about(), "notes": list(ranker.notes), "validation": figures, "train_log": log}
    return record | _calibrated(ranker, material, plan.calibrate)


def _calibrated(ranker: Ranker, material: _Material, kind: str) -> dict[str, Any]:
    """Return how the ranker's scores become probabilities, for its record."""
    if kind == "none" or material.chosen_on is None:
        return {}
    scores = ranker.score_impressions(material.chosen_on, known=material.known.measuring)
    asked: CalibrationKind = kind  # type: ignore[assignment]  # RankerPlan.check has seen to it
    found = Calibration.fit(asked, scores, labels_of(material.chosen_on), of_probabilities=ranker.squashes)
    return {"calibration": found.to_json()}


def _tell(ranker: Ranker, figures: Mapping[str, float] | None, say: Callable[[str], None]) -> None:
    for line in ranker.notes:
        say(f"note: {ranker.label}: {line}")
    shown = "" if figures is None else "  " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    say(f"{ranker.label}:{shown}")


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
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else None
    if not isinstance(record, dict) or record.get("kind") not in _KINDS:
        raise ModelError(f"{folder} is no run of rankers: bertrec rankers train and bertrec prompt train make them")
    kinds = {"members": list, "data": str, "data_hash": str, "load": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(record.get(name), kind)]
    if "members" not in wrong and not (record["members"] and all(isinstance(one, dict) for one in record["members"])):
        wrong = ["members", *wrong]
    if wrong or not _is_kept(record.get("pairs")):
        wrong = [*wrong, "pairs"]
        raise ModelError(f"{folder / RECORD} is damaged: its {wrong[0]} is {record.get(wrong[0])!r}")
    return record


def _is_kept(pairs: Any) -> bool:
    """Say whether a record holds rated pairs as they are written, or none."""
    if pairs is None:
        return True
    if not isinstance(pairs, dict) or pairs.get("kind") != RATINGS:
        return False
    moments = pairs.get("moments")
    numbers = [pairs.get("liked_from"), *moments] if isinstance(moments, list) and len(moments) == 2 else [None]
    return all(isinstance(number, int | float) for number in numbers)


def part_note(name: str, record: Mapping[str, Any], part: str) -> str | None:
    """Say what a run had of a part of its own data in training, where it had any; figures there are better than those of new users.

    Args:
        name: of the run.
        record: of the run.
        part: ``train``, ``valid`` or ``test``.
    """
    pairs, trained = record.get("pairs") or {}, not record.get("zero_shot")
    if part == "train" and trained:
        return f"{name} learned from this part: believe the figures of another"
    chose = not pairs.get("shots") if pairs else not record.get("validation_share", 1)
    calibrated = record.get("calibrate", "none") != "none"
    if part != "valid" or not chose or not (trained or calibrated):
        return None
    what = " and ".join([*["chose its epoch"] * trained, *["calibrated its scores"] * calibrated])
    return f"{name} {what} by this part: believe the figures of the test part"


@dataclass(frozen=True)
class Measured:
    """Figures of a run.

    Attributes:
        reports: by name; ``together`` is the ensemble's.
        comparisons: a line for each pair of members that were measured, corrected by Holm.
        bins: of labelled pairs with probabilities, the bins of each report's calibration error.
    """

    reports: dict[str, Report]
    comparisons: list[str]
    bins: dict[str, list[Bin]] = field(default_factory=dict)


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
    if members and len(each) > 1:
        asked |= {name: (member, found) for (name, member), found in zip(named_members(ensemble), each, strict=True)}
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


def named_members(ensemble: Ensemble) -> list[tuple[str, Ranker]]:
    """Return the members of an ensemble of several, each with a name of its own."""
    return [(f"{number} {member.label}", member) for number, member in enumerate(ensemble.members, start=1)]
