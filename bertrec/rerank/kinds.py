"""Rankers on a retriever's lists: each is trained on them, saved with the retriever's share of the score, and loaded again.

RERANKER/model/       the saved ranker; its config.json says which it is
RERANKER/rerank.json  how it came about, the length of the lists, and the retriever's share of the score
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bertrec.core.checks import expect, expect_path
from bertrec.core.errors import ConfigError, ModelError, unknown_name
from bertrec.core.files import atomic_folder, read_json, write_json
from bertrec.core.partial import recover
from bertrec.core.ragged import Ragged
from bertrec.core.seal import check_seal, sealed
from bertrec.data.impressions import Impressions
from bertrec.data.splits import EvaluationSet, Split
from bertrec.encoders.registry import require_path
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.protocol import Protocol
from bertrec.models.base import Recommender
from bertrec.models.fallback import cold_rows
from bertrec.models.serving import Histories, Recommendations
from bertrec.rankers.base import Ranker
from bertrec.rankers.names import RANKERS
from bertrec.rerank.evaluation import check_catalogs, choose_weight
from bertrec.rerank.hard import HardSources, check_room
from bertrec.rerank.lists import retrieval_scores, retrieved_impressions, validation_impressions
from bertrec.rerank.two_stage import Scores, fused_scores, retrieve_scored
from bertrec.retrieval.checks import unit_length
from bertrec.retrieval.exact import IntArray
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import RuleBook, Rules

RECORD = "rerank.json"
LEARN_FROM = ("train", "valid")
_POSITIONS = 3  # of each user, the newest
_HELD_OUT = 5  # one user in so many is held out to choose the retriever's share


@dataclass(frozen=True)
class LoadedReranker:
    """A reranker with what goes with it.

    Attributes:
        reranker: what scores.
        weight: the retriever's share of the score that was chosen on validation; 0 where nothing was chosen.
        record: ``rerank.json``, empty where there is none.
    """

    reranker: Ranker
    weight: float
    record: Mapping[str, Any]


def load_reranker(folder: str | Path, *, classes: str | type | Iterable[str | type] = ()) -> Ranker:
    """Read a reranker of any kind; see `load_with_record`."""
    return load_with_record(folder, classes=classes).reranker


def load_with_record(folder: str | Path, *, classes: str | type | Iterable[str | type] = ()) -> LoadedReranker:
    """Read a reranker's folder, or the folder of its ranker alone; no code from it is run.

    Args:
        folder: of the reranker.
        classes: see `bertrec.models.fitted.Fitted.from_pretrained`.

    Raises:
        ModelError: the folder is absent or holds no reranker, or a file of it is missing or damaged; the text names it.
    """
    folder = expect_path(folder, "the reranker's folder", error=ModelError)
    if not recover(folder).is_dir():
        raise ModelError(f"{folder}: no such reranker; make one with  bertrec rerank train RUN --out {folder}")
    place = folder / "model" if (folder / "model").is_dir() else folder
    if not (place / "config.json").exists():
        raise ModelError(f"{folder} is no reranker: bertrec rerank train RUN --out FOLDER makes one")
    reranker: Ranker = Ranker.from_pretrained(place, classes=classes)
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else {}
    weight = record.get("weight", 0.0) if isinstance(record, dict) else None
    if isinstance(record, dict):
        check_seal(record, folder / RECORD)
    if not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ModelError(f"{folder / RECORD} is damaged: its weight is {weight!r}, not a number from 0 to 1")
    length, retriever = record.get("candidates", 1), record.get("retriever", {})
    if not isinstance(length, int) or length < 1 or not isinstance(retriever, dict):
        raise ModelError(f"{folder / RECORD} is damaged: it does not say which lists the reranker is for")
    return LoadedReranker(reranker, float(weight), record)


def recommend_reranked(
    model: Recommender,
    folder: str | Path,
    histories: Histories,
    k: int,
    *,
    candidates: int | None = None,
    exclude_seen: bool = True,
    index: ItemIndex | None = None,
    rules: Rules | None = None,
    classes: str | type | Iterable[str | type] = (),
) -> Recommendations:
    """Return the ``k`` best items for each history after reranking what the model retrieves.

    Args:
        model: the retriever.
        folder: of the reranker.
        histories: lists of external ids, or inner ids; oldest first.
        k: how many.
        candidates: how many are retrieved, at least ``k``; None takes what the reranker was trained with, 50 where that is not known.
        exclude_seen: leave out items of the history.
        index: search this index instead of scoring the whole catalogue.
        rules: they hold for what is retrieved; boost and diversity then count beside the scores that order the list.
        classes: see `bertrec.models.fitted.Fitted.from_pretrained`.

    Raises:
        ModelError: the reranker cannot be loaded.
        DataError: it was made over other items, or the rules name an attribute that the items do not have.
    """
    loaded = load_with_record(folder, classes=classes)
    return reranked(model, loaded, histories, k, candidates=candidates, exclude_seen=exclude_seen, index=index, rules=rules)


def reranked(
    model: Recommender,
    loaded: LoadedReranker,
    histories: Histories,
    k: int,
    *,
    candidates: int | None = None,
    exclude_seen: bool = True,
    index: ItemIndex | None = None,
    rules: Rules | None = None,
) -> Recommendations:
    """Return what `recommend_reranked` does, with a reranker that was loaded already."""
    check_catalogs(model, loaded.reranker)
    known, unknown = model.known_histories(histories)
    count = max(k, candidates or int(loaded.record.get("candidates", 50)))
    found = retrieve_scored(model, known, count, mask_seen=exclude_seen, index=index, rules=rules)
    scores = fused_scores(loaded.reranker, known, found.items, retrieval_scores=found.scores, weight=loaded.weight)
    lists = list(_in_order(model, found.items, scores, k, rules or Rules()))
    return Recommendations(
        [model.catalog.ids.decode(items) for items, _ in lists],
        [values.tolist() for _, values in lists],
        [model.fallback if one else None for one in cold_rows(model.user_vectors(known)).tolist()],
        unknown,
    )


def _in_order(model: Recommender, lists: Ragged, scores: Scores, k: int, rules: Rules) -> Iterator[tuple[IntArray, Scores]]:
    """Yield the ``k`` items of each list once boost, caps and diversity count beside its scores, with the scores, boost included."""
    plan = RuleBook(model.catalog).plan(rules)
    scores = scores if plan.boost is None else scores + plan.boost[lists.values]
    vectors = unit_length(model.item_embeddings()) if rules.diversity else None
    for row, items in enumerate(lists):
        values = scores[lists.offsets[row] : lists.offsets[row + 1]]
        order = np.argsort(-values, kind="stable")
        ranked = items[order]
        chosen = order[plan.pick(ranked, values[order], k, None if vectors is None else vectors[ranked], whole=True) or []]
        yield items[chosen], values[chosen]


def train_reranker(
    model: Recommender,
    split: Split,
    *,
    kind: str | type[Ranker] = "composite",
    candidates: int = 50,
    negatives: int = 8,
    positions: int | None = None,
    learn_from: str = "train",
    hard: str | Sequence[str] = "retrieved",
    label_field: str | None = None,
    lists: int | None = None,
    share_users: int | None = None,
    metric: str = "NDCG@10",
    seed: int = 0,
    mask_seen: bool = True,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> tuple[Ranker, dict[str, Any]]:
    """Train a reranker on the retriever's lists, then choose the retriever's share of the score on validation users.

    Where these are learned from too, those whom ``lists`` leaves out choose the share. Without ``lists`` a fifth of the
    users is held out for it, unless the ranker has a `small_head`: then all learn and choose, and a note says so.

    Args:
        model: the retriever, trained on ``split.train``.
        split: the data; its test users are not looked at.
        kind: a name in `bertrec.rankers.names.RANKERS`, or someone else's class, itself or by its dotted path.
        candidates: length of the retriever's lists.
        negatives: hard negatives per list.
        positions: newest training positions per user, with ``learn_from="train"`` alone; None takes 3.
        learn_from: ``train``, where the retriever's own scores cannot be learned from, or ``valid``, where they are.
        hard: where the negatives come from: ``retrieved``, ``genre``, ``cooccurrence``, several of them, or ``mixed``
            (`bertrec.rerank.hard.HardSources`).
        label_field: of the labels by which items are of like genre; None takes the first usual name.
        lists: learn from so many lists at most, drawn at random; None takes all but those of the users who are held out
            to choose the share.
        share_users: choose the share on so many validation users at most, drawn at random; None takes all.
        metric: by which the share is chosen.
        seed: of the draws, and of the reranker's own training.
        mask_seen: whether items of the history are left out where the share is chosen.
        settings: of the kind.
        progress: show bars.

    Returns:
        The reranker, and the record to keep beside it, JSON values.

    Raises:
        ConfigError: an unknown kind, setting, metric or kind of negatives (with the nearest right one), more negatives than candidates, or
            an option that would not be read.
        DataError: the split has no validation users but they are needed, no list can be made, or the items have no labels and
            ``hard="genre"``.
    """
    expect(model, Recommender, "train_reranker: model", error=ModelError)
    expect(split, Split, "train_reranker: split")
    chosen = asked_settings(kind, negatives=negatives, positions=positions, learn_from=learn_from, metric=metric, settings=settings)
    asked = RANKERS.find(kind)
    if learn_from == "valid" and split.validation is None:
        raise ConfigError("the split has no validation users: learn from train")
    sources = HardSources.of(hard, split.train, field=label_field)
    check_room(sources, negatives, candidates)
    drawn: dict[str, Any] = {"n": candidates, "negatives": negatives, "seed": seed, "hard": sources}
    judges, scores = split.validation, None
    if learn_from == "valid" and judges is not None:
        found = validation_impressions(model, judges, **drawn)
        learned, judges = _divided(found, judges, lists, seed, hold_out=not asked.small_head)
        scores = retrieval_scores(model, learned.histories, learned.candidates)
    else:
        learned = retrieved_impressions(model, split.train, positions=_POSITIONS if positions is None else positions, **drawn)
        learned = learned.take(_drawn(len(learned), lists, seed, "lists"))
    reranker: Ranker = asked.configured(settings=chosen, seed=seed)
    counted = learn_from == "train"
    reranker.fit(learned, item_counts=split.train.item_counts, counted=counted, retrieval_scores=scores, progress=progress)
    weight, figures, told = 0.0, dict[float, float](), list[str]()
    if judges is not None:
        judges = judges.take(_drawn(len(judges), share_users, seed, "share_users"))
        told = _overlap_notes(learned, judges) if learn_from == "valid" else []
        rules, counts = Protocol(bootstrap=0, mask_seen=mask_seen), split.train.item_counts
        weight, figures = choose_weight(model, reranker, judges, rules, counts, candidates=candidates, metric=metric)
    record: dict[str, Any] = {
        "kind": reranker.name,
        "retriever": {"class": model.name, "hash": model.model_hash},
        "candidates": candidates,
        "weight": weight,
    }
    of_users = {"users": 0 if judges is None else len(judges)}
    record |= {"chosen_on": {"metric": metric, **of_users, "figures": {f"{share:g}": figure for share, figure in figures.items()}}}
    record |= {
        "learn_from": learn_from,
        "negatives": negatives,
        "positions": positions or (_POSITIONS if learn_from == "train" else None),
        "seed": seed,
        "lists": len(learned),
    }
    record |= {"hard": list(sources.names), "settings": dict(settings or {}), "head": reranker.weights}
    record |= {"notes": [*learned.notes, *told, *reranker.notes, *_unasked(reranker), *filter(None, [reranker.head_note])]}
    return reranker, record


def asked_settings(
    kind: str | type[Ranker],
    *,
    negatives: int = 8,
    positions: int | None = None,
    learn_from: str = "train",
    metric: str = "NDCG@10",
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Check what `train_reranker` is asked for, as far as no data are needed, and return the settings that the ranker gets.

    Raises:
        ConfigError: an unknown kind, setting, metric or source of lists, or ``positions`` of lists that are not from training.
        ModelError: the encoder is named by a path, and there is no such folder.
    """
    asked = RANKERS.find(kind)
    if learn_from not in LEARN_FROM:
        raise ConfigError(unknown_name("source of lists", learn_from, LEARN_FROM))
    if learn_from == "valid" and positions is not None:
        raise ConfigError(f"positions {positions} is of training lists: leave it out, or learn from train")
    if metric not in (known := rank_metrics(Ragged.from_rows([[1]]), Protocol().ks)):
        raise ConfigError(unknown_name("metric", metric, known))
    chosen = {**asked.list_settings(negatives=negatives, scored=learn_from == "valid"), **(settings or {})}
    require_path(asked.config_from(settings=chosen).to_flat().get("encoder.name"))
    return chosen


