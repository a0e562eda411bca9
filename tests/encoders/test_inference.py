from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import torch

from bertrec.core.errors import ConfigError, MissingExtraError
from bertrec.encoders import bert_forward, inference, onnx_forward
from bertrec.encoders.bert_forward import BertForward, supports_forward
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.text import TextEncoder

BUILDS = ("bert", "roberta")
needs_int8 = pytest.mark.skipif(not bert_forward.supports_int8(), reason="this torch has no oneDNN int8 products")
needs_onnx = pytest.mark.skipif(not onnx_forward.has_onnx(), reason="the extra onnx is not installed")


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


def cosines(first, second) -> np.ndarray:
    first, second = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in (first, second))
    return (first * second).sum(axis=1)


def padded(encoder, texts):
    tokens = encoder.tokenize(texts)
    return encoder._padded(tokens, np.arange(len(tokens)))


class TestBertForward:
    @pytest.mark.parametrize("build_of", BUILDS)
    def test_every_state_equals_that_of_hugging_faces_layers(self, folders, texts, build_of):
        encoder = build(folders[build_of])
        ids, mask = padded(encoder, texts)
        with torch.no_grad():
            expected = encoder.model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        found = BertForward(encoder.model, "fp32", keep=4)(ids, mask)
        assert len(found) == len(expected) == 4
        for ours, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(ours[mask.bool()], theirs[mask.bool()], atol=1e-5, rtol=1e-5)

    def test_without_padding_it_gives_the_same(self, folders):
        encoder = build(folders["bert"])
        ids, mask = padded(encoder, ["toy story", "the matrix"])
        assert mask.all()
        torch.testing.assert_close(encoder.pooling(BertForward(encoder.model, "fp32")(ids, mask), mask), encoder(ids, mask).detach())

    @needs_int8
    @pytest.mark.parametrize("largest", [127, 63])
    def test_an_int8_product_equals_the_formula(self, monkeypatch, largest):
        if largest == 127 and not bert_forward.has_exact_int8():
            pytest.skip("this CPU adds products of 8-bit numbers in 16 bits, where they overflow")
        monkeypatch.setattr(bert_forward, "has_exact_int8", lambda: largest == 127)
        generator = torch.Generator().manual_seed(1)
        weight, bias, hidden = (torch.randn(*shape, generator=generator) for shape in ((6, 8), (6,), (5, 8)))
        weight[0], hidden[0] = weight.max(), hidden.max()  # the largest sums of all
        scales = weight.abs().amax(1, keepdim=True) / largest
        rounded = torch.round(weight / scales) * scales
        # Activations: 0…255 over the range of the batch, which always holds 0.
        low, high = min(0.0, hidden.min().item()), max(0.0, hidden.max().item())
        step = (high - low) / 255
        zero = round(-low / step)
        seen = (torch.clamp(torch.round(hidden / step) + zero, 0, 255) - zero) * step
        found = bert_forward._int8_projection(weight, bias)(hidden)
        torch.testing.assert_close(found, seen @ rounded.T + bias, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize(("architecture", "answer"), [("bert", True), ("roberta", True), ("distilbert", False), ("mpnet", False)])
    def test_says_which_architectures_it_computes(self, folders, architecture, answer):
        assert supports_forward(build(folders[architecture]).model) is answer

    def test_lora_matrices_are_not_dropped(self, folders):
        assert not supports_forward(build(folders["bert"], tune="lora").model)


@pytest.mark.parametrize("pooling", ["mean", "mean-last:2"])
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_bfloat16_is_near_float32_for_every_build(folders, texts, architecture, pooling):
    exact = build(folders[architecture], pooling=pooling).encode(texts)
    rough = build(folders[architecture], pooling=pooling, precision="bf16").encode(texts)
    assert rough.dtype == np.float32
    assert 0.998 < cosines(exact, rough).min() < 1


def test_a_pass_of_copied_weights_follows_training(tiny, texts):
    encoder = build(tiny, tune="full", precision="bf16")
    before = encoder.encode(texts)
    with torch.no_grad():
        encoder.model.encoder.layer[0].output.dense.weight.mul_(3)
    assert np.abs(encoder.encode(texts) - before).max() > 0.1


@needs_int8
@pytest.mark.parametrize("build_of", BUILDS)
def test_int8_of_torch_is_near_float32(folders, texts, build_of):
    encoder = build(folders[build_of], precision="int8", backend="torch")
    assert encoder.number_format == "int8-torch"
    assert 0.98 < cosines(build(folders[build_of]).encode(texts), encoder.encode(texts)).mean() < 1


@needs_onnx
@pytest.mark.slow
def test_int8_of_onnx_runtime_is_near_float32_and_exported_once(folders, texts, monkeypatch, tmp_path):
    options = {"precision": "int8", "backend": "onnx", "pooling": "mean-last:2"}
    exact = build(folders["distilbert"], pooling="mean-last:2").encode(texts)
    first = build(folders["distilbert"], **options).encode(texts)
    assert 0.98 < cosines(exact, first).mean() < 1
    monkeypatch.setattr(onnx_forward, "_write", lambda *parts: pytest.fail("exported twice"))
    np.testing.assert_array_equal(build(folders["distilbert"], **options).encode(texts), first)
    assert len(list((tmp_path / "cache" / "inference").glob("*.onnx"))) == 1


class TestChoice:
    @pytest.fixture(autouse=True)
    def _two_int8(self, monkeypatch):
        monkeypatch.setattr(inference, "supports_int8", lambda: True)
        monkeypatch.setattr(inference, "has_onnx", lambda: True)
        monkeypatch.setattr(inference, "require_onnx", lambda: None)
        monkeypatch.setattr(inference, "has_fast_bfloat16", lambda device: True)

    @pytest.mark.parametrize(("seconds", "answer"), [((3, 1, 2, 4), "bf16"), ((3, 4, 2, 1), "int8-onnx"), ((1, 2, 2, 2), "fp32")])
    def test_fast_takes_the_quickest_and_keeps_it(self, tiny, monkeypatch, caplog, seconds, answer):
        names = ["fp32", "bf16", "int8-torch", "int8-onnx"]
        measured = []
        monkeypatch.setattr(
            inference, "_measure", lambda encoder, given, folder: measured.append(given) or dict(zip(given, seconds, strict=True))
        )
        with caplog.at_level(logging.WARNING):
            assert build(tiny, precision="fast").number_format == answer
        assert f"computed in {answer} here" in caplog.text
        assert build(tiny, precision="fast").number_format == answer
        assert measured == [names]

    def test_a_damaged_choice_is_measured_again(self, tiny, monkeypatch, tmp_path):
        monkeypatch.setattr(inference, "_measure", lambda encoder, given, folder: dict.fromkeys(given, 1.0) | {"bf16": 0.5})
        assert build(tiny, precision="fast").number_format == "bf16"
        (kept,) = (tmp_path / "cache" / "inference").glob("quickest-*.json")
        for content in ("{", "[]", json.dumps({"quickest": "fp8"})):
            kept.write_text(content)
            assert build(tiny, precision="fast").number_format == "bf16"
            assert json.loads(kept.read_text())["quickest"] == "bf16"

    def test_a_tuned_encoder_is_never_offered_int8(self, tiny, monkeypatch):
        monkeypatch.setattr(inference, "_measure", lambda encoder, given, folder: dict.fromkeys(given, 1.0))
        assert inference._all(build(tiny, precision="fast", tune="last:1")) == ["fp32", "bf16"]

    def test_int8_with_two_backends_measures_these_two(self, tiny):
        assert inference._int8(build(tiny, precision="int8")) == ["int8-torch", "int8-onnx"]
        assert inference._int8(build(tiny, precision="int8", backend="torch")) == ["int8-torch"]
        assert inference._int8(build(tiny, precision="int8", backend="onnx")) == ["int8-onnx"]

    def test_torch_is_refused_where_it_has_no_pass(self, folders):
        with pytest.raises(ConfigError, match="backend to onnx"):
            _ = build(folders["mpnet"], precision="int8", backend="torch").number_format


def test_the_measurement_times_every_pass(tiny, tmp_path):
    encoder = build(tiny, precision="fast")
    seconds = inference._measure(encoder, ["fp32", "bf16"], tmp_path)
    assert list(seconds) == ["fp32", "bf16"]
    assert all(0 < value < 60 for value in seconds.values())


@pytest.mark.parametrize(("options", "there"), [({"backend": "onnx"}, "bert"), ({}, "mpnet")])
def test_a_missing_extra_is_named(folders, monkeypatch, options, there):
    monkeypatch.setattr(onnx_forward, "_absent", lambda: ["onnxruntime"])
    with pytest.raises(MissingExtraError, match=r"bertrec\[onnx\]"):
        build(folders[there], precision="int8", **options).encode(["toy"])


@needs_int8
def test_vectors_of_another_number_format_are_never_taken(tiny, texts, tmp_path):
    prints = {build(tiny, precision=precision, backend="torch").fingerprint for precision in ("fp32", "bf16", "int8")}
    assert len(prints) == 3
    cache = EmbeddingCache(tmp_path / "vectors")
    exact = build(tiny).encode(texts, cache=cache)
    rough = build(tiny, precision="int8", backend="torch").encode(texts, cache=cache)
    assert np.abs(exact - rough).max() > 0
    np.testing.assert_array_equal(build(tiny).encode(texts, cache=cache), exact)


@pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
def test_int8_is_for_frozen_encoders(tune):
    with pytest.raises(ConfigError, match="int8 has no gradients"):
        EncoderConfig.from_dict({"tune": tune, "precision": "int8"})


@pytest.mark.parametrize("precision", ["int8", "fast"])
def test_a_masked_encoder_has_neither(precision):
    with pytest.raises(ConfigError, match="must be auto, fp32 or bf16"):
        MaskedConfig.from_dict({"precision": precision})
