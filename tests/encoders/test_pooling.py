from __future__ import annotations

import numpy as np
import pytest
import torch

from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.pooling import TokenPooling

# Two texts of two and three tokens, width 2, two layers; the padding cell holds values that would show in any result.
TOP = torch.tensor([[[1.0, 2.0], [3.0, -4.0], [99.0, 99.0]], [[0.0, 1.0], [1.0, 0.0], [2.0, 2.0]]])
BELOW = torch.tensor([[[3.0, 0.0], [5.0, 0.0], [-99.0, -99.0]], [[2.0, 1.0], [1.0, 2.0], [0.0, 0.0]]])
MASK = torch.tensor([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("cls", [[1.0, 2.0], [0.0, 1.0]]),
        ("mean", [[2.0, -1.0], [1.0, 1.0]]),
        ("max", [[3.0, 2.0], [2.0, 2.0]]),
        ("mean-last:1", [[2.0, -1.0], [1.0, 1.0]]),
        # Mean of layers: [[2, 1], [4, -2]] and [[1, 1], [1, 1], [1, 1]].
        ("mean-last:2", [[3.0, -0.5], [1.0, 1.0]]),
    ],
)
def test_pooling_equals_the_hand_computed_vectors(pooling, expected):
    pooled = TokenPooling(2, EncoderConfig(pooling=pooling))([BELOW, TOP], MASK)
    np.testing.assert_allclose(pooled.numpy(), expected, atol=1e-6)


def test_half_precision_comes_out_as_float32():
    assert TokenPooling(2, EncoderConfig())([TOP.bfloat16()], MASK).dtype == torch.float32
