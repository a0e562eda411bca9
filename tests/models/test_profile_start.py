"""Users of whom a text alone is known: read as the one item of their history, where a model reads texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.wanted_users import WantedUser
from bertrec.models.registry import create
from bertrec.runs.lists import Known, ListMaker, Tally, answering, starting

TITLES = [f"{colour} {thing}" for colour in ("red", "blue", "green") for thing in ("car", "hat", "sea", "dog")]
PROFILES = {"u": "blue hat", "new": "green dog", "silent": " "}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), TITLES)


@pytest.fixture(scope="module")
def past():
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(12)], "title": TITLES}))
    rows = [(user, f"i{(start + step) % 12}") for start, user in enumerate(["u", "v", "w", "x"]) for step in range(5)]
    return Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id"]), catalog)


def profiles():
    return UserCatalog.from_frame(pd.DataFrame({"user_id": list(PROFILES), "text": list(PROFILES.values())}))


SMALL = {"item.width": 16, "head.layers": 1, "train.epochs": 1, "train.batch_size": 4, "encoder.max_length": 8}
KINDS = {"text-similarity": (None, {}), "max-similarity": (None, {}), "unisrec": ("text", SMALL), "morec": ("text", SMALL)}


@pytest.fixture(scope="module")
def models(encoder, past):
    made = {}
    for kind, (item_input, settings) in KINDS.items():
        made[kind] = create(kind, item_input=item_input, settings={**settings, "encoder.name": encoder}).fit(past, progress=False)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_a_profile_is_read_as_the_one_item_of_the_history(models, kind):
    model = models[kind]
    found = model.profile_vectors([TITLES[6], TITLES[1]])
    np.testing.assert_allclose(found, model.user_vectors(Ragged.from_rows([[7], [2]])), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_users_without_a_history_are_listed_by_their_profile_and_no_others(models, past, kind):
    model = models[kind]
    maker = ListMaker(Known(model.catalog, past, profiles=profiles()), answering(model, 3), model.name, start=starting(model, 3))
    cases = maker.lists([WantedUser("", user) for user in ("u", "new", "silent", "stranger")])
    assert [case.fallback for case in cases] == [None, "profile", "popularity", "popularity"]
    assert cases[0].items == model.recommend([["i0", "i1", "i2", "i3", "i4"]], 3).items[0]
    vectors = model.item_embeddings()
    best = np.argsort(-(vectors[1:] @ model.profile_vectors(["green dog"])[0]), kind="stable")[:3]
    assert cases[1].items == [f"i{place}" for place in best]
    tally = Tally()
    maker.known.cases([WantedUser("", "new"), WantedUser("", "stranger")], tally)
    assert (tally.users, tally.unknown) == (2, 1)


def test_a_text_similar_model_lists_what_the_profile_says_first(models):
    found = starting(models["text-similarity"], 1)(["green dog", "red car"])
    assert found.items == [["i11"], ["i0"]]


def test_a_model_of_ids_cannot_start_from_a_profile(past):
    model = create("idrec", settings={name: value for name, value in SMALL.items() if "encoder" not in name}).fit(past, progress=False)
    with pytest.raises(ConfigError, match="idrec model cannot start from profiles"):
        starting(model, 3)
