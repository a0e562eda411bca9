"""Model cards: metadata that the hub's own reader takes, and sections that say what is known and what is not."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from bertrec.core.errors import ModelError
from bertrec.data.splits import Split
from bertrec.models.card import CardFacts, card_text
from bertrec.models.registry import create

FACTS = CardFacts(
    model="unisrec", task="other", items=3, fields=["title"], attributes=["price"], model_hash="abc", encoder="minilm", epochs=2
)
FIGURES = {
    "protocol": {
        "candidates": "all",
        "mask_seen": True,
        "ties": "against the model",
        "model": {"class": "unisrec", "hash": "abc"},
        "slices": {"all": "every user", "cold_items": "targets never in training"},
    },
    "slices": {
        "all": {"users": 7, "metrics": {"NDCG@10": {"mean": 0.25, "ci95": [0.2, 0.3]}, "HR@10": {"mean": 0.5, "ci95": None}}},
        "cold_items": {"users": 0, "metrics": {}},
    },
}
RECORD = {
    "data": "/home/jo/data/Shop of Jo",
    "command": "bertrec train '/home/jo/data/Shop of Jo' --vectors=/tmp/v.npy --out runs/a",
    "versions": {"bertrec": "0.1.0"},
    "manifest": {
        "method": "leave_one_out",
        "options": {},
        "seed": None,
        "data_hash": "fff",
        "filters": ["5-core"],
        "notes": ["/home/jo/x.csv: user jo left out"],
        "counts": {"users": 7, "interactions": 40, "train_interactions": 26},
        "format": "tables",
    },
}


def sections(card: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)$", card, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def test_what_is_not_known_is_said_to_be_not_known() -> None:
    card = card_text(FACTS)
    found = sections(card)
    assert list(found) == ["Use", "Intended use", "Data", "Protocol", "Figures", "Limits", "Training", "Licence", "Users"]
    assert "| data | not known |" in found["Data"]
    assert "| users | not known |" in found["Data"]
    assert found["Figures"].startswith("None: the model was not measured")
    assert "The command that repeats it: not known" in found["Training"]
    data = ModelCard(card).data
    assert (data.eval_results, data.datasets, data.metrics) == (None, None, None)


def test_figures_have_intervals_slices_and_a_protocol() -> None:
    card = card_text(FACTS, {**RECORD, "test": FIGURES})
    found = sections(card)
    assert "| all | every user | 7 | 0.5000 | 0.2500 \\[0.2000, 0.3000\\] |" in found["Figures"]
    assert "| cold\\_items | targets never in training | 0 | - | - |" in found["Figures"]
    assert "Held-out test users" in found["Figures"]
    assert "| ties | against the model |" in found["Protocol"]
    assert "| split | leave\\_one\\_out |" in found["Protocol"]
    assert "| filters | 5-core |" in found["Data"]
    assert "| interactions in training | 26 |" in found["Data"]


def test_the_metadata_are_read_by_the_hub_s_own_reader() -> None:
    data = ModelCard(card_text(FACTS, {**RECORD, "test": FIGURES})).data
    assert data.library_name == "bertrec"
    assert data.pipeline_tag == "other"
    assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert data.datasets == ["Shop-of-Jo"]
    assert data.tags == ["bertrec", "recommender-system", "unisrec"]
    assert {one.metric_name: (one.metric_type, one.metric_value, one.dataset_split) for one in data.eval_results} == {
        "NDCG@10": ("ndcg_at_10", 0.25, "test"),
        "HR@10": ("hit_rate_at_10", 0.5, "test"),
    }


def test_validation_figures_are_never_passed_off_as_test_figures() -> None:
    card = card_text(FACTS, {**RECORD, "validation": FIGURES})
    assert "Validation users, by whom settings and epochs may have been chosen. Test figures: none here." in card
    assert {one.dataset_split for one in ModelCard(card).data.eval_results} == {"validation"}
    both = card_text(FACTS, {**RECORD, "validation": FIGURES, "test": FIGURES})
    assert "Validation users" not in both


def test_figures_of_a_former_state_are_said_to_be_so() -> None:
    card = card_text(replace(FACTS, model_hash="now"), {**RECORD, "test": FIGURES})
    assert "Measured on another state of the model or its items (SHA-256 of that state: abc)." in card


@pytest.mark.parametrize(
    "place",
    [
        "/home/jo/shop",
        "../../jo/shop",
        "~jo/shop",
        "C:\\jo\\shop",
        "\\\\jo\\shop",
        "file:///home/jo/shop",
        "s3://jo-lake/shop?region=jo",
        "hdfs://jo:secret@host/home/shop/",
        "ftp:/jo/shop",
    ],
)
@pytest.mark.parametrize("form", ["{}", "--data={}", "data={}", "a.csv,{}", "[{}]", "{{a: '{}'}}"])
def test_a_place_is_its_last_part_wherever_it_stands(place: str, form: str) -> None:
    card = card_text(replace(FACTS, encoder=place), {"data": place, "command": shlex.join(["bertrec", "train", form.format(place)])})
    assert not re.search("home|jo|secret|host|lake", card)
    assert "shop" in card


def test_a_place_with_a_space_is_its_last_part_where_it_is_a_word_of_its_own() -> None:
    command = shlex.join(["bertrec", "train", "/home/jo the 2nd/shop", "--out=/home/jo the 2nd/run"])
    assert "bertrec train shop --out=run\n" in card_text(FACTS, {"command": command})


def test_names_that_are_no_places_stay() -> None:
    words = ["ml-100k", "user/name", "data/shop.yaml", "runs/a", "1/2", "price < 5", "--set", "encoder.name=org/model", "a:b"]
    assert shlex.join(words) in card_text(FACTS, {"command": shlex.join(words)})


def test_no_path_of_a_machine_and_no_note_of_the_data_is_in_it() -> None:
    facts = replace(FACTS, encoder="/home/jo/encoders/mine", settings={"encoder.name": "/home/jo/encoders/mine", "train.epochs": 2})
    card = card_text(facts, {**RECORD, "test": FIGURES})
    assert "/home" not in card
    assert "/tmp" not in card
    assert "user jo" not in card
    assert "bertrec train 'Shop of Jo' --vectors=v.npy --out runs/a" in card
    assert "| encoder.name | mine |" in card
    assert ModelCard(card).data.base_model is None


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("minilm", "sentence-transformers/all-MiniLM-L6-v2: apache-2.0; its weights are not part"),
        ("mpnet", "sentence-transformers/all-mpnet-base-v2: apache-2.0"),
        ("someone/bert", "someone/bert: not known here"),
        ("/home/jo/encoders/mine", "mine: not known here"),
    ],
)
def test_the_licence_of_the_encoder_is_named_where_it_is_known(encoder: str, said: str) -> None:
    assert said in sections(card_text(replace(FACTS, encoder=encoder)))["Licence"]
    assert "a changed copy of its weights is part of this model" in card_text(replace(FACTS, encoder=encoder, tuned=True))


def test_an_adapted_encoder_names_what_it_was_adapted_from() -> None:
    card = card_text(replace(FACTS, encoder="/home/jo/adapted"), {"adaptation": {"encoder": "minilm"}})
    assert ModelCard(card).data.base_model == "sentence-transformers/all-MiniLM-L6-v2"


def test_text_of_others_is_shown_and_never_obeyed() -> None:
    evil = "<script>x</script> | [a](b)\n---\nlicense: mit\n```"
    facts = replace(FACTS, fields=[evil], settings={"x": evil})
    card = card_text(facts, {"data": evil, "command": "bertrec train '```\n# Heading\x1b[31m'"})
    assert "<script>" not in card
    assert "\x1b" not in card
    assert ModelCard(card).data.license is None
    assert list(sections(card)) == list(sections(card_text(FACTS)))
    table = [line for line in card.splitlines() if line.startswith("| text fields")]
    assert len(table) == 1
    assert len(re.findall(r"(?<!\\)\|", table[0])) == 3
    fences = re.findall(r"^`{3,}", card, flags=re.MULTILINE)
    assert len(fences) % 2 == 0
    assert max(map(len, fences)) == 4  # longer than what the command holds


@pytest.mark.parametrize(
    "record", [{"test": {"slices": 3}}, {"manifest": {"filters": 3}}, {"command": "bertrec 'open"}, {"validation": "good"}, {"versions": 1}]
)
def test_a_damaged_record_is_one_line(record: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="the record of the run is damaged, so that its model has no card"):
        card_text(FACTS, {**RECORD, **record})


def test_every_saved_model_has_a_card_that_fits_it(split: Split, small: dict[str, Any], folder: Path) -> None:
    model = create("unisrec", item_input="text", settings={**small, "train.epochs": 2}).fit(split, progress=False)
    model.save_pretrained(folder, record={"data": "colours"})
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert model.card({"data": "colours"}) == card
    assert card.startswith("---\n")
    found = sections(card)
    assert "# unisrec on colours" in card
    assert f"SHA-256 of the model: `{model.model_hash}`" in found["Training"]
    assert "Epochs: 2." in found["Training"]
    assert "An item that training did not see is known by what it says alone." in found["Limits"]
    assert f"| SHA-256 of the data | {model.trained_on.split['data_hash']} |" in found["Data"]
    assert "| items | 20 |" in found["Data"]


def test_a_model_of_ids_names_no_encoder(split: Split, small: dict[str, Any]) -> None:
    card = create("idrec", settings={**small, "train.epochs": 1}).fit(split, progress=False).card()
    assert "It does not read what items say." in card
    assert "Of the encoder" not in card
    assert ModelCard(card).data.base_model is None
