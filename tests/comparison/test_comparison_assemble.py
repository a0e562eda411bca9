"""From ranks to the comparison, with figures known beforehand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bertrec.comparison.assemble import assemble, measure_fits
from bertrec.comparison.fits import FitKey, ModelFits
from bertrec.comparison.plan import Contestant, Plan
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import leave_one_out
from bertrec.recbole.exchange import Arrays, Outcome, Point

USERS = 60


@pytest.fixture(scope="module")
def split():
    generator = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap(range(30)), {"title": [f"t{k}" for k in range(30)]}, None)
    return leave_one_out(
        Interactions(catalog, IdMap(range(USERS)), Ragged.from_rows([1 + generator.permutation(30)[:8] for _ in range(USERS)]))
    )


def fits_of(name, family, folder, ranks_by_seed, split, **outcome):
    """A model whose targets stand at the given ranks, a constant or one per user for each seed."""
    contestant = Contestant(name, "bertrec" if family == "text" else "recbole", family)
    fits = ModelFits(contestant, chosen=0)
    for seed, ranks in enumerate(ranks_by_seed):
        key = FitKey(0, seed)
        values = {"ended_by": "patience", "points": (Point(1, 1.0, None, 0.1),), "total_seconds": 10.0, "peak_mib": 100.0 + seed} | outcome
        fits.outcomes[key] = Outcome("ok", **values)
        place = folder / contestant.slug / key.folder
        place.mkdir(parents=True)
        Arrays(np.broadcast_to(np.asarray(ranks), USERS).astype(np.int64), np.ones((USERS, 50), np.int32)).save(place)
    return fits


@pytest.fixture
def build(tmp_path, split):
    def make(**models):
        plan = Plan((), metrics=("NDCG@10", "HR@10"), resamples=500)
        measured = []
        for name, (family, ranks, outcome) in models.items():
            fits = fits_of(name, family, tmp_path, ranks, split, **outcome)
            measured.append(measure_fits(fits, split, plan, lambda key, fits=fits: tmp_path / fits.contestant.slug / key.folder))
        return assemble(measured, plan, {"users": USERS})

    return make


def all_of(comparison, name):
    return next(m for m in comparison["models"] if m["name"] == name)["slices"]["all"]["metrics"]


def test_seeds_are_averaged_and_their_spread_is_shown(build):
    """Ranks 1 and 3 are NDCG 1 and 1/2: mean 3/4, standard deviation of the two sqrt(1/8)."""
    comparison = build(a=("text", [1, 3], {}), b=("id", [20], {}))
    figure = all_of(comparison, "a")["NDCG@10"]
    assert figure["mean"] == pytest.approx(0.75)
    assert figure["sd"] == pytest.approx(np.sqrt(0.125))
    assert figure["ci95"] == pytest.approx([0.75, 0.75])
    assert all_of(comparison, "b")["NDCG@10"] == {"mean": 0.0, "ci95": [0.0, 0.0], "sd": None}
    assert comparison["models"][0]["peak_mib"] == 101.0
    json.dumps(comparison, allow_nan=False)


def test_the_better_text_model_is_said_to_be_better(build):
    comparison = build(a=("text", [1], {}), c=("text", [9], {}), b=("id", [2], {}))
    assert comparison["verdict"].startswith("The best text model, a (NDCG@10 1.0000), is better than the best ID-only model, b (0.6309)")
    tests = {(t["a"], t["b"], t["metric"]): t for t in comparison["tests"]}
    assert tests["a", "b", "NDCG@10"]["verdict"] == "a is better than b"
    assert tests["a", "b", "NDCG@10"]["difference"] == pytest.approx(1 - 1 / np.log2(3))
    assert tests["a", "b", "HR@10"]["verdict"] == "no difference shown"
    assert len(tests) == 6


def test_the_worse_text_model_is_said_to_be_worse_with_the_sign_of_text_minus_id(build):
    verdict = build(a=("text", [2], {}), b=("id", [1], {}))["verdict"]
    assert "is worse than" in verdict
    assert "difference -0.3691, 95 % interval -0.3691 to -0.3691" in verdict


def test_no_difference_is_said_where_none_is_shown(build):
    first = 1 + np.arange(USERS) % 2
    comparison = build(a=("text", [first], {}), b=("id", [first[::-1]], {}))
    assert comparison["verdict"].startswith("No difference shown between the best text model, a")
    assert {t["verdict"] for t in comparison["tests"]} == {"no difference shown"}


def test_holm_corrects_wilcoxon_within_a_metric_over_all_pairs(build):
    generator = np.random.default_rng(1)
    comparison = build(**{name: ("id", [generator.integers(1, 12, USERS)], {}) for name in "abcd"})
    for metric in ("NDCG@10", "HR@10"):
        rows = sorted((t for t in comparison["tests"] if t["metric"] == metric), key=lambda t: t["p_wilcoxon"])
        expected = np.minimum(np.maximum.accumulate([t["p_wilcoxon"] * (len(rows) - at) for at, t in enumerate(rows)]), 1)
        assert [t["p_holm"] for t in rows] == pytest.approx(expected)


def test_what_had_not_converged_is_named_in_the_verdict(build):
    verdict = build(a=("text", [1], {}), b=("id", [2], {"ended_by": "budget"}))["verdict"]
    assert verdict.endswith("Not converged when their training ended: b.")


@pytest.mark.parametrize(("family", "missing"), [("text", "ID-only"), ("id", "text")])
def test_one_family_alone_says_nothing_of_the_other(build, family, missing):
    assert build(a=(family, [1], {}))["verdict"] == f"No {missing} model was measured, so nothing can be said of text against IDs."


def test_a_failed_model_is_a_row_and_never_ranked(split, tmp_path):
    fits = ModelFits(Contestant("lost", "recbole", "id"), {FitKey(0, 0): Outcome("failed", reason="it broke", total_seconds=3.0)})
    plan = Plan(())
    measured = measure_fits(fits, split, plan, lambda key: tmp_path)
    row = assemble([measured], plan, {})["models"][0]
    assert (row["status"], row["reason"], row["slices"], row["seeds"], row["fit_seconds"]) == ("failed", "seed 0: it broke", {}, [], 3.0)


def test_popularity_thirds_are_among_the_slices_and_cover_the_known_targets(build, split):
    slices = next(m for m in build(a=("text", [1], {}))["models"])["slices"]
    thirds = sum(slices[f"{name}_items"]["users"] for name in ("head", "torso", "tail"))
    assert thirds + slices["cold_items"]["users"] == USERS
    known = split.train.item_counts[split.test.targets.values] > 0
    assert thirds == known.sum()
