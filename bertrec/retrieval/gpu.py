"""Copies of FAISS indexes on GPUs: which ones, in which precision, on how many."""

from __future__ import annotations

import os
import warnings
from typing import Any

from bertrec.core.devices import named_device
from bertrec.core.errors import ConfigError, unknown_name
from bertrec.core.processes import world
from bertrec.retrieval.parameters import IndexConfig

SEARCH = "BERTREC_GPU_SEARCH"
"""Words, comma-separated: ``off`` searches on the CPU, ``half`` keeps float16 on the GPU, ``shards`` cuts a flat index over all GPUs."""
_WORDS = ("off", "half", "shards")


def search_words() -> frozenset[str]:
    """Return what is wanted of a search on GPUs.

    Raises:
        ConfigError: a word that is none.
    """
    words = [word.strip() for word in os.environ.get(SEARCH, "").split(",") if word.strip()]
    for word in words:
        if word not in _WORDS:
            raise ConfigError(unknown_name(SEARCH, word, _WORDS))
    return frozenset(words)


def use_gpu_search(words: str) -> None:
    """Search on GPUs so from now on, also in processes that are started later; an index that is there stays where it is.

    Args:
        words: see `SEARCH`; an empty text takes float32, and of several GPUs a copy of a flat index on each.

    Raises:
        ConfigError: a word that is none.
    """
    before = os.environ.get(SEARCH)
    os.environ[SEARCH] = words
    try:
        search_words()
    except ConfigError:
        os.environ[SEARCH] = before or ""
        raise


def gpu_copy(faiss: Any, index: Any, config: IndexConfig) -> tuple[Any, bool]:
    """Return a copy on a GPU and whether its scores are rough; None where it is not wanted, or FAISS has none there (HNSW).

    Of several GPUs a flat index takes all, where no device was chosen: a copy each, or a part each. The searches of the
    other kinds are told how many lists to look at, which FAISS passes on to one GPU alone.
    """
    words = search_words()
    device = _gpu(faiss) if "off" not in words and config.kind != "hnsw" else None
    if device is None:
        return None, False
    half = "half" in words
    base = faiss.downcast_index(index.base_index) if config.refine and config.kind == "ivfpq" else index
    try:
        if config.kind == "flat" and device < 0:
            return faiss.index_cpu_to_all_gpus(base, co=_options(faiss.GpuMultipleClonerOptions(), half, "shards" in words)), half
        options = [_options(faiss.GpuClonerOptions(), half)] if half else []
        return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), max(0, device), base, *options), half
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        warnings.warn(f"the {config.kind} index stays on the CPU, the GPU does not take it: {reason}", stacklevel=2)
        return None, False


def _gpu(faiss: Any) -> int | None:
    """Return the number of the GPU, -1 for any of several; None where FAISS sees none, or another device was chosen.

    Raises:
        ConfigError: FAISS sees fewer.
    """
    count = int(getattr(faiss, "get_num_gpus", lambda: 0)())
    kind, _, number = named_device().partition(":")
    if count == 0 or kind not in ("auto", "cuda"):
        return None
    if number:
        if not number.isdigit() or int(number) >= count:
            raise ConfigError(f"device cuda:{number} is not there: faiss sees {count}, take auto or cuda:{count - 1}")
        return int(number)
    if world() > 1:
        return int(os.environ.get("LOCAL_RANK", 0)) % count
    return -1 if count > 1 else 0


def _options(options: Any, half: bool, shards: bool = False) -> Any:
    options.useFloat16 = options.useFloat16CoarseQuantizer = half
    if shards:
        options.shard = True
    return options
