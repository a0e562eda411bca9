"""What is compared, checked before anything runs."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from bertrec.comparison.plan import make_plan
from bertrec.core.errors import ConfigError

needs_recbole = pytest.mark.skipif(
    importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
)


def test_idrec_and_ease_are_always_there_and_families_are_known():
    plan = make_plan(["unisrec:text", "unisrec:text+id", "unisrec:id", "morec:text:last:2", "text-similarity", "popularity"], [])
    assert [(c.name, c.family) for c in plan.contestants] == [
        ("unisrec:text", "text"),
        ("unisrec:text+id", "text"),
        ("unisrec:id", "id"),
        ("morec:text:last:2", "text"),
        ("text-similarity", "text"),
        ("popularity", "id"),
        ("idrec", "id"),
        ("ease", "id"),
    ]
    assert plan.contestants[3].options == {"model": "morec", "item_input": "text", "tune": "last:2"}
    assert [c.name for c in make_plan(["idrec"], []).contestants] == ["idrec", "ease"]
    assert [c.name for c in make_plan(["ease", "ease-text"], []).contestants] == ["ease", "ease-text", "idrec"]


@needs_recbole
def test_a_baselines_settings_replace_those_of_every_candidate():
    plan = make_plan([], ["SASRec", "ItemKNN"], settings={"SASRec": {"hidden_size": 128}, "ItemKNN": {"k": 10, "shrink": 1.0}})
    sasrec, knn = plan.contestants[2:]
    assert len(sasrec.search.first) == 2
    assert all(candidate["hidden_size"] == 128 for candidate in sasrec.search.first)
    assert "hidden_size" not in sasrec.search.space.parameters
    assert "n_layers" in sasrec.search.space.parameters
    assert (knn.search.first, knn.search.space) == (({"k": 10, "shrink": 1.0},), None)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"models": ["unisrek:text"]}, "unknown model 'unisrek': did you mean 'unisrec'"),
        ({"models": ["unisrec:txt"]}, "item.input"),
        ({"models": ["unisrec:text:last"]}, "last"),
        ({"models": ["idrec:text"]}, "idrec reads item ids alone"),
        ({"models": ["recbole:SASRec"]}, "name it with --baselines SASRec"),
        ({"models": ["idrec", "idrec"]}, "'idrec' stands twice"),
        ({"settings": {"unisrec": {"head.layers": 1}}}, "settings for 'unisrec', which is not compared"),
        ({"models": ["unisrec:text"], "settings": {"unisrec:text": {"head.lairs": 1}}}, "did you mean 'head.layers'"),
        ({"budget_minutes": 0}, "minutes above 0"),
        ({"seeds": 0}, "at least 1 seed"),
        ({"settings": {"idrec": {"train.seed": 3}}}, "idrec: a comparison gives its fits the seeds 0, 1, …: leave train.seed out"),
        ({"trials": 0}, "1 trial"),
    ],
)
def test_bad_plans_say_what_is_wrong(arguments, says):
    with pytest.raises(ConfigError, match=says.replace("(", r"\(")):
        make_plan(**{"models": ["unisrec:text"], "baselines": [], **arguments})


@needs_recbole
def test_a_baseline_that_reads_item_text_is_no_id_model():
    plan = make_plan([], ["SASRec", "SASRecF"])
    assert [c.family for c in plan.contestants] == ["id", "id", "id", "text"]


@needs_recbole
def test_a_wrong_baseline_names_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'LightGCN'"):
        make_plan([], ["lightgcn"])
    with pytest.raises(ConfigError, match="did you mean 'n_layers'"):
        make_plan([], ["LightGCN"], settings={"LightGCN": {"layers": 1}})


def test_folders_of_models_are_safe_and_apart():
    plan = make_plan(["unisrec:text", "unisrec:text+id"], [])
    slugs = [c.slug for c in plan.contestants]
    assert len(set(slugs)) == 4
    assert all("/" not in slug and ":" not in slug for slug in slugs)
