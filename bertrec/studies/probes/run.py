"""Probes: what an encoder knows about a catalogue before any training.

After Penha and Hauff 2020, "What does BERT know about books, movies and music?" (arXiv 2007.15356): a cloze of genres (what an item is),
and similarity and next-sentence recommendation (what goes with what). Each figure stands beside that of a random order, and beside a
baseline on the same queries: the words' own prior for the genres, popularity for the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import pydantic

from bertrec.core.config import Config
from bertrec.core.errors import ConfigError, DataError, ModelError, unknown_name
from bertrec.data.interactions import Interactions
from bertrec.data.item_labels import ItemLabels
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.evaluation.significance import holm, with_holm
from bertrec.studies.probes.figures import ProbeResult
from bertrec.studies.probes.genre import genre_probe
from bertrec.studies.probes.next_sentence import next_sentence_probe
from bertrec.studies.probes.pairs import step_queries
from bertrec.studies.probes.similarity import similarity_probe

PROBES = ("genre", "nsp", "similarity")
TITLES = {"genre": "genre cloze", "nsp": "next sentence", "similarity": "similarity"}
CAUTIONS = (
    "A probe asks an encoder as it is; fine-tuning may bring out what a sentence does not, and need not what it does.",
    "The negatives are drawn evenly from the catalogue, so counting clicks alone does well: hold the figures against popularity.",
    "The genre cloze asks only for labels of one word piece, and takes titles as they are written.",
)


class ProbeConfig(Config):
    """What is asked and how it is measured."""

    probes: tuple[str, ...] = pydantic.Field(
        PROBES,
        description="Probes that are run: the genre cloze, next sentence (nsp) and similarity.",
        json_schema_extra={"items": {"type": "string", "enum": list(PROBES)}},
    )
    domain: str = pydantic.Field(
        "item",
        min_length=1,
        description="What an item is called in a sentence, such as movie.",
    )
    candidates: int = pydantic.Field(5, ge=2, description="Candidates of each next-item query, the right one included.")
    queries: int = pydantic.Field(1000, ge=1, description="Users asked, at most.")
    bootstrap: int = pydantic.Field(
        1000,
        ge=0,
        description="Resamples of the queries behind each interval; 0 gives no intervals.",
    )
    seed: int = pydantic.Field(0, ge=0, description="Seed of the draw of users and negatives, and of the bootstrap.")


def probe(
    encoder: str,
    interactions: Interactions,
    labels: ItemLabels | None,
    config: ProbeConfig | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run probes.

    Args:
        encoder: its name.
        interactions: users' histories and the catalogue.
        labels: of the items, for the genre cloze; None where the catalogue has none.
        config: None takes the defaults.
        say: is told what is being done.

    Returns:
        The JSON shape of a measurement (``protocol``, ``slices``, ``seconds``; ``users`` counts queries) with ``random``,
        ``p_above_random`` (one-sided) and its ``p_holm_above_random`` in each slice, ``comparisons`` with the baselines, and ``probes``:
        status, head note, counts of what was skipped.

    Raises:
        ConfigError: an unknown probe.
        ModelError: none of the probes can be run with this encoder and data; the text says why.
    """
    config, started = config if config is not None else ProbeConfig(), time.perf_counter()
    for name in config.probes:
        if name not in PROBES:
            raise ConfigError(unknown_name("probe", name, PROBES))
    results: dict[str, ProbeResult] = {}
    for name in dict.fromkeys(config.probes):
        if say is not None:
            say(f"probe: {TITLES[name]}")
        results[name] = _run(name, encoder, interactions, labels, config)
    if all(result.unavailable for result in results.values()):
        raise ModelError("; ".join(f"{TITLES[name]}: {result.unavailable}" for name, result in results.items()) or "no probe was asked for")
    protocol = {**config.to_dict(), "probes": list(results), "encoder": encoder, "items": len(interactions.catalog)}
    slices = {key: found.to_json(bootstrap=config.bootstrap, seed=config.seed) for r in results.values() for key, found in r.slices.items()}
    _correct(slices)
    return {
        "protocol": protocol,
        "slices": slices,
        "comparisons": _comparisons(results, config),
        "probes": {name: _about(result) for name, result in results.items()},
        "cautions": list(CAUTIONS),
        "seconds": time.perf_counter() - started,
    }


def _run(name: str, encoder: str, interactions: Interactions, labels: ItemLabels | None, config: ProbeConfig) -> ProbeResult:
    try:
        if name == "genre":
            if labels is None:
                return ProbeResult(unavailable="the catalogue has no field of labels: name one with --label-field")
            model = MaskedEncoder.from_config(MaskedConfig(name=encoder, tune="frozen", max_length=64))
            return genre_probe(model, interactions.catalog, labels, config.domain)
        queries = step_queries(interactions, candidates=config.candidates, limit=config.queries, seed=config.seed)
        run = next_sentence_probe if name == "nsp" else similarity_probe
        return run(encoder, interactions.catalog, queries)
    except (ModelError, DataError) as error:  # the other probes may still have something to ask
        return ProbeResult(unavailable=str(error))


def _correct(slices: dict[str, Any]) -> None:
    """Correct the tests against a random order over all figures of the report; a figure that cannot be tested has no p."""
    tested = [(part, metric) for part in slices.values() for metric, p in part["p_above_random"].items() if p is not None]
    corrected = holm([part["p_above_random"][metric] for part, metric in tested])
    for part in slices.values():
        part["p_holm_above_random"] = dict.fromkeys(part["p_above_random"])
    for (part, metric), p in zip(tested, corrected, strict=True):
        part["p_holm_above_random"][metric] = float(p)


def _comparisons(results: dict[str, ProbeResult], config: ProbeConfig) -> list[dict[str, Any]]:
    found = [pair for result in results.values() for pair in result.comparisons(bootstrap=config.bootstrap, seed=config.seed)]
    corrected: Sequence[Any] = with_holm([result for _, result in found]) if found else []
    return [{"metric": metric, **result.to_json(), "shown": result.shown} for (metric, _), result in zip(found, corrected, strict=True)]


def _about(result: ProbeResult) -> dict[str, Any]:
    return {
        "status": "not available" if result.unavailable else "ok",
        "reason": result.unavailable,
        "head_note": result.head_note,
        "unit": result.unit,
        "slices": list(result.slices),
        "skipped": result.skipped,
        "about": result.about,
    }
