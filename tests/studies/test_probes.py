from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_encoders import tiny_bert, tiny_masked, tiny_tokenizer

from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.item_labels import split_labels
from bertrec.encoders.masked.config import MaskedConfig
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.studies.probes import genre as probes_genre
from bertrec.studies.probes.figures import ranked_slice
from bertrec.studies.probes.genre import genre_probe, label_words, mask_logits
from bertrec.studies.probes.next_sentence import load_next_sentence, next_sentence_probe
from bertrec.studies.probes.pairs import FIRST, SECOND, step_queries, step_slice
from bertrec.studies.probes.report import verdict, write_probes
from bertrec.studies.probes.run import ProbeConfig, probe
from bertrec.studies.probes.similarity import similarity_probe, similarity_scores

COLOURS = ("red", "green", "blue", "빨강")
WORDS = 'it is a of the genre if you liked will also like movie item . , "'


@pytest.fixture(scope="module")
def catalog():
    rows = [(f"{colour}-{n}", f"{colour} thing{n}", f"{colour}, sci-fi") for colour in COLOURS for n in range(5)]
    return ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title", "genres"]))


@pytest.fixture(scope="module")
def interactions(catalog):
    """Users stay with one colour and walk through its items."""
    rows = [(f"u{u}", f"{COLOURS[u % 4]}-{(u // 4 + step) % 5}", step) for u in range(40) for step in range(3)]
    return Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog)


@pytest.fixture(scope="module")
def labels(catalog):
    return split_labels("genres", catalog.fields["genres"])


@pytest.fixture(scope="module")
def bare(tmp_path_factory, catalog):
    return tiny_bert(tmp_path_factory.mktemp("bare"), [*catalog.texts, WORDS])


@pytest.fixture(scope="module")
def masked_name(tmp_path_factory, catalog):
    return tiny_masked(tmp_path_factory.mktemp("masked"), [*catalog.texts, WORDS])


