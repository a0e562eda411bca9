"""Search spaces: what they draw, and what they refuse before the first trial."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertrec.core.errors import ConfigError
from bertrec.models.registry import create
from bertrec.rankers.names import RANKERS
from bertrec.tuning.objectives.rankers import RankerObjective
from bertrec.tuning.plan import TunePlan
from bertrec.tuning.rules import check_rules, directions, make_pruner, make_sampler
from bertrec.tuning.space import PRESETS, Parameter, Space

DEFAULTS = {"head.layers": 2, "item.adaptor": "linear", "item.experts": 8, "train.learning_rate": 1e-3, "loss.kind": "full"}
CONDITIONAL = {"item.adaptor": {"choice": ["linear", "moe"]}, "item.experts": {"int": [2, 8], "when": {"item.adaptor": ["moe"]}}}


def test_nested_and_dotted_names_are_the_same_space():
    dotted = Space.from_dict({"head.layers": {"int": [1, 3]}, "train.learning_rate": {"float": [1e-4, 1e-2], "log": True}})
    nested = Space.from_dict({"head": {"layers": {"int": [1, 3]}}, "train": {"learning_rate": {"float": [1e-4, 1e-2], "log": True}}})
    assert dotted == nested
    assert Space.from_dict(dotted.to_dict()) == dotted


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({}, "the space is empty"),
        ({"head.layers": [1, 3]}, "give a range, such as"),
        ({"head.layers": {"int": [3, 1]}}, "least value 3 is above the greatest 1"),
        ({"head.layers": {"int": [1, 3], "choice": [1]}}, "exactly one of float, int and choice"),
        ({"head.layers": {"int": [1, 3], "stepp": 1}}, "did you mean 'step'"),
        ({"train.learning_rate": {"float": [0, 1], "log": True}}, "log needs values above 0"),
        ({"loss.kind": {"choice": []}}, "at least one value"),
        ({"item.experts": {"int": [2, 8], "when": {"item.adaptor": ["moe"]}}}, "must be a parameter that stands above it"),
    ],
)
def test_spaces_that_are_none(space, says):
    with pytest.raises(ConfigError, match=says):
        Space.from_dict(space)


def test_names_and_defaults_are_checked():
    Space.from_dict({"head.layers": {"int": [1, 3]}}).check(DEFAULTS)
    with pytest.raises(ConfigError, match=r"unknown setting in the space 'head.lairs': did you mean 'head.layers'"):
        Space.from_dict({"head.lairs": {"int": [1, 3]}}).check(DEFAULTS)
    for outside in ({"int": [3, 4]}, {"choice": [1, 3]}, {"choice": ["2"]}):
        with pytest.raises(ConfigError, match=r"'head.layers': the default 2, which the first trial takes, lies outside"):
            Space.from_dict({"head.layers": outside}).check(DEFAULTS)


def test_a_condition_that_the_defaults_do_not_meet_asks_nothing_of_them():
    space = Space.from_dict({**CONDITIONAL, "item.experts": {"int": [2, 4], "when": {"item.adaptor": ["moe"]}}})
    space.check(DEFAULTS)  # 8 experts lie outside, and the linear adaptor has none
    assert space.defaults(DEFAULTS) == {"item.adaptor": "linear"}
    with pytest.raises(ConfigError, match=r"item.experts"):
        space.check({**DEFAULTS, "item.adaptor": "moe"})


def test_conditions_hold_in_what_is_drawn():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [Space.from_dict(CONDITIONAL).suggest(study.ask()) for _ in range(40)]
    assert {row["item.adaptor"] for row in drawn} == {"linear", "moe"}
    assert all(("item.experts" in row) == (row["item.adaptor"] == "moe") for row in drawn)


@given(st.floats(-5, 5), st.floats(0.01, 5), st.integers(-5, 5), st.integers(0, 9), st.integers(0, 1000))
def test_what_is_drawn_lies_inside(low, width, least, more, seed):
    space = Space.from_dict(
        {"a": {"float": [low, low + width]}, "b": {"int": [least, least + more]}, "c": {"choice": ["x", None, 1, True]}}
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    drawn = space.suggest(study.ask())
    assert all(space.parameters[name].holds(value) for name, value in drawn.items())


def test_a_grid_lists_every_point():
    space = Space.from_dict({"a": {"int": [1, 5], "step": 2}, "b": {"float": [0.0, 0.3], "step": 0.1}, "c": {"choice": ["x", "y"]}})
    assert space.grid() == {"a": [1, 3, 5], "b": pytest.approx([0.0, 0.1, 0.2, 0.3]), "c": ["x", "y"]}
    assert space.grid_size() == 24
    with pytest.raises(ConfigError, match="needs a step or a choice"):
        Parameter.from_dict({"float": [0, 1]}).values()


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_holds_the_defaults(path):
    model, _, name = path.stem.rpartition("-")
    space = Space.preset(model, name)
    if model.startswith("recbole-"):
        pytest.importorskip("recbole", reason="recbole is not installed", exc_type=ImportError)
        from bertrec.recbole.catalogue import candidates, check_settings

        check_settings(model.removeprefix("recbole-"), dict.fromkeys(space.parameters))
        first = candidates(model.removeprefix("recbole-"))[0]
        assert all(space.parameters[key].holds(value) for key, value in first.items() if key in space.parameters)
    else:
        space.check(RankerObjective(model).defaults if model in RANKERS.own else create(model).config.to_flat())


def test_unknown_presets_and_files(tmp_path):
    with pytest.raises(ConfigError, match="unknown preset of idrec 'quik': did you mean 'quick'"):
        Space.preset("idrec", "quik")
    with pytest.raises(ConfigError, match="there is no preset for popularity: give --space"):
        Space.preset("popularity")
    with pytest.raises(ConfigError, match="no such file"):
        Space.load(tmp_path / "none.yaml")
    for text, says in (("a: [", "not readable YAML"), ("- a", "must hold settings and ranges"), ("", "must hold settings and ranges")):
        (tmp_path / "space.yaml").write_text(text)
        with pytest.raises(ConfigError, match=says):
            Space.load(tmp_path / "space.yaml")


PLAIN = Space.from_dict({"a": {"float": [0, 1]}})
CHOICE = Space.from_dict({"a": {"choice": [1, 2]}})
COUNTED = Space.from_dict({"a": {"int": [1, 2]}})
SOMETIMES = Space.from_dict(CONDITIONAL)


@pytest.mark.parametrize(
    ("space", "sampler", "pruner", "objectives", "says"),
    [
        (PLAIN, "tpee", "none", 1, "did you mean 'tpe'"),
        (PLAIN, "tpe", "medain", 1, "did you mean 'median'"),
        (PLAIN, "tpe", "median", 2, "pruning needs a single objective"),
        (PLAIN, "cmaes", "none", 2, "knows a single objective"),
        (SOMETIMES, "gp", "none", 1, "cannot search a space with conditions"),
        (SOMETIMES, "grid", "none", 1, "cannot search a space with conditions"),
        (CHOICE, "cmaes", "none", 1, "searches numbers alone"),
        (PLAIN, "grid", "none", 1, "'a' is continuous: give it a step or a choice"),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(space, sampler, pruner, objectives, says):
    with pytest.raises(ConfigError, match=says) as caught:
        check_rules(space, sampler=sampler, pruner=pruner, objectives=objectives)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("space", "sampler", "objectives"),
    [(PLAIN, "tpe", 1), (PLAIN, "random", 2), (PLAIN, "nsgaii", 2), (SOMETIMES, "tpe", 2), (COUNTED, "grid", 1), (SOMETIMES, "tpe", 1)],
)
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_what_goes_together_runs(space, sampler, objectives):
    check_rules(space, sampler=sampler, pruner="none", objectives=objectives)
    study = optuna.create_study(
        directions=directions(["NDCG@10", "latency"][:objectives]), sampler=make_sampler(sampler, space, seed=0), pruner=make_pruner("none")
    )
    for _ in range(2):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, [1.0] * objectives)
    assert len(study.trials) == 2


def test_times_are_made_smaller():
    assert directions(["NDCG@10", "latency"]) == ["maximize", "minimize"]


def test_a_latency_alone_is_not_pruned_by_another_figure():
    plan = {"study": "s", "storage": "s", "model": "idrec", "space": {"head.layers": {"int": [1, 2]}}, "pruner": "median"}
    assert TunePlan.from_dict({**plan, "metrics": ["latency"]}).prune_by == "none"
    assert TunePlan.from_dict({**plan, "metrics": ["NDCG@10"]}).prune_by == "epochs"
