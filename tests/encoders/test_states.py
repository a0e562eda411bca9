from __future__ import annotations

import pytest
import torch
from tiny_encoders import ARCHITECTURES

from bertrec.core.errors import ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.depth import transformer_layers
from bertrec.encoders.text import TextEncoder

SPLITTABLE = [name for name in ARCHITECTURES if name not in ("modernbert", "deberta-v2")]


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


@pytest.mark.parametrize("pooling", ["cls", "mean-last:3"])
@pytest.mark.parametrize("architecture", SPLITTABLE)
def test_lower_states_and_top_layers_equal_the_plain_forward_pass(folders, architecture, pooling, texts):
    encoder = build(folders[architecture], tune="last:2", pooling=pooling)
    tokens, rows = encoder.tokenize(texts), [5, 0, 2, 5, 3]
    assert encoder.supports_lower_states
    states = encoder.lower_states(tokens, dtype=torch.float32)
    assert states.layer == 1
    torch.testing.assert_close(encoder.encode_states(states, rows), encoder.encode_tokens(tokens, rows), atol=1e-5, rtol=0)
    half = encoder.encode_states(encoder.lower_states(tokens), rows)
    torch.testing.assert_close(half, encoder.encode_tokens(tokens, rows), atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("architecture", SPLITTABLE)
def test_gradients_through_states_equal_those_of_the_plain_pass(folders, architecture, texts):
    encoder = build(folders[architecture], tune="last:1").train()
    tokens, found = encoder.tokenize(texts), []
    states = encoder.lower_states(tokens, dtype=torch.float32)
    for vectors in (encoder.encode_tokens(tokens), encoder.encode_states(states)):
        encoder.zero_grad()
        vectors.square().sum().backward()
        found.append(torch.cat([p.grad.flatten() for p in encoder.parameters() if p.requires_grad]))
    assert found[0].abs().sum() > 0
    torch.testing.assert_close(found[0], found[1], atol=1e-3, rtol=1e-3)


def test_lower_layers_stay_without_dropout_while_the_top_trains(folders, texts):
    encoder = build(folders["bert"], tune="last:1", dropout=True).train()
    layers = transformer_layers(encoder.model)
    assert layers[2].training
    assert layers[2].attention.output.dropout.training
    assert not layers[1].attention.output.dropout.training
    assert not encoder.model.embeddings.dropout.training
    tokens = encoder.tokenize(texts)
    first = encoder.lower_states(tokens, dtype=torch.float32).values
    assert torch.equal(first, encoder.lower_states(tokens, dtype=torch.float32).values)
    assert encoder.training


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("modernbert", {"tune": "last:1"}),
        ("deberta-v2", {"tune": "last:1"}),
        ("bert", {"tune": "full"}),
        ("bert", {"tune": "last:1", "pooling": "mean-last:3"}),
    ],
)
def test_states_say_where_they_are_not_supported(folders, architecture, options, texts):
    encoder = build(folders[architecture], **options)
    assert not encoder.supports_lower_states
    with pytest.raises(ModelError, match=r"tune=last:K.*pooling"):
        encoder.lower_states(encoder.tokenize(texts))
