"""Storages of every kind for the tests of tuning; the servers are started here, where their programs are installed."""

import glob
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

PASSWORD = "Tr0ub4dor"
_NUMBERS = count()


@dataclass(frozen=True)
class Server:
    scheme: str
    user: str
    port: int

    def url(self, place, password=PASSWORD):
        return f"{self.scheme}://{self.user}:{password}@127.0.0.1:{self.port}/{place}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _postgresql_programs():
    """Return the folder of the newest server's programs, or None."""
    folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: float(path.split("/")[4]), reverse=True)
    on_path = shutil.which("initdb")
    folders += [os.path.dirname(os.path.realpath(on_path))] if on_path else []
    return next((Path(folder) for folder in folders if (Path(folder) / "postgres").exists() and (Path(folder) / "initdb").exists()), None)


def _not_root():
    """Return how a process is started by someone else than root; a PostgreSQL server refuses to run as root."""
    import pwd  # Unix only, as a server started here is

    if os.geteuid() != 0:
        return os.geteuid(), os.getegid(), {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid, {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return None


def _wait(process, ready, log):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        if ready():
            return
        time.sleep(0.05)
    raise AssertionError(f"the server does not answer: {log.read_text()}")


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server on loopback that asks for a password."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed (extra tuning-postgresql)")
    programs, account = _postgresql_programs(), _not_root()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt install postgresql)")
    if account is None:
        pytest.skip("a PostgreSQL server does not run as root, and there is no other user")
    owner, group, run_as = account
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a test's own folder is closed to other users
    try:
        (folder / "password").write_text(PASSWORD)
        for path in (folder, folder / "password"):
            os.chown(path, owner, group)
        data, port, log = folder / "data", free_port(), folder / "log"
        init = [programs / "initdb", "-D", data, "-U", "tuner", "-A", "scram-sha-256", "--pwfile", folder / "password", "-E", "UTF8"]
        subprocess.run([*init, "--locale=C", "--no-sync"], check=True, capture_output=True, cwd=folder, **run_as)
        with log.open("wb") as out:
            serve = [programs / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-F"]
            process = subprocess.Popen(serve, stdout=out, stderr=out, cwd=folder, **run_as)
        server = Server("postgresql+psycopg", "tuner", port)
        try:
            _wait(process, lambda: _answers(psycopg, server), log)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: nobody wants its data
            process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _connect(psycopg, server):
    return psycopg.connect(server.url("postgres").replace("+psycopg", ""), connect_timeout=5, autocommit=True)


def _answers(psycopg, server):
    try:
        _connect(psycopg, server).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture
def postgresql_url(postgresql):
    import psycopg

    name = f"study{next(_NUMBERS)}"
    with _connect(psycopg, postgresql) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return postgresql.url(name)


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
        _wait(process, ready, log)
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
