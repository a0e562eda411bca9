from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
import transformers
from tiny_encoders import ARCHITECTURES, tiny_masked, tiny_tokenizer
from transformers import AutoModelForMaskedLM

from bertrec.core.errors import ConfigError, ModelError
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.encoders.masked.heads import head_parameters
from bertrec.encoders.masked.loading import MissingHeadError
from bertrec.encoders.masked.storage import HeadRecord
from bertrec.encoders.text import TextEncoder

NUMBERED = ["bert", "roberta", "distilbert", "electra", "modernbert"]


@pytest.fixture(scope="module")
def masked(tmp_path_factory, texts) -> dict[str, str]:
    """One saved folder per architecture, two layers each, random weights."""
    return {name: tiny_masked(tmp_path_factory.mktemp("masked"), texts, architecture=name) for name in ARCHITECTURES}


def build(folder, **options) -> MaskedEncoder:
    new_head = options.pop("new_head", False)
    return MaskedEncoder.from_config(MaskedConfig(name=str(folder), **{"precision": "fp32", **options}), new_head=new_head)


def padded(encoder, texts) -> tuple[torch.Tensor, torch.Tensor]:
    rows = encoder.tokenize(texts)
    ids = torch.from_numpy(rows.padded())
    return ids, (torch.arange(ids.shape[1]) < torch.from_numpy(rows.lengths)[:, None]).long()


def all_logits(encoder, texts) -> torch.Tensor:
    ids, mask = padded(encoder, texts)
    with torch.no_grad():
        return encoder.logits(encoder.hidden(ids, mask)[mask.bool()])


