"""The files as a whole: what is written, what is escaped, what the page would fetch, and runs in which little or nothing happened."""

import json
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

from bertrec.comparison.report import write_report
from bertrec.comparison.report.files import latex
from bertrec.comparison.report.tables import test_tables as tables_of_tests
from bertrec.comparison.view import View
from bertrec.core.errors import BertrecError, MissingExtraError

pytest.importorskip("matplotlib")

EVIL = "<script>alert(1)</script>"
CHARTS = ["charts/curves.svg", "charts/quality_time.svg", "charts/slices.svg"]
FILES = [
    "index.html",
    "report.md",
    "tables/results.csv",
    "tables/results.tex",
    "tables/slices.csv",
    "tables/tests.csv",
]


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, styles, visible text by section, and scripts apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.styles, self.scripts, self.open, self.text, self.ids = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        {"style": self.styles, "script": self.scripts}.get(inside, self.text).append(data)


@pytest.fixture(scope="module")
def page(report):
    return Page((report / "index.html").read_text(encoding="utf-8"))


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_all_files_are_written_and_returned(run, tmp_path):
    returned = write_report(run, tmp_path / "new" / "folder")
    assert sorted(path.relative_to(tmp_path / "new" / "folder").as_posix() for path in returned) == CHARTS + FILES
    assert written(tmp_path / "new" / "folder") == CHARTS + FILES


def test_the_same_comparison_gives_the_same_files_and_is_left_as_it_was(run, report, tmp_path):
    before = json.dumps(run)
    write_report(run, tmp_path)
    assert json.dumps(run) == before
    assert {name: (tmp_path / name).read_bytes() for name in CHARTS + FILES} == {
        name: (report / name).read_bytes() for name in CHARTS + FILES
    }


def test_the_page_would_fetch_nothing(page):
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), (tag, attributes)
        assert not re.search(r"url\((?!#)", " ".join(attributes.values())), (tag, attributes)
    styles = " ".join(page.styles)
    assert "@import" not in styles
    assert "url(" not in styles
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_the_page_is_below_a_megabyte_also_with_as_many_models_as_a_comparison_has(crowded_run, report, tmp_path):
    write_report(crowded_run, tmp_path)
    assert max((folder / "index.html").stat().st_size for folder in (report, tmp_path)) < 1_000_000


def test_the_charts_of_the_page_are_those_of_the_files_and_are_said_in_words(page, report):
    figures = [attributes for _, attributes in page.tags if "chart" in attributes.get("class", "").split()]
    assert [figure["role"] for figure in figures] == ["img"] * 3
    assert all(figure["aria-label"].startswith(("NDCG@10", "Validation NDCG@10")) for figure in figures)
    texts = {element.text for name in CHARTS for element in ET.parse(report / name).iter("{http://www.w3.org/2000/svg}text")}
    assert {"unisrec:text+id", "recbole:Pop", "all users, 943 users", "not converged"} <= texts
    assert texts <= set(page.text)


