"""RecBole's own figures beside ours, under its own protocol: what shows that both mean the same by them."""

from __future__ import annotations

from typing import Any

from bertrec.data.splits import EvaluationSet
from bertrec.recbole.ranking import mean_metric, rank_and_list, tied_users

CHECKED = ("Hit", "NDCG", "MRR")
CHECKED_AT = (10, 20)
_OURS = {"Hit": "HR", "NDCG": "NDCG", "MRR": "MRR"}
_AGREES = 1e-6


def cross_check(prepared: Any, test: EvaluationSet) -> dict[str, Any]:
    """Let RecBole measure itself on the test users, and repeat its own masking and its own candidates with our ranks.

    Args:
        prepared: `bertrec.recbole.worker.prepare.Prepared`, its model trained.
        test: the test users.
    """
    if (test.targets.lengths > 1).any() and prepared.sequential:
        return {"note": "not made: RecBole counts each target of a user as a user of its own", "agrees": None}
    theirs = prepared.trainer.evaluate(prepared.test, load_best_model=False, show_progress=False)
    masked = not prepared.sequential
    ranks, _ = rank_and_list(prepared.scorer.raw(test), test, mask_seen=masked, rank_seen=True)
    figures = {
        f"{_OURS[name]}@{k}": {"recbole": float(theirs[f"{name.lower()}@{k}"]), "ours": mean_metric(ranks, test, f"{_OURS[name]}@{k}")}
        for name in CHECKED
        for k in prepared.config["topk"]
    }
    largest = max(abs(pair["recbole"] - pair["ours"]) for pair in figures.values())
    tied = tied_users(prepared.scorer.raw(test), test, mask_seen=masked)
    note = "RecBole's own protocol: seen items " + ("masked" if masked else "not masked") + ", all items of its vocabulary"
    return {
        "figures": figures,
        "users": len(test),
        "tied_users": tied,
        "largest_difference": largest,
        "agrees": largest <= _AGREES,
        "note": note,
    }
