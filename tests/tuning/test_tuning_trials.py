"""Trials on a shared study: what becomes of each, and that none is lost or counted twice."""

from __future__ import annotations

import json
import math
from typing import ClassVar

import numpy as np
import optuna
import pytest
import yaml

from bertrec.cli.main import main
from bertrec.core.errors import BertrecError, ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import cold_items, leave_one_out
from bertrec.tuning.objectives.models import ModelObjective, Result, check_metrics, figure, latency, measure_on
from bertrec.tuning.objectives.rankers import RankerObjective
from bertrec.tuning.plan import TunePlan, load_plan
from bertrec.tuning.rules import make_pruner
from bertrec.tuning.run import begin, go_on, open_study, tune, worker_environment
from bertrec.tuning.selection import best_settings, select, write_best
from bertrec.tuning.space import Space
from bertrec.tuning.summary import best_rows, summary
from bertrec.tuning.trials import Work, counted, queue_defaults, run_trials

STATES = optuna.trial.TrialState
SPACE = Space.from_dict({"x": {"float": [0.0, 1.0]}})
SMALL = {"train.epochs": 2, "item.width": 16, "head.layers": 1}
LAYERS = {"head.dropout": {"float": [0.0, 0.5]}}


@pytest.fixture(scope="module")
def split():
    generator = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"i{k}" for k in range(30)]), {"title": [f"thing number {k}" for k in range(30)]}, None)
    rows = [1 + (generator.integers(30) + np.arange(8)) % 30 for _ in range(40)]
    return leave_one_out(Interactions(catalog, IdMap([f"u{k}" for k in range(40)]), Ragged.from_rows(rows)))


class Fake:
    """A objective whose figure is known: the setting x itself, or what ``become`` makes of the trial."""

    defaults: ClassVar = {"x": 0.25}

    def __init__(self, become=lambda number, x: x, epochs=3, users=16):
        self.become, self.epochs, self.users, self.runs = become, epochs, users, 0

    def run(self, settings, split, metrics, report):
        number, self.runs = self.runs, self.runs + 1
        value = self.become(number, settings["x"])
        for epoch in range(1, self.epochs + 1):
            report(epoch, value)
        return Result([value] * len(metrics), np.full(self.users, value), self.epochs, self.epochs, 0.01)


def study_of(objective, *, trials, prune_by="epochs", pruner="none", metrics=("NDCG@10",), sampler=None):
    study = optuna.create_study(
        directions=["maximize"] * len(metrics), sampler=sampler or optuna.samplers.RandomSampler(seed=0), pruner=make_pruner(pruner)
    )
    queue_defaults(study, SPACE, objective.defaults)
    run_trials(study, Work(objective, None, SPACE, metrics, prune_by), trials=trials)
    return study


def test_the_defaults_come_first_and_the_best_is_the_best():
    study = study_of(Fake(), trials=6)
    assert [t.state for t in study.trials] == [STATES.COMPLETE] * 6
    assert study.trials[0].params == {"x": 0.25}
    assert study.trials[0].user_attrs["default"] is True
    assert study.best_value == max(t.params["x"] for t in study.trials)
    assert study.trials[0].user_attrs["epochs"] == 3
    assert summary(study).first == [0.25]
    assert best_rows(study)[0][0] == str(study.best_trial.number)


def test_running_again_goes_on_to_the_number_asked_for():
    objective = Fake()
    study = study_of(objective, trials=3)
    work = Work(objective, None, SPACE, ("NDCG@10",))
    run_trials(study, work, trials=3)
    assert (objective.runs, counted(study)) == (3, 3)
    run_trials(study, work, trials=5)
    assert (objective.runs, counted(study)) == (5, 5)


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ValueError("no\nsuch thing"), "ValueError: no such thing"),
        (MemoryError(), "ran out of memory"),
        (BertrecError("bad data"), "BertrecError: bad data"),
    ],
)
def test_a_trial_that_raises_is_failed_with_its_reason_and_the_study_goes_on(error, says):
    def become(number, x):
        if number == 1:
            raise error
        return x

    study = study_of(Fake(become), trials=4)
    assert [t.state for t in study.trials] == [STATES.COMPLETE, STATES.FAIL, STATES.COMPLETE, STATES.COMPLETE]
    assert study.trials[1].user_attrs["reason"] == says
    assert summary(study).failed == 1


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_figure_that_is_no_number_fails_the_trial(value):
    study = study_of(Fake(lambda number, x: value if number == 1 else x, epochs=0), trials=3)
    assert study.trials[1].state == STATES.FAIL
    assert f"a figure is {value}" in study.trials[1].user_attrs["reason"]


