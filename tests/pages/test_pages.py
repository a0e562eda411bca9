"""What every report is made of: texts, tables, charts in a page, and how much code draws them."""

import doctest
import importlib
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import bertrec
from bertrec.pages import wording
from bertrec.pages.blocks import Cell, Chart, Document, Section, Table, label
from bertrec.pages.charts import DARK, LIGHT, inline_svg
from bertrec.pages.render import rendered, write_document

PACKAGE = Path(bertrec.__file__).parent
REPORTS = ["pages/*", "comparison/report/*", "tuning/report/*", "studies/*/report.py"]
FILES = sorted(path for pattern in REPORTS for path in PACKAGE.glob(pattern) if path.is_file())
SVG = "{http://www.w3.org/2000/svg}"


def test_all_code_of_reports_together_is_short():
    lines = {path: path.read_text(encoding="utf-8").splitlines() for path in FILES}
    code = [line for path, own in lines.items() if path.suffix in (".py", ".js", ".css") for line in own]
    assert 1000 < len(code) < 2000
    assert sum(map(len, lines.values())) < 2100  # with the templates
    assert max(map(len, code)) <= 140


def test_every_chart_is_drawn_once_and_by_matplotlib_alone():
    names = {
        path.parent.parent.name: re.findall(r"Chart\(\"(\w+)\"", path.read_text(encoding="utf-8"))
        for path in PACKAGE.glob("*/report/content.py")
    }
    assert names == {
        "comparison": ["quality_time", "slices", "curves"],
        "tuning": ["front", "history", "importances", "slices", "parallel", "curves", "times"],
    }
    for folder, drawn in names.items():
        code = (PACKAGE / folder / "report" / "charts.py").read_text(encoding="utf-8")
        assert [len(re.findall(rf"^def {name}\(", code, re.MULTILINE)) for name in drawn] == [1] * len(drawn)
    texts = [path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.*") if path.suffix in (".py", ".js", ".html", ".toml")]
    assert not any("plotly" in text.casefold() for text in texts)


def test_the_example_of_escaping_holds():
    found = doctest.testmod(importlib.import_module("bertrec.pages.render"))
    assert (found.attempted, found.failed) == (1, 0)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (wording.number(None), "–"),
        (wording.number(0.12345), "0.1235"),
        (wording.signed(0.0123), "+0.0123"),
        (wording.signed(-0.01), "−0.0100"),
        (wording.signed(None), "–"),
        (wording.figure_text(0.12345), "0.1235"),
        (wording.figure_text(1250.0), "1250"),
        (wording.figure_text(0.00012345), "0.00012"),
        (wording.figure_text(None), "–"),
        (wording.figure_text(0.0), "0.0000"),
        (wording.interval([0.09, 0.11]), "[0.0900, 0.1100]"),
        (wording.interval([-0.09, 0.11]), "[−0.0900, 0.1100]"),
        (wording.interval(None), ""),
        (wording.p_value(None), "–"),
        (wording.p_value(0.0002), "< 0.001"),
        (wording.p_value(0.04), "0.040"),
        (wording.duration(0.25), "0.2 s"),
        (wording.duration(42.0), "42 s"),
        (wording.duration(95.0), "1.6 min"),
        (wording.duration(5400.0), "1.5 h"),
        (wording.duration(None), "–"),
        (wording.shortened("abcdefghij", 5), "ab…ij"),
        (wording.shortened("a\ud800\x00b"), "a��b"),
        (wording.counted(1, "trial"), "1 trial"),
        (wording.counted(3, "trial"), "3 trials"),
        (wording.listed(["a", "b", "c"]), "a, b and c"),
        (wording.listed(["a"]), "a"),
        (
            wording.settings_text({"a": True, "b": None, "c": 0.0003, "d": "last:2", "e": [1, 2]}),
            "a = true, b = null, c = 0.0003, d = last:2, e = [1, 2]",
        ),
        (wording.settings_text({}), "the defaults"),
        (wording.plain({"a": {"b": [1, True, None]}, "c": 0.1234567}), "a = b = 1, yes, –, c = 0.123457"),
        (wording.plain([]), "none"),
    ],
)
def test_each_number_and_setting_has_one_way_of_being_written(written, said):
    assert written == said


def test_a_figure_shows_its_spread_only_where_there_were_several_seeds():
    figure = {"mean": 0.1, "sd": 0.002, "ci95": [0.09, 0.11]}
    assert wording.figure_cell(figure, 3, mark="▲") == Cell("0.1000 ± 0.0020 ▲", 0.1, "[0.0900, 0.1100]")
    assert wording.figure_cell(figure, 1).text == "0.1000"
    assert wording.figure_cell(None, 3) == Cell("–")


def test_a_long_reason_is_cut_to_one_line():
    said = wording.one_line("a\nb " + "x" * 999)
    assert said.startswith("a b xxx")
    assert (len(said), said[-1]) == (300, "…")


