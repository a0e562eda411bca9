"""``bertrec encoder adapt-mlm`` over a tiny encoder."""

from __future__ import annotations

import json

import pytest
from tiny_encoders import tiny_bert, tiny_masked
from transformers import AutoModelForMaskedLM

from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder

# The words of the shop's titles and kinds.
WORDS = ["red blue green kettle teapot 기생충 포스터", "oak pine shelf steel brass lamp", "wool jute rug", "kitchen art wood light floor"]


@pytest.fixture(scope="module")
def headless(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), WORDS)


def test_a_headless_encoder_gets_one(cli, shop, headless, tmp_path):
    out = tmp_path / "encoders" / "어댑터"
    code, said, err = cli("encoder", "adapt-mlm", shop, "--encoder", headless, "--out", out, "--epochs", "3", "--seed", "1")
    assert code == 0
    assert "a new one is trained" in err
    assert "10 distinct item texts, 1 of them held out" in said
    assert "held-out texts before:" in said
    assert "held-out texts after 3 epochs" in said
    record = json.loads((out / "masked.json").read_text(encoding="utf-8"))["head"]
    assert (record["data"], record["texts"], record["held_out"], record["new"]) == (shop.name, 9, 1, True)
    _, info = AutoModelForMaskedLM.from_pretrained(out, output_loading_info=True)
    assert not info["missing_keys"]
    encoder = MaskedEncoder.from_config(MaskedConfig(name=str(out)))
    assert encoder.head_note is not None
    assert encoder.head_note in said


def test_a_head_that_is_there_is_trained_further(cli, shop, tmp_path):
    name, out = tiny_masked(tmp_path / "encoder", WORDS), tmp_path / "out"
    words = ["encoder", "adapt-mlm", shop, "--encoder", name, "--tune", "last:1", "--epochs", "1", "--text-fields", "title", "--out", out]
    code, said, err = cli(*words)
    assert code == 0
    assert "a new one" not in err
    assert "head trained further by bertrec" in said
    assert cli(*words)[0] == 2  # it is there now
    assert cli(*words, "--overwrite")[0] == 0


def test_the_same_seed_gives_the_same_encoder(cli, shop, headless, tmp_path):
    prints = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        words = ["encoder", "adapt-mlm", shop, "--encoder", headless, "--epochs", "1", "--seed", seed, "--out", tmp_path / name]
        assert cli(*words, "--batch-size", "2")[0] == 0
        prints.append(MaskedEncoder.load(tmp_path / name).fingerprint)
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tune", "lora"], "--tune lora: give head, last:K or full"),
        (["--tune", "heads"], "setting 'tune'"),
        (["--tune", "last:9"], "asks for more than the 2 layers"),
        (["--encoder", "./absent"], "encoder folder ./absent does not exist"),
        (["--text-fields", "colour"], "colour"),
        (["--epochs", "0"], "--epochs"),
        (["--learning-rate", "0"], "setting 'learning_rate'"),
        (["--texts", "titles"], "titles"),
        (["--texts", "items,reviews"], "has no reviews"),
        (["--mask", "syllables"], "syllables"),
        (["--resume"], "there is no unfinished training"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing_behind(cli, shop, headless, tmp_path, words, said):
    code, _, err = cli("encoder", "adapt-mlm", shop, "--encoder", headless, "--out", tmp_path / "out", *words)
    assert code == 2
    assert said in err
    assert "fault inside" not in err
    assert list(tmp_path.iterdir()) == []


def test_bad_places_are_one_line(cli, shop, headless, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    for out, said in ((tmp_path, "holds something else"), (tmp_path / "letters.txt", "is a file")):
        code, _, err = cli("encoder", "adapt-mlm", shop, "--encoder", headless, "--out", out)
        assert code == 2
        assert said in err
        assert len(err.splitlines()) == 1
    code, _, err = cli("encoder", "adapt-mlm", tmp_path / "absent", "--encoder", headless, "--out", tmp_path / "out")
    assert code == 2
    assert "absent" in err


def test_reviews_of_the_training_part_are_read_and_no_others(cli, tmp_path, headless):
    folder = tmp_path / "reviewed"
    folder.mkdir()
    rows = [
        f"{user},{100 + (user + step) % 10},{step},{'brass' if step == 4 else 'red lamp'} {user}" for user in range(8) for step in range(5)
    ]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp,text", *rows]) + "\n", encoding="utf-8")
    items = [f"{100 + number},oak {number}" for number in range(10)]
    (folder / "items.csv").write_text("\n".join(["item_id,title", *items]) + "\n", encoding="utf-8")
    words = ["encoder", "adapt-mlm", folder, "--encoder", headless, "--epochs", "1", "--mask", "words", "--out", tmp_path / "out"]
    code, said, _ = cli(*words, "--texts", "items,reviews")
    assert code == 0
    assert "18 distinct item texts and reviews, 2 of them held out" in said  # ten titles, eight users' words before their last two items
    assert "reviews are those" not in cli(*words, "--overwrite")[2]
    code, said, err = cli(*words, "--texts", "reviews", "--overwrite")
    assert "note: reviews are those of the training part of the split leave_one_out: where another one measures, an encoder that" in err
    assert code == 0
    assert "8 distinct reviews, 1 of them held out" in said
    assert json.loads((tmp_path / "out" / "masked.json").read_text())["head"]["settings"]["mask"] == "words"


@pytest.mark.parametrize("words", [["encoder"], ["encoder", "adapt-mlm"]], ids=" ".join)
def test_help_has_examples(cli, words):
    code, out, _ = cli(*words, "--help")
    assert code == 0
    assert "Example" in out
    assert "bertrec encoder adapt-mlm ml-100k --out" in out
