"""Optuna's journal on a Redis server.

Imports optuna: import this module only where optuna is known to be installed.
"""

from __future__ import annotations

from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalRedisBackend

from bertrec.core.errors import MissingExtraError
from bertrec.tuning.storages.address import Address
from bertrec.tuning.storages.claims import ClaimingJournal

_PATIENCE = 10  # seconds for a connection
_CHUNK = 1000
_MEND = "start the server, or mend the address, user or password"
_DAMAGED = "choose another database number (redis://HOST:PORT/NUMBER), or bring the server's data back from a copy"


class RedisJournal(JournalRedisBackend):
    """The journal without its snapshots: they are pickles, and whoever may write to the server could run code in every worker."""

    def load_snapshot(self) -> bytes | None:
        """Return nothing: the journal holds everything and is replayed."""
        return None

    def save_snapshot(self, snapshot: bytes) -> None:
        """Keep nothing."""


def open_redis(address: Address) -> JournalStorage:
    """Open the journal on a Redis server.

    Raises:
        MissingExtraError: the client is not installed.
        BertrecError: the server cannot be reached, refuses the user, or its journal is damaged.
    """
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise MissingExtraError("redis", "tuning-redis") from error
    try:
        client = redis.Redis.from_url(address.url, socket_connect_timeout=_PATIENCE, socket_timeout=_PATIENCE, retry=Retry(NoBackoff(), 0))
    except ValueError:
        raise address.problem("the address is no URL of a Redis server", "write redis://:PASSWORD@HOST:PORT/NUMBER") from None
    try:
        client.ping()
        _check_records(client, address)
        return ClaimingJournal(RedisJournal(address.url))
    except (redis.RedisError, OSError) as error:
        raise address.problem(error, _MEND) from None  # the cause's own text may hold the password
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise address.problem(f"its journal is damaged ({type(error).__name__})", _DAMAGED) from None
    finally:
        client.close()


def _check_records(client: Any, address: Address) -> None:
    """Count the records: Optuna waits for ever for one that the server has dropped, for lack of memory say."""
    last = client.get(":log_number")
    total = int(last) + 1 if last is not None else 0
    there = sum(client.exists(*(f":log:{i}" for i in range(begin, min(begin + _CHUNK, total)))) for begin in range(0, total, _CHUNK))
    if there != total:
        raise address.problem(f"its journal is damaged: {total - there} of {total} records are gone", _DAMAGED)
