"""The guides do what they say: their commands run on the tutorial's shop, and their messages are those of the package."""

from __future__ import annotations

import ast
import pathlib
import re
import runpy
import shlex
import shutil

import pytest

import bertrec
from bertrec.cli.main import main

ROOT = pathlib.Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
SHELL = re.compile(r"^```sh\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
SMALL = ["--epochs", "1", *(word for one in ("item.width=16", "head.layers=1", "train.batch_size=512") for word in ("--set", one))]

pytestmark = pytest.mark.skipif(not GUIDES.exists(), reason="bertrec is installed without its pages")


def block(kind, name):
    page = (ROOT / "docs" / "tutorials" / "shop.md").read_text(encoding="utf-8")
    return re.search(rf"^```{kind} {name}\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The tutorial's shop, with a run and an index, as the guides find them."""
    folder = tmp_path_factory.mktemp("guides")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind, name in (("python", "make_shop.py"), ("yaml", "shop.yaml"), ("csv", "new.csv")):
            pathlib.Path(name).write_text(block(kind, name), encoding="utf-8")
        runpy.run_path("make_shop.py")
        assert main(["train", "shop.yaml", "--model", "max-similarity", "--out", "runs/shop"]) == 0
        assert main(["data", "convert", "shop.yaml", "--to", "atomic", "--out", "data/shop"]) == 0
    return folder


def commands(text):
    """The lines of a guide's blocks of commands."""
    joined = "\n".join(SHELL.findall(text)).replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def quickly(words):
    """The same command with a small network, or with a run that needs no training where the guide leaves the model open."""
    if words[0] != "train" or "--model" in words:
        return words
    return [*words, *SMALL] if {"--set", "--keep-seen"} & set(words) else [*words, "--model", "max-similarity"]


@pytest.mark.parametrize("guide", ["which-model", "cold-start", "repeats", "k-and-index", "migration"])
def test_the_commands_run(guide, shop, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(shutil.copytree(shop, tmp_path / "own"))
    found = commands((GUIDES / f"{guide}.md").read_text(encoding="utf-8"))
    assert len(found) >= 1
    for words in found:
        assert words[0] == "bertrec"
        words = quickly(words[1:])
        if "--epochs" in words and "max-similarity" in words:
            at = words.index("--epochs")
            words = words[:at] + words[at + 2 :]
        words = ["runs/migrated" if guide == "migration" and word == "runs/shop" else word for word in words]
        assert main(words) == 0, (words, capsys.readouterr().err)


def test_every_block_of_commands_is_tried_or_says_that_it_is_not():
    tried = {"which-model", "cold-start", "repeats", "k-and-index", "migration"}
    with_blocks = {page.stem for page in GUIDES.glob("*.md") if SHELL.search(page.read_text(encoding="utf-8"))}
    assert with_blocks <= tried


def test_the_example_of_the_migration_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (GUIDES / "migration.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    exec(compile(code, "migration.md", "exec"), {})  # our own page is the input
    shown = capsys.readouterr().out
    assert shown.index(" b ") < shown.index(" c ")  # a is the red kettle, b the blue one, c a teapot


def constants():
    """All texts of the package, f-strings with … in the places of values."""
    for path in pathlib.Path(bertrec.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_the_messages_are_those_of_the_package():
    text = (GUIDES / "troubleshooting.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    parts = [part.strip(" ':") for row in rows for code in re.findall(r"`([^`]+)`", row) for part in code.split("…")]
    parts = [part for part in parts if len(part) > 3 and part != "503"]
    known = "\n".join(constants())
    assert len(parts) > 40
    assert [part for part in parts if part not in known] == []
