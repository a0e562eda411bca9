"""The table of encoders, whitenings and heads beside the default, for the page of results: variants of `benchmarks.new_items`."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from benchmarks.default_tables import PLAIN, RUN, Row, kept, mean_of, per_user, rows_of
from bertrec.comparison.draws import RANKINGS, join
from bertrec.evaluation.significance import PairedResult, paired_comparison, with_holm

DATA = ("amazon-scientific", "ml-100k", "amazon-giftcards", "amazon-beauty")
VARIANTS = {
    "`encoder.name=mpnet`": "unisrec-mpnet",
    "MiniLM adapted to the training part": "unisrec-adapted",
    "static: MiniLM's word pieces alone": "unisrec-pieces",
    "given vectors: TF-IDF, 384 components": "unisrec-words",
    "`encoder.max_length=256` in place of 64": "unisrec-long",
    "`item.fields=apart`": "unisrec-apart",
    "`item.whitening=pca+relaxed`": "unisrec-whiten-plus",
    "`head.kind=ligr`": "unisrec-ligr",
    "`--model alpharec`": "alpharec",
}


@dataclass(frozen=True)
class Measured:
    """A variant on one data set beside the default on the same seeds."""

    label: str
    data: str
    rows: list[Row]
    matched: PairedResult
    plain: PairedResult | None


def measured() -> list[Measured]:
    """Return what was run on seeds that the default has too, p values corrected for the number of comparisons with the match."""
    found = []
    for label, model in VARIANTS.items():
        for data in DATA:
            own, default = ({row["draw"]: row for row in rows_of("warm", data, name) if kept(row, RUN)} for name in (model, "unisrec"))
            seeds = sorted(own.keys() & default.keys())
            if seeds:
                rows, defaults = [own[seed] for seed in seeds], [default[seed] for seed in seeds]
                plain = _against(rows, defaults, PLAIN) if all(kept(row, PLAIN) for row in rows) else None
                found.append(Measured(label, data, rows, _against(rows, defaults, RUN), plain))
    corrected = with_holm([one.matched for one in found])
    return [replace(one, matched=pair) for one, pair in zip(found, corrected, strict=True)]


def _against(rows: list[Row], defaults: list[Row], which: str) -> PairedResult:
    return paired_comparison(per_user(rows, which), per_user(defaults, which), names=("variant", "default"))


def encoder_table() -> list[str]:
    """Return the table, a line for each variant and data set."""
    lines = ["| in the default's place | data | seeds | NDCG@10 | less the default | Holm p | both without the match |"]
    lines.append("|---|---|---|---|---|---|---|")
    for one in measured():
        cells = [
            one.label,
            one.data,
            str(len(one.rows)),
            f"{np.mean([mean_of(row, RUN, 'masked', 'all', 'NDCG@10') for row in one.rows]):.4f}",
        ]
        cells += [_shown(one.matched), f"{one.matched.p_holm:.2g}", _shown(one.plain) if one.plain else "–"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def cold_variant_table(data: str, model: str, encoder: str) -> list[str]:
    """Return the table of users whose next item is new, of a variant with another encoder beside the default on the same draws.

    Args:
        data: its name.
        model: the name of the variant's rows.
        encoder: what the variant's encoder is called.
    """
    own, default = ({row["draw"]: row for row in rows_of("cold", data, name)} for name in (model, "unisrec"))
    draws = sorted(own.keys() & default.keys())
    if not draws:
        return ["Not run."]
    rows, defaults = [own[draw] for draw in draws], [default[draw] for draw in draws]
    joined, beside = join(rows), join(defaults)
    means = {"UniSRec, text + ID (default)": beside["models"][RUN], "MaxSimilarity, untrained": beside["models"]["max-similarity"]}
    means |= {
        f"**UniSRec, text + ID, {encoder}**": joined["models"][RUN],
        "the same, without its match": joined["models"][PLAIN],
    }
    means |= {f"MaxSimilarity, {encoder}": joined["models"]["max-similarity"]}
    users = f"draw{'s' if len(draws) > 1 else ''} {', '.join(map(str, draws))}, {joined['users']:,} users"
    lines = [f"| {data}, {users} | among all items | among the new items |", "|---|---|---|"]
    for label, one in means.items():
        lines.append(f"| {label} | {' | '.join('{NDCG@10:.4f} / {HR@10:.4f}'.format(**one[ranking]) for ranking in RANKINGS)} |")
    lines.append(f"| {encoder} less the default | {' | '.join(_cold_difference(rows, defaults, RUN, ranking) for ranking in RANKINGS)} |")
    against = (_cold_difference(rows, defaults, "max-similarity", ranking) for ranking in RANKINGS)
    return [*lines, f"| {encoder} less MaxSimilarity, untrained | {' | '.join(against)} |"]


def _cold_difference(rows: list[Row], others: list[Row], other: str, ranking: str) -> str:
    own, beside = ([one for row in of for one in row["models"][name][ranking]["per_user"]] for of, name in ((rows, RUN), (others, other)))
    pair = paired_comparison(own, beside)
    return f"{pair.mean_a / pair.mean_b:.3f} x, {_shown(pair)}, p {pair.p_wilcoxon:.2g}"


def _shown(pair: PairedResult) -> str:
    return f"{pair.difference:+.4f} [{pair.ci95[0]:+.4f}, {pair.ci95[1]:+.4f}]"
