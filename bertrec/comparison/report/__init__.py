"""The report of a comparison run: one HTML page, the same in Markdown, charts as SVG and tables as CSV and LaTeX."""

from bertrec.comparison.report.write import check_extras, write_report

__all__ = ["check_extras", "write_report"]
