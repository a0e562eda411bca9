"""The service as a process: its socket, its log, its end."""

from __future__ import annotations

import logging
import os
import signal
import socket
from typing import TYPE_CHECKING

from bertrec.core.errors import BertrecError, ConfigError, MissingExtraError
from bertrec.service.limits import KEY, LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from bertrec.service.app import Service

_GRACE = 30  # seconds that requests have to end after a signal
_WAITING = 2048


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

    from bertrec.service.app import make_app

    torch.set_num_threads(1)  # each thread that makes lists computes alone: several requests then share the cores without waiting
    _set_log()
    config = uvicorn.Config(
        make_app(service), log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE, backlog=_WAITING
    )
    signal.signal(signal.SIGTERM, lambda *_: None)  # uvicorn ends by it, and raises it once more when it has ended
    ready()
    uvicorn.Server(config).run(sockets=[sock])


def _set_log() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    for name, level in (("bertrec.service", logging.INFO), ("uvicorn", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
