"""What stands behind the figures: the settings that were tried, and RecBole's own evaluation beside ours."""

from __future__ import annotations

from bertrec.comparison.report.view import View
from bertrec.pages import wording
from bertrec.pages.blocks import Block, Cell, Column, Json, Table, Text, label

_SEARCHED = [
    Column("model"),
    Column("settings tried", numeric=True),
    Column("failed fits", numeric=True),
    Column("best validation figure", numeric=True),
    Column("search seconds", numeric=True),
    Column("settings used"),
]
_TRIED = [
    Column("settings"),
    Column("seed", numeric=True),
    Column("validation figure", numeric=True),
    Column("seconds", numeric=True),
    Column("epochs", numeric=True),
    Column("converged"),
    Column("chosen"),
]
_CHECKED = [
    Column("model"),
    Column("metric"),
    Column("RecBole", numeric=True),
    Column("ours", numeric=True),
    Column("difference", numeric=True),
    Column("tied users", numeric=True),
    Column("agrees"),
    Column("note"),
]


def search_blocks(view: View) -> list[Block]:
    """Return one line a model, and each model's tries folded away."""
    models = [model for model in [*view.ranked, *view.unranked] if model.get("search")]
    if not models:
        return [Text("No model's settings were searched: each was trained with the settings given.")]
    summary = Table(f"Searches, by validation {view.primary}", _SEARCHED, [_search_row(model) for model in models])
    return [summary, *(_tries(view, model) for model in models)]


def cross_check_blocks(view: View) -> list[Block]:
    """Return RecBole's figures beside ours, a metric a row."""
    checked = [model for model in view.models if model.get("cross_check")]
    if not checked:
        return [Text("No RecBole model was cross-checked.")]
    text = (
        "RecBole's own evaluation of its models beside ours on the same scores. The two may differ where users have tied scores: "
        "ours places the target last among equals."
    )
    return [Text(text), Table("RecBole's cross-check", _CHECKED, [row for model in checked for row in _check_rows(model)])]


def settings_tried(model: Json) -> int:
    """Return how many different settings were tried; further seeds of the chosen ones do not count again."""
    return len({wording.settings(one.get("settings")) for one in model["search"]})


def _search_row(model: Json) -> list[Cell]:
    tries = model["search"]
    figures = [one["metric"] for one in tries if one.get("metric") is not None]
    best = max(figures, default=None)
    failed = sum(one.get("status", "ok") != "ok" for one in tries)
    seconds = model.get("search_seconds")
    return [
        label(str(model["name"])),
        Cell(str(settings_tried(model)), key=float(settings_tried(model))),
        Cell(str(failed), key=float(failed)),
        Cell(wording.number(best), key=best),
        Cell(wording.number(seconds, 1), key=seconds),
        label(wording.settings(model.get("settings"))),
    ]


def _tries(view: View, model: Json) -> Table:
    fits = len(model["search"])
    line = f"{model['name']}: {settings_tried(model)} settings in {fits} fit{'s' if fits != 1 else ''}"
    return Table(
        f"Settings tried for {model['name']}, by validation {view.primary}",
        _TRIED,
        [_try_row(one) for one in model["search"]],
        summary=line,
    )


def _try_row(one: Json) -> list[Cell]:
    failed = "" if one.get("status", "ok") == "ok" else f"{one['status']}: {one.get('reason') or 'no reason was recorded'}"
    converged = one.get("converged")
    return [
        Cell(wording.settings(one.get("settings")), key=wording.settings(one.get("settings")), below=failed),
        Cell(wording.plain(one.get("seed")), key=one.get("seed")),
        Cell(wording.number(one.get("metric")), key=one.get("metric")),
        Cell(wording.number(one.get("seconds"), 1), key=one.get("seconds")),
        Cell(wording.plain(one.get("epochs")), key=one.get("epochs")),
        label("unknown" if converged is None else wording.plain(bool(converged))),
        label("chosen" if one.get("chosen") else "no"),
    ]


def _check_rows(model: Json) -> list[list[Cell]]:
    check = model["cross_check"]
    tied, users = check.get("tied_users"), check.get("users")
    common = [
        Cell(f"{wording.plain(tied)} of {wording.plain(users)}", key=tied),
        label({True: "yes", False: "NO"}.get(check.get("agrees"), "unknown"), badge="bad" if check.get("agrees") is False else ""),
        label(str(check.get("note") or "")),
    ]
    return [[*_check_cells(str(model["name"]), metric, pair), *common] for metric, pair in (check.get("figures") or {}).items()]


def _check_cells(name: str, metric: str, pair: Json) -> list[Cell]:
    theirs, ours = pair.get("recbole"), pair.get("ours")
    difference = None if theirs is None or ours is None else ours - theirs
    # Agreement is judged at the last decimals, so they are shown.
    size = wording.ABSENT if difference is None else f"{difference:.1e}".replace("-", "−") if difference else "0"
    return [
        label(name),
        label(metric),
        Cell(wording.number(theirs, 6), key=theirs),
        Cell(wording.number(ours, 6), key=ours),
        Cell(size, key=difference),
    ]