class TestForward:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_logits_are_those_of_hugging_face(self, masked, architecture, texts):
        encoder = build(masked[architecture])
        ids, mask = padded(encoder, texts)
        theirs = AutoModelForMaskedLM.from_pretrained(masked[architecture]).eval()
        with torch.no_grad():
            wanted = theirs(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        found = all_logits(encoder, texts)
        assert found.dtype == torch.float32
        assert found.shape == (int(mask.sum()), encoder.vocabulary)
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)

    def test_newer_deberta_heads_meet_the_word_embeddings(self, masked, texts, tmp_path):
        config = transformers.AutoConfig.from_pretrained(masked["deberta-v2"])
        config.legacy = False
        torch.manual_seed(0)
        theirs = AutoModelForMaskedLM.from_config(config).eval()
        theirs.save_pretrained(tmp_path)
        tiny_tokenizer(texts).save_pretrained(tmp_path)
        encoder = build(tmp_path)
        ids, mask = padded(encoder, texts)
        with torch.no_grad():
            wanted = theirs(input_ids=ids, attention_mask=mask).logits[mask.bool()]
        torch.testing.assert_close(all_logits(encoder, texts), wanted, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_a_mask_of_pairs_that_hides_the_padding_alone_changes_nothing(self, masked, architecture, texts):
        encoder = build(masked[architecture])
        ids, mask = padded(encoder, texts)
        pairs = mask[:, None, :].expand(-1, ids.shape[1], -1)
        with torch.no_grad():
            plain, paired = encoder.hidden(ids, mask), encoder.hidden(ids, pairs)
        torch.testing.assert_close(paired[mask.bool()], plain[mask.bool()], atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("architecture", NUMBERED)
    def test_two_continuations_in_one_row_equal_two_rows(self, masked, architecture, texts):
        # [CLS] toy story | the matrix | star wars: both continuations see the start and themselves; the start sees itself alone.
        encoder = build(masked[architecture])
        ids = torch.tensor([encoder.tokenizer("toy story the matrix star wars", add_special_tokens=False)["input_ids"]])
        positions = torch.tensor([[0, 1, 2, 3, 2, 3]])
        part = torch.tensor([0, 0, 1, 1, 2, 2])
        pairs = (part[None, :] == 0) | (part[:, None] == part[None, :])
        with torch.no_grad():
            together = encoder.hidden(ids, pairs[None].long(), positions=positions)[0]
            for number, columns in ((1, [0, 1, 2, 3]), (2, [0, 1, 4, 5])):
                alone = encoder.hidden(ids[:, columns], pairs[columns][:, columns][None].long())[0]
                torch.testing.assert_close(together[part == number], alone[2:], atol=1e-4, rtol=1e-4)

    def test_a_mask_of_pairs_equals_running_each_set_of_positions(self, masked):
        encoder = build(masked["bert"])
        ids, sets = torch.randint(5, encoder.vocabulary, (2, 7)), ([0, 1, 2, 3], [4, 5, 6])
        pairs = torch.zeros(2, 7, 7)
        for chosen in sets:
            pairs[:, torch.tensor(chosen)[:, None], torch.tensor(chosen)] = 1
        with torch.no_grad():
            together = encoder.hidden(ids, pairs)
            for chosen in sets:
                alone = encoder.hidden(ids[:, chosen], torch.ones(2, len(chosen)), positions=torch.tensor([chosen, chosen]))
                torch.testing.assert_close(together[:, chosen], alone, atol=1e-5, rtol=1e-5)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_a_position_that_sees_nothing_is_finite(self, masked, architecture):
        encoder = build(masked[architecture])
        ids = torch.randint(5, encoder.vocabulary, (1, 5))
        assert torch.isfinite(encoder.hidden(ids, torch.zeros(1, 5, 5))).all()

    @pytest.mark.parametrize("architecture", ["mpnet", "deberta-v2"])
    def test_positions_are_refused_where_only_distances_count(self, masked, architecture):
        ids = torch.full((1, 3), 5)
        with pytest.raises(ModelError, match="takes no positions"):
            build(masked[architecture]).hidden(ids, torch.ones(1, 3), positions=torch.zeros(1, 3, dtype=torch.long))

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_vectors_stand_in_the_place_of_words(self, masked, architecture):
        encoder = build(masked[architecture])
        ids, mask = torch.tensor([[2, 5, 6, 3], [2, 7, 8, 3]]), torch.ones(2, 4)
        at = (torch.tensor([0, 1]), torch.tensor([2, 1]))
        other = ids.clone()
        other[at] = torch.tensor([9, 10])
        with torch.no_grad():
            wanted = encoder.hidden(other, mask)
            found = encoder.hidden(ids, mask, vectors=encoder.embed(other)[at], at=at)
        torch.testing.assert_close(found, wanted)
        assert not torch.allclose(found, encoder.hidden(ids, mask))

    def test_vectors_receive_gradients_through_a_frozen_encoder(self, masked):
        encoder = build(masked["bert"], tune="frozen").train()
        vectors = torch.zeros(1, encoder.embedding_dim, requires_grad=True)
        hidden = encoder.hidden(torch.full((1, 4), 5), torch.ones(1, 4), vectors=vectors, at=(torch.tensor([0]), torch.tensor([1])))
        encoder.logits(hidden[:, 3])[:, 7].sum().backward()
        assert vectors.grad is not None
        assert vectors.grad.abs().sum() > 0

    def test_vectors_without_places_are_refused(self, masked):
        encoder = build(masked["bert"])
        with pytest.raises(ConfigError, match="give both or neither"):
            encoder.hidden(torch.full((1, 3), 5), torch.ones(1, 3), vectors=torch.zeros(1, 32))


class TestSoftTokens:
    @pytest.mark.parametrize("architecture", ["bert", "electra"])
    def test_ids_go_on_and_the_word_embeddings_stay(self, masked, architecture):
        encoder = build(masked[architecture], tune="frozen")
        words = encoder.model.get_input_embeddings().weight.detach().clone()
        first, second = encoder.add_soft_tokens(2, initial=[6, 7]), encoder.add_soft_tokens(3)
        assert [*first, *second] == list(range(encoder.vocabulary, encoder.vocabulary + 5))
        torch.testing.assert_close(encoder.embed(torch.from_numpy(first)[None])[0], words[[6, 7]])
        optimizer = torch.optim.SGD([p for p in encoder.parameters() if p.requires_grad], lr=1.0)
        hidden = encoder.train().hidden(torch.tensor([[2, int(first[0]), int(second[1]), 4, 3]]), torch.ones(1, 5))
        encoder.logits(hidden[:, 3])[:, 8].sum().backward()
        before = encoder.soft_embeddings.detach().clone()
        optimizer.step()
        moved = (encoder.soft_embeddings != before).any(1)
        assert moved.tolist() == [True, False, False, True, False]
        torch.testing.assert_close(encoder.model.get_input_embeddings().weight, words, rtol=0, atol=0)

    def test_a_soft_token_made_from_a_word_reads_as_that_word(self, masked):
        encoder = build(masked["bert"])
        soft = int(encoder.add_soft_tokens(1, initial=[9])[0])
        with torch.no_grad():
            found = encoder.hidden(torch.tensor([[2, soft, 3]]), torch.ones(1, 3))
            torch.testing.assert_close(found, encoder.hidden(torch.tensor([[2, 9, 3]]), torch.ones(1, 3)))

    def test_random_ones_follow_the_callers_generator_and_the_word_embeddings(self, masked):
        tables = []
        for _ in range(2):
            encoder = build(masked["bert"])
            torch.manual_seed(3)
            encoder.add_soft_tokens(4000)
            tables.append(encoder.soft_embeddings.detach())
        assert torch.equal(*tables)
        words = encoder.model.get_input_embeddings().weight.detach()
        torch.testing.assert_close(tables[0].mean(0), words.mean(0), atol=0.05, rtol=0)
        torch.testing.assert_close(tables[0].std(0), words.std(0), atol=0.05, rtol=0.1)

    @pytest.mark.parametrize(("n", "initial", "said"), [(2, [5], "one token for each"), (1, [10**6], "from token ids 0 to")])
    def test_wrong_beginnings_are_refused(self, masked, n, initial, said):
        with pytest.raises(ConfigError, match=said):
            build(masked["bert"]).add_soft_tokens(n, initial=initial)


class TestDepth:
    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    @pytest.mark.parametrize("tune", ["frozen", "last:1", "lora", "full"])
    def test_the_head_is_tuned_wherever_the_encoder_is(self, masked, architecture, tune):
        encoder = build(masked[architecture], tune=tune)
        tuned = {id(parameter) for parameter in encoder.encoder_parameters()}
        head = {id(parameter) for parameter in head_parameters(encoder.model)}
        assert head
        assert head <= tuned if tune != "frozen" else not tuned
        # The decoder is the word embeddings: what does not tune these must not tune it either.
        assert (id(encoder.model.get_input_embeddings().weight) in tuned) == (tune == "full")

    def test_soft_tokens_are_not_the_encoders(self, masked):
        encoder = build(masked["bert"], tune="full")
        encoder.add_soft_tokens(2)
        assert id(encoder.soft_embeddings) not in {id(parameter) for parameter in encoder.encoder_parameters()}
        assert encoder.soft_embeddings.requires_grad

    def test_dropout_is_the_tuned_parts_alone(self, masked):
        encoder = build(masked["bert"], tune="last:1").train()
        layers = encoder.base.encoder.layer
        assert layers[1].output.dropout.training
        assert not layers[0].output.dropout.training
        assert not build(masked["bert"], tune="frozen").train().base.embeddings.dropout.training
        assert not encoder.eval().base.encoder.layer[1].output.dropout.training


class TestLoading:
    def test_the_length_is_lowered_to_the_positions(self, masked):
        assert build(masked["bert"]).config.max_length == 64
        assert build(masked["roberta"]).config.max_length == 63
        assert build(masked["bert"], max_length=20).config.max_length == 20

    def test_an_encoder_without_head_says_how_to_make_one(self, tiny):
        with pytest.raises(MissingHeadError, match=r"bertrec encoder adapt-mlm DATA --encoder .* --out FOLDER"):
            build(tiny)

    @pytest.mark.parametrize("architecture", ARCHITECTURES)
    def test_a_new_head_is_tied_and_neutral(self, folders, architecture, texts):
        encoder = build(folders[architecture], new_head=True, tune="frozen")
        words = encoder.model.get_input_embeddings().weight
        ids, mask = padded(encoder, texts)
        with torch.no_grad():
            hidden = encoder.hidden(ids, mask)[mask.bool()]
            narrow = torch.nn.functional.gelu(hidden[:, : encoder.embedding_dim])
            wanted = torch.nn.functional.layer_norm(narrow, narrow.shape[1:]) @ words.T
        torch.testing.assert_close(encoder.logits(hidden), wanted, atol=1e-3, rtol=1e-3)
        plain = TextEncoder.from_config(EncoderConfig(name=folders[architecture], precision="fp32", max_length=20))
        torch.testing.assert_close(hidden, plain.model(input_ids=ids, attention_mask=mask).last_hidden_state[mask.bool()])

    def test_loading_leaves_the_callers_random_numbers_alone(self, tiny):
        state = torch.random.get_rng_state()
        build(tiny, new_head=True)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_other_faults_are_named(self, masked, tiny, texts, tmp_path):
        with pytest.raises(ModelError, match="does not exist"):
            build(tmp_path / "absent")
        mixed = shutil.copytree(masked["bert"], tmp_path / "mixed")
        shutil.copy(f"{masked['roberta']}/model.safetensors", mixed / "model.safetensors")
        with pytest.raises(ModelError, match="has no weights for bert"):
            build(mixed)
        pickled = shutil.copytree(masked["bert"], tmp_path / "pickled")
        (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
        with pytest.raises(ModelError, match="safetensors"):
            build(pickled)
        foreign = tmp_path / "albert"
        tiny_tokenizer(texts).save_pretrained(foreign)
        transformers.AlbertConfig(hidden_size=16, num_attention_heads=2).save_pretrained(foreign)
        with pytest.raises(ModelError, match="unknown architecture for a masked-language-model head 'albert'"):
            build(foreign)

    def test_a_tokenizer_without_mask_cannot_ask(self, masked, tmp_path):
        folder = shutil.copytree(masked["bert"], tmp_path / "maskless")
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        settings.pop("mask_token")
        (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        with pytest.raises(ModelError, match="has no mask token"):
            build(folder)


class TestSaving:
    @pytest.mark.parametrize(
        ("architecture", "tune"),
        [("bert", "frozen"), ("bert", "lora"), ("modernbert", "lora"), *((name, "full") for name in ARCHITECTURES)],
    )
    def test_a_trained_encoder_comes_back_unchanged(self, masked, architecture, tune, tmp_path, texts):
        encoder = build(masked[architecture], tune=tune).train()
        soft = encoder.add_soft_tokens(2)
        optimizer = torch.optim.AdamW([p for p in encoder.parameters() if p.requires_grad], lr=0.01)
        ids = torch.tensor([[2, int(soft[0]), 6, 4, 3]])
        for _ in range(2):  # The first step of LoRA moves B alone.
            optimizer.zero_grad()
            encoder.logits(encoder.hidden(ids, torch.ones(1, 5))[:, 3])[:, 7].sum().backward()
            optimizer.step()
        encoder.eval().save(tmp_path / "saved")
        state = torch.random.get_rng_state()
        loaded = MaskedEncoder.load(tmp_path / "saved")
        assert torch.equal(torch.random.get_rng_state(), state)
        assert loaded.config == encoder.config
        assert loaded.fingerprint == encoder.fingerprint
        assert torch.equal(loaded.soft_embeddings, encoder.soft_embeddings)
        torch.testing.assert_close(all_logits(loaded, texts), all_logits(encoder, texts), rtol=0, atol=0)
        assert [n for n, p in loaded.named_parameters() if p.requires_grad] == [n for n, p in encoder.named_parameters() if p.requires_grad]
        if tune != "lora":  # then it is a plain folder
            theirs, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "saved", output_loading_info=True)
            assert not info["missing_keys"]
            ids, mask = padded(encoder, texts)
            wanted = theirs.eval()(input_ids=ids, attention_mask=mask).logits[mask.bool()]
            torch.testing.assert_close(all_logits(build(tmp_path / "saved"), texts), wanted, atol=1e-4, rtol=1e-4)

    def test_the_fingerprint_follows_every_part(self, masked):
        encoder = build(masked["bert"])
        seen = {encoder.fingerprint}
        encoder.add_soft_tokens(1, initial=[5])
        seen.add(encoder.fingerprint)
        with torch.no_grad():
            encoder.soft_embeddings[0, 0] += 1
        seen.add(encoder.fingerprint)
        with torch.no_grad():
            encoder.model.cls.predictions.bias[0] += 1
        seen |= {encoder.fingerprint, build(masked["bert"], max_length=9).fingerprint}
        assert len(seen) == 5

    def test_what_is_known_of_the_head_travels(self, masked, tmp_path):
        encoder = build(masked["bert"])
        assert encoder.head_note is None
        encoder.head = HeadRecord("영화", 9, 1, 812.3, 41.0, new=True, settings={"epochs": 3})
        encoder.save(tmp_path / "saved")
        note = "masked-language-model head trained by bertrec on 영화, perplexity 812.3 -> 41"
        assert MaskedEncoder.load(tmp_path / "saved").head_note == note
        assert build(tmp_path / "saved").head_note == note
        assert build(tmp_path / "saved", new_head=True).head_note is None

    @pytest.mark.parametrize("name", ["model.safetensors", "soft-tokens.safetensors", "config.json", "tokenizer.json"])
    @pytest.mark.parametrize("fault", ["missing", "damaged"])
    def test_a_saved_folder_is_checked_file_by_file(self, masked, tmp_path, name, fault):
        encoder = build(masked["bert"])
        encoder.add_soft_tokens(1)
        encoder.save(tmp_path / "saved")
        path = tmp_path / "saved" / name
        if fault == "missing":
            path.unlink()
        else:
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
        for read in (MaskedEncoder.load, build):
            with pytest.raises(ModelError, match=f"{name} is {fault}"):
                read(tmp_path / "saved")

    @pytest.mark.parametrize("content", ["[]", "{", '{"format": 1}', '{"format": 2}'])
    def test_a_damaged_manifest_is_an_error(self, masked, tmp_path, content):
        build(masked["bert"]).save(tmp_path / "saved")
        (tmp_path / "saved" / "masked.json").write_text(content)
        with pytest.raises(ModelError, match=r"masked\.json"):
            MaskedEncoder.load(tmp_path / "saved")

    def test_a_folder_that_holds_something_else_is_not_replaced(self, masked, tmp_path):
        (tmp_path / "letters.txt").write_text("dear")
        with pytest.raises(Exception, match="holds something else"):
            build(masked["bert"]).save(tmp_path)

    @pytest.mark.parametrize("architecture", ["bert", "modernbert"])
    @pytest.mark.parametrize("tune", ["frozen", "full", "lora"])
    def test_training_goes_on_from_merged_lora(self, masked, architecture, tune, tmp_path, texts):
        first = build(masked[architecture], tune="lora")
        with torch.no_grad():
            for name, parameter in first.named_parameters():
                if ".lora_" in name:
                    parameter.normal_(0, 0.3)
        first.save(tmp_path / "first")
        second = build(tmp_path / "first", tune=tune)
        torch.testing.assert_close(all_logits(second, texts), all_logits(first, texts), atol=1e-4, rtol=1e-4)
        assert any(".lora_" in name for name, _ in second.named_parameters()) == (tune == "lora")
        assert not torch.allclose(all_logits(build(masked[architecture]), texts), all_logits(first, texts), atol=1e-2)
        with pytest.raises(ModelError, match="beside a head of its own"):
            MaskedEncoder.from_config(second.config.updated({"name": str(tmp_path / "first")}), new_head=True)


def test_tokens_are_those_of_the_tokenizer(masked, texts):
    encoder = build(masked["bert"], max_length=6)
    rows = encoder.tokenize(texts)
    assert [row.tolist() for row in rows] == encoder.tokenizer(texts, truncation=True, max_length=6)["input_ids"]
    assert np.all(rows.lengths <= 6)
