"""Classes that are no whole parts, each in one way."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from bertrec.encoders.base import Encoder
from bertrec.heads.objectives import SequenceLoss
from bertrec.heads.users import UserHead


class NoPart(nn.Module):
    """Derives from no base of ours."""


class HeadWithoutForward(UserHead):
    pass


class HeadOfAnotherShape(UserHead):
    def forward(self, items):
        return items[:, -1]


class LossWithoutCall(SequenceLoss):
    pass


class LossAPosition(SequenceLoss):
    def __call__(self, model, inputs, targets):
        return torch.zeros(3)


class EncoderWithoutEmbed(Encoder):
    dim, fingerprint = 2, "none"


class EncoderOfAnotherWidth(Encoder):
    dim, fingerprint = 2, "three"

    def embed(self, texts):
        return np.zeros((len(texts), 3))


class EncoderOfNaN(Encoder):
    dim, fingerprint = 2, "nan"

    def embed(self, texts):
        return np.full((len(texts), 2), math.nan)
