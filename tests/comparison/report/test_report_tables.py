"""CSV, LaTeX and Markdown, with answers known beforehand."""

import csv
import io
import shutil
import subprocess

import pytest

from bertrec.comparison.report import files, tables
from bertrec.comparison.report.content import document
from bertrec.comparison.view import View
from bertrec.pages.render import rendered

EVIL = "<script>alert(1)</script>"


def markdown(run):
    return rendered(document(View(run)), "page.md", {})


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_results_csv_gives_back_every_figure_unrounded(run):
    rows = rows_of(files.results_csv(View(run)))
    by_name = {model["name"]: model for model in run["models"]}
    assert len(rows) == len(run["models"])
    assert [row["rank"] for row in rows] == [str(place) for place in range(1, 10)] + ["", "", ""]
    for row in rows[:9]:
        found = by_name[row["name"]]["slices"]["all"]["metrics"]
        assert {f"{name}": float(row[name]) for name in found} == {name: part["mean"] for name, part in found.items()}
        assert [float(row["HR@10 low"]), float(row["HR@10 high"])] == found["HR@10"]["ci95"]
        assert row["NDCG@10 sd"] == ("" if found["NDCG@10"]["sd"] is None else str(found["NDCG@10"]["sd"]))
        assert row["Coverage@10 low"] == ""
    assert rows[9]["name"] == EVIL
    assert rows[9]["reason"] == by_name[EVIL]["reason"]  # whole, with its line break
    assert rows[9]["NDCG@10"] == ""


def test_tests_csv_has_the_primary_metric_first_and_loses_nothing(run):
    rows = rows_of(files.tests_csv(View(run)))
    assert len(rows) == 108
    assert [row["metric"] for row in rows] == ["NDCG@10"] * 36 + ["HR@10"] * 36 + ["MRR@10"] * 36
    first = next(test for test in run["tests"] if test["metric"] == "NDCG@10")
    assert (rows[0]["a"], rows[0]["b"]) == (first["a"], first["b"])
    assert float(rows[0]["difference"]) == first["difference"]
    assert [float(rows[0]["low"]), float(rows[0]["high"])] == first["ci95"]


def test_slices_csv_has_a_row_per_figure(run):
    rows = rows_of(files.slices_csv(View(run)))
    assert len(rows) == 9 * (6 + 7 * 3)  # all users have six metrics, seven slices three, cold items none
    tail = [row for row in rows if (row["model"], row["slice"], row["metric"]) == ("sasrec", "tail_items", "HR@10")]
    assert [float(row["mean"]) for row in tail] == [0.0979 * 0.3 * 1.9]
    assert tail[0]["users"] == "220"


def test_latex_sets_the_best_bold_and_the_second_underlined(run):
    lines = files.latex_table(View(run)).splitlines()
    first = next(line for line in lines if line.startswith("unisrec:text+id"))
    assert first == (
        r"unisrec:text+id & text & \textbf{0.1043}$^{\uparrow}$ & \textbf{0.1982}$^{\uparrow}$ & \textbf{0.0782}$^{\uparrow}$ & 6.9 \\"
    )
    second = next(line for line in lines if line.startswith("recbole:SASRec"))
    assert second == r"recbole:SASRec & id & \underline{0.0987} & \underline{0.1875} & \underline{0.0740} & 19.7 \\"
    third = next(line for line in lines if line.startswith("sasrec"))
    assert third == r"sasrec & id & 0.0979 & 0.1860 & 0.0734 & 2.5 \\"


def test_latex_places_each_metric_by_itself_and_shares_a_place_among_equals():
    assert files.places([0.1, 0.3, 0.2, 0.30004, None]) == [0, 1, 2, 1, 0]
    assert files.places([]) == []


def test_latex_escapes_what_latex_reads(run):
    run["models"][0]["name"] = r"\input{x} a_b & 50% $x$ #1 ~^ <i>"
    text = files.latex_table(View(run))
    expected = r"\textbackslash{}input\{x\} a\_b \& 50\% \$x\$ \#1 \textasciitilde{}\textasciicircum{} \textless{}i\textgreater{}"
    assert f"\n{expected} & " in text


def test_latex_comments_stay_on_their_line(run):
    run["models"][-1]["name"] = "x\n\\input{y}"
    assert not any(line.startswith(r"\input") for line in files.latex_table(View(run)).splitlines())


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles(run, tmp_path):
    document = r"\documentclass{article}\usepackage[utf8]{inputenc}\usepackage{booktabs}\begin{document}"
    (tmp_path / "t.tex").write_text(f"{document}\n{files.latex_table(View(run))}\n\\end{{document}}", encoding="utf-8")
    subprocess.run(["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_markdown_holds_the_verdict_the_marks_and_links_the_charts(run):
    text = markdown(run)
    assert "**unisrec:text+id is better than recbole:SASRec" in text
    assert "0.1043 ± 0.0012 ▲ [0.0941, 0.1145]" in text
    assert "0.0870 ± 0.0012 ▼ [0.0785, 0.0955]" in text
    for name in ("quality_time", "slices", "curves"):
        assert f"](charts/{name}.svg)" in text
    assert "split.counts.train" in text.replace("\\", "")


def test_markdown_tests_are_those_of_the_primary_metric(run):
    text = markdown(run)
    section = text.split("## Pairwise tests")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|") and "[" in line]
    assert len(rows) == 36
    assert all("NDCG@10" in line for line in rows)


def test_markdown_rows_all_have_as_many_cells_as_their_head(run):
    run["models"][0]["name"] = "a|b\n| c"
    lines = markdown(run).replace("\\|", "").splitlines()
    width = None
    for line in lines:
        if not line.startswith("|"):
            width = None
        else:
            width = width or line.count("|")
            assert line.count("|") == width, line


def test_further_seeds_of_the_same_settings_are_not_counted_as_tried(run):
    model = next(model for model in run["models"] if model["name"] == "sasrec")
    assert tables.settings_tried(model) == 3
    model["search"] += [model["search"][0] | {"seed": 1}, model["search"][0] | {"seed": 2}]
    assert tables.settings_tried(model) == 3
    text = markdown(run)
    assert "sasrec: 3 settings in 5 fits" in text
    assert "failed: the loss is not finite" in text


def test_the_cross_check_shows_both_figures_and_the_ties(run):
    table = markdown(run).split("RecBole's cross-check:")[1]
    row = next(line for line in table.splitlines() if "recbole:Pop | NDCG@10" in line)
    assert row == "| recbole:Pop | NDCG@10 | 0.022500 | 0.022100 | −4.0e−04 | 140 of 943 | NO | 140 users have tied scores |"


def test_markdown_lets_no_link_through(run):
    run["models"][0]["name"] = "![x](https://example.org)"
    assert "](https:" not in markdown(run).replace("\\](", "")


def test_markdown_lets_no_html_through(run):
    text = markdown(run)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_row_without_figures_comes_last_in_every_format(run):
    text = markdown(run)
    table = text.split("## The models")[1]
    assert table.index("recbole:Pop") < table.index("recbole:LightGCN")
    assert "invalid it ranked seen items" in table
