"""What a model's search tries next, by what was tried before."""

from __future__ import annotations

import math

import pytest

from bertrec.comparison import search as module
from bertrec.comparison.search import Search, check_extra, make_search
from bertrec.core.errors import MissingExtraError
from bertrec.tuning.space import Space

RATE = {"rate": {"float": [0.0001, 0.1], "log": True}}


def after(search, n, value):
    """Try ``n`` settings whose figure is ``value(settings)``."""
    tried = []
    for _ in range(n):
        settings = search.settings(tried)
        tried.append((settings, value(settings)))
    return tried


def test_documented_settings_come_first_in_their_order_and_then_the_search_ends_or_draws():
    first = ({"rate": 0.01}, {"rate": 0.02})
    assert [Search(first).settings([(settings, 0.1) for settings in first[:n]]) for n in range(3)] == [*first, None]
    drawn = Search(first, Space.from_dict(RATE), {"rate": 0.01}).settings([(settings, 0.1) for settings in first])
    assert 0.0001 <= drawn["rate"] <= 0.1
    assert drawn not in first


def test_what_only_the_first_settings_name_holds_for_all_that_is_drawn():
    search = Search(({"batch": 256, "rate": 0.01},), Space.from_dict(RATE), {"rate": 0.5})
    assert all(settings["batch"] == 256 for settings, _ in after(search, 5, lambda settings: 0.1))


def test_the_same_figures_give_the_same_settings_and_others_give_others():
    search = Search(({"rate": 0.001},), Space.from_dict(RATE), {"rate": 0.001})
    up = after(search, 15, lambda settings: settings["rate"])
    assert up == after(search, 15, lambda settings: settings["rate"])
    assert up != after(search, 15, lambda settings: -settings["rate"])


def test_the_search_closes_in_on_the_best_value():
    search = Search(({"rate": 0.0001},), Space.from_dict(RATE), {})
    tried = after(search, 40, lambda settings: -abs(math.log10(settings["rate"] / 0.02)))
    late = sorted(abs(math.log10(settings["rate"] / 0.02)) for settings, _ in tried[25:])
    assert late[len(late) // 2] < 0.5  # 0.75 where they are drawn at random


def test_failed_settings_and_settings_outside_the_space_are_no_evidence_and_no_obstacle():
    search = Search(({"rate": 7.0}, {"rate": 0.01}), Space.from_dict(RATE), {})
    assert 0.0001 <= search.settings([({"rate": 7.0}, 0.9), ({"rate": 0.01}, None)])["rate"] <= 0.1


def test_a_models_preset_without_what_the_user_gave():
    search = make_search("idrec", ({},), {"head.layers": 1}, {"head.layers": 2, "head.dropout": 0.2})
    assert search.first == ({"head.layers": 1},)
    assert "head.layers" not in search.space.parameters
    assert "head.dropout" in search.space.parameters
    assert search.defaults["head.layers"] == 1
    assert make_search("recbole-NoPreset", ({"a": 1}, {"a": 2}), {"a": 3}, {}) == Search(({"a": 3},))


def test_a_missing_optuna_is_said_where_it_is_needed(monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    check_extra([Search()])
    with pytest.raises(MissingExtraError, match="tuning"):
        check_extra([make_search("idrec", ({},), {}, {})])
