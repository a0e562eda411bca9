"""From the fits of all models to the one dictionary that ``comparison.json`` holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.comparison.fits import FitKey, ModelFits
from bertrec.comparison.plan import Plan
from bertrec.core.ragged import Ragged
from bertrec.data.splits import Split
from bertrec.evaluation.evaluate import evaluate_ranks
from bertrec.evaluation.metrics import Float64Array
from bertrec.evaluation.protocol import Protocol
from bertrec.evaluation.report import Report, summarise
from bertrec.evaluation.significance import ALPHA, NO_DIFFERENCE, PairedResult, all_pairs
from bertrec.evaluation.slices import popularity_thirds
from bertrec.recbole.exchange import Arrays, Outcome

_RESAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """One model's reports, one per seed.

    Attributes:
        fits: what they come from.
        reports: by seed.
    """

    fits: ModelFits
    reports: dict[int, Report]

    def per_user(self, metric: str) -> Float64Array:
        """Return the metric of every user, averaged over seeds."""
        return np.mean([report.per_user(metric) for report in self.reports.values()], axis=0)


def measure_fits(fits: ModelFits, split: Split, plan: Plan, folder_of: Callable[[FitKey], Path]) -> Measured:
    """Measure a model's chosen fits, all by the same evaluator, from the ranks and lists that their processes left."""
    protocol = Protocol(mask_seen=plan.mask_seen, ks=plan.ks, bootstrap=0)
    kept = fits.of_chosen if fits.status == "ok" else {}
    return Measured(fits, {key.seed: _report(Arrays.load(folder_of(key)), split, protocol) for key in kept})


def _report(arrays: Arrays, split: Split, protocol: Protocol) -> Report:
    assert split.test is not None
    ranks = Ragged(arrays.ranks, split.test.targets.offsets)
    counts = split.train.item_counts
    return evaluate_ranks(
        ranks, split.test, protocol, counts, top_k_lists=arrays.lists.astype(np.int64), item_groups=popularity_thirds(counts)
    )


