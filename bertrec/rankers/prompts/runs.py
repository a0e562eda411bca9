"""Runs of cloze prompts: one ranker a template, trained on the same impressions, asked together.

RUN/run.json     what was trained on what, and how it went
RUN/members/N/   the ranker of the N-th template
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bertrec.core.errors import BertrecError, ConfigError, DataError, ModelError
from bertrec.core.files import read_json, write_json
from bertrec.data.clicks import clicks_to_learn
from bertrec.data.impressions import Impressions, split_share
from bertrec.data.load import Dataset
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.evaluation.impressions import evaluate_impressions
from bertrec.evaluation.protocol import Protocol, versions
from bertrec.evaluation.report import Report
from bertrec.evaluation.significance import all_pairs
from bertrec.models.base import Recommender
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ensemble import PromptEnsemble, together
from bertrec.rankers.prompts.ranker import FloatArray, PromptRanker
from bertrec.rankers.prompts.template import load_prompts
from bertrec.rankers.prompts.unfinished import check_unfinished, training_into
from bertrec.rankers.prompts.user_vectors import UserVectors
from bertrec.rankers.prompts.verbalizer import Verbalizer

RECORD = "run.json"


@dataclass(frozen=True)
class PromptPlan:
    """What is trained.

    Attributes:
        templates: names or YAML files of prompts.
        settings: flat names of `PromptConfig`, the same for all.
        validation_share: of the training impressions, to choose each ranker's epoch; 0 takes the data's valid part.
        zero_shot: train nothing.
        seed: of the share.
        id_model: folder of a trained model whose vectors fill the slots ``{user}`` and ``{item}``.
        prior: folder of a trained model from whose scores the training of each prompt starts.
    """

    templates: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    validation_share: float = 0.2
    zero_shot: bool = False
    seed: int = 0
    id_model: Path | None = None
    prior: Path | None = None

    def configs(self) -> list[PromptConfig]:
        """Return the settings of each ranker.

        Raises:
            ConfigError: a template or setting that does not exist, or one outside its range.
        """
        for name in self.settings:
            if name == "prompt" or name.startswith("prompt."):
                raise ConfigError(f"--set {name}: a prompt is chosen with --template; write one of your own as a YAML file")
        if self.prior is not None and self.zero_shot:
            raise ConfigError("--prior: how the scores of another model join is learned: leave out --zero-shot")
        prompts = load_prompts(self.templates)
        for prompt in prompts:
            if prompt.slots & {"user", "item"} and self.id_model is None:
                raise ConfigError(f"prompt '{prompt.name}' has vectors of users and items in it: name their model with --id-model RUN")
        return [PromptConfig(prompt=prompt).updated(self.settings) for prompt in prompts]

    def check(self, folder: Path, *, overwrite: bool = False, resume: bool = False) -> None:
        """See, before any work, that the settings are right and the folder may be written.

        Raises:
            ConfigError: as `configs`.
            BertrecError: the folder holds something else or a run that is not to be replaced, or a former training is unfinished.
        """
        self.configs()
        if folder.exists() and not folder.is_dir():
            raise BertrecError(f"--out {folder} is a file, not a folder")
        if folder.is_dir() and any(folder.iterdir()):
            if not (folder / RECORD).exists():
                raise BertrecError(f"--out {folder} holds something else and is not replaced: choose another folder")
            if not (overwrite or resume):
                raise BertrecError(f"--out {folder} holds a finished run: choose another --out, or --overwrite it")
        check_unfinished(folder, overwrite=overwrite, resume=resume)


def train_prompts(
    dataset: Dataset,
    plan: PromptPlan,
    folder: Path,
    *,
    about: Mapping[str, Any],
    overwrite: bool = False,
    resume: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Train a ranker for each template and write the run, whole or not at all.

    Until then its parts are in a folder beside it, ``FOLDER.unfinished``, with which ``resume`` goes on.

    Args:
        dataset: with impressions; else they are sampled from its interactions.
        plan: the templates and settings.
        folder: of the run.
        about: joins the run's record: ``data`` and ``load``, what was read and how.
        overwrite: replace what is there, a finished run or an unfinished one.
        resume: go on with the unfinished training of the same plan, data and ``about``.
        say: takes a line at a time.

    Raises:
        BertrecError: as `PromptPlan.check`; another process is at it; what is to be resumed was started otherwise.
    """
    plan.check(folder, overwrite=overwrite, resume=resume)
    learned, chosen_on = _parts(dataset, plan)
    for line in learned.notes:
        if line not in dataset.notes:
            say(f"note: {line}")
    say(f"{len(learned)} impressions to train on" + ("" if chosen_on is None else f", {len(chosen_on)} to choose the epoch"))
    vectors, prior = (None if run is None else _vectors(run, dataset) for run in (plan.id_model, plan.prior))
    _check_prompts(plan.configs(), vectors)
    plain = {"data_hash": dataset.content_hash, "validation_share": plan.validation_share, "seed": plan.seed}
    started = {
        **about,
        **plain,
        "prompts": [config.to_dict() for config in plan.configs()],
        "zero_shot": plan.zero_shot,
        "id_model": None if vectors is None else vectors.model.model_hash,
        "prior": None if prior is None else prior.model.model_hash,
    }
    with training_into(folder, started, resume=resume, say=say) as work:
        for line in (f"{entry['prompt']}: done before" for entry in work.done):
            say(line)
        for config in plan.configs()[len(work.done) :]:
            ranker = PromptRanker(config, vectors=vectors if config.prompt.slots & {"user", "item"} else None, prior=prior)
            if plan.zero_shot:
                ranker.prepare(dataset.catalog)
            else:
                ranker.fit(learned, validation=chosen_on, run_dir=work.folder, resume=resume)
            for line in ranker.notes:
                say(f"note: {config.prompt.name}: {line}")
            figures = None if chosen_on is None else ranker.figures(chosen_on)
            shown = "" if figures is None else "  " + ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            say(f"{config.prompt.name}:{shown}")
            ranker.save_pretrained(work.next_member)
            log = None if ranker.train_log is None else ranker.train_log.to_dict()
            work.add({**ranker.about(), "notes": list(ranker.notes), "validation": figures, "train_log": log})
        record = {**plain, "notes": list(learned.notes), "members": work.done, "versions": versions()}
        write_json(work.folder / RECORD, {"kind": "prompts", **about, **record})


