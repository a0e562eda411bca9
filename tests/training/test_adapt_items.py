"""An encoder learns who goes with whom, from training interactions alone, and is an ordinary encoder afterwards."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted_partners import TEXTS, planted_frames, write_planted
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.load import load, make_split
from bertrec.data.splits import leave_one_out
from bertrec.encoders.adaptation import adaptation_note, is_of_split, overlap, read_adaptation
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.heads.losses import symmetric_info_nce
from bertrec.training.adapt_config import AdaptConfig
from bertrec.training.adapt_items import adapt_encoder
from bertrec.training.contrastive import ContrastiveEncoder, partner_figures, with_head
from bertrec.training.masked_lm import MaskedLanguageModel, TokenMasking
from bertrec.training.pairs import HiddenWords, PairDataset, held_out_pairs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), TEXTS)


@pytest.fixture(scope="module")
def split():
    interactions, items = planted_frames()
    return leave_one_out(Interactions.from_frame(interactions, ItemCatalog.from_frame(items)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load(write_planted(tmp_path_factory.mktemp("data") / "planted"))


def settings(folder, **changes):
    plain = {
        "encoder.name": folder,
        "encoder.precision": "fp32",
        "train.batch_size": 32,
        "train.epochs": 12,
        "train.encoder_learning_rate": 2e-3,
        "train.device": "cpu",
    }
    return AdaptConfig().updated(plain | changes)


def adapted(split, folder, **changes):
    return adapt_encoder(split, settings(folder, **changes), progress=False)


@pytest.mark.parametrize("tune", ["full", "last:1", "lora"])
def test_planted_partners_are_found(split, folder, tune):
    said = []
    config = settings(folder, **{"encoder.tune": tune, "train.encoder_learning_rate": 2e-2 if tune == "lora" else 2e-3})
    encoder = adapt_encoder(split, config, say=said.append, progress=False)
    record = encoder.adaptation
    # Of 79 other items four are right ones: by chance a target is among the first ten once in eight times.
    assert record.before["Recall@10"] < 0.2
    assert record.after["Recall@10"] > 0.8
    assert record.after["loss"] < record.before["loss"]
    assert said[0].startswith("training 160 pairs of items")
    assert "80 pairs of validation users" in said[0]
    assert f"Recall@10 {record.after['Recall@10']:.4f}" in said[-1]
    # What the record says is what the encoder does: the plain cosine ranks of its vectors.
    unit = torch.nn.functional.normalize(torch.from_numpy(encoder.encode(TEXTS)), dim=1).numpy()
    cosines = unit @ unit.T
    hits = []
    for history, target in zip(split.validation.histories, split.validation.targets, strict=True):
        anchor, wanted = history[-1] - 1, target[0] - 1
        above = sum(cosines[anchor, item] >= cosines[anchor, wanted] for item in range(len(TEXTS)) if item not in (anchor, wanted))
        hits.append(above < 10)
    assert np.mean(hits) == pytest.approx(record.after["Recall@10"], abs=0.02)


@pytest.mark.parametrize("tune", ["full", "last:1", "lora"])
def test_what_is_written_is_an_ordinary_frozen_encoder(split, folder, tune, tmp_path):
    encoder = adapted(split, folder, **{"encoder.tune": tune, "train.epochs": 1, "train.encoder_learning_rate": 1e-2})
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    encoder.save(tmp_path / "out")
    named = TextEncoder.from_config(EncoderConfig(name=str(tmp_path / "out"), precision="fp32"))
    np.testing.assert_allclose(named.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
    loaded = TextEncoder.load(tmp_path / "out")
    assert loaded.fingerprint == encoder.fingerprint
    assert loaded.config.tune == "frozen"
    assert named.adaptation == loaded.adaptation == encoder.adaptation == read_adaptation(str(tmp_path / "out"))
    import sentence_transformers

    theirs = sentence_transformers.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, encoder.encode(TEXTS), atol=1e-5)
    before = TextEncoder.from_config(EncoderConfig(name=folder, precision="fp32"))
    assert np.abs(before.encode(TEXTS) - encoder.encode(TEXTS)).max() > 1e-3


def test_last_k_leaves_the_layers_below_alone(split, folder):
    before = TextEncoder.from_config(EncoderConfig(name=folder)).model.state_dict()
    after = adapted(split, folder, **{"encoder.tune": "last:1", "train.epochs": 1}).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_the_best_epoch_is_kept(split, folder):
    log = []
    # At this rate the encoder falls to pieces: whatever epoch was best, its figures are those in the record.
    config = settings(folder, **{"train.encoder_learning_rate": 0.3, "train.epochs": 4, "train.patience": 0})
    encoder = adapt_encoder(split, config, say=log.append, progress=False)
    pairs = PairDataset.of(split.train)
    module = ContrastiveEncoder(encoder, pairs.texts.texts, temperature=0.05)
    now = partner_figures(module, pairs, held_out_pairs(split.validation, pairs.texts), 32)
    assert now["Recall@10"] == pytest.approx(encoder.adaptation.after["Recall@10"], abs=0.02)


def test_test_and_validation_interactions_are_not_learned_from(split, folder):
    """Other held-out items give the same weights after the same epochs."""
    rng = np.random.default_rng(5)

    def other(part):
        return replace(part, targets=Ragged(rng.integers(1, len(TEXTS), len(part.targets.values)), part.targets.offsets))

    changed = replace(split, validation=other(split.validation), test=other(split.test))
    how = {"train.epochs": 1}  # one epoch: its choice is the only one
    assert adapted(changed, folder, **how).fingerprint == adapted(split, folder, **how).fingerprint
    assert adapted(replace(split, validation=None, test=None), folder, **how).fingerprint == adapted(split, folder, **how).fingerprint


@pytest.mark.parametrize("tune", ["full", "lora"])
def test_seed_and_temperature_matter(split, folder, tune):
    prints = {
        adapted(split, folder, **{"train.epochs": 1, "encoder.tune": tune, **how}).fingerprint
        for how in ({}, {}, {"train.seed": 1}, {"temperature": 0.5})
    }
    assert len(prints) == 3


def test_figures_by_brute_force(split, folder):
    encoder = TextEncoder.from_config(EncoderConfig(name=folder, tune="full", precision="fp32"))
    pairs = PairDataset.of(split.train)
    held = held_out_pairs(split.validation, pairs.texts)
    module = ContrastiveEncoder(encoder, pairs.texts.texts, temperature=0.2)
    found = partner_figures(module, pairs, held, 16)
    unit = torch.nn.functional.normalize(torch.from_numpy(encoder.encode(TEXTS)), dim=1)
    ranks = []
    for anchor, wanted in held:
        others = [item for item in range(len(TEXTS)) if item not in (anchor, wanted)]
        ranks.append(1 + int((unit[others] @ unit[anchor] >= unit[wanted] @ unit[anchor]).sum()))
    ranks = np.array(ranks)
    for k in (1, 10, 50):
        assert found[f"Recall@{k}"] == pytest.approx((ranks <= k).mean(), abs=0.02)
    assert found["MRR"] == pytest.approx((1 / ranks).mean(), abs=0.02)
    losses = [
        symmetric_info_nce(unit[part[:, 0]], unit[part[:, 1]], masked=torch.from_numpy(pairs.masked(part)), temperature=0.2)
        for part in np.split(held, range(16, len(held), 16))
    ]
    assert found["loss"] == pytest.approx(float(torch.stack(losses).mean()), rel=1e-4)


def test_reviews_alone_bring_an_encoder_to_their_items(folder):
    interactions, items = planted_frames()
    long = [f"{text} {text} {text} {text}" for text in items["title"]]
    words = [f"alpha{9 - n // 8} beta{9 - n // 8} made{n % 4} alpha0 made1 alpha0 made1" for n in range(len(items))]
    interactions["text"] = [words[item - 1] for item in interactions["item_id"]]
    split = leave_one_out(Interactions.from_frame(interactions, ItemCatalog.from_frame(items.assign(title=long))))
    encoder = adapted(split, folder, **{"pairs": "reviews", "train.epochs": 10})
    assert list(encoder.adaptation.pairs) == ["reviews"]
    reviews, texts = (torch.nn.functional.normalize(torch.from_numpy(encoder.encode(part)), dim=1) for part in (words, long))
    trained = sorted(set(split.train.sequences.values - 1))
    right = [int((reviews[row] @ texts.T).argsort(descending=True)[0]) // 8 == row // 8 for row in trained]
    assert np.mean(right) > 0.8


class TestWithAHead:
    @pytest.fixture(scope="class")
    @classmethod
    def masked(cls, tmp_path_factory):
        return tiny_masked(tmp_path_factory.mktemp("masked"), TEXTS)

    def test_the_loss_is_the_sum_of_both(self, split, masked):
        encoder = TextEncoder.from_config(EncoderConfig(name=masked, tune="full", precision="fp32"))
        head, pairs = with_head(encoder), PairDataset.of(split.train)
        assert head.base is encoder.model
        assert head.model.get_input_embeddings().weight is encoder.model.get_input_embeddings().weight
        pairs.hidden_words = HiddenWords(head.tokenize(pairs.texts.texts), TokenMasking.of(head), 0)
        batch = pairs.collate(pairs.pairs[:8])
        assert (batch["labels"] >= 0).sum() == len(batch["rows"])  # of two words one is hidden
        alone = ContrastiveEncoder(encoder, pairs.texts.texts, temperature=0.1)
        both = ContrastiveEncoder(encoder, pairs.texts.texts, temperature=0.1, masked=head, masked_weight=0.25)
        words = MaskedLanguageModel(head)(**{name: batch[name] for name in ("input_ids", "attention_mask", "labels")})["loss"]
        first = alone(*(batch[name] for name in ("rows", "left", "right", "masked")))["loss"]
        assert both(**batch)["loss"].item() == pytest.approx(first.item() + 0.25 * words.item(), rel=1e-5)

    @pytest.mark.parametrize("tune", ["full", "last:1", "lora"])
    def test_it_trains_and_is_written_as_any_other(self, split, masked, tune, tmp_path):
        how = {"encoder.tune": tune, "train.epochs": 6, "train.encoder_learning_rate": 1e-2 if tune == "lora" else 2e-3}
        encoder = adapted(split, masked, **how, masked_weight=1.0)
        assert encoder.adaptation.after["Recall@10"] > encoder.adaptation.before["Recall@10"]
        encoder.save(tmp_path / "out")
        named = TextEncoder.from_config(EncoderConfig(name=str(tmp_path / "out"), precision="fp32"))
        np.testing.assert_allclose(named.encode(TEXTS), encoder.encode(TEXTS), atol=1e-5)
        assert adapted(split, masked, **how, masked_weight=1.0).fingerprint == encoder.fingerprint
        assert adapted(split, masked, **how).fingerprint != encoder.fingerprint

    def test_an_encoder_without_a_head_is_one_line(self, split, folder):
        with pytest.raises(ModelError, match="has no masked-language-model head"):
            adapted(split, folder, masked_weight=0.1)


class TestBadInput:
    def test_nothing_to_adapt(self, split, folder):
        with pytest.raises(ConfigError, match=r"encoder\.tune frozen leaves nothing to adapt"):
            adapted(split, folder, **{"encoder.tune": "frozen"})

    def test_no_text(self, folder):
        interactions, items = planted_frames(users=4)
        bare = leave_one_out(Interactions.from_frame(interactions, ItemCatalog.from_frame(items.assign(title=""))))
        with pytest.raises(DataError, match="encoder adapt has nothing to read"):
            adapted(bare, folder)

    def test_too_few_pairs(self, folder):
        interactions, items = planted_frames(users=1)
        few = leave_one_out(Interactions.from_frame(interactions[:4], ItemCatalog.from_frame(items)))
        with pytest.raises(DataError, match="fewer than two different pairs"):
            adapted(few, folder)

    def test_a_split_without_a_manifest(self, split, folder):
        with pytest.raises(ModelError, match=r"make it with bertrec\.make_split"):
            adapted(replace(split, manifest={}), folder, **{"train.epochs": 1})

    def test_another_class(self, split):
        with pytest.raises(DataError, match="adapt_encoder: split"):
            adapt_encoder(split.train)


@pytest.fixture(scope="module")
def adaptation(dataset, folder):
    return adapted(make_split(dataset, "auto"), folder, **{"train.epochs": 1}).adaptation


class TestOverlap:
    def test_the_same_training_part_by_another_name_is_no_other_split(self, adaptation, dataset):
        for method in ("auto", "leave_one_out"):
            split = make_split(dataset, method)
            assert is_of_split(adaptation, split)
            assert adaptation_note("e", adaptation, dataset, split) is None

    def test_held_out_items_that_were_read_are_counted(self, adaptation, dataset):
        cold = make_split(dataset, "cold_items", share=0.2, seed=1)
        found = overlap(adaptation, dataset, cold)
        loo = make_split(dataset, "leave_one_out")
        pairs = {(user, item) for user, row in zip(loo.train.users.ids, loo.train.sequences, strict=True) for item in row}
        own = {(user, item) for user, row in zip(cold.train.users.ids, cold.train.sequences, strict=True) for item in row}
        held = {
            (user, item)
            for part in (cold.validation, cold.test)
            for user, row in zip(part.users, part.targets, strict=True)
            for item in row
        } - own
        assert found.items == len(set(cold.held_out) & set(loo.train.sequences.values)) > 0
        assert found.held_out_items == 16
        assert (found.interactions, found.held_out_interactions) == (len(held & pairs), len(held))
        line = adaptation_note("encoders/e", adaptation, dataset, cold)
        assert line.startswith("warning: encoder encoders/e was adapted on another split of these data (leave_one_out): it has read")
        assert f"{found.items} of 16 held-out items" in line
        assert "\n" not in line

    def test_cold_items_of_the_same_seed_are_the_same_split(self, dataset, folder):
        cold = make_split(dataset, "cold_items", seed=4)
        adaptation = adapted(cold, folder, **{"train.epochs": 1}).adaptation
        assert adaptation.split == {"method": "cold_items", "options": {"share": 0.1}, "seed": 4}
        assert is_of_split(adaptation, make_split(dataset, "cold_items", seed=4))
        other = make_split(dataset, "cold_items", seed=5)
        assert "cold_items, seed 4" in adaptation_note("e", adaptation, dataset, other)
        new = set(other.held_out) - set(cold.held_out)
        assert overlap(adaptation, dataset, other).items == len(new & set(cold.train.sequences.values))

    def test_less_data_than_the_run_has_is_a_note(self, dataset, folder):
        early = make_split(dataset, "ratio", validation_share=0.4, test_share=0.2)
        adaptation = adapted(early, folder, **{"train.epochs": 1}).adaptation
        line = adaptation_note("e", adaptation, dataset, make_split(dataset, "leave_one_out"))
        assert (
            line
            == "note: encoder e was adapted on another split of these data (ratio_by_user): it has read nothing of what is held out here"
        )

    def test_other_data(self, adaptation, tmp_path):
        far = load(write_planted(tmp_path / "elsewhere", seed=3))
        assert overlap(adaptation, far, make_split(far)) is None
        assert adaptation_note("e", adaptation, far, make_split(far)) is None
        near = load(write_planted(tmp_path / "planted", users=70))
        assert "read or filtered otherwise" in adaptation_note("e", adaptation, near, make_split(near))

    def test_a_record_that_was_changed_is_an_error(self, split, folder, tmp_path):
        adapted(split, folder, **{"train.epochs": 1}).save(tmp_path / "out")
        path = tmp_path / "out" / "encoder.json"
        record = json.loads(path.read_text(encoding="utf-8"))
        record["adaptation"]["split"]["method"] = "cold_items"
        path.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(ModelError, match="was changed or damaged"):
            read_adaptation(str(tmp_path / "out"))
        del record["record_sha256"], record["adaptation"]["data"]
        path.write_text(json.dumps(record), encoding="utf-8")
        with pytest.raises(ModelError, match="does not say what the encoder was adapted on"):
            read_adaptation(str(tmp_path / "out"))

    def test_names_without_a_record(self, folder):
        assert read_adaptation("minilm") is None
        assert read_adaptation(folder) is None
