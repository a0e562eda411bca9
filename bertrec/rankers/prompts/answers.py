"""Answer words found by search: those that the encoder says more often where an item was clicked, and where it was not.

After the automatic label-word searches of Schick, Schmid and Schütze (2020, "Automatically Identifying Words That Can Serve as Labels for
Few-Shot Text Classification") and Gao, Fisch and Chen (2021, "Making Pre-trained Language Models Better Few-shot Learners"), zero shot.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml

from bertrec.core.errors import ConfigError, DataError
from bertrec.core.files import atomic_file
from bertrec.core.ragged import IntArray
from bertrec.data.impressions import Impressions
from bertrec.data.negatives import sample_negatives
from bertrec.rankers.context import Known
from bertrec.rankers.prompts.ranker import PromptRanker
from bertrec.rankers.prompts.rows import ClickDataset
from bertrec.rankers.prompts.template import Prompt

FloatArray = npt.NDArray[np.float64]
_LISTS = 8  # asked at a time


@dataclass(frozen=True)
class FoundWords:
    """Words for the two answers.

    Attributes:
        negative, positive: the words, best first.
        gaps: of each word, the mean log-probability at the mask of clicked pairs less that of the others.
        clicked, others: pairs of each kind that were asked.
    """

    negative: tuple[str, ...]
    positive: tuple[str, ...]
    gaps: dict[str, float]
    clicked: int
    others: int


def search_answers(
    ranker: PromptRanker,
    shown: Impressions,
    *,
    words: int = 3,
    pairs: int = 2000,
    min_count: int = 5,
    seed: int = 0,
    known: Known | None = None,
) -> FoundWords:
    """Find the words that tell clicked pairs from the others, by what an encoder says at the mask without training.

    Args:
        ranker: asks the template; its answers are not looked at.
        shown: training impressions.
        words: of each answer, at most.
        pairs: to be asked, at most, clicks with a negative each.
        min_count: how often a word must occur in the texts of the items: what the encoder knows of rarer ones is chance.
        seed: of the pairs.
        known: of the users, for a prompt with ``{profile}`` or ``{reviews}``, as in training.

    Raises:
        ConfigError: a number below 1.
        DataError: no impression has a click and another candidate, or no word that occurs often enough tells them apart.
    """
    for name, number in (("words", words), ("pairs", pairs), ("min_count", min_count)):
        if number < 1:
            raise ConfigError(f"{name} must be 1 or more, got {number}")
    ranker.prepare(shown.catalog)
    lists = sample_negatives(shown, 1, seed)
    picked = np.sort(np.random.default_rng(seed).permutation(len(lists))[: max(1, pairs // 2)])
    means, counts = _mean_logs(ranker, lists.take(picked), known)
    gaps = means[1] - means[0]
    often = _occurrences(ranker, shown) >= min_count
    worth = gaps - (gaps[often].mean() if often.any() else 0.0)  # answers are compared: what all words share says nothing
    tokenizer = ranker.encoder.tokenizer
    positive = _best(np.where(often, worth, -np.inf), tokenizer, words)
    negative = _best(np.where(often, -worth, -np.inf), tokenizer, words)
    if not positive or not negative:
        raise DataError(f"no word that stands {min_count} times in the items' texts tells clicked pairs from the others: lower min_count")
    shares = {word: float(gaps[token]) for found in (negative, positive) for word, token in found.items()}
    return FoundWords(tuple(negative), tuple(positive), shares, counts[1], counts[0])


def write_prompt(prompt: Prompt, found: FoundWords, path: Path, *, source: str) -> Prompt:
    """Write a prompt with the words that were found to a YAML file, and return it as it is read again.

    Args:
        prompt: whose template and limits it has.
        found: the answers.
        path: of the file, with the ending ``.yaml`` or ``.yml``.
        source: where it comes from.
    """
    values = prompt.to_dict() | {"source": source, "answers": {"negative": list(found.negative), "positive": list(found.positive)}}
    values.pop("name")  # the file's
    with atomic_file(path) as temporary:
        temporary.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return Prompt.load(path)


@torch.no_grad()
def _mean_logs(ranker: PromptRanker, lists: Impressions, known: Known | None) -> tuple[FloatArray, tuple[int, int]]:
    """Return the mean log-probability of each word at the mask, ``[2, vocabulary]``, of the pairs with label 0 and 1, and their numbers."""
    network = ranker.network
    assert network is not None
    network.eval()
    sums, counts = np.zeros((2, ranker.encoder.vocabulary)), [0, 0]
    for batch, labels in _batches(ranker, lists, known):
        logs = ranker.encoder.logits(network.mask_states(**batch)).double().log_softmax(dim=1).cpu().numpy()
        for label in (0, 1):
            sums[label] += logs[labels == label].sum(axis=0)
            counts[label] += int(np.count_nonzero(labels == label))
    return sums / np.maximum(counts, 1)[:, None], (counts[0], counts[1])


def _batches(ranker: PromptRanker, lists: Impressions, known: Known | None) -> Iterator[tuple[dict[str, torch.Tensor], IntArray]]:
    """Yield what the network is asked, and the labels of its pairs in order."""
    dataset: ClickDataset = ranker.clicks(lists, known)
    for rows in dataset.batches(0, _LISTS, 0):
        batch = {name: tensor.to(ranker.encoder.device) for name, tensor in dataset.collate(rows.tolist()).items()}
        labels = batch.pop("labels").flatten().cpu().numpy()
        yield {name: batch[name] for name in batch if name not in ("prior", "teacher")}, labels[labels >= 0]


def _occurrences(ranker: PromptRanker, shown: Impressions) -> IntArray:
    """Return how often each token stands in the items' texts, ``[vocabulary]``."""
    tokens = ranker.encoder.tokenize(shown.catalog.texts)
    return np.bincount(tokens.values, minlength=ranker.encoder.vocabulary).astype(np.int64)


def _best(gaps: FloatArray, tokenizer: Any, count: int) -> dict[str, int]:
    """Return the words of the greatest gaps above 0 and their tokens: letters alone, and one piece wherever they stand."""
    found: dict[str, int] = {}
    for token in np.argsort(-gaps, kind="stable").tolist():
        if len(found) == count or gaps[token] <= 0:
            break
        word = tokenizer.decode([token]).strip()
        if word.isalpha() and tokenizer(f" {word}", add_special_tokens=False)["input_ids"] == [token]:
            found[word] = token
    return found
