"""Where data are: paths of this machine, and addresses such as ``s3://bucket/clicks``, of files, folders and patterns of names."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bertrec.core.checks import expect_path
from bertrec.core.errors import BertrecError, DataError

if TYPE_CHECKING:
    from pyarrow.fs import FileSelector, FileSystem

# pathlib makes one stroke of two. One letter is a drive of Windows.
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(/?)(.*)", re.DOTALL)
_MARKS = {"*": "[^/]*", "?": "[^/]"}
_MAGIC = re.compile(r"[*?\[]")
_OPTIONS = re.compile(r"\?[A-Za-z_]+=.*$")  # of the file system, as in s3://bucket/clicks?region=eu-central-1
_SECRET = re.compile(r"[?&][a-z_]*(secret|password|passwd|token|access_key|account_key|sig)[a-z_]*=", re.IGNORECASE)
# Arrow has clients of its own for these; fsspec those for all others, some in packages of their own.
_OF_ARROW = frozenset({"s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss"})
_PATIENCE = "retry_limit_seconds"  # without it Google's client tries for a quarter of an hour, without a word
_KEYS = {
    "s3": "for s3:// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_DEFAULT_REGION, or AWS_PROFILE",
    "gs": "for gs:// GOOGLE_APPLICATION_CREDENTIALS",
    "hdfs": "for hdfs:// JAVA_HOME, HADOOP_HOME and CLASSPATH",
    "abfs": "for abfs:// AZURE_STORAGE_ACCOUNT_KEY",
}


@dataclass(frozen=True)
class Address:
    """A file, folder or pattern of another file system; its few members are those of a path.

    Attributes:
        text: the address as it was given.

    Raises:
        DataError: it holds a key or a password, which would be written into records and messages.
    """

    text: str

    def __post_init__(self) -> None:
        server = urlsplit(self.text).netloc
        if _SECRET.search(self.options) or ("@" in server and (self.scheme in ("s3", "gs", "gcs") or ":" in server.rpartition("@")[0])):
            key = "gs" if self.scheme == "gcs" else self.scheme
            where = f"the environment ({_KEYS[key]})" if key in _KEYS else "the environment or fsspec's own files of settings"
            raise DataError(f"{self.scheme}://…: keys of access and passwords belong into {where}, not into an address")

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """What stands before ``://``."""
        return self.text.split(":", 1)[0].lower()

    @property
    def bare(self) -> str:
        """The address without options of the file system."""
        return _OPTIONS.sub("", self.text).rstrip("/")

    @property
    def options(self) -> str:
        """The options of the file system, such as ``?region=eu-central-1``."""
        found = _OPTIONS.search(self.text)
        return found[0] if found else ""

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.bare.rsplit("/", 1)[-1]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, such as ``.yaml``."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> Address:
        """The folder that holds it."""
        return Address(self.bare.rsplit("/", 1)[0] + self.options)

    def __truediv__(self, name: str) -> Address:
        return Address(f"{self.bare}/{name}{self.options}")

    @cached_property
    def held(self) -> tuple[FileSystem, str]:
        """The file system, and the path in it.

        Raises:
            DataError: no client knows such an address, or the client's package is not installed.
        """
        with reached(self):
            return _of_arrow(self) if self.scheme in _OF_ARROW else _of_fsspec(self)

    def is_dir(self) -> bool:
        """Say whether it is a folder (or, as in S3, the beginning of names)."""
        return _kind(self) == "Directory"

    def is_file(self) -> bool:
        """Say whether it is a file."""
        return _kind(self) == "File"

    def exists(self) -> bool:
        """Say whether there is anything."""
        return _kind(self) != "NotFound"


Place = Path | Address


def place_of(value: Any, what: str) -> Place:
    """Return an argument as a path, or as an address where it is one; ``file://`` is a path.

    Args:
        value: a text or path; of an address that came as a path the lost stroke is put back.
        what: the argument, for the message.

    Raises:
        DataError: it is neither.
    """
    path = expect_path(value, what)
    found = _ADDRESS.fullmatch(os.fspath(value))
    if found is None or (isinstance(value, Path) and path.exists()):
        return path
    scheme, rest = found[1].lower(), found[3]
    if scheme == "file":
        return Path("/" + unquote(rest).lstrip("/"))
    return Address(f"{scheme}://{rest}")


