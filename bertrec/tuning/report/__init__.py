"""What a study leaves behind for a reader: one HTML page, the same in Markdown, and every trial as a row of a Parquet file."""

from bertrec.tuning.report.regression import expected_regression
from bertrec.tuning.report.trials import write_trials
from bertrec.tuning.report.write import write_tuning_report

__all__ = ["expected_regression", "write_trials", "write_tuning_report"]
