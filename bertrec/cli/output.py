"""What the commands print: tables on standard output, notes and progress on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bertrec.core.described import shown_metrics
from bertrec.core.notes import note as note
from bertrec.core.notes import note_each as note_each
from bertrec.core.processes import is_first
from bertrec.core.shown import visible

if TYPE_CHECKING:
    from rich.console import Console

_METRICS_ACROSS = 5
_WIDTH_OF_A_FILE = 140  # a pipe or file has no width of its own; rich would cut tables to 80


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output (or error) that does not cut tables where no terminal reads them."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, width=None if stream.isatty() else _WIDTH_OF_A_FILE, highlight=False, markup=False, emoji=False)


def say(text: object) -> None:
    """Print one line on standard output; of several processes that train together the first prints."""
    if is_first():
        print(visible(text))


def say_document(text: str) -> None:
    """Print text of many lines, such as JSON or YAML."""
    print(visible(text, keep="\n"))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """Print a table; the columns named in ``right`` are flush right. No cell is read as markup."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(visible(title)) if title else None, title_justify="left")
    for column in columns:
        table.add_column(Text(visible(column)), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell, keep="\n")) for cell in row))
    console().print(table)


def figure(metric: Mapping[str, Any] | None) -> str:
    """Return ``mean`` over its confidence interval, or a dash where the slice has no such figure."""
    if metric is None or metric.get("mean") is None:
        return "-"
    interval = metric.get("ci95")
    below = f"\n[{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
    return f"{metric['mean']:.4f}{below}"


def chosen_metrics(figures: Mapping[str, Any], wanted: str | None) -> list[str]:
    """Return the metrics to show: those asked for (comma-separated, or ``all``), else HR, NDCG and MRR at 10.

    Raises:
        ConfigError: a metric that was not measured; the text names the nearest.
    """
    from bertrec.core.errors import ConfigError, unknown_name

    known = list(dict.fromkeys(name for part in figures["slices"].values() for name in part["metrics"]))
    if wanted == "all":
        return known
    if wanted is None:
        return shown_metrics(known)
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("metric", name, known))
    return names


def print_figures(title: str, figures: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """Print the one JSON shape of every measurement: a slice per row, a metric per column, its 95 % interval below it.

    With more metrics than a line holds the table is turned: a metric per row, a slice per column.
    """
    slices = figures["slices"]
    if len(metrics) <= _METRICS_ACROSS:
        bounds = figures["protocol"].get("slices", {})
        rows = [
            [_slice_cell(name, bounds), part["users"], *(figure(part["metrics"].get(m)) for m in metrics)] for name, part in slices.items()
        ]
        print_table(title, ["slice", "users", *metrics], rows, right=["users", *metrics])
        return
    turned = [["users", *(part["users"] for part in slices.values())]]
    turned += [[m, *(figure(part["metrics"].get(m)) for part in slices.values())] for m in metrics]
    print_table(title, ["metric", *slices], turned, right=list(slices))


def _slice_cell(name: str, bounds: Mapping[str, str]) -> str:
    """Return the name of a slice, and below it what it holds."""
    return f"{name}\n{bounds[name]}" if name in bounds else name


def print_comparison(title: str, models: Mapping[str, Mapping[str, Any]], metrics: Sequence[str], *, part: str = "all") -> None:
    """Print one slice of several models' figures below one another."""
    rows = [[name, *(figure(f["slices"][part]["metrics"].get(m)) for m in metrics)] for name, f in models.items()]
    print_table(title, ["model", *metrics], rows, right=metrics)


def protocol_line(protocol: Mapping[str, Any]) -> str:
    """Return the protocol that a figure was measured under as one line, with what was left out, where anything was."""
    lost = {f"left_out.{name}": count for name, count in protocol.get("left_out", {}).items() if count}
    plain = {name: value for name, value in protocol.items() if not isinstance(value, dict | list)}
    return "protocol: " + ", ".join(f"{name}={value}" for name, value in (plain | lost).items())
