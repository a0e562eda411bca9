"""The service as a process: its socket, its log, its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from bertrec.core.errors import BertrecError, ConfigError, MissingExtraError
from bertrec.service.limits import KEY, LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from bertrec.service.app import Service

_GRACE = 30  # seconds that requests have to end after a signal
_WAITING = 2048
_HEAD = 15.0  # seconds, at least, and at most twice that, in which a connection must have sent the head of a request
_LONGEST_HEAD, _LONGEST_REST = 1 << 16, 1 << 25  # bytes


def key_for(host: str) -> str | None:
    """Return the key of the environment.

    Raises:
        ConfigError: there is none, and others than this machine could ask; or it is empty or no ASCII.
    """
    key = os.environ.get(KEY)
    if key is None and host not in LOOPBACK:
        raise ConfigError(f"--host {host} lets others ask: set {KEY} to a key that they must show, or leave out --host")
    if key is not None and (not key.strip() or not key.isascii() or key != key.strip()):
        raise ConfigError(f"{KEY} is empty, begins or ends with a space, or is no ASCII: set it to a long random word, or unset it")
    return key


def check_installed() -> None:
    """See that what the service needs is there.

    Raises:
        MissingExtraError: it is not.
    """
    from importlib.util import find_spec

    for package, name in (("fastapi", "fastapi"), ("uvicorn", "uvicorn"), ("prometheus_client", "prometheus-client")):
        if find_spec(package) is None:
            raise MissingExtraError(name, "serve")


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        BertrecError: the address is taken, or none of this machine.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, proto)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(_WAITING)
    except OSError as error:
        raise BertrecError(f"cannot listen on {host}, port {port}: {error.strerror or error}: choose another --port") from error
    return taken


def serve(service: Service, sock: socket.socket, *, ready: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or Ctrl-C; those that have begun are answered before the end.

    Args:
        service: what answers.
        sock: listens.
        ready: is called before the first one.
    """
    import torch
    import uvicorn
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    from bertrec.service.app import make_app

    torch.set_num_threads(1)  # each thread that makes lists computes alone: several requests then share the cores without waiting
    _set_log()
    how: dict[str, Any] = {"log_config": None, "access_log": False, "server_header": False, "backlog": _WAITING}
    config = uvicorn.Config(make_app(service), http=_patient(AutoHTTPProtocol), timeout_graceful_shutdown=_GRACE, **how)
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn ends by it, and raises it once more when it has ended
    ready()
    uvicorn.Server(config).run(sockets=[sock])


def _patient(http: type[Any]) -> type[Any]:
    """Return a protocol of uvicorn's that lets go of callers who never finish the head of a request, or never end it.

    Uvicorn itself waits for them for ever, and each holds an open file.
    """

    class Patient(http):  # type: ignore[misc]  # which of two classes it is depends on what is installed
        _head = 0
        _met: Any = None
        _watch: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._look(begun=True)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._watch is not None:
                self._watch.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._head = self._head + len(data) if self._waits() else 0
            # Behind an answer comes the rest of a body that was not read, which a client sends before it reads.
            if self._head > (_LONGEST_HEAD if self.cycle is None else _LONGEST_REST):
                self.transport.close()

        def _waits(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _look(self, *, begun: bool = False) -> None:
            if self._waits() and self.cycle is self._met and not begun:
                self.transport.close()
                return
            self._met = self.cycle if self._waits() else None
            self._watch = self.loop.call_later(_HEAD, self._look)

    return Patient


def _set_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("bertrec.service", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
