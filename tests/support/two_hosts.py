"""Two hosts on this machine: network, process and name spaces of their own, each with a link of its own to a server of this one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest


@dataclass
class Link:
    """Takes connections at an address of the link and passes them on to a port of this machine."""

    address: str
    port: int
    served: int
    connections: int = 0
    _listener: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._listener = socket.create_server((self.address, self.port))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self.served))
                for pair in ((caller, server), (server, caller)):
                    threading.Thread(target=_pass_on, args=pair, daemon=True).start()

    def close(self) -> None:
        self._listener.close()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        while part := one.recv(1 << 16):
            other.sendall(part)
    with suppress(OSError):
        other.shutdown(socket.SHUT_WR)


@dataclass
class Host:
    """A host: its name, its link, and a folder for its own temporary files."""

    name: str
    space: str
    link: Link
    folder: Path

    def start(self, *command: object, log: Path) -> subprocess.Popen[bytes]:
        """Start a Python program as the first process of the host; it ends with the process that is returned."""
        spaces = ["unshare", "--uts", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc"]
        named = ["sh", "-c", 'echo "$0" > /proc/sys/kernel/hostname && exec "$@"', self.name]
        words = ["ip", "netns", "exec", self.space, *spaces, *named, sys.executable, "-W", "ignore", *command]
        surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder)}
        with log.open("wb") as out:
            return subprocess.Popen([*map(str, words)], stdout=out, stderr=out, env=surroundings)


def program_of(started: subprocess.Popen[bytes]) -> int:
    """Return the id, as this machine knows it, of the program that a host runs."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise AssertionError("the host has started no program")


def is_running(pid: int) -> bool:
    """Say whether there is such a process, and it has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@contextmanager
def two_hosts(served: int, folder: Path) -> Iterator[tuple[Host, Host]]:
    """Make hosts that reach the port ``served`` of this machine's loopback by a link of their own, and nothing else."""
    _need()
    with ExitStack() as stack:
        yield tuple(stack.enter_context(_host(name, number, served, folder)) for number, name in enumerate(("alpha", "beta")))  # type: ignore[misc]


@contextmanager
def _host(name: str, number: int, served: int, folder: Path) -> Iterator[Host]:
    space, near, far = (f"{kind}{os.getpid()}{number}" for kind in ("bertrec", "bn", "bf"))
    base = f"10.213.{os.getpid() % 250}"
    here, there = f"{base}.{4 * number + 1}", f"{base}.{4 * number + 2}"
    own = folder / name
    own.mkdir()
    try:
        _ip("netns", "add", space)
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        _ip("addr", "add", f"{here}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", space, "addr", "add", f"{there}/30", "dev", far)
        _ip("-n", space, "link", "set", far, "up")
        link = Link(here, served, served)
        try:
            yield Host(name, space, link, own)
        finally:
            link.close()
    finally:
        for words in (("link", "del", near), ("netns", "del", space)):
            subprocess.run(["ip", *words], check=False, capture_output=True)


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"network namespaces cannot be made here: ip {' '.join(words)}: {done.stderr.strip()}")


def _need() -> None:
    missing = [program for program in ("ip", "unshare") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"no {' and no '.join(missing)} here (Debian: apt install iproute2 util-linux)")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
