"""The page and its Markdown: what they say of studies whose answers are known, and that no text of a study becomes code."""

import doctest
import importlib
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("optuna")
pytest.importorskip("plotly")
pytest.importorskip("matplotlib")
sys.path.insert(0, str(Path(__file__).parent))
import tuning_report_studies as studies
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from bertrec.core.errors import BertrecError, MissingExtraError
from bertrec.tuning.report import write_tuning_report
from bertrec.tuning.report.charts_front import front
from bertrec.tuning.report.charts_parameters import parallel, slices
from bertrec.tuning.report.charts_trials import curves, history, times
from bertrec.tuning.report.importances import parameter_importances
from bertrec.tuning.report.sentences import beside_default, regression, title, verdict
from bertrec.tuning.report.tables import trials_table, varying
from bertrec.tuning.report.ticks import count_axis, linear_axis, log_axis
from bertrec.tuning.report.view import read_study

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
    assert history(view)[0].figure["data"][0]["y"] == [3.0, 3.0, 2.0, 2.0, 2.0, 2.0]


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
    page, _ = both(study, tmp_path)
    assert "Infinity" not in Page(page).scripts[0]


def test_the_front_is_what_nothing_dominates():
    view = view_of(studies.two_objectives())
    assert [trial.number for trial in view.front] == [2, 1, 3]
    assert view.best is None
    assert "3 trials on the Pareto front; the best of each objective: NDCG@10 0.1200 (trial 2), latency 1.0000 (trial 3)." in verdict(view)
    border, others, drawn, default = front(view)[0].figure["data"]
    assert (border["x"], border["y"]) == ([0.12, 0.10, 0.10, 0.08, 0.08], [5.0, 5.0, 2.0, 2.0, 1.0])
    assert (others["x"], drawn["x"], default["x"]) == ([0.09, 0.12], [0.12, 0.10, 0.08], [0.09])


def test_one_objective_has_no_front_and_three_have_a_table_only(tmp_path):
    assert front(view_of(studies.small())) == []
    study = studies.make(("maximize", "minimize", "maximize"))
    studies.add(study, COMPLETE, [1.0, 1.0, 1.0])
    studies.add(study, COMPLETE, [0.5, 2.0, 1.0])
    assert front(view_of(study)) == []
    page, text = both(study, tmp_path)
    assert "1 trial on the Pareto front" in page
    assert "| 0 | 1.0000 | 1.0000 | 1.0000 | no parameters |" in text


def test_the_best_so_far_is_a_step():
    line = history(view_of(studies.small()))[0].figure["data"][0]
    assert line["x"] == [0, 1, 1, 4, 4, 6]
    assert line["y"] == [0.10, 0.10, 0.12, 0.12, 0.12, 0.12]


def test_curves_leave_out_what_is_not_finite_and_mark_where_a_trial_was_pruned():
    traces = {trace["name"]: trace for trace in curves(view_of(studies.small()))[0].figure["data"]}
    assert list(traces) == ["pruned", "where it was pruned", "still running", "completed", "best"]
    assert (traces["where it was pruned"]["x"], traces["where it was pruned"]["y"]) == ([1], [0.03])
    assert traces["completed"]["x"] == [1, 2, None, 1, 3, None]
    assert traces["completed"]["y"] == [0.06, 0.10, None, 0.07, 0.11, None]
    assert traces["best"]["y"] == [0.08, 0.12, None]


def test_chunks_of_users_are_not_called_learning_curves(tmp_path):
    page, _ = both(studies.small(), tmp_path, pruner="wilcoxon")
    assert "Figures by chunk of users" in page
    assert "Learning curves" not in page


def test_times_are_bars_by_state():
    traces = {trace["name"]: (trace["x"], trace["y"]) for trace in times(view_of(studies.small()))[0].figure["data"]}
    assert traces == {"completed": ([0, 1, 4], [30.0] * 3), "pruned": ([2], [10.0]), "failed": ([3], [2.0])}


def test_slices_hold_what_varied_with_logarithms_and_choices_in_their_order():
    view = view_of(studies.small())
    found = {panel.title: panel.figure for panel in slices(view, ["head.layers"])}
    # The parameter with the harmful name never changed, and one trial alone had experts.
    assert list(found) == ["head.layers", "train.learning_rate", "item.adaptor", "train.patience"]
    assert found["train.learning_rate"]["layout"]["xaxis"]["type"] == "log"
    assert found["train.patience"]["layout"]["xaxis"]["ticktext"] == ["null", "auto", "true"]
    assert found["train.patience"]["data"][0]["x"] == [1.0, 0.0, 2.0]
    assert [trace["name"] for trace in found["head.layers"]["data"]] == ["completed", "default", "best"]


def test_lines_of_trials_pass_beside_a_parameter_that_they_do_not_use():
    figure = parallel(view_of(studies.large()), [])[0].figure
    names = figure["layout"]["yaxis"]["ticktext"]
    row = names.index("head.experts")
    rest = next(trace for trace in figure["data"] if trace["name"] == "other trials")
    places = rest["x"][row :: len(names) + 1]
    assert min(places) < 0 <= sorted(places)[-1] <= 1
    assert [trace["name"] for trace in figure["data"]] == ["other trials", "the best tenth", "best"]
    assert any(label["text"] == "–" for label in figure["labels"]["700"])


