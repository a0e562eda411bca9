"""An encoder that is named by a path and is not there is refused before any data are read: these are not there either."""

from __future__ import annotations

import pytest

NAMED = ["--set", "encoder.name=./absent"]


@pytest.mark.parametrize(
    "words",
    [
        ["train", "./no-data", *NAMED],
        ["train", "./no-data", "--model", "text-similarity", *NAMED],
        ["train", "./no-data", "--model", "alpharec", *NAMED],
        ["encoder", "adapt", "./no-data", "--encoder", "./absent"],
        ["encoder", "adapt-mlm", "./no-data", "--encoder", "./absent"],
        ["pretrain", "./no-data", *NAMED],
        ["new-items", "./no-data", *NAMED],
        ["tune", "./no-data", *NAMED],
        ["rankers", "train", "./no-data", "--ranker", "composite", *NAMED],
        ["rerank", "train", "./no-run", *NAMED],
        ["prompt", "train", "./no-data", "--encoder", "./absent"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_an_absent_encoder_is_refused_first(cli, words, tmp_path):
    out = tmp_path / "out"
    code, printed, err = cli(*words, "--out", out)
    assert (code, printed, err) == (2, "", "bertrec: encoder folder ./absent does not exist\n")
    assert not out.exists()
