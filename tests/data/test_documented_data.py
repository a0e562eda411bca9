"""The page on one's own data: what it shows is what the readers take."""

import re
from pathlib import Path

import pytest
import yaml

from bertrec.data.load import DataDescription, load

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


@pytest.fixture
def described() -> dict:
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return yaml.safe_load(found[1])


def test_the_yaml_of_the_page_is_a_description_without_an_unknown_key(described):
    assert DataDescription.from_dict(described).columns == {"user_id": "uid", "item_id": "sku", "timestamp": "clicked_at"}


def test_tables_described_as_on_the_page_are_read(tmp_path, described):
    (tmp_path / "clicks.csv").write_text("uid,sku,clicked_at\n1,a,2024-01-02\n1,b,2024-01-01\n2,b,2024-01-01\n")
    (tmp_path / "products.csv").write_text("sku,name,description\na,Lamp,bright\nb,Chair,\nc,,\n")
    own = described | {"interactions": "clicks.csv", "items": "products.csv", "k_core": 0, "min_rating": None}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(own))
    dataset = load(tmp_path / "shop.yaml")
    assert dataset.name == "shop"
    assert dataset.catalog.texts == ["Lamp. bright", "Chair."]
    assert [dataset.catalog.ids.decode(row) for row in dataset.interactions.sequences] == [["b", "a"], ["b"]]


def test_a_folder_as_on_the_page_is_recognised(tmp_path):
    (tmp_path / "interactions.csv").write_text("user_id,item_id\n1,a\n1,b\n")
    (tmp_path / "items.csv").write_text("item_id,title\na,Lamp\nb,Chair\n")
    dataset = load(tmp_path)
    assert dataset.format == "tables"
    assert dataset.catalog.texts == ["Lamp", "Chair"]
