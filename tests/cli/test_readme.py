from __future__ import annotations

import json
import pathlib
import re
import shlex
import shutil
import statistics

import pytest
from typer.main import get_command

from bertrec.cli.main import app, main

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
LIBRARY = ROOT / "docs" / "start" / "library.md"
COMMANDS = ROOT / "docs" / "reference" / "command-line.md"


@pytest.fixture(scope="module")
def text():
    return README.read_text(encoding="utf-8")


def python_blocks(text):
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_two_tables_lead_to_a_list_with_a_new_product(text, shop, tmp_path, monkeypatch, capsys):
    (code,) = python_blocks(text)
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


def test_the_library_example_runs(shop, tmp_path, monkeypatch, capsys):
    (code,) = python_blocks(LIBRARY.read_text(encoding="utf-8"))
    smaller = {'"ml-100k"': repr(str(shop)), "Toy Story": "Red Kettle", "Aladdin": "Blue Kettle", '"train.epochs": 10': '"train.epochs": 1'}
    for was, now in smaller.items():
        assert was in code
        code = code.replace(was, now)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(LIBRARY), "exec"), {})  # our own page is the input
    lists = [line for line in capsys.readouterr().out.splitlines() if line.startswith("[[")]
    assert len(lists) == 2
    assert lists[0] == lists[1]  # scoring everything and searching the index find the same items
    assert (tmp_path / "my-model" / "config.json").exists()


def test_every_command_that_the_pages_name_exists(text, capsys):
    groups = "|".join(name for name, one in get_command(app).commands.items() if hasattr(one, "commands"))
    pages = text + COMMANDS.read_text(encoding="utf-8")
    named = set(re.findall(rf"^bertrec ((?:(?:{groups}) )?[a-z-]+)", pages, flags=re.MULTILINE))
    assert {"train", "evaluate", "recommend", "data describe", "index build", "prompt train"} <= named
    for words in sorted(named):
        assert main([*words.split(), "--help"]) == 0, words
        capsys.readouterr()


def test_the_page_of_commands_names_every_command():
    names = set(get_command(app).commands)
    assert names == set(re.findall(r"^bertrec ([a-z-]+)", COMMANDS.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_thirty_seconds(text):
    lines = text.splitlines()
    assert len(lines) <= 150
    assert "make demo" in "\n".join(lines[:25])
    plain = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", text, flags=re.DOTALL).lower()
    assert not [word for word in ("whiten", "unisrec", "morec", "softmax", "cosine", "adaptor", "embedding") if word in plain]


def test_the_figures_of_the_page_are_those_of_the_files(text):
    """Each figure of the table again from the JSON of its runs."""
    table = text[text.index("| data |") :].split("\n\n")[0]
    found = [cell for row in table.splitlines()[2:] for cell in re.findall(r"\.\d{4}", row)]
    items = ROOT / "benchmarks" / "results-new-items"
    wanted = [
        mean(items, "warm-amazon-scientific-unisrec-[0-9]", "run", "masked"),
        mean(items, "warm-amazon-scientific-idrec-[0-9]", "run", "masked"),
        mean(items, "warm-amazon-scientific-max-similarity-*", "run", "masked"),
        mean(items, "warm-ml-100k-unisrec-[0-9]", "run", "masked"),
        mean(items, "warm-ml-100k-idrec-[0-9]", "run without its match", "masked"),
        mean(items, "warm-ml-100k-popularity-*", "run", "masked"),
        *(
            mean(items, f"cold-{data}-unisrec-[0-9]", model, "full", "cold_items")
            for data in ("amazon-scientific", "amazon-beauty")
            for model in ("run", "max-similarity")
        ),
    ]
    assert found == [f"{value:.4f}".removeprefix("0") for value in wanted]
    other = mean(items, "warm-ml-100k-idrec-[0-9]", "run", "masked")
    assert f"with the defaults it has {other:.4f}".replace(" 0.", " .") in " ".join(text.split())


def mean(folder, names, model, rules, slice="all"):
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob(f"{names}.json"))]
    return statistics.mean(row["models"][model][rules]["slices"][slice]["NDCG@10"]["mean"] for row in rows)
