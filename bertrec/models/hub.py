"""Models on the Hugging Face hub: which files of a folder are sent, and which of a repository are fetched.

Both are whitelists. What is sent is what the records of a saved model name with its SHA-256 (and the card), so that a file that lies beside
it by chance, such as lists or histories of users, never goes along. What is fetched has one of these names, and nothing of it is run.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.checks import expect_number, shown
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import read_json
from bertrec.core.seal import check_seal
from bertrec.models.card import CARD
from bertrec.models.folder import ABOUT, WEIGHTS, check_file, check_kinds, read_about

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

logger = logging.getLogger(__name__)

MAX_GIB = 8.0
"""What `fetch` takes at most, unless it is told otherwise."""
_MOST_FILES, _MOST_ABOUT = 1000, 64 << 20
_GIB = 1 << 30
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_ITEMS = "items.parquet"  # the one table: items, never users
_SUFFIXES = (".safetensors", ".json", ".txt", ".model")
_PATTERNS = [_ITEMS, f"*/{_ITEMS}", CARD, f"*/{CARD}", *(f"*{suffix}" for suffix in _SUFFIXES)]
_NAME = re.compile(r"([A-Za-z0-9_][\w.-]*/)*[A-Za-z0-9_][\w.-]*", re.ASCII)
_RECORDS = ("encoder.json", "masked.json")  # of encoders, which lie in folders of a model


@dataclass(frozen=True)
class Sent:
    """A file that is sent.

    Attributes:
        name: in the repository, with ``/``.
        path: on this machine.
        size: in bytes.
    """

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Fetched:
    """A model of the hub on this machine.

    Attributes:
        folder: its files.
        origin: ``user/name@commit``, the commit with all its 40 digits.
    """

    folder: Path
    origin: str


def is_allowed(name: str) -> bool:
    """Say whether a file of this name may be part of a model: safetensors, JSON, files of tokenizers, the items and the card."""
    if not _NAME.fullmatch(name):
        return False
    last = name.rpartition("/")[2]
    return last in (_ITEMS, CARD) or last.endswith(_SUFFIXES)


def is_repo(name: object) -> bool:
    """Say whether something is text such as ``user/name``, and no folder here has that name."""
    return isinstance(name, str) and bool(_REPO.fullmatch(name)) and not Path(name).exists()


def files_to_send(folder: Path) -> list[Sent]:
    """Return the files of a saved model, each compared with its SHA-256; all else in the folder is left out.

    Raises:
        ModelError: the folder holds no saved model, a file of it is missing or changed, or a record names one that no model may hold.
    """
    names = sorted(set(_model_files(folder, "")))
    if wrong := [name for name in names if not is_allowed(name)]:
        raise ModelError(f"{folder / wrong[0]} is not sent: a model on the hub is safetensors, JSON and files of a tokenizer")
    return [Sent(name, folder / name, (folder / name).stat().st_size) for name in names]


def left_out(folder: Path) -> list[str]:
    """Return the files in a model's folder that are not sent, by their names in it."""
    sent = {one.name for one in files_to_send(folder)}
    return sorted({path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()} - sent)


def _model_files(folder: Path, prefix: str) -> Iterator[str]:
    """Yield what the record of a model names, and what the records of the models and encoders below it name."""
    about = read_about(folder)
    yield from (f"{prefix}{name}" for name in (ABOUT, *_named(folder, about["sha256"], [WEIGHTS])))
    if (folder / CARD).is_file():
        yield f"{prefix}{CARD}"
    for place in sorted(one for one in folder.iterdir() if one.is_dir()):
        yield from _parts(place, f"{prefix}{place.name}/")


def _parts(place: Path, prefix: str) -> Iterator[str]:
    record = next((name for name in _RECORDS if (place / name).is_file()), None)
    if record is not None:
        values = read_json(place / record)
        hashes = values.get("sha256") if isinstance(values, Mapping) else None
        if not isinstance(hashes, Mapping):
            raise ModelError(f"{place / record} is damaged: it does not name its files")
        check_seal(values, place / record)
        yield from (f"{prefix}{name}" for name in (record, *_named(place, hashes)))
    elif (place / ABOUT).is_file():
        yield from _model_files(place, prefix)
    else:  # such as the folder of the members of an ensemble
        for below in sorted(one for one in place.iterdir() if one.is_dir()):
            yield from _parts(below, f"{prefix}{below.name}/")


