from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from tiny_encoders import ARCHITECTURES

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder


def build(folder, **options) -> TextEncoder:
    return TextEncoder.from_config(EncoderConfig(name=folder, **{"precision": "fp32", "max_length": 20, **options}))


def by_hand(folder, text) -> dict[str, np.ndarray]:
    """Pool in numpy over the plain Hugging Face model's states, one text and no padding."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=20, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        output = model(input_ids=ids, output_hidden_states=True)
    top, below = output.last_hidden_state[0].numpy(), output.hidden_states[-2][0].numpy()
    return {"cls": top[0], "max": top.max(0), "mean": top.mean(0), "mean-last:2": ((below + top) / 2).mean(0)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_text_in_a_batch_pools_as_the_plain_model_alone_does(folders, architecture, texts):
    expected = {row: by_hand(folders[architecture], texts[row]) for row in (0, 2, 5)}
    for pooling in ("cls", "mean", "max", "mean-last:2"):
        vectors = build(folders[architecture], pooling=pooling).encode(texts)
        assert vectors.shape == (len(texts), 32)
        assert vectors.dtype == np.float32
        for row, answer in expected.items():
            np.testing.assert_allclose(vectors[row], answer[pooling], atol=1e-5, err_msg=pooling)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("pooling", ["mean", "mean-last:2"])
def test_batches_side_by_side_give_the_same_vectors(folders, architecture, pooling, texts):
    encoder = build(folders[architecture], pooling=pooling, batch_tokens=24)
    many = [f"{text} toy {number}" for number in range(12) for text in texts]
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = encoder.encode(many)
        torch.set_num_threads(3)
        np.testing.assert_allclose(encoder.encode(many), alone, atol=1e-6)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_copies_on_several_devices_share_the_batches_and_give_the_same_vectors(folders, texts, monkeypatch):
    """With the CPU under several names, for want of GPUs; which batch is whose differs from run to run."""
    many = [f"{text} toy {number}" for number in range(12) for text in texts]
    encoder = build(folders["bert"], batch_tokens=24)
    alone, asked = encoder.encode(many), []
    vectors_of = TextEncoder._vectors_of
    monkeypatch.setattr(TextEncoder, "_vectors_of", lambda self, tokens: asked.append(id(self.model)) or vectors_of(self, tokens))
    encoder.devices = ("cpu", "cpu", "cpu")
    np.testing.assert_allclose(encoder.encode(many), alone, atol=1e-6)
    first = list(asked)
    assert len(set(first)) == 3
    encoder.encode(many)
    assert asked[3:] == first  # the copies are kept
    assert len(encoder.encode(["one text"])) == 1
    assert asked[6:] == [id(encoder.model)]  # one batch needs no copy
    before = encoder.fingerprint
    with torch.no_grad():
        encoder.model.embeddings.word_embeddings.weight.add_(1.0)
    changed = encoder.encode(many)
    encoder.devices = ()
    np.testing.assert_allclose(changed, encoder.encode(many), atol=1e-6)
    assert encoder.fingerprint != before


def test_devices_are_named_in_the_environment_and_one_that_is_not_there_is_an_error(folders, texts, monkeypatch):
    assert build(folders["bert"]).devices is None
    monkeypatch.setenv("BERTREC_ENCODE_DEVICES", "cpu, cpu")
    assert build(folders["bert"]).devices == ("cpu", "cpu")
    for name, says in (("moon", "'moon' is no device"), ("cuda:99", "encoding on cuda:99")):
        monkeypatch.setenv("BERTREC_ENCODE_DEVICES", name)
        with pytest.raises(ConfigError, match=says):
            build(folders["bert"], batch_tokens=24).encode([*texts, "another text", "and one more"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tune": "last:4"}, "last:4 asks for more than the 3 layers"),
        ({"pooling": "mean-last:4"}, "mean-last:4 asks for more than the 3 layers"),
        ({"max_length": 65}, "max_length 65 is above the 64 positions"),
    ],
)
def test_more_than_the_encoder_has_is_an_error(folders, options, message):
    with pytest.raises(ConfigError, match=message):
        TextEncoder.from_config(EncoderConfig(name=folders["bert"], **options))


def test_positions_of_roberta_start_after_its_padding_index(folders):
    assert TextEncoder.from_config(EncoderConfig(name=folders["roberta"], max_length=63)).encode(["toy " * 99]).shape == (1, 32)
    with pytest.raises(ConfigError, match="63 positions"):
        TextEncoder.from_config(EncoderConfig(name=folders["roberta"], max_length=64))


def test_tokens_carry_special_tokens_and_are_cut(tiny):
    encoder = TextEncoder.from_config(EncoderConfig(name=tiny, max_length=5))
    tokens = encoder.tokenize(["toy story", "toy story animation the matrix", "", "unheard", "toy story"])
    words = encoder.tokenizer.get_vocab()
    rows = [["[CLS]", "toy", "story", "[SEP]"], ["[CLS]", "toy", "story", "animation", "[SEP]"], ["[CLS]", "[SEP]"]]
    rows += [["[CLS]", "[UNK]", "[SEP]"], rows[0]]
    assert [row.tolist() for row in tokens] == [[words[word] for word in row] for row in rows]


def test_korean_and_emoji_texts_are_told_apart(tiny):
    vectors = build(tiny).encode(["기생충", "한국", "🚀", "toy", "기생충"])
    np.testing.assert_array_equal(vectors[0], vectors[4])
    assert np.linalg.norm(vectors[:4, None] - vectors[None, :4], axis=-1)[np.triu_indices(4, 1)].min() > 0.1


def test_half_a_surrogate_pair_is_a_replacement_character_not_a_crash(tiny):
    encoder = build(tiny)
    vectors = encoder.encode(["toy \ud83d", "toy \ufffd"])
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_equal_texts_are_encoded_once_and_keep_their_places(tiny, monkeypatch):
    encoder, seen = build(tiny), []
    plain = encoder.run_model
    monkeypatch.setattr(encoder, "run_model", lambda ids, mask, precision: seen.append(len(ids)) or plain(ids, mask, precision))
    vectors = encoder.encode(["toy", "the matrix", "toy", "toy"])
    assert sum(seen) == 2
    np.testing.assert_array_equal(vectors[[2, 3]], vectors[[0, 0]])
    assert not np.allclose(vectors[0], vectors[1])


def test_rows_come_in_the_order_asked_for_whatever_the_budget(tiny, texts):
    tokens = build(tiny).tokenize(texts)
    rows = [6, 2, 5, 2, 0]
    whole = build(tiny).encode_tokens(tokens)
    for budget in (1, 30, 10_000):
        torch.testing.assert_close(build(tiny, batch_tokens=budget).encode_tokens(tokens, rows), whole[rows], atol=1e-5, rtol=0)


def test_nothing_gives_nothing(tiny):
    encoder = build(tiny)
    assert encoder.encode([]).shape == (0, 32)
    assert encoder.encode_tokens(encoder.tokenize([])).shape == (0, 32)


@pytest.mark.parametrize("value", [None, 3, float("nan")])
def test_a_missing_text_is_named_by_its_place(tiny, value):
    with pytest.raises(DataError, match="text 1 is"):
        build(tiny).encode(["toy", value])


def test_encode_leaves_training_mode_as_it_was(tiny, texts):
    encoder = build(tiny, tune="full", dropout=True).train()
    first, second = encoder.encode(texts), encoder.encode(texts)
    np.testing.assert_array_equal(first, second)
    assert encoder.training
    assert encoder.model.encoder.layer[0].output.dropout.training


def test_values_that_are_not_finite_are_an_error(tiny):
    encoder = build(tiny)
    with torch.no_grad():
        encoder.model.encoder.layer[0].output.dense.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        encoder.encode(["toy"])


def test_bfloat16_is_near_float32_and_is_float32_outside(tiny, texts):
    exact, rough = build(tiny).encode(texts), build(tiny, precision="bf16").encode(texts)
    assert rough.dtype == np.float32
    assert 0 < np.abs(exact - rough).max() < 0.1


def test_auto_precision_is_exact_in_inference(tiny, texts):
    np.testing.assert_array_equal(build(tiny, precision="auto").encode(texts), build(tiny).encode(texts))


def test_the_bar_counts_distinct_items(tiny, capsys, texts):
    build(tiny).encode(texts, progress=True)
    assert f"{len(set(texts))}/{len(set(texts))}" in capsys.readouterr().err
