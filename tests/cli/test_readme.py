from __future__ import annotations

import pathlib
import re
import shlex
import shutil

import pytest

from bertrec.cli.main import main

README = pathlib.Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_two_tables_lead_to_a_list_with_a_new_product(text, shop, tmp_path, monkeypatch, capsys):
    code, _ = python_blocks(text)
    assert 'create("unisrec")' in code
    code = code.replace('create("unisrec")', 'create("max-similarity")')  # which is served at once
    shutil.copytree(shop, tmp_path / "shop")
    clicks = (shop / "interactions.csv").read_text(encoding="utf-8").replace("\n1,", "\nu1,")
    (tmp_path / "shop" / "interactions.csv").write_text(clicks, encoding="utf-8")
    (tmp_path / "new-products.csv").write_text("item_id,title,kind\n500,Red Kettle,kitchen\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})
    out = capsys.readouterr().out
    first_two = [line.split()[3] for line in out.splitlines()[1:3]]
    assert sorted(first_two) == ["100", "500"]  # of one text, the nearest to a history of kettles


def test_the_commands_of_ones_own_data_run(text, shop, tmp_path, monkeypatch, capsys):
    (block,) = re.findall(r"^```\n(bertrec train shop .*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    shutil.copytree(shop, tmp_path / "shop")
    (tmp_path / "shop" / "items.csv").write_text(priced(shop / "items.csv"), encoding="utf-8")
    (tmp_path / "new-products.csv").write_text("item_id,title,kind,price\n500,Red Kettle,kitchen,9\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [words[0] for words in commands] == ["train", "catalog", "recommend", "serve"]
    train, *others, _ = commands
    assert main([*train, "--model", "max-similarity"]) == 0
    for words in others:
        assert main(["1" if word == "u1" else word for word in words]) == 0
    assert "500" in capsys.readouterr().out


def priced(path):
    head, *rows = path.read_text(encoding="utf-8").splitlines()
    return "\n".join([f"{head},price", *(f"{row},{10 * number}" for number, row in enumerate(rows))]) + "\n"


def test_the_library_example_runs(text, shop, tmp_path, monkeypatch, capsys):
    _, code = python_blocks(text)
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
    named = set(re.findall(r"^bertrec ((?:data |index |catalog )?[a-z-]+)", text, flags=re.MULTILINE))
    assert {"train", "evaluate", "recommend", "data describe", "index build"} <= named
    for words in sorted(named):
        assert main([*words.split(), "--help"]) == 0, words
        capsys.readouterr()
