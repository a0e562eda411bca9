"""The folder that ``bertrec train`` makes, and how the other commands come back to its model and its data.

``RUN/model/`` is the saved model, ``RUN/run.json`` says how it came about; both exist only once training has ended.
``RUN/training.json`` and ``RUN/checkpoints/`` exist while it has not: what is being trained, and where to go on from.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.cli.output import note
from bertrec.core import resuming
from bertrec.core.errors import BertrecError, DataError, ModelError
from bertrec.core.faiss_builds import BUILDS
from bertrec.core.files import read_json, sha256_file, write_json
from bertrec.core.partial import recover
from bertrec.core.together import settle
from bertrec.core.version import __version__

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.growing import Rows
    from bertrec.data.load import Dataset
    from bertrec.data.one_table import Manner
    from bertrec.data.splits import Split
    from bertrec.models.base import Recommender

LATER_HASH = "later_sha256"
"""In ``run.json``, of the later interactions."""
_PACKAGES = ("torch", "transformers", "sentence-transformers", "numpy", *BUILDS)


@dataclass(frozen=True)
class Run:
    """The places inside a run folder."""

    folder: Path

    @property
    def model(self) -> Path:
        """The saved model."""
        return self.folder / "model"

    @property
    def record_file(self) -> Path:
        """How the model came about."""
        return self.folder / "run.json"

    @property
    def later_file(self) -> Path:
        """Interactions that came after the training data."""
        return self.folder / "interactions.parquet"

    @property
    def pending_file(self) -> Path:
        """What is being trained, while it is."""
        return self.folder / "training.json"

    @property
    def checkpoints(self) -> Path:
        """Where an interrupted training goes on from."""
        return self.folder / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether a training has ended here."""
        return self.record_file.exists()

    @property
    def pending(self) -> bool:
        """Whether a training has begun here and not ended."""
        return self.pending_file.exists()

    def record(self) -> dict[str, Any]:
        """Return ``run.json``.

        Raises:
            ModelError: the folder is absent, holds no run, or one whose training has not ended.
        """
        if not self.settled().is_dir():
            raise ModelError(f"{self.folder}: no such run; make one with  bertrec train DATA --out {self.folder}")
        if not self.finished:
            hint = "its training has not ended; go on with --resume" if self.pending else "it has no run.json"
            raise ModelError(f"{self.folder} is not a finished run: {hint}")
        record = read_json(self.record_file)
        if isinstance(record, dict) and record.get("kind") in ("rankers", "prompts"):
            raise ModelError(f"{self.folder} is a run of rankers, which score given candidates: bertrec rankers evaluate and score take it")
        if not isinstance(record, dict) or not isinstance(record.get("data"), str):
            raise ModelError(f"{self.record_file} is damaged: it does not say which data the run was trained on")
        split = record.get("split", {})
        if not isinstance(record.get("data_path", ""), str) or not isinstance(record.get("manifest", {}), dict):
            raise ModelError(f"{self.record_file} is damaged: it does not say where its data were")
        if not isinstance(split, dict) or not isinstance(split.get("options", {}), dict) or not isinstance(record.get("load", {}), dict):
            raise ModelError(f"{self.record_file} is damaged: it does not say how the data were read and split")
        return record

    def load_model(self) -> Recommender:
        """Load the trained model."""
        from bertrec.models.base import Recommender

        while True:
            self.record()
            found = self.state
            try:
                return Recommender.from_pretrained(self.model)
            except ModelError:
                if self.state == found:
                    raise  # else an update has replaced it meanwhile, and what was read is of both

    def catalog(self) -> ItemCatalog:
        """Load the model's items alone."""
        from bertrec.data.catalog import ItemCatalog

        self.record()
        return ItemCatalog.load(self.model)

    def later(self) -> Rows | None:
        """Return the interactions that came after the training data; None where there are none.

        Raises:
            ModelError: the file is missing or is not the one that was written.
        """
        from bertrec.data.growing import Rows

        wanted = self.record().get(LATER_HASH)
        if wanted is None:
            return None
        if not self.later_file.exists():
            raise ModelError(f"{self.later_file} is missing")
        if sha256_file(self.later_file) != wanted:
            raise ModelError(f"{self.later_file} is damaged: its SHA-256 is not the one that {self.record_file.name} names")
        return Rows.load(self.later_file)

    def settled(self) -> Path:
        """Put right what a killed process left of a change, of the folder as a whole or of what is in it, and return where it leads."""
        place = recover(self.folder)
        settle(self.folder)
        return place

    @property
    def state(self) -> tuple[int, int] | None:
        """What is another once the run was updated; None for a folder without a model."""
        self.settled()
        if not self.model.exists():
            return None
        found = self.model.stat()
        return found.st_ino, found.st_mtime_ns  # the number alone comes back: a folder may get that of the one before the last


