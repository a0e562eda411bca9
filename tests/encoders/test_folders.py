"""Folders as sentence-transformers itself writes them, in the forms of well-known models, against its own ``encode``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.base.modules.transformer import Transformer
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from tiny_encoders import tiny_bert, tiny_encoder, tiny_tokenizer
from tokenizers import processors
from transformers import AutoConfig, AutoModel

from bertrec.core.errors import ConfigError, ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder

ASK = "Represent this sentence for searching relevant passages: "
E5 = {"query": "query: ", "passage": "passage: "}
GEMMA = {"query": "task: search result | query: ", "document": "title: none | text: "}
LONG = ["the matrix " * 40]


def _dense(width: int, out: int, activation: torch.nn.Module, bias: bool = False) -> Dense:
    return Dense(width, out, bias=bias, activation_function=activation)


def _decoder(folder: Path, kind: str, texts: list[str], side: str) -> str:
    tokenizer = tiny_tokenizer(texts)
    tokenizer.padding_side = side
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    more = {"use_bidirectional_attention": True, "sliding_window": 8} if kind == "gemma3_text" else {}
    config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        **sizes,
        **more,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


# Base, modules behind the transformer, prompts, default prompt; the greatest length is 24 tokens in all.
FORMS = {
    "bge": ("bert", lambda: [Pooling(32, "cls"), Normalize()], {"query": ASK}, None),
    "gte": ("bert", lambda: [Pooling(32, "mean")], {}, None),
    "e5": ("roberta", lambda: [Pooling(32, "mean"), Normalize()], E5, "passage"),
    "arctic": ("bert", lambda: [Pooling(32, "cls"), Normalize()], {"query": ASK}, "query"),
    "mxbai": ("bert", lambda: [Pooling(32, "cls")], {"query": ASK, "passage": ""}, None),
    "qwen3": ("qwen3-left", lambda: [Pooling(32, "lasttoken"), Normalize()], {"query": "Query:", "document": ""}, None),
    "qwen3, padded right": ("qwen3-right", lambda: [Pooling(32, "lasttoken")], {"query": "Query:"}, "query"),
    "gemma": (
        "gemma3_text-right",
        lambda: [Pooling(32, "mean"), _dense(32, 48, torch.nn.Identity()), _dense(48, 32, torch.nn.Identity()), Normalize()],
        GEMMA,
        "document",
    ),
    "instructor": ("bert", lambda: [Pooling(32, "mean", include_prompt=False), _dense(32, 16, torch.nn.Tanh(), True)], E5, "query"),
    "several": ("bert", lambda: [Pooling(32, ("cls", "max", "mean"))], {}, None),
    "weighted": ("bert", lambda: [Pooling(32, "weightedmean"), Normalize(), _dense(32, 8, torch.nn.Tanh(), True)], {}, None),
    "max": ("bert", lambda: [Pooling(32, "max")], {}, None),
    "root": ("bert", lambda: [Pooling(32, "mean_sqrt_len_tokens"), _dense(32, 32, torch.nn.Tanh(), True)], {}, None),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, texts):
    """Return a function from a form's name to its folder, each written once."""
    kept: dict[str, str] = {}
    words = [*texts, ASK, *E5.values(), *GEMMA.values(), "Query:"]

    def base(kind: str) -> str:
        folder = tmp_path_factory.mktemp("base")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            name, _, side = kind.rpartition("-")
            if side in {"left", "right"}:
                return _decoder(folder, name, words, side)
            return tiny_encoder(folder, kind, words)

    def make(form: str) -> str:
        if form not in kept:
            kind, modules, prompts, default = FORMS[form]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(2)
                layers = [Transformer(base(kind), max_seq_length=24), *modules()]
            kept[form] = str(tmp_path_factory.mktemp("form"))
            SentenceTransformer(modules=layers, prompts=prompts, default_prompt_name=default, device="cpu").save(kept[form])
        return kept[form]

    return make


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 24, **options}))


def cosines(one, other):
    one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
    return (one * other).sum(1)


def same(mine, theirs):
    assert mine.shape == theirs.shape
    assert cosines(mine, theirs).min() >= 0.9999


@pytest.mark.parametrize("form", FORMS)
def test_vectors_are_those_of_sentence_transformers(made, form, texts):
    theirs = SentenceTransformer(made(form), device="cpu")
    for part in (texts, LONG):
        same(build(made(form)).encode(part), theirs.encode(part))
    same(build(made(form), max_length=60).encode(LONG), theirs.encode(LONG))  # the folder's length is the cap
    same(build(made(form), truncate_dim=5).encode(texts), theirs.encode(texts, truncate_dim=5))


@pytest.mark.parametrize("form", ["bge", "arctic", "mxbai", "e5", "qwen3", "gemma"])
def test_both_sides_of_a_search_are_named(made, form, texts):
    theirs = SentenceTransformer(made(form), device="cpu")
    same(build(made(form), prompt="query").encode(texts), theirs.encode_query(texts))
    same(build(made(form), prompt="document").encode(texts), theirs.encode_document(texts))
    same(build(made(form), prompt="none").encode(texts), theirs.encode(texts, prompt=""))
    same(build(made(form), prompt="passage: ").encode(texts), theirs.encode(texts, prompt="passage: "))


