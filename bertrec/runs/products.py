"""Today's products brought into a run and its indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertrec.core.notes import note
from bertrec.runs.folder import Run
from bertrec.runs.states import write_state

if TYPE_CHECKING:
    from bertrec.core.together import Change
    from bertrec.data.catalog import ItemCatalog
    from bertrec.data.changes import CatalogChanges
    from bertrec.models.base import Recommender


@dataclass(frozen=True)
class Brought:
    """What was written.

    Attributes:
        model: as it is now.
        indexes: those that were behind, each with what changed in it.
    """

    model: Recommender
    indexes: dict[Path, dict[str, int]]


def product_changes(model: Recommender, products: ItemCatalog, *, delta: bool, drop: bool = False) -> CatalogChanges:
    """Return what products change in the catalogue of a run's model; of one without an encoder no text is to be encoded.

    Args:
        model: of the run.
        products: see `bertrec.data.changes.catalog_changes`, also for what is raised.
        delta: they are new and changed ones alone.
        drop: vanished ones are forgotten.
    """
    from bertrec.data.changes import catalog_changes

    found = catalog_changes(model.catalog, products, delta=delta, drop=drop)
    return found if model.reads_text and not model.takes_vectors else replace(found, to_encode=0)


def bring_products(
    change: Change,
    run: Run,
    record: Mapping[str, Any],
    model: Recommender,
    found: CatalogChanges,
    indexes: Sequence[Path],
    *,
    anew: bool = False,
) -> Brought | None:
    """Write a run and its indexes over the catalogue as it is to be.

    Args:
        change: takes them; see `bertrec.runs.states.next_state`.
        run: the folder.
        record: of the run.
        model: of the run, as it is.
        found: what is to change.
        indexes: of the run, as `bertrec.runs.states.belonging` gives them.
        anew: vectors of any item may be others.

    Returns:
        None where there was nothing to write.
    """
    after = _moved(model, found, anew=anew)
    behind = [path for path in indexes if not _is_current(path, after)]
    if not found and not behind and after.model_hash == model.model_hash:
        return None
    how: dict[str, Any] = {"before": model, "after": after, "counts": found.counts, "indexes": behind}
    said = write_state(change, run, record, kind="catalog", **how)
    return Brought(after, dict(zip(behind, said, strict=True)))


def _moved(model: Recommender, found: CatalogChanges, *, anew: bool) -> Recommender:
    """Return the model over the catalogue as it is to be: itself where nothing changed, unless vectors may have, of any item."""
    from bertrec.models.moving import moved

    if anew:
        return model.with_catalog(found.catalog)
    if not found and found.catalog.content_hash == model.catalog.content_hash:
        return model
    if found.to_encode:
        note(f"encoding {found.to_encode} texts")
    return moved(model, found.catalog)


def _is_current(index: Path, model: Recommender) -> bool:
    from bertrec.retrieval.storage import META, read_meta

    return read_meta(index / META).model_hash == model.model_hash