def test_figures_of_ranks_counted_by_hand():
    found = ranked_slice(Ragged.from_rows([[1, 4], [3]]), 5, (1, 3))
    assert found.values["Recall@1"].tolist() == [0.5, 0.0]
    assert found.values["Recall@3"].tolist() == [0.5, 1.0]
    assert found.values["MRR"].tolist() == [1.0, pytest.approx(1 / 3)]
    assert found.random["Recall@1"] == pytest.approx([0.2, 0.2])
    # One of five: mean of 1/r. Two of five: the best stands at r with probability (5 - r) / 10.
    assert found.random["MRR"] == pytest.approx([(4 / 1 + 3 / 2 + 2 / 3 + 1 / 4) / 10, (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5])
    part = found.to_json(bootstrap=100, seed=0)
    assert part["users"] == 2
    assert part["metrics"]["Recall@3"]["mean"] == 0.75


def test_ties_count_against_the_right_answer():
    assert step_slice(np.zeros((3, 5))).values["MRR"].tolist() == [0.2] * 3
    assert step_slice(np.array([[2.0, 1.0, 0.0]])).values["Recall@1"].tolist() == [1.0]


def test_a_query_is_the_last_step_and_its_negatives_were_never_had(interactions):
    queries = step_queries(interactions, candidates=5, seed=1)
    histories = {(int(row[-2]), int(row[-1])): set(row.tolist()) for row in interactions.sequences}
    assert len(queries.given) == 40
    for given, row in zip(queries.given.tolist(), queries.candidates.tolist(), strict=True):
        assert (given, row[0]) in histories
        assert not histories[given, row[0]] & set(row[1:])
        assert len(set(row)) == 5
    assert queries.popularity.sum() == 40 * 2  # the last item of each user is not counted
    again = step_queries(interactions, candidates=5, seed=1)
    assert again.candidates.tolist() == queries.candidates.tolist()
    assert len(step_queries(interactions, limit=7).given) == 7


def test_users_who_cannot_be_asked_are_counted(catalog):
    frame = pd.DataFrame({"user_id": ["a", "a", "b", "c", "c"], "item_id": ["red-0"] * 4 + ["red-1"], "timestamp": [1, 2, 1, 1, 2]})
    queries = step_queries(Interactions.from_frame(frame, catalog), candidates=5)
    assert len(queries.given) == 1
    assert queries.skipped == {"users without two different last items": 2, "users with too few other items": 0}
    with pytest.raises(DataError, match="enough items"):
        step_queries(Interactions.from_frame(frame, catalog), candidates=20)
    with pytest.raises(DataError, match="two items or more"):
        step_queries(Interactions.from_frame(frame[:3], catalog))


class ColourEncoder:
    """Vectors known by hand: one dimension per colour."""

    def encode(self, texts):
        return np.array([[float(f'"{colour} ' in text) for colour in COLOURS] for text in texts], np.float32)


def test_similarity_known_by_hand(catalog, interactions):
    queries = step_queries(interactions, candidates=5)
    scores = similarity_scores(ColourEncoder(), catalog.titles, queries)
    same = (queries.candidates - 1) // 5 == ((queries.given - 1) // 5)[:, None]
    assert scores.tolist() == same.astype(float).tolist()
    assert scores[:, 0].min() == 1.0  # users stay with their colour


def test_the_probe_scores_halves_of_the_sentence_apart(catalog, interactions, bare):
    from bertrec.encoders.config import EncoderConfig
    from bertrec.encoders.text import TextEncoder

    queries = step_queries(interactions, limit=3)
    encoder = TextEncoder.from_config(EncoderConfig(name=bare, pooling="cls"))
    scores = similarity_scores(encoder, catalog.titles, queries)
    titles = [catalog.titles[row - 1] for row in queries.candidates[2]]
    first = encoder.encode([FIRST.format(catalog.titles[queries.given[2] - 1])])[0]
    assert scores[2] == pytest.approx(encoder.encode([SECOND.format(title) for title in titles]) @ first, rel=1e-5)
    found = similarity_probe(bare, catalog, queries)
    assert set(found.slices) == {"similarity, cls", "similarity, mean", "similarity, popularity instead"}
    assert found.slices["similarity, cls"].values["MRR"].tolist() == step_slice(scores).values["MRR"].tolist()


def test_label_words_are_single_pieces(masked_name):
    encoder = MaskedEncoder.from_config(MaskedConfig(name=masked_name, tune="frozen"))
    found = label_words(encoder, ["Red", "sci-fi", "nowhere", "빨강"])
    assert found[0] == encoder.tokenizer.convert_tokens_to_ids("red")
    assert found[1:3] == [-1, -1]
    assert found[3] == encoder.tokenizer.convert_tokens_to_ids("빨강")


def test_genre_ranks_are_those_of_the_plain_model(catalog, labels, masked_name):
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    encoder = MaskedEncoder.from_config(MaskedConfig(name=masked_name, tune="frozen"))
    found = genre_probe(encoder, catalog, labels, "movie")
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(masked_name).eval(), AutoTokenizer.from_pretrained(masked_name)
    words = tokenizer.convert_tokens_to_ids(list(COLOURS))
    assert sorted(found.about["label words"]) == sorted(COLOURS)
    for kind, text in (
        ("type I", "{} is a [MASK] movie."),
        ("type II", "{} is a movie of the [MASK] genre."),
        ("no item", "It is a movie of the [MASK] genre."),
    ):
        among, whole = [], []
        for row, title in enumerate(catalog.titles):
            inputs = tokenizer(text.format(title), return_tensors="pt")
            with torch.no_grad():
                logits = model(**inputs).logits[0, inputs["input_ids"][0].tolist().index(tokenizer.mask_token_id)]
            own = logits[words[row // 5]]
            among.append(1 / int((logits[words] >= own).sum()))
            whole.append(1 / int((logits >= own).sum()))
        assert found.slices[f"genre, {kind}, among labels"].values["MRR"] == pytest.approx(among)
        assert found.slices[f"genre, {kind}, in the vocabulary"].values["MRR"] == pytest.approx(whole)
    assert found.skipped["labels of several word pieces"] == 1
    assert found.head_note is None


def test_a_head_that_knows_the_genres_is_above_the_prior(catalog, labels, masked_name, monkeypatch):
    encoder = MaskedEncoder.from_config(MaskedConfig(name=masked_name, tune="frozen"))
    ids = encoder.tokenizer.convert_tokens_to_ids(list(COLOURS))

    def knowing(encoder, tokens):
        scores = np.zeros((len(tokens), encoder.vocabulary), np.float32)
        scores[:, ids] = [0.4, 0.3, 0.2, 0.1]  # the prior of the words: red first
        for row, sentence in enumerate(tokens):
            scores[row, [word for word in ids if word in sentence]] = 1.0
        return scores

    monkeypatch.setattr(probes_genre, "mask_logits", knowing)
    found = genre_probe(encoder, catalog, labels, "movie")
    for scope in ("among labels", "in the vocabulary"):
        assert found.slices[f"genre, type I, {scope}"].values["Recall@1"].tolist() == [1.0] * 20
        assert found.slices[f"genre, no item, {scope}"].values["Recall@1"].mean() == 0.25
        assert found.slices[f"genre, no item, {scope}"].values["MRR"].mean() == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert found.slices["genre, type I, among labels"].candidates == 4
    compared = {(metric, result.names): result for metric, result in found.comparisons(bootstrap=100, seed=0)}
    assert compared["Recall@1", ("genre, type I, among labels", "genre, no item, among labels")].difference == 0.75


def test_titles_that_hide_the_mask_are_counted(labels, masked_name):
    encoder = MaskedEncoder.from_config(MaskedConfig(name=masked_name, tune="frozen", max_length=20))
    titles = ["red thing1", "red " * 30, "[MASK] red", *["x"] * 17]
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": range(20), "title": titles}))
    found = genre_probe(encoder, catalog, labels, "movie")
    assert found.skipped["items whose sentence is too long or holds a mask of its own"] == 2
    assert found.slices["genre, type I, among labels"].queries == 18
    with pytest.raises(DataError, match="one word piece"):
        genre_probe(encoder, catalog, split_labels("genres", ["sci-fi"] * 20), "movie")


def test_mask_logits_keep_the_order_of_their_rows(masked_name):
    encoder = MaskedEncoder.from_config(MaskedConfig(name=masked_name, tune="frozen"))
    tokens = encoder.tokenize(["a long movie of the [MASK] genre", "[MASK] red", "blue is a [MASK] movie"])
    together = mask_logits(encoder, tokens)
    apart = np.concatenate([mask_logits(encoder, tokens.take([row])) for row in range(3)])
    assert together == pytest.approx(apart, abs=1e-4)


def trained_next_sentence(folder, catalog, *, steps=60):
    """Train a small head: whatever comes first, a second sentence about a red item follows, any other does not."""
    from transformers import BertConfig, BertForNextSentencePrediction

    tokenizer = tiny_tokenizer([*catalog.texts, WORDS])
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 64}
    quiet = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.2}
    model = BertForNextSentencePrediction(BertConfig(vocab_size=len(tokenizer), **sizes, **quiet))
    generator = np.random.default_rng(0)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(steps):
        first = generator.integers(0, 20, 48)
        second = np.where(generator.random(48) < 0.4, generator.integers(0, 5, 48), generator.integers(0, 20, 48))
        texts = [[text.format(catalog.titles[row]) for row in rows] for text, rows in ((FIRST, first), (SECOND, second))]
        inputs = tokenizer(*texts, padding=True, return_token_type_ids=True, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor((second >= 5).astype(int))).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def next_sentence_name(tmp_path_factory, catalog):
    return trained_next_sentence(tmp_path_factory.mktemp("nsp"), catalog)


def test_a_trained_next_sentence_head_finds_the_next_item(catalog, next_sentence_name):
    """Every user ends with a red item, so the head knows the answer but for other red items among the negatives."""
    rows = [(f"u{u}", item, step) for u in range(30) for step, item in enumerate((f"{COLOURS[1 + u % 3]}-{u % 5}", f"red-{u // 3 % 5}"))]
    world = Interactions.from_frame(pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]), catalog)
    queries = step_queries(world, candidates=5)
    found = next_sentence_probe(next_sentence_name, catalog, queries)
    alone = (queries.candidates <= 5).sum(axis=1) == 1
    assert alone.sum() > 5
    assert found.slices["next sentence"].values["Recall@1"][alone].tolist() == [1.0] * int(alone.sum())
    reds = (queries.candidates <= 5).sum(axis=1)
    assert (found.slices["next sentence"].values["MRR"] >= 1 / reds).all()
    assert found.slices["next sentence"].random["MRR"].mean() == pytest.approx(137 / 300)


