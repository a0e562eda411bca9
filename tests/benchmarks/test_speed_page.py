"""The performance page: what is in a table of cases, and where it comes from."""

import pytest

from benchmarks.speed import page
from bertrec.core.files import write_json


def record(case="serve-batch", ratio=2.0, lower_bound=False, processor="A"):
    side = {"seconds": [1.0], "median_seconds": 1.0, "peak_mib": 10.0, "figures": {}, "versions": {"numpy": "2"}}
    theirs = side | {"median_seconds": ratio, "peak_mib": 1500.0, "figures": {"lower_bound": lower_bound}}
    return {
        "case": case,
        "title": f"What {case} does",
        "goal": 3.0,
        "limits": {},
        "fallback_data": False,
        "ours": side,
        "theirs": theirs,
        "ratio": {"median": ratio, "low": ratio / 2, "high": ratio * 2, "rounds": 6, "coverage": 0.97},
        "agreement": {"ok": True, "same_items": 0.99999},
        "threads": 2,
        "machine": {"processor": processor, "cores": 2, "memory_gib": 8, "python": "3.11", "gflops": {"fp32": 1234}},
    }


@pytest.mark.parametrize(
    ("ratio", "lower_bound", "shown"),
    [
        (2.0, False, "**2 ×** | 1 to 4, 6 | 3 × **missed**"),
        (4.0, False, "**4 ×** | 2 to 8, 6 | 3 × reached"),
        (2.0, True, "≥ **2 ×** | 1 to 4, 6 | 3 × not shown"),
        (4.0, True, "≥ **4 ×** | 2 to 8, 6 | 3 × reached"),
    ],
)
def test_a_row_says_the_ratio_its_interval_and_whether_the_goal_is_reached(ratio, lower_bound, shown):
    row = page.case_table([record(ratio=ratio, lower_bound=lower_bound)])[-1]
    assert row == f"| **serve-batch**: What serve-batch does | 1 s | {ratio:.3g} s | {shown} | 10 / 1,500 | same items 0.99999 |"


def test_each_machine_has_a_table_and_a_chart_of_the_cases_in_its_folder(tmp_path, monkeypatch):
    folders = {"Fast": ("fast", tmp_path / "a"), "Slow": ("slow", tmp_path / "b")}
    for (name, case), processor in zip([("a", "serve-batch"), ("b", "softmax-plain"), ("b", "no-longer-a-case")], "ABB", strict=True):
        (tmp_path / name).mkdir(exist_ok=True)
        write_json(tmp_path / name / f"{case}.json", record(case, processor=processor))
    monkeypatch.setattr(page, "MACHINES", folders)
    monkeypatch.setattr(page, "RESULTS", tmp_path / "a")
    monkeypatch.setattr(page, "ROOT", tmp_path)
    monkeypatch.setattr(page, "OUT", tmp_path / "page.md")
    monkeypatch.setattr(page, "CHARTS", tmp_path / "charts")
    monkeypatch.setattr(page, "CASES", tmp_path / "log" / "cases.md")
    (tmp_path / "notes.md").write_text("Lists?\n\n<!-- cases: softmax-plain serve-batch -->\n\nYes.\n")
    monkeypatch.setattr(page, "NOTES", tmp_path / "notes.md")
    page.main()
    rows = [line for line in (tmp_path / "page.md").read_text().splitlines() if line.startswith("| **")]
    assert [row.split("|")[1:3] for row in rows] == [
        [" **softmax-plain**: What softmax-plain does ", " Slow "],
        [" **serve-batch**: What serve-batch does ", " Fast "],
    ]
    fast, slow = (tmp_path / "log" / "cases.md").read_text().split("## Slow")
    assert "## Fast" in fast
    assert "**serve-batch**" in fast
    assert "**softmax-plain**" not in fast
    assert "A, 2 of 2 cores, 8 GiB" in fast
    assert "1,234 GFLOPS" in fast
    assert "performance/slow.svg" in slow
    assert "**softmax-plain**" in slow
    assert "no-longer-a-case" not in slow
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == ["fast.svg", "slow.svg"]


def test_every_case_that_was_measured_answers_a_question():
    text = page.OUT.read_text(encoding="utf-8")
    measured = [record["case"] for _, folder in page.MACHINES.values() for record in page.read_records(folder)]
    assert [case for case in measured if f"| **{case}**:" not in text] == []
    assert "<!--" not in text
