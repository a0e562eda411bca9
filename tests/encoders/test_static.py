"""Static encoders against sentence-transformers' own ``encode``, and against Model2Vec's formula."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules.dense import Dense
from sentence_transformers.base.modules.normalize import Normalize
from sentence_transformers.sentence_transformer.modules.pooling import Pooling
from static_folders import model2vec_folder, static_folder
from tiny_encoders import tiny_tokenizer

from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.encoders.cache import EmbeddingCache
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.registry import make_encoder, make_text_encoder
from bertrec.encoders.static import StaticEncoder
from bertrec.encoders.text import TextEncoder

ASK = "the story "
UNKNOWN = ["qwerty toy asdf", "qwerty"]


def encoder(name: str | Path, **settings) -> StaticEncoder:
    made = make_encoder(EncoderConfig(name=str(name), **settings))
    assert isinstance(made, StaticEncoder)
    return made


@pytest.fixture(scope="module")
def static(tmp_path_factory, texts) -> str:
    return static_folder(tmp_path_factory.mktemp("static"), texts, prompts={"query": ASK})


FORMS = {
    "alone": lambda: [],
    "normalized": lambda: [Normalize()],
    "dense": lambda: [Dense(8, 4, bias=True, activation_function=torch.nn.Tanh()), Normalize()],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("prompt", [None, "query"])
def test_vectors_are_those_of_sentence_transformers(tmp_path, texts, form, prompt):
    folder = static_folder(tmp_path / "static", texts, after=FORMS[form](), prompts={"query": ASK})
    wanted = SentenceTransformer(folder).encode([*texts, *UNKNOWN], prompt_name=prompt)
    found = encoder(folder, prompt=prompt or "auto").encode([*texts, *UNKNOWN])
    assert found == pytest.approx(wanted, abs=1e-6)


def test_a_default_prompt_and_a_cut_are_followed(tmp_path, texts):
    folder = static_folder(tmp_path / "static", texts, prompts={"query": ASK}, default_prompt_name="query")
    wanted = SentenceTransformer(folder, truncate_dim=3).encode(texts)
    found = encoder(folder, truncate_dim=3)
    assert (found.dim, found.encode(texts).shape) == (3, (len(texts), 3))
    assert found.encode(texts) == pytest.approx(wanted, abs=1e-6)


def test_texts_are_cut_at_the_greatest_length(static):
    short, long = encoder(static, max_length=3), encoder(static)
    assert short.encode(["toy story the matrix"]) == pytest.approx(short.encode(["toy story the"]))
    assert short.encode(["toy story the"]) == pytest.approx(long.encode(["toy story the"]))
    assert not np.allclose(short.encode(["toy story the matrix"]), long.encode(["toy story the matrix"]))


def of_model2vec(folder: str, texts: list[str], *, normalize: bool) -> np.ndarray:
    """The formula: the mean over known tokens of row ``mapping[token]`` times ``weights[token]``."""
    tensors = {name: value.double().numpy() for name, value in load_file(Path(folder) / "model.safetensors").items()}
    tokenizer = tiny_tokenizer([]).__class__(tokenizer_file=str(Path(folder) / "tokenizer.json"))
    rows = []
    for text in texts:
        ids = [token for token in tokenizer(text, add_special_tokens=False)["input_ids"] if token != 1]  # [UNK]
        place = [int(tensors["mapping"][token]) if "mapping" in tensors else token for token in ids]
        scale = [tensors["weights"][token] if "weights" in tensors else 1 for token in ids]
        found = [tensors["embeddings"][row] * factor for row, factor in zip(place, scale, strict=True)]
        rows.append(np.mean(found, axis=0) if found else np.zeros(8))
    vectors = np.stack(rows)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-32) if normalize else vectors


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize(
    ("shared_rows", "normalize", "dtype"),
    [(0, False, "float32"), (0, True, "float32"), (4, False, "float32"), (5, True, "float16"), (0, False, "int8")],
)
def test_vectors_are_those_of_model2vec(tmp_path, texts, listed, shared_rows, normalize, dtype):
    folder = model2vec_folder(tmp_path / "m2v", texts, shared_rows=shared_rows, normalize=normalize, listed=listed, dtype=dtype)
    wanted = of_model2vec(folder, [*texts, *UNKNOWN], normalize=normalize)
    assert encoder(folder).encode([*texts, *UNKNOWN]) == pytest.approx(wanted, rel=1e-5, abs=1e-5)


def test_sentence_transformers_agrees_where_all_words_are_known(tmp_path, texts):
    folder = model2vec_folder(tmp_path / "m2v", texts, shared_rows=4, normalize=True)
    known = [text for text in texts if text and text.isascii()]
    assert encoder(folder).encode(known) == pytest.approx(SentenceTransformer(folder).encode(known), abs=1e-6)


def test_vectors_are_kept_by_what_is_computed(tmp_path, static, texts, monkeypatch):
    cache, made = EmbeddingCache(tmp_path / "cache"), encoder(static)
    first = made.encode(texts, cache=cache)
    monkeypatch.setattr(StaticEncoder, "embed", lambda *_: pytest.fail("vectors were computed twice"))
    assert (encoder(static).encode(texts, cache=cache) == first).all()


def test_the_fingerprint_names_what_is_computed(tmp_path, static, texts):
    assert encoder(static).fingerprint == encoder(static).fingerprint == encoder(static, pooling="mean", prompt="none").fingerprint
    others = [encoder(static, **changed) for changed in ({"max_length": 5}, {"truncate_dim": 4}, {"prompt": "query"})]
    others += [encoder(static_folder(tmp_path / "n", texts, after=[Normalize()])), encoder(static_folder(tmp_path / "t", texts[::-1]))]
    state = load_file(Path(static_folder(tmp_path / "w", texts)) / "model.safetensors")
    save_file({name: value + 1e-6 for name, value in state.items()}, tmp_path / "w" / "model.safetensors")
    others.append(encoder(tmp_path / "w"))
    assert len({one.fingerprint for one in [encoder(static), *others]}) == len(others) + 1


def test_half_of_a_surrogate_pair_is_read(static):
    assert np.isfinite(encoder(static).encode(["toy \ud83d story"])).all()


def test_a_strange_script_is_noted(static):
    assert "Cyrillic" in str(encoder(static).script_note(["война и мир"]))
    assert encoder(static).script_note(["toy story"]) is None


def test_global_randomness_is_left_alone(tmp_path, texts):
    folder = static_folder(tmp_path / "static", texts, after=[Dense(8, 4)])
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    encoder(folder)
    assert torch.rand(1) == wanted


class TestRefused:
    @pytest.mark.parametrize("tune", ["last:1", "lora", "full"])
    def test_tuning(self, static, tune):
        with pytest.raises(ConfigError, match="cannot be tuned"):
            make_encoder(EncoderConfig(name=static, tune=tune))

    def test_another_pooling(self, static):
        with pytest.raises(ConfigError, match="has no other pooling: set it to auto"):
            encoder(static, pooling="cls")

    def test_a_cut_beyond_the_width(self, static):
        with pytest.raises(ConfigError, match="above the 8 dimensions"):
            encoder(static, truncate_dim=9)

    def test_what_reads_word_pieces(self, static):
        with pytest.raises(ConfigError, match=r"nrms reads word pieces and encoder .* has none"):
            make_text_encoder(EncoderConfig(name=static), what="nrms")
        with pytest.raises(ModelError, match="names no Transformer module"):
            TextEncoder.from_config(EncoderConfig(name=static))
        with pytest.raises(ModelError, match="names no Transformer module"):
            MaskedEncoder.from_config(MaskedConfig(name=static))

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_a_folder_that_lacks_a_file(self, tmp_path, texts, name):
        folder = static_folder(tmp_path / "static", texts)
        (tmp_path / "static" / name).unlink()
        with pytest.raises(ModelError, match=name):
            encoder(folder)

    @pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
    def test_a_damaged_file(self, tmp_path, texts, name):
        folder = static_folder(tmp_path / "static", texts)
        (tmp_path / "static" / name).write_bytes(b"{}")
        with pytest.raises(ModelError, match=f"{name} is damaged"):
            encoder(folder)

    @pytest.mark.parametrize(
        ("tensors", "said"),
        [
            ({"embedding.weight": torch.zeros(3, 8)}, "vectors for 3 tokens"),
            ({"embedding.weight": torch.full((99, 8), torch.nan)}, "no finite matrix"),
            ({"embedding.weight": torch.zeros(99)}, "no finite matrix"),
            ({"weights": torch.zeros(99)}, "damaged: 'embeddings'"),
            ({"embeddings": torch.zeros(4, 8), "mapping": torch.full((99,), 4)}, "damaged"),
            ({"embeddings": torch.zeros(99, 8), "weights": torch.zeros(5)}, "damaged"),
        ],
    )
    def test_weights_that_do_not_fit(self, tmp_path, texts, tensors, said):
        folder = static_folder(tmp_path / "static", texts)
        save_file(tensors, tmp_path / "static" / "model.safetensors")
        with pytest.raises(ModelError, match=said):
            encoder(folder)

    def test_a_module_of_another_kind(self, tmp_path, texts):
        folder = Path(static_folder(tmp_path / "static", texts))
        modules = json.loads((folder / "modules.json").read_text())
        modules.append({"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
        (folder / "modules.json").write_text(json.dumps(modules))
        Pooling(8).save(str(folder))
        with pytest.raises(ModelError, match="has Pooling behind StaticEmbedding"):
            encoder(folder)

    def test_damaged_modules(self, tmp_path, texts):
        folder = static_folder(tmp_path / "static", texts)
        (tmp_path / "static" / "modules.json").write_text("[")
        with pytest.raises(BertrecError, match=r"modules\.json is damaged"):
            make_encoder(EncoderConfig(name=folder))