def assemble(measured: Sequence[Measured], plan: Plan, protocol: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comparison as plain values; `docs/comparison.md` describes them.

    Args:
        measured: a model each, those that failed among them.
        plan: what was compared.
        protocol: joins the plan's own settings.
    """
    ranked = {one.fits.contestant.name: one for one in measured if one.reports}
    results = {
        metric: all_pairs({name: one.per_user(metric) for name, one in ranked.items()}, resamples=plan.resamples) for metric in plan.metrics
    }
    models = [model_row(one, plan) for one in measured]
    tests = [pair_row(result, metric) for metric, pairs in results.items() for result in pairs]
    own = {
        "mask_seen": plan.mask_seen,
        "ks": list(plan.ks),
        "primary_metric": plan.metric,
        "metrics": list(plan.metrics),
        "budget_minutes": plan.budget_minutes,
        "seeds": list(range(plan.seeds)),
        "bootstrap": {"of the tests": plan.resamples, "of the figures": _RESAMPLES},
        "tests": "per-user values averaged over seeds, paired; Wilcoxon signed-rank (zeros after Pratt), corrected by Holm within each "
        f"metric over all pairs; better only where the corrected p is below {ALPHA}, the interval leaves out 0 and both point the same way",
    }
    comparison = {"protocol": {**protocol, **own}, "models": models, "tests": tests}
    return {**comparison, "verdict": verdict(comparison)}


def model_row(measured: Measured, plan: Plan) -> dict[str, Any]:
    """Return one model's row."""
    fits = measured.fits
    chosen = list(fits.of_chosen.values())
    first = chosen[0] if chosen else None
    searched = [outcome for key, outcome in fits.search.items() if key.candidate != fits.chosen]
    return {
        "name": fits.contestant.name,
        "family": fits.contestant.family,
        "source": fits.contestant.source,
        "status": fits.status,
        "reason": fits.reason,
        "seeds": list(measured.reports),
        "slices": _slices(list(measured.reports.values())),
        "fit_seconds": fits.total_seconds,
        "search_seconds": sum(outcome.total_seconds for outcome in searched),
        "seconds_a_seed": [outcome.seconds for outcome in chosen],
        "evaluate_seconds": first.evaluate_seconds if first else None,
        "peak_mib": max((outcome.peak_mib for outcome in fits.outcomes.values()), default=None),
        "converged": _converged(chosen),
        "ended_by": _ended_by(chosen or list(fits.outcomes.values())),
        "settings": first.settings if first else {},
        "search": [_trial(key, outcome, fits.chosen) for key, outcome in fits.outcomes.items()],
        "curves": [_curve(key, outcome) for key, outcome in fits.outcomes.items() if key.candidate == fits.chosen or fits.chosen is None],
        "cross_check": next((outcome.cross_check for outcome in chosen if outcome.cross_check), None),
    }


def _converged(outcomes: Sequence[Outcome]) -> bool | None:
    known = [outcome.converged for outcome in outcomes if outcome.converged is not None]
    return all(known) if known else None


def _ended_by(outcomes: Sequence[Outcome]) -> str | None:
    """Return what ended the fits, the least welcome of them."""
    ends = [outcome.ended_by for outcome in outcomes if outcome.ended_by]
    order = ("killed", "budget", "epochs", "schedule", "patience", "no training")
    return next((end for end in order if end in ends), None)


def _trial(key: FitKey, outcome: Outcome, chosen: int | None) -> dict[str, Any]:
    return {
        "settings": outcome.settings,
        "seed": key.seed,
        "metric": outcome.best_metric,
        "seconds": outcome.total_seconds,
        "epochs": len(outcome.points),
        "best_epoch": outcome.best_epoch,
        "ended_by": outcome.ended_by,
        "converged": outcome.converged,
        "chosen": key.candidate == chosen,
        "status": outcome.status,
        "reason": outcome.reason,
    }


def _curve(key: FitKey, outcome: Outcome) -> dict[str, Any]:
    return {"seed": key.seed, "settings": outcome.settings, "points": [asdict(point) for point in outcome.points]}


def _slices(reports: Sequence[Report]) -> dict[str, Any]:
    """Average the seeds: means and intervals of each user's mean over seeds, and the standard deviation of the seeds' means."""
    if not reports:
        return {}
    return {name: _slice([report.slices[name] for report in reports]) for name in reports[0].slices}


def _slice(parts: Sequence[Any]) -> dict[str, Any]:
    averaged = {metric: np.mean([part.values[metric] for part in parts], axis=0) for metric in parts[0].values}
    intervals = summarise(averaged, resamples=_RESAMPLES, seed=0)
    metrics = {}
    for metric in parts[0].metrics:
        means = [part.metrics[metric].mean for part in parts]
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        interval = intervals[metric].ci95 if metric in intervals else None
        metrics[metric] = {"mean": float(np.mean(means)), "ci95": None if interval is None else list(interval), "sd": spread}
    return {"users": parts[0].users, "metrics": metrics}


def pair_row(result: PairedResult, metric: str) -> dict[str, Any]:
    """Return one pair on one metric."""
    return {
        "a": result.names[0],
        "b": result.names[1],
        "metric": metric,
        "slice": "all",
        "users": result.users,
        "difference": result.difference,
        "ci95": list(result.ci95),
        "p_t": result.p_t,
        "p_wilcoxon": result.p_wilcoxon,
        "p_holm": result.p_holm,
        "effect_size": result.effect_size,
        "verdict": result.verdict if result.shown else NO_DIFFERENCE,
    }


def verdict(comparison: Mapping[str, Any]) -> str:
    """Say in a sentence whether the best text model beats the best ID-only one, with what weakens that."""
    metric = comparison["protocol"]["primary_metric"]
    ranked = [model for model in comparison["models"] if model["status"] == "ok"]
    best = {family: _best(ranked, family, metric) for family in ("text", "id")}
    if best["text"] is None or best["id"] is None:
        missing = "text" if best["text"] is None else "ID-only"
        return f"No {missing} model was measured, so nothing can be said of text against IDs."
    text, other = best["text"], best["id"]
    return f"{_sentence(text, other, metric, comparison['tests'])}{_caution(ranked)}{_missing(comparison['models'])}"


def _best(models: Sequence[Mapping[str, Any]], family: str, metric: str) -> Mapping[str, Any] | None:
    return max((m for m in models if m["family"] == family), key=lambda m: m["slices"]["all"]["metrics"][metric]["mean"], default=None)


def _sentence(text: Mapping[str, Any], other: Mapping[str, Any], metric: str, tests: Sequence[Mapping[str, Any]]) -> str:
    names = {text["name"], other["name"]}
    test = next(t for t in tests if t["metric"] == metric and {t["a"], t["b"]} == names)
    figures = [f"{model['slices']['all']['metrics'][metric]['mean']:.4f}" for model in (text, other)]
    sign = 1 if test["a"] == text["name"] else -1
    low, high = sorted(sign * bound for bound in test["ci95"])
    shown = f"difference {sign * test['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}, p {test['p_holm']:.2g} after Holm"
    pair = f"the best text model, {text['name']} ({metric} {figures[0]}), and the best ID-only model, {other['name']} ({figures[1]})"
    if test["verdict"] == NO_DIFFERENCE:
        return f"No difference shown between {pair}: {shown}."
    better = "better" if sign * test["difference"] > 0 else "worse"
    return f"The best text model, {text['name']} ({metric} {figures[0]}), is {better} than the best ID-only model, {other['name']} " + (
        f"({figures[1]}): {shown}."
    )


def _caution(ranked: Sequence[Mapping[str, Any]]) -> str:
    cut = [model["name"] for model in ranked if model["converged"] is False]
    return f" Not converged when their training ended: {', '.join(cut)}." if cut else ""


def _missing(models: Sequence[Mapping[str, Any]]) -> str:
    lost = [f"{model['name']} ({model['status']})" for model in models if model["status"] != "ok"]
    return f" Without a result: {', '.join(lost)}." if lost else ""
