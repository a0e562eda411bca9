"""HSTU, BERT4Rec and contrasts as whole models: what they learn, that times reach them, saving, resuming, going on, bad settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.splits import EvaluationSet, Split, leave_one_out
from bertrec.data.wanted_users import WantedUser
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.models.sequential.neural import NeuralRecommender
from bertrec.runs.lists import Known, ListMaker, UserList, answering
from bertrec.service.batching import Job, do

NEXT = [(["red-0", "red-1"], "red-2"), (["blue-3"], "blue-4"), (["빨강-1", "빨강-2"], "빨강-3")]
CONTRASTS = {"cl4srec": {"loss.contrast": "cl4srec"}, "duorec": {"loss.contrast": "duorec"}}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "hstu": ("hstu", {}),
    "bert4rec": ("bert4rec", {}),
    "cl4srec": ("unisrec", CONTRASTS["cl4srec"]),
    "duorec": ("unisrec", CONTRASTS["duorec"]),
    "bert4rec+cl4srec": ("bert4rec", CONTRASTS["cl4srec"]),
    "hstu+duorec": ("hstu", CONTRASTS["duorec"]),
}


def made(kind: str, small: dict[str, Any], item_input: str | None = None, **more: Any) -> NeuralRecommender:
    name, settings = KINDS[kind]
    model = create(name, item_input=item_input, settings={**small, **settings, **more})
    assert isinstance(model, NeuralRecommender)
    return model


def hit_rate(model: Recommender, split: Split) -> float:
    report = evaluate(model, split.test, protocol=Protocol(ks=(1,), bootstrap=0), item_counts=split.train.item_counts)
    return report.slices["all"].metrics["HR@1"].mean


@pytest.fixture(scope="module")
def walks(catalog: ItemCatalog) -> Split:
    """Users step through the whole catalogue in order, from anywhere."""
    rows = [(f"u{user}", catalog.ids.ids[(7 * user + step) % 20], step) for user in range(80) for step in range(4 + user % 7)]
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


@pytest.mark.parametrize("item_input", ["id", "text", "text+id"])
@pytest.mark.parametrize("kind", ["hstu", "bert4rec"])
def test_the_next_step_is_found_whatever_items_are_made_of(walks: Split, small: dict[str, Any], kind: str, item_input: str) -> None:
    model = made(kind, small, item_input, **{"head.max_history": 8}).fit(walks.train, progress=False)
    assert hit_rate(model, walks) > 0.9


@pytest.mark.parametrize(
    ("contrast", "loss"), [("cl4srec", "full"), ("cl4srec", "gbce"), ("duorec", "in-batch"), ("duorec", "sampled"), ("duorec", "bpr")]
)
def test_a_contrast_goes_with_every_loss(split: Split, small: dict[str, Any], contrast: str, loss: str) -> None:
    settings = {**small, "loss.kind": loss, "loss.negatives": 8, "loss.contrast": contrast}
    model = create("idrec", settings=settings).fit(split.train, progress=False)
    assert hit_rate(model, split) > 0.7


def test_a_contrast_of_weight_zero_trains_as_none_does(split: Split, small: dict[str, Any]) -> None:
    """And one that weighs 100 does not: the loss of an epoch holds it."""
    losses = {}
    for weight in (None, 0.0, 100.0):
        contrast = {} if weight is None else {"loss.contrast": "duorec", "loss.contrast_weight": weight}
        model = create("idrec", settings={**small, "train.epochs": 1, **contrast}).fit(split.train, progress=False)
        losses[weight] = model.train_log.epochs[0].loss
    assert losses[0.0] == pytest.approx(losses[None], rel=1e-5)
    assert losses[100.0] > losses[None] + 50


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_saved_read_moved_and_gone_on_with(split: Split, small: dict[str, Any], tmp_path: Path, kind: str) -> None:
    model = made(kind, small, **{"train.epochs": 3}).fit(split.train, validation=split.validation, progress=False)
    model.save_pretrained(tmp_path / "model")
    loaded = Recommender.from_pretrained(tmp_path / "model")
    assert loaded.model_hash == model.model_hash
    histories = [history for history, _ in NEXT]
    assert loaded.recommend(histories, 5) == model.recommend(histories, 5)
    moved = loaded.with_catalog(ItemCatalog(split.catalog.ids, split.catalog.fields))
    assert moved.recommend(histories, 5).items == model.recommend(histories, 5).items
    on = loaded.continued(split.train, validation=split.validation, epochs=2, progress=False)
    assert len(on.train_log.epochs) == 2
    assert on.model_hash != model.model_hash


@pytest.mark.parametrize("kind", ["hstu+duorec", "bert4rec+cl4srec"])
def test_a_resumed_training_is_the_whole_one(timed: Split, small: dict[str, Any], tmp_path: Path, kind: str) -> None:
    """With times, masks, views, partners and dropout, all of which are drawn anew in each epoch."""
    steady = {"train.schedule": "constant", "train.warmup_share": 0.0, "head.dropout": 0.2, "train.learning_rate": 0.001}
    whole, half, rest = (made(kind, small, "id", **steady, **{"train.epochs": epochs}) for epochs in (4, 2, 4))
    whole.fit(timed.train, run_dir=tmp_path / "whole", progress=False)
    half.fit(timed.train, run_dir=tmp_path / "parts", progress=False)
    rest.fit(timed.train, run_dir=tmp_path / "parts", resume=True, progress=False)
    assert rest.model_hash == whole.model_hash != half.model_hash


def test_other_times_are_other_data_for_a_resumed_training(timed: Split, small: dict[str, Any], tmp_path: Path) -> None:
    train = timed.train
    made("hstu", small, "id", **{"train.epochs": 1}).fit(train, run_dir=tmp_path, progress=False)
    assert train.timestamp is not None
    other = replace(train, timestamp=train.timestamp + np.arange(len(train)))
    with pytest.raises(ModelError, match="is of another run: data was"):
        made("hstu", small, "id", **{"train.epochs": 2}).fit(other, run_dir=tmp_path, resume=True, progress=False)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head.kind": "bert"}, "head.kind=bert reads later items, which loss.kind=full asks for: set loss.kind to masked"),
        ({"head.kind": "bert", "loss.kind": "in-batch"}, "head.kind=bert reads later items, which loss.kind=in-batch asks for"),
        ({"loss.kind": "masked"}, "head.kind=self-attention reads no later ones: set head.kind to bert"),
        ({"head.kind": "hstu", "loss.kind": "masked"}, "head.kind=hstu reads no later ones: set head.kind to bert"),
    ],
)
def test_head_and_loss_that_do_not_belong_together_are_one_line(split: Split, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        create("unisrec", settings=settings).fit(split.train, progress=False)
    assert "\n" not in str(caught.value)


def test_pre_training_refuses_a_head_that_reads_what_it_asks_for(split: Split) -> None:
    model = create("bert4rec")
    assert isinstance(model, NeuralRecommender)
    with pytest.raises(ConfigError, match=r"head.kind=bert reads later items, which are asked for here: take another head"):
        model.fit_by(split.train, lambda network: pytest.fail("nothing is trained"))


def test_a_negative_weight_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"loss.contrast_weight.*greater than or equal to 0"):
        create("unisrec", settings={"loss.contrast_weight": -1})


STEPS = (10, 86_400)


def test_a_loss_of_another_package_trains_a_head_that_reads_times(timed: Split, small: dict[str, Any]) -> None:
    settings = {"train.epochs": 10, "loss.kind": "toy_parts:AgainstTheHit", "loss.contrast": "cl4srec"}
    losses = [epoch.loss for epoch in made("hstu", small, "id", **settings).fit(timed.train, progress=False).train_log.epochs]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("kind", ["bert4rec", "cl4srec"])
def test_a_tuned_encoder_gets_gradients(split: Split, small: dict[str, Any], kind: str) -> None:
    name, settings = KINDS[kind]
    own = {key: value for key, value in small.items() if key != "encoder.name"} | settings | {"train.epochs": 2}
    model = create(name, item_input="text", tune="last:1", settings={**own, "encoder.name": small["encoder.name"]})
    model.fit(split.train, progress=False)
    assert model.encoder_fingerprint != make_encoder(EncoderConfig(name=small["encoder.name"])).fingerprint


@pytest.fixture(scope="module")
def timed(catalog: ItemCatalog) -> Split:
    """Whoever took the last step after a day goes one item on, whoever took it after ten seconds four."""
    draw = np.random.default_rng(0)
    rows = []
    for user in range(150):
        item, time, gap = int(draw.integers(20)), 1_600_000_000 + int(draw.integers(10_000_000)), STEPS[0]
        for _ in range(8):
            rows.append((f"u{user}", catalog.ids.ids[item], time))
            item = (item + (1 if gap == STEPS[1] else 4)) % 20
            gap = int(draw.choice(STEPS))
            time += gap
    return leave_one_out(Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog))


def without_times(split: Split) -> Split:
    train, test = split.train, split.test
    assert test is not None
    plain = Interactions(train.catalog, train.users, train.sequences)
    return replace(split, train=plain, test=EvaluationSet(test.users, Ragged(test.histories.values, test.histories.offsets), test.targets))


@pytest.fixture(scope="module")
def clock(timed: Split, small: dict[str, Any]) -> NeuralRecommender:
    return made("hstu", small, "id", **TIMED).fit(timed.train, progress=False)


TIMED: dict[str, Any] = {
    "head.layers": 2,
    "head.max_history": 8,
    "train.epochs": 50,
    "train.learning_rate": 0.01,
    "head.repeat_bias": False,
}


def test_times_tell_what_order_does_not(timed: Split, small: dict[str, Any], clock: NeuralRecommender) -> None:
    """Without times two items are as likely; a model that learned with them still tells these two from the other eighteen."""
    plain = without_times(timed)
    blind = made("hstu", small, "id", **TIMED).fit(plain.train, progress=False)
    assert hit_rate(clock, timed) > 0.8
    assert hit_rate(blind, plain) < 0.65
    assert hit_rate(clock, plain) > 0.3


def test_evaluation_histories_have_the_times_of_their_interactions(catalog: ItemCatalog) -> None:
    rows = [("u", "red-0", 5.5), ("u", "red-1", 7), ("u", "red-2", 90), ("u", "red-3", 95), ("v", "red-0", 1), ("v", "red-4", 2)]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    split = leave_one_out(Interactions.from_frame(table, catalog))
    assert split.validation is not None
    assert split.test is not None
    assert split.validation.histories.times.tolist() == [5, 7]
    assert split.test.histories.times.tolist() == [5, 7, 90]
    assert split.test.take(np.array([0])).histories.times.tolist() == [5, 7, 90]
    positions = Interactions.from_frame(table.assign(timestamp=[0, 1, 2, 3, 0, 1]), catalog)
    assert positions.timed.times is None
    assert leave_one_out(positions).test.histories.times is None


def test_users_of_the_data_are_served_with_their_times(timed: Split, clock: NeuralRecommender) -> None:
    """By the command line and by the service, beside users whose history was typed; those have none."""
    data = timed.train
    wanted = clock.recommend(data.timed.slice(0, 20), 5)
    ids = [data.catalog.ids.decode(row) for row in data.sequences.slice(0, 20)]
    typed = clock.recommend(ids, 5)
    assert wanted.items != typed.items
    maker = ListMaker(Known(clock.catalog, data, times=clock.reads_times), answering(clock, 5), clock.name)
    cases = maker.lists([WantedUser("", user) for user in data.users.ids[:20]])
    given = maker.filled([UserList(None, row) for row in ids])
    assert [case.items for case in cases] == wanted.items
    assert [case.items for case in given] == typed.items
    loaded: Any = SimpleNamespace(server=clock.serve())
    rows = [data.timed.slice(row, row + 1) for row in range(20)]
    jobs = [Job(loaded, row.values, 5, False, None, times=row.times) for row in rows]
    jobs += [Job(loaded, row.values, 5, False, None) for row in rows]
    do(jobs)
    assert [job.result.result().items for job in jobs] == wanted.items + typed.items


def test_data_without_times_are_said_to_have_none(split: Split, small: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    made("hstu", small, "id", **{"train.epochs": 1}).fit(split.train, progress=False)
    assert caplog.messages == ["the interactions have no times: head.kind=hstu reads their order alone"]
    caplog.clear()
    made("bert4rec", small, "id", **{"train.epochs": 1}).fit(split.train, progress=False)
    assert not caplog.messages
