"""Prepare a release and check it before its files are handed over.

    python -m checks.release prepare 0.2.0     # writes changelog, citation, compose file and its page; commit that, then tag it
    python -m checks.release check             # of the tagged commit: builds, checks and tries what would be uploaded, into dist/

The version is that of the tag, ``v0.2.0``; no file of the package holds it. Nothing is uploaded and no tag is made.
"""

from __future__ import annotations

import argparse
import datetime
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from checks.wheel import check, say

ROOT = Path(__file__).parents[1]
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
HEADING = re.compile(r"^## (?P<version>\S+) - (?P<day>\S+)$", re.MULTILINE)
UNRELEASED = "unreleased"
NAMED = {
    "CITATION.cff": r"(?m)^(version: )\S+$",
    "compose.yaml": r"(?m)^( +(?:image: bertrec:|VERSION: ))\S+$",
    "docs/deploying.md": r"((?:bertrec:|VERSION=))\d+\.\d+\.\d+\w*",
}
"""Which files name the release, and behind what."""


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    steps.add_parser("prepare", help="write the files that name the version").add_argument("version", metavar="X.Y.Z")
    steps.add_parser("check", help="build and check the tagged commit")
    given = parser.parse_args()
    if given.step == "prepare":
        for path in prepared(ROOT, given.version, datetime.date.today()):
            say(f"wrote {path}")
        say(f"next: git commit --all, git tag v{given.version}, make release")
        return
    version = tagged(ROOT)
    check_texts(ROOT, version)
    build(ROOT / "dist", version)


def prepared(root: Path, version: str, day: datetime.date) -> list[str]:
    """Write the version into every file that names it and the day into the changelog; return the files.

    Raises:
        SystemExit: it is no version, the changelog has nothing unreleased, or a file has no place for it; nothing is written then.
    """
    if not VERSION.fullmatch(version):
        raise SystemExit(f"{version} is no version: X.Y.Z, or X.Y.Zrc1")
    texts = {"CHANGELOG.md": dated((root / "CHANGELOG.md").read_text(encoding="utf-8"), version, day)}
    for name, pattern in NAMED.items():
        texts[name], count = re.subn(pattern, rf"\g<1>{version}", (root / name).read_text(encoding="utf-8"))
        if not count:
            raise SystemExit(f"{name} names no version: it should hold {pattern}")
    for name, text in texts.items():
        (root / name).write_text(text, encoding="utf-8")
    return list(texts)


def dated(changelog: str, version: str, day: datetime.date) -> str:
    """Give the unreleased section of a changelog its version and day.

    Raises:
        SystemExit: the first section is a release already, or holds no line.
    """
    first = HEADING.search(changelog)
    if first is None or first["day"] != UNRELEASED:
        raise SystemExit(f"CHANGELOG.md: its first section is not '## X.Y.Z - {UNRELEASED}': write what is new first")
    if not section(changelog, first["version"]).strip():
        raise SystemExit(f"CHANGELOG.md: its section {first['version']} is empty: write what is new first")
    return changelog[: first.start()] + f"## {version} - {day.isoformat()}" + changelog[first.end() :]


def section(changelog: str, version: str) -> str:
    """Return what stands below a version's heading, to the next one; empty where there is none."""
    headings = list(HEADING.finditer(changelog))
    for heading, after in zip(headings, [*headings[1:], None], strict=True):
        if heading["version"] == version:
            return changelog[heading.end() : None if after is None else after.start()]
    return ""


def tagged(root: Path) -> str:
    """Return the version of the tag on a clean working tree.

    Raises:
        SystemExit: something is not committed, or no tag vX.Y.Z is at this commit.
    """
    if changed := git(root, "status", "--porcelain"):
        raise SystemExit(f"commit or drop first: {changed.splitlines()[0].strip()}")
    names = [name[1:] for name in git(root, "tag", "--points-at", "HEAD").split() if VERSION.fullmatch(name[1:]) and name[0] == "v"]
    if len(names) != 1:
        found = "several tags are" if names else "no tag vX.Y.Z is"
        raise SystemExit(f"{found} at this commit: python -m checks.release prepare X.Y.Z, commit, git tag vX.Y.Z")
    return names[0]


def check_texts(root: Path, version: str) -> None:
    """See that changelog, citation and the rest speak of this version.

    Raises:
        SystemExit: one does not.
    """
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    heading = next((one for one in HEADING.finditer(changelog) if one["version"] == version), None)
    if heading is None or heading["day"] == UNRELEASED:
        raise SystemExit(f"CHANGELOG.md has no section '## {version} - YYYY-MM-DD': python -m checks.release prepare {version}")
    for name, pattern in NAMED.items():
        text = (root / name).read_text(encoding="utf-8")
        if others := sorted({found[0] for found in re.finditer(pattern, text) if not found[0].endswith(version)}):
            raise SystemExit(f"{name} says {others[0].strip()!r}: python -m checks.release prepare {version}")


def build(folder: Path, version: str) -> None:
    """Build both distributions into an empty folder, try each in an empty environment, and see their metadata through.

    Raises:
        SystemExit: the folder holds something, or a step failed.
    """
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty: remove what an earlier build left")
    with tempfile.TemporaryDirectory(prefix="bertrec-release-") as work:
        check(Path(work), dist=folder)
    files = sorted(folder.iterdir())
    if wrong := [path.name for path in files if not path.name.startswith(f"bertrec-{version}")]:
        raise SystemExit(f"{wrong[0]} is not of version {version}: is the tag the newest one?")
    twine = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], capture_output=True, text=True)
    if twine.returncode:
        raise SystemExit(f"{twine.stdout}{twine.stderr}")
    say(f"bertrec {version}: {', '.join(path.name for path in files)} are ready in {folder.name}/")
    say(section((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version).strip())


def git(root: Path, *words: str) -> str:
    """Return what git prints."""
    return subprocess.run(["git", "-C", str(root), *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