def test_no_id_stands_twice_and_every_reference_in_a_chart_is_met(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    used = {found for _, attributes in page.tags for value in attributes.values() for found in re.findall(r"url\(#([^)]+)\)", value or "")}
    used |= {attributes["xlink:href"][1:] for _, attributes in page.tags if "xlink:href" in attributes}
    assert used
    assert used <= set(ids)


def test_sections_stand_in_their_order(page):
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert anchors == ["not", "models", "time", "slices", "curves", "tests", "searches", "beyond", "protocol"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{name}" for name in anchors[1:]]


def test_a_name_that_means_harm_is_text_and_no_tag(page, report):
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # the page's own
    assert EVIL in "".join(page.text)
    assert EVIL not in (report / "index.html").read_text(encoding="utf-8")


def test_harm_in_every_text_of_the_run_stays_text(run, tmp_path):
    run["protocol"]["data"]["name"] = run["verdict"] = run["models"][1]["name"] = f"</title></style>{EVIL}\"'><img src=x onerror=alert(1)>"
    run["protocol"][f"{EVIL}\"'"] = EVIL
    run["models"][1]["settings"] = {EVIL: f"\"'>{EVIL}"}
    run["models"][1]["family"] = f'" onclick="{EVIL}'
    run["models"][2]["slices"][EVIL] = run["models"][2]["slices"]["tail_items"]
    run["models"][3]["slices"]["all"]["metrics"][EVIL] = {"mean": 1.0, "ci95": None, "sd": None}
    run["tests"][0]["verdict"] = EVIL
    write_report(run, tmp_path)
    found = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert not any(tag == "img" for tag, _ in found.tags)
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [EVIL, "]]>", "a\"b'c", "--><b>", "x\ud800y", "x\x00\x0by", "$x^{", "{{ 7 * 7 }}{% raw %}"])
def test_any_name_of_a_model_leaves_every_file_whole(name, run, tmp_path):
    run["models"][3]["name"] = name
    write_report(run, tmp_path)
    for chart in CHARTS:
        ET.parse(tmp_path / chart)
    page = Page((tmp_path / "index.html").read_text(encoding="utf-8"))
    assert [attributes["id"] for tag, attributes in page.tags if tag == "section"][-1] == "protocol"
    if name.isprintable():
        assert page.text.count(name) > 5  # tables and charts
    assert not any(tag == "b" for tag, _ in page.tags)
    expected = latex(name).encode("utf-8", "replace").decode()
    assert f"\n{expected} & " in (tmp_path / "tables" / "results.tex").read_text(encoding="utf-8")


def test_beyond_thirty_rows_tests_are_folded_away_and_none_is_lost(page, run):
    assert "6 further tests of NDCG@10" in page.text
    assert "72 tests of other metrics" in page.text
    found = tables_of_tests(View(run))
    assert [len(table.rows) for table in found] == [30, 6, 72]
    assert [table.summary is None for table in found] == [True, False, False]
    run["tests"] = run["tests"][:30]
    assert sum(len(table.rows) for table in tables_of_tests(View(run))) == 30


def test_all_of_the_protocol_is_on_the_page(page):
    text = "".join(page.text)
    for name in ("data.hash", "data.counts.interactions", "split.counts.validation", "mask_seen", "budget_minutes", "torch", "threads"):
        assert name in text


@pytest.mark.parametrize("case", ["nothing", "all failed", "one model", "no tests", "bare model"])
def test_a_run_in_which_little_happened_still_has_a_report(case, run, empty_run, tmp_path):
    finished = [model for model in run["models"] if model["status"] == "ok"]
    bare = {"name": "bare", "family": "id", "status": "ok", "slices": {"all": {"users": 1, "metrics": {"NDCG@10": {"mean": 0.1}}}}}
    empty_case = {
        "nothing": (empty_run, "The run had no models."),
        "all failed": (run | {"models": run["models"][9:], "tests": []}, "No model has figures."),
        "one model": (run | {"models": finished[:1], "tests": []}, "fewer than two models have figures"),
        "no tests": (run | {"tests": []}, "No two models were tested against one another."),
        "bare model": (empty_run | {"models": [bare]}, "No learning curve was recorded."),
    }
    comparison, said = empty_case[case]
    write_report(comparison, tmp_path)
    charts = {"one model": CHARTS[1:], "no tests": CHARTS, "bare model": CHARTS[2:]}.get(case, [])  # no chart without anything to draw
    assert written(tmp_path) == charts + FILES
    assert said in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_missing_matplotlib_is_named_with_its_extra_and_nothing_is_written(run, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if re.match(r"matplotlib(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib is not installed: run  pip install 'bertrec\[report\]'"):
        write_report(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(empty_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        write_report(empty_run, tmp_path / "file" / "folder")


def test_importing_the_report_loads_neither_matplotlib_nor_jinja():
    import subprocess

    code = "import sys, bertrec.comparison.report; print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
