"""Open the storage of a study: a journal file, SQLite, PostgreSQL or Redis; whatever is wrong with it is one line, before any training."""

from __future__ import annotations

import shlex
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from bertrec.core.errors import ConfigError, MissingExtraError
from bertrec.tuning.storages.address import parse_address

if TYPE_CHECKING:
    import optuna


def open_storage(where: str | Path, *, heartbeat_seconds: int = 60) -> optuna.storages.BaseStorage:
    """Open a storage, or make it where a file does not exist yet; any Optuna tool opens the same.

    Args:
        where: a path (Optuna's journal file; its folder is made), ``sqlite:///…``, ``postgresql+psycopg://…`` or ``redis://…``.
        heartbeat_seconds: SQL storages only: how often a running trial says that it lives; one that was silent for twice as long is dead.

    Returns:
        A storage that several processes may open at once. Give it to `optuna.create_study` or `optuna.load_study`.

    Raises:
        ConfigError: ``where`` is no storage's name.
        MissingExtraError: optuna, psycopg or redis is not installed.
        BertrecError: the storage cannot be reached, refuses the user, is damaged or is something else. No text holds a password.
    """
    if heartbeat_seconds < 1:
        raise ConfigError(f"heartbeat_seconds must be 1 or more (got {heartbeat_seconds})")
    address = parse_address(where)
    try:
        from optuna.exceptions import ExperimentalWarning
    except ImportError as error:
        raise MissingExtraError("optuna", "tuning") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if address.kind == "journal":
            from bertrec.tuning.storages.journal import open_journal

            return open_journal(address)
        if address.kind == "redis":
            from bertrec.tuning.storages.redis import open_redis

            return open_redis(address)
        from bertrec.tuning.storages.sql import open_sql

        return open_sql(address, heartbeat_seconds)


def same_storage(where: str | Path) -> str:
    """Return the name under which a process in any folder opens the same storage: an absolute path, or the URL.

    It holds the URL's password: hand it to a worker, never print it.

    Raises:
        ConfigError: ``where`` is no storage's name.
    """
    return parse_address(where).url


def storage_hint(where: str | Path) -> str:
    """Return the command line with which optuna-dashboard opens the storage; a password stands there as ``***``.

    >>> storage_hint("redis://:secret@localhost:6379/0")
    "optuna-dashboard 'redis://:***@localhost:6379/0'"

    Raises:
        ConfigError: ``where`` is no storage's name.
    """
    return f"optuna-dashboard {shlex.quote(parse_address(where).shown)}"
