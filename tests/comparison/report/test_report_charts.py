"""Charts: labels that do not lie on one another, the same bytes again, and figures that plotly accepts."""

import math
import re
import warnings
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertrec.comparison.report.charts_plotly import context, panels
from bertrec.comparison.report.curves import lines
from bertrec.comparison.report.scatter import scatter
from bertrec.comparison.report.view import View
from bertrec.pages import axes
from bertrec.pages.drawing import LABEL_WIDTHS
from bertrec.pages.palette import DARK, LIGHT
from bertrec.pages.wording import shortened

AREA = axes.Box(0, 0, 400, 300)


def boxes_of(points, offsets, widths, height):
    found = zip(points, offsets, widths, strict=True)
    return [axes.Box(x + dx - w / 2, y + dy - height / 2, x + dx + w / 2, y + dy + height / 2) for (x, y), (dx, dy), w in found]


def covered(boxes):
    return sum(a.overlap(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_a_lone_label_stands_just_right_of_its_point():
    assert axes.place_labels([(100, 100)], [40], height=12, area=AREA) == [(32.0, 0.0)]


def test_a_label_at_the_right_edge_stands_left_of_its_point():
    ((dx, dy),) = axes.place_labels([(395, 100)], [40], height=12, area=AREA)
    assert (dx, dy) == (-32.0, 0.0)


def test_labels_of_one_and_the_same_point_do_not_cover_one_another():
    points, widths = [(200, 150)] * 6, [60] * 6
    assert covered(boxes_of(points, axes.place_labels(points, widths, height=12, area=AREA), widths, 12)) == 0


@pytest.mark.parametrize("width", LABEL_WIDTHS)
def test_fifteen_models_of_like_quality_and_time_are_all_legible(crowded_run, width):
    found = scatter(View(crowded_run))
    inner, size = (width - 72, 448), 11
    offsets = found.label_offsets(*inner, size)
    points = [found._pixel(point, point.value, *inner) for point in found.points]
    widths = [axes.text_width(shortened(point.name), size) for point in found.points]
    boxes = boxes_of(points, offsets, widths, size * 1.3)
    assert len(boxes) == 15
    assert covered(boxes) == 0
    inside = axes.Box(-2, -2, inner[0] + 2, inner[1] + 2)
    assert all(box.overlap(inside) == pytest.approx(box.area) for box in boxes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0, 300)), min_size=1, max_size=6))
def test_a_few_labels_never_cover_one_another(points):
    widths = [50.0] * len(points)
    offsets = axes.place_labels(points, widths, height=12, area=AREA)
    assert covered(boxes_of(points, offsets, widths, 12)) == pytest.approx(0, abs=1e-6)


def test_time_ticks_are_times_that_people_say():
    axis = axes.time_axis([0.02, 4.1, 1200.0])
    assert axis.low < axes.SHORTEST  # what took no time stands at the shortest
    assert axis.high == 1800.0
    assert list(axis.ticks.values()) == ["0.1 s", "1 s", "10 s", "1 min", "10 min"]


@given(st.lists(st.floats(0, 1e6), max_size=8))
def test_a_time_axis_always_holds_its_times_and_a_tick(seconds):
    axis = axes.time_axis(seconds)
    assert axis.ticks
    assert all(axis.low <= max(value, axes.SHORTEST) <= axis.high for value in seconds)
    assert all(axis.low <= at <= axis.high for at in axis.ticks)


def test_value_ranges_hold_their_values_and_are_never_empty():
    assert axes.value_range([0.1, 0.2], from_zero=True) == (0.0, pytest.approx(0.212))
    low, high = axes.value_range([0.1, 0.1])
    assert low < 0.1 < high
    assert axes.value_range([]) == (pytest.approx(-0.06), pytest.approx(1.06))


