"""Titles, ids and file names that a terminal, a spreadsheet or a typesetter would obey."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import bertrec.cli
from bertrec.cli.main import main
from bertrec.comparison.report.files import latex
from bertrec.core.files import read_json, write_json
from bertrec.core.shown import csv_cell, csv_text, json_text, visible
from bertrec.pages.blocks import Document, Section, Table
from bertrec.pages.render import escaped, rendered

ESC, CSI, BEL, BIDI, ISOLATE = "\x1b", "\x9b", "\x07", "\u202e", "\u2066"
WICKED = [
    f"{ESC}[31mred",
    f"{ESC}]0;title{BEL}",
    f"{CSI}2Jgone",
    f"ab{BIDI}dc{ISOLATE}",
    "=1+1|cmd",
    "+2",
    "-0.5",
    "@SUM(A1)",
    "\x7fdel",
    "plain",
]
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def wicked(tmp_path_factory):
    """A shop whose folder, ids and titles are all of this kind, and a run on it."""
    folder = tmp_path_factory.mktemp("wicked") / f"sh{ESC}[31mop"
    folder.mkdir()
    rows = [f"u{ESC}{user},i{(user + step) % 10}{ESC},{step}" for user in range(20) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]), encoding="utf-8")
    items = [f'i{row}{ESC},"{title}",{row}{BEL}' for row, title in enumerate(WICKED)]
    (folder / "items.csv").write_text("\n".join([f"item_id,title,na{ESC}me", *items]), encoding="utf-8")
    run = folder.parent / f"ru{ESC}n"
    assert main(["train", str(folder), "--model", "popularity", "--out", str(run)]) == 0
    return folder, run


@pytest.mark.parametrize(
    "words",
    [
        ["data", "describe", "DATA"],
        ["data", "convert", "DATA", "--out", "OUT"],
        ["train", "DATA", "--model", "popularity", "--out", "OUT", "--overwrite"],
        ["evaluate", "RUN"],
        ["recommend", "RUN", "--user", f"u{ESC}1"],
        ["recommend", "RUN", "--user", f"u{ESC}1", "--format", "csv"],
        ["recommend", "RUN", "--user", f"u{ESC}1", "--format", "json"],
        ["recommend", "RUN", "--history-ids", f"i3{ESC}", "--why"],
        ["recommend", "RUN", "--history-ids", f"i3{ESC}", "--why", "--format", "csv"],
        ["recommend", "RUN", "--history-ids", f"i3{ESC}", "--history-ids", f"no{ESC}", "-k", "99"],
    ],
    ids=lambda words: " ".join(words[:2] + words[-1:]).encode("ascii", "replace").decode(),
)
def test_nothing_that_a_terminal_obeys_is_printed(wicked, tmp_path, cli, words):
    folder, run = wicked
    code, out, err = cli(*[{"DATA": folder, "RUN": run, "OUT": tmp_path / f"o{ESC}ut"}.get(word, word) for word in words])
    assert code == 0, err
    assert not OBEYED.search(out + err)
    assert "␛" in out + err or "\\u001b" in out


@pytest.mark.parametrize(
    "words",
    [
        ["data", "describe", f"no{ESC}]0;x{BEL}ne"],
        ["train", f"no{ESC}ne", "--model", "popularity", "--out", "x"],
        ["evaluate", f"no{ESC}ne"],
        ["recommend", "RUN", "--user", f"no{ESC}ne"],
        ["recommend", "RUN", "--history", f"no{BIDI}ne"],
        ["recommend", "RUN", "--history", "red", "--history", f"{ESC}"],
        ["index", "info", f"no{ESC}ne"],
        ["settings", f"no{ESC}ne"],
        ["evaluate", "RUN", "--metrics", f"no{ESC}ne"],
        [f"no{ESC}ne"],
        ["settings", "unisrec", f"--no{ESC}ne"],
    ],
    ids=lambda words: " ".join(words[:2]).encode("ascii", "replace").decode(),
)
def test_an_error_shows_it_and_is_one_line(wicked, cli, words):
    code, out, err = cli(*[wicked[1] if word == "RUN" else word for word in words])
    assert code == 2
    assert not OBEYED.search(out + err)
    assert err.count("\n") == 1


def test_no_command_prints_past_the_helpers():
    for path in Path(bertrec.cli.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
        used = {ast.unparse(call.func) for call in calls} & {"print", "typer.echo", "typer.secho", "rich.print"}
        assert used <= {"output.py": {"print"}, "main.py": {"typer.echo"}}.get(path.name, set()), path.name


def test_csv_of_recommendations_has_no_formula_unless_asked(wicked, cli):
    words = ["recommend", wicked[1], "--history-ids", f"i9{ESC}", "--format", "csv", "-k", "9"]
    titles = {row["title"] for row in csv.DictReader(io.StringIO(cli(*words)[1]))}
    assert {"'=1+1|cmd", "'@SUM(A1)", "+2", "-0.5", "␛[31mred"} <= titles
    raw = cli(*words, "--raw")[1]
    assert {row["title"] for row in csv.DictReader(io.StringIO(raw))} == set(WICKED) - {"plain"}
    code, _, err = cli(*words[:3], f"i9{ESC}", "--raw")
    assert (code, "--raw goes with --format csv" in err) == (2, True)


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1", "'=1"),
        ("+1", "+1"),
        ("-0.5", "-0.5"),
        ("-1e-3", "-1e-3"),
        ("-1-1", "'-1-1"),
        ("- x", "'- x"),
        ("@x", "'@x"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("＝1+1", "'＝1+1"),
        ("x=1", "x=1"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_a_cell(value, cell):
    assert csv_cell(value) == cell


def test_csv_and_json_read_back():
    assert csv_text([["a", "=x"], ["b\nc", -1.5]]) == 'a,\'=x\n"b\nc",-1.5\n'
    assert csv_text([["=x"]], raw=True) == "=x\n"
    value = {"".join(WICKED): [f"{CSI}x{BIDI}\udcff\u2028", 1.5, None, "é기"]}
    assert json.loads(json_text(value)) == value
    assert not OBEYED.search(json_text(value))


def test_a_file_name_that_is_no_utf8_goes_into_json(tmp_path):
    write_json(tmp_path / "a.json", {"data": "x\udcff"})
    assert read_json(tmp_path / "a.json") == {"data": "x\udcff"}


def test_what_is_visible():
    assert visible("a\x00\x1b\x7f\x9b\u202e\u2069\u2028\udc80\ud800é기\u200d") == "a␀␛\\x7f\\x9b\\u202e\\u2069\\u2028\\x80\\ud800é기\u200d"
    assert visible("a\nb\tc", keep="\n") == "a\nb␉c"


def test_pages_and_markdown():
    name = f"<script>{ESC}[x]({BIDI}http://e.com) `a|b` www.e.com ![i][j]"
    document = Document(name, "# not a heading", "1. not a list", [Section("a", name, [Table(name, [name], [[name]]), name, [name]])])
    page, text = (rendered(document, f"page.{form}", {}) for form in ("html", "md"))
    assert not OBEYED.search((page + text).replace("\t", ""))
    assert "<script>␛" not in page + text
    for told in (r"\# not a heading", r"1\. not a list"):
        assert told in text
    for link in ("](", "][", "http://", "www.e", "`a|b`"):
        assert link not in escaped(name).replace(f"\\{link}", "")


def test_latex_of_every_special():
    assert latex("[x] {a}_b^c~d%e$f&g#h\\i|j\x1b") == (
        "{[}x{]} \\{a\\}\\_b\\textasciicircum{}c\\textasciitilde{}d\\%e\\$f\\&g\\#h\\textbackslash{}i\\textbar{}j␛"
    )


def test_names_that_are_no_utf8(wicked, tmp_path):
    """In a process of its own, as such bytes come from the system."""
    call = [sys.executable, "-m", "bertrec", "train", wicked[0], "--model", "popularity", "--out", os.fsencode(tmp_path) + b"/r\xffn"]
    done = subprocess.run(call, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert rb"r\xffn' holds a byte that is no UTF-8" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", range(5))
def test_a_word_that_is_no_utf8_is_refused_wherever_it_stands(place, cli):
    words = ["recommend", "run", "--history", "title", "--why"]
    words[place] += "\udcff"
    code, out, err = cli(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "\\xff' holds a byte that is no UTF-8" in err


def test_a_terminal_of_few_letters_shows_the_rest_as_escapes(wicked):
    call = [sys.executable, "-m", "bertrec", "data", "describe", wicked[0]]
    done = subprocess.run(call, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}, check=False)
    assert done.returncode == 0, done.stderr
    assert rb"\u241b[31mop" in done.stdout
