"""Several tasks of one encoder, on planted texts in which the answer of each can be read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_masked

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.rankers.context import Context, Known
from bertrec.rankers.contract import check_ranker
from bertrec.rankers.p5.figures import task_figures
from bertrec.rankers.p5.fill import Filler
from bertrec.rankers.p5.mixed import Mixed
from bertrec.rankers.p5.network import P5Network
from bertrec.rankers.p5.questions import Asked, Questions
from bertrec.rankers.p5.ranker import P5
from bertrec.rankers.p5.task import Task, library, load_tasks

COLOURS = ("red", "blue", "green", "gold")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in ("car", "hat", "sea", "dog", "cup")]
TASKS = ("rating", "sequential", "direct", "review", "summary", "explanation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [*TITLES, "likes it is a thing bad poor fair good fine . ; yes no 1 2 3 4 5", *(Task.load(name).text for name in library())]
    return tiny_masked(tmp_path_factory.mktemp("masked"), words)


def world(n, seed=0):
    """Users like one colour, which their profile names; the click has it and gets 5, another item 1; reviews name the item's colour."""
    draw = np.random.default_rng(seed)
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(20)]), {"title": TITLES})
    users, histories, candidates, ratings, texts, profiles = [], [], [], [], [], []
    for user in range(n):
        colour = int(draw.integers(4))
        own = 5 * colour + 1 + draw.permutation(5)
        other = int(draw.choice([k for k in range(1, 21) if (k - 1) // 5 != colour]))
        users.append(f"u{user}")
        profiles.append(f"likes {COLOURS[colour]}")
        histories.append(own[: draw.integers(1, 4)])
        candidates.append([int(own[4]), other] if user % 2 else [other, int(own[4])])
        for item in candidates[-1]:
            named = COLOURS[(item - 1) // 5]
            liked = item == own[4]
            ratings.append(5.0 if liked else 1.0)
            texts.append(f"a {named} thing. it is {named} {'fine good' if liked else 'bad poor'}")
    labels = (np.array(ratings) > 3).astype(np.int8)
    shown = Impressions(catalog, users, users, Ragged.from_rows(histories), Ragged.from_rows(candidates), labels)
    past = Interactions(catalog, IdMap(users), shown.candidates, rating=np.array(ratings, np.float32), text=texts)
    return shown, Known(UserCatalog(IdMap(users), {"text": profiles}), past)


def settings(folder, **more):
    train = {"train.encoder_learning_rate": 5e-3, "train.learning_rate": 5e-3, "train.batch_size": 16, "train.epochs": 6}
    return {"encoder.name": folder, "encoder.max_length": 48, "negatives": 0, "drawn": 1, **train, **more}


@pytest.fixture(scope="module")
def shared(folder):
    """All tasks learned by a whole encoder; treat it as read-only."""
    shown, known = world(120)
    tuned = {"encoder.tune": "full", "encoder.dropout": False}
    return P5.configured(settings=settings(folder, **tuned)).fit(shown, known=known, progress=False)


def test_one_encoder_learns_what_was_planted_for_each_task(shared):
    shown, known = world(60, seed=1)
    found = shared.measure(shown, known=known, drawn=3)
    print(found)
    assert list(found) == list(TASKS)
