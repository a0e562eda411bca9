"""Studies in memory whose answers are known: made trial by trial, nothing is optimised."""

import datetime
import math
import warnings

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

EVIL = "<script>alert(1)</script>"
START = datetime.datetime(2026, 11, 22, 3, 10, 5)
RATE = FloatDistribution(1e-4, 1e-1, log=True)
LAYERS = IntDistribution(1, 4)
ADAPTOR = CategoricalDistribution(("linear", "moe"))
EXPERTS = IntDistribution(2, 8)
MIXED = CategoricalDistribution((None, 3, "auto", True))
DROPOUT = FloatDistribution(0.0, 0.5)

ABOUT = {
    "model": "unisrec",
    "data": {"name": "amazon-scientific", "counts": {"users": 8442, "items": 4386}},
    "metric": "NDCG@10",
    "sampler": "tpe",
    "pruner": "median",
    "protocol": {"mask_seen": True, "ks": [1, 5, 10]},
    "space": {"train.learning_rate": {"low": 0.0001, "high": 0.1, "log": True}, "head.layers": {"low": 1, "high": 4}},
    "storage": "optuna-dashboard study.journal",
    "versions": {"bertrec": "0.1.0", "optuna": "5.0.0"},
    "test": {
        "seeds": [0, 1, 2],
        "metrics": {"NDCG@10": {"mean": 0.1052, "ci95": [0.099, 0.1114], "sd": 0.0007}},
        "default": {"NDCG@10": {"mean": 0.1001, "ci95": [0.0941, 0.1062], "sd": 0.0011}},
        "paired": {"verdict": "the winner is better than the defaults", "difference": 0.0051, "ci95": [0.002, 0.008]},
    },
}


def make(directions=("maximize",), metric_names=None):
    """Return an empty study."""
    study = optuna.create_study(directions=list(directions), study_name="a study")
    if metric_names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Optuna calls names of objectives experimental
            study.set_metric_names(metric_names)
    return study


def add(study, state, values=None, *, params=None, seconds=30.0, reported=(), attrs=None, system=None):
    """Add a trial; ``params`` maps a name to its value and distribution, ``reported`` are the figures of steps 1, 2, …"""
    number = len(study.get_trials(deepcopy=False))
    start = START + datetime.timedelta(minutes=number)
    done = state.is_finished()
    params = params or {}
    study.add_trial(
        FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None,
            values=values,
            datetime_start=None if state == TrialState.WAITING else start,
            datetime_complete=start + datetime.timedelta(seconds=seconds) if done else None,
            params={name: value for name, (value, _) in params.items()},
            distributions={name: kind for name, (_, kind) in params.items()},
            user_attrs=attrs or {},
            system_attrs=system or {},
            intermediate_values=dict(enumerate(reported, start=1)),
        )
    )


def settings(rate, layers, adaptor="linear", experts=None, mixed="auto", dropout=0.1):
    """Return the parameters of a trial; only the MoE adaptor has experts."""
    found = {"train.learning_rate": (rate, RATE), "head.layers": (layers, LAYERS), "item.adaptor": (adaptor, ADAPTOR)}
    if adaptor == "moe":
        found["head.experts"] = (experts or 4, EXPERTS)
    return found | {"train.patience": (mixed, MIXED), EVIL: (dropout, DROPOUT)}


def small():
    """Complete (0.10 the default, 0.12 the best, 0.11), pruned, failed, running and waiting trials: seven in all."""
    study = make()
    complete, error = TrialState.COMPLETE, {"standard_error": 0.004}
    add(study, complete, [0.10], params=settings(1e-3, 2), reported=[0.06, 0.10], attrs={"default": True, **error, "epochs": 2})
    add(study, complete, [0.12], params=settings(3e-3, 3, "moe", 6, None), reported=[0.08, 0.12], attrs={**error, "note": EVIL})
    add(study, TrialState.PRUNED, [0.03], params=settings(9e-2, 1, mixed=3), seconds=10.0, reported=[0.03], attrs={"parts": [1, 2]})
    add(study, TrialState.FAIL, params=settings(5e-2, 4), seconds=2.0, attrs={"reason": f"the loss is not finite {EVIL}\nat step 3"})
    add(study, complete, [0.11], params=settings(1e-2, 2, mixed=True), reported=[0.07, math.nan, 0.11], attrs={"standard_error": 0.006})
    add(study, TrialState.RUNNING, params={"train.learning_rate": (2e-3, RATE)}, reported=[0.05])
    add(study, TrialState.WAITING, system={"fixed_params": {"head.layers": 1}})
    return study


def large(trials=64):
    """As a real run leaves it: the figure hangs on the learning rate above all; some trials pruned and failed."""
    study = make()
    for number in range(trials):
        rate = 10 ** -(1 + 3 * ((number * 7 + 40) % 64) / 64)
        layers = 1 + number % 4
        adaptor = "moe" if number % 3 else "linear"
        params = settings(rate, layers, adaptor, 2 + number % 7, (None, 3, "auto", True)[number % 4], ((number * 5) % 11) / 22)
        value = 0.11 - 0.03 * (math.log10(rate) + 2.6) ** 2 + 0.002 * math.sin(layers) + 0.0015 * math.sin(number * 12.9898)
        curve = [value * (1 - math.exp(-epoch / 3)) for epoch in range(1, 13)]
        seconds = 40 + 15 * layers + (number % 5) * 6
        attrs = {"standard_error": 0.0028 + 0.0001 * (number % 3), "default": number == 0}
        if number % 9 == 5:
            add(study, TrialState.FAIL, params=params, seconds=5, reported=curve[:1], attrs={"reason": "ran out of memory"})
        elif value < 0.075 and number:
            add(study, TrialState.PRUNED, [curve[4]], params=params, seconds=seconds * 0.4, reported=curve[:5])
        else:
            add(study, TrialState.COMPLETE, [value], params=params, seconds=seconds, reported=curve, attrs=attrs)
    return study


def two_objectives():
    """Quality up, milliseconds down; trials 1, 2 and 3 are the front, 0 (the default) and 4 are not."""
    study = make(("maximize", "minimize"), ["NDCG@10", "latency"])
    for number, (quality, latency) in enumerate([(0.09, 3.0), (0.10, 2.0), (0.12, 5.0), (0.08, 1.0), (0.12, 6.0)]):
        add(
            study,
            TrialState.COMPLETE,
            [quality, latency],
            params=settings(1e-3 * (number + 1), 1 + number % 3),
            attrs={"default": number == 0},
        )
    return study
