from __future__ import annotations

import hashlib
import json
import shutil

import huggingface_hub
import numpy as np
import pytest
import torch
import transformers
from records import change
from sentence_transformers import SentenceTransformer
from tiny_encoders import ARCHITECTURES, tiny_tokenizer

from bertrec.core.errors import ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


@pytest.mark.parametrize("tune", ["frozen", "last:1", "lora", "full"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_trained_encoder_comes_back_unchanged(folders, architecture, tune, tmp_path, texts):
    encoder = build(folders[architecture], tune=tune, pooling="max").train()
    if encoder.trainable:
        optimizer = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=0.01)
        for _ in range(2):  # The first step of LoRA moves B alone.
            optimizer.zero_grad()
            encoder.encode_tokens(encoder.tokenize(texts)).square().sum().backward()
            optimizer.step()
    encoder.save(tmp_path / "saved")
    state = torch.random.get_rng_state()
    loaded = TextEncoder.load(tmp_path / "saved")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert loaded.config == encoder.config
    assert loaded.fingerprint == encoder.fingerprint
    np.testing.assert_array_equal(loaded.encode(texts), encoder.encode(texts))
    assert [n for n, p in loaded.named_parameters() if p.requires_grad] == [n for n, p in encoder.named_parameters() if p.requires_grad]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_saved_folder_is_one_for_sentence_transformers(tiny, pooling, tmp_path, texts):
    encoder = build(tiny, pooling=pooling)
    encoder.save(tmp_path / "saved")
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(texts[:5])
    np.testing.assert_allclose(theirs, encoder.encode(texts[:5]), atol=1e-5)


class TestLoading:
    def test_no_such_folder(self, tmp_path):
        with pytest.raises(ModelError, match="does not exist"):
            TextEncoder.from_config(EncoderConfig(name=str(tmp_path / "absent")))

    def test_an_empty_folder(self, tmp_path):
        with pytest.raises(ModelError, match="cannot load an encoder from"):
            TextEncoder.from_config(EncoderConfig(name=str(tmp_path)))

    def test_a_name_that_the_hub_cannot_give(self, monkeypatch):
        def unreachable(name, *, local_files_only=False, **options):
            raise OSError("no network\nmore lines")

        monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
        with pytest.raises(ModelError, match=r"^encoder 'someone/minilm' is neither .*no network$"):
            TextEncoder.from_config(EncoderConfig(name="someone/minilm"))

    def test_pickled_weights_are_not_read(self, tiny, tmp_path):
        folder = tmp_path / "pickled"
        shutil.copytree(tiny, folder)
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match="safetensors"):
            TextEncoder.from_config(EncoderConfig(name=str(folder)))

    def test_weights_of_another_model_are_not_made_up(self, folders, tiny, tmp_path):
        folder = tmp_path / "mixed"
        shutil.copytree(tiny, folder)
        shutil.copy(f"{folders['distilbert']}/model.safetensors", folder / "model.safetensors")
        with pytest.raises(ModelError, match=r"has no weights for .* and .* more"):
            TextEncoder.from_config(EncoderConfig(name=str(folder)))

    def test_an_encoder_decoder_is_refused(self, tmp_path):
        config = transformers.T5Config(vocab_size=9, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
        transformers.T5Model(config).save_pretrained(tmp_path)
        with pytest.raises(ModelError, match="not a BERT-family encoder"):
            TextEncoder.from_config(EncoderConfig(name=str(tmp_path)))

    def test_shared_layers_have_no_top(self, tmp_path, texts):
        tokenizer = tiny_tokenizer(texts)
        tokenizer.save_pretrained(tmp_path)
        config = transformers.AlbertConfig(
            vocab_size=len(tokenizer), embedding_size=8, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
        )
        transformers.AlbertModel(config).save_pretrained(tmp_path)
        assert build(str(tmp_path)).encode(["toy"]).shape == (1, 16)
        with pytest.raises(ModelError, match="no list of separate layers"):
            build(str(tmp_path), tune="last:1")

    @pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
    @pytest.mark.parametrize("fault", ["missing", "damaged"])
    def test_a_saved_folder_is_checked_file_by_file(self, tiny, tmp_path, name, fault):
        build(tiny).save(tmp_path / "saved")
        path = tmp_path / "saved" / name
        if fault == "missing":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        with pytest.raises(ModelError, match=f"{name} is {fault}"):
            TextEncoder.load(tmp_path / "saved")

    def test_a_folder_that_is_no_saved_encoder(self, tiny):
        with pytest.raises(ModelError, match=r"encoder\.json is missing"):
            TextEncoder.load(tiny)

    def test_no_code_of_a_saved_folder_is_run(self, tiny, tmp_path):
        folder = tmp_path / "saved"
        build(tiny).save(folder)
        config = json.loads((folder / "config.json").read_text())
        config["auto_map"] = {"AutoModel": "evil.Evil", "AutoConfig": "evil.EvilConfig"}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\nclass EvilConfig: pass\n")
        hashes = json.loads((folder / "encoder.json").read_text())["sha256"]
        change(folder / "encoder.json", sha256={**hashes, "config.json": hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()})
        assert TextEncoder.load(folder).encode(["toy"]).shape == (1, 32)
        assert not (tmp_path / "ran").exists()
