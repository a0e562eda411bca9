"""Texts to vectors by MiniLM: number formats against ``SentenceTransformer.encode`` with its defaults, and a catalogue of new and old."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.speed.harness import Case, Side
from benchmarks.speed.machine import device, matrix_rate

if TYPE_CHECKING:
    from bertrec.encoders.text import TextEncoder

Once = Callable[[], dict[str, Any]]
MAX_LENGTH = 256
"""Where SentenceTransformer cuts MiniLM's texts: both sides read the same word pieces."""
CHANGED = 0.01
_HERE = "benchmarks.speed.cases.encode"


def titles(data: str, texts: int, every: int = 1) -> list[str]:
    """Return every so many of amazon-beauty's titles, or ``texts`` made-up ones of 3 to 30 words where ``texts`` is above 0."""
    if not texts:
        lines = (Path(data) / "amazon-beauty" / "items.tsv").read_text(encoding="utf-8").splitlines()
        return [line.split("\t")[1] for line in lines[1::every]]
    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghiklmnoprstu"), length)) for length in rng.integers(2, 9, 5000)])
    return [" ".join(words[rng.integers(0, 5000, length)]) for length in rng.integers(3, 31, texts)]


def minilm(precision: str, backend: str = "auto") -> TextEncoder:
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    config = EncoderConfig.from_dict({"max_length": MAX_LENGTH, "precision": precision, "backend": backend})
    return TextEncoder.from_config(config, device=place_of(precision))


def place_of(precision: str) -> str:
    """Return where a number format is computed: int8 on the processor whatever there is, and then for both sides."""
    return "cpu" if precision == "int8" else device()


def ours(*, data: str, texts: int = 0, every: int = 1, precision: str = "fp32", backend: str = "auto") -> Once:
    import torch

    items, encoder = titles(data, texts, every), minilm(precision, backend)
    encoder.encode(items[:8])  # The measured choice and an exported model are made once, at first use.

    work = gflop(encoder, items) if precision == "fp32" else 0.0

    def once() -> dict[str, Any]:
        started = time.perf_counter()
        vectors = encoder.encode(items)
        seconds = time.perf_counter() - started
        figures = {"seconds": seconds, "items": len(items), "array": vectors, "computed_in": encoder.number_format}
        return figures | ({"gflops": work / seconds, "matrix_gflops": matrix_rate(torch.float32)} if work else {})

    return once


def gflop(encoder: TextEncoder, items: list[str]) -> float:
    """Return the billions of additions and multiplications in the layers' matrix products, padding left out."""
    lengths, config = encoder.tokenize(items).lengths.astype(float), encoder.model.config
    width, inner, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    return float((lengths * 2 * (4 * width**2 + 2 * width * inner) + lengths**2 * 4 * width).sum() * layers / 1e9)


def sentence_transformers(*, data: str, texts: int = 0, every: int = 1, against: str = "fp32") -> Once:
    from sentence_transformers import SentenceTransformer

    from bertrec.encoders.source import resolve_folder

    items = titles(data, texts, every)
    model = SentenceTransformer(str(resolve_folder("minilm")), device=place_of(against), local_files_only=True)
    return lambda: {"items": len(items), "array": model.encode(items)}


