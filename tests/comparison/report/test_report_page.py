"""The files as a whole: what is written, what is escaped, what the page would fetch, and runs in which little or nothing happened."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest

from bertrec.comparison.report import tables_tests, write_report
from bertrec.comparison.report.view import View
from bertrec.core.errors import BertrecError, MissingExtraError
from bertrec.pages.blocks import Cell, Column, Table
from bertrec.pages.html_blocks import embedded_json, table_html

pytest.importorskip("plotly")
pytest.importorskip("matplotlib")

EVIL = "<script>alert(1)</script>"
FILES = [
    "charts/curves.svg",
    "charts/quality_time.svg",
    "charts/slices.svg",
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


def test_all_files_are_written_and_returned(empty_run, tmp_path):
    returned = write_report(empty_run, tmp_path / "new" / "folder")
    assert sorted(path.relative_to(tmp_path / "new" / "folder").as_posix() for path in returned) == FILES
    assert written(tmp_path / "new" / "folder") == FILES


def test_the_same_comparison_gives_the_same_files_and_is_left_as_it_was(run, report, tmp_path):
    before = json.dumps(run)
    write_report(run, tmp_path)
    assert json.dumps(run) == before
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == {name: (report / name).read_bytes() for name in FILES}


def test_the_page_would_fetch_nothing(page):
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "data", "poster", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        if "href" in attributes:
            assert (tag, attributes["href"][0]) == ("a", "#")
        assert "style" not in attributes
    styles = " ".join(page.styles)
    assert "@import" not in styles
    assert "url(" not in styles
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_sections_stand_in_their_order(page):
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert anchors == ["not", "models", "time", "slices", "curves", "tests", "searches", "beyond", "protocol"]
    links = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert links == [f"#{name}" for name in anchors[1:]]


def test_a_name_that_means_harm_is_text_and_no_tag(page, report):
    assert sum(tag == "script" for tag, _ in page.tags) == 3  # the figures, plotly.js, the page's own
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
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert all(attributes.get("src", "data:").startswith("data:") for tag, attributes in found.tags if tag == "img")
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert "<script" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_embedded_json_cannot_close_its_script_and_reads_back():
    value = {"a": "</script><!--", "b": ["<", 1.5, None]}
    text = embedded_json(value)
    assert "<" not in text
    assert json.loads(text) == value


def test_embedded_figures_read_back(page):
    stored = json.loads(page.scripts[0])
    assert set(stored) == {"figures", "context"}
    drawn = [attributes["data-figure"] for _, attributes in page.tags if "data-figure" in attributes]
    assert sorted(drawn) == sorted(stored["figures"])
    assert len(drawn) == 16


def test_a_table_says_its_keys_its_order_and_what_stays_last():
    columns = [Column("model"), Column("x", numeric=True), Column("y")]
    html = table_html(Table("T", columns, [[Cell("a", "a"), Cell("1.0", 1.0)]], last=[[Cell("b"), Cell("failed")]], sorted_by="x"))
    assert '<th scope="col" class="number" aria-sort="descending"><button type="button">x</button></th>' in html
    assert '<td class="number" data-key="1.0">1.0</td>' in html
    assert '<tbody class="last"><tr><th scope="row">b</th><td colspan="2">failed</td></tr></tbody>' in html


def test_beyond_thirty_rows_tests_are_folded_away(page, run):
    assert "78 further tests" in "".join(page.text)
    run["tests"] = run["tests"][:30]
    _, table = tables_tests.tests_blocks(View(run), all_metrics=True)
    assert (len(table.rows), table.summary) == (30, None)


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
    assert written(tmp_path) == FILES
    assert said in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert said in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("package", ["plotly", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra_and_nothing_is_written(package, run, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if re.match(rf"{package}(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: run  pip install 'bertrec\[report\]'"):
        write_report(run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(empty_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        write_report(empty_run, tmp_path / "file" / "folder")


def test_importing_the_report_loads_neither_plotly_nor_matplotlib():
    import subprocess

    code = "import sys, bertrec.comparison.report; print(sorted({'plotly', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
