"""A BERT-family encoder with its masked-language-model head: what is asked for words, with soft tokens and foreign vectors in its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from bertrec.core.devices import chosen_device
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.core.ragged import IntArray, Ragged
from bertrec.encoders.backbone import position_limit
from bertrec.encoders.depth import apply_depth, merge_lora, set_mode
from bertrec.encoders.fingerprint import hash_encoder, weights_stamp
from bertrec.encoders.masked.attention import run_encoder
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.heads import head_logits, head_parameters, transform_parameters
from bertrec.encoders.masked.loading import load_masked_model
from bertrec.encoders.masked.storage import MANIFEST, HeadRecord, load_masked, read_manifest, save_masked
from bertrec.encoders.precision import computing_in
from bertrec.encoders.source import resolve_folder
from bertrec.encoders.tokens import tokenize_texts


class MaskedEncoder(nn.Module):
    """An encoder with its masked-language-model head, and a table of soft tokens beside its word embeddings.

    Soft tokens are trainable whatever the depth is, and the word embeddings stay as they are when some are added: with ``tune="frozen"``
    they are all that is tuned (Lester et al. 2021, "The Power of Scale for Parameter-Efficient Prompt Tuning").

    Args:
        config: the settings; ``max_length`` is lowered to the positions that the encoder has.
        model: the Hugging Face model, its depth already applied.
        tokenizer: its tokenizer.
        soft: soft tokens ``[s, e]``, or None.
        head: how the head came about where it is not the encoder's own.
    """

    soft_embeddings: nn.Parameter

    def __init__(
        self, config: MaskedConfig, model: Any, tokenizer: Any, *, soft: Tensor | None = None, head: HeadRecord | None = None
    ) -> None:
        super().__init__()
        limit = position_limit(model.base_model)
        self.config = config if limit is None or config.max_length <= limit else config.updated({"max_length": limit})
        self.model = model
        self.tokenizer = tokenizer
        self.head = head
        self.dim: int = int(model.config.hidden_size)
        words = model.get_input_embeddings()
        self.vocabulary: int = int(words.num_embeddings)
        self.embedding_dim: int = int(words.embedding_dim)
        self.soft_embeddings = _table(torch.zeros(0, self.embedding_dim) if soft is None else soft)
        self._stamp: tuple[Any, ...] = ()
        self._hash = ""
        for parameter in head_parameters(model):
            parameter.requires_grad_(config.tune != "frozen")
        self.train(False)

    @classmethod
    def from_config(cls, config: MaskedConfig, *, device: torch.device | str | None = None, new_head: bool = False) -> Self:
        """Load the encoder that ``config`` names; of a folder of ``save`` soft tokens are left out, and LoRA matrices become its weights.

        Args:
            config: the settings.
            device: where to compute.
            new_head: build a head that was never trained, its decoder tied to the word embeddings, instead of the encoder's own.

        Raises:
            ModelError: there is no such encoder, it cannot be loaded, its weights are not safetensors, or it has no head.
            ConfigError: ``last:K`` goes beyond the layers that the encoder has.
        """
        folder = resolve_folder(config.name)
        head = None
        if (folder / MANIFEST).exists():
            saved, head = read_manifest(folder)
            if saved.tune == "lora":
                if new_head:
                    raise ModelError(
                        f"{folder} holds LoRA matrices beside a head of its own: make a new head from the encoder {saved.name}"
                    )
                _, model, tokenizer, _, head = load_masked(folder)
                merge_lora(model)
                apply_depth(model.base_model, config)
                return cls(config, model, tokenizer, head=head).to(chosen_device(device))
        model, tokenizer = load_masked_model(config.name, folder, new_head=new_head)
        apply_depth(model.base_model, config)
        return cls(config, model, tokenizer, head=None if new_head else head).to(chosen_device(device))

    @property
    def base(self) -> Any:
        """The Hugging Face encoder without its head."""
        return self.model.base_model

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.soft_embeddings.device

    @property
    def soft_tokens(self) -> int:
        """How many soft tokens there are."""
        return len(self.soft_embeddings)

    @property
    def batch_tokens(self) -> int:
        """Padded tokens in one forward pass."""
        return self.config.batch_tokens or (4096 if self.device.type == "cpu" else 32768)

    @property
    def head_note(self) -> str | None:
        """What every report says of a head that bertrec trained; None for one that came with the encoder."""
        return None if self.head is None else self.head.note

    @property
    def fingerprint(self) -> str:
        """SHA-256 over weights, soft tokens, tokenizer, ``max_length`` and the number format of inference; anew only after a change."""
        stamp = weights_stamp(self)
        if stamp != self._stamp:
            number_format = "bf16" if self.config.precision == "bf16" else "fp32"
            soft = sha256_text(str(tuple(self.soft_embeddings.shape)), self.soft_embeddings.detach().cpu().numpy().tobytes().hex())
            self._hash = hash_encoder(self.model, self.tokenizer, "masked", str(self.config.max_length), number_format, soft)
            self._stamp = stamp
        return self._hash

    def train(self, mode: bool = True) -> Self:
        """Set training mode: dropout for the tuned part where the settings ask for it; what is frozen has none."""
        super().train(False)
        set_mode(self.base, self.config, mode)
        self.training = mode
        return self

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of encoder and head that are tuned; soft tokens are not among them."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def tune_transform(self) -> None:
        """Tune the head's dense layer, norm and word biases, whatever the depth is; its decoder stays as it is."""
        for parameter in transform_parameters(self.model):
            parameter.requires_grad_(True)

    def tokenize(self, texts: Sequence[str], *, progress: bool = False) -> Ragged:
        """Return token ids with special tokens, each text cut to ``max_length``; equal texts are tokenized once.

        Raises:
            DataError: an element is not a text; the message names its position.
        """
        return tokenize_texts(self.tokenizer, texts, self.config.max_length, progress=progress)

    def add_soft_tokens(self, n: int, *, initial: Sequence[int] | None = None) -> IntArray:
        """Append ``n`` rows to the table of soft tokens.

        Args:
            n: how many.
            initial: ids of the tokens whose vectors they start from, ``[n]``; None draws each dimension with the mean and deviation of
                the word embeddings from torch's current generator.

        Returns:
            Their ids, ``[n]`` int64, counted on from the vocabulary and the soft tokens there were.

        Raises:
            ConfigError: ``initial`` has another length than ``n``, or names a token that is not there.
        """
        if n < 0 or (initial is not None and len(initial) != n):
            raise ConfigError(f"{n} soft tokens cannot start from {len(initial or ())} tokens: give one token for each")
        first = self.vocabulary + self.soft_tokens
        rows = self.drawn(n) if initial is None else self._copied(initial)
        self.soft_embeddings = _table(torch.cat([self.soft_embeddings.detach(), rows]))
        return np.arange(first, first + n, dtype=np.int64)

    def embed(self, input_ids: Tensor) -> Tensor:
        """Return the vectors of words and soft tokens, as they enter the encoder.

        Args:
            input_ids: ``[b, L]``; ids from ``vocabulary`` on are soft tokens.

        Returns:
            ``[b, L, embedding_dim]``; that is ``dim`` but for encoders that widen their word embeddings, as ELECTRA's small ones do.
        """
        words = self.model.get_input_embeddings()
        if not self.soft_tokens:
            vectors: Tensor = words(input_ids)
            return vectors
        soft = input_ids >= self.vocabulary
        table = self.soft_embeddings[(input_ids - self.vocabulary).clamp(min=0)]
        return torch.where(soft[..., None], table, words(input_ids.masked_fill(soft, 0)))

    def hidden(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        vectors: Tensor | None = None,
        at: tuple[Tensor, Tensor] | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Run the encoder.

        Args:
            input_ids: ``[b, L]``, padded on the right.
            attention_mask: ``[b, L]``, 1 at tokens and 0 at padding; or ``[b, L, L]``, whose last axis says which positions each
                position attends to.
            vectors: ``[m, embedding_dim]``, put in place of the word embeddings.
            at: where they stand: rows ``[m]`` and columns ``[m]``.
            positions: ``[b, L]``, the position of each token from 0; None takes its place in the row.

        Returns:
            The last hidden states, ``[b, L, dim]``.

        Raises:
            ConfigError: one of ``vectors`` and ``at`` is given without the other.
            ModelError: the architecture takes no ``positions``.
        """
        if (vectors is None) != (at is None):
            raise ConfigError("vectors and the places they stand at belong together: give both or neither")
        with self.computing():
            inputs = self.embed(input_ids)
            if vectors is not None and at is not None:
                inputs = inputs.index_put(at, vectors.to(inputs.dtype))
            return run_encoder(self.base, inputs, attention_mask, positions)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the head's scores of all words, float32 ``[n, vocabulary]``, for hidden states ``[n, dim]``."""
        with self.computing():
            return head_logits(self.model, hidden).float()

    def save(self, folder: str | Path) -> None:
        """Write safetensors, JSON and tokenizer files to ``folder``, whole or not at all; without LoRA Hugging Face loads it too."""
        soft = self.soft_embeddings if self.soft_tokens else None
        save_masked(folder, self.config, self.model, self.tokenizer, soft, self.head)

    @classmethod
    def load(cls, folder: str | Path, *, device: torch.device | str | None = None) -> Self:
        """Read a folder of ``save``; no code of it is run and each file's SHA-256 is compared.

        Raises:
            ModelError: a file is missing, damaged or not the one that was saved; the text names it.
        """
        config, model, tokenizer, soft, head = load_masked(folder)
        return cls(config, model, tokenizer, soft=soft, head=head).to(chosen_device(device))

    def computing(self) -> Any:
        """Return the number format in which the encoder computes, as a context."""
        return computing_in(self.config.precision, self.device, tuning=self.training and torch.is_grad_enabled())

    @torch.no_grad()
    def drawn(self, n: int) -> Tensor:
        """Return ``[n, embedding_dim]`` with the mean and deviation of the word embeddings, from torch's current generator."""
        words = self.model.get_input_embeddings().weight.float()
        drawn = torch.randn(n, self.embedding_dim).to(words.device)
        return words.mean(0) + drawn * words.std(0)

    def _copied(self, initial: Sequence[int]) -> Tensor:
        ids = torch.as_tensor(np.asarray(initial, np.int64), device=self.device)
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < self.vocabulary:
            raise ConfigError(f"soft tokens start from token ids 0 to {self.vocabulary - 1}, got {int(ids.min())} to {int(ids.max())}")
        weights: Tensor = self.model.get_input_embeddings().weight.detach()
        return weights[ids].clone()


def _table(rows: Tensor) -> nn.Parameter:
    return nn.Parameter(rows, requires_grad=len(rows) > 0)
