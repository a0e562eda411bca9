"""Texts from a file of their own: joined by id, named in the notes, refused where they do not fit."""

from __future__ import annotations

import pandas as pd
import pytest

from bertrec.core.errors import DataError
from bertrec.data.load import load
from bertrec.data.options import LoadOptions


@pytest.fixture
def shop(tmp_path):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "interactions.csv").write_text("user_id,item_id,timestamp\nu,7,5\nu,8,9\nv,8,6\n", encoding="utf-8")
    (folder / "items.csv").write_text("item_id,title\n7,Lamp\n8,Rug\n9,Shelf\n", encoding="utf-8")
    return folder


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_texts_of_items_are_joined_by_id_and_the_file_is_named(shop, tmp_path):
    file = written(tmp_path / "said.csv", "item_id,summary,tokens\n8,soft and warm,12\n7,gives light,9\n77,gone,3\n")
    data = load(shop, LoadOptions(item_texts=file))
    assert data.catalog.fields == {"title": ["Lamp", "Rug", "Shelf"], "summary": ["gives light", "soft and warm", ""]}
    assert data.catalog.texts[:2] == ["Lamp gives light", "Rug soft and warm"]
    assert any(note.endswith(f"'summary' from {file}, for 2 of 3 items; 1 other ids (left out)") for note in data.notes)
    assert data.content_hash != load(shop).content_hash
    chosen = load(shop, LoadOptions(item_texts=file, template="{summary}: {title}"))
    assert chosen.catalog.texts[0] == "gives light: Lamp"


def test_ids_may_be_of_another_type_and_the_file_of_another_form(shop, tmp_path):
    pd.DataFrame({"item_id": [9, 7], "summary": ["holds books", "gives light"]}).to_parquet(tmp_path / "said.parquet")
    data = load(shop, LoadOptions(item_texts=str(tmp_path / "said.parquet")))
    assert data.catalog.fields["summary"] == ["gives light", "", "holds books"]


def test_texts_of_users_stand_beside_the_table_or_in_place_of_it(shop, tmp_path):
    file = written(tmp_path / "said.jsonl", '{"user_id": "v", "taste": "likes warm things"}\n')
    alone = load(shop, LoadOptions(user_texts=file))
    assert (alone.users.ids.ids, alone.users.texts) == (["v"], ["likes warm things"])
    assert any(file in note for note in alone.notes)
    written(shop / "users.csv", "user_id,job\nu,cook\nv,smith\n")
    both = load(shop, LoadOptions(user_texts=file))
    assert both.users.texts == ["cook", "smith likes warm things"]


def test_a_description_names_them_beside_itself(shop, tmp_path):
    written(tmp_path / "said.csv", "item_id,summary\n7,gives light\n")
    description = tmp_path / "data.yaml"
    description.write_text("folder: shop\nitem_texts: said.csv\n", encoding="utf-8")
    assert load(description).catalog.fields["summary"] == ["gives light", "", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item_id,title\n7,Lampe\n", "has a column 'title' already"),
        ("item_id,summary\n70,a\n", "none of its 1 ids is one of"),
        ("item_id,summary\n7,a\n7,b\n", "1 rows repeat an id"),
        ("item_id,length\n7,3\n", "no column of text beside 'item_id'"),
        ("id,summary\n7,a\n", "item_id"),
    ],
)
def test_what_does_not_fit_is_one_line(shop, tmp_path, text, said):
    with pytest.raises(DataError, match=said) as raised:
        load(shop, LoadOptions(item_texts=written(tmp_path / "said.csv", text)))
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(shop, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        load(shop, LoadOptions(item_texts=str(tmp_path / "nowhere.csv")))
