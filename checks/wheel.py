"""Build the source distribution and, of it alone, the wheel; install each in an empty environment; see that it works there.

    python -m checks.wheel [--keep FOLDER]

pip's own settings say where packages come from; the versions are those of ``constraints.txt``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
EXTRAS = "cpu"
IN_WHEEL = [
    "__init__.py",
    "__init__.pyi",
    "py.typed",
    "pages/page.css",
    "service/page/index.html",
    "rankers/prompts/library/item-text.yaml",
    "cli/main.py",
]
IN_SDIST = [
    *("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "constraints.txt", "bertrec/cli/main.py"),
    *("tests/conftest.py", "tests/support/hub_stand_in.py", "benchmarks/speed/__main__.py", "checks/wheel.py", "docs/design.md"),
    *("Dockerfile", ".dockerignore", "compose.yaml", ".github/workflows/checks.yml"),
]
SAMPLE = [
    *("tests/evaluation/test_rank_metrics.py", "tests/data/test_splits.py", "tests/retrieval/test_top_k.py"),
    *("tests/test_picture.py", "tests/test_release.py", "tests/docs/test_links.py"),
]
"""The tests of the source distribution that are run with nothing but what they need: its own files suffice for them."""


def main() -> None:
    """Run every step; the first that fails ends it with its own message."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="work here and leave what was built")
    keep = parser.parse_args().keep
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        check(keep.resolve())
        return
    with tempfile.TemporaryDirectory(prefix="bertrec-wheel-") as folder:
        check(Path(folder))


def check(folder: Path, *, dist: Path | None = None) -> None:
    """Build (into ``dist``, where it is given), look, install and try, all in a folder."""
    sdist, wheel = built(dist or folder / "dist")
    check_content(sdist, wheel)
    python = environment(folder / "environment")
    install(python, f"{wheel}[{EXTRAS}]")
    try_out(python, folder)
    install(python, "--no-deps", "--force-reinstall", str(sdist))
    try_out(python, folder)
    try_tests(python, sdist, folder / "source")
    say("wheel and source distribution: built, installed in an empty environment, and at work there")


def built(folder: Path) -> tuple[Path, Path]:
    """Build both; the wheel is built of the source distribution, which thereby is seen to hold all that building needs."""
    say("building")
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_content(sdist: Path, wheel: Path) -> None:
    """See that the wheel holds the whole package and nothing else, and the source distribution tests and documentation too."""
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    require("the wheel", packed, [f"bertrec/{name}" for name in IN_WHEEL])
    require("the source distribution", source, IN_SDIST)
    own = {
        path.relative_to(ROOT).as_posix() for path in (ROOT / "bertrec").rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    require("the wheel", packed, own)
    if others := sorted(name for name in packed if not name.startswith(("bertrec/", "bertrec-"))):
        raise SystemExit(f"the wheel holds {others[0]}, which is no part of the package")
    if made := sorted(name for name in packed | source if "__pycache__" in name or name.endswith((".pyc", ".env"))):
        raise SystemExit(f"a distribution holds {made[0]}")


def require(what: str, names: set[str], wanted: list[str] | set[str]) -> None:
    """End where a name is missing."""
    if lacking := sorted(set(wanted) - names):
        raise SystemExit(f"{what} lacks {lacking[0]}")


def environment(folder: Path) -> Path:
    """Make an empty environment and return its interpreter."""
    run(sys.executable, "-m", "venv", "--clear", str(folder))
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def install(python: Path, *what: str) -> None:
    """Install with the versions of ``constraints.txt``."""
    say(f"installing {Path(what[-1]).name}")
    pip = ["-m", "pip", "install", "-q", "--no-compile", "--disable-pip-version-check", "--constraint", str(ROOT / "constraints.txt")]
    run(str(python), *pip, *what)


def try_out(python: Path, folder: Path) -> None:
    """Run the program, and the library on tables, from a folder that holds nothing of ours."""
    away = folder / "away"
    away.mkdir(exist_ok=True)
    program = python.with_name("bertrec")
    for words in (["--help"], ["--version"], ["train", "--help"], ["doctor"]):
        run(str(program), *words, cwd=away, quiet=True)
    run(str(python), "-m", "pip", "check", "--disable-pip-version-check", cwd=away, quiet=True)
    run(str(python), "-I", str(ROOT / "checks" / "in_empty_environment.py"), cwd=away)


def try_tests(python: Path, sdist: Path, folder: Path) -> None:
    """Collect all tests of the source distribution with what this process has, and run a sample of them in the empty environment."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider"]
    run(sys.executable, *pytest, "--collect-only", cwd=source)
    install(python, "pytest", "hypothesis")
    run(str(python), *pytest, *SAMPLE, cwd=source)


def run(*words: str, cwd: Path | None = None, quiet: bool = False) -> None:
    """Run a command without what this process has of the clone on its path; where it fails, show what it said and end."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME")}
    done = subprocess.run(words, cwd=cwd, env=clean, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout}{done.stderr}\nfailed with {done.returncode}")
    if not quiet and done.stdout.strip():
        say(done.stdout.strip().splitlines()[-1])


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
