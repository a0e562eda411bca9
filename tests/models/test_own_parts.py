"""A user head, a loss and an encoder of another package, by name: those of docs/extending.md."""

from __future__ import annotations

import math
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import toy_parts

from bertrec.cli.main import main
from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.data.splits import Split, leave_one_out
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.heads.config import HeadConfig, LossConfig
from bertrec.heads.objectives import make_loss
from bertrec.heads.users import make_head
from bertrec.models.base import Recommender
from bertrec.models.evaluate import evaluate
from bertrec.models.registry import create
from bertrec.rankers.composite.ranker import Composite, CompositeConfig
from bertrec.rankers.news.nrms import NRMS, NRMSConfig

HEAD, LOSS, ENCODER = "toy_parts:FadingMean", "toy_parts:AgainstTheHit", "toy_parts:Letters"
BY_GROUP = {"heads": HEAD, "losses": LOSS, "encoders": ENCODER}
WORDS = ["Abba", "cab", "", "zzz 2"]


def letters(**counts: int) -> list[float]:
    return [float(counts.get(chr(97 + number), 0)) for number in range(26)]


BY_HAND = np.array([letters(a=2, b=2), letters(a=1, b=1, c=1), letters(), letters(z=3)], np.float32)


def in_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the page's module into a folder and go there; what is imported meanwhile is forgotten after the test."""
    (folder / "my_parts.py").write_text(toy_parts.SOURCE, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, "my_parts", None)
    del sys.modules["my_parts"]


