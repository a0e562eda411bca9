"""The rerankers by name: how each is trained on retrieved lists, saved, and loaded again.

RERANKER/model/       the saved model; its config.json says which kind it is
RERANKER/rerank.json  how it came about, the length of the lists, and the retriever's share of the score
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bertrec.core.checks import expect, expect_path
from bertrec.core.errors import ConfigError, ModelError, unknown_name
from bertrec.core.files import read_json, write_json
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.impressions import Impressions
from bertrec.data.splits import Split
from bertrec.evaluation.metrics import rank_metrics
from bertrec.evaluation.protocol import Protocol as Rules
from bertrec.models.base import FloatArray, Histories, Recommendations, Recommender
from bertrec.rankers.composite.ranker import Composite, CompositeConfig
from bertrec.rankers.prompts import saving as prompt_saving
from bertrec.rankers.prompts.config import PromptConfig
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.template import Prompt
from bertrec.rerank.evaluation import check_catalogs, choose_weight
from bertrec.rerank.lists import retrieval_scores, retrieved_impressions, validation_impressions
from bertrec.rerank.two_stage import Reranker, best_first, fused_scores, retrieve_scored
from bertrec.retrieval.index import ItemIndex

RECORD = "rerank.json"
LEARN_FROM = ("train", "valid")


class SavedReranker(Reranker, Protocol):
    """A reranker that can be written to a folder."""

    def save_pretrained(self, folder: str | Path) -> None:
        """Write it, whole or not at all."""
        ...


@dataclass(frozen=True)
class Lists:
    """What a reranker is trained on.

    Attributes:
        impressions: retrieved lists with labels.
        item_counts: ``[n_items + 1]`` training interactions.
        scores: ``[total candidates]``, the retriever's; None where the lists are of users whom the retriever was trained on.
        settings: flat dotted names and values that replace the kind's defaults.
        negatives: how many were drawn for a list.
        seed: of the kind's own draws, where the settings name none.
        progress: show bars.
    """

    impressions: Impressions
    item_counts: IntArray
    scores: FloatArray | None
    settings: Mapping[str, Any]
    negatives: int
    seed: int = 0
    progress: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of reranker.

    Attributes:
        load: reads the folder that ``save_pretrained`` wrote.
        train: makes one from lists; None for a kind that has a command of its own.
    """

    load: Callable[[Path], Reranker]
    train: Callable[[Lists], SavedReranker] | None = None


def _train_composite(lists: Lists) -> SavedReranker:
    settings = {"retrieval": lists.scores is not None, "seed": lists.seed, **lists.settings}
    config = CompositeConfig().updated(settings)
    if config.retrieval and lists.scores is None:
        raise ConfigError("retrieval=true needs lists of users whom the retriever was not trained on: learn from valid")
    return Composite(config).fit(lists.impressions, item_counts=lists.item_counts, retrieval_scores=lists.scores, progress=lists.progress)


def _train_cloze(lists: Lists) -> SavedReranker:
    settings = {"train.seed": lists.seed, "negatives": lists.negatives, **lists.settings}
    prompt = Prompt.load(str(settings.pop("prompt", "item-hybrid")))
    return PromptRanker(PromptConfig(prompt=prompt).updated(settings)).fit(lists.impressions, progress=lists.progress)


RERANKERS: dict[str, Kind] = {
    Composite.name: Kind(Composite.from_pretrained, _train_composite),
    prompt_saving.NAME: Kind(PromptRanker.from_pretrained, _train_cloze),
}


@dataclass(frozen=True)
class LoadedReranker:
    """A reranker with what goes with it.

    Attributes:
        reranker: what scores.
        weight: the retriever's share of the score that was chosen on validation; 0 where nothing was chosen.
        record: ``rerank.json``, empty where there is none.
    """

    reranker: Reranker
    weight: float
    record: Mapping[str, Any]


def load_reranker(folder: str | Path) -> Reranker:
    """Read a reranker of any kind; see `load_with_record`."""
    return load_with_record(folder).reranker


def load_with_record(folder: str | Path) -> LoadedReranker:
    """Read a reranker's folder, or the folder of its model alone; no code from it is run.

    Raises:
        ModelError: the folder is absent or holds no reranker, or a file of it is missing or damaged; the text names it.
    """
    folder = expect_path(folder, "the reranker's folder", error=ModelError)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such reranker; make one with  bertrec rerank train RUN --out {folder}")
    place = folder / "model" if (folder / "model").is_dir() else folder
    about = read_json(place / "config.json")
    name = str(about.get("class")) if isinstance(about, dict) else "None"
    if name not in RERANKERS:
        raise ModelError(f"{place}: {unknown_name('reranker', name, RERANKERS)}")
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else {}
    weight = record.get("weight", 0.0) if isinstance(record, dict) else None
    if not isinstance(weight, int | float) or not 0 <= weight <= 1:
        raise ModelError(f"{folder / RECORD} is damaged: its weight is {weight!r}, not a number from 0 to 1")
    return LoadedReranker(RERANKERS[name].load(place), float(weight), record)


