"""How well a task is answered."""

from __future__ import annotations

import numpy as np

from bertrec.evaluation.labels import auc
from bertrec.rankers.p5.questions import Float64Array, Questions
from bertrec.rankers.p5.task import STARS, Task


def task_figures(task: Task, questions: Questions, answers: Float64Array) -> dict[str, float]:
    """Return RMSE, MAE and for reviews the share of right classes; AUC of pairs; or HR@1 and HR@10 of one among several.

    Ties count against the model in HR, half in AUC. The class of a review is the rating nearest to the expected one.

    Args:
        task: of the questions.
        questions: with answers.
        answers: expected ones, ``[n]``.
    """
    if task.asks in STARS:
        errors = answers - questions.truth
        found = {"RMSE": float(np.sqrt(np.mean(errors**2))), "MAE": float(np.abs(errors).mean())}
        return found | ({"accuracy": _accuracy(task, questions, answers)} if task.asks == "review" else {})
    if questions.group is None:
        return {"AUC": auc(answers, questions.truth)} if len(np.unique(questions.truth)) > 1 else {}
    first = np.flatnonzero(questions.truth == 1)
    above = answers >= answers[first][questions.group]
    ranks = np.bincount(questions.group, above)  # the right one among them
    return {f"HR@{k}": float(np.mean(ranks <= k)) for k in (1, 10)} | {"of": float(np.bincount(questions.group).mean())}


def _accuracy(task: Task, questions: Questions, answers: Float64Array) -> float:
    return float(np.mean(Questions(questions.histories, questions.items, answers).labels(task) == questions.labels(task)))
