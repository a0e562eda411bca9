"""Every tutorial, followed to the letter: its files are written, its commands run, and what it shows has to come out."""

from __future__ import annotations

import pathlib

import pytest
from follower import Follower, files, missing

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.fixture
def follower(tmp_path, request):
    one = Follower(tmp_path, lambda: request.getfixturevalue("postgresql_url"))
    yield one
    one.end()


@pytest.mark.tutorial
@pytest.mark.skipif(bool(missing("curl") or missing("bash")), reason="the pages' commands need bash and curl")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_leads_where_it_says(page, follower):
    follower.follow(page)
    assert follower.ran >= 5


def written(folder, **pages):
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")
    return folder / f"{name}.md"


def test_files_commands_and_programs_are_followed(tmp_path, follower):
    first = "```csv a.csv\none,two\n```\n\n```yaml b.yaml\nx: 1\n```\n"
    second = (
        "<!-- files of first.md: a.csv -->\n\n```console\n$ cat a.csv\none,two\n$ ls\n```\n\n```sh notest\nfalse\n```\n\n"
        '```python\nprint(open("a.csv").read())\n```\n\n```text\none,two\n```\n\n```text\nfor reading\n```\n'
    )
    page = written(tmp_path, first=first, second=second)
    assert files(tmp_path / "first.md") == {"a.csv": "one,two\n", "b.yaml": "x: 1\n"}
    follower.follow(page)
    assert follower.ran == 3
    assert not (tmp_path / "b.yaml").exists()


@pytest.mark.parametrize(
    "text",
    [
        "```console\n$ echo one\ntwo\n```",
        "```console\n$ echo one\none\n$ false\n```",
        '```console\n$ echo \'{"error": "no"}\'\n```',
        "```python\npass\n```",
        "```python\nprint(1)\n```\n\n```text\n2\n```",
    ],
    ids=["not shown", "fails", "an error of the service", "prints nothing", "prints something else"],
)
def test_a_page_that_is_wrong_is_found(tmp_path, follower, text):
    with pytest.raises(AssertionError):
        follower.follow(written(tmp_path, wrong=text))


def test_a_kind_of_block_that_nobody_follows_is_found(tmp_path, follower):
    with pytest.raises(KeyError):
        follower.follow(written(tmp_path, wrong="```ruby\nputs 1\n```"))


def test_what_is_missing_skips_the_rest_with_its_reason(tmp_path, follower):
    page = written(tmp_path, one="```console\n$ true\n```\n\n<!-- needs no-such-program -->\n\n```console\n$ false\n```")
    with pytest.raises(pytest.skip.Exception, match=r"no no-such-program; what stands above .* \(1 commands\)"):
        follower.follow(page)