def agree_exactly(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    return _agree(ours, theirs, least=0.9999)


def agree_nearly(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, float | bool]:
    return _agree(ours, theirs, mean=0.98)


def _agree(ours: dict[str, Any], theirs: dict[str, Any], *, least: float = -1, mean: float = -1) -> dict[str, float | bool]:
    first, second = (side["array"] / np.linalg.norm(side["array"], axis=1, keepdims=True) for side in (ours, theirs))
    cosine = (first * second).sum(axis=1)
    share = {"share_of_matrix_rate": ours["gflops"] / ours["matrix_gflops"]} if "gflops" in ours else {}
    return {
        **share,
        "cosine_mean": float(cosine.mean()),
        "cosine_least": float(cosine.min()),
        "ok": bool(cosine.min() >= least and cosine.mean() >= mean),
    }


def changed(*, data: str, texts: int = 0) -> Once:
    """Encode the catalogue again after a hundredth of its titles got another ending, the others being in the cache."""
    from bertrec.encoders.cache import EmbeddingCache

    items, encoder = titles(data, texts), minilm("fp32")
    cache, versions = EmbeddingCache(tempfile.mkdtemp(prefix="bertrec-speed-")), count()
    encoder.encode(items, cache=cache)

    def once() -> dict[str, Any]:
        vectors = encoder.encode(with_changes(items, next(versions)), cache=cache)
        return {"items": len(vectors)}

    return once


def fresh(*, data: str, texts: int = 0) -> Once:
    items, encoder = titles(data, texts), minilm("fp32")
    versions = count()
    return lambda: {"items": len(encoder.encode(with_changes(items, next(versions))))}


def with_changes(items: list[str], version: int) -> list[str]:
    """Return the titles with every hundredth one ending in its version."""
    step = round(1 / CHANGED)
    return [f"{title} {version}" if row % step == 0 else title for row, title in enumerate(items)]


def process(*, data: str, texts: int = 0, cached: bool) -> Once:
    """Do the same in a new process per run, so that imports and loading count."""
    folder, versions = tempfile.mkdtemp(prefix="bertrec-speed-") if cached else "", count()
    call = f"from {_HERE} import encode_once; encode_once({data!r}, {texts}, {folder!r}, int(__import__('sys').argv[1]))"

    def once() -> dict[str, Any]:
        subprocess.run([sys.executable, "-c", call, str(next(versions))], check=True)
        return {}

    if cached:
        once()
    return once


def encode_once(data: str, texts: int, folder: str, version: int) -> None:
    """Do what ``process`` runs: load and encode a version of the catalogue, with the cache in ``folder`` where one is named."""
    from bertrec.encoders.cache import EmbeddingCache

    minilm("fp32").encode(with_changes(titles(data, texts), version), cache=EmbeddingCache(folder) if folder else None)


def _against_theirs(
    format_name: str,
    title: str,
    agree: str,
    *,
    goal: float | None = None,
    stretch: float | None = None,
    suite: str = "bench",
    **keywords: str,
) -> list[Case]:
    """Return a case over an eighth of the titles, and one over all of them with fewer rounds for the full suite."""
    found = []
    for name, share, every, of, repeats in (("", "every eighth of", 8, suite, 6), ("-all", "all of", 1, "full", 2)):
        case = Case(
            name=f"encode-{format_name}{name}",
            title=f"Encode {share} 12,101 titles with MiniLM, {title}, against SentenceTransformer.encode with its defaults",
            ours=Side(f"{_HERE}:ours", {"every": every, **keywords}),
            theirs=Side(f"{_HERE}:sentence_transformers", {"every": every, "against": keywords["precision"]}),
            goal=goal,
            stretch=stretch,
            repeats=repeats,
            suite=of,
            needs=("amazon-beauty",),
            fallback={"texts": 2000},
            agree=f"{_HERE}:{agree}",
            bf16=format_name == "bf16",
        )
        found.append(case)
    return found


CASES = [
    *_against_theirs("fp32", "fp32", "agree_exactly", goal=1.5, stretch=1.8, precision="fp32"),
    *_against_theirs("bf16", "bf16", "agree_nearly", precision="bf16"),
    *_against_theirs("int8", "int8", "agree_nearly", goal=3.0, stretch=4.0, precision="int8", backend="torch"),
    *_against_theirs(
        "fast", "the number format that was quickest here", "agree_nearly", goal=3.0, stretch=4.0, suite="full", precision="fast"
    ),
    Case(
        name="encode-changed",
        title="Encode 12,101 titles of which 1 % changed, against a fresh encode; loading excluded",
        ours=Side(f"{_HERE}:changed"),
        theirs=Side(f"{_HERE}:fresh"),
        goal=50,
        repeats=2,
        needs=("amazon-beauty",),
        fallback={"texts": 2000},
    ),
    Case(
        name="encode-changed-process",
        title="Encode 12,101 titles of which 1 % changed, against a fresh encode; imports and loading included",
        ours=Side(f"{_HERE}:process", {"cached": True}),
        theirs=Side(f"{_HERE}:process", {"cached": False}),
        repeats=3,
        suite="full",
        needs=("amazon-beauty",),
        fallback={"texts": 2000},
    ),
]
