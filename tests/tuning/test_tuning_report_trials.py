"""trials.parquet: every trial is a row, every parameter a column, whatever the types."""

import datetime
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

optuna = pytest.importorskip("optuna")
sys.path.insert(0, str(Path(__file__).parent))
import tuning_report_studies as studies  # noqa: E402
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402

from bertrec.core.errors import BertrecError  # noqa: E402
from bertrec.tuning.report import write_trials  # noqa: E402


def written(study, folder):
    write_trials(study, folder / "trials.parquet")
    return pq.read_table(folder / "trials.parquet")


@pytest.fixture
def table(tmp_path):
    return written(studies.small(), tmp_path)


def test_every_trial_is_a_row_with_its_state(table):
    assert table["number"].to_pylist() == list(range(7))
    assert table["state"].to_pylist() == ["complete", "complete", "pruned", "failed", "complete", "running", "waiting"]


def test_values_times_and_reports_are_as_the_trials_have_them(table):
    assert table["value"].to_pylist() == [0.10, 0.12, 0.03, None, 0.11, None, None]
    assert table["seconds"].to_pylist() == [30.0, 30.0, 10.0, 2.0, 30.0, None, None]
    assert table["reported"].to_pylist() == [2, 2, 1, 0, 3, 1, 0]
    assert table["start"].to_pylist()[:2] == [studies.START, studies.START + datetime.timedelta(minutes=1)]
    assert table["start"].to_pylist()[-1] is None
    assert table["end"].to_pylist()[3] == studies.START + datetime.timedelta(minutes=3, seconds=2)


def test_a_failed_trial_has_its_reason_and_no_other_has_one(table):
    reasons = table["reason"].to_pylist()
    assert reasons[3] == "the loss is not finite <script>alert(1)</script>\nat step 3"
    assert reasons[:3] + reasons[4:] == [None] * 6
    assert "user.reason" not in table.column_names


def test_parameters_have_columns_of_their_own_types(table):
    assert table.schema.field("params.train.learning_rate").type == pa.float64()
    assert table.schema.field("params.head.layers").type == pa.int64()
    assert table["params.head.layers"].to_pylist() == [2, 3, 1, 4, 2, None, 1]  # the last one waits with what it was enqueued with
    assert table["params.head.experts"].to_pylist() == [None, 6, None, None, None, None, None]
    assert table[f"params.{studies.EVIL}"].to_pylist()[0] == 0.1


def test_choices_of_several_types_become_text_and_none_is_not_absence(table):
    assert table.schema.field("params.train.patience").type == pa.string()
    assert table["params.train.patience"].to_pylist() == ["auto", "null", "3", "auto", "true", None, None]


def test_user_attributes_that_are_one_value_have_columns(table):
    assert table["user.standard_error"].to_pylist() == [0.004, 0.004, None, None, 0.006, None, None]
    assert table["user.default"].to_pylist()[:2] == [True, None]
    assert table.schema.field("user.default").type == pa.bool_()
    assert table["user.epochs"].to_pylist()[0] == 2
    assert "user.parts" not in table.column_names


def test_an_empty_study_is_a_table_without_rows(tmp_path):
    table = written(studies.make(), tmp_path)
    assert table.num_rows == 0
    assert table.column_names == ["number", "state", "value", "start", "end", "seconds", "reported", "reason"]


def test_several_objectives_have_a_column_each(tmp_path):
    table = written(studies.two_objectives(), tmp_path)
    assert table["values/NDCG@10"].to_pylist() == [0.09, 0.10, 0.12, 0.08, 0.12]
    assert table["values/latency"].to_pylist() == [3.0, 2.0, 5.0, 1.0, 6.0]
    assert "value" not in table.column_names


@pytest.mark.parametrize(
    ("choices", "kind", "expected"),
    [
        ((1, 2), pa.int64(), [1, 2]),
        ((1, 2.5), pa.float64(), [1.0, 2.5]),
        ((True, False), pa.bool_(), [True, False]),
        ((True, 1.5), pa.string(), ["true", "1.5"]),
        ((2**70, 1), pa.string(), [str(2**70), "1"]),
        ((None, None), pa.string(), ["null", "null"]),
        (("a", "\ud800"), pa.string(), ["a", "\\ud800"]),
    ],
)
def test_each_mix_of_types_has_a_column(choices, kind, expected, tmp_path):
    study = studies.make()
    for choice in choices:
        studies.add(study, TrialState.COMPLETE, [0.1], params={"x": (choice, CategoricalDistribution(choices))})
    column = written(study, tmp_path)["params.x"]
    assert column.type == kind
    assert column.to_pylist() == expected


def test_a_parameter_that_changes_its_kind_still_has_one_column(tmp_path):
    study = studies.make()
    for value, kind in ((1, IntDistribution(1, 2)), (0.5, FloatDistribution(0, 1)), ("auto", CategoricalDistribution(("auto",)))):
        studies.add(study, TrialState.COMPLETE, [0.1], params={"x": (value, kind)})
    assert written(study, tmp_path)["params.x"].to_pylist() == ["1", "0.5", "auto"]


def test_a_study_that_optuna_ran_itself_is_read_back_as_pandas_would(tmp_path):
    pandas = pytest.importorskip("pandas")
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: trial.suggest_float("x", -1, 1) ** 2, n_trials=5)
    write_trials(study, tmp_path / "new" / "trials.parquet")
    frame = pandas.read_parquet(tmp_path / "new" / "trials.parquet")
    assert frame["value"].min() == study.best_value
    assert list(frame["params.x"]) == [trial.params["x"] for trial in study.trials]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BertrecError, match="cannot write"):
        write_trials(studies.make(), tmp_path / "file" / "trials.parquet")
