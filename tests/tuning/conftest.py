"""Storages of every kind for the tests of tuning; the servers are started here, where their programs are installed."""

import shutil
import subprocess
import tempfile
from itertools import count
from pathlib import Path

import pytest
from postgresql_server import PASSWORD, Server, postgresql, postgresql_url, wait_for  # noqa: F401 -- fixtures
from services import free_port

_NUMBERS = count()


@pytest.fixture(scope="session")
def redis_server():
    """A Redis server on loopback that asks for a password."""
    redis = pytest.importorskip("redis", reason="redis is not installed (extra tuning-redis)")
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("no Redis server is installed (Debian: apt install redis-server)")
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    port, log = free_port(), folder / "log"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--requirepass", PASSWORD, "--save", "", "--dir", str(folder)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    server = Server("redis", "default", port)

    def ready():
        try:
            return redis.Redis.from_url(server.url(0)).ping()
        except redis.ConnectionError:
            return False

    try:
        wait_for(process, ready, log)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def redis_url(redis_server):
    import redis

    url = redis_server.url(next(_NUMBERS) % 16)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture
def here(monkeypatch):
    """Commands run their trials in this process: another one would first import all there is."""
    from bertrec.tuning import run

    monkeypatch.setattr(run, "_watch_workers", lambda study, plan, folder, *rest: run.work_on(folder, study))


@pytest.fixture(params=["journal", "sqlite", "postgresql", "redis"])
def where(request, tmp_path):
    """The name of a new storage of each kind."""
    if request.param == "journal":
        return str(tmp_path / "study.journal")
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'study.db'}"
    return request.getfixturevalue(f"{request.param}_url")