@pytest.mark.parametrize("kind", ["bare", "masked_name"])
def test_an_encoder_without_the_head_is_said_to_have_none(kind, request):
    with pytest.raises(ModelError, match="no next-sentence head"):
        load_next_sentence(request.getfixturevalue(kind))


def test_an_encoder_of_another_architecture_has_none(tmp_path, catalog):
    name = tiny_masked(tmp_path, catalog.texts, architecture="roberta")
    with pytest.raises(ModelError, match="architecture"):
        load_next_sentence(name)


def test_all_probes_and_what_is_not_available(interactions, labels, bare, masked_name, tmp_path):
    config = ProbeConfig(domain="movie", bootstrap=50)
    found = probe(masked_name, interactions, labels, config)
    assert {name: part["status"] for name, part in found["probes"].items()} == {"genre": "ok", "nsp": "not available", "similarity": "ok"}
    assert len(found["slices"]) == 6 + 3
    assert all(part["p_holm_above_random"].keys() == part["metrics"].keys() for part in found["slices"].values())
    assert "Not available: next sentence" in verdict(found)
    json.dumps(found, allow_nan=False)
    again = probe(masked_name, interactions, labels, config)
    assert {**again, "seconds": 0} == {**found, "seconds": 0}
    write_probes(found, tmp_path)
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "genre, type II, among labels" in page
    assert "has no next-sentence head" in page
    assert "adapt-mlm" in probe(bare, interactions, labels, config)["probes"]["genre"]["reason"]
    with pytest.raises(ModelError, match="next-sentence"):
        probe(bare, interactions, labels, ProbeConfig(probes=("nsp",)))
    assert "label-field" in probe(masked_name, interactions, None, config)["probes"]["genre"]["reason"]
    pieces = probe(masked_name, interactions, split_labels("genres", ["sci-fi"] * 20), config)["probes"]
    assert "one word piece" in pieces["genre"]["reason"]
    assert pieces["similarity"]["status"] == "ok"
    with pytest.raises(ConfigError, match="did you mean 'genre'"):
        probe(bare, interactions, labels, ProbeConfig(probes=("genr",)))


