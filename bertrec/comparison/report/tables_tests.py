"""The table of pairwise tests: those of the primary metric first, what is beyond a screen folded away."""

from __future__ import annotations

from collections.abc import Sequence

from bertrec.comparison.report.view import View
from bertrec.pages import wording
from bertrec.pages.blocks import Block, Cell, Column, Json, Table, Text, label

SHOWN_TESTS = 30
_COLUMNS = [
    Column("a"),
    Column("b"),
    Column("metric"),
    Column("slice"),
    Column("difference", numeric=True),
    Column("p (t test)", numeric=True),
    Column("p (Wilcoxon)", numeric=True),
    Column("p (Holm)", numeric=True),
    Column("effect size", numeric=True),
    Column("verdict"),
]
_EXPLAINED = (
    "The difference is a minus b, paired over users, with its bootstrap 95 % interval. p (Holm) is the Wilcoxon p corrected for the "
    "number of comparisons; the effect size is Cohen's d of the differences."
)


def ordered_tests(view: View) -> list[Json]:
    """Return the tests with the primary metric's first, then as the protocol names the metrics."""
    place = {name: position for position, name in enumerate(view.metrics)}
    return sorted(view.tests, key=lambda test: place.get(test["metric"], len(place)))


def tests_blocks(view: View, *, all_metrics: bool) -> list[Block]:
    """Return the tests' table; beyond `SHOWN_TESTS` rows the remainder is folded away."""
    tests = [test for test in ordered_tests(view) if all_metrics or test["metric"] == view.primary]
    if not tests:
        return [Text("No two models were tested against one another.")]
    blocks: list[Block] = [Text(_EXPLAINED), _table("Pairwise tests", tests[:SHOWN_TESTS])]
    rest = tests[SHOWN_TESTS:]
    return [*blocks, _table("Further pairwise tests", rest, summary=f"{len(rest)} further tests")] if rest else blocks


def _table(caption: str, tests: Sequence[Json], *, summary: str | None = None) -> Table:
    return Table(caption, _COLUMNS, [_row(test) for test in tests], summary=summary)


def _row(test: Json) -> list[Cell]:
    effect = test.get("effect_size")
    names = [label(str(test[key])) for key in ("a", "b", "metric")]
    difference = Cell(wording.signed(test.get("difference")), key=test.get("difference"), below=wording.interval(test.get("ci95")))
    p_values = [Cell(wording.p_value(test.get(key)), key=test.get(key)) for key in ("p_t", "p_wilcoxon", "p_holm")]
    return [
        *names,
        label(str(test.get("slice") or "all")),
        difference,
        *p_values,
        Cell(wording.number(effect, 2).replace("-", "−"), key=effect),
        label(str(test.get("verdict") or wording.ABSENT)),
    ]
