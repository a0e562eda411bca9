"""Optuna's SQL storage on SQLite and PostgreSQL, with heartbeats.

Imports optuna: import this module only where optuna is known to be installed.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage

from bertrec.core.errors import MissingExtraError
from bertrec.tuning.liveness import RequeueOnce
from bertrec.tuning.storages.address import Address
from bertrec.tuning.storages.claims import ClaimingSql

_PATIENCE = 10  # seconds for a connection to a server
_LOCK_PATIENCE = 60  # seconds for another worker's transaction to end
_TRIES = 6
_MADE_MEANWHILE = ("already exists", "duplicate key", "unique constraint", "database is locked", "concurrently")


def open_sql(address: Address, heartbeat_seconds: int) -> RDBStorage:
    """Open an SQL storage; the tables are made where there are none.

    Raises:
        MissingExtraError: the driver is not installed.
        BertrecError: the database cannot be reached, refuses the user, is of another release of Optuna, or is no database.
    """
    if address.kind == "postgresql":
        _need_psycopg()
    else:
        _check_file(address)
    for left in reversed(range(_TRIES)):
        try:
            storage = _storage(address, heartbeat_seconds)
        except (sqlalchemy.exc.ArgumentError, ValueError):
            raise address.problem(
                "the address is no URL of a database", "write postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"
            ) from None
        except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, RuntimeError, AssertionError, OSError) as error:
            reason = _reason(error)
            # Two workers that open a new database at once both make the tables; the slower one finds them and tries again.
            if left and any(text in reason.lower() for text in _MADE_MEANWHILE):
                time.sleep(0.1 * (_TRIES - left))
                continue
            raise address.problem(reason, _mend(address)) from None  # the cause's own text may hold the password
        if address.kind == "sqlite":
            _one_writer_at_a_time(storage.engine)
        return storage
    raise AssertionError("not reached")


def _storage(address: Address, heartbeat_seconds: int) -> RDBStorage:
    if address.kind == "sqlite":
        options: dict[str, Any] = {"connect_args": {"timeout": _LOCK_PATIENCE}}
    else:
        patience = {} if "connect_timeout=" in address.url else {"connect_timeout": _PATIENCE}
        # A trial may take longer than a server or firewall keeps a silent connection.
        options = {"pool_pre_ping": True, "connect_args": patience}
    url = address.url.replace("{", "{{").replace("}", "}}")  # Optuna takes the URL for a template
    return ClaimingSql(url, options, heartbeat_interval=heartbeat_seconds, heartbeat_stale_trial_callback=RequeueOnce())


def _one_writer_at_a_time(engine: Any) -> None:
    """Begin every transaction with SQLite's write lock.

    Optuna reads a trial's state and then writes it; SQLite knows no ``FOR UPDATE``, so that two workers could take the same waiting
    trial or give two trials one number. With the lock held from the beginning they wait for one another.
    """

    def plain(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # Python's driver would begin transactions of its own, and late

    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", plain)
    sqlalchemy.event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before the change


def _need_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:  # also where psycopg is there and PostgreSQL's client library is not
        raise MissingExtraError("psycopg", "tuning-postgresql") from error


def _check_file(address: Address) -> None:
    path = address.path
    assert path is not None
    try:
        if path.is_dir():
            raise address.problem("it is a folder", f"name a file, such as sqlite:///{path / 'study.db'}")
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise address.problem(f"{error.strerror or error} ({error.filename})", "choose a file in a folder that can be written") from error


def _reason(error: BaseException) -> str:
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error)


def _mend(address: Address) -> str:
    if address.kind == "sqlite":
        return "choose another file, in a folder that can be written"
    return "start the server, or mend the address, user, password or database"
