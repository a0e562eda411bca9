"""``bertrec push``: publish a run's model on the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bertrec.cli import options as o
from bertrec.cli.output import note, print_table, say
from bertrec.core.together import held
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    from bertrec.models.hub import Sent

EXAMPLES = """
Examples:

bertrec push runs/ml user/films --dry-run

bertrec push runs/ml user/films

bertrec push runs/ml user/films --public --revision v2
"""


def push(
    run: o.RunArgument,
    repo: Annotated[str, typer.Argument(metavar="USER/NAME", help="The repository; made where it is not there.")],
    public: Annotated[bool, typer.Option("--public/--private", help="Who may see it: everyone, or its owners (default).")] = False,
    revision: Annotated[str | None, typer.Option(metavar="BRANCH", help="The branch; the main one by default.")] = None,
    message: Annotated[str, typer.Option(help="The commit's message.")] = "Model of bertrec",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be sent, and send nothing.")] = False,
) -> None:
    """Publish the model of RUN with its card: no id and no history of a user is sent."""
    from bertrec.models import hub

    place = Run(run)
    record = place.record()
    hub.check_repo(repo)
    sent, others = hub.files_to_send(place.model), hub.left_out(place.model)
    for name in others:
        note(f"note: {place.model / name} is no part of the model and is not sent")
    if not record.get("test"):
        note(f"note: the card has no test figures: bertrec evaluate {run} --card writes them")
    if dry_run:
        show(repo, sent)
        return
    with held(run):  # so that an update does not replace files while they are read
        origin = hub.push(place.model, repo, private=not public, revision=revision, message=message)
    say(f"sent {len(sent)} files, {size(sum(one.size for one in sent))}, to {origin}")


def show(repo: str, sent: list[Sent]) -> None:
    """List what would be sent."""
    print_table(f"would be sent to {repo}", ["file", "size"], [[one.name, size(one.size)] for one in sent], right=["size"])
    say(f"{len(sent)} files, {size(sum(one.size for one in sent))}")


def size(count: int) -> str:
    """Return a number of bytes as KiB, or as MiB from one on."""
    return f"{count / (1 << 20):.1f} MiB" if count >= 1 << 20 else f"{count / 1024:.1f} KiB"
