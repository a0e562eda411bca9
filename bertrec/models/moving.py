"""A model and its indexes over a catalogue that changed."""

from __future__ import annotations

import copy

from bertrec.data.catalog import ItemCatalog
from bertrec.models.base import Recommender
from bertrec.retrieval.index import ItemIndex


def moved(model: Recommender, catalog: ItemCatalog) -> Recommender:
    """Return a model over another catalogue; where nothing differs that it reads, such as prices alone, nothing is computed.

    Raises:
        ModelError: there are new items, and the model does not read what they say.
    """
    if catalog.content_hash != model.catalog.content_hash:
        return model.with_catalog(catalog)
    other = copy.copy(model)
    other.catalog = catalog
    return other


def bring(index: ItemIndex, model: Recommender) -> dict[str, int]:
    """Let an index hold the items that a model lists, with its vectors; return what `ItemIndex.bring` does."""
    known = model.known_items()
    return index.bring(model.item_embeddings()[known], model.catalog.ids.decode(known), model_hash=model.model_hash)
