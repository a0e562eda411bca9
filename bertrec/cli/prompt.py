"""``bertrec prompt``: cloze prompts: list them, train on impressions, measure, and score."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_figures, print_table, protocol_line
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.runs import data_for, load_data
from bertrec.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from bertrec.data.impressions import Impressions
    from bertrec.data.load import Dataset
    from bertrec.rankers.prompts.ensemble import PromptEnsemble

PARTS = ("train", "valid", "test")
app = typer.Typer(
    help="Ask a masked language model whether a candidate suits a history.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec prompt list

bertrec prompt train data/mind --out runs/prompt

bertrec prompt train data/mind --encoder encoders/mind --template action-hybrid --template utility-hybrid --out runs/prompts

bertrec prompt evaluate runs/prompts --data data/mind --split test --json figures.json

bertrec prompt evaluate runs/seed-0 runs/seed-1 runs/seed-2 --members

bertrec prompt score runs/prompts --data data/mind --split test --submission prediction.txt
""",
)
Templates = Annotated[
    list[str] | None, typer.Option("--template", metavar="NAME", help="A prompt's name or YAML file; several make an ensemble.")
]
Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN…", help="A folder of bertrec prompt train; several, such as three seeds', make an ensemble."),
]
TEXT_TEMPLATE = {"template": "--text-template"}  # --template is the prompt's


@app.command("list")
def list_prompts() -> None:
    """List the prompts that come with the package, with their sources."""
    from bertrec.rankers.prompts.template import Prompt, library

    prompts = [Prompt.load(name) for name in library()]
    rows = [[p.name, p.text, " / ".join(", ".join(p.answers[x]) for x in ("negative", "positive")), p.source] for p in prompts]
    print_table("", ["name", "template", "answers", "source"], rows)


@app.command("train", epilog="Example: bertrec prompt train data/mind --encoder encoders/mind --template action-hybrid --out runs/action")
@reads_data(spelled=TEXT_TEMPLATE)
def train(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="RUN", help="The folder to make.")],
    reading: Reading,
    templates: Templates = None,
    encoder: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The encoder (default minilm); one without a masked-language-model head is given one first."),
    ] = None,
    tune: Annotated[str | None, typer.Option(help="frozen (soft tokens alone), last:K, lora or full (default full).")] = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    validation_share: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the training impressions that chooses the epoch; 0 takes the valid part.")
    ] = 0.2,
    id_model: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A trained run whose vectors fill {user} and {item} in the template.")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A trained run from whose scores training starts, such as one of text-similarity.")
    ] = None,
    zero_shot: Annotated[bool, typer.Option("--zero-shot", help="Train nothing: the run asks the encoder as it is.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the soft tokens, negatives, batches and the share.")] = None,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """Train prompts on the impressions of DATA (on sampled ones where DATA has interactions) into the folder RUN."""
    from bertrec.rankers.prompts.own_head import encoder_with_head
    from bertrec.rankers.prompts.runs import PromptPlan, train_prompts

    settings = o.read_settings(config, set_ or [])
    tuned = settings.pop("template", "action-hybrid")  # as best.yaml of bertrec tune names it
    named = {"encoder.name": encoder, "encoder.tune": tune, "train.epochs": epochs, "train.seed": seed}
    settings |= {name: value for name, value in named.items() if value is not None}
    plan = PromptPlan(
        tuple(templates or (str(tuned),)),
        settings,
        validation_share=validation_share,
        zero_shot=zero_shot,
        seed=seed or 0,
        id_model=id_model,
        prior=prior,
    )
    plan.check(out, overwrite=overwrite, resume=resume)
    dataset = load_data({"data": data, "load": reading})
    note_each(dataset.notes)
    started = time.perf_counter()
    if not zero_shot:  # which trains nothing, a head neither
        name, kept = str(settings.get("encoder.name", "minilm")), out.with_name(f"{out.name}.encoder")
        asked = encoder_with_head(name, dataset.catalog.texts, kept, data=dataset.name, seed=int(settings.get("train.seed", 0)), say=note)
        plan = replace(plan, settings={**settings, "encoder.name": asked})
    train_prompts(dataset, plan, out, about={"data": data, "load": reading}, overwrite=overwrite, resume=resume, say=note)
    print(f"trained in {time.perf_counter() - started:.0f} s\nrun: {out}")


