"""Every command that reads data has the same reading options, and what is given reaches the library."""

from __future__ import annotations

import importlib
import re

import pytest
from typer.main import get_command

from bertrec.cli.main import app, main
from bertrec.cli.options import DataArgument
from bertrec.cli.reading import reads_data
from bertrec.core.errors import ModelError
from bertrec.data.options import LoadOptions

GIVEN = {
    "format": (["--data-format", "tables"], "tables"),
    "text_fields": (["--text-fields", " title, kind ,"], ("title", "kind")),
    "max_words": (["--max-words", "7"], 7),
    "template": (["--template", "{title}: {kind}"], "{title}: {kind}"),
    "on_empty": (["--on-empty", "drop"], "drop"),
    "min_rating": (["--min-rating", "0"], 0.0),
    "duplicates": (["--duplicates", "last"], "last"),
    "k_core": (["--k-core", "3"], 3),
    "given": (["--no-given"], False),
}
WITHOUT = {
    "data convert": {"max_words", "template"},  # it writes whole texts, field by field
    "catalog update": {
        "text_fields",
        "template",
        "k_core",
        "item_texts",
        "user_texts",
    },  # texts are those of the run, and all products count
    "update": {"text_fields", "template", "k_core", "max_words", "on_empty", "given", "item_texts", "user_texts"},  # it reads no items
}
PROMPTS = {f"{group} {command}" for group in ("prompt", "rankers") for command in ("train", "evaluate", "score")} | {
    "prompt search-answers"
}  # where --template is a prompt
OUT = ["--out", "OUT"]
COMMANDS = {
    "train": ["DATA", *OUT],
    "pretrain": ["DATA", *OUT],
    "cluster recommend": ["RUN", "--users", "TABLE", "--data", "DATA", *OUT],
    "cluster encode": ["RUN", "--items", "TABLE", *OUT],
    "compare": ["DATA", *OUT, "--models", "idrec", "--baselines", "none"],
    "tune run": ["DATA", *OUT, "--model", "idrec", "--preset", "quick"],
    "new-items": ["DATA", *OUT],
    "data describe": ["DATA"],
    "data convert": ["DATA", *OUT],
    "probe": ["DATA"],
    "audit": ["minilm", "DATA"],
    "encoder adapt": ["DATA", *OUT],
    "encoder adapt-mlm": ["DATA", *OUT],
    "prompt train": ["DATA", *OUT],
    "prompt search-answers": ["DATA", "--out", "OUT.yaml"],
    "queries make": ["DATA", "--fields", "title", "--out", "OUT.parquet"],
    "queries train": ["DATA", "--pairs", "TABLE", *OUT],
    "rankers train": ["DATA", *OUT, "--ranker", "nrms"],
    "rankers evaluate": ["RUN", "--data", "DATA"],
    "rankers score": ["RUN", "--data", "DATA", "--submission", "OUT"],
    "prompt evaluate": ["RUN", "--data", "DATA"],
    "prompt score": ["RUN", "--data", "DATA", "--submission", "OUT"],
    "evaluate": ["RUN", "--data", "DATA"],
    "embed": ["RUN", "--data", "DATA", "--out", "OUT.parquet"],
    "forget": ["RUN", "--data", "DATA", "--user", "1"],
    "recommend": ["RUN", "--data", "DATA", "--user", "1"],
    "search": ["RUN", "red kettle", "--data", "DATA"],
    "catalog update": ["RUN", "--data", "DATA"],
    "update": ["RUN", "--interactions", "TABLE", "--data", "DATA"],
    "rerank train": ["RUN", "--data", "DATA", *OUT],
    "rerank evaluate": ["RUN", "--data", "DATA", "--rerank", "RERANKER"],
}


LOOK_FIRST = ("catalog update", "update", "cluster recommend", "cluster encode")  # at other tables than the data


def leaves(command, name=""):
    inner = getattr(command, "commands", None)
    if inner is None:
        return {name.strip(): command}
    return {path: leaf for word, one in inner.items() for path, leaf in leaves(one, f"{name} {word}").items()}


def panel(command):
    return {one.name for one in command.params if (getattr(one, "rich_help_panel", None) or "").startswith(("How the", "How other"))}


def first_part(description):
    return re.split(r"; (null|false): |\.$", description)[0]


