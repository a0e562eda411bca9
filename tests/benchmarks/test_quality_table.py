"""A stored comparison is shown only while the records that it came from are the ones that stand there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks import quality_table

ROOT = Path(__file__).parents[2]
STORED = {"title": "shop", "names": ["text", "ID"], "report": "masked", "seeds": 2, "difference": 0.25}


@pytest.fixture
def put(tmp_path, monkeypatch):
    monkeypatch.setattr(quality_table, "RESULTS", tmp_path)

    def write(row, *figures):
        for seed, figure in enumerate(figures):
            metrics = {"NDCG@10": {"mean": figure}}
            record = {"seed": seed, "reports": {"masked": {"slices": {"all": {"metrics": metrics}}}}}
            (tmp_path / f"{row}-{seed}.json").write_text(json.dumps(record))

    write("text", 0.5, 0.75)
    write("id", 0.375, 0.375)
    return write


def test_it_stays_while_the_rows_differ_by_as_much(put):
    assert quality_table.still_true(STORED, "text", "id") == STORED


def test_a_row_measured_again_ends_it(put):
    put("id", 0.375, 0.5)
    assert quality_table.still_true(STORED, "text", "id") is None


def test_a_seed_more_on_both_sides_ends_it(put):
    put("text", 0.5, 0.75, 0.5)
    put("id", 0.375, 0.375, 0.25)
    assert quality_table.still_true(STORED, "text", "id") is None


def test_nothing_stored_and_nothing_run(put):
    assert quality_table.still_true(None, "text", "id") is None
    assert quality_table.still_true(STORED, "text", "never-run") is None


def test_no_row_names_a_folder_of_the_machine_that_made_it():
    rows = sorted((ROOT / "benchmarks").glob("results*/**/*.json"))
    assert len(rows) > 100
    assert not [path.name for path in rows if re.search(r'"/[A-Za-z.][^" ]*/', path.read_text(encoding="utf-8"))]


def test_the_page_is_what_the_records_make():
    """No figure of the page is older than its record, and no mark is left without its table."""
    stored = json.loads(quality_table.PAIRS_FILE.read_text(encoding="utf-8"))
    made = quality_table.page(stored)
    assert made == quality_table.OUT.read_text(encoding="utf-8")
    assert "<!--" not in made
    assert all(f"{pair['difference']:+.4f}" in made for pair in stored)
