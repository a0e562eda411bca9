"""What the site is made with: pages of commands, settings and front doors; links; the look for what is fetched from elsewhere."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import Annotated, Literal

import pytest
import typer
from typer.main import get_command

from checks.site import notebooks, reference
from checks.site.__main__ import fetched_outside


@pytest.fixture
def hooks():
    pytest.importorskip("mkdocs")
    from checks.site import hooks

    return hooks


def toy():
    app = typer.Typer()

    @app.command(epilog="Examples:\n\ntoy a --size 3")
    def make(
        name: Annotated[str, typer.Argument(metavar="NAME", help="Whose | it is.")],
        size: Annotated[int, typer.Option(min=1, help="How *many*.")] = 2,
        loud: Annotated[bool, typer.Option("--loud/--quiet", help="Aloud.")] = False,
        shade: Annotated[Literal["dark", "light"] | None, typer.Option(help="Which.")] = None,
        secret: Annotated[str, typer.Option(hidden=True)] = "",
    ) -> None:
        """Make one."""

    return get_command(app)


def test_a_command_has_its_usage_its_options_and_its_examples():
    page = reference.command_page("toy", toy())
    assert page.startswith("# toy\n\nMake one.\n\n```text\ntoy NAME [OPTIONS]\n```")
    assert "| `NAME` | NAME | needed | Whose \\| it is. |" in page
    assert "| `--size` | whole number >= 1 | `2` | How \\*many\\*. |" in page
    assert "| `--loud`, `--quiet` |  | `off` | Aloud. |" in page
    assert "| `--shade` | dark, light |  | Which. |" in page
    assert "secret" not in page
    assert page.rstrip().endswith("```sh\ntoy a --size 3\n```")


def test_every_command_has_a_page_and_every_option_a_row():
    from bertrec.cli.main import app

    found, made = get_command(app).commands, reference.commands()
    assert set(made) == {"index", *found}
    for name, command in found.items():
        for one in getattr(command, "commands", {"": command}).values():
            assert all(f"`{option}`" in made[name] for shown in one.params if not shown.hidden for option in shown.opts if option[0] == "-")


def test_settings_stand_with_default_range_and_meaning():
    made = reference.settings()
    assert "| `diversity` | `0.0` | number &gt;= 0" in made["rules"].replace(">=", "&gt;=")
    assert {"unisrec", "nrms", "index", "data"} <= set(made)


def test_each_public_name_stands_on_one_page_and_its_class_is_found():
    made = reference.doors()
    paths = [path for page in made.values() for path in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    assert len(paths) == len(set(paths)) > 80
    linked = {path for page in made.values() for path in re.findall(r"`\]\[(\S+)\]", page)}
    assert linked <= set(paths)
    assert "bertrec.data.load.load" in paths


def test_links_that_leave_the_pages(hooks):
    lead = lambda text, page: hooks.LINK.sub(lambda found: hooks.inside(found, page), text)  # noqa: E731
    assert lead("[a](../CONTRIBUTING.md#tests)", "design.md") == "[a](contributing.md#tests)"
    assert lead("[a](../../README.md)", "tutorials/shop.md") == "[a](../index.md)"
    assert lead("[a](../pyproject.toml)", "design.md") == "[a](files/pyproject.toml)"
    assert lead("[a](../benchmarks)", "tuning.md") == "[a](reference/files.md)"
    assert lead("[a](../tutorials/quickstart.ipynb)", "start/researcher.md") == "[a](../tutorials/quickstart.md)"
    assert lead("[a](data.md#x) [b](https://a.b/c) [c](#d)", "design.md") == "[a](data.md#x) [b](https://a.b/c) [c](#d)"
    assert list(hooks.outside("design.md", "[a](../pyproject.toml) [b](data.md) [c](../CONTRIBUTING.md)")) == ["pyproject.toml"]


def test_a_pattern_stands_for_the_pages_that_nothing_else_names(hooks):
    found = ["index.md", "a.md", "b.md", "systems/x.md", "systems/index.md", "systems/deep/z.md"]
    nav = [{"Start": ["index.md"]}, {"All": ["a.md", "*.md"]}, {"Systems": ["systems/index.md", "systems/*.md"]}]
    made = list(hooks.expanded(nav, found, hooks.named(nav)))
    assert made == [{"Start": ["index.md"]}, {"All": ["a.md", "b.md"]}, {"Systems": ["systems/index.md", "systems/x.md"]}]


def test_the_navigation_has_commands_and_settings_by_their_own_names_and_a_room_before_those_inside(hooks):
    found = ["reference/settings/ease-text.md", "reference/settings/ease.md", "reference/api/a.b.md", "reference/api/a.md"]
    made = list(hooks.expanded(["reference/settings/*.md", "reference/api/*.md"], found, []))
    settings = [{"ease": "reference/settings/ease.md"}, {"ease-text": "reference/settings/ease-text.md"}]
    assert made == [*settings, "reference/api/a.md", "reference/api/a.b.md"]


def test_what_a_page_fetches_from_elsewhere():
    asked = '<script src="https://a/b.js"></script><link rel="stylesheet" href="//c/d.css"><img src="http://e/f.png">'
    harmless = (
        '<a href="https://g/">g</a><link rel="canonical" href="https://h/"><img src="data:image/png;base64,"><script src="i.js"></script>'
    )
    assert fetched_outside(asked + harmless) == ["https://a/b.js", "//c/d.css", "http://e/f.png"]


def test_a_block_that_is_a_file_has_its_name_and_words_for_tests_have_none(hooks):
    text = "```python make_shop.py\nx\n```\n\n```console serve\n$ y\n```\n\n```sh\nz\n```\n"
    page = SimpleNamespace(file=SimpleNamespace(src_uri="tutorials/shop.md"))
    made = hooks.on_page_markdown(text, page)
    assert made == '```python title="make_shop.py"\nx\n```\n\n```console\n$ y\n```\n\n```sh\nz\n```\n'


def test_a_notebook_is_a_page_of_its_words_code_and_outputs(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# Two\n", "\n", "Words."]},
        {"cell_type": "code", "source": ["print(1)\n", "2"], "outputs": [{"text": ["1\n"]}, {"data": {"text/plain": ["2"]}}]},
        {"cell_type": "code", "source": ["x = 3"], "outputs": []},
    ]
    (tmp_path / "two.ipynb").write_text(json.dumps({"cells": cells}), encoding="utf-8")
    download = '<a href="two.ipynb" download>Download this notebook</a>.'
    code = "```python\nprint(1)\n2\n```\n\n```text\n1\n2\n```\n\n```python\nx = 3\n```"
    assert notebooks.page(tmp_path / "two.ipynb") == f"# Two\n\n{download}\n\nWords.\n\n{code}\n"


def test_every_tutorial_notebook_has_its_page():
    assert set(notebooks.notebooks()) == {"tutorials/honest-comparison.md", "tutorials/quickstart.md"}
