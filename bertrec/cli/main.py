"""The program ``bertrec``: its commands, and how it ends when something goes wrong."""

from __future__ import annotations

import io
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from typer.main import get_command

from bertrec.cli import (
    audit,
    catalog,
    cluster,
    compare,
    data,
    demo,
    doctor,
    draws,
    embed,
    encoder,
    evaluate,
    find,
    forget,
    index,
    pretrain,
    probe,
    prompt,
    push,
    queries,
    rankers,
    recommend,
    rerank,
    serve,
    settings,
    train,
    tune,
    update,
)
from bertrec.cli.output import note
from bertrec.core.devices import DEVICE, use_device
from bertrec.core.errors import BertrecError
from bertrec.core.foreign import guard_results
from bertrec.core.plugins import plugin_packages, vouching
from bertrec.core.version import __version__
from bertrec.retrieval.gpu import SEARCH, use_gpu_search

_SMALLER = "take smaller data or settings, or a machine with more"
USAGE, INTERRUPTED, INTERNAL, UNREAD = 2, 130, 1, 1
SPINS, WAITING = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"

EXAMPLES = """
Examples:

bertrec demo

bertrec data describe ml-100k

bertrec train ml-100k --model unisrec --out runs/ml

bertrec evaluate runs/ml

bertrec index build runs/ml --out runs/ml.index

bertrec recommend runs/ml --history "Toy Story" --history "Aladdin" -k 5

bertrec compare ml-100k --budget-minutes 10 --out reports/ml

Bad input is one line on standard error and exit code 2; BERTREC_DEBUG=1 shows the whole trace.
"""

app = typer.Typer(
    name="bertrec",
    help="Recommend from what items say.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")
