"""What a table of items changes in the columns that filters, boosts and caps name."""

from __future__ import annotations

import pyarrow as pa

from bertrec.data.catalog import ItemCatalog
from bertrec.data.expressions import type_in_words
from bertrec.data.frames import is_text


def column_changes(old: ItemCatalog, new: ItemCatalog) -> list[str]:
    """Return a line for each attribute that is gone, is new, or is text where it was not."""
    before, after = _attributes(old), _attributes(new)
    gone = [name for name in before if name not in after and name not in new.fields]
    fresh = [name for name in after if name not in before and name not in old.fields]
    lines = [f"column '{name}' is gone: rules that name it are refused" for name in gone]
    lines += [f"column '{name}' is new: no item had it before" for name in fresh] if before else []
    for name in (name for name in before if name in after):
        was, now = before[name].type, after[name].type
        if is_text(now) and not is_text(was) and not pa.types.is_null(was):
            first = next((value for value in after[name].to_pylist() if value and not _fits(value, was)), "")
            refused = "rules that compare it with others are refused"
            lines.append(f"column '{name}' was {type_in_words(was)} and is text now, such as {first!r:.60}: {refused}")
    return lines


def _attributes(catalog: ItemCatalog) -> dict[str, pa.ChunkedArray]:
    return {} if catalog.attributes is None else {name: catalog.attributes[name] for name in catalog.attribute_names}


def _fits(value: str, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True
