"""The folder that ``bertrec train`` makes, and how the other commands come back to its model and its data.

``RUN/model/`` is the saved model, ``RUN/run.json`` says how it came about; both exist only once training has ended.
``RUN/training.json`` and ``RUN/checkpoints/`` exist while it has not: what is being trained, and where to go on from.
"""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cli.output import note
from bertrec.core import resuming
from bertrec.core.errors import BertrecError
from bertrec.core.faiss_builds import BUILDS
from bertrec.core.files import read_json, write_json
from bertrec.core.version import __version__
from bertrec.runs.data import PRETRAINING, data_for, load_data, once_each, with_later
from bertrec.runs.folder import Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.load import Dataset
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy", *BUILDS)


def only_one(run: Run) -> AbstractContextManager[None]:
    """Hold the run folder for this process.

    Raises:
        BertrecError: another process is training into it.
    """
    return resuming.only_one(run.folder)


def check_free(run: Run, *, overwrite: bool, resume: bool) -> None:
    """See that a training may write into the folder.

    Raises:
        BertrecError: it holds a finished run, an unfinished one, or files that are no run, and no option says what to do.
    """
    if overwrite and resume:
        raise BertrecError("--overwrite starts afresh and --resume goes on: give one of them")
    if run.folder.exists() and not run.folder.is_dir():
        raise BertrecError(f"--out {run.folder} is a file, not a folder")
    run.settled()
    if resume and not run.pending:
        raise BertrecError(f"{run.folder} holds no unfinished training to resume" + (": it has ended" if run.finished else ""))
    if not (run.finished or run.pending) and resuming.holds_something(run.folder):
        raise BertrecError(f"{run.folder} is not empty and holds no run: choose another --out")
    if run.folder.is_dir():
        with only_one(run):
            pass
    if overwrite or resume:
        return
    if run.pending:
        raise BertrecError(f"{run.folder} holds an unfinished training: --resume goes on with it, --overwrite starts afresh")
    if run.finished:
        raise BertrecError(f"{run.folder} holds a finished run: choose another --out, or --overwrite it")


def begin(run: Run, plan: Mapping[str, Any], *, resume: bool) -> None:
    """Note what is being trained; a resumed training must be the same one."""
    if resume:
        check_same(run, plan)
        return
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    write_json(run.pending_file, dict(plan))


def check_same(run: Run, plan: Mapping[str, Any]) -> None:
    """See that the training to resume was started with the same options and the same data.

    Raises:
        BertrecError: it was not; the text names the first difference.
    """
    resuming.check_same_plan(run.folder, read_json(run.pending_file), plan)


@contextmanager
def ending_by_signal() -> Iterator[None]:
    """Let SIGTERM, which a launcher sends to the others when one process dies, unwind this one as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if former is None else former)


@contextmanager
def abandon_on_error(run: Run) -> Iterator[None]:
    """Where training ends before it reached a checkpoint, leave nothing behind that would ask to be resumed; else say how to go on."""
    try:
        with ending_by_signal():
            yield
    except BaseException:
        if run.checkpoints.is_dir() and any(run.checkpoints.iterdir()):
            note("training was cut short: the same command with --resume goes on from the last whole epoch")
        else:
            shutil.rmtree(run.checkpoints, ignore_errors=True)
            run.pending_file.unlink(missing_ok=True)
        raise


def end(run: Run, model: Recommender, record: Mapping[str, Any]) -> None:
    """Save the model and how it came about, then drop what only an unfinished training needs.

    The order matters: at every moment the folder holds a whole run or one that can be resumed.
    """
    run.record_file.unlink(missing_ok=True)  # a former run's, which must never stand beside another model
    run.later_file.unlink(missing_ok=True)
    model.save_pretrained(run.model, record=record)
    write_json(run.record_file, dict(record))
    run.pending_file.unlink(missing_ok=True)
    shutil.rmtree(run.checkpoints, ignore_errors=True)


def versions() -> dict[str, str]:
    """Return the versions of the packages that a figure depends on, those that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"bertrec": __version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def data_record(data: str) -> dict[str, str]:
    """Return how a run names its data: as given, and as a full path where it is one."""
    path = Path(data)
    return {"data": data} | ({"data_path": str(path.resolve())} if data != "ml-100k" and path.exists() else {})


