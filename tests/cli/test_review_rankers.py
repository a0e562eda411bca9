"""Rankers that read what users wrote, from the command line: tables with texts and profiles, and Amazon's own files."""

from __future__ import annotations

import json

import pytest
from tiny_encoders import tiny_bert, tiny_masked

from bertrec.cli.main import main
from bertrec.rankers.prompts.template import Prompt

TITLES = [f"{colour} {thing}" for colour in ("red", "blue") for thing in ("car", "hat", "sea", "dog")]
SAID = ["lovely", "awful", "fine"]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("reviews")
    texts = [*TITLES, *SAID, "yes no likes", *(Prompt.load(name).text for name in ("profile", "reviews"))]
    tiny_masked(root / "masked", texts)
    tiny_bert(root / "bert", texts)
    rows = [
        (f"u{user}", (user + step) % 8, 1_500_000_000 + 86_400 * step, SAID[(user + step) % 3]) for user in range(12) for step in range(5)
    ]
    shop = root / "shop"
    shop.mkdir()
    lines = [f"{user},{item},{moment},{text}" for user, item, moment, text in rows]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp,text", *lines]) + "\n", encoding="utf-8")
    (shop / "items.csv").write_text("\n".join(["item_id,title", *(f"{k},{t}" for k, t in enumerate(TITLES))]) + "\n", encoding="utf-8")
    (shop / "users.csv").write_text("user_id,taste\nu1,likes red\nstranger,likes blue\n", encoding="utf-8")
    amazon = root / "amazon"
    amazon.mkdir()
    told = [
        {"reviewerID": user, "asin": f"B{item}", "unixReviewTime": moment, "overall": 5.0, "reviewText": text}
        for user, item, moment, text in rows
    ]
    (amazon / "Toys_5.json").write_text("".join(json.dumps(row) + "\n" for row in told), encoding="utf-8")
    meta = "".join(json.dumps({"asin": f"B{number}", "title": title}) + "\n" for number, title in enumerate(TITLES))
    (amazon / "meta_Toys.json").write_text(meta, encoding="utf-8")
    return root


@pytest.mark.parametrize("data", ["shop", "amazon"])
def test_prompts_and_ubert_are_trained_on_data_with_reviews(world, tmp_path, data):
    prompts = ["prompt", "train", world / data, "--template", "reviews", "--template", "profile", "--encoder", world / "masked"]
    small = ["--epochs", "1", "--set", "encoder.max_length=60", "--set", "negatives=1"]
    assert main([str(word) for word in [*prompts, *small, "--out", tmp_path / "prompts"]]) == 0
    ubert = ["rankers", "train", world / data, "--ranker", "ubert", "--set", "train.epochs=1", "--set", f"encoder.name={world / 'bert'}"]
    assert main([str(word) for word in [*ubert, "--out", tmp_path / "ubert"]]) == 0
    for run, members in (("prompts", ["reviews", "profile"]), ("ubert", ["ubert"])):
        record = json.loads((tmp_path / run / "run.json").read_text(encoding="utf-8"))
        assert [member.get("prompt") or member["ranker"] for member in record["members"]] == members
        assert all(0 <= member["validation"]["AUC"] <= 1 for member in record["members"])
    saved = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not any(b"awful" in file.read_bytes() for file in saved if "tokenizer" not in file.name and "vocab" not in file.name)


def test_a_file_of_texts_stands_in_the_record_of_the_run(world, tmp_path, monkeypatch):
    (tmp_path / "said.csv").write_text("item_id,summary\n1,likes the sea\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    words = ["rankers", "train", world / "shop", "--item-texts", "said.csv", "--ranker", "ubert", "--set", "train.epochs=1"]
    assert main([str(word) for word in [*words, "--set", f"encoder.name={world / 'bert'}", "--out", "run"]]) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    assert record["load"]["item_texts"] == str(tmp_path / "said.csv")