def test_a_head_that_bertrec_trained_is_named_beside_its_figures(interactions, labels, masked_name, tmp_path, monkeypatch):
    monkeypatch.setattr(MaskedEncoder, "head_note", property(lambda self: "head trained by bertrec on the test"))
    found = probe(masked_name, interactions, labels, ProbeConfig(probes=("genre", "similarity"), bootstrap=0))
    write_probes(found, tmp_path)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| genre, ") and "Recall@1" in line and "random" not in line]
    assert rows
    assert sum("head trained by bertrec on the test" in line for line in rows) >= 6
    assert not any("head trained" in line for line in text.splitlines() if line.startswith("| similarity"))


def write_films(folder, catalog):
    folder.mkdir()
    items = [f'{row},{title},"{kind}"' for row, (title, kind) in enumerate(zip(catalog.titles, catalog.fields["genres"], strict=True))]
    (folder / "items.csv").write_text("\n".join(["item_id,title,genres", *items]) + "\n", encoding="utf-8")
    rows = [f"{user},{(user + step) % 20},{step}" for user in range(20) for step in range(3)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n", encoding="utf-8")
    return str(folder)


def test_the_command(catalog, masked_name, tmp_path, capsys):
    data, out, figures = write_films(tmp_path / "films", catalog), tmp_path / "report", tmp_path / "probes.json"
    words = ["probe", data, "--encoder", masked_name, "--bootstrap", "20", "--domain", "movie"]
    assert main([*words, "--out", str(out), "--json", str(figures)]) == 0
    printed = capsys.readouterr()
    assert "genre, type I, among labels" in printed.out
    assert "next sentence: not available" in printed.out
    assert "1 labels of several word pieces" in printed.err
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert {"protocol", "slices", "seconds"} < set(found)
    assert found["protocol"]["label_field"] == "genres"
    assert (out / "index.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--probes", "genres"], "did you mean 'genre'"),
        (["--label-field", "genre"], "did you mean 'genres'"),
        (["--probes", "nsp"], "no next-sentence head"),
        (["--probes", " "], "no probe was asked for"),
        (["--encoder", "/no/such"], "does not exist"),
        (["--candidates", "21", "--probes", "similarity"], "enough items"),
    ],
)
def test_bad_options_are_one_line(catalog, masked_name, tmp_path, capsys, words, said):
    data = write_films(tmp_path / "films", catalog)
    assert main(["probe", data, "--encoder", masked_name, *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