@app.command("evaluate", epilog="Example: bertrec prompt evaluate runs/action --split test --json figures.json")
@reads_data(spelled=TEXT_TEMPLATE)
def evaluate(
    run: Runs,
    reading: Reading,
    data: o.OtherData = None,
    split: Annotated[str, typer.Option(help="Which part: train, valid or test.")] = "test",
    members: Annotated[bool, typer.Option("--members", help="Measure each prompt of an ensemble too, and compare them in pairs.")] = False,
    bootstrap: Annotated[int, typer.Option(min=0, help="Bootstrap samples behind each interval.")] = 1000,
    json_out: o.Json = None,
) -> None:
    """Measure RUN, or several as an ensemble, on impressions: AUC, MRR, nDCG@5 and nDCG@10, each a mean over impressions."""
    from bertrec.rankers.prompts.runs import measure_prompts

    ensemble, shown, about = _open(run, data, split, reading)
    results = measure_prompts(ensemble, shown, bootstrap=bootstrap, members=members, info=about)
    for name, report in results.reports.items():
        print_figures(f"{', '.join(map(str, run))}: {split}: {name}", report.to_json(), ["AUC", "MRR", "nDCG@5", "nDCG@10"])
    for line in results.comparisons:
        print(line)
    figures = results.reports["all prompts"].to_json()
    print(protocol_line(figures["protocol"]))
    if json_out is not None:
        from bertrec.core.files import write_json

        write_json(json_out, figures | ({"members": {n: r.to_json() for n, r in results.reports.items()}} if members else {}))
        note(f"wrote {json_out}")


@app.command("score", epilog="Example: bertrec prompt score runs/action --data data/mind --split test --submission prediction.txt")
@reads_data(spelled=TEXT_TEMPLATE)
def score(
    run: Runs,
    submission: Annotated[Path, typer.Option(metavar="FILE", help="MIND's format: a line an impression, the rank of each candidate.")],
    reading: Reading,
    data: o.OtherData = None,
    split: Annotated[str, typer.Option(help="Which part: train, valid or test.")] = "test",
) -> None:
    """Rank the candidates of impressions, with labels or without, and write MIND's submission file."""
    from bertrec.data.submission import write_submission

    ensemble, shown, _ = _open(run, data, split, reading)
    for line in dict.fromkeys(filter(None, (member.encoder.head_note for member in ensemble.members))):
        note(f"note: {line}")
    if lost := [line for line in shown.notes if "dropped" in line and "candidate" in line]:
        raise DataError(f"{lost[0]}: a submission must rank every candidate: add these items to news.tsv")
    scores = ensemble.score(shown.histories, shown.candidates, progress=True)
    write_submission(submission, shown.ids, scores, shown.candidates.offsets)
    print(f"wrote {submission}: {len(shown)} impressions, {len(shown.candidates.values)} candidates")


def _open(runs: list[Path], data: str | None, part: str, reading: Reading) -> tuple[PromptEnsemble, Impressions, dict[str, Any]]:
    """Return the rankers of the runs over the items of the data, the impressions, and which these are; data are read as for training."""
    from bertrec.rankers.prompts.runs import open_prompts

    o.choice("split", part, PARTS)
    ensemble, records = open_prompts(*runs)
    record = records[0]
    if data is None and len({one.get("data_hash") for one in records}) > 1:
        note(f"note: the runs were trained on different data: measured on those of {runs[0]}; --data names others")
    dataset = data_for(record, data, reading)
    note_each(dataset.notes)
    shown = _part(dataset, part)
    ensemble.prepare(shown.catalog)
    return ensemble, shown, {"data": dataset.name, "data_hash": dataset.content_hash, "split": part, "notes": list(shown.notes)}


def _part(dataset: Dataset, name: str) -> Impressions:
    if name not in dataset.impressions:
        have = ", ".join(dataset.impressions) or "none"
        raise ConfigError(f"{dataset.name} has no {name} impressions (it has: {have})")
    return dataset.impressions[name]
