"""Encoders that changed between two parts of one work."""

from __future__ import annotations

import numpy as np
import pytest

from bertrec.core.errors import BertrecError
from bertrec.encoders.unchanged import check_unchanged, encoder_contents


@pytest.fixture
def folder(tmp_path):
    own = tmp_path / "own"
    (own / "1_Dense").mkdir(parents=True)
    for name in ("config.json", "model.safetensors", "1_Dense/config.json", "README.md"):
        (own / name).write_text(name)
    return own


@pytest.mark.parametrize(("file", "counts"), [("config.json", True), ("1_Dense/config.json", True), ("README.md", False)])
def test_a_folder_is_known_by_what_an_encoder_reads_of_it(folder, file, counts):
    settings = {"encoder.name": str(folder), "encoder.pooling": "mean", "head.layers": 2}.items()
    before = encoder_contents(settings)
    assert list(before) == [str(folder)]
    check_unchanged(before, encoder_contents(settings), "it was begun")
    (folder / file).write_text("other")
    assert (encoder_contents(settings) != before) == counts
    if counts:
        with pytest.raises(BertrecError, match=f"encoder {folder} was changed since it was begun"):
            check_unchanged(before, encoder_contents(settings), "it was begun")


def test_vectors_are_known_with_the_ids_beside_them(tmp_path):
    np.save(tmp_path / "v.npy", np.eye(2))
    settings = [("encoder.name", str(tmp_path / "v.npy"))]
    alone = encoder_contents(settings)
    (tmp_path / "v.ids.txt").write_text("a\nb\n")
    named = encoder_contents(settings)
    (tmp_path / "v.ids.txt").write_text("b\na\n")
    assert len({*alone.values(), *named.values(), *encoder_contents(settings).values()}) == 3


def test_names_of_a_hub_have_nothing_to_compare_and_new_ones_are_let_in(folder):
    assert encoder_contents([("encoder.name", "minilm"), ("encoder.name", "some/model"), ("train.epochs", 3)]) == {}
    check_unchanged({}, encoder_contents([("encoder.name", str(folder))]), "it was begun")