def test_ctrl_c_marks_the_trial_and_leaves_a_study_that_goes_on():
    def become(number, x):
        if number == 2:
            raise KeyboardInterrupt
        return x

    objective = Fake(become)
    study = optuna.create_study(direction="maximize")
    work = Work(objective, None, SPACE, ("NDCG@10",))
    with pytest.raises(KeyboardInterrupt):
        run_trials(study, work, trials=5)
    assert [t.state for t in study.trials] == [STATES.COMPLETE, STATES.COMPLETE, STATES.FAIL]
    assert study.trials[2].user_attrs["reason"] == "interrupted"
    run_trials(study, work, trials=5)
    assert len(study.trials) == 5


@pytest.mark.parametrize(("epochs", "prune_by"), [(3, "epochs"), (0, "users"), (0, "none")])
@pytest.mark.parametrize("ends_by", [None, optuna.TrialPruned, ValueError, MemoryError])
def test_a_trial_that_another_worker_took_for_lost_is_left_to_it(caplog, epochs, prune_by, ends_by):
    """A host that was paused comes back: its first word on the trial is refused, and it goes on with the next."""
    study = optuna.create_study(direction="maximize")

    def become(number, x):
        if number == 1:
            study._storage.set_trial_state_values(study.trials[1]._trial_id, STATES.FAIL)
            if ends_by:
                raise ends_by
        return x

    run_trials(study, Work(Fake(become, epochs), None, SPACE, ("NDCG@10",), prune_by), trials=3)
    assert [t.state for t in study.trials] == [STATES.COMPLETE, STATES.FAIL, STATES.COMPLETE]
    assert not {"reason", "epochs"} & set(study.trials[1].user_attrs)
    assert [record.message for record in caplog.records if "trial 1: another worker has taken this trial for lost" in record.message]


def test_a_trial_taken_after_its_last_note_is_left_too(monkeypatch):
    """``Study.tell`` has a ValueError of its own for a trial that has ended."""
    study = optuna.create_study(direction="maximize")
    taken = lambda trial, *rest: study._storage.set_trial_state_values(trial._trial_id, STATES.FAIL)  # noqa: E731
    monkeypatch.setattr("bertrec.tuning.trials._note", taken)
    run_trials(study, Work(Fake(), None, SPACE, ("NDCG@10",)), trials=1)
    assert [(t.state, t.user_attrs.get("reason")) for t in study.trials] == [(STATES.FAIL, None)]


def test_ctrl_c_in_a_trial_that_another_worker_took_still_ends_the_work():
    study = optuna.create_study(direction="maximize")

    def become(number, x):
        study._storage.set_trial_state_values(study.trials[0]._trial_id, STATES.FAIL)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trials(study, Work(Fake(become), None, SPACE, ("NDCG@10",)), trials=2)
    assert len(study.trials) == 1


def test_bad_trials_are_pruned_by_epochs():
    study = study_of(Fake(lambda number, x: 0.9 if number < 6 else 0.1, epochs=5), trials=8, pruner="median")
    assert [t.state for t in study.trials] == [STATES.COMPLETE] * 6 + [STATES.PRUNED] * 2
    assert max(study.trials[7].intermediate_values) < 5


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_wilcoxon_pruner_sees_chunks_of_users_in_one_order():
    study = study_of(Fake(lambda number, x: 0.9 if number == 0 else 0.1, users=24), trials=3, prune_by="users", pruner="wilcoxon")
    assert [t.state for t in study.trials] == [STATES.COMPLETE, STATES.PRUNED, STATES.PRUNED]
    assert list(study.trials[0].intermediate_values) == list(range(8))


def test_with_two_metrics_nothing_is_reported_and_the_front_is_shown():
    study = study_of(Fake(), trials=3, prune_by="none", metrics=("NDCG@10", "HR@10"))
    assert len(study.best_trials) == 1
    assert len(best_rows(study)[0]) == 4


