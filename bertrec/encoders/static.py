"""Static encoders: one vector for each token, and their mean for a text (StaticEmbedding of sentence-transformers, Model2Vec)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from safetensors.torch import load_file

from bertrec.core.checks import expect
from bertrec.core.errors import ConfigError, ModelError
from bertrec.core.files import sha256_text
from bertrec.encoders.base import Encoder, Vectors
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.coverage import is_unknown, length_note, script_note
from bertrec.encoders.folder import STATIC, FolderForm, one_line, read_form, read_values
from bertrec.encoders.pooling import load_module, module_hash
from bertrec.encoders.source import resolve_folder
from bertrec.encoders.tokens import token_ids

_AFTER = {"Dense", "Normalize", "LayerNorm"}


class TokenTable(NamedTuple):
    """What is read of a folder.

    Attributes:
        tokenizer: of Hugging Face.
        digest: its SHA-256.
        weight: float32 ``[n_tokens, width]``, a row for each token.
        of_model2vec: whether the file has the form of that package.
    """

    tokenizer: Any
    digest: str
    weight: torch.Tensor
    of_model2vec: bool = False


class StaticEncoder(Encoder):
    """The mean of the tokens' vectors, then what the folder lists behind it; nothing of it can be tuned.

    A folder of sentence-transformers gives what its ``encode`` gives. One of Model2Vec (its vectors are called ``embeddings``) is read as
    that package does: unknown tokens are left out, and ``normalize`` is followed. Special tokens are never added.

    Args:
        config: its ``max_length``, ``prompt`` and ``truncate_dim`` are followed.
        table: what was read.
        form: what the folder says of prompts.
        after: the modules behind the mean.

    Raises:
        ConfigError: a pooling other than the mean, or ``truncate_dim`` is above the width.
    """

    def __init__(self, config: EncoderConfig, table: TokenTable, form: FolderForm, after: Sequence[torch.nn.Module] = ()) -> None:
        super().__init__(config)
        if config.pooling not in ("auto", "mean"):
            what = "takes the mean of one vector for each token and has no other pooling"
            raise ConfigError(f"encoder.pooling {config.pooling}: {config.name} {what}: set it to auto")
        self.table, self.prompt = table, form.prompt(config)
        self.after = torch.nn.ModuleList(after).requires_grad_(False)
        self._width = self._pass([[]]).shape[1]
        if config.truncate_dim is not None and config.truncate_dim > self._width:
            raise ConfigError(f"encoder.truncate_dim {config.truncate_dim} is above the {self._width} dimensions of {config.name}")
        self._dropped = table.tokenizer.unk_token_id if table.of_model2vec else None

    @classmethod
    def from_config(cls, config: EncoderConfig, *, device: torch.device | str | None = None) -> Self:
        """Load the folder that ``config`` names, to the CPU: sums of table rows gain nothing elsewhere.

        Raises:
            ModelError: there is no such folder, or it lacks a file or has one that is damaged.
        """
        expect(config, EncoderConfig, f"{cls.__name__}.from_config: config", error=ConfigError)
        folder = resolve_folder(config.name)
        form = read_form(folder, needs=STATIC)
        listed = _behind_the_mean(folder, form)
        if strange := sorted({module for module, _ in listed} - _AFTER):
            raise ModelError(f"{folder / 'modules.json'} has {', '.join(strange)} behind {STATIC}, which is not read")
        table = read_token_table(folder / dict(form.modules).get(STATIC, ""))
        with torch.random.fork_rng(devices=[]):  # first weights, which are overwritten
            after = [_module(folder, module, path) for module, path in listed]
        return cls(config, table, form, after)

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.config.truncate_dim or self._width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over vectors, tokenizer, what follows the mean, prompt and ``max_length``."""
        said = [self._dropped, self.prompt, self.config.max_length, self.config.truncate_dim, *map(module_hash, self.after)]
        digest = hashlib.sha256(json.dumps([STATIC, self.table.digest, list(self.table.weight.shape), *said]).encode())
        digest.update(self.table.weight.numpy().tobytes())
        return digest.hexdigest()

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Return the vectors ``[n, dim]``; a text without a known token has zeros before the modules behind the mean."""
        vectors: Vectors = self._pass(self._token_ids([self.prompt + text for text in texts]))[:, : self.dim].numpy()
        return vectors

    def script_note(self, texts: Sequence[str]) -> str | None:
        """Return a note, with a multilingual encoder's name, where most of ``texts`` is in a script without words in the vocabulary."""
        return script_note(self.table.tokenizer, texts, self.config.name)

    def length_note(self, texts: Sequence[str]) -> str | None:
        """Return a note where more than a tenth of ``texts`` is cut at ``max_length``, with a length that cuts fewer."""
        whole = [self.prompt + text for text in texts]
        return length_note(self.table.tokenizer, whole, self.config.name, read=self.config.max_length, special=False)

    def knows_nothing_of(self, text: str) -> bool:
        """Say whether no word of a text is in the vocabulary."""
        return is_unknown(self.table.tokenizer, text)

    def _token_ids(self, texts: list[str]) -> list[list[int]]:
        how = {"add_special_tokens": False, "truncation": True, "max_length": self.config.max_length}
        rows = token_ids(self.table.tokenizer, texts, **how)
        return rows if self._dropped is None else [[token for token in row if token != self._dropped] for row in rows]

    @torch.no_grad()
    def _pass(self, rows: list[list[int]]) -> torch.Tensor:
        starts = torch.tensor([0, *map(len, rows)]).cumsum(0)[:-1]
        ids = torch.tensor([token for row in rows for token in row], dtype=torch.long)
        pooled = torch.nn.functional.embedding_bag(ids, self.table.weight, starts, mode="mean")
        for module in self.after:
            pooled = module({"sentence_embedding": pooled})["sentence_embedding"].float()
        return pooled


