"""Who is ranked, against whom, and how it is said."""

import pytest

from bertrec.comparison.report.content import cautions
from bertrec.comparison.report.tables import convergence, main_table
from bertrec.comparison.view import View, is_significant, not_converged


def test_models_are_ranked_by_the_primary_metric_and_the_rest_never(run):
    view = View(run)
    assert [model["name"] for model in view.ranked] == [
        "unisrec:text+id",
        "recbole:SASRec",
        "sasrec",
        "unisrec:text",
        "morec",
        "recbole:BERT4Rec",
        "vqrec",
        "recbole:ItemKNN",
        "recbole:Pop",
    ]
    assert [model["status"] for model in view.unranked] == ["failed", "invalid", "not run"]
    assert view.best_id["name"] == "recbole:SASRec"


def test_an_invalid_model_with_the_best_figure_is_not_ranked(run):
    best = next(model for model in run["models"] if model["name"] == "unisrec:text+id")
    best["status"] = "invalid"
    assert View(run).ranked[0]["name"] == "recbole:SASRec"
    assert best in View(run).unranked


def test_a_finished_model_without_the_primary_figure_is_not_ranked_and_says_why(run):
    del run["models"][0]["slices"]["all"]["metrics"]["NDCG@10"]
    view = View(run)
    assert run["models"][0] in view.unranked
    said = {row[0].text: row[2].below for row in main_table(view).last}
    assert said[run["models"][0]["name"]] == "no NDCG@10 was measured"
    assert said["recbole:LightGCN"] == "it ranked seen items"
    assert said["a_b & 50%|c"] == "no reason was recorded"


def test_equal_models_are_ordered_by_name(run):
    for name, model in zip("cab", run["models"], strict=False):
        model["name"] = name
        model["slices"]["all"]["metrics"]["NDCG@10"]["mean"] = 0.5
    assert [model["name"] for model in View(run).ranked[:3]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("p_holm", "ci95", "expected"),
    [
        (0.049, [0.1, 0.2], True),
        (0.05, [0.1, 0.2], False),
        (0.01, [-0.1, 0.2], False),
        (0.01, [-0.2, -0.1], True),
        (None, [0.1, 0.2], False),
    ],
)
def test_a_mark_needs_both_the_corrected_p_and_the_interval(p_holm, ci95, expected):
    assert is_significant({"p_holm": p_holm, "ci95": ci95}) is expected


def test_the_mark_does_not_depend_on_which_model_stands_first_in_the_test(run):
    test = {"metric": "NDCG@10", "slice": "all", "p_holm": 0.01}
    run["tests"] = [test | {"a": "unisrec:text+id", "b": "recbole:SASRec", "difference": 0.01, "ci95": [0.005, 0.015]}]
    one = View(run).against_best_id(run["models"][8], "NDCG@10")
    run["tests"] = [test | {"a": "recbole:SASRec", "b": "unisrec:text+id", "difference": -0.01, "ci95": [-0.015, -0.005]}]
    other = View(run).against_best_id(run["models"][8], "NDCG@10")
    assert run["models"][8]["name"] == "unisrec:text+id"
    assert one == other
    assert one == (0.01, "▲")


def test_a_worse_model_is_marked_downwards_and_an_unclear_one_not_at_all(run):
    view = View(run)
    marks = {model["name"]: view.against_best_id(model, "NDCG@10") for model in view.ranked}
    assert marks["recbole:SASRec"] is None
    assert marks["sasrec"][1] == ""
    assert marks["morec"][1] == "▼"


def test_tests_of_a_slice_do_not_mark_the_figures_over_all_users(run):
    for test in run["tests"]:
        test["slice"] = "tail_items"
    view = View(run)
    assert all(view.against_best_id(model, "NDCG@10") is None for model in view.ranked)


def test_what_ended_training_is_said(run):
    said = {model["name"]: convergence(model) for model in run["models"]}
    assert said["unisrec:text+id"] == "yes"
    assert said["morec"] == "no: budget ended"
    assert said["recbole:Pop"] == "no training"
    assert convergence({"converged": False, "ended_by": "epochs"}) == "no: ended by epochs"
    assert [model["name"] for model in View(run).ranked if not_converged(model)] == ["recbole:SASRec", "morec", "recbole:BERT4Rec"]


def test_cautions_name_who_failed_who_was_stopped_and_who_disagrees(run):
    text = " ".join(cautions(View(run)))
    assert "recbole:LightGCN" in text
    assert "What recbole:SASRec, morec and recbole:BERT4Rec could reach" in text
    assert "new items: no test target" in text
    assert "our figures for recbole:Pop are RecBole's" in text


def test_cautions_that_do_not_apply_are_left_out(run):
    run["models"] = [model for model in run["models"] if model["name"] in ("unisrec:text+id", "sasrec")]
    for model in run["models"]:
        model["slices"]["cold_items"] = model["slices"]["tail_items"]
    text = " ".join(cautions(View(run)))
    assert "without valid figures" not in text
    assert "could reach" not in text
    assert "new items" not in text
    assert "RecBole" not in text