class TestOwnModel:
    def test_epochs_are_reported_and_the_figure_is_the_best_epochs(self, split):
        seen = []
        objective = ModelObjective("idrec", settings=SMALL | {"match.behaviour": 0, "match.solved": 0})  # which epochs are measured without
        result = objective.run({"head.dropout": 0.2}, split, ("NDCG@10", "latency"), lambda epoch, value: seen.append((epoch, value)))
        assert [epoch for epoch, _ in seen] == [1, 2]
        assert result.values[0] == pytest.approx(max(value for _, value in seen))
        assert result.values[0] == pytest.approx(result.per_user.mean())
        assert 0 < result.values[1] < 1000
        assert (result.epochs, result.seconds > 0) == (2, True)

    def test_pruning_ends_the_training(self, split):
        def report(epoch, value):
            raise optuna.TrialPruned

        with pytest.raises(optuna.TrialPruned):
            ModelObjective("idrec", settings=SMALL).run({}, split, ("NDCG@10",), report)

    def test_the_seed_may_be_set_or_searched(self):
        objective = ModelObjective("idrec", seed=3)
        assert objective.create({}).config.train.seed == 3
        assert objective.create({}, seed=5).config.train.seed == 5
        assert objective.create({"train.seed": 7}).config.train.seed == 7
        fixed = ModelObjective("idrec", settings={"train.seed": 7})
        # The winner and the defaults are fitted with seeds 0, 1, …; fits that share one would have no deviation.
        assert [objective.create({"train.seed": 7}, seed=5).config.train.seed, fixed.create({}, seed=5).config.train.seed] == [5, 5]
        assert RankerObjective("nrms", {"train.seed": 7}, 0).create({"train.seed": 8}, seed=5).config.train.seed == 5

    def test_metrics_are_checked_before_any_trial(self, split):
        check_metrics(("NDCG@10", "latency", "warm_items:HR@10"), split, own=True)
        for metrics, says in (
            (("NDGC@10",), "did you mean 'NDCG@10'"),
            ((), "give one metric"),
            (("HR@10", "HR@10"), "several different ones"),
            (("cold_items:NDCG@10",), "no validation user has a target in slice cold_items"),
            (("cold:NDCG@10",), "unknown slice 'cold'"),
        ):
            with pytest.raises(ConfigError, match=says):
                check_metrics(metrics, split, own=True)
        with pytest.raises(ConfigError, match="latency of a RecBole model"):
            check_metrics(("latency",), split, own=False)

    def test_a_latency_is_of_one_history(self, split):
        model = ModelObjective("popularity").create({}).fit(split.train)
        assert 0 < latency(model, split.validation) < 1000
        report = measure_on(model, split, split.validation)
        assert figure(report, "all:NDCG@10") == figure(report, "NDCG@10")