def beside(base: Place, name: str) -> Place:
    """Return the place that a description in the folder ``base`` calls ``name``: an address, or a path from there."""
    return place_of(name, "a place") if _ADDRESS.match(name) else base / name


def is_pattern(place: Place) -> bool:
    """Say whether a place is a pattern of names, such as ``logs/*.parquet``, and no file or folder of that very name."""
    bare = place.bare if isinstance(place, Address) else str(place)
    return bool(_MAGIC.search(bare)) and not (isinstance(place, Path) and os.path.exists(place))  # which minds no name, however long


def held_by(place: Place) -> tuple[FileSystem, str]:
    """Return the file system of a place, and its path there."""
    from pyarrow.fs import LocalFileSystem

    return place.held if isinstance(place, Address) else (LocalFileSystem(), str(place.absolute().as_posix()))


def children(folder: Place) -> dict[str, bool]:
    """Return the names in a folder, and whether each is a folder itself."""
    if isinstance(folder, Path):
        return {path.name: path.is_dir() for path in folder.iterdir()}
    system, path = folder.held
    with reached(folder):
        return {info.base_name: info.type.name == "Directory" for info in system.get_file_info(_selector(path, recursive=False))}


def files_of(place: Place) -> tuple[str, list[str]]:
    """Return the folder that a folder or pattern of names begins with, and the files below it that it means, sorted.

    Of names that begin with ``_`` or a dot (marks, checksums) none counts.

    Raises:
        DataError: it cannot be reached.
    """
    system, path = held_by(place)
    base, parts = _parted(path) if is_pattern(place) else (path.rstrip("/"), [])
    with reached(place):
        found = list(_matching(system, base, parts))
    found = _once(base, found) if isinstance(place, Path) else found
    return base, sorted(full for full in found if not any(part.startswith(("_", ".")) for part in full[len(base) :].split("/")))


def _once(base: str, paths: list[str]) -> list[str]:
    """Return each file once: a link such as ``latest``, or one to the folder itself, does not make others of it."""
    straight = os.path.realpath(base)
    by_link_last = sorted(paths, key=lambda path: (os.path.realpath(path) != straight + path[len(base) :], path.count("/"), path))
    return list({os.path.realpath(path): path for path in reversed(by_link_last)}.values())


def shown(place: Place, path: str) -> str:
    """Return what messages call a file that `files_of` named."""
    return path if isinstance(place, Path) else f"{place.scheme}://{path.lstrip('/')}"


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """Yield a path of this machine: of an address a copy, which is removed afterwards; errors name the address.

    Raises:
        DataError: it is missing or cannot be reached.
    """
    if isinstance(place, Path):
        yield place
        return
    if not place.exists():
        raise DataError(f"{place}: no such file or folder")
    with tempfile.TemporaryDirectory(prefix="bertrec-") as folder:
        copy = Path(folder) / place.name
        with reached(place):
            _copied(place, copy)
        try:
            yield copy
        except BertrecError as error:
            error.args = tuple(str(said).replace(str(copy), str(place)) for said in error.args)
            raise


def _copied(place: Address, copy: Path) -> None:
    system, path = place.held
    names = [info.path for info in system.get_file_info(_selector(path, recursive=True)) if info.is_file] if place.is_dir() else [path]
    for name in names:
        target = copy / name[len(path) :].lstrip("/") if name != path else copy
        target.parent.mkdir(parents=True, exist_ok=True)
        with system.open_input_stream(name, compression=None) as source, target.open("wb") as stream:
            shutil.copyfileobj(source, stream)