def test_curves_leave_out_what_a_logarithmic_axis_cannot_hold():
    points = [{"seconds": 0.0, "metric": 0.1}, {"seconds": 1.0, "metric": None}, {"seconds": 2.0, "metric": 0.3}]
    (line,) = lines({"curves": [{"seed": 4, "settings": {}, "points": points}], "settings": {}})
    assert (line.seed, line.seconds, line.values) == (4, [2.0], [0.3])
    assert lines({"curves": [{"seed": 4, "settings": {}, "points": []}]}) == []


def test_curves_of_the_chosen_settings_are_drawn_on_top():
    point = [{"seconds": 1.0, "metric": 0.1}]
    curves = [{"seed": 0, "settings": {"lr": rate}, "points": point} for rate in (1, 2, 3)]
    assert [line.chosen for line in lines({"curves": curves, "settings": {"lr": 1}})] == [False, False, True]
    assert [line.chosen for line in lines({"curves": curves, "settings": {"lr": 9}})] == [True, True, True]


def test_plotly_accepts_every_figure(run):
    go = pytest.importorskip("plotly.graph_objects")
    view = View(run)
    found = [panel for name in ("quality_time", "slices", "curves") for panel in panels(view, name)]
    assert len(found) == 1 + 8 + 7  # cold items have no figure, two models have no curve
    for panel in found:
        for annotations in (panel.figure.get("labels") or {"": []}).values():
            go.Figure({"data": [*context(view), *panel.figure["data"]], "layout": panel.figure["layout"] | {"annotations": annotations}})


def test_a_name_in_a_figure_is_text_not_markup(run):
    run["models"][0]["name"] = "<b>bold</b>&"
    (panel,) = panels(View(run), "quality_time")
    texts = [note["text"] for note in panel.figure["labels"]["280"]]
    assert "&lt;b&gt;bold&lt;/b&gt;&amp;" in texts


def test_points_stand_at_their_time_figure_and_interval(run):
    (panel,) = panels(View(run), "quality_time")
    text = panel.figure["data"][0]
    assert text["name"] == "text models"
    assert text["x"] == [412.0, 390.0, 1190.0, 505.0]
    assert text["y"] == [0.1043, 0.0912, 0.0870, 0.0641]
    assert text["error_y"]["array"][0] == pytest.approx(3 * 0.1043 / math.sqrt(943))
    assert {trace["marker"]["symbol"] for trace in panel.figure["data"]} == {"circle", "diamond"}


def test_every_colour_of_a_figure_is_defined_for_both_schemes(run):
    used = set(
        re.findall(
            r"var\(--([\w-]+)\)", repr([panel.figure for name in ("quality_time", "slices", "curves") for panel in panels(View(run), name)])
        )
    )
    assert used
    assert used <= set(LIGHT)
    assert set(LIGHT) == set(DARK)


def test_the_same_comparison_gives_the_same_svg(run):
    matplotlib = pytest.importorskip("matplotlib")
    from bertrec.comparison.report.charts_svg import svg_charts

    first = svg_charts(View(run))
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.hashsalt": "other"}):  # a reader's own settings change nothing
        again = svg_charts(View(run))
        assert matplotlib.rcParams["font.size"] == 30
    assert first == again
    for chart in first.values():
        ET.fromstring(chart)
        assert b"<dc:date>" not in chart


def test_names_in_an_svg_are_text_and_never_formulae(run):
    pytest.importorskip("matplotlib")
    from bertrec.comparison.report.charts_svg import svg_charts

    run["models"][0]["name"] = "a$x^{$b"
    run["models"][1]["name"] = "<i>&</i>"
    run["models"][2]["name"] = "推荐"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # our font has no such letters; the reader's may
        charts = svg_charts(View(run))
    for name in ("quality_time", "slices"):
        words = {element.text for element in ET.fromstring(charts[name]).iter("{http://www.w3.org/2000/svg}text")}
        assert {"a$x^{$b", "<i>&</i>", "推荐"} <= words