def test_importances_name_what_the_figure_hangs_on_and_say_when_they_cannot():
    found = parameter_importances(view_of(studies.large()))
    assert next(iter(found.shares)) == "train.learning_rate"
    assert found.shares["train.learning_rate"] > 0.5
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.best_trials == 5
    few = parameter_importances(view_of(studies.small()))
    assert few.note == "Too few completed trials to say which parameters mattered: 3 trials, and 10 are needed."
    assert not few.shares


def test_equal_figures_and_equal_settings_tell_no_importance():
    flat, same = studies.make(), studies.make()
    for number in range(12):
        studies.add(flat, COMPLETE, [0.1], params={"x": (number / 12, FloatDistribution(0, 1))})
        studies.add(same, COMPLETE, [number / 12], params={"x": (0.5, FloatDistribution(0.5, 0.5))})
    assert "same figure" in parameter_importances(view_of(flat)).note
    assert "No parameter took different values" in parameter_importances(view_of(same)).note


def test_all_trials_stand_in_the_table_with_the_parameters_that_changed():
    view = view_of(studies.small())
    table = trials_table(view)
    assert [row[0].text for row in table.rows] == [str(number) for number in range(7)]
    assert [(row[1].text, row[1].below) for row in table.rows[:3]] == [("complete", "default"), ("complete", "best"), ("pruned", "")]
    assert [row[2].text for row in table.rows] == ["0.1000", "0.1200", "–", "–", "0.1100", "–", "–"]
    assert [row[2].key for row in table.rows][2] is None
    kinds = {column.title: column.numeric for column in table.columns}
    assert (kinds["train.learning_rate"], kinds["item.adaptor"], kinds["train.patience"]) == (True, False, False)
    assert table.summary is None


def test_beyond_fifty_trials_the_table_is_folded_away(large):
    page = (large / "index.html").read_text(encoding="utf-8")
    assert "<details><summary>All 64 trials</summary>" in page
    study = studies.make()
    for _ in range(50):
        studies.add(study, COMPLETE, [0.1])
    assert trials_table(view_of(study)).summary is None
    assert varying(view_of(study)) == []


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


def test_sections_stand_in_their_order_and_every_chart_has_its_still_picture(large):
    page = Page((large / "index.html").read_text(encoding="utf-8"))
    anchors = [attributes["id"] for tag, attributes in page.tags if tag == "section"]
    assert anchors == ["not", "best", "test", "history", "importances", "slices", "parallel", "curves", "times", "trials", "about"]
    stored = json.loads(page.scripts[0])["figures"]
    drawn = [attributes["data-figure"] for _, attributes in page.tags if "data-figure" in attributes]
    assert sorted(drawn) == sorted(stored)
    assert sum(attributes.get("class") == "still" for _, attributes in page.tags) == sum(tag == "figure" for tag, _ in page.tags) == 6


def test_the_page_would_fetch_nothing(large):
    page = Page((large / "index.html").read_text(encoding="utf-8"))
    for tag, attributes in page.tags:
        assert attributes.get("src", "data:").startswith("data:"), tag
        if "href" in attributes:
            assert (tag, attributes["href"][0]) == ("a", "#")
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
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert all(attributes.get("src", "data:").startswith("data:") for tag, attributes in found.tags if tag == "img")
    assert "9f9f" in "".join(found.text)
    assert "<script" not in text
    assert "<img" not in text


def test_a_harmful_parameter_is_text_in_charts_too(large):
    page = (large / "index.html").read_text(encoding="utf-8")
    found = Page(page)
    assert sum(tag == "script" for tag, _ in found.tags) == 3
    assert studies.EVIL in "".join(found.text)
    assert studies.EVIL not in page
    # plotly.js reads a little HTML in labels.
    figures = json.dumps(json.loads(found.scripts[0]))
    assert "<script" not in figures
    assert "&lt;script&gt;" in figures


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


@pytest.mark.parametrize("package", ["plotly", "matplotlib"])
def test_a_missing_package_is_named_with_its_extra_and_nothing_is_written(package, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if re.match(rf"{package}(\.|$)", name)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed: run  pip install 'bertrec\[report\]'"):
        write_tuning_report(studies.small(), tmp_path / "out", about={})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        write_tuning_report(studies.make(), tmp_path / "file" / "folder", about={})


def test_importing_the_report_loads_neither_optuna_nor_what_draws():
    code = "import sys, bertrec.tuning.report; print(sorted({'optuna', 'plotly', 'matplotlib', 'pyarrow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_the_comparison_does_not_know_the_tuning():
    code = "import sys, bertrec.comparison.report; print([name for name in sys.modules if name.startswith('bertrec.tuning')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["wording", "ticks"])
def test_the_examples_in_the_documentation_hold(name):
    found = doctest.testmod(importlib.import_module(f"bertrec.tuning.report.{name}"))
    assert found.attempted > 0
    assert found.failed == 0


def test_ticks_are_round_and_few():
    assert list(linear_axis([0.02, 0.31], most=4).ticks) == [0.1, 0.2, 0.3]
    assert list(log_axis([2e-4, 3e-2]).ticks) == pytest.approx([1e-3, 1e-2])
    assert list(log_axis([2e-4, 8e-4]).ticks) == pytest.approx([2e-4, 5e-4])
    assert list(count_axis(6).ticks) == list(range(7))
    assert list(count_axis(63).ticks) == [0, 10, 20, 30, 40, 50, 60]
    assert list(linear_axis([0.5]).ticks.values())
    assert list(log_axis([0.5, 0.5]).ticks.values()) == ["0.5"]