@pytest.fixture(scope="module")
def folder(split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "tuned"
    tune(split, "idrec", LAYERS, folder=folder, settings=SMALL, trials=3, final_seeds=2)
    return folder


@pytest.mark.slow
class TestAStudy:
    def test_it_is_a_plain_study_that_optuna_opens(self, folder):
        storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "study.journal")))
        study = optuna.load_study(study_name="tuned", storage=storage)
        assert len(study.trials) == 3
        assert study.trials[0].params == {"head.dropout": 0.3}

    def test_the_same_call_goes_on_and_another_plan_is_refused(self, folder, split):
        again = tune(split, "idrec", LAYERS, folder=folder, settings=SMALL, trials=3, final_seeds=2)
        assert len(again.trials) == 3
        for change, says in (
            ({"metrics": ("HR@10",)}, "metrics"),
            ({"seed": 5}, "seed = 0, now it is 5"),
            ({"settings": {**SMALL, "head.heads": 1}}, "settings"),
        ):
            with pytest.raises(ConfigError, match=f"the study 'tuned' has {says}.*|choose another --study"):
                tune(split, "idrec", LAYERS, folder=folder, **{"settings": SMALL, "trials": 3, **change})
        with pytest.raises(ConfigError, match="has space"):
            tune(split, "idrec", {"head.dropout": {"float": [0.1, 0.5]}}, folder=folder, settings=SMALL)

    def test_the_winner_is_measured_on_the_test_users_once(self, folder, split, monkeypatch):
        first = select(folder)
        assert (len(first["seeds"]), set(first["metrics"])) == (2, {"NDCG@10", "HR@10", "MRR@10"})
        monkeypatch.setattr("bertrec.tuning.selection._measured", lambda *_: pytest.fail("looked at the test users again"))
        assert select(folder) == json.loads(json.dumps(first))
        assert (folder / "model" / "config.json").exists() or any((folder / "model").iterdir())

    def test_best_yaml_is_what_train_takes(self, folder, tmp_path):
        path = write_best(folder)
        values = yaml.safe_load(path.read_text())
        assert values["model"] == "idrec"
        assert values["head.dropout"] == best_settings(folder)["head.dropout"]
        data = tmp_path / "shop"
        data.mkdir()
        rows = [f"u{u},i{(u * 7 + step) % 30},{step}" for u in range(40) for step in range(8)]
        (data / "interactions.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows) + "\n")
        (data / "items.csv").write_text("item_id,title\n" + "\n".join(f"i{k},thing number {k}" for k in range(30)) + "\n")
        assert main(["train", str(data), "--config", str(path), "--out", str(tmp_path / "run")]) == 0

    def test_two_workers_run_each_trial_once(self, split, tmp_path):
        folder = tmp_path / "tuned"
        looks = []
        tune(
            split, "idrec", LAYERS, folder=folder, settings=SMALL, trials=2, workers=2, watch=lambda study: looks.append(len(study.trials))
        )
        study = open_study(load_plan(folder))
        assert [t.state for t in study.trials] == [STATES.COMPLETE] * 2
        assert sum(bool(t.user_attrs.get("default")) for t in study.trials) == 1
        assert looks

    @pytest.mark.parametrize(("workers", "threads"), [(1, "6"), (2, "3"), (4, "1"), (9, "1")])
    def test_workers_share_the_cores_unless_the_user_says_otherwise(self, monkeypatch, workers, threads):
        monkeypatch.setattr("bertrec.tuning.run.usable_cores", lambda: 6)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert worker_environment(workers)["OMP_NUM_THREADS"] == threads
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        assert worker_environment(workers)["OMP_NUM_THREADS"] == "5"

    def test_a_grid_ends_at_its_last_point(self, split, tmp_path):
        grid = {"head.dropout": {"choice": [0.3, 0.1]}}
        study = tune(split, "idrec", grid, folder=tmp_path / "grid", settings=SMALL, trials=10, sampler="grid")
        assert sorted(t.params["head.dropout"] for t in study.trials) == [0.1, 0.3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"space": {"head.dropout": {"float": [0.4, 0.5]}}}, "the default 0.3, which the first trial takes, lies outside"),
        ({"space": {"head.dorpout": {"float": [0, 0.5]}}}, "did you mean 'head.dropout'"),
        ({"settings": {"head.dropout": 0.1}}, "'head.dropout' is both in the space and set to 0.1"),
        ({"metrics": ("NDGC@10",)}, "did you mean 'NDCG@10'"),
        ({"metrics": ("NDCG@10", "HR@10")}, "pruning needs a single objective"),
        ({"trails": 5}, "did you mean 'trials'"),
        ({"storage": "mysql://x"}, "mysql"),
    ],
)
def test_bad_studies_are_refused_before_anything_is_written(change, says, split, tmp_path):
    arguments = {"space": LAYERS, **change}
    with pytest.raises(BertrecError, match=says):
        tune(split, "idrec", folder=tmp_path / "out", **arguments)
    assert not (tmp_path / "out" / "plan.json").exists()


@pytest.mark.parametrize("searched", [False, True])
def test_a_study_whose_encoder_was_changed_does_not_go_on(searched, split, tmp_path):
    encoder, folder = tmp_path / "encoder", tmp_path / "out"
    encoder.mkdir()
    (encoder / "model.safetensors").write_text("weights")
    space = LAYERS | ({"encoder.name": {"choice": ["minilm", str(encoder)]}} if searched else {})
    values = {"study": "out", "storage": str(folder / "study.journal"), "model": "unisrec", "space": space}
    plan = TunePlan.from_dict(values | ({} if searched else {"settings": {"encoder.name": str(encoder)}}))
    begin(plan, split, folder)
    begin(plan, split, folder)
    (encoder / "model.safetensors").write_text("others")
    with pytest.raises(BertrecError, match=f"encoder {encoder} was changed since the study 'out' was begun"):
        begin(plan, split, folder)
    with pytest.raises(BertrecError, match=f"encoder {encoder} was changed"):
        go_on(folder)


def test_folders_of_something_else_are_refused(split, tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(BertrecError, match="holds something else"):
        tune(split, "idrec", LAYERS, folder=tmp_path)
    with pytest.raises(BertrecError, match="holds no study"):
        go_on(tmp_path)


def test_cold_items_can_be_an_objective_where_the_split_has_them(split):
    cold = cold_items(split.train, share=0.2, seed=0)
    assert cold.validation is not None
    with pytest.raises(ConfigError, match="no validation user has a target in slice cold_items"):
        check_metrics(("cold_items:NDCG@10",), cold, own=True)