def recommend_reranked(
    model: Recommender,
    folder: str | Path,
    histories: Histories,
    k: int,
    *,
    candidates: int | None = None,
    exclude_seen: bool = True,
    index: ItemIndex | None = None,
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

    Raises:
        ModelError: the reranker cannot be loaded.
        DataError: it was made over other items.
    """
    loaded = load_with_record(folder)
    check_catalogs(model, loaded.reranker)
    known = model.histories(histories)
    count = max(k, candidates or int(loaded.record.get("candidates", 50)))
    found = retrieve_scored(model, known, count, mask_seen=exclude_seen, index=index)
    scores = fused_scores(loaded.reranker, known, found.items, retrieval_scores=found.scores, weight=loaded.weight)
    order = best_first(scores, found.items)
    items, ranked = Ragged(found.items.values[order], found.items.offsets), scores[order]
    starts = items.offsets[:-1]
    rows = [items.values[start : min(start + k, stop)] for start, stop in zip(starts, items.offsets[1:], strict=True)]
    return Recommendations(
        [model.catalog.ids.decode(row) for row in rows],
        [ranked[start : start + len(row)].tolist() for start, row in zip(starts, rows, strict=True)],
    )


def train_reranker(
    model: Recommender,
    split: Split,
    *,
    kind: str = Composite.name,
    candidates: int = 50,
    negatives: int = 8,
    positions: int = 3,
    learn_from: str = "train",
    metric: str = "NDCG@10",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> tuple[SavedReranker, dict[str, Any]]:
    """Train a reranker on the retriever's lists, then choose the retriever's share of the score on validation users.

    Args:
        model: the retriever, trained on ``split.train``.
        split: the data; its test users are not looked at.
        kind: a name in `RERANKERS`.
        candidates: length of the retriever's lists.
        negatives: hard negatives a list.
        positions: newest training positions a user (with ``learn_from="train"``).
        learn_from: ``train``, where the retriever's own scores cannot be learned from, or ``valid``, where they are.
        metric: by which the share is chosen.
        seed: of the draws, and of the reranker's own training.
        settings: of the kind.
        progress: show bars.

    Returns:
        The reranker, and the record to keep beside it, JSON values.

    Raises:
        ConfigError: an unknown kind, setting or metric (with the nearest right one), or a kind with a command of its own.
        DataError: the split has no validation users but they are needed, or no list can be made.
    """
    expect(model, Recommender, "train_reranker: model", error=ModelError)
    expect(split, Split, "train_reranker: split")
    if kind not in RERANKERS:
        raise ConfigError(unknown_name("reranker", kind, RERANKERS))
    train = RERANKERS[kind].train
    if train is None:
        raise ConfigError(f"a {kind} reranker has a training command of its own")
    if learn_from not in LEARN_FROM:
        raise ConfigError(unknown_name("source of lists", learn_from, LEARN_FROM))
    if learn_from == "valid" and split.validation is None:
        raise ConfigError("the split has no validation users: learn from train")
    if metric not in (known := rank_metrics(Ragged.from_rows([[1]]), Rules().ks)):
        raise ConfigError(unknown_name("metric", metric, known))
    scores = None
    if learn_from == "valid" and split.validation is not None:
        lists = validation_impressions(model, split.validation, n=candidates, negatives=negatives, seed=seed)
        scores = retrieval_scores(model, lists.histories, lists.candidates)
    else:
        lists = retrieved_impressions(model, split.train, n=candidates, negatives=negatives, positions=positions, seed=seed)
    reranker = train(Lists(lists, split.train.item_counts, scores, settings or {}, negatives, seed, progress))
    weight: float = 0.0
    figures: dict[float, float] = {}
    if split.validation is not None:
        rules = Rules(bootstrap=0)
        weight, figures = choose_weight(
            model, reranker, split.validation, rules, split.train.item_counts, candidates=candidates, metric=metric
        )
    record = {"kind": kind, "retriever": {"class": model.name, "hash": model.model_hash}, "candidates": candidates, "weight": weight}
    record |= {"chosen_on": {"metric": metric, "figures": {f"{share:g}": figure for share, figure in figures.items()}}}
    record |= {"learn_from": learn_from, "negatives": negatives, "positions": positions, "seed": seed, "lists": len(lists)}
    record |= {"settings": dict(settings or {}), "head": getattr(reranker, "weights", None), "notes": [*lists.notes, *_notes_of(reranker)]}
    return reranker, record


def _notes_of(reranker: SavedReranker) -> list[str]:
    """Return what must be known of a cloze reranker: what its training left out, and a head that bertrec trained."""
    if not isinstance(reranker, PromptRanker):
        return []
    note = reranker.encoder.head_note
    return [*reranker.notes, *([note] if note else [])]


def save_reranker(reranker: SavedReranker, record: Mapping[str, Any], folder: str | Path) -> None:
    """Write ``model/`` and then ``rerank.json``, so that a record never stands beside another model."""
    (Path(folder) / RECORD).unlink(missing_ok=True)
    reranker.save_pretrained(Path(folder) / "model")
    write_json(Path(folder) / RECORD, dict(record))
