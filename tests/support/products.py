"""A small shop whose products come, change and go, and a run trained on it with its index."""

from __future__ import annotations

from pathlib import Path

from tiny_encoders import tiny_bert

from bertrec.cli.main import main

PRODUCTS = [
    ("p1", "Red Kettle", "kitchen", "9.5"),
    ("p2", "Blue Kettle", "kitchen", "12"),
    ("p3", "Oak Shelf", "wood", "40"),
    ("p4", "Pine Shelf", "wood", "30"),
    ("p5", "Steel Lamp", "light", "25"),
    ("p6", "Brass Lamp", "light", "35"),
    ("p7", "Wool Rug", "floor", "80"),
    ("p8", "Jute Rug", "floor", "60"),
]
TODAY = [
    *PRODUCTS[1:5],  # p1 has gone
    ("p6", "Brass Lamp shining", "light", "35"),  # another text
    ("p7", "Wool Rug", "floor", "70"),  # another price
    PRODUCTS[7],
    ("p9", "Copper Kettle", "kitchen", "19"),
]


def write_products(path, rows=TODAY):
    path.write_text("\n".join(["sku,name,kind,price", *(",".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


def encoder_of_products(folder):
    """Save a tiny encoder that has a token for every word of the products."""
    words = [*(row[1] for row in PRODUCTS), "kitchen wood light floor copper shining"]
    return tiny_bert(folder, words, hidden=32)


def write_shop(folder):
    """Write the shop's data, whose columns have other names than ours, and return the YAML that describes them."""
    write_products(folder / "products.csv", PRODUCTS)
    rows = [f"{user},p{1 + (user + step) % 8},{step}.5" for user in range(1, 17) for step in range(4)]
    (folder / "sales.csv").write_text("\n".join(["customer,sku,when", *rows]) + "\n", encoding="utf-8")
    columns = "columns: {user_id: customer, item_id: sku, title: name, timestamp: when}\n"
    (folder / "shop.yaml").write_text(
        f"interactions: sales.csv\nitems: products.csv\n{columns}text_fields: [title, kind]\n", encoding="utf-8"
    )
    return folder / "shop.yaml"


def train_on(yaml: Path, encoder: str, place: Path) -> Path:
    """Train a model of texts and ids, and index it; return the folder that holds ``run`` and ``index``.

    An index cannot list seen items that a repeat bias lowers, so there is none.
    """
    settings = [f"encoder.name={encoder}", "item.width=16", "head.layers=1", "head.repeat_bias=false", "train.batch_size=16"]
    words = ["train", str(yaml), "--out", str(place / "run"), "--epochs", "2"]
    assert main([*words, *(word for setting in settings for word in ("--set", setting))]) == 0
    assert main(["index", "build", str(place / "run"), "--out", str(place / "index"), "--kind", "hnsw"]) == 0
    return place
