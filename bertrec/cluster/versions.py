"""What must be alike on the driver and wherever tasks run."""

from __future__ import annotations

import platform
import socket
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from bertrec.core.errors import BertrecError
from bertrec.core.faiss_builds import installed_builds
from bertrec.core.version import __version__


@cache
def versions() -> dict[str, str]:
    """Return the versions that decide what a model gives, here."""
    builds = installed_builds()
    python = ".".join(platform.python_version_tuple()[:2])
    found = {"bertrec": __version__, "python": python, "torch": _of("torch"), "numpy": _of("numpy"), "pyarrow": _of("pyarrow")}
    return found | {"faiss": next(iter(builds.values()), "none")}


def check_versions(driver: Mapping[str, str]) -> None:
    """See that this machine has the driver's versions.

    Raises:
        BertrecError: it has not; the text says which, where, and what installs them.
    """
    here = versions()
    other = [name for name in driver if here.get(name) != driver[name]]
    if other:
        said = ", ".join(f"{name} {here.get(name, 'none')} where the driver has {driver[name]}" for name in other)
        mend = "install the driver's versions there, or name a Python that has them with  --conf spark.pyspark.python=PATH"
        raise BertrecError(f"the executor on {socket.gethostname()} has {said}: {mend}")


def _of(package: str) -> str:
    try:
        return version(package).partition("+")[0]
    except PackageNotFoundError:
        return "none"
