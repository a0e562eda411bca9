"""A release: what names its version, what is refused, and the files that a code host reads."""

from __future__ import annotations

import datetime
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from checks.release import NAMED, check_texts, dated, prepared, section, tagged

ROOT = Path(__file__).parents[1]
DAY = datetime.date(2026, 3, 4)
CHANGELOG = "# Changelog\n\n## 0.2.0 - unreleased\n\n### Added\n- One thing.\n\n## 0.1.0 - 2026-01-02\n\n- The first.\n"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.1.0\ntitle: x\n")
    (tmp_path / "compose.yaml").write_text(
        "services:\n  bertrec:\n    image: bertrec:0.1.0\n    build:\n      args:\n        VERSION: 0.1.0\n"
    )
    (tmp_path / "docs" / "deploying.md").write_text("docker build --build-arg VERSION=0.1.0 -t bertrec:0.1.0 .\n")
    return tmp_path


def committed(folder: Path, *tags: str) -> Path:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *words], check=True, capture_output=True)

    git("init", "-q")
    git("add", "--all")
    git("commit", "-q", "-m", "all")
    for tag in tags:
        git("tag", tag)
    return folder


def test_the_version_goes_into_every_file_that_names_it(clone: Path) -> None:
    assert set(prepared(clone, "0.2.0", DAY)) == {"CHANGELOG.md", *NAMED}
    assert (clone / "CHANGELOG.md").read_text() == CHANGELOG.replace("unreleased", "2026-03-04")
    assert (clone / "CITATION.cff").read_text() == "cff-version: 1.2.0\nversion: 0.2.0\ntitle: x\n"
    assert (clone / "docs" / "deploying.md").read_text() == "docker build --build-arg VERSION=0.2.0 -t bertrec:0.2.0 .\n"
    assert "0.1.0" not in (clone / "compose.yaml").read_text()
    check_texts(clone, "0.2.0")


def test_a_release_candidate_takes_the_unreleased_section(clone: Path) -> None:
    prepared(clone, "0.3.0rc1", DAY)
    assert "## 0.3.0rc1 - 2026-03-04" in (clone / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("version", "changelog", "words"),
    [
        ("2", CHANGELOG, "2 is no version"),
        ("v0.2.0", CHANGELOG, "v0.2.0 is no version"),
        ("0.2.0", CHANGELOG.replace("unreleased", "2026-01-03"), "its first section is not"),
        ("0.2.0", "# Changelog\n", "its first section is not"),
        ("0.2.0", "## 0.2.0 - unreleased\n\n## 0.1.0 - 2026-01-02\n- x\n", "its section 0.2.0 is empty"),
    ],
)
def test_nothing_is_written_where_something_is_wrong(clone: Path, version: str, changelog: str, words: str) -> None:
    (clone / "CHANGELOG.md").write_text(changelog)
    before = {name: (clone / name).read_text() for name in ["CHANGELOG.md", *NAMED]}
    with pytest.raises(SystemExit, match=words):
        prepared(clone, version, DAY)
    assert {name: (clone / name).read_text() for name in before} == before


def test_a_file_without_a_place_for_the_version_is_named(clone: Path) -> None:
    (clone / "CITATION.cff").write_text("title: x\n")
    with pytest.raises(SystemExit, match=r"CITATION\.cff names no version"):
        prepared(clone, "0.2.0", DAY)


def test_sections_of_a_changelog() -> None:
    assert section(CHANGELOG, "0.2.0").strip() == "### Added\n- One thing."
    assert section(CHANGELOG, "0.1.0").strip() == "- The first."
    assert section(CHANGELOG, "9.9.9") == ""
    assert dated(CHANGELOG, "0.2.0", DAY).count("2026-03-04") == 1


def test_only_a_clean_tagged_commit_is_released(clone: Path) -> None:
    committed(clone)
    with pytest.raises(SystemExit, match="no tag"):
        tagged(clone)
    subprocess.run(["git", "-C", str(clone), "tag", "v0.2.0"], check=True)
    subprocess.run(["git", "-C", str(clone), "tag", "other"], check=True)
    assert tagged(clone) == "0.2.0"
    (clone / "CITATION.cff").write_text("changed")
    with pytest.raises(SystemExit, match=r"commit or drop first: M CITATION\.cff"):
        tagged(clone)


def test_texts_of_another_version_are_named(clone: Path) -> None:
    with pytest.raises(SystemExit, match=r"CHANGELOG\.md has no section '## 0\.2\.0 - YYYY"):
        check_texts(clone, "0.2.0")
    prepared(clone, "0.2.0", DAY)
    (clone / "CITATION.cff").write_text("version: 0.1.9\n")
    with pytest.raises(SystemExit, match=r"CITATION\.cff says 'version: 0\.1\.9'"):
        check_texts(clone, "0.2.0")


def test_our_own_files_have_a_place_for_the_version() -> None:
    for name, pattern in NAMED.items():
        assert re.search(pattern, (ROOT / name).read_text(encoding="utf-8")), name


def test_the_workflow_runs_our_targets_on_the_pythons_that_we_name() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "checks.yml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {line.rpartition(" ")[2] for line in project["classifiers"] if line.startswith("Programming Language :: Python :: 3.")}
    assert set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"]) == named
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    runs = {name: [step["run"] for step in job["steps"] if "run" in step] for name, job in workflow["jobs"].items()}
    made = [line.split() for lines in runs.values() for line in lines if line != ".venv/bin/python --version"]
    assert {words[1] for words in made} <= targets
    assert {(words[0], *words[2:]) for words in made} == {("make", "PYTHON=python")}  # the one that setup-python chose
    assert ".venv/bin/python --version" in runs["test"]
    assert {"make test PYTHON=python"} < set(runs["test"])
    assert runs["all"] == ["make test-all PYTHON=python"]


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda path: path.stem)
def test_issue_forms_are_whole(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(form)
    parts = form["body"]
    assert len({part["id"] for part in parts}) == len(parts)
    assert all(part["type"] in ("textarea", "input") and part["attributes"]["label"] for part in parts)
    assert any(part.get("validations", {}).get("required") for part in parts)
