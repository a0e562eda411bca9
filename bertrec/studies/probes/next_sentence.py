"""The next-sentence probe: does "you will also like b" follow "If you liked a" for an encoder that has learned which sentences follow?

Penha and Hauff 2020 (arXiv 2007.15356). It needs the next-sentence head of the first BERT models; RoBERTa, MiniLM and most later encoders
have none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from bertrec.core.errors import ModelError
from bertrec.data.catalog import ItemCatalog
from bertrec.encoders.backbone import loading
from bertrec.encoders.folder import one_line, transformer_path
from bertrec.encoders.source import resolve_folder
from bertrec.studies.probes.figures import ProbeResult
from bertrec.studies.probes.pairs import FIRST, SECOND, StepQueries, popularity_slice, step_slice

_BATCH = 64
_MAX_LENGTH = 64


def next_sentence_probe(name: str, catalog: ItemCatalog, queries: StepQueries) -> ProbeResult:
    """Run the probe with an encoder as it is.

    Raises:
        ModelError: the encoder cannot be loaded, or has no next-sentence head.
    """
    model, tokenizer = load_next_sentence(name)
    first = [FIRST.format(catalog.titles[row - 1]) for row in np.repeat(queries.given, queries.candidates.shape[1])]
    second = [SECOND.format(catalog.titles[row - 1]) for row in queries.candidates.ravel()]
    scores = next_sentence_scores(model, tokenizer, first, second).reshape(queries.candidates.shape)
    slices = {"next sentence": step_slice(scores), "next sentence, popularity instead": popularity_slice(queries)}
    about = {"sentence": f"{FIRST.format('a')} [SEP] {SECOND.format('b')}", "score": "log odds that the second sentence follows the first"}
    return ProbeResult("users", slices, [("next sentence", "next sentence, popularity instead")], dict(queries.skipped), about)


def load_next_sentence(name: str) -> tuple[Any, Any]:
    """Return a model with a next-sentence head, and its tokenizer.

    Raises:
        ModelError: as above; a head is never made up.
    """
    from transformers import AutoTokenizer, BertConfig, BertForNextSentencePrediction

    folder = resolve_folder(name)
    folder = folder / transformer_path(folder)
    if _model_type(folder) != "bert":
        raise ModelError(f"encoder {name} has no next-sentence head: its architecture was never trained on that task")
    try:
        with loading():
            config = BertConfig.from_pretrained(folder, local_files_only=True)
            model, info = BertForNextSentencePrediction.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, output_loading_info=True, dtype=torch.float32
            )
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"cannot load an encoder from {folder}: {one_line(error)}") from error
    if any("seq_relationship" in key or "pooler" in key for key in info["missing_keys"]):
        raise ModelError(f"encoder {name} has no next-sentence head: its weights hold none")
    return model.eval(), tokenizer


def next_sentence_scores(model: Any, tokenizer: Any, first: list[str], second: list[str]) -> np.ndarray:
    """Return ``[n]`` float64 log odds that ``second`` follows ``first``; where a pair is too long, the longer sentence is cut."""
    scores = np.zeros(len(first))
    limit = min(_MAX_LENGTH, int(model.config.max_position_embeddings))
    for start in range(0, len(first), _BATCH):
        rows = slice(start, start + _BATCH)
        inputs = tokenizer(
            first[rows], second[rows], truncation=True, max_length=limit, padding=True, return_token_type_ids=True, return_tensors="pt"
        )
        with torch.no_grad():
            logits = model(**inputs).logits.double()
        scores[rows] = (logits[:, 0] - logits[:, 1]).numpy()  # label 0 says that it follows
    return scores


def _model_type(folder: Path) -> str:
    from bertrec.core.files import read_json

    found = read_json(folder / "config.json")
    return str(found.get("model_type", "")) if isinstance(found, dict) else ""