def _divided(
    learned: Impressions, validation: EvaluationSet, most: int | None, seed: int, *, hold_out: bool
) -> tuple[Impressions, EvaluationSet]:
    """Return at most so many lists, and the users who choose the share.

    Both are parts of one random order of the users: the lists are the first there are, and whoever comes after them, with a list or
    without, chooses; those without a list alone would not tell one share from another. Where there is no such limit, the last fifth of
    that order, one user at least, is held out to choose, or nobody is. Where nobody is left, all choose.
    """
    limited = most is not None and most < len(learned)
    if not limited and not hold_out:
        return learned, validation
    place = np.random.default_rng(seed).permutation(len(validation))
    of_user = dict(zip(validation.users, place.tolist(), strict=True))
    at = np.array([of_user[user] for user in learned.users])
    if limited and most is not None:
        first = np.sort(np.argsort(at, kind="stable")[: _at_least_1(most, "lists")])
    else:
        first = np.flatnonzero(at < len(validation) - max(len(validation) // _HELD_OUT, 1))
    if not len(first):  # the few users with a list are all among those held out
        return learned, validation
    after = np.flatnonzero(place > at[first].max())
    return learned.take(first), validation.take(after) if len(after) else validation


def _overlap_notes(learned: Impressions, judges: EvaluationSet) -> list[str]:
    """Say how many of those who choose the retriever's share were learned from."""
    both = len(set(learned.users) & set(judges.users))
    line = f"{both} of the {len(judges)} users who chose the retriever's share were learned from too: believe test figures only"
    return [line] if both else []


def _unasked(reranker: Ranker) -> list[str]:
    """Say what a ranker reads that no list of a retriever says."""
    if not reranker.reads_context:
        return []
    what = "who asks, when, and what is known of users (profiles, reviews, ratings)"
    return [f"{reranker.label} also reads {what}; a reranker is told nothing of it, here or in use: rankers evaluate measures it with that"]


def _drawn(total: int, most: int | None, seed: int, what: str) -> IntArray:
    """Return at most so many of the numbers below ``total``, drawn at random, in their order."""
    if most is None or most >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).permutation(total)[: _at_least_1(most, what)])


def _at_least_1(number: int, what: str) -> int:
    if number < 1:
        raise ConfigError(f"{what} is {number}: at least one is needed")
    return number


def save_reranker(reranker: Ranker, record: Mapping[str, Any], folder: str | Path) -> None:
    """Write ``model/`` and ``rerank.json``, both or neither: a record never stands beside another model."""
    with atomic_folder(folder, marker=RECORD) as partial:
        reranker.save_pretrained(partial / "model")
        write_json(partial / RECORD, sealed(record))
