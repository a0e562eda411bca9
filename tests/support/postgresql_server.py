"""A PostgreSQL server on loopback for tests, started where its programs are installed; whoever uses it imports the fixtures."""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from services import free_port

PASSWORD = "Tr0ub4dor"
_NUMBERS = count()


@dataclass(frozen=True)
class Server:
    scheme: str
    user: str
    port: int

    def url(self, place, password=PASSWORD):
        return f"{self.scheme}://{self.user}:{password}@127.0.0.1:{self.port}/{place}"


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


def wait_for(process, ready, log):
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
            wait_for(process, lambda: _answers(psycopg, server), log)
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
