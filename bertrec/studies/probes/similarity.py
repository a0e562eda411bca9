"""The similarity probe: is the text of the next item nearer to that of the last one than random items' texts are?

Penha and Hauff 2020, "What does BERT know about books, movies and music?" (RecSys, arXiv 2007.15356): both texts are encoded apart and
compared by the dot product of their pooled vectors.
"""

from __future__ import annotations

import numpy as np

from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.base import Encoder
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.registry import make_encoder
from bertrec.studies.probes.figures import ProbeResult, ProbeSlice
from bertrec.studies.probes.pairs import FIRST, SECOND, StepQueries, popularity_slice, step_slice

POOLINGS = ("cls", "mean")


def similarity_probe(name: str, catalog: ItemCatalog, queries: StepQueries) -> ProbeResult:
    """Run the probe with an encoder as it is.

    Args:
        name: of the encoder; it needs no head.
        catalog: whose titles are put into the sentence.
        queries: the steps of users.

    Raises:
        ModelError: the encoder cannot be loaded.
    """
    slices: dict[str, ProbeSlice] = {}
    for pooling in POOLINGS:
        encoder = make_encoder(EncoderConfig(name=name, pooling=pooling, max_length=64))
        slices[f"similarity, {pooling}"] = step_slice(similarity_scores(encoder, catalog.titles, queries))
    slices["similarity, popularity instead"] = popularity_slice(queries)
    pairs = [(f"similarity, {pooling}", "similarity, popularity instead") for pooling in POOLINGS]
    about = {"sentence": f"{FIRST.format('a')} {SECOND.format('b')}", "score": "dot product of the two halves, encoded apart"}
    return ProbeResult("users", slices, pairs, dict(queries.skipped), about)


def similarity_scores(encoder: Encoder, titles: list[str], queries: StepQueries) -> np.ndarray:
    """Return ``[n, c]`` dot products of each given item's half sentence with those of its candidates."""
    used, place = np.unique(queries.candidates, return_inverse=True)
    first = encoder.encode([FIRST.format(titles[row - 1]) for row in queries.given])
    second = encoder.encode([SECOND.format(titles[row - 1]) for row in used])
    return np.einsum("nd,ncd->nc", first, second[place.reshape(queries.candidates.shape)]).astype(np.float64)