def keeps_seen(record: Mapping[str, Any], asked: bool | None = None) -> bool:
    """Return whether items of a history are recommended and counted: as asked, else as the run was trained."""
    return bool(record.get("keep_seen")) if asked is None else asked


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
def abandon_on_error(run: Run) -> Iterator[None]:
    """Where training ends before it reached a checkpoint, leave nothing behind that would ask to be resumed; else say how to go on."""
    try:
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


def place_of(record: Mapping[str, Any]) -> str:
    """Return where a run's data are.

    Raises:
        DataError: they are no longer where they were.
    """
    places = [record[name] for name in ("data_path", "data") if name in record]
    place: str = next((p for p in places if Path(p).exists()), record["data"])
    if "data_path" in record and not Path(place).exists():
        raise DataError(f"the run's data is no longer at {record['data_path']}: name it with --data")
    return place


def manner_of(record: Mapping[str, Any], data: str | None, reading: Mapping[str, Any]) -> Manner:
    """Return how a single table of a run's data is read: by the YAML description in ``data``, else by that of the run.

    Where the run's own description is gone, a note says so and columns are expected to have our names.
    """
    from bertrec.data.one_table import Manner
    from bertrec.data.options import LoadOptions

    options = LoadOptions.from_dict({**record.get("load", {}), **reading})
    if data is not None:
        return Manner.of(data, options)
    try:
        return Manner.of(place_of(record), options)
    except DataError as error:
        note(f"note: {error}; columns are read by bertrec's own names")
        return Manner.of(None, options)


def load_data(record: Mapping[str, Any], *, known: ItemCatalog | None = None, always: bool = False) -> Dataset:
    """Load a run's data again, with the options that it was trained with and without those whom it was told to forget.

    Args:
        record: of the run.
        known: see `bertrec.data.load.load`.
        always: see there.

    Raises:
        DataError: it is no longer where it was.
    """
    from bertrec.data.forgotten import Forgotten
    from bertrec.data.load import load
    from bertrec.data.options import LoadOptions

    place = place_of(record)
    dataset = load(place, LoadOptions.from_dict(record.get("load", {})), known=known, always=always)
    dataset = Forgotten.from_dict(record.get("forgotten"), "run.json").leave_out(dataset)
    if not always and "data_hash" in record and dataset.content_hash != record["data_hash"]:
        note(f"note: {place} has changed since the run was trained on it")
    return dataset


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


def served_data(
    run: Run, record: Mapping[str, Any], model: Recommender, data: str | None, given: Mapping[str, Any] | None = None
) -> Dataset:
    """Load the histories that are served: over the model's items where the data have the same, and whatever they are in an updated run.

    The run's own data are followed by the later interactions; ``data`` in their place stand for themselves.

    Raises:
        DataError: the data are missing or cannot be read.
    """
    if data is not None:
        return data_for(record, data, given, known=model.catalog)
    dataset = load_data(record, known=model.catalog, always=bool(record.get("updates")))
    grown = with_later(run, dataset)
    return dataset if grown is dataset else once_each(grown, record)


