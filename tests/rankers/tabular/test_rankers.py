"""din, dcn and ctrl as rankers: the contract, what they learn, saving, other items, and that no text model serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from planted_clicks import catalog, impressions, same_genre
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.load import Dataset
from bertrec.encoders.base import Encoder
from bertrec.models.hub import left_out
from bertrec.rankers import CTRL, DCN, DIN, RANKERS, Context, Known, Ranker, RankerPlan, check_ranker, open_rankers, train_rankers
from bertrec.rankers.tabular.rows import Rows

QUICK = {"train.epochs": 12, "train.batch_size": 32, "train.learning_rate": 0.01, "hidden": (16,), "dropout": 0.0, "user_ids": False}
SMALL = {"train.epochs": 1, "train.batch_size": 8, "hidden": (8,)}


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), [*catalog().texts, "liked now met before never about film . : ,"])


def ctrl_of(bert, **settings):
    return {**SMALL, "encoder.name": bert, "encoder.max_length": 16, "align.epochs": 1, "align.batch_size": 8, **settings}


@pytest.mark.parametrize("name", ["din", "dcn"])
def test_the_towers_keep_the_contract(name):
    check_ranker(lambda: RANKERS.find(name).configured(settings={**SMALL, "negatives": 1}), clicks(16))


@pytest.mark.parametrize("settings", [{"text": "written"}, {"tower": "dcn", "loss": "listwise"}])
def test_ctrl_keeps_it_with_either_tower_and_text(bert, settings):
    check_ranker(lambda: CTRL.configured(settings=ctrl_of(bert, **settings)), clicks(10))


def clicks(rows, items=None):
    """Return lists of three with one click, the first history empty."""
    draw = np.random.default_rng(0)
    histories = [[] if row == 0 else draw.integers(1, 13, 2) for row in range(rows)]
    return impressions(items or catalog(), histories, [draw.permutation(12)[:3] + 1 for _ in range(rows)], [0, 1, 0] * rows)


@pytest.fixture(scope="module")
def din():
    return DIN.configured(settings=QUICK).fit(same_genre(500), progress=False)


def test_din_learns_that_the_label_depends_on_history_and_candidate_together(din):
    asked = same_genre(200, seed=1)
    assert din.figures(asked)["AUC"] > 0.95
    emptied = replace(asked, histories=Ragged.from_rows([[]] * len(asked)))
    assert 0.3 < din.figures(emptied)["AUC"] < 0.7


@pytest.mark.parametrize("loss", ["pairwise", "listwise"])
def test_every_loss_orders_clicks_before_others(loss):
    model = DCN.configured(settings={**QUICK, "loss": loss}).fit(same_genre(500), progress=False)
    assert model.figures(same_genre(200, seed=1))["AUC"] > 0.9
    assert not model.gives_probabilities
    scores = model.score_impressions(same_genre(200, seed=1))
    assert scores.min() < 0 or scores.max() > 1  # logits: what is calibrated is not squeezed before


@pytest.mark.parametrize("kind", [DIN, DCN, CTRL])
def test_with_the_pointwise_loss_scores_are_probabilities_and_say_so(kind, bert):
    own = ctrl_of(bert) if kind is CTRL else {}
    draw = np.random.default_rng(0)
    shown = impressions(catalog(), [[1]] * 400, draw.integers(1, 13, (400, 1)), draw.random(400) < 0.2)
    model = kind.configured(settings={**own, **QUICK, "train.epochs": 6}).fit(shown, progress=False)
    assert model.gives_probabilities
    assert model.score_impressions(shown).mean() == pytest.approx(shown.labels.mean(), abs=0.05)
    assert not kind.configured(settings={**own, "loss": "listwise"}).gives_probabilities


def test_a_temperature_scales_the_logit_of_a_probability(tmp_path):
    plan = RankerPlan("din", SMALL, calibrate="temperature")
    train_rankers(over_interactions(), plan, tmp_path / "run", about={"data": "frames", "load": {}})
    assert open_rankers(tmp_path / "run")[1][0]["members"][0]["calibration"]["of_probabilities"] is True


def test_new_items_are_ranked_by_their_labels(din):
    others = same_genre(200, seed=2, items=catalog(12, first=12))
    moved = DIN.configured(settings=QUICK).fit(same_genre(500), progress=False).prepare(others.catalog)
    assert moved.figures(others)["AUC"] > 0.9
    back = moved.prepare(same_genre(1).catalog)
    asked = same_genre(20, seed=1)
    np.testing.assert_array_equal(back.score_impressions(asked), din.score_impressions(asked))


def test_an_item_or_user_that_training_never_met_has_the_vector_0():
    shown = impressions(catalog(), [[1, 2]] * 8, [[3, 4]] * 8, [1, 0] * 8, ["u", "v"] * 4)
    model = DIN.configured(settings=SMALL).fit(shown, progress=False)
    vectors = model.network.item_vectors()[:, :16]
    assert [bool(vector.any()) for vector in vectors] == [False, *[True] * 4, *[False] * 8]
    of_users = model.network.embed.tables["user"].weight
    assert len(of_users) == 3
    assert not of_users[0].any()


def test_a_pair_scores_alike_alone_and_among_many(din):
    draw = np.random.default_rng(3)
    histories = Ragged.from_rows([draw.integers(1, 13, length) for length in (0, 1, 5, 70)])
    candidates = Ragged.from_rows([draw.integers(1, 13, size) for size in (1, 0, 90, 33)])
    together = din.score(histories, candidates)
    alone = [din.score(histories.slice(row, row + 1), Ragged.from_rows([[item]]))[0] for row in range(4) for item in candidates[row]]
    assert together == pytest.approx(np.array(alone), abs=1e-6)
    assert len(din.score(Ragged.from_rows([]), Ragged.from_rows([]))) == 0
    features = din._features.rows(histories, candidates, None)
    pieces = Rows.of(histories, candidates, features, most=32)
    assert (pieces.owners.tolist(), pieces.places.lengths.tolist()) == ([0, 2, 2, 2, 3, 3], [1, 32, 32, 26, 32, 1])


@pytest.mark.parametrize(("kind", "settings"), [(DIN, {"negatives": 1}), (DCN, {"loss": "pairwise"})])
def test_a_saved_ranker_is_the_same_one_with_its_context(kind, settings, tmp_path):
    shown = replace(clicks(30, catalog(price=[None, *range(11)])), timestamp=np.arange(30) * 10_000.0)
    model = kind.configured(settings={**SMALL, **settings}).fit(shown, progress=False)
    model.save_pretrained(tmp_path / "one")
    loaded = Ranker.from_pretrained(tmp_path / "one")
    np.testing.assert_array_equal(loaded.score_impressions(shown), model.score_impressions(shown))
    assert not np.array_equal(loaded.score_impressions(shown), loaded.score(shown.histories, shown.candidates))
    assert left_out(tmp_path / "one") == []
    dearer = loaded.prepare(catalog(price=range(12, 0, -1)))  # the same texts
    assert dearer.model_hash != model.model_hash
    assert not np.array_equal(dearer.score_impressions(shown), model.score_impressions(shown))


def over_interactions():
    """Return interactions of 12 users with half of the items, at random hours of six weeks."""
    draw = np.random.default_rng(0)
    items = pd.DataFrame(
        {"item_id": [f"i{k}" for k in range(12)], "title": catalog().fields["title"], "genres": catalog().fields["genres"]}
    )
    rows = [(f"u{user}", f"i{item}", 1e9 + 3600 * draw.integers(0, 999)) for user in range(12) for item in draw.permutation(12)[:6]]
    return Dataset.from_frames(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), items)


def test_a_run_over_interactions_counts_what_they_hold(tmp_path):
    dataset = over_interactions()
    train_rankers(dataset, RankerPlan("din", SMALL), tmp_path / "run", about={"data": "frames", "load": {}})
    ensemble, records = open_rankers(tmp_path / "run")
    assert records[0]["members"][0]["ranker"] == "din"
    assert ensemble.reads_context
    one, moment = Ragged.from_rows([[1]]), np.array([1.1e9])
    counted, unknown = (ensemble.score(one, one, context=Context(["u0"], moment, known)) for known in (Known.of(dataset), Known()))
    assert counted != unknown  # the clock is the same: what differs is what was counted before it


def test_what_aligns_ctrl_is_gone_afterwards_and_the_alignment_was_used(bert, tmp_path, monkeypatch):
    shown = clicks(30)
    model = CTRL.configured(settings=ctrl_of(bert)).fit(shown, run_dir=tmp_path / "run", progress=False)
    plain = DIN.configured(settings=SMALL).fit(shown, progress=False)
    assert not np.allclose(model.score_impressions(shown), plain.score_impressions(shown), atol=1e-6)
    assert not (tmp_path / "run" / "alignment").exists()
    assert {name: value.shape for name, value in model.state_dict().items()} == {
        name: value.shape for name, value in plain.state_dict().items()
    }
    model.save_pretrained(tmp_path / "saved")
    monkeypatch.setattr(Encoder, "from_config", lambda *_, **__: pytest.fail("a text model was loaded"))
    monkeypatch.setattr(Encoder, "encode", lambda *_, **__: pytest.fail("a text was read"))
    loaded = Ranker.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.score_impressions(shown), model.score_impressions(shown))
    assert not [path for path in (tmp_path / "saved").rglob("*") if "encoder" in path.name]


def test_an_alignment_that_is_cut_short_goes_on_to_the_same_scores(bert, tmp_path):
    shown = clicks(30)
    make = lambda: CTRL.configured(settings=ctrl_of(bert, **{"train.epochs": 2}))  # noqa: E731
    whole = make().fit(shown, validation=shown, progress=False)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make().fit(shown, validation=shown, progress=False, run_dir=tmp_path / "run", on_epoch=stop)
    again = make().fit(shown, validation=shown, progress=False, run_dir=tmp_path / "run", resume=True)
    np.testing.assert_array_equal(again.score_impressions(shown), whole.score_impressions(shown))


def test_what_cannot_be_is_said(bert):
    with pytest.raises(ModelError, match="not fitted"):
        DIN().score(Ragged.from_rows([[1]]), Ragged.from_rows([[1]]))
    with pytest.raises(ConfigError, match="encoder of ctrl is frozen"):
        CTRL.configured(settings={"encoder.name": bert, "encoder.tune": "full"})
    with pytest.raises(DataError, match="no labels"):
        DCN().fit(replace(clicks(4), labels=None))
    bare = replace(catalog(), fields={"title": [""] * 12})
    with pytest.raises(DataError, match="ctrl has nothing to read"):
        CTRL.configured(settings=ctrl_of(bert)).fit(replace(clicks(4), catalog=bare), progress=False)
    with pytest.raises(DataError, match="item_counts must hold 13 numbers"):
        DIN().fit(clicks(4), item_counts=np.zeros(12), progress=False)
