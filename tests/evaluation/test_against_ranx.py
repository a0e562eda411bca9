"""The same figures as ranx, an independent library, to 1e-6.

ranx compiles itself with numba, for a minute or more when nothing is cached. In a process of its own, with the compiler off, it runs as
plain Python in seconds.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from bertrec.core.ragged import Ragged
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.ranks import rank_targets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ranx") is None, reason="ranx is not installed"),
]

K = 10
N_USERS, N_ITEMS = 60, 40

SCRIPT = """
import json, sys
import ranx
given = json.load(open(sys.argv[1]))
run = ranx.Run(given["run"])
ranx.evaluate(ranx.Qrels(given["qrels"]), run, given["names"])
json.dump({name: [float(run.scores[name][user]) for user in sorted(given["run"])] for name in given["names"]}, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(11)
    scores = generator.permuted(np.tile(np.arange(N_ITEMS + 1.0), (N_USERS, 1)), axis=1)
    targets = Ragged.from_rows([1 + generator.permutation(N_ITEMS)[: generator.integers(1, 15)] for _ in range(N_USERS)])
    seen = Ragged.from_rows([generator.integers(1, N_ITEMS + 1, 8) for _ in range(N_USERS)])
    ours = rank_metrics(Ragged(rank_targets(scores, targets, seen=seen), targets.offsets), (K,))
    return scores, targets, seen, ours


@pytest.fixture(scope="module")
def theirs(case, tmp_path_factory):
    scores, targets, seen, _ = case
    qrels = {f"u{row:03d}": {f"i{item:03d}": 1 for item in targets[row]} for row in range(N_USERS)}
    run = {}
    for row in range(N_USERS):
        gone = set(seen[row].tolist()) - set(targets[row].tolist())
        run[f"u{row:03d}"] = {f"i{item:03d}": float(scores[row, item]) for item in range(1, N_ITEMS + 1) if item not in gone}
    names = [f"{name}@{K}" for name in ("hit_rate", "recall", "precision", "ndcg", "mrr", "map")]
    folder = tmp_path_factory.mktemp("ranx")
    (folder / "given.json").write_text(json.dumps({"qrels": qrels, "run": run, "names": names}), encoding="utf-8")
    (folder / "script.py").write_text(SCRIPT, encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "script.py", "given.json", "out.json"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: np.array(values) for name, values in json.loads((folder / "out.json").read_text(encoding="utf-8")).items()}


@pytest.mark.parametrize(
    ("ours", "ranx_name"), [("HR", "hit_rate"), ("Recall", "recall"), ("Precision", "precision"), ("NDCG", "ndcg"), ("MRR", "mrr")]
)
def test_each_user_equals_ranx(case, theirs, ours, ranx_name):
    np.testing.assert_allclose(case[3][f"{ours}@{K}"], theirs[f"{ranx_name}@{K}"], atol=1e-6)


def test_map_equals_ranx_up_to_the_stated_denominator(case, theirs):
    lengths = case[1].lengths
    assert (lengths > K).any()  # else both denominators agree and the test shows less
    np.testing.assert_allclose(case[3][f"MAP@{K}"] * np.minimum(lengths, K) / lengths, theirs[f"map@{K}"], atol=1e-6)
