"""The notebooks run from the first cell to the last, and what they keep of their outputs is there, small, and text alone."""

from __future__ import annotations

import json
import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="bertrec is installed without its pages")


def code_cells(path):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def test_both_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["honest-comparison", "quickstart"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_kept_small_and_text_alone(path):
    assert path.stat().st_size < 20_000
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))  # run in order, from a fresh start
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert len(outputs) >= 5
    assert {output["output_type"] for output in outputs} <= {"stream", "execute_result"}
    assert {kind for output in outputs for kind in output.get("data", {"text/plain": ""})} == {"text/plain"}
    assert [output for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.tutorial
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path / "cache"))
    stored = nbformat.read(path, as_version=4)
    made = nbformat.from_dict(json.loads(json.dumps(stored)))
    for cell in made.cells:
        cell.pop("outputs", None) if cell.cell_type != "code" else cell.update(outputs=[], execution_count=None)
    nbclient.NotebookClient(made, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    printing = [[bool(cell.outputs) for cell in book.cells if cell.cell_type == "code"] for book in (stored, made)]
    assert printing[0] == printing[1]  # the cells that show something are those that did when the notebook was stored
