"""The Dockerfile and the compose file: linted where the linter is installed, and a few rules that hold everywhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SECRET = re.compile(r"(key|token|secret|password)\w*\s*[=:]\s*\S", re.IGNORECASE)


def instructions():
    """Return the Dockerfile's instructions in order, each with its arguments; lines that go on are one."""
    lines = re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [(name.upper(), rest.strip()) for name, _, rest in (line.partition(" ") for line in lines if line.strip())]


def last(name):
    return [rest for one, rest in instructions() if one == name][-1]


def test_the_linter_has_nothing_to_say():
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: it has a package for Linux on x86-64 alone")
    done = subprocess.run([program, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_images_below_are_slim_and_of_a_named_version():
    images = [rest.split()[0] for name, rest in instructions() if name == "FROM"]
    assert images == ["python:3.11-slim", "python:3.11-slim"]


def test_nobody_is_root_in_it():
    final = instructions()[max(at for at, (name, _) in enumerate(instructions()) if name == "FROM") :]
    users = [rest for name, rest in final if name == "USER"]
    assert users
    assert all(user not in ("root", "0") for user in users)
    after = [name for name, _ in final][[name for name, _ in final].index("USER") :]
    assert "RUN" not in after
    assert "COPY" not in after


def test_no_secret_is_in_it():
    assert not [rest for name, rest in instructions() if name in ("ENV", "ARG", "LABEL") and SECRET.search(rest)]


def test_it_serves_the_mounted_run_and_asks_after_its_health():
    assert json.loads(last("ENTRYPOINT")) == ["bertrec"]
    assert json.loads(last("CMD")) == ["serve", "/srv/run", "--host", "0.0.0.0", "--port", "8000"]
    assert last("EXPOSE") == "8000"
    health = last("HEALTHCHECK")
    command = json.loads(health[health.index("CMD") + 3 :])
    assert "http://127.0.0.1:8000/health" in command[2]
    compile(command[2], "HEALTHCHECK", "exec")


def test_the_extras_that_it_installs_exist():
    import tomllib

    extras = re.search(r"'\.\[([\w,]+)\]'", DOCKERFILE)[1].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert set(extras) <= set(known)


def test_only_what_it_copies_goes_to_the_engine():
    lines = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source.removeprefix("./")
        for name, rest in instructions()
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_compose_file_serves_one_run_without_rights_that_it_does_not_need():
    assert set(COMPOSE) == {"services"}
    service = COMPOSE["services"]["bertrec"]
    assert service["volumes"] == ["${BERTREC_RUN:-./runs/ml}:/srv/run"]
    assert service["ports"] == ["127.0.0.1:${BERTREC_PORT:-8000}:8000"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service["user"].split("}")[0].endswith(("-0:0", "-root"))
    assert not service["image"].endswith(":latest")
    assert ":" in service["image"]


def test_the_key_comes_from_a_file_that_is_in_no_repository():
    service = COMPOSE["services"]["bertrec"]
    assert service["env_file"] == ["bertrec.env"]
    assert "environment" not in service
    assert not SECRET.search((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert "*.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not (ROOT / "bertrec.env").exists()


def test_the_image_has_the_version_of_the_release():
    service = COMPOSE["services"]["bertrec"]
    version = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert service["image"] == f"bertrec:{version}"
    assert service["build"]["args"]["VERSION"] == version
