from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert, tiny_encoder, tiny_masked

from bertrec.core.errors import DataError
from bertrec.core.ragged import Ragged
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.loading import MissingHeadError
from bertrec.encoders.tokens import tokenize_texts, word_numbers
from bertrec.training.adapt import adapt_masked_lm
from bertrec.training.config import TrainConfig
from bertrec.training.fit import fit_module
from bertrec.training.masked_lm import MaskedLanguageModel, MaskedTextDataset, TokenMasking, perplexity

TEXTS = ["red kettle and oak shelf", "기생충 한국 영화", "blue lamp", "a wool rug and a jute rug", "", "steel lamp 🚀"]
MASKING = TokenMasking(mask_id=4, special=np.arange(5), vocabulary=1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return tiny_masked(tmp_path_factory.mktemp("masked"), TEXTS)


def build(folder, **options) -> MaskedEncoder:
    return MaskedEncoder.from_config(MaskedConfig(name=folder, **{"precision": "fp32", "tune": "full", "dropout": False, **options}))


def training(**options) -> TrainConfig:
    return TrainConfig.from_dict({"epochs": 1, "batch_size": 2, "save_every_epoch": False, "device": "cpu", **options})


@given(st.lists(st.lists(st.integers(0, 40), max_size=40), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_each_row_hides_its_share_of_words_and_nothing_else(rows, seed):
    tokens = Ragged.from_rows(rows)
    drawn = MASKING.draw(tokens, np.random.default_rng(seed))
    hidden = drawn.labels >= 0
    for number, row in enumerate(tokens):
        words = int((row >= 5).sum())
        assert hidden[tokens.rows == number].sum() == (max(1, round(0.15 * words)) if words else 0)
    assert (tokens.values[hidden] >= 5).all()
    np.testing.assert_array_equal(drawn.labels[hidden], tokens.values[hidden])
    np.testing.assert_array_equal(drawn.inputs.values[~hidden], tokens.values[~hidden])
    assert not np.isin(drawn.inputs.values[hidden], [0, 1, 2, 3]).any()


@st.composite
def _rows_of_words(draw):
    """Rows of words of one to five pieces between special tokens: token ids, and the number of each token's word."""
    rows, words = [], []
    for lengths in draw(st.lists(st.lists(st.integers(1, 5), max_size=15), min_size=1, max_size=6)):
        pieces = [number for number, length in enumerate(lengths) for _ in range(length)]
        unknown = draw(st.sets(st.integers(0, 14), max_size=3))
        rows.append([2, *(1 if word in unknown else 10 + at for at, word in enumerate(pieces)), 3])
        words.append([-1, *pieces, -1])
    return Ragged.from_rows(rows), Ragged.from_rows(words)


@given(_rows_of_words(), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_whole_words_are_hidden_with_all_of_their_pieces(drawn_rows, seed):
    tokens, pieces = drawn_rows
    drawn = MASKING.draw(tokens, np.random.default_rng(seed), pieces)
    hidden, masked = drawn.labels >= 0, drawn.inputs.values == 4
    for row in range(len(tokens)):
        here = tokens.rows == row
        known = here & (tokens.values >= 5)
        for word in np.unique(pieces.values[known]):
            of_word = known & (pieces.values == word)
            assert len(set(hidden[of_word])) == 1
            assert len(set(masked[of_word])) == 1
        assert not hidden[here & ~known].any()
        lengths = np.unique(pieces.values[known], return_counts=True)[1]
        room = max(1, round(0.15 * known.sum()))
        count = hidden[here].sum()
        assert count == 0 if not len(lengths) else 0 < count <= max(room, lengths.min())
    np.testing.assert_array_equal(drawn.labels[hidden], tokens.values[hidden])
    np.testing.assert_array_equal(drawn.inputs.values[~hidden], tokens.values[~hidden])


def test_every_word_of_equal_length_is_hidden_as_often_as_any_other():
    pieces = np.repeat(np.arange(20), 2)
    tokens, words = Ragged.from_rows([10 + np.arange(40)] * 3000), Ragged.from_rows([pieces] * 3000)
    hidden = MASKING.draw(tokens, np.random.default_rng(0), words).labels.reshape(3000, 20, 2) >= 0
    assert (hidden.sum(axis=(1, 2)) == 6).all()  # 15 % of forty
    assert hidden[:, :, 0].mean(axis=0) == pytest.approx(0.15, abs=0.03)  # a share's deviation is .0065


def test_pieces_are_those_of_the_tokenizer(tmp_path):
    tokenizer = transformers.BertTokenizerFast(vocab=_pieces_vocabulary(), model_max_length=64)
    texts = ["kettles, red lamp!", "", "lampkettle red"]
    tokens, words = tokenize_texts(tokenizer, texts, 7), word_numbers(tokenizer, texts, 7)
    assert [tokenizer.convert_ids_to_tokens(row) for row in tokens.values[None, :7]] == [
        ["[CLS]", "kettle", "##s", ",", "red", "lamp", "[SEP]"]
    ]
    assert [row.tolist() for row in words] == [[-1, 0, 0, 1, 2, 3, -1], [-1, -1], [-1, 0, 0, 1, -1]]


def _pieces_vocabulary():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "kettle", "##s", ",", "red", "lamp", "##kettle", "!"]
    return {word: number for number, word in enumerate(words)}


def test_fifteen_percent_of_which_eighty_ten_ten():
    tokens = Ragged.from_rows([np.random.default_rng(0).integers(5, 1000, 100) for _ in range(1000)])
    drawn = MASKING.draw(tokens, np.random.default_rng(1))
    hidden = drawn.labels >= 0
    assert hidden.mean() == 0.15
    inputs, labels = drawn.inputs.values[hidden], drawn.labels[hidden]
    # 15,000 draws: a share's deviation is below 0.0033.
    assert (inputs == 4).mean() == pytest.approx(0.8, abs=0.015)
    assert (inputs == labels).mean() == pytest.approx(0.1, abs=0.015)
    assert ((inputs != 4) & (inputs != labels)).mean() == pytest.approx(0.1, abs=0.015)
    place = np.flatnonzero(hidden) % 100  # every place in a row is hidden as often as any other
    assert np.bincount(place, minlength=100).max() < 220


def test_masks_follow_seed_and_epoch_alone(folder):
    encoder = build(folder)
    tokens = encoder.tokenize(TEXTS * 10)

    def drawn(epoch, seed):
        dataset = MaskedTextDataset(tokens, TokenMasking.of(encoder), 0)
        return [dataset.__getitems__(batch) for batch in list(dataset.batches(epoch, 4, seed))]

    def same(first, second):
        return all(np.array_equal(a.labels, b.labels) for a, b in zip(first, second, strict=True))

    assert same(drawn(3, 1), drawn(3, 1))
    assert not same(drawn(3, 1), drawn(4, 1))
    assert not same(drawn(3, 1), drawn(3, 2))


def test_rows_without_words_are_counted_and_left_out(folder):
    encoder = build(folder)
    dataset = MaskedTextDataset(encoder.tokenize(TEXTS), TokenMasking.of(encoder), 0)
    assert (len(dataset), dataset.dropped) == (5, 1)
    with pytest.raises(DataError, match="none of the 2 texts has a word"):
        MaskedTextDataset(encoder.tokenize(["", "unbekannt"]), TokenMasking.of(encoder), 0)


def test_a_batch_is_padded_on_the_right(folder):
    encoder = build(folder)
    dataset = MaskedTextDataset(encoder.tokenize(["blue lamp", "red kettle and oak shelf"]), TokenMasking.of(encoder), 0)
    batch = dataset.collate(dataset.__getitems__([0, 1]))
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1, 0, 0, 0], [1] * 7]
    assert batch["input_ids"][0, 4:].tolist() == [0, 0, 0]
    assert (batch["labels"] >= 0).sum(1).tolist() == [1, 1]


def test_the_loss_is_the_mean_over_hidden_words_and_the_perplexity_its_exponential(folder):
    encoder = build(folder)
    tokens = encoder.tokenize(TEXTS[:4])
    dataset = MaskedTextDataset(tokens, TokenMasking.of(encoder), 0)
    drawn = dataset.masking.draw(tokens, np.random.default_rng(7))
    losses = []
    with torch.no_grad():
        for row, ids in enumerate(drawn.inputs):  # one by one, by Hugging Face's own model
            labels = torch.from_numpy(drawn.labels[tokens.offsets[row] : tokens.offsets[row + 1]])
            logits = encoder.model(input_ids=torch.from_numpy(ids)[None]).logits[0]
            losses += [-torch.log_softmax(logits[place], 0)[labels[place]].item() for place in torch.where(labels >= 0)[0].tolist()]
        loss = MaskedLanguageModel(encoder)(**dataset.collate(drawn))["loss"].item()
    assert loss == pytest.approx(np.mean(losses), abs=1e-4)
    assert perplexity(encoder, tokens, seed=7) == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    assert perplexity(build(folder, batch_tokens=1), tokens, seed=7) == pytest.approx(math.exp(np.mean(losses)), rel=1e-4)
    assert perplexity(encoder, tokens, seed=8) != perplexity(encoder, tokens, seed=7)


def test_perplexity_leaves_the_mode_as_it_was(folder):
    encoder = build(folder, dropout=True).train()
    tokens = encoder.tokenize(TEXTS[:4])
    assert perplexity(encoder, tokens) == perplexity(encoder, tokens)
    assert encoder.training
    assert encoder.base.embeddings.dropout.training


def test_head_parameters_take_the_general_learning_rate(folder):
    task = MaskedLanguageModel(build(folder))
    names = {id(parameter): name for name, parameter in task.encoder.model.named_parameters()}
    found = {names[id(parameter)] for parameter in task.encoder_parameters()}
    assert "bert.embeddings.word_embeddings.weight" in found
    assert not any(name.startswith("cls.") for name in found)


def test_one_sentence_repeated_is_learned_by_heart(folder):
    encoder = build(folder)
    texts = ["red kettle and oak shelf"] * 32
    tokens = encoder.tokenize(texts)
    dataset = MaskedTextDataset(tokens, TokenMasking.of(encoder), 0)
    assert perplexity(encoder, tokens) > 10
    config = training(epochs=20, batch_size=8, learning_rate=0.01, encoder_learning_rate=0.003)
    fit_module(MaskedLanguageModel(encoder), dataset, dataset.collate, config, progress=False)
    assert perplexity(encoder, tokens) < 1.2


class TestAdapt:
    def test_a_new_head_learns_and_the_encoder_stays(self, tmp_path):
        # "red" always stands beside "kettle" and "oak" beside "shelf": the head can learn which words there are, and with which.
        texts = [f"{colour} {thing} {number}" for number in range(20) for colour, thing in (("red", "kettle"), ("oak", "shelf"))]
        name = tiny_bert(tmp_path / "bert", texts)
        encoder = MaskedEncoder.from_config(MaskedConfig(name=name, tune="frozen", precision="fp32"), new_head=True)
        before = {key: tensor.clone() for key, tensor in encoder.model.state_dict().items()}
        said: list[str] = []
        config = training(epochs=8, batch_size=4, learning_rate=0.01, seed=3)
        record = adapt_masked_lm(encoder, [*texts, *texts, ""], config, data="장난감", new=True, say=said.append, progress=False)
        assert (record.texts, record.held_out, record.new) == (36, 4, True)
        assert record.after < 0.5 * record.before
        assert encoder.head_note == record.note
        assert "on 장난감, perplexity" in record.note
        assert said[0] == "장난감: 40 distinct item texts, 4 of them held out"
        assert record.settings["epochs"] == 8
        changed = {key for key, tensor in encoder.model.state_dict().items() if not torch.equal(tensor, before[key])}
        assert "cls.predictions.transform.dense.weight" in changed
        assert all(key.startswith("cls.predictions") for key in changed)
        assert "cls.predictions.decoder.weight" not in changed

    def test_a_head_for_mpnet_whose_published_file_has_none(self, tmp_path):
        texts = [f"{colour} {thing} {number}" for number in range(20) for colour, thing in (("red", "kettle"), ("oak", "shelf"))]
        name = tiny_encoder(tmp_path / "mpnet", "mpnet", texts)
        with pytest.raises(MissingHeadError):
            MaskedEncoder.from_config(MaskedConfig(name=name))
        encoder = MaskedEncoder.from_config(MaskedConfig(name=name, tune="last:1", precision="fp32"), new_head=True)
        below = encoder.base.encoder.relative_attention_bias.weight.clone()
        tokens = encoder.tokenize(texts)
        before = perplexity(encoder, tokens)
        config = training(epochs=6, batch_size=4, learning_rate=0.01, encoder_learning_rate=0.003)
        record = adapt_masked_lm(encoder, texts, config, data="d", new=True, whole_words=True, progress=False)
        assert perplexity(encoder, tokens) < 0.5 * before
        assert not encoder.training
        assert record.settings["mask"] == "words"
        assert torch.equal(encoder.base.encoder.relative_attention_bias.weight, below)  # shared by all layers
        encoder.save(tmp_path / "out")
        assert perplexity(MaskedEncoder.load(tmp_path / "out"), tokens) == pytest.approx(perplexity(encoder, tokens), rel=1e-5)
        theirs, info = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not info["missing_keys"]
        with torch.no_grad():
            ids = torch.from_numpy(tokens[0])[None]
            wanted = theirs.eval()(input_ids=ids).logits
            torch.testing.assert_close(encoder.logits(encoder.hidden(ids, torch.ones_like(ids))), wanted, atol=1e-4, rtol=1e-4)

    def test_a_training_that_was_cut_short_ends_alike(self, folder, tmp_path):
        texts = [f"{one} {two}" for one in ("red", "blue", "oak", "steel") for two in ("lamp", "shelf", "kettle", "rug")]

        def adapted(epochs, **how):
            encoder = build(folder)
            config = training(epochs=epochs, schedule="constant", warmup_epochs=1, save_every_epoch=True)
            adapt_masked_lm(encoder, texts, config, data="d", new=False, whole_words=True, progress=False, **how)
            return encoder.fingerprint

        whole = adapted(3)
        assert adapted(1, run_dir=tmp_path) != whole
        assert adapted(3, run_dir=tmp_path, resume=True) == whole

    def test_too_few_texts_are_an_error(self, folder):
        with pytest.raises(DataError, match="1 distinct texts have a word"):
            adapt_masked_lm(build(folder), ["blue lamp", "blue lamp", "", "unbekannt"], training(), data="d", new=False)
