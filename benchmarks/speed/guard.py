"""Whether a ratio has become clearly worse than the stored one of the same processor and number of threads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bertrec.core.files import write_json

STORED = Path(__file__).with_name("stored.json")
COVERAGE = 0.95  # of the interval of a case that is judged: six rounds or more
WORSE = 0.8  # a case fails where its whole interval lies below this share of the stored ratio


def key(machine: dict[str, Any], record: dict[str, Any]) -> str:
    """Return what must be the same for two ratios to be comparable."""
    return f"{machine['processor']}, {record['threads']} threads{', fallback data' if record['fallback_data'] else ''}"


def complaint(record: dict[str, Any], machine: dict[str, Any], stored: dict[str, dict[str, float]]) -> str | None:
    """Return what is wrong with a record, or None: no ratio, too few rounds for an interval, nothing stored, or fast enough."""
    known, ratio = stored.get(key(machine, record), {}).get(record["case"]), record.get("ratio")
    if known is None or ratio is None or ratio["coverage"] < COVERAGE or ratio["high"] >= WORSE * known:
        return None
    found = f"{ratio['median']:.2f} x [{ratio['low']:.2f}, {ratio['high']:.2f}]"
    return f"{record['case']}: {found} is below {WORSE:.0%} of the stored {known:.2f} x"


def load() -> dict[str, dict[str, float]]:
    """Return the stored median ratios, by machine and case."""
    return json.loads(STORED.read_text()) if STORED.exists() else {}


def store(records: list[dict[str, Any]], machine: dict[str, Any]) -> None:
    """Keep the ratios of these records as what later runs are held to."""
    stored = load()
    for record in records:
        if "ratio" in record:
            stored.setdefault(key(machine, record), {})[record["case"]] = round(record["ratio"]["median"], 3)
    write_json(STORED, stored)
