"""Encoders small enough for tests: made from a configuration, with random weights and a vocabulary of given texts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "mpnet", "modernbert")
_PECULIAR: dict[str, dict[str, Any]] = {
    "distilbert": {"hidden_dim": 64},
    "roberta": {"type_vocab_size": 1},
    # Narrower than the hidden states, as in ELECTRA's small models, so that the projection between them is there.
    "electra": {"embedding_size": 16},
    "deberta-v2": {"relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    "modernbert": {"local_attention": 8},
}
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def tiny_tokenizer(texts: Iterable[str], *, max_length: int = 64) -> Any:
    """Return a lower-casing word-level tokenizer of the words of ``texts``; ``[PAD]`` is 0, ``[UNK]`` 1, ``[CLS]`` 2, ``[SEP]`` 3."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys(word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower()))
    vocabulary = {word: number for number, word in enumerate([*_SPECIAL, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=max_length,
    )


def tiny_bert(folder: str | Path, texts: Iterable[str], hidden: int = 32, layers: int = 2) -> str:
    """Save a BERT with random weights (seed 0) and a word-level tokenizer made from ``texts`` to ``folder``.

    Args:
        folder: where to write; made if absent.
        texts: every word of them gets a token, all other words are ``[UNK]``.
        hidden: width of the vectors; a multiple of 2 (two attention heads).
        layers: number of transformer layers.

    Returns:
        The folder, to be used as ``EncoderConfig.name``.
    """
    return tiny_encoder(folder, "bert", texts, hidden=hidden, layers=layers)


def tiny_encoder(folder: str | Path, architecture: str, texts: Iterable[str], *, hidden: int = 32, layers: int = 2) -> str:
    """Do as ``tiny_bert``, for any of ``ARCHITECTURES``; all take 64 tokens, RoBERTa 63."""
    return _tiny(folder, architecture, texts, hidden, layers, masked=False)


def tiny_masked(folder: str | Path, texts: Iterable[str], hidden: int = 32, layers: int = 2, *, architecture: str = "bert") -> str:
    """Do as ``tiny_encoder``, with a masked-language-model head (random weights too), to be used as ``MaskedConfig.name``."""
    return _tiny(folder, architecture, texts, hidden, layers, masked=True)


def _tiny(folder: str | Path, architecture: str, texts: Iterable[str], hidden: int, layers: int, *, masked: bool) -> str:
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM

    tokenizer = tiny_tokenizer(texts)
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=64,
        # Larger than the usual 0.02: texts must differ clearly after two random layers.
        initializer_range=0.3,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        **_PECULIAR.get(architecture, {}),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = (AutoModelForMaskedLM if masked else AutoModel).from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
