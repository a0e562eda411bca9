"""What a reader must not conclude: general limits of such a run, and those that this one shows."""

from __future__ import annotations

from bertrec.comparison.report.view import View, not_converged
from bertrec.pages.wording import names


def cautions(view: View) -> list[str]:
    """Return one sentence a false conclusion; those that do not apply are left out."""
    always = (_no_difference, _unfinished)
    with_figures = (_other_data, *always, _stopped, _seeds, _cold, _times, _disagrees)
    found = [caution(view) for caution in (with_figures if view.ranked else always)]
    return [sentence for sentence in found if sentence]


def _other_data(view: View) -> str:
    return f"That the order holds elsewhere: it was measured on {view.data_name}, under this one split and protocol."


def _no_difference(view: View) -> str:
    if len(view.ranked) < 2:
        return "That a model is better than another: fewer than two models have figures."
    return (
        "That models are equally good where no difference is shown: there may be too few users to see one. "
        "Nor are overlapping intervals a test: the pairwise tests are."
    )


def _unfinished(view: View) -> str:
    return f"Anything about {names(view.unranked)}: without valid figures they are neither good nor bad." if view.unranked else ""


def _stopped(view: View) -> str:
    stopped = [model for model in view.ranked if not_converged(model)]
    if not stopped:
        return ""
    return f"What {names(stopped)} could reach with more time: training ended before it had converged."


def _seeds(view: View) -> str:
    if max(len(model.get("seeds") or []) for model in view.ranked) < 2:
        return "That another seed gives the same figures: each model was trained once. The intervals cover the choice of users only."
    return "That the intervals cover training noise: they cover the choice of users. The spread over seeds is the figure after ±."


def _cold(view: View) -> str:
    measured = "cold_items" in view.slices and view.slice_users("cold_items") > 0
    return "" if measured else "Anything about new items: no test target was absent from training."


def _times(view: View) -> str:
    cores = (view.protocol.get("machine") or {}).get("cores")
    where = f" ({cores} cores)" if cores else ""
    return f"That times carry over: they are of this machine{where}, and the settings tried are those that the budget allowed."


def _disagrees(view: View) -> str:
    differing = [model for model in view.ranked if (model.get("cross_check") or {}).get("agrees") is False]
    if not differing:
        return ""
    return (
        f"That our figures for {names(differing)} are RecBole's: where scores tie, the two order equals differently, see the cross-check."
    )
