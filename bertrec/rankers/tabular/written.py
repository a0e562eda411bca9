"""A pair's features in words, as CTRL's text tower reads them."""

from __future__ import annotations

import numpy as np

from bertrec.data.catalog import ItemCatalog
from bertrec.rankers.tabular.features import FeatureReader
from bertrec.rankers.tabular.rows import Rows

_TITLES = 10  # newest ones of a history
_DAYS = ("", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def written_pairs(reader: FeatureReader, rows: Rows, catalog: ItemCatalog) -> list[str]:
    """Return the text of each pair, ``[total candidates]``, such as ``liked: A, B. on Friday at 14. …. now: C. price: 3 of 8. …``.

    Ids of users are in none.
    """
    before = [_before(rows, row, catalog) for row in range(len(rows.histories))]
    items = [_item(reader, item, catalog) for item in range(1, len(catalog) + 1)]
    owners, popularity = rows.candidates.rows.tolist(), rows.features.popularity.tolist()
    pairs = zip(owners, rows.candidates.values.tolist(), popularity, strict=True)
    return [f"{before[row]} now: {items[item - 1]} met before: {_about(bucket)}." for row, item, bucket in pairs]


def _before(rows: Rows, row: int, catalog: ItemCatalog) -> str:
    features, titles = rows.features, [catalog.titles[item - 1] for item in rows.histories[row][::-1][:_TITLES].tolist()]
    hour, day = int(features.hours[row]), int(features.days[row])
    moment = f" on {_DAYS[day]} at {hour - 1}." if hour else ""
    return f"liked: {', '.join(titles) or 'nothing'}.{moment} done before: {_about(int(features.activity[row]))}."


def _item(reader: FeatureReader, item: int, catalog: ItemCatalog) -> str:
    space, levels = reader.space, reader.items.numbers[item]
    known = [(name, int(level), len(edges) + 1) for name, level, edges in zip(space.numbers, levels, space.edges, strict=True)]
    return " ".join([f"{catalog.texts[item - 1]}.", *(f"{name}: {level} of {most}." for name, level, most in known if level)])


def _about(bucket: int) -> str:
    return f"about {np.int64(2) ** bucket - 1}" if bucket else "never"
