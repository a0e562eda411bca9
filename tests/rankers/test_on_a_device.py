"""Rankers on another device than the CPU: a pretended one, which has values and refuses what a GPU refuses."""

from __future__ import annotations

import numpy as np
import pytest
from pretend_device import pretended
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.core import Ragged
from bertrec.data import IdMap, Impressions, ItemCatalog
from bertrec.prompts import Prompt
from bertrec.rankers import RANKERS

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog")]
TRAIN = {"train.epochs": 1, "train.batch_size": 4, "train.precision": "fp32"}
# Without lstur: torch turns the output of its GRU in place, which a pretended tensor cannot follow.
WORDS = {
    "nrms": {"heads": 2},
    "naml": {},
    "multitask": {},
    "ubert": {"width": 8},
    "cross-encoder": {"encoder.tune": "last:1", "encoder.max_length": 32},
    "composite": {"encoder.max_length": 8},
    "din": {},
    "ctrl": {"align.epochs": 1},
    "prompt4nr": {"train.learning_rate": 1e-6, "train.encoder_learning_rate": 1e-6},  # on a CPU its dropout is drawn otherwise
    "p5": {},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def impressions():
    draw = np.random.default_rng(0)
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(8)]), {"title": TITLES, "category": [t.split()[0] for t in TITLES]})
    rows = [draw.permutation(8) + 1 for _ in range(12)]
    histories = Ragged.from_rows([[] if row == 0 else own[:3] for row, own in enumerate(rows)])
    candidates = Ragged.from_rows([own[4:7] for own in rows])
    names = [str(row) for row in range(12)]
    return Impressions(catalog, names, names, histories, candidates, np.array([0, 1, 0] * 12, np.int8))


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    masked = tiny_masked(tmp_path_factory.mktemp("masked"), [*TITLES, Prompt.load("item-hybrid").text, "yes no good bad 1 2 3 4 5"])
    return {"masked": masked, "bert": tiny_bert(tmp_path_factory.mktemp("bert"), TITLES)}


def made(name, encoders):
    kind = RANKERS.find(name)
    train = {} if name == "composite" else TRAIN
    reads = {} if name in {"din", "dcn"} else {"encoder.name": encoders["masked" if name in {"prompt4nr", "p5"} else "bert"]}
    how = {"variant": "item-hybrid"} if name == "prompt4nr" else {}
    return kind.configured(settings={**train, **WORDS[name], **reads}, **how)


@pytest.mark.parametrize("name", WORDS)
def test_a_ranker_trained_there_is_that_of_the_cpu_and_its_folder_scores_on_both(name, impressions, encoders, monkeypatch, tmp_path):
    def scores(ranker):
        return ranker.score(impressions.histories, impressions.candidates)

    wanted = scores(made(name, encoders).fit(impressions, validation=impressions, progress=False))
    counted = []
    with pretended(monkeypatch, counted):
        there = made(name, encoders).fit(impressions, validation=impressions, progress=False)
        np.testing.assert_allclose(scores(there), wanted, rtol=1e-3, atol=1e-4)
        there.save_pretrained(tmp_path / "ranker")
    assert {"mm", "addmm"} & set(counted)
    here = type(there).from_pretrained(tmp_path / "ranker")
    np.testing.assert_allclose(scores(here), wanted, rtol=1e-3, atol=1e-4)
    with pretended(monkeypatch):
        again = type(there).from_pretrained(tmp_path / "ranker")
        np.testing.assert_allclose(scores(again), scores(here), rtol=1e-4, atol=1e-5)
