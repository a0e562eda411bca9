"""The charts of a comparison: points at their figures, names that never lie on one another, the same bytes again."""

import math
import warnings
import xml.etree.ElementTree as ET

import pytest

from bertrec.comparison.report import charts
from bertrec.comparison.view import View
from bertrec.pages.charts import FAMILY_NAMES, MARKERS, svg_bytes, svg_style

pytest.importorskip("matplotlib")
from matplotlib.text import Text


@pytest.fixture(autouse=True)
def style():
    with svg_style():
        yield


def texts_of(figure):
    return {element.text for element in ET.fromstring(svg_bytes(figure)).iter("{http://www.w3.org/2000/svg}text")}


def boxes_of(figure, texts):
    figure.draw_without_rendering()
    return [Text.get_window_extent(text) for text in texts]  # of an annotation without its line


def covered(boxes):
    return [(a, b) for place, a in enumerate(boxes) for b in boxes[:place] if a.overlaps(b)]


def test_curves_leave_out_what_a_logarithmic_axis_cannot_hold():
    points = [{"seconds": 0.0, "metric": 0.1}, {"seconds": 1.0, "metric": None}, {"seconds": 2.0, "metric": 0.3}]
    assert charts.lines({"curves": [{"settings": {}, "points": points}], "settings": {}}) == [(True, [2.0], [0.3])]
    assert charts.lines({"curves": [{"settings": {}, "points": []}]}) == []


def test_curves_of_the_chosen_settings_are_drawn_on_top():
    point = [{"seconds": 1.0, "metric": 0.1}]
    curves = [{"settings": {"lr": rate}, "points": point} for rate in (1, 2, 3)]
    assert [chosen for chosen, _, _ in charts.lines({"curves": curves, "settings": {"lr": 1}})] == [False, False, True]
    assert [chosen for chosen, _, _ in charts.lines({"curves": curves, "settings": {"lr": 9}})] == [True, True, True]


def test_points_stand_at_their_time_figure_and_interval(run):
    (axes,) = charts.quality_time(View(run)).axes
    drawn = [(container.get_label(), container.lines[0], container.lines[2][0].get_segments()[0]) for container in axes.containers]
    found = [(name, line.get_xdata()[0], line.get_ydata()[0]) for name, line, _ in drawn if name == "text models"]
    assert found == [("text models", x, y) for x, y in ((412.0, 0.1043), (390.0, 0.0912), (1190.0, 0.0870), (505.0, 0.0641))]
    half = 3 * 0.1043 / math.sqrt(943)
    assert drawn[0][2][:, 1].tolist() == pytest.approx([0.1043 - half, 0.1043 + half])
    marks = {name: line.get_marker() for name, line, _ in drawn}
    assert marks == {FAMILY_NAMES[kind]: MARKERS[kind] for kind in ("text", "id")}
    assert min(line.get_xdata()[0] for _, line, _ in drawn) == 0.1  # what took no time stands at the shortest
    said = [text.get_text() for text in axes.get_xticklabels()]
    assert said == ["0.1 s", "1 s", "10 s", "1 min", "10 min"]


@pytest.mark.parametrize("crowd", [False, True])
def test_names_never_lie_on_one_another_and_stay_in_the_picture(crowd, run, crowded_run):
    figure = charts.quality_time(View(crowded_run if crowd else run))
    names = figure.axes[0].texts
    boxes = boxes_of(figure, names)
    assert len(boxes) == (15 if crowd else 9)
    assert covered(boxes) == []
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize("name", ["quality_time", "slices", "curves"])
def test_labels_of_axes_and_titles_do_not_touch(name, run):
    figure = getattr(charts, name)(View(run))
    figure.draw_without_rendering()
    for axes in (axes for axes in figure.axes if axes.get_visible()):
        for side in (axes.xaxis, axes.yaxis):
            shown = [label for label in side.get_ticklabels() if label.get_visible() and label.get_text()]
            assert covered([label.get_window_extent() for label in shown]) == []
    titles = [axes._left_title for axes in figure.axes if axes._left_title.get_text()]
    assert covered([title.get_window_extent() for title in titles]) == []


def test_there_is_a_panel_per_slice_that_has_figures_and_a_bar_per_model(run):
    panels = charts.slices(View(run)).axes
    shown = [axes for axes in panels if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown][:2] == ["all users, 943 users", "few-shot items, 61 users"]
    assert len(shown) == 8  # cold items have no figure
    assert [bar.get_width() for bar in shown[0].patches] == pytest.approx([row.get("mean") for row in _figures(run)])


def _figures(run):
    return [model["slices"]["all"]["metrics"]["NDCG@10"] for model in View(run).ranked]


def test_there_is_a_panel_per_model_that_has_curves_and_slow_ones_are_said(run):
    shown = [axes for axes in charts.curves(View(run)).axes if axes.get_visible()]
    slow = {axes.get_title(loc="left") for axes in shown if axes.texts}
    assert len(shown) == 7  # two models have no curve
    assert slow == {"recbole:SASRec", "morec", "recbole:BERT4Rec"}
    assert all(len(axes.lines) == 20 + len(model["seeds"]) for axes, model in zip(shown, View(run).ranked, strict=False))


def test_a_slice_in_which_no_model_hits_is_no_empty_panel(run):
    for model in run["models"]:
        for figure in ((model["slices"].get("tail_items") or {}).get("metrics") or {}).values():
            figure |= {"mean": 0.0, "ci95": [0.0, 0.0]}
    panel = next(axes for axes in charts.slices(View(run)).axes if axes.get_title(loc="left").startswith("tail"))
    assert [text.get_text() for text in panel.texts] == ["all figures are 0"]


def test_a_model_without_a_figure_of_a_slice_has_no_bar(run):
    best = next(model for model in run["models"] if model["name"] == "unisrec:text+id")
    del best["slices"]["tail_items"]
    panel = next(axes for axes in charts.slices(View(run)).axes if axes.get_title(loc="left").startswith("tail"))
    assert math.isnan(panel.patches[0].get_width())
    assert not math.isnan(panel.patches[1].get_width())


@pytest.mark.parametrize("name", ["quality_time", "slices", "curves"])
def test_the_same_comparison_gives_the_same_svg(name, run):
    import matplotlib

    draw = getattr(charts, name)
    first = svg_bytes(draw(View(run)))
    with matplotlib.rc_context({"font.size": 30, "axes.grid": False, "svg.hashsalt": "other"}):  # a reader's own settings change nothing
        with svg_style():
            again = svg_bytes(draw(View(run)))
        assert matplotlib.rcParams["font.size"] == 30
    assert first == again
    assert b"<dc:date>" not in first


def test_names_in_an_svg_are_text_and_never_formulae(run):
    run["models"][0]["name"] = "a$x^{$b"
    run["models"][1]["name"] = "<i>&</i>"
    run["models"][2]["name"] = "推荐"
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # our font has no such letters; the reader's may
        with svg_style():
            for draw in (charts.quality_time, charts.slices):
                assert {"a$x^{$b", "<i>&</i>", "推荐"} <= texts_of(draw(View(run)))
