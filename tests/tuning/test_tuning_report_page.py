"""The page and its Markdown: what they say of studies whose answers are known, and that no text of a study becomes code."""

import math
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parent))
import tuning_report_studies as studies
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from bertrec.core.errors import BertrecError, MissingExtraError
from bertrec.pages.charts import svg_style
from bertrec.tuning.report import charts, write_tuning_report
from bertrec.tuning.report.content import beside_default, regression, title, verdict
from bertrec.tuning.report.tables import trials_table
from bertrec.tuning.statistics import parameter_importances
from bertrec.tuning.study_view import read_study

COMPLETE = TrialState.COMPLETE


class Page(HTMLParser):
    """What a browser would see: tags with their attributes, visible text, scripts apart."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.open, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        inside = self.open[-1] if self.open else ""
        (self.scripts if inside == "script" else [] if inside == "style" else self.text).append(data)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    write_tuning_report(studies.large(), folder, about=studies.ABOUT)
    return folder


def view_of(study, **about):
    return read_study(study, about)


@pytest.fixture(autouse=True)
def style():
    with svg_style():
        yield


def traces(axes):
    """What is drawn, by its name in the legend: x and y, None where a line breaks."""
    found = {}
    for line in axes.lines:
        x, y = ([None if math.isnan(value) else value for value in map(float, values)] for values in line.get_data())
        found[line.get_label()] = (x, y)
    return found


def importances_of(study):
    view = view_of(study)
    return parameter_importances(view.study, view.measured)


def both(study, folder, **about):
    write_tuning_report(study, folder, about=about)
    return (folder / "index.html").read_text(encoding="utf-8"), (folder / "report.md").read_text(encoding="utf-8")


def test_the_sentence_counts_and_compares():
    said = verdict(view_of(studies.small(), metric="NDCG@10"))
    assert said.startswith("Best NDCG@10 0.1200, by trial 1. That is 0.0200 (20.0 %) above the default's 0.1000.")
    assert "3 trials done, 1 pruned, 1 failed, 1 running, 1 waiting, in 1.7 min of trials." in said  # 30 + 30 + 10 + 2 + 30 s
    assert re.search(r"Picking the best of 3 is expected to overstate it by up to 0\.000\d+\.$", said)


def test_the_noise_is_the_median_standard_error_of_completed_trials():
    assert view_of(studies.small()).standard_error == 0.004


def test_where_smaller_is_better_all_of_it_turns_round():
    study = studies.make(("minimize",))
    for number, value in enumerate((3.0, 2.0, 2.5)):
        studies.add(study, COMPLETE, [value], attrs={"default": number == 0, "standard_error": 1.0})
    view = view_of(study, metric="loss")
    assert view.best.number == 1
    assert beside_default(view) == "That is 1.0000 (33.3 %) below the default's 3.0000."
    # Three figures that spread less than their noise count as equal: 0.8463 standard errors.
    assert view.regression == pytest.approx(0.8463, rel=0.03)
    assert f"about {2.0 + view.regression:.4f} is to be expected instead of 2.0000" in regression(view)
    assert traces(charts.history(view).axes[0])["best so far"] == ([0.0, 1.0, 2.0, 2.0], [3.0, 2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([("fail", True), ("ok", False)], "The default's trial 0 has no figure to hold it against."),
        ([("ok", False)], "No trial of the default settings stands beside it."),
        ([("ok", True)], "No trial was better than the default's."),
        ([("fail", True), ("ok", True), ("better", False)], "above the default's 0.1000"),  # the default was run again
    ],
)
def test_the_default_may_be_absent_failed_or_the_best(states, said):
    study = studies.make()
    for state, default in states:
        values = {"fail": None, "ok": [0.1], "better": [0.2]}[state]
        studies.add(study, TrialState.FAIL if values is None else COMPLETE, values, attrs={"default": default})
    assert said in beside_default(view_of(study))


def test_equals_go_to_the_first_and_broken_constraints_win_nothing():
    study = studies.make()
    for value in (0.1, 0.3, 0.3):
        studies.add(study, COMPLETE, [value])
    assert view_of(study).best.number == 1
    studies.add(study, COMPLETE, [0.9], system={"constraints:memory": 1.0})
    assert view_of(study).best.number == study.best_trial.number == 1


def test_what_is_infinite_is_neither_best_nor_drawn(tmp_path):
    study = studies.make()
    for value in (0.1, float("inf"), 0.2):
        studies.add(study, COMPLETE, [value], params={"x": (value if value < 1 else 0.9, FloatDistribution(0, 1))})
    assert view_of(study).best.number == 2
    both(study, tmp_path)
    for chart in (tmp_path / "charts").iterdir():
        text = chart.read_text(encoding="utf-8").casefold()
        assert "inf" not in text.replace("infin", "inf")
        assert not re.search(r"\bnan\b", text)


def test_the_front_is_what_nothing_dominates():
    view = view_of(studies.two_objectives())
    assert [trial.number for trial in view.front] == [2, 1, 3]
    assert view.best is None
    assert "3 trials on the Pareto front; the best of each objective: NDCG@10 0.1200 (trial 2), latency 1.0000 (trial 3)." in verdict(view)
    (axes,) = charts.front(view).axes
    found = traces(axes)
    assert found["Pareto front"] == ([0.12, 0.10, 0.08], [5.0, 2.0, 1.0])
    assert found["other trials"] == ([0.09, 0.12], [3.0, 6.0])
    assert found["the default: trial 0"] == ([0.09], [3.0])
    assert axes.lines[0].get_drawstyle() == "steps-post"  # nothing between two trials was reached


def test_one_objective_has_no_front_and_three_have_a_table_only(tmp_path):
    page, _ = both(studies.small(), tmp_path / "one")
    assert "charts/front.svg" not in page
    assert not (tmp_path / "one" / "charts" / "front.svg").exists()
    study = studies.make(("maximize", "minimize", "maximize"))
    studies.add(study, COMPLETE, [1.0, 1.0, 1.0])
    studies.add(study, COMPLETE, [0.5, 2.0, 1.0])
    page, text = both(study, tmp_path)
    assert "1 trial on the Pareto front" in page
    assert not (tmp_path / "charts" / "front.svg").exists()
    assert "| 0 | 1.0000 | 1.0000 | 1.0000 | no parameters |" in text


def test_the_best_so_far_is_a_step():
    (axes,) = charts.history(view_of(studies.small())).axes
    assert axes.lines[0].get_drawstyle() == "steps-post"
    found = traces(axes)
    assert found["best so far"] == ([0, 1, 4, 6], [0.10, 0.12, 0.12, 0.12])
    assert found["the default: trial 0"] == ([0], [0.10])
    assert found["best: trial 1"] == ([1], [0.12])


def test_curves_leave_out_what_is_not_finite_and_mark_where_a_trial_was_pruned():
    found = traces(charts.curves(view_of(studies.small())).axes[0])
    assert list(found) == ["pruned", "where it was pruned", "still running", "completed", "best"]
    assert found["where it was pruned"] == ([1], [0.03])
    assert found["completed"] == ([1, 2, None, 1, 3, None], [0.06, 0.10, None, 0.07, 0.11, None])
    assert found["best"] == ([1, 2, None], [0.08, 0.12, None])


def test_chunks_of_users_are_not_called_learning_curves(tmp_path):
    page, _ = both(studies.small(), tmp_path, pruner="wilcoxon")
    assert "Figures by chunk of users" in page
    assert "Learning curves" not in page


def test_times_are_bars_by_state():
    (axes,) = charts.times(view_of(studies.small())).axes
    found = {bars.get_label(): [(bar.get_x() + 0.4, bar.get_height()) for bar in bars] for bars in axes.containers}
    assert {name: [(pytest.approx(x), y) for x, y in bars] for name, bars in found.items()} == {
        "pruned": [(2, 10.0)],
        "failed": [(3, 2.0)],
        "completed": [(0, 30.0), (1, 30.0), (4, 30.0)],
    }
    hatches = {bars.get_label(): bars[0].get_hatch() for bars in axes.containers}
    assert len(set(hatches.values())) == 3
    assert axes.get_ylabel() == "seconds"


def test_slices_hold_what_varied_with_logarithms_and_choices_in_their_order():
    view = view_of(studies.small())
    scales = charts.varied_scales(view, ["head.layers"])
    panels = [axes for axes in charts.slices(view, scales).axes if axes.get_visible()]
    found = {axes.get_title(loc="left"): axes for axes in panels}
    # The parameter with the harmful name never changed, and one trial alone had experts.
    assert list(found) == ["head.layers", "train.learning_rate", "item.adaptor", "train.patience"]
    assert [axes.get_xscale() for axes in panels] == ["linear", "log", "linear", "linear"]
    assert [label.get_text() for label in found["train.patience"].get_xticklabels()] == ["null", "auto", "true"]
    assert traces(found["train.patience"])["completed"][0] == [1.0, 0.0, 2.0]
    assert list(traces(found["head.layers"])) == ["completed", "the default: trial 0", "best: trial 1"]


@pytest.mark.parametrize(("low", "high"), [(2e-4, 8e-4), (1e-4, 5e-3), (1e-5, 1e-1)])
def test_a_logarithmic_axis_has_some_ticks_whatever_it_spans(low, high):
    study = studies.make()
    for number, value in enumerate((low, (low * high) ** 0.5, high)):
        studies.add(study, COMPLETE, [0.1 * number], params={"rate": (value, FloatDistribution(1e-6, 1, log=True))})
    view = view_of(study)
    drawn = charts.slices(view, charts.varied_scales(view))
    drawn.draw_without_rendering()
    axes = drawn.axes[0]
    left, right = axes.get_xlim()
    shown = [label for at, label in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True) if left <= at <= right]
    assert 2 <= len(shown) <= 7
    boxes = [label.get_window_extent() for label in shown]
    assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_lines_of_trials_pass_beside_a_parameter_that_they_do_not_use():
    view = view_of(studies.large())
    scales = charts.varied_scales(view)
    (axes,) = charts.parallel(view, scales).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    row = names.index("head.experts")
    found = traces(axes)
    assert list(found) == ["other trials", "the best tenth", "best"]
    places = [x for x, y in zip(*found["other trials"], strict=True) if y == row]
    assert min(places) < 0 <= sorted(places)[-1] <= 1
    assert sum(text.get_text() == "–" for text in axes.texts) == 1
    assert len(found["best"][0]) == len(names) + 1


def test_one_two_and_true_are_three_choices():
    study = studies.make()
    kind = CategoricalDistribution((1, True, "1"))
    for number, value in enumerate((True, 1, "1")):
        studies.add(study, COMPLETE, [0.1 * number], params={"x": (value, kind)})
    (scale,) = charts.varied_scales(view_of(study))
    assert (scale.places, scale.choices) == ({0: 1.0, 1: 0.0, 2: 2.0}, ["1", "true", "1"])
    assert scale.shares() == {0: 0.5, 1: 0.0, 2: 1.0}


@pytest.mark.parametrize("name", ["history", "slices", "parallel", "curves", "times", "importances"])
def test_texts_of_a_chart_do_not_cover_one_another(name, large):
    root = ET.parse(large / "charts" / f"{name}.svg").getroot()
    assert len(list(root.iter("{http://www.w3.org/2000/svg}text"))) > 8
    view = view_of(studies.large())
    importances = importances_of(view.study)
    given = {"slices": [charts.varied_scales(view)], "parallel": [charts.varied_scales(view)]}.get(name, [])
    drawn = charts.importances(importances.shares) if name == "importances" else getattr(charts, name)(view, *given)
    drawn.draw_without_rendering()
    for axes in (axes for axes in drawn.axes if axes.get_visible()):
        ticks = [tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()]  # those within the axes
        texts = [text for text in (*ticks, *axes.texts, axes._left_title) if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent() for text in texts]
        assert not any(a.overlaps(b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_importances_name_what_the_figure_hangs_on_and_say_when_they_cannot():
    found = importances_of(studies.large())
    assert next(iter(found.shares)) == "train.learning_rate"
    assert found.shares["train.learning_rate"] > 0.5
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.best_trials == 5
    few = importances_of(studies.small())
    assert few.note == "Too few completed trials to say which parameters mattered: 3 trials, and 10 are needed."
    assert not few.shares


def test_equal_figures_and_equal_settings_tell_no_importance():
    flat, same = studies.make(), studies.make()
    for number in range(12):
        studies.add(flat, COMPLETE, [0.1], params={"x": (number / 12, FloatDistribution(0, 1))})
        studies.add(same, COMPLETE, [number / 12], params={"x": (0.5, FloatDistribution(0.5, 0.5))})
    assert "same figure" in importances_of(flat).note
    assert "No parameter took different values" in importances_of(same).note


def test_all_trials_stand_in_the_table_with_the_parameters_that_changed():
    view = view_of(studies.small())
    table = trials_table(view)
    assert [row[0].text for row in table.rows] == [str(number) for number in range(7)]
    assert [(row[1].text, row[1].below) for row in table.rows[:3]] == [("complete", "default"), ("complete", "best"), ("pruned", "")]
    assert [row[2].text for row in table.rows] == ["0.1000", "0.1200", "–", "–", "0.1100", "–", "–"]
    assert [row[2].key for row in table.rows][2] is None
    kinds = dict(table.heads)
    assert (kinds["train.learning_rate"], kinds["item.adaptor"], kinds["train.patience"]) == (True, False, False)
    assert table.summary is None


def test_beyond_fifty_trials_the_table_is_folded_away(large):
    page = (large / "index.html").read_text(encoding="utf-8")
    assert "<details><summary>All 64 trials</summary>" in page
    study = studies.make()
    for _ in range(50):
        studies.add(study, COMPLETE, [0.1])
    assert trials_table(view_of(study)).summary is None
    assert view_of(study).varying == []


def test_failed_trials_stand_there_with_their_reasons(tmp_path):
    page, text = both(studies.small(), tmp_path)
    assert "the loss is not finite &lt;script&gt;alert(1)&lt;/script&gt; at step 3" in page
    assert "| 3 | the loss is not finite &lt;script&gt;" in text
    study = studies.make()
    studies.add(study, TrialState.FAIL, attrs={"reason": "x" * 1000})
    studies.add(study, TrialState.FAIL)
    _, text = both(study, tmp_path)
    assert "x" * 299 + "…" in text
    assert "no reason was recorded" in text
    assert "No trial has a figure: 0 trials done, 0 pruned, 2 failed" in text


def test_the_test_split_has_a_section_only_where_it_was_read(large, tmp_path):
    page, text = both(studies.small(), tmp_path)
    assert 'id="test"' not in page
    assert "Anything about the test split: it was not read." in text
    text = (large / "report.md").read_text(encoding="utf-8")
    assert "The test split was read once, after the search, for the winner, and for the default settings beside it" in text
    assert "| NDCG@10 | 0.1052 ± 0.0007 [0.0990, 0.1114] | 0.1001 ± 0.0011 [0.0941, 0.1062] | +0.0051 |" in text
    assert "the winner is better than the defaults, difference +0.0051 [0.0020, 0.0080]." in text
    assert "it was not read" not in text


def test_test_figures_without_a_default_or_an_interval(tmp_path):
    test = {"seeds": [0], "metrics": {"HR@10": {"mean": 0.2, "ci95": None, "sd": None}}}
    _, text = both(studies.small(), tmp_path, test=test)
    assert "for the winner: no trial was chosen by it. Mean over 1 seed (0);" in text
    assert "| HR@10 | 0.2000 |" in text


def test_sections_stand_in_their_order_and_every_chart_is_said_in_words(large):
    page = Page((large / "index.html").read_text(encoding="utf-8"))
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert anchors == ["not", "best", "test", "history", "importances", "slices", "parallel", "curves", "times", "trials", "about"]
    charted = [attributes["aria-label"] for _, attributes in page.tags if "chart" in attributes.get("class", "").split()]
    assert len(charted) == sum(tag == "svg" for tag, _ in page.tags) == len(list((large / "charts").iterdir())) == 6
    assert all(charted)


def test_a_page_stays_below_a_megabyte_with_hundreds_of_trials(tmp_path):
    study = studies.large(500)
    write_tuning_report(study, tmp_path, about=studies.ABOUT)
    assert (tmp_path / "index.html").stat().st_size < 1_000_000
    assert "<summary>All 500 trials</summary>" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_the_page_would_fetch_nothing(large):
    page = Page((large / "index.html").read_text(encoding="utf-8"))
    for tag, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:"), tag
        for name in ("href", "xlink:href"):
            assert attributes.get(name, "#").startswith("#"), tag
        assert not re.search(r"url\((?!#)", " ".join(value or "" for value in attributes.values()))
    policy = next(attributes["content"] for _, attributes in page.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")


def test_all_of_about_is_shown_and_harm_in_it_stays_text(tmp_path):
    harm = f"</title></style>{studies.EVIL}\"'><img src=x onerror=alert(1)>"
    about = {
        "model": harm,
        "data": {"name": harm, "hash": "9f9f"},
        "metric": harm,
        harm: {harm: [harm]},
        "versions": {harm: harm},
        "space": {harm: {"choices": [harm]}},
        "test": {"seeds": [harm], "metrics": {harm: {"mean": 0.1}}, "default": {harm: {"mean": 0.2}}, "paired": {"verdict": harm}},
    }
    page, text = both(studies.small(), tmp_path, **about)
    found = Page(page)
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert not any(tag == "img" for tag, _ in found.tags)
    for chart in (tmp_path / "charts").iterdir():
        ET.parse(chart)
    assert "9f9f" in "".join(found.text)
    assert "<script" not in text
    assert "<img" not in text


def test_a_harmful_parameter_is_text_in_charts_too(large):
    page = (large / "index.html").read_text(encoding="utf-8")
    found = Page(page)
    assert sum(tag == "script" for tag, _ in found.tags) == 1
    assert sum(text == studies.EVIL for text in found.text) >= 3  # charts and tables
    assert studies.EVIL not in page


def test_an_empty_study_has_a_page_too(tmp_path):
    page, text = both(studies.make(), tmp_path)
    assert "The study has no trials yet." in page
    assert "No completed trial, so there is nothing to draw." in text
    assert title(view_of(studies.make())) == "Tuning of a study"


@pytest.mark.parametrize("state", [TrialState.RUNNING, TrialState.WAITING, TrialState.PRUNED, COMPLETE])
def test_a_study_of_one_bare_trial_has_a_page(state, tmp_path):
    study = studies.make()
    studies.add(study, state, [0.1] if state == COMPLETE else None)
    page, _ = both(study, tmp_path)
    assert ("Best value 0.1000, by trial 0." if state == COMPLETE else "No trial has a figure") in page


@pytest.mark.parametrize("make", [studies.small, studies.two_objectives])
def test_the_same_study_gives_the_same_files(make, tmp_path):
    study = make()
    assert both(study, tmp_path / "a", **studies.ABOUT) == both(study, tmp_path / "b", **studies.ABOUT)
    charts, again = ({path.name: path.read_bytes() for path in (tmp_path / name / "charts").iterdir()} for name in "ab")
    assert charts == again
    linked = re.findall(r"\]\(charts/([\w-]+\.svg)\)", (tmp_path / "a" / "report.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(charts)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["charts", "index.html", "report.md"]


def test_the_files_are_returned(tmp_path):
    assert write_tuning_report(studies.make(), tmp_path / "new", about={}) == [
        tmp_path / "new" / "index.html",
        tmp_path / "new" / "report.md",
    ]


def test_a_missing_matplotlib_is_named_with_its_extra_and_nothing_is_written(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if re.match(r"matplotlib(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"matplotlib is not installed: run  pip install 'bertrec\[report\]'"):
        write_tuning_report(studies.small(), tmp_path / "out", about={})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        write_tuning_report(studies.make(), tmp_path / "file" / "folder", about={})


def test_importing_the_report_loads_neither_optuna_nor_what_draws():
    code = "import sys, bertrec.tuning.report; print(sorted({'optuna', 'jinja2', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_comparison_does_not_know_the_tuning():
    code = "import sys, bertrec.comparison.report; print([name for name in sys.modules if name.startswith('bertrec.tuning')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