def test_nested_values_have_dotted_names_and_empty_ones_stay():
    assert wording.flattened({"split": {"method": "time", "none": {}}, "ks": [5, 10]}) == {
        "split.method": "time",
        "split.none": {},
        "ks": [5, 10],
    }
    rest, apart = wording.values_tables("All", {"a": 1, "versions": {"x": "2"}}, {"versions": "Versions", "machine": "Machine"})
    assert (rest.rows, apart.caption, apart.rows) == ([["a", "1"]], "Versions", [["x", "2"]])


def page_of(*blocks):
    return rendered(Document("T", "V", "W", [Section("first", "First", blocks), Section("none", "None", ["", None, []])]), "page.html", {})


def test_a_table_says_its_keys_its_order_and_what_stays_last():
    table = Table(
        "T", ["model", "x", "y"], [["a", Cell("1.0", 1.04, "below"), "z"]], last=[["b", label("failed", badge="bad")]], sorted_by="x"
    )
    html = page_of(table)
    assert '<th scope="col" class="number" aria-sort="descending"><button type="button">x</button></th>' in html
    assert '<td class="number" data-key="1.04">1.0<small>below</small></td><td>z</td></tr>' in html
    last = '<th scope="row">b</th><td class="number" colspan="2"><span class="badge bad">failed</span></td></tr>'
    assert f'<tbody class="last"><tr>{last}' in html
    plain = page_of(Table("T", ["a"], [["b"]], sortable=False))
    assert "<button" not in plain
    assert '<table class="plain">' in plain


def test_a_column_holds_numbers_unless_it_has_a_text_to_sort_by():
    rows = [["a", Cell("–"), Cell("–")], ["b", Cell("1", 1), label("c")]]
    assert [numeric for _, numeric in Table("T", ["x", "y", "z"], rows).heads] == [False, True, False]
    assert [numeric for _, numeric in Table("T", ["x", "y"], []).heads] == [False, False]
    with pytest.raises(ValueError, match="zip"):
        _ = Table("T", ["x"], [["a", "b"]]).heads


def test_sections_without_blocks_are_left_out_of_both_files():
    document = Document("T", "V", "W", [Section("first", "First", ["text", ["a", "b"]]), Section("none", "None", ["", None, []])])
    assert rendered(document, "page.md", {}) == "# T\n\n**V**\n\nW\n\n## First\n\ntext\n\n- a\n- b\n"
    html = rendered(document, "page.html", {})
    assert "<p>text</p>" in html
    assert "None" not in html


def test_markdown_leaves_out_what_is_for_the_page_only_and_keeps_rows_whole():
    tables = [Table("A|B", ["x", "n"], [["a|b", Cell("1", 1, "[0, 2]")]], last=[["c"]]), Table("C", ["x"], [["d"]], page_only=True)]
    text = rendered(Document("T", "V", "W", [Section("s", "S", tables)]), "page.md", {})
    assert text.endswith("A\\|B:\n\n| x | n |\n| --- | ---: |\n| a\\|b | 1 [0, 2] |\n| c |  |\n")


def draw(text="<script>]]>\"'&"):
    from matplotlib.figure import Figure

    figure = Figure()
    axes = figure.subplots()
    axes.bar([0, 1], [1, 2], color=LIGHT["family-id"], hatch="//")
    axes.plot([0, 1], [1, 2], "o", color=LIGHT["ink"])
    axes.set_title(text)
    return figure


def test_a_chart_in_the_page_takes_every_colour_from_it_and_the_file_none(tmp_path):
    pytest.importorskip("matplotlib")
    write_document(Document("T", "V", "W", [Section("s", "S", [Chart("one", "says <it>", draw), Chart("two", "b", draw)])]), tmp_path)
    file = (tmp_path / "charts" / "one.svg").read_text(encoding="utf-8")
    assert "var(" not in file
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    charts = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(charts) == 2
    used = set(re.findall(r"var\(--([\w-]+)\)", charts[0]))
    assert {"paper", "ink", "quiet", "rule", "family-id"} <= used <= set(LIGHT)
    assert not set(re.findall(r"#[0-9a-f]{6}\b", charts[0]))
    assert 'aria-label="says &lt;it&gt;"' in html
    words = {element.text for element in ET.fromstring(charts[0]).iter(f"{SVG}text")}
    assert "<script>]]>\"'&" in words
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_both_schemes_name_the_same_colours_and_no_two_share_a_light_one():
    assert set(LIGHT) == set(DARK)
    assert len(set(LIGHT.values())) == len(LIGHT)


def test_a_text_that_looks_like_an_attribute_or_a_colour_is_left_alone():
    text = f'id="b" url(#a) {LIGHT["ink"]} 1.2345'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"><metadata/><defs/><g id="a"><text id="b">{text}</text></g></svg>'
    root = ET.fromstring(inline_svg(svg, "c"))
    assert root[0].attrib["id"] == "c-a"
    assert root[0][0].text == text
