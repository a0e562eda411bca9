"""Tables of `benchmarks.new_items`' rows for the page of results: the defaults beside what needs no training, and new items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks import new_items
from bertrec.comparison.draws import join
from bertrec.core.files import read_json
from bertrec.evaluation.significance import paired_comparison

Row = dict[str, Any]
RUN, PLAIN = "run", "run without its match"
DATA = ("amazon-scientific", "amazon-beauty", "ml-100k", "amazon-giftcards")
MODELS = {
    "**UniSRec, text + ID (default)**": ("unisrec", RUN),
    "the same, all-mpnet-base-v2": ("unisrec-mpnet", RUN),
    "UniSRec, text": ("unisrec-text", RUN),
    "IDRec (ours)": ("idrec", RUN),
    "UniSRec, text + ID, without the match": ("unisrec", PLAIN),
    "the same, all-mpnet-base-v2, without the match": ("unisrec-mpnet", PLAIN),
    "UniSRec, text, without the match": ("unisrec-text", PLAIN),
    "IDRec, without the match": ("idrec", PLAIN),
    "EASE over texts, solved": ("ease-text", RUN),
    "EASE, solved": ("ease", RUN),
    "MaxSimilarity, untrained": ("max-similarity", RUN),
    "TextSimilarity, untrained": ("text-similarity", RUN),
    "Popularity": ("popularity", RUN),
}
SEEDLESS = ("ease", "ease-text", "max-similarity", "text-similarity", "popularity")
PAIRS = (
    ("text + ID", ("unisrec", RUN), "ID", ("idrec", RUN)),
    ("text + ID", ("unisrec", RUN), "ID, without the match", ("idrec", PLAIN)),
    ("text", ("unisrec-text", RUN), "ID", ("idrec", RUN)),
    ("text + ID", ("unisrec", RUN), "EASE over texts", ("ease-text", RUN)),
    ("text + ID, all-mpnet-base-v2", ("unisrec-mpnet", RUN), "MiniLM", ("unisrec", RUN)),
    ("text + ID", ("unisrec", RUN), "MaxSimilarity, untrained", ("max-similarity", RUN)),
)
COLD = {
    "**UniSRec, text + ID (default)**": RUN,
    "UniSRec, text + ID, without the match": PLAIN,
    "MaxSimilarity, untrained": "max-similarity",
    "TextSimilarity, untrained": "text-similarity",
}


def rows_of(kind: str, data: str, model: str) -> list[Row]:
    """Return the rows of a kind, data set and model, a draw each."""
    return [read_json(path) for path in sorted(new_items.RESULTS.glob(f"{kind}-{data}-{model}-[0-9].json"))]


def defaults_table(data: str, spread: Callable[[list[float]], str]) -> list[str]:
    """Return the table of all users of one data set; models that were not run are left out."""
    lines = [
        f"| {data} | seeds | NDCG@10 masked | HR@10 masked | NDCG@10 unmasked | HR@10 unmasked | seen 1 to 5 times, NDCG@10 masked | "
        "minutes of training |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label, (model, which) in MODELS.items():
        found = rows_of("warm", data, model)
        if not found:
            continue
        parts = [("masked", "all", "NDCG@10"), ("masked", "all", "HR@10"), ("unmasked", "all", "NDCG@10"), ("unmasked", "all", "HR@10")]
        parts.append(("masked", "few_shot_items", "NDCG@10"))
        cells = [spread([mean_of(row, which, *part) for row in found]) for part in parts]
        trained = [row["train"]["seconds"] / 60 for row in found if row["train"]]
        cells.append(f"{np.mean(trained):.1f}" if trained and which == RUN else "–")
        lines.append(f"| {label} | {len(found)} | {' | '.join(cells)} |")
    return lines


def mean_of(row: Mapping[str, Any], which: str, rules: str, part: str, metric: str) -> float:
    """Return one mean of a row: with or without the match, by protocol, slice and metric."""
    return float(row["models"][which][rules]["slices"][part][metric]["mean"])


def defaults_pairs() -> list[Row]:
    """Return the paired comparisons over users, values averaged over seeds: those that both have, where both have seeds."""
    out = []
    for data in DATA:
        for name_a, a, name_b, b in PAIRS:
            own, others = ([row for row in rows_of("warm", data, model) if kept(row, which)] for model, which in (a, b))
            if b[0] not in SEEDLESS:
                both = {row["draw"] for row in own} & {row["draw"] for row in others}
                own, others = ([row for row in rows if row["draw"] in both] for rows in (own, others))
            if own and others:
                result = paired_comparison(per_user(own, a[1]), per_user(others, b[1]), names=(name_a, name_b))
                out.append({"title": data, "seeds": len(own), **result.to_json()})
    return out


def kept(row: Row, which: str) -> bool:
    """Say whether a row has the values of each user, which older ones lack."""
    return "per_user" in row["models"].get(which, {}).get("masked", {})


def per_user(rows: list[Row], which: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return NDCG@10 of each user, masked, averaged over rows."""
    return np.mean([new_items.unpacked(row["models"][which]["masked"]["per_user"]) for row in rows], axis=0)


def cold_table(kind: str, data: str) -> list[str]:
    """Return the table of users whose next item is new, draws joined, and how the default differs from the better untrained similarity."""
    joined = join(rows_of(kind, data, "unisrec"))
    several = len(joined["draws"]) > 1
    draws = f"draw{'s' if several else ''} {', '.join(map(str, joined['draws']))}"
    lines = [f"| {data}, {draws}, {joined['users']:,} users | among all items | among the new items |"]
    lines.append("|---|---|---|")
    for label, name in COLD.items():
        means = joined["models"].get(name)
        if means:
            cells = ["{NDCG@10:.4f} / {HR@10:.4f}".format(**one) for one in means.values()]
            lines.append(f"| {label} | {' | '.join(cells)} |")
    cells = [_against(one) for one in joined["against"].values()]
    lines.append(f"| the default against the better untrained | {' | '.join(cells)} |")
    wide = ["[{:+.4f}, {:+.4f}]".format(*one["ci95_draws"]) for one in joined["against"].values()]
    return [*lines, f"| draws resampled too | {' | '.join(wide)} |"] if several else lines


def _against(one: Mapping[str, Any]) -> str:
    low, high = one["ci95"]
    ratio = one["mean_a"] / one["mean_b"]
    return f"{ratio:.3f} x {one['names'][1]}, {one['difference']:+.4f} [{low:+.4f}, {high:+.4f}], Holm p {one['p_holm']:.2g}"
