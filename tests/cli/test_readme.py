from __future__ import annotations

import pathlib
import re

import pytest

from bertrec.cli.main import main

README = pathlib.Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def test_the_library_example_runs(text, shop, tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    smaller = {'"ml-100k"': repr(str(shop)), "Toy Story": "Red Kettle", "Aladdin": "Blue Kettle", '"train.epochs": 10': '"train.epochs": 1'}
    for was, now in smaller.items():
        assert was in code
        code = code.replace(was, now)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})  # our own page is the input
    lists = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[[")]
    assert len(lists) == 2
    assert lists[0] == lists[1]  # scoring everything and searching the index find the same items
    assert (tmp_path / "my-model" / "config.json").exists()


def test_every_command_that_the_page_names_exists(text, capsys):
    named = set(re.findall(r"^bertrec ((?:data |index )?[a-z]+)", text, flags=re.MULTILINE))
    assert {"train", "evaluate", "recommend", "data describe", "index build"} <= named
    for words in sorted(named):
        assert main([*words.split(), "--help"]) == 0, words
        capsys.readouterr()