def test_the_forms_differ_from_the_plain_mean(made, texts):
    for form in ("bge", "e5", "qwen3", "gemma", "instructor", "several"):
        mine, mean = build(made(form)).encode(texts), build(made(form), pooling="mean").encode(texts)
        assert mine.shape != mean.shape or cosines(mine, mean).min() < 0.99


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"tune": "lora"}, {"prompt": "query", "truncate_dim": 7}])
def test_a_saved_encoder_comes_back_the_same(made, form, options, texts, tmp_path):
    encoder = build(made(form), **options)
    encoder.save(tmp_path / "saved")
    loaded = TextEncoder.load(tmp_path / "saved")
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.encode(texts), encoder.encode(texts))
    if not options:
        same(SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(texts), encoder.encode(texts))


@pytest.mark.parametrize("form", ["instructor", "several", "bge"])
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_quick_passes_pool_in_the_same_way(made, form, precision, texts):
    backend = {"backend": "torch"} if precision == "int8" else {}
    rough = build(made(form), precision=precision, **backend).encode(texts)
    assert cosines(rough, build(made(form)).encode(texts)).min() > 0.98


def test_lower_states_pool_in_the_same_way(made, texts):
    encoder = build(made("instructor"), tune="last:1")
    tokens = encoder.tokenize(texts)
    states = encoder.lower_states(tokens, dtype=torch.float32)
    torch.testing.assert_close(encoder.encode_states(states), encoder.encode_tokens(tokens), atol=1e-5, rtol=0)


class TestFingerprint:
    def test_a_plain_folder_keeps_that_of_the_mean(self, tiny):
        assert build(tiny).fingerprint == build(tiny, pooling="mean").fingerprint

    def test_a_mean_folder_with_a_norm_keeps_it_too(self, made):
        assert build(made("gte")).fingerprint == build(made("gte"), pooling="mean").fingerprint

    @pytest.mark.parametrize("options", [{"prompt": "document"}, {"prompt": "none"}, {"truncate_dim": 9}, {"pooling": "mean"}])
    def test_differs_with_all_that_changes_vectors(self, made, options):
        assert build(made("instructor")).fingerprint != build(made("instructor"), **options).fingerprint

    def test_differs_with_the_weights_of_a_dense_layer(self, made, tmp_path):
        encoder = build(made("root"))
        encoder.save(tmp_path / "saved")
        other = TextEncoder.load(tmp_path / "saved")
        with torch.no_grad():
            other.pooling.after[0].linear.weight.mul_(2)
        assert other.fingerprint != encoder.fingerprint

    def test_a_folder_saved_before_there_was_a_form_is_read(self, tiny, texts, tmp_path):
        encoder = build(tiny, pooling="mean")
        encoder.save(tmp_path / "saved")
        manifest = json.loads((tmp_path / "saved/encoder.json").read_text())
        del manifest["form"], manifest["record_sha256"], manifest["config"]["prompt"], manifest["config"]["truncate_dim"]
        (tmp_path / "saved/encoder.json").write_text(json.dumps(manifest))
        loaded = TextEncoder.load(tmp_path / "saved")
        assert loaded.fingerprint == encoder.fingerprint
        np.testing.assert_array_equal(loaded.encode(texts), encoder.encode(texts))


class TestBadInput:
    def test_a_word_that_is_no_prompt(self, made):
        with pytest.raises(ConfigError, match=r"encoder.prompt pasage is no prompt of .* \(it names: .*passage"):
            build(made("e5"), prompt="pasage")

    def test_more_dimensions_than_there_are(self, made):
        with pytest.raises(ConfigError, match="truncate_dim 33 is above the 32 dimensions"):
            build(made("bge"), truncate_dim=33)

    @pytest.mark.parametrize(
        ("name", "text", "says"),
        [
            ("modules.json", '[{"type": "a.Transformer", "path": ""}, {"type": "a.CNN", "path": "1"}]', "Transformer then CNN"),
            ("modules.json", "{}", "is damaged"),
            ("modules.json", '[{"type": "a.Pooling", "path": "1_Pooling"}]', "names no Transformer"),
            ("config_sentence_transformers.json", "[", "is damaged"),
            ("config_sentence_transformers.json", '{"default_prompt_name": "query"}', "default_prompt_name is one of them"),
            ("1_Pooling/config.json", '{"embedding_dimension": 32, "pooling_mode": "median"}', "cannot load the module Pooling"),
        ],
    )
    def test_a_damaged_folder_is_one_line(self, tmp_path, texts, name, text, says):
        tiny_bert(tmp_path / "base", texts)
        SentenceTransformer(modules=[Transformer(str(tmp_path / "base")), Pooling(32, "cls")], device="cpu").save(str(tmp_path / "st"))
        (tmp_path / "st" / name).write_text(text)
        with pytest.raises(ModelError, match=says):
            build(str(tmp_path / "st"))

    def test_pickled_weights_of_a_dense_layer_are_not_read(self, made, texts, tmp_path):
        build(made("root")).save(tmp_path / "st")
        (tmp_path / "st/2_Dense/model.safetensors").rename(tmp_path / "st/2_Dense/pytorch_model.bin")
        with pytest.raises(ModelError, match=r"2_Dense has no model\.safetensors"):
            build(str(tmp_path / "st"))
