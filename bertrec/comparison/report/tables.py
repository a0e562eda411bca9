"""The tables of a comparison: models, slices, lists beside accuracy, tests, searches, and RecBole's own evaluation beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from bertrec.comparison.view import View, figure
from bertrec.evaluation.significance import NO_DIFFERENCE
from bertrec.pages import wording
from bertrec.pages.blocks import Cell, Json, Row, Table, label
from bertrec.pages.wording import counted, difference_cell, figure_cell, number, number_cell, p_cell, plain, settings_text, signed

SHOWN_TESTS = 30
_TRIED = ["settings", "seed", "validation figure", "seconds", "epochs", "converged", "chosen"]
_TESTED = ["a", "b", "metric", "slice", "difference", "p (t test)", "p (Wilcoxon)", "p (Holm)", "effect size", "verdict"]
_CHECKED = ["model", "metric", "RecBole", "ours", "difference", "tied users", "agrees", "note"]


def main_table(view: View) -> Table:
    """Return all models, the ranked ones best first."""
    against = ["against the best ID model"] if view.best_id else []
    columns = ["model", "family", *view.metrics, *against, "seeds", "converged", "fit minutes", "peak MiB"]
    rows = [_main_row(view, model) for model in view.ranked]
    lost = [[*_names(model), _lost(view, model)] for model in view.unranked]
    return Table("The models, best first", columns, rows, last=lost, sorted_by=view.primary)


def _main_row(view: View, model: Json) -> Row:
    outcomes = {metric: view.against_best_id(model, metric) or (None, "") for metric in view.metrics}
    figures = [metric_cell(model, metric, mark=mark) for metric, (_, mark) in outcomes.items()]
    against = [_against(model is view.best_id, *outcomes[view.primary])] if view.best_id else []
    finished, asked = len(model.get("seeds") or []), len(view.protocol.get("seeds") or [])
    seeds = Cell(str(finished) if finished >= asked else f"{finished} of {asked}", finished)
    fit = model.get("fit_seconds")
    minutes = Cell(number(None if fit is None else fit / 60, 1), fit)
    return [*_names(model), *figures, *against, seeds, convergence(model), minutes, number_cell(model.get("peak_mib"), 0)]


def _names(model: Json) -> list[Cell]:
    family = str(model.get("family") or "unknown")
    return [label(str(model["name"])), label(family, badge=family if family in ("text", "id") else "other")]


def metric_cell(model: Json, metric: str, part: str = "all", *, mark: str = "") -> Cell:
    """Return a figure with its spread over seeds, its mark, and its interval below."""
    return figure_cell(figure(model, metric, part), len(model.get("seeds") or []), mark=mark)


def _against(is_best: bool, difference: float | None, mark: str) -> Cell:
    if is_best or difference is None:
        return Cell("is the best", 0.0) if is_best else Cell("not tested")
    return Cell(signed(difference), difference, {"▲": "better", "▼": "worse"}.get(mark, NO_DIFFERENCE))


def convergence(model: Json) -> str:
    """Say whether training converged, and what ended it where it did not."""
    ended_by, converged = model.get("ended_by"), model.get("converged")
    if ended_by in ("no training", "budget") or converged is None:
        return {"no training": "no training", "budget": "no: budget ended"}.get(str(ended_by), "unknown")
    return "yes" if converged else f"no: ended by {ended_by or 'an unknown cause'}"


def _lost(view: View, model: Json) -> Cell:
    """Say what became of a model that is not ranked, and why."""
    unsaid = f"no {view.primary} was measured" if model.get("status") == "ok" else "no reason was recorded"
    reason = wording.one_line(str(model.get("reason") or "")) or unsaid
    return label(str(model.get("status") or "unknown"), below=reason, badge="bad")


def metric_table(view: View, metrics: Sequence[str], caption: str, *, fold: bool = False) -> Table:
    """Return the ranked models with some metrics over all users."""
    rows = [[*_names(model), *(metric_cell(model, name) for name in metrics)] for model in view.ranked]
    first = view.primary if view.primary in metrics else None
    return Table(caption, ["model", "family", *metrics], rows, sorted_by=first, summary=caption if fold else None)


def slice_table(view: View) -> Table:
    """Return the primary metric with one slice per column, and the users of each."""
    titles = [view.slice_title(name) for name in view.slices]
    rows = [[str(model["name"]), *(metric_cell(model, view.primary, name) for name in view.slices)] for model in view.ranked]
    users = ["users", *(Cell(str(view.slice_users(name))) for name in view.slices)]
    return Table(f"{view.primary} by slice", ["model", *titles], rows, last=[users], sorted_by=titles[0])


def test_tables(view: View) -> list[Table]:
    """Return the tests of the primary metric; beyond `SHOWN_TESTS`, and for other metrics on the page only, folded away."""
    rows = [_test_row(test) for test in view.tests]
    primary = [row for row in rows if row[2] == view.primary]
    rest, others = primary[SHOWN_TESTS:], [row for row in rows if row[2] != view.primary]
    found = [
        Table("Pairwise tests", _TESTED, primary[:SHOWN_TESTS]),
        Table("Further pairwise tests", _TESTED, rest, summary=f"{len(rest)} further tests of {view.primary}"),
        Table("Tests of other metrics", _TESTED, others, summary=f"{len(others)} tests of other metrics", page_only=True),
    ]
    return [table for table in found if table.rows]


def _test_row(test: Json) -> Row:
    effect = test.get("effect_size")
    return [
        *(str(test[name]) for name in ("a", "b", "metric")),
        str(test.get("slice") or "all"),
        difference_cell(test.get("difference"), test.get("ci95")),
        *(p_cell(test.get(name)) for name in ("p_t", "p_wilcoxon", "p_holm")),
        Cell(number(effect, 2).replace("-", "−"), effect),
        str(test.get("verdict") or wording.ABSENT),
    ]


def search_tables(view: View) -> list[Table]:
    """Return one line per model whose settings were searched, and each model's tries folded away."""
    models = [model for model in [*view.ranked, *view.unranked] if model.get("search")]
    columns = ["model", "settings tried", "failed fits", "best validation figure", "search seconds", "settings used"]
    summary = Table(f"Searches, by validation {view.primary}", columns, [_search_row(model) for model in models])
    return [summary, *(_tries(view, model) for model in models)] if models else []


