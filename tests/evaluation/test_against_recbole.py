"""The same figures as RecBole's own metric classes, to 1e-6. RecBole changes numpy for its whole process, so it runs in one of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.evaluation.evaluate import evaluate_scores
from bertrec.evaluation.labels import auc
from bertrec.evaluation.protocol import Protocol

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("recbole") is None, reason="recbole is not installed"),
]

KS = (1, 5, 10)
NAMES = {"HR": "hit", "Recall": "recall", "Precision": "precision", "NDCG": "ndcg", "MRR": "mrr", "MAP": "map"}

# RecBole's collector takes the top k of the scores; everything after that is its own code.
SCRIPT = """
import json, sys
import numpy as np
old = dict(float=float, float_=np.float64, int=int, object=object, str=str, complex_=np.complex128, unicode_=np.str_)
for name, kind in old.items():
    if name not in np.__dict__:
        setattr(np, name, kind)
import torch
from recbole.evaluator.collector import DataStruct
from recbole.evaluator import metrics

given = np.load(sys.argv[1])
scores, relevant, ks = torch.tensor(given["scores"]), torch.tensor(given["relevant"]), [int(k) for k in given["ks"]]
top = torch.topk(scores, max(ks), dim=-1).indices
data = DataStruct()
data.set("rec.items", top)
data.set("rec.topk", torch.cat([torch.gather(relevant, 1, top), relevant.sum(1, keepdim=True)], dim=1))
data.set("data.num_items", scores.shape[1])
data.set("rec.score", torch.tensor(given["pair_scores"])[:, None])
data.set("data.label", torch.tensor(given["pair_labels"])[:, None])
config = {"topk": ks, "metric_decimal_place": 12}
out = {}
for name in ("Hit", "Recall", "Precision", "NDCG", "MRR", "MAP", "ItemCoverage", "GiniIndex", "AUC"):
    out.update(getattr(metrics, name)(config).calculate_metric(data))
json.dump({key: float(value) for key, value in out.items()}, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recbole")
    generator = np.random.default_rng(5)
    n_users, n_items = 50, 30
    scores = generator.permuted(np.tile(np.arange(n_items + 1.0, dtype=np.float32), (n_users, 1)), axis=1)
    targets = Ragged.from_rows([1 + generator.permutation(n_items)[: generator.integers(1, 14)] for _ in range(n_users)])
    relevant = np.zeros((n_users, n_items + 1), dtype=np.int64)
    relevant[targets.rows, targets.values] = 1
    masked = scores.copy()
    masked[:, 0] = -np.inf
    pair_scores, pair_labels = generator.integers(0, 20, 300).astype(np.float32), generator.integers(0, 2, 300)
    given = {"scores": masked, "relevant": relevant, "ks": np.array(KS), "pair_scores": pair_scores, "pair_labels": pair_labels}
    np.savez(folder / "given.npz", **given)
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "script.py", "given.npz", "out.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    data = SimpleNamespace(users=list(range(n_users)), histories=Ragged.from_rows([[]] * n_users), targets=targets)
    ours = evaluate_scores([scores], data, Protocol(ks=KS, bootstrap=0), np.ones(n_items + 1, dtype=np.int64), top_k_lists=True)
    return ours, json.loads((folder / "out.json").read_text(encoding="utf-8")), auc(pair_scores, pair_labels), n_items


@pytest.mark.parametrize("k", KS)
@pytest.mark.parametrize("name", NAMES)
def test_ranking_metrics_equal_recbole(both, name, k):
    ours, theirs, _, _ = both
    assert ours.mean(f"{name}@{k}") == pytest.approx(theirs[f"{NAMES[name]}@{k}"], abs=1e-6)


@pytest.mark.parametrize("k", KS)
def test_list_metrics_equal_recbole(both, k):
    ours, theirs, _, n_items = both
    # RecBole counts the padding column as an item of its catalogue in both
    assert ours.mean(f"Coverage@{k}") * n_items == pytest.approx(theirs[f"itemcoverage@{k}"] * (n_items + 1), abs=1e-6)
    # with N = n + 1 columns, sum((2 i - N - 1) f) = N x their Gini; one never-listed item less gives ours
    assert (ours.mean(f"Gini@{k}") * n_items + 1) / (n_items + 1) == pytest.approx(theirs[f"giniindex@{k}"], abs=1e-6)


def test_auc_equals_recbole_with_ties(both):
    _, theirs, ours, _ = both
    assert ours == pytest.approx(theirs["auc"], abs=1e-6)
