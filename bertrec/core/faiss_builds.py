"""The distributions that hold FAISS, and what to do about one that does not load."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

BUILDS = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")
BROKEN = (ImportError, OSError, RuntimeError, AttributeError)
"""What importing a broken build raises: one for GPUs loads CUDA's libraries itself, and raises RuntimeError or OSError without them."""


def installed_builds() -> dict[str, str]:
    """Return the versions of those that are installed, by name; two of them overwrite one another's files."""
    found = {}
    for name in BUILDS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def mend_of(builds: dict[str, str]) -> str:
    """Return what mends builds that do not load.

    >>> mend_of({"faiss-cpu": "1.9.0"})
    "pip install --force-reinstall 'bertrec[cpu]'"
    """
    gpu = [name for name in builds if name != "faiss-cpu"]
    if not gpu:
        return "pip install --force-reinstall 'bertrec[cpu]'"
    cuda = gpu[0].rpartition("-cu")[2] if "-cu" in gpu[0] else "12"
    wheels = " ".join(f"nvidia-{name}-cu{cuda}" for name in ("cuda-runtime", "cublas"))
    return f"pip install {wheels} for its CUDA libraries, or pip uninstall -y {' '.join(builds)} and pip install 'bertrec[cpu]'"
