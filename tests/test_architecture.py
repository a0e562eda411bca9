"""The house as docs/design.md draws it: the order of the rooms, no circle, short functions."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import networkx
import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def imports():
    """Every import between modules, those inside functions and for type checkers among them."""
    graph = grimp.build_graph("bertrec", cache_dir=None)
    edges = [(module, other) for module in graph.modules for other in graph.find_modules_directly_imported_by(module)]
    return networkx.DiGraph(edges)


def test_the_contracts_are_kept():
    """In a process of its own: import-linter sets up logging anew, and thereby silences every logger there is."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True, no_logo=True))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_no_module_is_in_a_circle(imports):
    assert len(imports) > 250
    assert [sorted(ring) for ring in networkx.strongly_connected_components(imports) if len(ring) > 1] == []


def test_the_page_has_the_order_that_is_checked():
    layers = next(contract["layers"] for contract in CONTRACTS if contract["id"] == "layers")
    checked = [frozenset(layer.split(" : ")) for layer in reversed(layers) if layer != "__main__"]
    drawn = re.search(r"\n(`core`.*?`cli`)\n", DESIGN, re.DOTALL)[1]
    assert [frozenset(re.findall(r"`(\w+)`", step)) for step in drawn.split("<-")] == checked


def test_every_room_is_on_the_page():
    rooms = {path.parent.relative_to(ROOT / "bertrec") for path in (ROOT / "bertrec").rglob("__init__.py")} - {Path()}
    named = {
        ".".join(room.parts)
        for room in rooms
        if room.name not in {"report", "worker", "readers", "objectives", "storages", "probes", "audit"}
    }
    assert named <= set(re.findall(r"^\| `([\w.]+)` \|", DESIGN, re.MULTILINE))


def test_no_more_than_three_files_are_touched_to_add_something():
    table = DESIGN.partition("## Where to add what")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (an? [\w ]+|another CLI option) \| (.*) \|$", table, re.MULTILINE)
    assert len(rows) >= 9
    for what, files in rows:
        paths = re.findall(r"`((?:models|rankers|heads|encoders|data|evaluation|cli)/[\w/]*(?:\.py|\.yaml|NAME\.py)?)`", files)
        assert len(paths) <= 3, what
        assert all((ROOT / "bertrec" / path).exists() for path in paths if "NAME" not in path), what


def bodies():
    for path in (ROOT / "bertrec").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                yield f"{path.name}:{node.name}", body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_functions_are_short():
    lengths = dict(bodies())
    values = sorted(lengths.values())
    assert statistics.median(values) <= 6
    assert values[int(0.9 * len(values))] <= 20
    assert [name for name, length in lengths.items() if length > 50] == []


def test_nothing_is_built_in_two_places():
    """One builder of the network, one of the table of text vectors."""
    made = {"Network(": 0, "TextTable(": 0}
    for path in (ROOT / "bertrec").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for name in made:
            made[name] += len(re.findall(rf"(?<![\w.]){re.escape(name)}(?=[\w\"])", text)) - text.count(f"class {name}")
    assert made == {"Network(": 1, "TextTable(": 1}


def test_no_class_is_told_apart_outside_itself():
    """`isinstance` against a retriever or ranker of ours stands in its own room alone."""
    kinds = "UniSRec|MoRec|IDRec|TextSimilarity|Popularity|RecBole|PromptRanker|NRMS|Composite|Ensemble|NeuralRecommender"
    found = [
        f"{path.name}: {line.strip()}"
        for path in (ROOT / "bertrec").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(rf"isinstance\([^)]*\b({kinds})\b", line) and path.name not in {"neural.py", "ensemble.py"}
    ]
    assert found == []
