"""What ``checks.wheel`` runs with the installed package alone, nothing of the clone on its path: fit, measure, save, load, recommend."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fit a tiny model to tables whose answer is known, in the environment that runs this."""
    import bertrec

    assert Path(bertrec.__file__).is_relative_to(sys.prefix), f"{bertrec.__file__} is not the installed package"
    heavy = {"torch", "pandas", "transformers", "faiss"} & set(sys.modules)
    assert not heavy, f"import bertrec loads {sorted(heavy)}"
    import pyarrow as pa

    items = pa.table({"item_id": list(range(6)), "title": [f"thing {number}" for number in range(6)]})
    rows = [(f"u{user}", (user + step) % 6, step) for user in range(24) for step in range(4)]
    clicks = pa.table(dict(zip(("user_id", "item_id", "timestamp"), map(list, zip(*rows, strict=True)), strict=True)))
    dataset = bertrec.load(clicks, items=items)
    settings = {"item.width": 16, "head.layers": 1, "head.dropout": 0.0, "train.epochs": 30, "train.batch_size": 16}
    model = bertrec.create("idrec", settings=settings, seed=0).fit(dataset, progress=False)
    found = bertrec.evaluate(model, dataset).mean("HR@1")
    assert found > 0.9, f"everyone walks in order, but HR@1 is {found}"
    index = bertrec.ItemIndex.build(model.item_embeddings()[1:], model.catalog.ids.ids, model_hash=model.model_hash)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(Path(folder) / "model")
        again = bertrec.Recommender.from_pretrained(Path(folder) / "model")
        assert (Path(folder) / "model" / "README.md").is_file()
    assert again.recommend([[1, 2, 3]], k=1, index=index).items == [[4]]
    readers = bertrec.create("text-similarity").fit(dataset)  # with the encoder that comes as a package
    assert readers.search("thing 4", k=1).items == [4]


main()
