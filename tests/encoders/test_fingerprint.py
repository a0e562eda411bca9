from __future__ import annotations

import pytest
import torch

from bertrec.encoders import text as module
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


class TestFingerprint:
    def test_is_the_same_for_the_same_encoder_and_any_depth_that_adds_nothing(self, tiny):
        assert build(tiny).fingerprint == build(tiny, tune="last:1").fingerprint == build(tiny, batch_tokens=7).fingerprint

    @pytest.mark.parametrize("options", [{"pooling": "cls"}, {"precision": "bf16"}])
    def test_differs_with_what_the_vectors_depend_on(self, tiny, options):
        assert build(tiny).fingerprint != build(tiny, **options).fingerprint

    def test_differs_with_the_length(self, tiny):
        assert build(tiny).fingerprint != TextEncoder.from_config(EncoderConfig(name=tiny, max_length=21)).fingerprint

    @pytest.mark.parametrize("fused", [False, True])
    def test_follows_training_and_is_not_hashed_twice(self, tiny, monkeypatch, fused, texts):
        calls, plain = [], module.hash_encoder
        monkeypatch.setattr(module, "hash_encoder", lambda *args: calls.append(1) or plain(*args))
        encoder = build(tiny, tune="last:1").train()
        before = encoder.fingerprint
        assert encoder.fingerprint == before
        assert len(calls) == 1
        optimizer = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], fused=fused)
        encoder.encode_tokens(encoder.tokenize(texts)).square().sum().backward()
        optimizer.step()
        assert encoder.fingerprint != before

    def test_sees_a_write_that_goes_around_autograd(self, tiny):
        encoder = build(tiny, tune="last:1")
        before = encoder.fingerprint
        encoder.model.encoder.layer[1].output.dense.weight.data.mul_(2)
        assert encoder.fingerprint != before
