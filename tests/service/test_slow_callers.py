"""Callers who never finish what they begin are let go of; all others are not."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bertrec.service import run

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


async def app(scope, receive, send):
    """Answer after a second, which is longer than a head may take."""
    await asyncio.sleep(1.0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(params=[H11Protocol, HttpToolsProtocol], ids=["h11", "httptools"])
def port(request, monkeypatch):
    monkeypatch.setattr(run, "_HEAD", 0.3)
    with run.bound("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(app, http=run._patient(request.param), log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        yield sock.getsockname()[1]
        server.should_exit = True
        thread.join()


@contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        yield one


def until_closed(one):
    """Return what comes until the other side closes, and after how many seconds it does."""
    began, parts = time.monotonic(), []
    try:
        while part := one.recv(1 << 16):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts), time.monotonic() - began


@pytest.mark.parametrize("said", [b"", b"G", HEAD])
def test_who_does_not_finish_the_head_is_let_go_of(port, said):
    with connected(port) as one:
        one.sendall(said)
        assert until_closed(one)[1] < 3


def test_who_sends_a_head_without_end_is_let_go_of(port):
    with connected(port) as one, pytest.raises(ConnectionError):
        one.sendall(HEAD + 10_000 * (b"x: " + b"y" * 5_000 + b"\r\n"))


def test_who_waits_for_an_answer_gets_it_and_may_ask_again(port):
    with connected(port) as one:
        for _ in range(2):
            one.sendall(HEAD + b"\r\n")
            found = b""
            while not found.endswith(b"ok"):
                found += one.recv(1 << 16)
            assert found.startswith(b"HTTP/1.1 200")
        one.sendall(HEAD)
        assert until_closed(one)[1] < 3
