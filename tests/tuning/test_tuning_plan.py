"""A study's plan that was changed by hand: one line each, never a fault of ours."""

from __future__ import annotations

import json

import pytest

from bertrec.cli.main import main
from bertrec.core.errors import BertrecError, ConfigError
from bertrec.tuning.plan import TunePlan, load_plan
from bertrec.tuning.rules import make_pruner, make_sampler
from bertrec.tuning.space import Space

SPACE = {"head.layers": {"int": [1, 3]}}


@pytest.fixture
def folder(tmp_path):
    TunePlan.from_dict({"study": "s", "storage": "study.journal", "model": "idrec", "space": SPACE}).save(tmp_path)
    assert load_plan(tmp_path).sampler == "tpe"
    return tmp_path


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sampler": "tpee"}, "did you mean 'tpe'"),
        ({"sampler": ""}, "unknown sampler"),
        ({"sampler": 3}, "sampler"),
        ({"pruner": "medium"}, "did you mean 'median'"),
        ({"space": {"head.layers": {"int": "x"}}}, "head.layers"),
        ({"space": {"head.layers": 5}}, "head.layers"),
        ({"space": [1]}, "space"),
        ({"metrics": []}, "no metric"),
        ({"metrics": "NDCG@10"}, "metrics"),
        ({"trials": 0}, "trials"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_changed_plan_names_its_file(folder, values, said):
    path = folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    with pytest.raises(BertrecError, match=r"plan\.json is damaged") as caught:
        load_plan(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", "null", '"x"', "{", "{}"])
def test_what_is_no_plan(folder, text):
    (folder / "plan.json").write_text(text)
    with pytest.raises(BertrecError) as caught:
        load_plan(folder)
    assert "plan.json" in str(caught.value)


def test_the_command_ends_with_2(folder, capsys):
    path = folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "sampler": "x"}))
    for command in ("show", "best", "resume"):
        assert main(["tune", command, str(folder)]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_sampler_or_pruner_that_there_is_not():
    with pytest.raises(ConfigError, match="unknown sampler 'x'"):
        make_sampler("x", Space.from_dict(SPACE), seed=0)
    with pytest.raises(ConfigError, match="unknown pruner 'x'"):
        make_pruner("x")