def read_token_table(folder: Path) -> TokenTable:
    """Read ``tokenizer.json`` and ``model.safetensors``: the vectors, and where Model2Vec has them a mapping and weights of the tokens.

    Raises:
        ModelError: a file is missing or damaged, or the two do not fit.
    """
    tokenizer, digest = _tokenizer(folder / "tokenizer.json")
    place = folder / "model.safetensors"
    if not place.is_file():
        raise ModelError(f"{folder} has no model.safetensors: weights in other formats are not read")
    try:
        tensors = load_file(place)
        weight = _folded(tensors)
    except Exception as error:  # safetensors and torch raise unrelated classes; all mean that the file is not as it should be.
        raise ModelError(f"{place} is damaged: {one_line(error)}") from error
    if weight.ndim != 2 or not weight.numel() or not torch.isfinite(weight).all():
        raise ModelError(f"{place} holds no finite matrix with a row for each token, but one of shape {list(weight.shape)}")
    if (most := max(tokenizer.get_vocab().values(), default=0)) >= len(weight):
        raise ModelError(f"{place} has vectors for {len(weight)} tokens, and tokenizer.json beside it a token {most}")
    return TokenTable(tokenizer, digest, weight.contiguous(), "embeddings" in tensors)


def _folded(tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Return one vector for each token of what a file holds; Model2Vec's may share rows, and have a weight of their own."""
    if "embedding.weight" in tensors:
        return tensors["embedding.weight"].float()
    weight = tensors["embeddings"].float()
    if "mapping" in tensors:
        weight = weight[tensors["mapping"].long()]
    return weight * tensors["weights"].float()[:, None] if "weights" in tensors else weight


def _tokenizer(place: Path) -> tuple[Any, str]:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not place.is_file():
        raise ModelError(f"{place} is missing")
    try:
        inner = Tokenizer.from_file(str(place))
        inner.no_padding()
        inner.no_truncation()
        text = inner.to_str()
        model = json.loads(text)["model"]
        name = model.get("unk_token") if model.get("unk_id") is None else inner.id_to_token(model["unk_id"])
        named = {} if name is None or inner.token_to_id(name) is None else {"unk_token": name}
        return PreTrainedTokenizerFast(tokenizer_object=inner, **named), sha256_text(text)
    except Exception as error:  # the library has one class for all of them
        raise ModelError(f"{place} is damaged: {one_line(error)}") from error


def _behind_the_mean(folder: Path, form: FolderForm) -> list[tuple[str, str]]:
    """Return kind and sub-folder of what follows; Model2Vec's folders had no list of modules once, and a setting in its place."""
    if form.modules:
        return [(module, path) for module, path in form.modules if module not in (STATIC, "Dropout")]
    return [("Normalize", "")] if read_values(folder / "config.json").get("normalize") else []


def _module(folder: Path, kind: str, path: str) -> torch.nn.Module:
    if kind != "Normalize":
        return load_module(folder, kind, path)
    from sentence_transformers.base.modules.normalize import Normalize

    return Normalize()  # whose folder need not be there
