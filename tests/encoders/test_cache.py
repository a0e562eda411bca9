from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

from bertrec.encoders import cache as module
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig

DIM = 3


def vector(text: str) -> list[float]:
    return [float(len(text)), float(sum(map(ord, text)) % 97), -1.0]


class FakeEncoder:
    """Vectors computed by hand; remembers what it was asked for and may be killed after some texts."""

    dim, fingerprint, config = DIM, "f" * 64, EncoderConfig(name="fake")

    def __init__(self, *, dies_after: int = 10**9) -> None:
        self.asked: list[str] = []
        self.dies_after = dies_after

    def encode_batches(self, texts, *, progress=False):
        for row, text in enumerate(texts):
            if row >= self.dies_after:
                raise KeyboardInterrupt
            self.asked.append(text)
            yield np.array([row]), np.array([vector(text)], np.float32)


TEXTS = ["toy story", "기생충 🎬", "", "the matrix", "toy story", "broken \ud83d"]
EXPECTED = np.array([vector(text) for text in TEXTS], np.float32)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "vectors"


@pytest.fixture(autouse=True)
def _no_warning_unless_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def get(folder, texts=TEXTS, **options):
    encoder = FakeEncoder(**options)
    return EmbeddingCache(folder).get_or_encode(encoder, texts), encoder.asked


def store(folder) -> Path:
    return folder / ("f" * 40)


def test_a_text_is_encoded_once_and_read_afterwards(folder):
    first, asked = get(folder)
    np.testing.assert_array_equal(first, EXPECTED)
    assert asked == list(dict.fromkeys(TEXTS))
    second, asked = get(folder, TEXTS[::-1])
    np.testing.assert_array_equal(second, EXPECTED[::-1])
    assert asked == []


def test_a_changed_catalogue_encodes_its_new_texts_only(folder):
    get(folder, ["a", "b"])
    vectors, asked = get(folder, ["b", "c", "a"])
    assert asked == ["c"]
    np.testing.assert_array_equal(vectors, [vector("b"), vector("c"), vector("a")])


def test_another_encoder_has_its_own_vectors(folder):
    get(folder)
    other = FakeEncoder()
    other.fingerprint = "e" * 64
    EmbeddingCache(folder).get_or_encode(other, TEXTS)
    assert len(other.asked) == 5


def test_what_was_done_before_an_interrupt_is_kept(folder):
    with pytest.raises(KeyboardInterrupt):
        get(folder, dies_after=2)
    vectors, asked = get(folder)
    assert asked == ["", "the matrix", "broken \ud83d"]
    np.testing.assert_array_equal(vectors, EXPECTED)


def test_what_was_flushed_before_a_kill_is_kept(folder):
    script = f"""
        import os
        from bertrec.encoders import cache as module
        module._FLUSH_SECONDS = 0.0
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_cache import FakeEncoder, TEXTS
        class Killed(FakeEncoder):
            def encode_batches(self, texts, *, progress=False):
                for number, batch in enumerate(super().encode_batches(texts)):
                    if number == 3:
                        os._exit(9)
                    yield batch
        module.EmbeddingCache({str(folder)!r}).get_or_encode(Killed(), TEXTS)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False).returncode == 9
    vectors, asked = get(folder)
    assert asked == ["the matrix", "broken \ud83d"]
    np.testing.assert_array_equal(vectors, EXPECTED)


@pytest.mark.parametrize(
    ("name", "cut"), [("keys.bin", 1), ("keys.bin", 41), ("vectors.f32", 1), ("vectors.f32", 4 * DIM), ("keys.bin", 200)]
)
def test_a_cut_off_end_is_dropped_and_encoded_again(folder, name, cut):
    get(folder)
    path = store(folder) / name
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.truncate(size - cut)
    with pytest.warns(UserWarning, match="incomplete end"):
        vectors, asked = get(folder)
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert 0 < len(asked) <= 5
    assert path.stat().st_size == size
    assert get(folder)[1] == []


@pytest.mark.parametrize("word", range(5 * DIM))
def test_a_damaged_vector_is_never_returned(folder, word):
    get(folder)
    path = store(folder) / "vectors.f32"
    data = bytearray(path.read_bytes())
    data[4 * word + 1] ^= 4
    path.write_bytes(data)
    with pytest.warns(UserWarning, match="1 damaged vectors"):
        vectors, asked = get(folder)
    assert len(asked) == 1
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert path.stat().st_size == len(data)
    assert get(folder)[1] == []


def test_an_end_of_zeros_is_not_taken_for_vectors(folder):
    get(folder)
    for name, width in (("keys.bin", 40), ("vectors.f32", 4 * DIM)):
        data = (store(folder) / name).read_bytes()
        (store(folder) / name).write_bytes(data[:-width] + bytes(width))
    vectors, asked = get(folder)
    assert asked == ["broken \ud83d"]
    np.testing.assert_array_equal(vectors, EXPECTED)


@pytest.mark.parametrize("column", range(40))
def test_a_damaged_key_or_checksum_costs_an_encoding_and_no_error(folder, column):
    get(folder)
    path = store(folder) / "keys.bin"
    data = bytearray(path.read_bytes())
    data[40 + column] ^= 1
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors, asked = get(folder)
    assert asked == ["기생충 🎬"]
    np.testing.assert_array_equal(vectors, EXPECTED)


def test_two_processes_that_encode_the_same_texts_keep_them_once(folder):
    class Interleaved(FakeEncoder):
        def encode_batches(self, texts, *, progress=False):
            get(folder)  # Another process does the whole job while this one encodes.
            yield from super().encode_batches(texts)

    vectors = EmbeddingCache(folder).get_or_encode(Interleaved(), TEXTS)
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert (store(folder) / "keys.bin").stat().st_size == 5 * 40
    assert get(folder)[1] == []


def test_a_folder_that_cannot_be_used_costs_a_warning_and_no_vectors(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="going on without it"):
        vectors, asked = get(tmp_path / "file")
    np.testing.assert_array_equal(vectors, EXPECTED)
    assert len(asked) == 5


def test_a_lock_held_for_long_costs_a_warning(folder, monkeypatch):
    from filelock import FileLock

    get(folder, ["a"])
    monkeypatch.setattr(module, "_LOCK_SECONDS", 0.05)
    with FileLock(str(store(folder) / ".lock")), pytest.warns(UserWarning, match="going on without it"):
        vectors, _ = get(folder, ["a"])
    np.testing.assert_array_equal(vectors, [vector("a")])


def test_no_texts(folder):
    assert get(folder, [])[0].shape == (0, DIM)


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BERTREC_CACHE", str(tmp_path / "mine"))
    assert EmbeddingCache().folder == tmp_path / "mine"
    monkeypatch.delenv("BERTREC_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert EmbeddingCache().folder == tmp_path / ".cache" / "bertrec"


def test_a_real_encoder_with_and_without_cache(tiny, folder, texts):
    from bertrec.encoders.text import TextEncoder  # Here, so that the killed process above starts without it.

    encoder = TextEncoder.from_config(EncoderConfig(name=tiny))
    cache = EmbeddingCache(folder)
    plain = encoder.encode(texts)
    np.testing.assert_array_equal(encoder.encode(texts, cache=cache), plain)
    np.testing.assert_array_equal(encoder.encode(texts, cache=cache), plain)
