"""What each model must learn in a world with one right answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.splits import Split
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.names import MODELS
from bertrec.models.registry import create

NEXT = [(["red-0", "red-1"], "red-2"), (["blue-3"], "blue-4"), (["빨강-1", "빨강-2"], "빨강-3")]


def hit_rate(model: Recommender, split: Split) -> float:
    assert split.test is not None
    report = evaluate(model, split.test, protocol=Protocol(ks=(1,), bootstrap=0), item_counts=split.train.item_counts)
    return report.slices["all"].metrics["HR@1"].mean


def test_only_what_is_frozen_can_have_the_catalogue_in_every_step():
    frozen, tuned = (create("unisrec", tune=tune).config for tune in ("frozen", "last:2"))
    assert create("unisrec", item_input="id").config.to_dict() == create("idrec").config.to_dict()
    assert (frozen.loss.kind, frozen.train.learning_rate, frozen.train.epochs, frozen.train.batch_size) == ("full", 2e-3, 16, 0)
    assert (tuned.loss.kind, tuned.train.learning_rate, tuned.train.epochs, tuned.train.batch_size) == ("in-batch", 1e-3, 8, 64)


@pytest.mark.parametrize("item_input", ["id", "text", "text+id"])
def test_the_next_step_is_found_whatever_items_are_made_of(split: Split, small: dict[str, Any], item_input: str) -> None:
    model = create("unisrec", item_input=item_input, settings=small).fit(split.train, validation=split.validation, progress=False)
    assert hit_rate(model, split) > 0.9
    for history, expected in NEXT:
        assert model.recommend([history], 1).items == [[expected]]


@pytest.mark.parametrize("kind", ["full", "in-batch", "sampled", "gbce", "bpr"])
def test_every_loss_learns(split: Split, small: dict[str, Any], kind: str) -> None:
    model = create("idrec", settings={**small, "loss.kind": kind, "loss.negatives": 8}).fit(split.train, progress=False)
    assert hit_rate(model, split) > 0.7


@pytest.mark.parametrize("kind", ["ligr", "gru", "dssm", "mean"])
def test_every_head_learns(split: Split, small: dict[str, Any], kind: str) -> None:
    """By chance the right one of 18 unseen items comes first in one of 18 cases."""
    model = create("unisrec", item_input="text", settings={**small, "head.kind": kind}).fit(split.train, progress=False)
    assert hit_rate(model, split) > 0.4


@pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
def test_a_tuned_encoder_changes_and_learns(split: Split, small: dict[str, Any], tune: str) -> None:
    settings = {**small, "train.encoder_learning_rate": 1e-4}
    model = create("morec", item_input="text", tune=tune, settings=settings)
    fingerprint = create("morec", item_input="text", settings=settings).fit(split.train, progress=False).encoder_fingerprint
    model.fit(split.train, validation=split.validation, progress=False)
    assert model.encoder_fingerprint != fingerprint
    if tune == "lora":  # another fingerprint alone would only say that the matrices are there
        matrices = [value for name, value in model.encoder().named_parameters() if "lora_B" in name]
        assert any(value.abs().sum() > 0 for value in matrices)
    assert hit_rate(model, split) > 0.8


@pytest.mark.parametrize("tune", ["frozen", "last:1", "lora"])
def test_what_was_judged_on_average_is_what_is_served_and_resumed(split: Split, small: dict[str, Any], tmp_path: Path, tune: str) -> None:
    """With an average that differs much from the last weights, and vectors of texts that are kept for some steps."""
    more = {
        "train.average": 1.0,
        "train.schedule": "constant",
        "train.warmup_share": 0.0,
        "train.learning_rate": 5e-4,
        "train.encoder_learning_rate": 1e-3,
        "match.text": 0,
        "match.behaviour": 0,
        "match.solved": 0,
    }
    settings = {**small, **more, **({} if tune == "frozen" else {"train.refresh_every": 2})}

    def fitted(folder: Path, epochs: int = 3, *, resume: bool = False) -> Recommender:
        model = create("morec", item_input="text", tune=tune, settings=settings | {"train.epochs": epochs})
        return model.fit(split.train, validation=split.validation, run_dir=folder, resume=resume, progress=False)

    whole = fitted(tmp_path / "whole")
    assert whole.train_log is not None
    assert split.validation is not None
    judged = whole.train_log.epochs[whole.train_log.best_epoch - 1].metrics
    rules = Protocol(ks=(10,), bootstrap=0)
    served = evaluate(whole, split.validation, protocol=rules, item_counts=split.train.item_counts).slices["all"].metrics
    assert 0 < judged["NDCG@10"] < 1
    assert served["NDCG@10"].mean == pytest.approx(judged["NDCG@10"], abs=1e-6)
    fitted(tmp_path / "parts", 1)
    assert fitted(tmp_path / "parts", resume=True).model_hash == whole.model_hash


def test_text_similarity_is_the_mean_cosine_to_the_history(split: Split, encoder_name: str) -> None:
    model = create("text-similarity", settings={"encoder.name": encoder_name}).fit(split.train)
    vectors = TextEncoder.from_config(EncoderConfig(name=encoder_name)).encode(split.catalog.texts).astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    row = next(model.score_all(Ragged.from_rows([[2, 9, 4]])))[0]
    np.testing.assert_allclose(row[1:], unit @ unit[[1, 8, 3]].mean(axis=0), atol=1e-5)


def test_popularity_ranks_by_count(split: Split) -> None:
    model = create("popularity").fit(split.train)
    counts = split.train.item_counts
    scores = next(model.score_all(Ragged.from_rows([[1]])))[0]
    assert scores[1:].argmax() == counts[1:].argmax()


def test_scoring_agrees_with_the_full_row_and_knows_what_it_does_not_know(split: Split, small: dict[str, Any]) -> None:
    model = create("unisrec", settings={**small, "train.epochs": 1}).fit(split.train, progress=False)
    history = [["red-0", "red-1"]]
    row = next(model.score_all(model.histories(history)))[0]
    ids = ["red-1", "blue-2", "nowhere"]
    (scores,) = model.score(history, [ids])
    np.testing.assert_allclose(scores[:2], row[model.catalog.ids.encode(ids[:2])], rtol=1e-5)
    assert np.isnan(scores[2])
    assert row[0] == -np.inf


def test_scores_are_inner_products_of_the_embeddings(split: Split, small: dict[str, Any]) -> None:
    settings = {**small, "train.epochs": 1, "head.repeat_bias": False}
    model = create("unisrec", settings=settings).fit(split.train, progress=False)
    known = model.histories([["red-0"], ["blue-1", "blue-2"]])
    expected = model.user_embeddings(known) @ model.item_embeddings().T
    np.testing.assert_allclose(next(model.score_all(known))[:, 1:], expected[:, 1:], rtol=1e-5)


def test_a_learned_repeat_bias_is_negative_where_nothing_repeats(split: Split, small: dict[str, Any]) -> None:
    model = create("unisrec", settings=small).fit(split.train, progress=False)
    assert model.repeat_bias < 0
    seen = ["red-0", "red-1", "red-2"]
    best = model.recommend([seen], 2, exclude_seen=False).items[0]
    assert not set(best) & set(seen)


def test_training_is_repeatable_and_a_second_fit_starts_anew(split: Split, small: dict[str, Any]) -> None:
    settings = {**small, "train.epochs": 2, "head.dropout": 0.3}
    first = create("unisrec", settings=settings).fit(split.train, progress=False)
    hash_of_first = first.model_hash
    torch.rand(7)
    second = create("unisrec", settings=settings).fit(split.train, progress=False)
    assert second.model_hash == hash_of_first
    assert first.fit(split.train, progress=False).model_hash == hash_of_first
    assert create("unisrec", settings={**settings, "train.seed": 1}).fit(split.train, progress=False).model_hash != hash_of_first


def test_histories_of_unknown_items_only_are_an_error(split: Split, small: dict[str, Any]) -> None:
    model = create("popularity").fit(split.train)
    with pytest.raises(DataError, match=r"history 2: none of its 1 items is in the catalogue, such as 'gone'"):
        model.score([["red-0", "gone"], ["gone"]], [["red-1"], ["red-1"]])
    assert model.recommend([["red-0", "gone"], ["gone"]], 3).unknown == {0: ["gone"], 1: ["gone"]}
    with pytest.raises(DataError, match="k must be a whole number of at least 1, not 0"):
        model.recommend([["red-0"]], 0)


def test_k_above_the_catalogue_gives_all_unseen_items(split: Split, small: dict[str, Any]) -> None:
    model = create("unisrec", settings={**small, "train.epochs": 1}).fit(split.train, progress=False)
    items = model.recommend([["red-0", "red-1"]], 1000).items[0]
    assert len(items) == 18
    assert len(set(items)) == 18


@pytest.mark.parametrize("kind", ["full", "gbce", "bpr", "sampled"])
def test_a_warm_start_does_not_bring_held_out_items_into_the_loss(split: Split, small: dict[str, Any], kind: str) -> None:
    settings = {**small, "train.epochs": 1, "loss.kind": kind, "loss.negatives": 8, "train.weight_decay": 0.0}
    teacher = create("unisrec", settings=settings).fit(split.train, progress=False)
    held = split.train.where(split.train.sequences.values != 7)
    pupil = create("unisrec", settings=settings).fit(held, init=teacher, progress=False)
    before, after = (model.network.tower.id.weight for model in (teacher, pupil))
    assert torch.equal(before[7], after[7])
    assert not torch.equal(before[6], after[6])


def test_a_failed_fit_leaves_no_half_trained_model(split: Split, small: dict[str, Any]) -> None:
    model = create("unisrec", settings=small)
    with pytest.raises(DataError, match="nothing to predict"):
        model.fit(split.train.where(np.zeros(len(split.train), bool)), progress=False)
    with pytest.raises(ModelError, match="not fitted"):
        model.recommend([["red-0"]], 1)


def test_histories_given_in_the_wrong_shape_are_an_error(split: Split) -> None:
    model = create("popularity").fit(split.train)
    with pytest.raises(DataError, match=r"give a single history as \[history\]"):
        model.recommend(["red-0", "red-1"], 2)
    with pytest.raises(ConfigError, match="trains nothing"):
        create("popularity").fit(split.train, init=model)


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'unisrec'"):
        create("unisrek")
    with pytest.raises(ConfigError, match=r"did you mean 'head\.layers'"):
        create("unisrec", settings={"head.layer": 1})
    with pytest.raises(ConfigError, match="idrec reads item ids alone"):
        create("idrec", item_input="text")


@pytest.mark.parametrize("name", MODELS.names())
def test_default_settings_round_trip(name: str) -> None:
    config = create(name).config
    assert type(config).from_dict(config.to_dict()) == config
    assert config.updated(config.to_flat()) == config


@pytest.mark.parametrize("mask_seen", [True, False])
def test_the_epoch_is_judged_with_or_without_seen_items(split: Split, small: dict[str, Any], mask_seen: bool) -> None:
    seen: list[float] = []
    model = create(
        "idrec", settings={**small, "train.epochs": 2, "match.behaviour": 0, "match.solved": 0}
    )  # which epochs are measured without
    model.fit(
        split.train,
        validation=split.validation,
        progress=False,
        mask_seen=mask_seen,
        on_epoch=lambda figures: seen.append(figures["NDCG@10"]),
    )
    assert split.validation is not None
    rules = Protocol(ks=(10,), bootstrap=0, mask_seen=mask_seen)
    report = evaluate(model, split.validation, protocol=rules, item_counts=split.train.item_counts, lists=False)
    assert report.mean("NDCG@10") == pytest.approx(max(seen))
