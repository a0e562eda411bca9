"""``bertrec new-items``: one model over several draws of new items, beside untrained similarities of their texts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, note_each, print_table, say
from bertrec.cli.reading import Reading, reads_data
from bertrec.cli.train import choose, vector_settings
from bertrec.core.plugins import is_path, vouch

EXAMPLES = """
Examples:

bertrec new-items ml-100k --out reports/new

bertrec new-items data/shop --draws 10 --partition --out reports/all-items

bertrec new-items data/shop --item-input text --set match.new_items=promote --out reports/promote

A measurement that was cut short goes on with the same command; a larger --draws adds to it.
"""


@reads_data()
def new_items(
    data: o.DataArgument,
    out: Annotated[Path, typer.Option(metavar="REPORT", help="The folder of the figures.")],
    reading: Reading,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="A model that reads text, as train takes it (default unisrec).")] = None,
    item_input: Annotated[str | None, typer.Option(help="What an item is made of: text or text+id (default text+id).")] = None,
    tune: Annotated[str | None, typer.Option(help="How deep the encoder learns: frozen, last:K, lora or full (default frozen).")] = None,
    vectors: o.GivenVectors = None,
    config: o.SettingsFile = None,
    set_: o.Settings = None,
    draws: Annotated[int, typer.Option(min=1, help="How many times new items are drawn, and a model trained without them.")] = 3,
    share: Annotated[float, typer.Option(help="The share of the items that is new in a draw.")] = 0.1,
    partition: Annotated[bool, typer.Option("--partition", help="Deal the items out, so that none is new in two draws.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the first draw and its training; the next ones count on.")] = 0,
    keep_seen: o.KeepSeen = None,
) -> None:
    """Keep items of DATA from training, recommend them from their texts, and tell whether training beat an untrained similarity.

    Each draw trains a model of its own and is measured on the users whose last item is new: among all items, and among the new ones alone.
    """
    from bertrec.comparison.draws import Draws, measure_draws

    settings = o.read_settings(config, set_ or [])
    vouch(value for value in (model, *settings.values()) if isinstance(value, str) and is_path(value))
    settings |= vector_settings(vectors, settings)
    chosen: dict[str, Any] = choose(settings, model=model, item_input=item_input, tune=tune)
    how: dict[str, Any] = {"draws": draws, "share": share, "seed": seed, "partition": partition, "mask_seen": not keep_seen}
    plan = Draws(**chosen, settings=settings, **how)
    dataset = _loaded(data, reading)
    note_each(dataset.notes)
    found = measure_draws(dataset, plan, out, say=note)
    _show(dataset.name, found)
    say(f"figures: {out / 'new-items.json'}")


def _loaded(data: str, reading: Reading) -> Any:
    from bertrec.runs.data import load_data

    return load_data({"data": data, "load": reading})


def _show(name: str, found: Mapping[str, Any]) -> None:
    rankings = next(iter(found["models"].values()))
    columns = [f"{ranking} {metric}" for ranking, values in rankings.items() for metric in values]
    rows = [[model if model == "run" else f"{model} (untrained)", *_figures(values)] for model, values in found["models"].items()]
    title = f"{name}: new items, {found['users']} users of {len(found['draws'])} draws"
    print_table(title, ["model", *columns], rows, right=columns)
    for ranking, one in found["against"].items():
        say(_verdict(ranking, one))
        if one["difference"] <= 0:
            note(f"warning: {ranking}: the model is no better than {one['names'][1]}, which needs no training")


def _figures(values: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [f"{value:.4f}" for metrics in values.values() for value in metrics.values()]


def _verdict(ranking: str, one: Mapping[str, Any]) -> str:
    low, high = one["ci95"]
    wide = ", ".join(f"{bound:+.4f}" for bound in one["ci95_draws"])
    ratio = f"{one['mean_a'] / one['mean_b']:.3f} x" if one["mean_b"] else "nothing"
    words = f"{ranking}: {one['mean_a']:.4f}, {ratio} of {one['names'][1]} ({one['mean_b']:.4f}): {one['difference']:+.4f}"
    return f"{words} [{low:+.4f}, {high:+.4f}] over users, [{wide}] over draws too, Holm p {one['p_holm']:.2g}"