def _named(folder: Path, hashes: Mapping[str, Any], needed: Sequence[str] = ()) -> list[str]:
    """Return the names of a record, once each file is seen to be the one that was saved."""
    names = sorted({*needed, *(name.replace(os.sep, "/") for name in hashes)})
    for name in names:
        if not _NAME.fullmatch(name):
            raise ModelError(f"{folder} names a file {name!r}, which no saved model holds")
        check_file(folder / name, hashes.get(name))
    return names


def push(
    folder: Path,
    repo_id: str,
    *,
    private: bool = True,
    revision: str | None = None,
    token: str | None = None,
    message: str = "Model of bertrec",
) -> str:
    """Send a saved model to the hub as one commit.

    Args:
        folder: of the model.
        repo_id: ``user/name``; made where it is not there.
        private: whether only its owners may see it. One that is public already is an error, unless this is False.
        revision: the branch, made where it is not there; None takes the main one.
        token: of the hub; None takes the one that this machine is logged in with.
        message: of the commit.

    Returns:
        ``user/name@commit``.

    Raises:
        ModelError: the folder is no whole model, the repository holds something else, or the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd

    sent = files_to_send(folder)
    api = _api(repo_id, token)
    with _hub_errors(repo_id, revision):
        api.create_repo(repo_id, private=private, exist_ok=True)
        _check_place(api, repo_id, private=private)
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        with warnings.catch_warnings():  # the table of items belongs to the model
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file")
            additions = [CommitOperationAdd(one.name, str(one.path)) for one in sent]
            done = api.create_commit(repo_id, additions, commit_message=message, revision=revision)
    return f"{repo_id}@{done.oid}"


def _check_place(api: HfApi, repo_id: str, *, private: bool) -> None:
    """See that a repository is as visible as it is to be, and holds nothing or a model of ours."""
    info = api.model_info(repo_id, files_metadata=True)
    if private and not info.private:
        raise ModelError(f"{repo_id} is there already and public: say private=False (--public), or take another name")
    names = {one.rfilename for one in info.siblings or []}
    if ABOUT in names:
        _check_ours(api, repo_id, info)  # else it is not replaced


def fetch(repo_id: str, *, revision: str | None = None, token: str | None = None, max_gib: float = MAX_GIB) -> Fetched:
    """Bring a model from the hub to this machine, into the hub's own cache; without a network, what the cache has.

    All files are of one commit. No file is fetched before the names and sizes of all of them are known.

    Args:
        repo_id: ``user/name``.
        revision: a branch, a tag or a commit; None takes the main branch as it is now.
        token: see `push`.
        max_gib: what the files may hold together, in GiB.

    Raises:
        ModelError: there is no such repository or revision, it holds no model of bertrec or one that is too large, or the hub refuses or
            cannot be reached.
    """
    most = expect_number(max_gib, "from_pretrained: max_gib")
    api = _api(repo_id, token)
    with _hub_errors(repo_id, revision):
        try:
            info = api.model_info(repo_id, revision=revision, files_metadata=True)
        except Exception as error:
            folder = _cached(api, repo_id, revision) if _is_unreached(error) else None
            if folder is None:
                raise
            logger.warning("%s: the hub is not reached: commit %s of the cache is taken", repo_id, folder.name)
        else:
            names = _wanted(info, repo_id, most)
            _check_ours(api, repo_id, info, revision)
            folder = Path(api.snapshot_download(repo_id, revision=info.sha, allow_patterns=names))
    if folder.name != revision:
        logger.info("%s: revision='%s' takes the same files again", repo_id, folder.name)
    return Fetched(folder, f"{repo_id}@{folder.name}")


def _cached(api: HfApi, repo_id: str, revision: str | None) -> Path | None:
    """Return the folder of a revision in the hub's cache, where it is whole."""
    try:
        return Path(api.snapshot_download(repo_id, revision=revision, local_files_only=True, allow_patterns=_PATTERNS))
    except OSError:
        return None


