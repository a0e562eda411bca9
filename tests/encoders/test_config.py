from __future__ import annotations

import pytest

from bertrec.core.errors import ConfigError
from bertrec.encoders.config import EncoderConfig


def test_round_trips_through_dict_and_flat_names():
    config = EncoderConfig(pooling="mean-last:3", tune="last:2", lora_rank=4)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    assert EncoderConfig().updated(config.to_flat()) == config


@pytest.mark.parametrize(("tune", "count"), [("frozen", 0), ("last:2", 2), ("last:12", 12), ("lora", 0), ("full", 0)])
def test_tuned_layers_is_k(tune, count):
    assert EncoderConfig(tune=tune).tuned_layers == count


@pytest.mark.parametrize(("pooling", "count"), [("mean", 1), ("cls", 1), ("max", 1), ("mean-last:4", 4)])
def test_pooled_layers_is_k(pooling, count):
    assert EncoderConfig(pooling=pooling).pooled_layers == count


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("tune", value) for value in ("last", "last:0", "last:-1", "all")),
        *(("pooling", value) for value in ("mean-last:0", "average")),
        *(("precision", "fp8"), ("max_length", 2), ("lora_dropout", 1.0), ("lora_rank", 0), ("batch_tokens", 0), ("name", "")),
    ],
)
def test_a_value_out_of_range_is_named(key, value):
    with pytest.raises(ConfigError, match=f"setting '{key}'"):
        EncoderConfig.from_dict({key: value})


def test_a_misspelt_key_gets_the_right_one():
    with pytest.raises(ConfigError, match="did you mean 'max_length'"):
        EncoderConfig.from_dict({"max_lenght": 3})