def trained_data(run: Run, record: Mapping[str, Any], source: Mapping[str, Any] | None = None) -> Dataset:
    """Load what a run was trained on: its data, and the later interactions that its training went on with.

    Args:
        run: the folder.
        record: of the run.
        source: where the data are now and how they are read, as `data_and_source` says it; None where the record does.

    Raises:
        DataError: the data are no longer where they were.
    """
    source = record if source is None else source
    if "later_trained" not in record:
        return load_data(source)
    dataset = load_data(source, known=run.catalog(), always=True)
    return once_each(with_later(run, dataset, int(record["later_trained"])), source)


def measured_data(run: Run, record: Mapping[str, Any], data: str | None, given: Mapping[str, Any] | None = None) -> Dataset:
    """Load what a run is measured on: what it was trained on, or ``data`` in its place.

    Raises:
        DataError: the data are missing or cannot be read.
    """
    return trained_data(run, record) if data is None else data_for(record, data, given)


def split_data(dataset: Dataset, record: Mapping[str, Any]) -> Split:
    """Split as the run did."""
    from bertrec.data.load import make_split

    wanted = record.get("split", {})
    return make_split(dataset, wanted.get("method", "auto"), **wanted.get("options", {}))


def split_for(record: Mapping[str, Any], dataset: Dataset, data: str | None) -> Split:
    """Split as the run did, or, where ``data`` are other data than the run's, as suits them; a note says so."""
    own = data is None or dataset.content_hash == record.get("data_hash")
    split = split_data(dataset, record if own else {})
    if not own:
        note(f"note: {data}, as read here, is not what the run was trained on: measured by the split {split.manifest['method']}")
    return split


def adaptation_record(model: Recommender, dataset: Dataset, split: Split) -> dict[str, Any]:
    """Return, for the run's record, what the model's encoder was adapted on; a note says where that was another split of the data."""
    from bertrec.encoders.adaptation import adaptation_of

    found = adaptation_of(model.config) if model.reads_text else None
    record = {} if found is None else {"adaptation": found.to_dict()}
    note_adaptation(record, model, dataset, split)
    return record


def note_adaptation(record: Mapping[str, Any], model: Recommender, dataset: Dataset, split: Split) -> None:
    """Say, in one line, where the encoder of a run was adapted on what a split holds out.

    Raises:
        ModelError: the record is damaged.
    """
    from bertrec.encoders.adaptation import Adaptation, adaptation_note

    if record.get("adaptation") is None:
        return
    adaptation = Adaptation.from_dict(record["adaptation"], Path("run.json"))
    if line := adaptation_note(str(model.config.to_flat().get("encoder.name")), adaptation, dataset, split):
        note(line)


def pretraining_of(init: Run) -> dict[str, Any]:
    """Return, for the record of a run that starts from another, what that one was pre-trained on; nothing where it was not."""
    found = init.record().get(PRETRAINING)
    return {} if found is None else {PRETRAINING: {"run": str(init.folder), **found}}


def note_pretraining(record: Mapping[str, Any], name: str, dataset: Dataset, split: Split) -> None:
    """Say, in a line each, where data are among what a run was pre-trained on.

    Raises:
        ModelError: the record is damaged.
    """
    if not record.get(PRETRAINING):
        return
    from bertrec.models.pretraining import LearnedDomain

    for values in record[PRETRAINING].get("domains", []):
        if line := LearnedDomain.from_dict(values, f"the record of {name}").note(name, dataset, split):
            note(line)


def item_vectors(model: Recommender) -> tuple[list[str | int], npt.NDArray[np.float32]]:
    """Return ids and vectors ``[m, d]`` of the items that the model knows and the catalogue lists; how many others there are is printed."""
    known, listed, count = model.known_items(), int(model.catalog.listed.sum()), len(model.catalog)
    if listed < count:
        note(f"note: {count - listed} of {count} items have vanished from the catalogue: they are left out")
    if len(known) < listed:
        note(f"note: the model knows nothing of {listed - len(known)} of {count} items: they are left out")
    if model.lifts_apart:
        note(f"note: vectors alone leave out {model.lifts_apart}; recommend, evaluate and rerank add it, with --index too")
    return model.catalog.ids.decode(known), model.item_embeddings()[known]
