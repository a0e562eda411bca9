from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_encoders import ARCHITECTURES

from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


def gradients(encoder) -> set[str]:
    return {name for name, parameter in encoder.model.named_parameters() if parameter.grad is not None and parameter.grad.abs().sum() > 0}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_gets_no_gradients(folders, architecture, texts):
    encoder = build(folders[architecture]).train()
    vectors = encoder.encode_tokens(encoder.tokenize(texts))
    assert not vectors.requires_grad
    assert not any(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_last_one_trains_the_top_layer_and_the_final_norm_alone(folders, architecture, texts):
    encoder = build(folders[architecture], tune="last:1").train()
    encoder.encode_tokens(encoder.tokenize(texts)).square().sum().backward()
    top = {f"{name}" for name, _ in encoder.model.named_parameters() if name.split("layer.")[-1].startswith("2.") or "layers.2." in name}
    allowed = top | {name for name, _ in encoder.model.named_parameters() if name.startswith("final_norm")}
    changed = gradients(encoder)
    assert changed
    assert changed <= allowed
    assert len(changed & top) >= len(top) - 2  # A key's bias shifts all scores of a query alike: its gradient is zero.
    assert (architecture == "modernbert") == any(name.startswith("final_norm") for name in changed)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lora_trains_its_matrices_alone_and_starts_as_the_plain_encoder(folders, architecture, texts):
    plain = build(folders[architecture]).encode(texts)
    encoder = build(folders[architecture], tune="lora", lora_rank=2)
    np.testing.assert_allclose(encoder.encode(texts), plain, atol=1e-6)
    encoder.train().encode_tokens(encoder.tokenize(texts)).square().sum().backward()
    changed = gradients(encoder)
    assert changed
    assert all(".lora_B." in name for name in changed)  # B is zero at the start, so A's gradient is, too.
    trainable = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    matrices = 1 if architecture == "modernbert" else 2
    assert len(trainable) == 3 * matrices * 2
    assert all(".lora_" in name for name in trainable)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_full_trains_all_and_has_no_pooler(folders, architecture, texts):
    encoder = build(folders[architecture], tune="full").train()
    encoder.encode_tokens(encoder.tokenize(texts)).square().sum().backward()
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert encoder.model.get_input_embeddings().weight.grad.abs().sum() > 0
    assert not any("pooler" in name for name, _ in encoder.named_parameters())


@pytest.mark.parametrize(("options", "noisy"), [({}, False), ({"dropout": True}, True), ({"tune": "lora", "lora_dropout": 0.5}, True)])
def test_dropout_acts_in_training_where_it_is_asked_for(tiny, options, noisy, texts):
    encoder = build(tiny, **{"tune": "full", **options})
    for name, parameter in encoder.named_parameters():
        if ".lora_B." in name:
            torch.nn.init.ones_(parameter)  # Zero at the start, which would hide the dropout before it.
    tokens = encoder.tokenize(texts)
    encoder.train()
    assert torch.equal(encoder.encode_tokens(tokens), encoder.encode_tokens(tokens)) != noisy
    encoder.eval()
    assert torch.equal(encoder.encode_tokens(tokens), encoder.encode_tokens(tokens))


def test_gradients_in_bfloat16_point_where_those_in_float32_do(tiny, texts):
    found = []
    for precision in ("fp32", "bf16"):
        encoder = build(tiny, tune="full", precision=precision).train()
        encoder.encode_tokens(encoder.tokenize(texts)).square().sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in encoder.parameters()]))
    assert found[1].dtype == torch.float32
    assert torch.cosine_similarity(*found, dim=0) > 0.99
