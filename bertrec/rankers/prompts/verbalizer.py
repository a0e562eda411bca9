"""From the logits of answer words at the mask to one score per label."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import torch

from bertrec.core.errors import ConfigError

LABELS = ("negative", "positive")


class Answered(Protocol):
    """What has answers: a prompt, or a task."""

    @property
    def name(self) -> str:
        """For messages."""

    @property
    def answers(self) -> Mapping[Any, Sequence[str]]:
        """The words of each label."""

    @property
    def several_pieces(self) -> str:
        """What becomes of an answer of several word pieces: ``refuse`` or ``average``."""


@dataclass(frozen=True)
class Verbalizer:
    """The answer words as token ids.

    Attributes:
        ids: ``[k]``, the word pieces of all answers, each once.
        weights: ``[labels, k]``, what each piece counts in the logit of each label, such as ``negative`` and ``positive``:
            a label's logit is the mean over its words of the mean over their pieces.
    """

    ids: torch.Tensor
    weights: torch.Tensor

    @classmethod
    def of(cls, prompt: Answered, tokenizer: Any, labels: Sequence[str] = LABELS) -> Verbalizer:
        """Find the pieces of the answers.

        Args:
            prompt: has the answers.
            tokenizer: of the encoder.
            labels: keys of the answers, in the order of the logits.

        Raises:
            ConfigError: an answer is unknown to the tokenizer, or has several pieces where they are refused (with words that have one).
        """
        shares: list[dict[int, float]] = []
        for label in labels:
            words = prompt.answers[label]
            share: dict[int, float] = {}
            for word in words:
                pieces = _pieces(prompt, word, tokenizer)
                for piece in pieces:
                    share[piece] = share.get(piece, 0.0) + 1 / len(pieces) / len(words)
            shares.append(share)
        ids = sorted({piece for share in shares for piece in share})
        weights = torch.tensor([[share.get(piece, 0.0) for piece in ids] for share in shares])
        for one, other in combinations(range(len(labels)), 2):
            if torch.equal(weights[one], weights[other]):
                raise ConfigError(f"prompt '{prompt.name}': the answers of {labels[one]} and {labels[other]} are the same words")
        return cls(torch.tensor(ids), weights)

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the logits of the labels, ``[n, labels]``, of vocabulary logits ``[n, vocabulary]``."""
        # No matrix product: autocast would round the sums of a training step to bfloat16.
        return (logits[:, None, self.ids.to(logits.device)].float() * self.weights.to(logits.device)).sum(dim=-1)


def _pieces(prompt: Answered, word: str, tokenizer: Any) -> Sequence[int]:
    # The space: byte-level tokenizers know a word within a sentence by it, all others ignore it.
    pieces: list[int] = tokenizer(f" {word.strip()}", add_special_tokens=False)["input_ids"]
    if not pieces or tokenizer.unk_token_id in pieces:
        raise ConfigError(f"prompt '{prompt.name}': the tokenizer does not know the answer '{word}'{_suggestions(word, tokenizer)}")
    if len(pieces) > 1 and prompt.several_pieces == "refuse":
        shown = " ".join(tokenizer.convert_ids_to_tokens(pieces))
        raise ConfigError(
            f"prompt '{prompt.name}': the answer '{word}' has {len(pieces)} word pieces ({shown}): take a word of one piece"
            f"{_suggestions(word, tokenizer)}, or set several_pieces: average"
        )
    return pieces


def _suggestions(word: str, tokenizer: Any) -> str:
    plain = [token.lstrip("Ġ▁") for token in tokenizer.get_vocab() if token[:1] not in ("[", "<", "#")]
    near = difflib.get_close_matches(word.lower(), [token for token in plain if token.isalpha()], n=3, cutoff=0.5)
    return f", such as {', '.join(near)}" if near else ""
