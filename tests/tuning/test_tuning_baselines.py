"""RecBole's models as objectives of a study, fitted in processes of their own."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import optuna
import pytest

from bertrec.cli.main import main
from bertrec.core.errors import ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.interactions import Interactions
from bertrec.data.splits import leave_one_out
from bertrec.recbole.exchange import save_split
from bertrec.tuning.objectives.models import RecBoleObjective
from bertrec.tuning.run import tune

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("recbole") is None or sys.version_info >= (3, 12), reason="RecBole's models run on Python 3.11 only"
    ),
]


@pytest.fixture(scope="module")
def split():
    """Two groups of users with six items each: the one that a user has not met is the right answer."""
    generator = np.random.default_rng(3)
    rows = [1 + 6 * (user % 2) + generator.permutation(6) for user in range(40)]
    catalog = ItemCatalog(IdMap(range(12)), {"title": [f"thing {k}" for k in range(12)]}, None)
    return leave_one_out(Interactions(catalog, IdMap(range(40)), Ragged.from_rows(rows)))


@pytest.fixture
def objective(split, tmp_path):
    def make(model, **settings):
        save_split(split, tmp_path / "split")
        return RecBoleObjective(model, tmp_path, settings)

    return make


def test_it_is_measured_on_the_validation_users(objective, split):
    result = objective("ItemKNN").run({"k": 12}, split, ("HR@1", "NDCG@10"), lambda epoch, value: None)
    # four of six items are known at validation: the right answer is one of two
    assert result.values[0] == pytest.approx(0.5, abs=0.2)
    assert len(result.per_user) == len(split.validation)
    assert result.values[0] == pytest.approx(result.per_user.mean())


def test_epochs_are_reported_while_it_trains_and_pruning_ends_the_process(objective, split):
    seen = []

    def report(epoch, value):
        seen.append(epoch)
        if epoch >= 3:
            raise optuna.TrialPruned

    with pytest.raises(optuna.TrialPruned):
        objective("BPR", epochs=1_000_000, stopping_step=1_000_000).run({}, split, ("NDCG@10",), report)
    assert seen == [1, 2, 3]


def test_what_goes_wrong_there_is_an_error_here(objective, split):
    with pytest.raises(ModelError, match=r"RecBole's SASRec: failed: ValueError: The hidden size"):
        objective("SASRec").run({"hidden_size": 63}, split, ("NDCG@10",), lambda epoch, value: None)


def test_a_study_of_a_baseline_and_its_commands(split, tmp_path, capsys):
    study = tune(split, "ItemKNN", {"k": {"int": [1, 200]}}, folder=tmp_path / "knn", source="recbole", trials=2, pruner="none")
    assert study.trials[0].params == {"k": 100}
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    assert main(["tune", "show", str(tmp_path / "knn")]) == 0
    assert main(["tune", "best", str(tmp_path / "knn")]) == 0
    shown = capsys.readouterr().out
    assert "k:" in shown
    assert "model: recbole:ItemKNN" in shown
