"""The genre probe: does a masked-language model fill an item's own genre into a sentence about it?

Penha and Hauff 2020 (arXiv 2007.15356), with their two sentences and the one without an item. What the sentence without an item fills in
is the prior of the words themselves: an encoder knows something of the items only as far as the others are above it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

from bertrec.core.errors import DataError, ModelError
from bertrec.core.ragged import IntArray, Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.item_labels import ItemLabels
from bertrec.encoders.batching import padded_tokens, token_budget_batches
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.evaluation.ranks import rank_targets
from bertrec.studies.probes.figures import ProbeResult, ProbeSlice, ranked_slice

TYPES = {"type I": "{title} is a {mask} {domain}.", "type II": "{title} is a {domain} of the {mask} genre."}
PRIOR = "It is a {domain} of the {mask} genre."
SCOPES = ("among labels", "in the vocabulary")
_KS = (1, 5)
_CHUNK = 256  # rows of a whole vocabulary held at once


def genre_probe(encoder: MaskedEncoder, catalog: ItemCatalog, labels: ItemLabels, domain: str) -> ProbeResult:
    """Run the probe.

    An item takes part if one of its labels at least is a single word piece and neither of its sentences is cut; its other labels are left
    out.

    Args:
        encoder: with its masked-language-model head.
        catalog: whose titles are put into the sentences.
        labels: of the items.
        domain: such as ``movie``.

    Raises:
        DataError: no item is left to be asked about.
        ModelError: the tokenizer has no mask.
    """
    words = label_words(encoder, labels.names)
    known = np.array([word >= 0 for word in words])
    own = labels.items.where(known[labels.items.values]) if len(labels.items.values) else labels.items
    sentences = {kind: _sentences(encoder, catalog.titles, text, domain) for kind, text in TYPES.items()}
    whole = np.all([_is_whole(encoder, tokens) for tokens in sentences.values()], axis=0)
    asked = np.flatnonzero((own.lengths > 0) & whole)
    skipped = {
        "labels of several word pieces": int((~known).sum()),
        "items without a label of one word piece": int((own.lengths == 0).sum()),
        "items whose sentence is too long or holds a mask of its own": int(((own.lengths > 0) & ~whole).sum()),
    }
    if not len(asked):
        raise DataError(f"no item has a label of '{labels.field}' that is one word piece of this encoder: {skipped}")
    candidates = np.unique([word for word in words if word >= 0])  # two labels may share a word piece
    targets = _distinct(own.take(asked), np.array(words, dtype=np.int64))
    prior = mask_logits(encoder, _sentences(encoder, [""], PRIOR, domain))
    answers = {kind: _chunks(encoder, tokens.take(asked)) for kind, tokens in sentences.items()}
    answers["no item"] = (np.repeat(prior, stop - start, axis=0) for start, stop in _borders(len(asked)))
    slices = {
        f"genre, {kind}, {scope}": found
        for kind, logits in answers.items()
        for scope, found in zip(SCOPES, _slices(logits, targets, candidates), strict=True)
    }
    pairs = [(f"genre, {kind}, {scope}", f"genre, no item, {scope}") for scope in SCOPES for kind in TYPES]
    asked_words = [encoder.tokenizer.convert_ids_to_tokens(int(word)) for word in candidates]
    about = {"sentences": [*TYPES.values(), PRIOR], "domain": domain, "label words": asked_words}
    return ProbeResult("items", slices, pairs, skipped, about, encoder.head_note)


def label_words(encoder: MaskedEncoder, names: Sequence[str]) -> list[int]:
    """Return the token id of each lower-cased label within a sentence, -1 where it is several word pieces or unknown."""
    tokenizer = encoder.tokenizer
    found = []
    for name in names:
        pieces = tokenizer(f" {name.lower()}", add_special_tokens=False)["input_ids"]
        single = len(pieces) == 1 and pieces[0] != tokenizer.unk_token_id
        found.append(int(pieces[0]) if single else -1)
    return found


def mask_logits(encoder: MaskedEncoder, tokens: Ragged) -> np.ndarray:
    """Return the head's scores at the one mask of each row, float32 ``[n, vocabulary]``."""
    out = np.zeros((len(tokens), encoder.vocabulary), np.float32)
    was_training = encoder.training
    encoder.eval()
    try:
        for rows in token_budget_batches(tokens.lengths, encoder.batch_tokens):
            ids, mask = (
                torch.from_numpy(part).to(encoder.device) for part in padded_tokens(tokens, rows, encoder.tokenizer.pad_token_id or 0)
            )
            with torch.no_grad():
                hidden = encoder.hidden(ids, mask)
                out[rows] = encoder.logits(hidden[ids == encoder.tokenizer.mask_token_id]).cpu().numpy()
    finally:
        encoder.train(was_training)
    return out


def _borders(rows: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + _CHUNK, rows)) for start in range(0, rows, _CHUNK))


def _chunks(encoder: MaskedEncoder, tokens: Ragged) -> Iterator[np.ndarray]:
    return (mask_logits(encoder, tokens.slice(start, stop)) for start, stop in _borders(len(tokens)))


def _slices(logits: Iterable[np.ndarray], targets: Ragged, candidates: IntArray) -> tuple[ProbeSlice, ProbeSlice]:
    """Return the figures among the label words and in the whole vocabulary, from chunks of ``[b, vocabulary]``."""
    among: list[IntArray] = []
    whole: list[IntArray] = []
    start = vocabulary = 0
    for chunk in logits:
        part = targets.slice(start, start + len(chunk))
        start, vocabulary = start + len(chunk), chunk.shape[1]
        places = Ragged(np.searchsorted(candidates, part.values), part.offsets)
        among.append(_ranks(chunk[:, candidates], places))
        whole.append(_ranks(chunk, part))
    ranks = (Ragged(np.concatenate(found), targets.offsets) for found in (among, whole))
    return ranked_slice(next(ranks), len(candidates), _KS), ranked_slice(next(ranks), vocabulary, _KS)


def _ranks(scores: np.ndarray, targets: Ragged) -> IntArray:
    padded = np.concatenate([np.zeros((len(scores), 1), scores.dtype), scores], axis=1)
    return rank_targets(padded, Ragged(targets.values + 1, targets.offsets))


def _distinct(labels: Ragged, words: IntArray) -> Ragged:
    """Return the token ids of each row's labels, each once."""
    return Ragged.from_rows([np.unique(words[row]) for row in labels])


def _sentences(encoder: MaskedEncoder, titles: Sequence[str], text: str, domain: str) -> Ragged:
    mask = encoder.tokenizer.mask_token
    if mask is None:
        raise ModelError(f"the tokenizer of {encoder.config.name} has no mask")
    return encoder.tokenize([text.replace("{domain}", domain).replace("{mask}", mask).replace("{title}", title) for title in titles])


def _is_whole(encoder: MaskedEncoder, tokens: Ragged) -> np.ndarray:
    masks = np.bincount(tokens.rows[tokens.values == encoder.tokenizer.mask_token_id], minlength=len(tokens))
    return np.asarray((masks == 1) & (tokens.lengths < encoder.config.max_length))