def settings_tried(model: Json) -> int:
    """Return how many different settings were tried; further seeds of the chosen ones do not count again."""
    return len({plain(one.get("settings")) for one in model["search"]})


def _search_row(model: Json) -> Row:
    figures = [one["metric"] for one in model["search"] if one.get("metric") is not None]
    failed = sum(one.get("status", "ok") != "ok" for one in model["search"])
    counts = [number_cell(settings_tried(model), 0), number_cell(failed, 0)]
    costs = [number_cell(max(figures, default=None)), number_cell(model.get("search_seconds"), 1)]
    return [str(model["name"]), *counts, *costs, settings_text(model.get("settings"))]


def _tries(view: View, model: Json) -> Table:
    line = f"{model['name']}: {settings_tried(model)} settings in {counted(len(model['search']), 'fit')}"
    caption = f"Settings tried for {model['name']}, by validation {view.primary}"
    return Table(caption, _TRIED, [_try_row(one) for one in model["search"]], summary=line)


def _try_row(one: Json) -> Row:
    failed = "" if one.get("status", "ok") == "ok" else f"{one['status']}: {one.get('reason') or 'no reason was recorded'}"
    seed, epochs = (Cell(plain(one.get(name)), one.get(name)) for name in ("seed", "epochs"))
    costs = [seed, number_cell(one.get("metric")), number_cell(one.get("seconds"), 1), epochs]
    converged = "unknown" if one.get("converged") is None else plain(bool(one["converged"]))
    return [label(settings_text(one.get("settings")), below=failed), *costs, converged, "chosen" if one.get("chosen") else "no"]


def check_table(view: View) -> Table:
    """Return RecBole's figures beside ours, a metric per row."""
    checked = [(model, model["cross_check"]) for model in view.models if model.get("cross_check")]
    rows = [_check_row(str(model["name"]), check, *pair) for model, check in checked for pair in (check.get("figures") or {}).items()]
    return Table("RecBole's cross-check", _CHECKED, rows)


def _check_row(name: str, check: Json, metric: str, pair: Json) -> Row:
    theirs, ours, agrees = pair.get("recbole"), pair.get("ours"), check.get("agrees")
    difference = None if theirs is None or ours is None else ours - theirs
    # Agreement is judged at the last decimals, so they are shown.
    size = wording.ABSENT if difference is None else f"{difference:.1e}".replace("-", "−") if difference else "0"
    said = label("unknown" if agrees is None else "yes" if agrees else "NO", badge="bad" if agrees is False else "")
    tied = Cell(f"{plain(check.get('tied_users'))} of {plain(check.get('users'))}", check.get("tied_users"))
    return [name, metric, number_cell(theirs, 6), number_cell(ours, 6), Cell(size, difference), tied, said, str(check.get("note") or "")]
