"""``bertrec prompt``: cloze prompts: list them, train on impressions, measure, and score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli import rankers
from bertrec.cli.output import note, print_table, say
from bertrec.cli.outputs import check_files
from bertrec.cli.reading import Reading, reads_data
from bertrec.core.errors import ConfigError

app = typer.Typer(
    help="Ask a masked language model whether a candidate suits a history.",
    no_args_is_help=True,
    epilog="""
Examples:

bertrec prompt list

bertrec prompt train data/mind --out runs/prompt

bertrec prompt train data/mind --encoder encoders/mind --template action-hybrid --template utility-hybrid --out runs/prompts

bertrec prompt train ml-100k --template tallrec --shots 64 --tune lora --out runs/64-shots
bertrec prompt train data/mind --teacher text-similarity --pretrain histories:4000 --set loss=listwise --out runs/taught

bertrec prompt search-answers data/mind --encoder encoders/mind --template action-hybrid --out my.yaml

bertrec prompt evaluate runs/prompts --data data/mind --split test --json figures.json

bertrec prompt evaluate runs/seed-0 runs/seed-1 runs/seed-2 --members

bertrec prompt score runs/prompts --data data/mind --split test --submission prediction.txt
""",
)
Templates = Annotated[
    list[str] | None, typer.Option("--template", metavar="NAME", help="A prompt's name or YAML file; several make an ensemble.")
]


@app.command("list")
def list_prompts() -> None:
    """List the prompts that come with the package, with their sources."""
    from bertrec.rankers.prompts.template import Prompt, library

    prompts = [Prompt.load(name) for name in library()]
    rows = [[p.name, p.text, " / ".join(", ".join(p.answers[x]) for x in ("negative", "positive")), p.source] for p in prompts]
    print_table("", ["name", "template", "answers", "source"], rows)


@app.command("train", epilog="Example: bertrec prompt train data/mind --encoder encoders/mind --template action-hybrid --out runs/action")
@reads_data(spelled=rankers.TEXT_TEMPLATE)
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
    validation_share: rankers.ValidationShare = None,
    id_model: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A trained run whose vectors fill {user} and {item} in the template.")
    ] = None,
    prior: Annotated[
        Path | None, typer.Option(metavar="RUN", help="A trained run from whose scores training starts, such as one of text-similarity.")
    ] = None,
    pairs: rankers.Pairs = None,
    liked_from: rankers.LikedFrom = None,
    shots: rankers.Shots = None,
    teacher: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A trained run, or text-similarity (not trained), whose order is learned too; no part of RUN."),
    ] = None,
    pretrain: Annotated[
        str | None,
        typer.Option(metavar="histories[:N]", help="Learn first from N lists made of the training histories (default: each place once)."),
    ] = None,
    zero_shot: Annotated[bool, typer.Option("--zero-shot", help="Train nothing: the run asks the encoder as it is.")] = False,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most this many epochs.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the soft tokens, negatives, batches and the share.")] = None,
    trusted: o.Classes = None,
    overwrite: o.Overwrite = False,
    resume: o.Resume = False,
) -> None:
    """Train prompts on the impressions of DATA (on sampled ones where DATA has interactions) into the folder RUN."""
    from bertrec.rankers.prompts.own_head import encoder_with_head
    from bertrec.rankers.prompts.plan import PromptPlan

    if zero_shot and (epochs or tune) is not None:
        raise ConfigError(f"--{'tune' if epochs is None else 'epochs'}: nothing is trained with --zero-shot: leave one of them out")
    settings = o.read_settings(config, set_ or [])
    tuned = _tuned_template(settings)
    named = {"encoder.name": encoder, "encoder.tune": tune, "train.epochs": epochs, "train.seed": seed}
    settings |= {name: value for name, value in named.items() if value is not None}
    settings |= _pretraining(pretrain, zero_shot=zero_shot)
    plan = PromptPlan(
        templates=tuple(templates or (tuned,)),
        settings=settings,
        zero_shot=zero_shot,
        seed=seed or 0,
        id_model=id_model,
        prior=prior,
        **rankers.learned_pairs(pairs, liked_from, shots, share=validation_share),
        teacher=teacher,
    )
    plan.check(out, overwrite=overwrite, resume=resume)
    dataset = rankers.load(data, reading)
    if not zero_shot:  # which trains nothing, a head neither
        name, kept = str(settings.get("encoder.name", "minilm")), out.with_name(f"{out.name}.encoder")
        asked = encoder_with_head(name, dataset.catalog.texts, kept, data=dataset.name, seed=int(settings.get("train.seed", 0)), say=note)
        plan = replace(plan, settings={**settings, "encoder.name": asked})
    rankers.train_into(out, plan, dataset, data, reading, overwrite=overwrite, resume=resume)


@app.command(
    "search-answers",
    epilog="Example: bertrec prompt search-answers data/mind --encoder encoders/mind --template action-hybrid --out my.yaml",
)
@reads_data(spelled=rankers.TEXT_TEMPLATE)
def search_answers(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.yaml", help="The prompt to write: the template with the words that were found.")],
    reading: Reading,
    asked_prompt: Annotated[
        str | None, typer.Option("--template", metavar="NAME", help="A prompt's name or YAML file (default action-hybrid).")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="NAME", help="An encoder with a masked-language-model head (default minilm).")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Words of each answer, at most.")] = 3,
    pairs: Annotated[int, typer.Option(min=2, help="Training pairs that are asked, half of them clicks.")] = 2000,
    min_count: Annotated[int, typer.Option(min=1, help="How often a word must occur in the items' texts.")] = 5,
    set_: o.Settings = None,
    config: o.SettingsFile = None,
    validation_share: rankers.ValidationShare = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the share, the soft tokens and the pairs.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file where it is there.")] = False,
) -> None:
    """Choose a prompt's answer words by the training labels of DATA: what the untrained encoder says of clicks and of other pairs.

    The share of the impressions that chooses the epoch in prompt train (same --validation-share, same --seed) is not read.
    """
    from bertrec.data.clicks import past_to_learn
    from bertrec.rankers.context import Known
    from bertrec.rankers.prompts.answers import search_answers, write_prompt
    from bertrec.rankers.prompts.plan import PromptPlan
    from bertrec.rankers.prompts.ranker import PromptRanker
    from bertrec.rankers.runs import impressions_to_learn

    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--out {out}: a prompt is a file NAME.yaml")
    check_files("--out", [out], overwrite=overwrite)
    settings = o.read_settings(config, set_ or [])
    tuned = _tuned_template(settings)
    settings |= {} if encoder is None else {"encoder.name": encoder}
    told: dict[str, Any] = {} if validation_share is None else {"validation_share": validation_share}
    plan = PromptPlan(templates=(asked_prompt or tuned,), settings=settings, seed=seed, **told)
    (asked,) = plan.configs()
    dataset = rankers.load(data, reading)
    known = Known.for_training(dataset, past_to_learn(dataset))
    numbers: dict[str, Any] = {"words": words, "pairs": pairs, "min_count": min_count, "seed": seed}
    found = search_answers(PromptRanker(asked), impressions_to_learn(dataset, plan)[0], known=known, **numbers)
    rows = [[label, word, f"{found.gaps[word]:+.3f}"] for label in ("negative", "positive") for word in getattr(found, label)]
    print_table("", ["answer", "word", "log-probability, clicked less others"], rows)
    source = (
        f"{asked.prompt.name} with answers found on {dataset.name}: {found.clicked} clicks, {found.others} others, {asked.encoder.name}"
    )
    write_prompt(asked.prompt, found, out, source=source)
    say(f"wrote {out}")


def _tuned_template(settings: dict[str, Any]) -> str:
    """Take the prompt's name out of the settings, where best.yaml of ``bertrec tune`` has it."""
    return str(settings.pop("template", "action-hybrid"))


def _pretraining(asked: str | None, *, zero_shot: bool) -> dict[str, Any]:
    """Return the settings that ``--pretrain`` stands for."""
    if asked is None:
        return {}
    kind, colon, number = asked.partition(":")
    if kind != "histories" or (colon and not (number.isascii() and number.isdigit() and int(number) > 0)):
        raise ConfigError(f"--pretrain {asked}: give histories, or histories:N with the number of lists")
    if zero_shot:
        raise ConfigError("--pretrain trains: leave out --zero-shot")
    return {"pretrain.kind": kind, "pretrain.lists": int(number or 0)}


app.command("evaluate", epilog="Example: bertrec prompt evaluate runs/action --split test --json figures.json")(rankers.evaluate)
app.command("score", epilog="Example: bertrec prompt score runs/action --split test --submission prediction.txt")(rankers.score)