def installed(folder: Path, group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a package beside the installed ones that registers the toys."""
    info = folder / "toy-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[bertrec.{group}]\nmine = {BY_GROUP[group]}\n")
    monkeypatch.syspath_prepend(folder)


def hit_rate(model: Recommender, split: Split) -> float:
    return evaluate(model, split.test, item_counts=split.train.item_counts).mean("HR@5")


class TestHead:
    def test_its_rows_are_means_that_fade(self) -> None:
        head = make_head(1, HeadConfig(kind=HEAD))
        items = torch.tensor([[[2.0], [4.0], [9.0]]])
        by_hand = torch.tensor([[[2.0], [(4 + 2 / 2) / 1.5], [(9 + 4 / 2 + 2 / 4) / 1.75]]])
        torch.testing.assert_close(head(items), by_hand)
        torch.testing.assert_close(head.newest(items, torch.tensor([2])), by_hand[:, 1])

    def test_it_learns_is_saved_and_read_again(self, catalog: ItemCatalog, small: dict[str, Any], folder: Path) -> None:
        walk = [(f"u{user}", catalog.ids.ids[(user + step) % 20], step) for user in range(20) for step in range(8)]
        split = leave_one_out(Interactions.from_frame(pd.DataFrame(walk, columns=["user_id", "item_id", "timestamp"]), catalog))
        model = create("unisrec", settings={**small, "head.kind": HEAD}).fit(split.train, progress=False)
        losses = [epoch.loss for epoch in model.train_log.epochs]
        assert losses[-1] < losses[0] / 2
        assert float(model.network.head.fade.detach()) != 0.0
        model.save_pretrained(folder)
        loaded = Recommender.from_pretrained(folder, classes=HEAD)
        assert type(loaded.network.head) is toy_parts.FadingMean
        assert loaded.model_hash == model.model_hash
        histories = [["red-0", "red-1"], ["빨강-3"]]
        assert loaded.recommend(histories, 5) == model.recommend(histories, 5)


class Two:
    """A model of width 1 whose vectors are chosen by hand: items 1, 2, 3 have 1, -2 and 0.5; users are the newest item."""

    counts = torch.tensor([0, 2, 5, 1])
    repeat_bias = None

    def item_vectors(self, rows=None, fresh=None):
        return torch.tensor([[0.0], [1.0], [-2.0], [0.5]])

    def user_states(self, items, inputs):
        return items[inputs]

    def scaled_users(self, states):
        return 3 * states

    def scaled_items(self, items):
        return items


class TestLoss:
    def test_its_value_is_that_by_hand(self) -> None:
        """Users 3 and -6; the targets score 1.5 and -6, the hit, item 2, scores -6 and 12."""
        value = make_loss(LossConfig(kind=LOSS))(Two(), torch.tensor([[1, 2, 0]]), torch.tensor([[3, 1, 0]]))
        terms = [(1.5, -6.0), (-6.0, 12.0)]
        by_hand = sum(-math.log(1 / (1 + math.exp(-right))) - math.log(1 - 1 / (1 + math.exp(-wrong))) for right, wrong in terms) / 2
        assert float(value) == pytest.approx(by_hand, rel=1e-4)

    def test_it_learns_is_saved_and_read_again(self, split: Split, small: dict[str, Any], folder: Path) -> None:
        model = create("unisrec", settings={**small, "loss.kind": LOSS}).fit(split.train, validation=split.validation, progress=False)
        losses = [epoch.loss for epoch in model.train_log.epochs]
        assert losses[-1] < losses[0] / 2
        assert model.repeat_bias == 0.0  # it learns none, though head.repeat_bias is on
        model.save_pretrained(folder)
        loaded = Recommender.from_pretrained(folder, classes=[LOSS])
        assert loaded.config.loss.kind == LOSS
        assert loaded.model_hash == model.model_hash


class TestEncoder:
    def test_its_vectors_are_those_by_hand_with_and_without_the_cache(self, tmp_path: Path) -> None:
        encoder = make_encoder(EncoderConfig(name=ENCODER))
        cache = EmbeddingCache(tmp_path)
        np.testing.assert_array_equal(encoder.encode([*WORDS, "Abba"]), [*BY_HAND, BY_HAND[0]])
        np.testing.assert_array_equal(encoder.encode(WORDS, cache=cache), BY_HAND)
        encoder.embed = lambda texts: pytest.fail(f"{texts} are kept already")
        np.testing.assert_array_equal(encoder.encode(WORDS[::-1], cache=cache), BY_HAND[::-1])

    def test_encoders_of_one_fingerprint_that_is_no_hash_do_not_share_vectors(self, tmp_path: Path, monkeypatch) -> None:
        encoder, cache = make_encoder(EncoderConfig(name=ENCODER)), EmbeddingCache(tmp_path)

        class Doubled(toy_parts.Letters):
            def embed(self, texts):
                return 2 * super().embed(texts)

        monkeypatch.setattr(toy_parts.Letters, "fingerprint", "../up")
        np.testing.assert_array_equal(encoder.encode(WORDS, cache=cache), BY_HAND)
        np.testing.assert_array_equal(Doubled(encoder.config).encode(WORDS, cache=cache), 2 * BY_HAND)
        assert not (tmp_path.parent / "up").exists()

    def test_texts_beyond_one_batch_are_all_encoded_in_order(self) -> None:
        vectors = make_encoder(EncoderConfig(name=ENCODER)).encode(["a" * number for number in range(2500)])
        np.testing.assert_array_equal(vectors[:, 0], np.arange(2500))

    def test_text_similarity_is_the_cosine_of_its_vectors(self) -> None:
        catalog = ItemCatalog(IdMap(["x", "y", "z"]), {"text": ["ab", "abb", "zz"]})
        model = create("text-similarity", settings={"encoder.name": ENCODER}).over(catalog, progress=False)
        found = model.recommend([["x"]], 2)
        assert found.items == [["y", "z"]]
        np.testing.assert_allclose(found.scores, [[3 / math.sqrt(10), 0.0]], atol=1e-6)

    def test_a_model_learns_from_it_and_reads_new_items_by_its_name(self, split: Split, small: dict[str, Any], folder: Path) -> None:
        settings = {**small, "encoder.name": ENCODER, "item.whitening": "none"}
        model = create("unisrec", settings=settings).fit(split.train, validation=split.validation, progress=False)
        assert hit_rate(model, split) > 0.8
        model.save_pretrained(folder)
        assert not (folder / "encoder").exists()
        loaded = Recommender.from_pretrained(folder, classes=toy_parts.Letters)
        assert loaded.model_hash == model.model_hash
        words = ItemCatalog(IdMap(["red-0", "new"]), {"text": ["Abba", "zzz 2"]})
        vectors = loaded.with_catalog(words).network.text(None)
        np.testing.assert_array_equal(vectors[1:].numpy(), BY_HAND[[0, 3]])

    def test_a_model_refuses_another_one_of_its_name(self, split: Split, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        model = create("unisrec", settings={**small, "encoder.name": ENCODER, "train.epochs": 1}).fit(split.train, progress=False)
        monkeypatch.setattr(toy_parts.Letters, "fingerprint", "version 2")
        model.with_catalog(split.catalog)  # whose texts it has read
        with pytest.raises(ModelError, match="is not the one that this model was trained with"):
            model.with_catalog(ItemCatalog(IdMap(["new"]), {"text": ["zzz"]}))

    @pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
    def test_it_cannot_be_tuned(self, split: Split, small: dict[str, Any], tune: str) -> None:
        with pytest.raises(ConfigError, match=r"toy_parts:Letters cannot be tuned.*set encoder\.tune to frozen"):
            create("morec", item_input="text", tune=tune, settings={**small, "encoder.name": ENCODER}).fit(split.train, progress=False)

    @pytest.mark.parametrize("ranker", [NRMS(NRMSConfig(encoder={"name": ENCODER})), Composite(CompositeConfig(encoder={"name": ENCODER}))])
    def test_what_reads_word_pieces_says_so(self, ranker: Any) -> None:
        catalog = ItemCatalog(IdMap(["x", "y"]), {"text": ["ab", "zz"]})
        with pytest.raises(ConfigError, match=r"reads word pieces and encoder toy_parts:Letters has none"):
            ranker.fit(impressions(catalog), progress=False)


def impressions(catalog: ItemCatalog) -> Impressions:
    rows = Ragged.from_rows([[1], [1]]), Ragged.from_rows([[1, 2], [1, 2]])
    return Impressions(catalog, ["a", "b"], ["a", "b"], *rows, np.array([0, 1, 0, 1], np.int8))


@pytest.mark.parametrize(("group", "setting"), [("heads", "head.kind"), ("losses", "loss.kind"), ("encoders", "encoder.name")])
def test_an_installed_package_adds_a_name(
    split: Split, small: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, setting: str
) -> None:
    settings = {**small, "train.epochs": 1}
    expected = create("unisrec", settings={**settings, setting: BY_GROUP[group]}).fit(split.train, progress=False)
    installed(tmp_path, group, monkeypatch)
    model = create("unisrec", settings={**settings, setting: "mine"}).fit(split.train, progress=False)
    np.testing.assert_array_equal(model.item_embeddings(), expected.item_embeddings())
    assert model.train_log.epochs[0].loss == expected.train_log.epochs[0].loss


BAD = [
    ("head.kind", "gruu", r"unknown user head 'gruu': did you mean 'gru'\? \(one of: bert, dssm, gru, hstu, .*\), or package"),
    ("head.kind", "no_such:Head", "no_such:Head: there is no module no_such"),
    ("head.kind", "toy_parts:FadingMeen", "unknown class of toy_parts 'FadingMeen': did you mean 'FadingMean'"),
    ("head.kind", "bad_parts:NoPart", "bad_parts:NoPart is no user head: derive it from bertrec.heads.users:UserHead"),
    ("head.kind", LOSS, "toy_parts:AgainstTheHit is no user head"),
    ("head.kind", "bad_parts:HeadWithoutForward", "is no whole user head: it lacks forward"),
    ("head.kind", "bad_parts:HeadOfAnotherShape", r"bad_parts:HeadOfAnotherShape gives \[16, 32\] for items of \[16, .*keep the shape"),
    ("loss.kind", "in_batch", "unknown loss 'in_batch': did you mean 'in-batch'"),
    ("loss.kind", "bad_parts:NoPart", "bad_parts:NoPart is no loss: derive it from bertrec.heads.objectives:SequenceLoss"),
    ("loss.kind", "bad_parts:LossWithoutCall", "is no whole loss: it lacks __call__"),
    ("loss.kind", "bad_parts:LossAPosition", r"bad_parts:LossAPosition gives a loss of shape \[3\]: return a scalar"),
    ("encoder.name", "no_such.module:Letters", "there is no module no_such.module"),
    ("encoder.name", HEAD, "toy_parts:FadingMean is no encoder: derive it from bertrec.encoders.base:Encoder"),
    ("encoder.name", "bad_parts:EncoderWithoutEmbed", "is no whole encoder: it lacks embed"),
    ("encoder.name", "bad_parts:EncoderOfAnotherWidth", r"embed gives vectors of shape \[20, 3\], not \[20, 2\]"),
    ("encoder.name", "bad_parts:EncoderOfNaN", "embed gives values that are not finite"),
]


@pytest.mark.parametrize(("setting", "value", "message"), BAD)
def test_what_is_no_part_is_one_line(split: Split, small: dict[str, Any], setting: str, value: str, message: str) -> None:
    with pytest.raises(BertrecError, match=message) as caught:
        create("unisrec", settings={**small, "train.epochs": 1, setting: value}).fit(split.train, progress=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("command", toy_parts.COMMANDS[:3])
def test_the_commands_of_the_page_train_and_measure(
    command: str, shop_of_words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, encoder_name: str
) -> None:
    in_file(tmp_path, monkeypatch)
    words = [str(shop_of_words) if word == "ml-100k" else word for word in shlex.split(command)[1:]]
    small = ["encoder.name=" + encoder_name, "item.width=16", "train.batch_size=16", "train.epochs=2"]
    options = [] if "encoder.name" in command else [part for setting in small for part in ("--set", setting)]
    assert main([*words, *options]) == 0
    assert "validation, 12 users" in capsys.readouterr().out
    setting, part = words[-3].split("=")
    saved = tmp_path / words[-1] / "model"
    with pytest.raises(ModelError, match=f"setting {setting} is {part}, a class of another package: name it with --model {part}"):
        Recommender.from_pretrained(saved)
    assert Recommender.from_pretrained(saved, classes=part).config.to_flat()[setting] == part


def test_the_logging_command_of_the_page_writes_where_it_says(shop_of_words: Path, tmp_path: Path, monkeypatch, encoder_name: str) -> None:
    in_file(tmp_path, monkeypatch)
    logged = next(line for line in toy_parts.COMMANDS if "loggers" in line)
    words = [str(shop_of_words) if word == "ml-100k" else word for word in shlex.split(logged)[1:]]
    assert main([*words, "--model", "idrec", "--epochs", "1", "--set", "item.width=16"]) == 0
    assert len(list((tmp_path / "runs" / "logged" / "runs").rglob("events.out.tfevents.*"))) == 1


@pytest.fixture
def shop_of_words(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    rows = [f"{user},{(user + step) % 10},{step}" for user in range(12) for step in range(5)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (folder / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},thing {chr(97 + item)}" for item in range(10))]) + "\n")
    return folder


def test_a_wrong_name_on_the_command_line_is_one_line(shop_of_words: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    in_file(tmp_path, monkeypatch)
    code = main(["train", str(shop_of_words), "--model", "idrec", "--out", "run", "--set", "head.kind=my_parts:Letters", "--epochs", "1"])
    lines = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert "my_parts:Letters is no user head" in lines[-1]
    assert not any("Traceback" in line for line in lines)
