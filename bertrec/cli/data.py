"""``bertrec data``: look at data before training on them, and write them in other formats."""

from __future__ import annotations

import typer

app = typer.Typer(help="Look at data, and write them in other formats.", no_args_is_help=True)


@app.command()
def describe() -> None:
    """Describe."""


@app.command()
def convert() -> None:
    """Convert."""