def test_exactly_the_commands_that_read_data_have_all_reading_options():
    found = leaves(get_command(app))
    assert {name for name, command in found.items() if panel(command)} == COMMANDS.keys()
    takes = {name for name, command in found.items() if any(one.name == "data" for one in command.params)}
    assert takes == COMMANDS.keys() | {"serve"}  # whose --data says where the run's own data are now: they are read as the run read them
    for name in COMMANDS:
        assert panel(found[name]) == LoadOptions.model_fields.keys() - WITHOUT.get(name, set()), name


def test_their_help_is_that_of_the_fields():
    for name, command in leaves(get_command(app)).items():
        for option in command.params:
            if option.name in LoadOptions.model_fields and name in COMMANDS and name not in PROMPTS:
                assert option.help.startswith(first_part(LoadOptions.model_fields[option.name].description)), (name, option.name)
                assert "null" not in option.help


@pytest.fixture
def read(monkeypatch):
    """Note the options of each reading, and read nothing."""
    seen = []

    def fake(data, options=None, **known):
        seen.append((str(data), options))
        raise ModelError("read enough")

    monkeypatch.setattr(importlib.import_module("bertrec.data.load"), "load", fake)
    monkeypatch.setattr("bertrec.rankers.runs.open_rankers", lambda *runs: (None, [{"data": "own", "load": {"max_words": 5}}]))
    monkeypatch.setattr("bertrec.rerank.kinds.load_with_record", lambda folder: None)
    return seen


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in LOOK_FIRST])
def test_what_is_given_reaches_the_library(name, read, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    fields = [field for field in GIVEN if field not in WITHOUT.get(name, set())]
    given = [word for field in fields for word in GIVEN[field][0]]
    given = ["--text-template" if word == "--template" and name in PROMPTS else word for word in given]
    words = [str(trained) if word == "RUN" else word for word in [*name.split(), *COMMANDS[name]]]
    assert main([*words, *given]) == 2
    assert capsys.readouterr().err.endswith("bertrec: read enough\n")
    whole = {"max_words": None} if name == "data convert" else {}
    assert read == [("DATA", LoadOptions(**{field: GIVEN[field][1] for field in fields}, **whole))]


def test_products_of_other_data_are_read_with_the_texts_of_the_run(read, trained):
    assert main(["catalog", "update", str(trained), "--data", "DATA", "--on-empty", "drop"]) == 2
    assert read == [("DATA", LoadOptions(text_fields=("title", "kind"), on_empty="drop", k_core=0))]


def test_new_interactions_are_read_as_is_said(trained, tmp_path, capsys):
    (tmp_path / "sales.csv").write_text("user_id;item_id;timestamp\n1;109;9.5\n", encoding="utf-8")
    (tmp_path / "shop.yaml").write_text("folder: .\ncolumns: {user_id: customer}\n", encoding="utf-8")
    words = ["update", str(trained), "--interactions", str(tmp_path / "sales.csv"), "--data", str(tmp_path / "shop.yaml"), "--separator"]
    assert main([*words, ","]) == 2
    assert "sales.csv" in capsys.readouterr().err


def test_what_is_not_given_is_left_to_the_library(read, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["probe", "DATA", "--k-core", "0"]) == 2
    assert main(["probe", "DATA"]) == 2
    assert [options.model_fields_set for _, options in read] == [{"k_core"}, set()]


def test_a_prompt_run_reads_other_data_as_its_own_but_for_what_is_given(read, capsys):
    assert main(["prompt", "evaluate", "RUN", "--data", "DATA", "--on-empty", "drop"]) == 2
    assert read == [("DATA", LoadOptions(max_words=5, on_empty="drop"))]


@pytest.mark.parametrize("name", [name for name, words in COMMANDS.items() if "--data" in words])
def test_reading_options_of_a_run_go_with_other_data(name, trained, capsys):
    words = [word for word in COMMANDS[name] if word not in ("--data", "DATA")]
    assert main([*name.split(), *words, "--encoding", "utf-8"]) == 2
    assert capsys.readouterr().err == ("bertrec: reading options go with --data: a run's own data is read as it was for training\n")


def test_a_wrong_word_names_the_right_ones(capsys):
    assert main(["data", "describe", "DATA", "--on-empty", "dorp"]) == 2
    assert "'--on-empty'" in (said := capsys.readouterr().err)
    assert said.endswith("'dorp' is not one of 'keep', 'drop', 'error'.\n")


def test_an_option_that_the_command_has_already_is_refused():
    def command(data: DataArgument, reading: dict, template: str = ""):
        """Have a template of its own."""

    with pytest.raises(ValueError, match="duplicate parameter name: 'template'"):
        reads_data()(command)