app.command("train", epilog=train.EXAMPLES)(train.train)
app.command("pretrain", epilog=pretrain.EXAMPLES)(pretrain.pretrain)
app.command("evaluate", epilog=evaluate.EXAMPLES)(evaluate.evaluate)
app.command("embed", epilog=embed.EXAMPLES)(embed.embed)
app.add_typer(encoder.app, name="encoder")
app.add_typer(rankers.app, name="rankers")
app.add_typer(prompt.app, name="prompt")
app.add_typer(index.app, name="index")
app.add_typer(catalog.app, name="catalog")
app.add_typer(cluster.app, name="cluster")
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("new-items", epilog=draws.EXAMPLES)(draws.new_items)
app.command("recommend", epilog=recommend.EXAMPLES)(recommend.recommend)
app.command("similar", epilog=find.SIMILAR_EXAMPLES)(find.similar)
app.command("search", epilog=find.SEARCH_EXAMPLES)(find.search)
app.add_typer(queries.app, name="queries")
app.command("serve", epilog=serve.EXAMPLES)(serve.serve)
app.command("update", epilog=update.EXAMPLES)(update.update)
app.command("forget", epilog=forget.EXAMPLES)(forget.forget)
app.command("push", epilog=push.EXAMPLES)(push.push)
app.add_typer(rerank.app, name="rerank")
app.add_typer(tune.app, name="tune")
app.command("probe", epilog=probe.EXAMPLES)(probe.probe)
app.command("audit", epilog=audit.EXAMPLES)(audit.audit)
app.command("settings", epilog=settings.EXAMPLES)(settings.settings)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("demo", epilog=demo.EXAMPLES)(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bertrec {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and stop.")] = False,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help=f"Where to compute: auto (the accelerator, else the CPU), cpu, cuda, cuda:1, mps; else {DEVICE}."
        ),
    ] = None,
    gpu_search: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS", help=f"Search by faiss-gpu: off, half (float16), shards (a flat index over all GPUs); else {SEARCH}."
        ),
    ] = None,
) -> None:
    """Hold the options that stand before any command."""
    if device is not None:
        use_device(device)
    if gpu_search is not None:
        use_gpu_search(gpu_search)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after ``bertrec``; the process's own where None.

    Returns:
        0 when all went well, 2 for input that the user can mend, 130 after Ctrl-C, 1 for a fault of bertrec itself. Nothing but
        ``BERTREC_DEBUG=1`` lets an exception through.
    """
    for stream in (sys.stdout, sys.stderr):  # which may be of an encoding that lacks letters of the data
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _yield_cores()
    if os.environ.get("BERTREC_DEBUG", "") not in ("", "0"):
        return _run(arguments)
    return _guarded(lambda: _run(arguments))


def _yield_cores() -> None:
    """Let threads that wait for one another sleep soon, unless the environment says how they wait.

    libgomp's spin for some 300,000 rounds by default. Beside another program on the same cores the thread that spins holds the one that it
    waits for off its core: training took more than four times as long. It reads this when torch loads it, thus after this.
    """
    if not os.environ.keys() & {SPINS, WAITING}:
        os.environ[SPINS] = "1000"


def _run(arguments: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    _check_words(words)
    with vouching():
        code = get_command(app)(args=words, prog_name="bertrec", standalone_mode=False)
    sys.stdout.flush()
    if code == INTERRUPTED:  # typer turns Ctrl-C inside a command into this code
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _check_words(words: Sequence[str]) -> None:
    """Refuse names that are no UTF-8 before any work: not all libraries that write files take them.

    Raises:
        BertrecError: a word holds a byte that is none; the text shows it.
    """
    for word in words:
        if not word.isascii() and any("\ud800" <= letter <= "\udfff" for letter in word):
            raise BertrecError(f"'{word}' holds a byte that is no UTF-8: rename the file, or write the name otherwise")


def _guarded(run: Callable[[], int]) -> int:
    try:
        return run()
    except typer.TyperException as error:
        return _end(error.format_message(), USAGE)
    except (KeyboardInterrupt, typer.Abort):
        return _end("interrupted", INTERRUPTED)
    except BertrecError as error:
        return _end(str(error), USAGE)
    except BrokenPipeError:
        # The reader (head, less) has gone; pointing stdout elsewhere keeps the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return UNREAD
    except UnicodeEncodeError as error:
        return _end(f"'{error.object}' cannot be written as {error.encoding}: rename it", USAGE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"{where}{error.strerror or error}", USAGE)
    except MemoryError as error:
        return _end(f"not enough memory{f': {error}' if str(error) else ''}; {_SMALLER}", USAGE)
    except Exception as error:
        if "t allocate memory" in str(error) or "out of memory" in str(error):  # as torch says it
            return _end(f"not enough memory: {str(error)[:200]}; {_SMALLER}", USAGE)
        if place := _foreign(error):
            return _end(f"{place}: {type(error).__name__}: {error} (BERTREC_DEBUG=1 shows how it came there)", USAGE)
        return _end(f"fault inside bertrec: {type(error).__name__}: {error} (BERTREC_DEBUG=1 shows where)", INTERNAL)


def _libraries() -> set[Path]:
    """Return where Python and what is installed lie."""
    return {Path(sysconfig.get_paths()[name]).resolve() for name in ("stdlib", "purelib", "platlib")}


def _foreign(error: BaseException) -> str | None:
    """Return where code of someone else's failed: a model named with --model, or a package whose entry points name parts of ours.

    Returns:
        Class, file and line; None for a fault of ours.
    """
    libraries = _libraries()
    own = Path(__file__).resolve().parents[1]
    plugins = plugin_packages()
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename).resolve()
        if file.is_relative_to(own) and frame.f_globals.get("__name__") != guard_results.__module__:
            return None
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in plugins or (file.exists() and not any(file.is_relative_to(path) for path in (*libraries, own))):
            return f"{_class_in(frame)}{file}, line {line}"
    return None


def _class_in(frame: FrameType) -> str:
    """Return the class whose method a frame runs, and ``": "``; nothing for a function."""
    owner = frame.f_locals.get("self", frame.f_locals.get("cls"))
    kind = owner if isinstance(owner, type) else type(owner)
    return "" if owner is None else f"{kind.__module__}:{kind.__qualname__}.{frame.f_code.co_name}: "


def _end(message: str, code: int) -> int:
    if message:  # empty where the help was already printed for want of a command
        note("bertrec: " + " ".join(message.split()))
    return code


if __name__ == "__main__":
    sys.exit(main())
