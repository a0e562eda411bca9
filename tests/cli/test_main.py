from __future__ import annotations

import errno
import os
import re
import subprocess
import sys

import pytest
from typer.main import get_command

from bertrec import __version__
from bertrec.cli import main as program
from bertrec.core.errors import DataError

COMMANDS = ["train", "evaluate", "embed", "recommend", "doctor", "demo", "probe", "audit", "data", "index", "settings"]
LEAVES = [[c] for c in COMMANDS[:8]] + [["data", c] for c in ("describe", "convert")]
LEAVES += [["settings"]]
LEAVES += [["index", c] for c in ("build", "info", "add", "remove", "compact")]
LEAVES += [["encoder", "adapt"], ["encoder", "adapt-mlm"], ["rerank", "train"], ["rerank", "evaluate"]]
LEAVES += [["prompt", c] for c in ("train", "evaluate", "score", "search-answers")]
LEAVES += [["tune", c] for c in ("index", "resume", "show", "best", "export", "compare")]


def run_with(monkeypatch, error):
    """Raise an error as if bertrec itself did."""
    scope = {"error": error}
    exec(compile("def fail(_arguments):\n    raise error\n", program.__file__, "exec"), scope)
    monkeypatch.setattr(program, "_run", scope["fail"])
    return program.main([])


def test_a_fault_in_someone_elses_code_is_named_with_its_line(monkeypatch, capsys):
    def fail(_arguments):
        raise ZeroDivisionError("by nought")

    monkeypatch.setattr(program, "_run", fail)
    assert program.main([]) == 2
    assert re.search(r"test_main\.py, line \d+: ZeroDivisionError: by nought", capsys.readouterr().err)


def test_help_names_every_command_and_shows_examples(capsys):
    assert program.main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)
    assert "bertrec recommend runs/ml --history" in out


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_each_command_has_help_with_an_example(words, capsys):
    assert program.main([*words, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Example" in out
    assert out.count("bertrec " + " ".join(words)) >= 2  # once in the usage, once in an example


def test_version(capsys):
    assert program.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"bertrec {__version__}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["trian"], "Did you mean 'train'"),
        (["train"], "Missing argument 'DATA'"),
        (["train", "d", "--out", "o", "--epochs", "0"], "--epochs"),
        (["evaluate", "r", "--colour"], "--colour"),
        (["recommend", "r", "-k", "many"], "-k"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(words, said, capsys):
    assert program.main(words) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert err.count("\n") == 1
    assert not out


def test_no_command_shows_the_help(capsys):
    assert program.main([]) == 2
    out, err = capsys.readouterr()
    assert "Commands" in out
    assert not err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("items.csv: no\n column 'item_id'"), 2, "bertrec: items.csv: no column 'item_id'\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/there"), 2, "bertrec: /there: Permission denied\n"),
        (OSError(errno.ENOSPC, "No space left on device"), 2, "bertrec: No space left on device\n"),
        (KeyboardInterrupt(), 130, "bertrec: interrupted\n"),
        (ZeroDivisionError("by nought"), 1, "bertrec: fault inside bertrec: ZeroDivisionError: by nought (BERTREC_DEBUG=1 shows where)\n"),
    ],
)
def test_every_error_is_one_line(error, code, said, monkeypatch, capsys):
    monkeypatch.delenv("BERTREC_DEBUG", raising=False)
    assert run_with(monkeypatch, error) == code
    assert capsys.readouterr().err == said


def test_debug_lets_the_error_through(monkeypatch):
    monkeypatch.setenv("BERTREC_DEBUG", "1")
    with pytest.raises(DataError, match="bad"):
        run_with(monkeypatch, DataError("bad"))


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | environment, check=False)


HEAVY = "[m for m in ('torch', 'pandas', 'transformers', 'faiss', 'numpy', 'pyarrow', 'sklearn', 'scipy') if m in sys.modules]"


def test_importing_bertrec_loads_nothing_heavy():
    done = python(f"import sys, time; t = time.perf_counter(); import bertrec; print(time.perf_counter() - t); print({HEAVY})")
    seconds, heavy = done.stdout.splitlines()
    assert heavy == "[]"
    assert float(seconds) < 0.5


def test_help_loads_nothing_heavy():
    done = python(f"import sys\nfrom bertrec.cli.main import main\ncode = main(['train', '--help'])\nprint(code, {HEAVY})")
    assert done.stdout.splitlines()[-1] == "0 []"


def test_the_program_ends_with_the_code_and_without_a_trace():
    done = subprocess.run([sys.executable, "-m", "bertrec", "evaluate", "no-such-run"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "bertrec: no-such-run: no such run; make one with bertrec train DATA --out no-such-run\n"
    assert not done.stdout


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "7"}, "7 None"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "None ACTIVE"),
    ],
)
def test_threads_that_wait_soon_sleep_unless_the_environment_says_how_they_wait(environment, expected, monkeypatch):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    code = "import os\nfrom bertrec.cli.main import main\nmain(['--version'])\n"
    said = python(f"{code}print(os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY'))", **environment).stdout
    assert said.splitlines()[-1] == expected


def test_torch_computes_as_the_program_said_threads_wait(monkeypatch):
    """libgomp prints what it took when it is loaded."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    code = "from bertrec.cli.main import main\nmain(['--version'])\nimport torch"
    said = python(code, OMP_DISPLAY_ENV="VERBOSE").stderr
    if "GOMP_SPINCOUNT" not in said:
        pytest.skip("torch computes with another OpenMP than libgomp here")
    assert "GOMP_SPINCOUNT = '1000'" in said


def test_a_reader_that_goes_away_gets_no_trace():
    code = "from bertrec.cli.main import main; import sys; sys.exit(main(['--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 1


def test_every_command_that_takes_a_folder_of_models_lets_the_caller_vouch_for_its_classes():
    def commands(group, path):
        for name, command in getattr(group, "commands", {}).items():
            yield from commands(command, [*path, name])
        if not hasattr(group, "commands"):
            yield " ".join(path), group

    words = ("RUN", "STUDY", "RERANKER")
    asked = {}
    for path, command in commands(get_command(program.app), []):
        reads = [p for p in command.params if p.metavar and any(word in p.metavar for word in words) and p.name != "out"]
        if (reads or path == "audit") and path != "push":  # which makes no model of the files that it sends
            asked[path] = any("--model" in parameter.opts for parameter in command.params)
    assert len(asked) >= 15
    assert [path for path, has in asked.items() if not has] == []