def with_later(run: Run, dataset: Dataset, first: int | None = None) -> Dataset:
    """Return a data set with the later interactions of a run, or the first so many of them; a given split is then none any more."""
    import numpy as np

    from bertrec.data.growing import grown

    later = run.later()
    if later is None or first == 0:
        return dataset
    rows = later if first is None else later.take(np.arange(min(first, len(later))))
    return replace(dataset, interactions=grown(dataset.interactions, rows), given=None)


def once_each(dataset: Dataset, record: Mapping[str, Any]) -> Dataset:
    """Return a data set that has grown without the repeats that its run does not want."""
    from bertrec.data.filters import drop_duplicates

    wanted = manner_of(record, None, {}).options.duplicates
    return replace(dataset, interactions=drop_duplicates(dataset.interactions, wanted))


def states(record: Mapping[str, Any]) -> set[str]:
    """Return the hashes of the models that a run has had since it was trained, as far as its record knows them."""
    return {record.get("model_hash", ""), *(step[end] for step in record.get("updates", []) for end in ("from", "to"))}


def data_for(
    record: Mapping[str, Any], data: str | None, given: Mapping[str, Any] | None = None, *, known: ItemCatalog | None = None
) -> Dataset:
    """Load the run's own data, or ``data`` in their place, read as the run's were; reading options in ``given`` win over the run's.

    Where the run's options do not fit ``data``, a note says why and ``data`` is read without them.

    Args:
        record: of the run.
        data: other data.
        given: reading options.
        known: see `bertrec.data.load.load`.

    Raises:
        DataError: the data are missing, or cannot be read with ``given`` alone either.
    """
    return data_and_source(record, data, given, known=known)[0]


def data_and_source(
    record: Mapping[str, Any], data: str | None, given: Mapping[str, Any] | None = None, *, known: ItemCatalog | None = None
) -> tuple[Dataset, Mapping[str, Any]]:
    """Return what ``data_for`` does, and where it was and the options that it was read with, in the form of a run's record."""
    if data is None:
        return load_data(record, known=known), record
    given = dict(given or {})
    kept = {name: value for name, value in record.get("load", {}).items() if name not in given}
    forgotten = {"forgotten": record["forgotten"]} if "forgotten" in record else {}
    source = {"data": data, "load": kept | given, **forgotten}
    try:
        return load_data(source, known=known), source
    except DataError as error:
        if not kept:
            raise
        source = {"data": data, "load": given, **forgotten}
        dataset = load_data(source, known=known)
        note(f"note: {data} is read without the run's {', '.join(f'{name}={value}' for name, value in kept.items())}: {error}")
        return dataset, source


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
    from bertrec.encoders.adaptation import read_adaptation

    name = model.config.to_flat().get("encoder.name")
    found = read_adaptation(name) if model.reads_text and isinstance(name, str) else None
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


def fit_catalog(model: Recommender, dataset: Dataset, vectors: Path | None = None) -> Recommender:
    """Return the model over the data's items: itself where they are the ones it was trained with, else the same weights over them.

    Attributes are the data's: prices and stock change more often than a model is trained.

    Args:
        model: of a run.
        dataset: the data.
        vectors: a file that holds vectors of items that the model does not know, for one that was trained on such a file.
    """
    if vectors is not None:
        model.add_vectors(vectors)
    catalog = dataset.interactions.catalog
    if catalog.content_hash != model.catalog.content_hash:
        return model.with_catalog(catalog)
    model.catalog = replace(model.catalog, attributes=catalog.attributes)
    return model


def item_vectors(model: Recommender) -> tuple[list[str | int], npt.NDArray[np.float32]]:
    """Return ids and vectors ``[m, d]`` of the items that the model knows; how many it does not know is printed."""
    known = model.known_items()
    if len(known) < len(model.catalog):
        note(f"note: the model knows nothing of {len(model.catalog) - len(known)} of {len(model.catalog)} items: they are left out")
    if model.lifts_apart:
        note(f"note: vectors alone leave out {model.lifts_apart}; recommend, evaluate and rerank add it, with --index too")
    return model.catalog.ids.decode(known), model.item_embeddings()[known]