@contextmanager
def reached(place: Place) -> Iterator[None]:
    """Make one line of what a file system raises.

    Raises:
        DataError: the client's package is missing, or there is no access.
    """
    import pyarrow as pa

    try:
        yield
    except DataError:
        raise
    except ImportError as error:
        raise DataError(f"{place}: {_first_line(error)}: install that package (pip install …)") from error
    except (OSError, pa.ArrowException, ValueError, TypeError, IndexError) as error:  # the last two of clients that want more
        scheme = place.scheme if isinstance(place, Address) else ""
        mend = f"check the address and your access ({_KEYS[scheme]})" if scheme in _KEYS else "check the address and your access"
        raise DataError(f"{place}: cannot be reached ({_first_line(error)}): {mend}") from error


def _first_line(error: BaseException) -> str:
    return f"{' '.join(str(error).split()):.300}".rstrip(" .") or type(error).__name__


def _kind(address: Address) -> str:
    system, path = address.held
    with reached(address):
        return str(system.get_file_info(path).type.name)


def _selector(path: str, *, recursive: bool) -> FileSelector:
    from pyarrow.fs import FileSelector

    return FileSelector(path, recursive=recursive, allow_not_found=True)


def _of_arrow(address: Address) -> tuple[FileSystem, str]:
    from pyarrow.fs import FileSystem

    authority, _, path = address.bare.partition("://")[2].partition("/")
    stroke = "" if address.scheme in ("s3", "gs", "gcs") else "/"
    options = address.options
    if address.scheme in ("gs", "gcs") and _PATIENCE not in options:
        options += f"{'&' if options else '?'}{_PATIENCE}=30"
    system, root = FileSystem.from_uri(f"{address.scheme}://{authority}{stroke}{options}")
    return system, f"{root.rstrip('/')}/{path}" if path else root


def _of_fsspec(address: Address) -> tuple[FileSystem, str]:
    import fsspec  # type: ignore[import-untyped]
    from pyarrow.fs import FSSpecHandler, PyFileSystem

    if address.scheme not in fsspec.available_protocols():
        raise DataError(f"{address}: no file system is called {address.scheme}: name one such as s3://, gs://, hdfs:// or file://")
    system, path = fsspec.core.url_to_fs(address.text)
    return PyFileSystem(FSSpecHandler(system)), path


def _parted(path: str) -> tuple[str, list[str]]:
    """Part a pattern into the folder before its first wild card and the names below."""
    parts = path.split("/")
    first = next(place for place, part in enumerate(parts) if _MAGIC.search(part))
    return "/".join(parts[:first]) or "/", parts[first:]


def _matching(system: FileSystem, base: str, parts: list[str]) -> Iterator[str]:
    """Yield the files that names with wild cards mean, and those in folders that they mean."""
    deep = not parts or parts[0] == "**"
    first = re.compile(_translated(parts if deep else parts[:1]))
    for info in system.get_file_info(_selector(base, recursive=deep)):
        if not first.fullmatch(info.path[len(base) :].lstrip("/")):
            continue
        if info.is_file and (deep or len(parts) == 1):
            yield info.path
        elif not deep and not info.is_file:
            yield from _matching(system, info.path, parts[1:])


def _translated(parts: list[str]) -> str:
    """Return names with wild cards as a regular expression; no names are all."""
    folders = "".join("(?:[^/]+/)*" if part == "**" else _one(part) + "/" for part in parts[:-1])
    last = parts[-1] if parts else "**"
    return folders + (".*" if last == "**" else _one(last))


def _one(part: str) -> str:
    """Translate one name, of which no wild card reaches beyond a stroke."""
    pieces = re.split(r"(\*|\?|\[[^\]]+\])", part)
    return "".join(_MARKS.get(piece) or (_letters(piece) if piece.startswith("[") else re.escape(piece)) for piece in pieces)


def _letters(piece: str) -> str:
    """Translate a set of letters; a range that ends before it begins, and ``[]``, stand for themselves."""
    inside = piece[1:-1]
    letters = re.sub(r"([\\\[\]^&~|])", r"\\\1", inside.removeprefix("!"))
    try:
        re.compile(found := f"[{'^/' if inside.startswith('!') else ''}{letters}]")
    except re.error:
        return re.escape(piece)
    return found