def _check_prompts(configs: Sequence[PromptConfig], vectors: UserVectors | None) -> None:
    """See that the encoder can be asked all of the prompts, before the first of several is trained.

    Raises:
        ConfigError: a prompt does not fit the encoder.
    """
    if len(configs) > 1:
        encoder = MaskedEncoder.from_config(configs[0].encoder)
        for config in configs:
            PromptRanker(config, encoder=encoder, vectors=vectors if config.prompt.slots & {"user", "item"} else None)
            Verbalizer.of(config.prompt, encoder.tokenizer)


def _vectors(folder: Path, dataset: Dataset) -> UserVectors:
    place = folder / "model" if (folder / "model").is_dir() else folder
    model = Recommender.from_pretrained(place)
    if model.catalog.content_hash != dataset.catalog.content_hash:
        raise DataError(f"{folder} was trained on other items than those of {dataset.name}: train it on the same data")
    return UserVectors.from_model(model)


def _parts(dataset: Dataset, plan: PromptPlan) -> tuple[Impressions, Impressions | None]:
    shown = clicks_to_learn(dataset, negatives=plan.configs()[0].negatives, seed=plan.seed)
    if plan.validation_share:
        return split_share(shown, plan.validation_share, plan.seed)
    return shown, dataset.impressions.get("valid")


def open_prompts(*folders: Path) -> tuple[PromptEnsemble, list[dict[str, Any]]]:
    """Read a run, or several as one ensemble, such as those of several seeds.

    Returns:
        All of their rankers, and the record of each run.

    Raises:
        ConfigError: the runs rank different items, or one is named twice.
        ModelError: a folder holds no run of prompts, or a file of it is missing or damaged.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise ConfigError("a run is named twice: an ensemble counts each once")
    records = [_record(folder) for folder in folders]
    members = [
        PromptRanker.from_pretrained(folder / "members" / str(number))
        for folder, record in zip(folders, records, strict=True)
        for number in range(len(record["members"]))
    ]
    return PromptEnsemble(members), records


def _record(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such run; make one with  bertrec prompt train DATA --out {folder}")
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("kind") != "prompts":
        raise ModelError(f"{folder} is no run of prompts: bertrec prompt train makes one")
    return record


@dataclass(frozen=True)
class Measured:
    """Figures of a run.

    Attributes:
        reports: by name; ``all prompts`` is the ensemble's.
        comparisons: a line for each pair of members that were measured, corrected by Holm.
    """

    reports: dict[str, Report]
    comparisons: list[str]


def measure_prompts(
    ensemble: PromptEnsemble,
    impressions: Impressions,
    *,
    bootstrap: int = 1000,
    members: bool = False,
    info: Mapping[str, Any] | None = None,
) -> Measured:
    """Measure an ensemble and, where asked for, each of its members on the same impressions.

    Args:
        ensemble: over the items of the impressions.
        impressions: with labels.
        bootstrap: resamples behind each interval.
        members: measure each prompt too.
        info: JSON values that join each report's protocol, such as the data's hash.

    Raises:
        DataError: the impressions have no labels, or none holds both a click and another candidate.
    """
    each = ensemble.member_scores(impressions.histories, impressions.candidates, progress=True)
    asked: dict[str, tuple[PromptEnsemble | PromptRanker, FloatArray]] = {"all prompts": (ensemble, together(each))}
    if members and len(ensemble.members) > 1:
        for number, (member, found) in enumerate(zip(ensemble.members, each, strict=True), start=1):
            asked[f"{number} {member.config.prompt.name}"] = (member, found)
    reports = {}
    for name, (ranker, scores) in asked.items():
        reports[name] = evaluate_impressions(
            scores,
            impressions.labels,  # type: ignore[arg-type]  # withheld labels are an error of the evaluator's
            impressions.candidates.offsets,
            impressions.users,
            Protocol(bootstrap=bootstrap),
            ids=impressions.ids,
            history_lengths=impressions.histories.lengths,
            info={**ranker.about(), "model_hash": ranker.model_hash, **(info or {})},
        )
    pairs = all_pairs({name: report.per_user("AUC") for name, report in reports.items()}) if len(reports) > 1 else []
    return Measured(reports, [f"AUC: {pair.verdict}" for pair in pairs])