def _wanted(info: ModelInfo, repo_id: str, most: float) -> list[str]:
    """Return the names of what is fetched, once their sizes are seen to be allowed."""
    sizes = {one.rfilename: one.size for one in info.siblings or [] if is_allowed(one.rfilename)}
    if lacking := [name for name in (ABOUT, WEIGHTS, _ITEMS) if name not in sizes]:
        raise ModelError(f"{repo_id} holds no model of bertrec: it has no {lacking[0]}")
    if len(sizes) > _MOST_FILES:
        raise ModelError(f"{repo_id} has {len(sizes)} files, more than {_MOST_FILES}: a model of bertrec has a few")
    if unknown := [name for name, size in sizes.items() if size is None]:
        raise ModelError(f"{repo_id}: the hub does not say how large {unknown[0]} is")
    total = sum(size or 0 for size in sizes.values())
    if total > most * _GIB:
        raise ModelError(f"{repo_id} holds {total / _GIB:.2f} GiB, more than {most:g}: say max_gib={total / _GIB + 0.01:.2f} to take it")
    return list(sizes)


def _check_ours(api: HfApi, repo_id: str, info: ModelInfo, revision: str | None = None) -> None:
    """See, before anything else is fetched or replaced, that a repository's ``config.json`` is of a model of ours."""
    size = next((one.size for one in info.siblings or [] if one.rfilename == ABOUT), None) or 0
    if size > _MOST_ABOUT:
        raise ModelError(f"{repo_id} holds something else than a model of bertrec: its {ABOUT} has {size} bytes")
    # By the revision's own name, so that the cache knows which commit that was when there is no network.
    path = Path(api.hf_hub_download(repo_id, ABOUT, revision=revision))
    if path.parent.name != info.sha:
        raise ModelError(f"{repo_id} was changed while it was read: try again")
    try:
        check_kinds(read_json(path), path)
    except ModelError as error:
        raise ModelError(f"{repo_id} holds something else than a model of bertrec") from error


def check_repo(name: object) -> None:
    """See that something is the name of a repository.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(name, str) or not _REPO.fullmatch(name):
        raise ConfigError(f"{shown(name)} is no name of a repository: give it as user/name")


def _api(repo_id: str, token: str | None) -> HfApi:
    check_repo(repo_id)
    from huggingface_hub import HfApi

    return HfApi(token=token, library_name="bertrec")


@contextmanager
def _hub_errors(repo_id: str, revision: str | None) -> Iterator[None]:
    """Turn the errors of the hub's client, which have a dozen unrelated classes, into one line that says how to mend it."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"{repo_id}: {_said(error, revision)}") from error


def _said(error: Exception, revision: str | None) -> str:
    from huggingface_hub import errors

    login = "log in with  hf auth login, or set HF_TOKEN"
    known: Sequence[tuple[type[Exception], str]] = (
        (errors.GatedRepoError, f"its owner gives it to chosen people only: ask on its page, then {login}"),
        (errors.RepositoryNotFoundError, f"the hub has no such repository, or shows it to its owners alone: {login}"),
        (errors.RevisionNotFoundError, f"it has no revision {revision!r}: give a branch, a tag or a commit of it"),
        (errors.LocalTokenNotFoundError, f"this machine has no token of the hub: {login}"),
        (errors.HFValidationError, "this is no name that the hub allows"),
    )
    if (text := next((text for kind, text in known if isinstance(error, kind)), None)) is not None:
        return text
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"the hub refuses this ({status}): {login}, with a token that may do it"
    if _is_unreached(error):
        return f"the hub cannot be reached ({_reason(error)}): see to the network, and to HF_HUB_OFFLINE"
    return f"the hub says: {_reason(error)}"


def _is_unreached(error: Exception) -> bool:
    """Say whether nobody answered; by name, for the hub's client has changed the library of its errors before."""
    return isinstance(error, ConnectionError) or any(base.__name__ == "TransportError" for base in type(error).__mro__)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
