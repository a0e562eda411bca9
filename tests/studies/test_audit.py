from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_encoders import tiny_bert

from bertrec.cli.main import main
from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.interactions import Interactions
from bertrec.data.item_labels import ItemLabels, label_field, price_levels, read_column, split_labels
from bertrec.encoders.config import EncoderConfig
from bertrec.encoders.text import TextEncoder
from bertrec.models.registry import create
from bertrec.studies.audit.lists import PACKAGED, Attribute, AuditLists, read_lists
from bertrec.studies.audit.rank import encoder_rank, recommender_rank
from bertrec.studies.audit.report import verdict, write_audit
from bertrec.studies.audit.requests import fill, filled_requests, masked
from bertrec.studies.audit.run import NO_PRICES, AuditConfig, audit
from bertrec.studies.audit.shift import compare_groups, total_variation

WORDS = {"a": tuple(f"anna{n}" for n in range(8)), "b": tuple(f"bert{n}" for n in range(8))}
LISTS = AuditLists(
    {"person": ("a {domain} for {word}?", "{word} wants a {domain}.")},
    {"name": Attribute(templates="person", neutral="someone", groups=WORDS)},
    "the test",
)
# Items 1-5 are love stories and cheap, 6-10 war films and dear.
LABELS = split_labels("genres", ["Love"] * 5 + ["War"] * 5)
PRICES = np.array([1] * 5 + [4] * 5)
SMALL = AuditConfig(domain="film", k=4, permutations=999, bootstrap=200)


def biased(texts, k):
    """Groups and items of one kind go together, but for one item of the other kind."""
    rows = [[1, 2, 3, 6] if "anna" in text.lower() else [7, 8, 9, 4] for text in texts]
    return np.array(rows)[:, :k]


def noisy(texts, k):
    """Every request is another, and none knows of a group: the list depends on the digit and the template, which both groups share."""
    rows = []
    for text in texts:
        digit = sum(map(ord, text[-8:].lower().replace("anna", "").replace("bert", "")))
        rows.append(np.random.default_rng(digit).permutation(10)[:k] + 1)
    return np.array(rows)


def test_a_planted_bias_is_found_with_the_distance_known_beforehand_and_masking_hides_it():
    found = audit(biased, LABELS, LISTS, SMALL, prices=PRICES)
    by_measure = {row["measure"]: row for row in found["shifts"]}
    assert set(by_measure) == {"categories", "price level"}
    for row in by_measure.values():
        assert row["distance"] == pytest.approx(0.5)  # 3/4 love against 1/4 love
        assert row["ci95"] == pytest.approx([0.5, 0.5])  # all words of a group are alike
        assert row["shown"]
        assert row["p"] < 0.01
        assert row["by_chance"] < 0.2
        assert row["masked"]["distance"] == 0.0
        assert row["masked"]["p"] == 1.0
        assert not row["masked"]["shown"]
    love = next(row for row in found["differences"] if row["column"] == "Love")
    assert love["difference"] == pytest.approx(0.5)
    assert love["shown"]
    levels = {row["group"]: row["mean_level"] for row in found["means"] if row["measure"] == "price level"}
    assert levels == {"a": pytest.approx(0.75 * 1 + 0.25 * 4), "b": pytest.approx(0.25 * 1 + 0.75 * 4)}
    assert "2 of 2 comparisons" in verdict(found)
    # The neutral request goes to the second list: group a keeps none of its items, group b all.
    assert found["masking"] == [{"attribute": "name", "neutral": "someone", "kept": pytest.approx(0.5)}]


def test_a_symmetric_world_shows_nothing():
    found = audit(noisy, LABELS, LISTS, SMALL, prices=PRICES)
    assert not any(row["shown"] for row in [*found["shifts"], *found["differences"]])
    assert verdict(found).startswith("None of 2 comparisons")


def test_a_ranking_that_does_not_read_names_has_no_shift_at_all():
    found = audit(lambda texts, k: np.tile(np.arange(1, k + 1), (len(texts), 1)), LABELS, LISTS, SMALL)
    assert [row["distance"] for row in found["shifts"]] == [0.0]
    assert found["shifts"][0]["p"] == 1.0
    assert found["masking"][0]["kept"] == 1.0
    assert found["protocol"]["prices"] == NO_PRICES


def test_the_audit_is_deterministic_and_json():
    first, second = (audit(noisy, LABELS, LISTS, SMALL, prices=PRICES) for _ in range(2))
    first.pop("seconds"), second.pop("seconds")
    assert json.dumps(first, allow_nan=False) == json.dumps(second, allow_nan=False)


def test_a_request_whose_items_have_no_label_counts_in_no_mean():
    labels = ItemLabels("genres", ["Love"], Ragged.from_rows([[0]] * 5 + [[]] * 5), None)
    rows = np.array([[6, 7], [1, 2]])
    found = audit(lambda texts, k: rows[[0 if text.startswith(("A ", "a ")) else 1 for text in texts]], labels, LISTS, SMALL)
    assert [row["shares"]["Love"] for row in found["means"]] == [1.0, 1.0]
    assert found["protocol"]["items_without_label"] == 5


def test_a_word_none_of_whose_items_has_a_price_is_left_out_of_the_prices_and_counted():
    prices = np.array([1] * 5 + [4] * 4 + [0])

    def rank(texts, k):
        rows = biased(texts, k)
        rows[["anna3" in text.lower() for text in texts]] = 10
        return rows

    found = audit(rank, LABELS, LISTS, SMALL, prices=prices)
    by_measure = {row["measure"]: row for row in found["shifts"]}
    assert by_measure["price level"]["words"] == [7, 8]
    assert by_measure["categories"]["words"] == [8, 8]
    assert by_measure["price level"]["distance"] == pytest.approx(0.5)  # 3/4 cheap against 1/4, as if anna3 were not listed
    assert [line for line in found["cautions"] if line.startswith("1 of 16 words are left out of 'price level'")]


def test_a_group_without_two_priced_words_is_not_compared(tmp_path):
    prices = np.array([0] * 5 + [4] * 4 + [0])
    found = audit(
        lambda texts, k: np.array([[1] if "anna" in text.lower() else [7] for text in texts]), LABELS, LISTS, SMALL, prices=prices
    )
    assert [row["measure"] for row in found["shifts"]] == ["categories"]
    assert [(row["measure"], row["group"]) for row in found["means"]] == [("categories", "a"), ("categories", "b"), ("price level", "b")]
    write_audit(found, tmp_path)


def test_few_words_are_said_to_show_nothing():
    groups = {name: words[:2] for name, words in WORDS.items()}
    lists = AuditLists(LISTS.templates, {"name": Attribute(templates="person", neutral="x", groups=groups)}, "the test")
    found = audit(biased, LABELS, lists, SMALL)
    assert found["shifts"][0]["smallest_p"] == pytest.approx(2 / 6)
    assert found["shifts"][0]["p"] == pytest.approx(2 / 6)
    assert any("could show nothing" in line for line in found["cautions"])


def test_the_permutation_test_counts_every_deal_of_a_small_one():
    profiles = np.array([[0.0], [0.1], [0.9], [1.0]])
    found = compare_groups(profiles[2:], profiles[:2], permutations=99)
    # Of six deals two separate as far, {2, 3} and its mirror {0, 1}; differences of means: ±0.9, ±0.1, 0, 0 -> distances are half.
    assert found.p == pytest.approx(2 / 6)
    assert found.distance == pytest.approx(0.45)
    assert found.by_chance == pytest.approx((0.45 * 2 + 0.05 * 2 + 0.0 * 2) / 6)
    assert found.differences == pytest.approx([0.9])


def test_random_deals_agree_with_all_of_them():
    generator = np.random.default_rng(3)
    first, second = generator.dirichlet(np.ones(3), 7), generator.dirichlet(np.array([2.0, 1, 1]), 7)
    exact, drawn = (compare_groups(first, second, permutations=count) for count in (3431, 3000))
    assert exact.smallest_p == pytest.approx(2 / 3432)
    assert drawn.smallest_p == pytest.approx(1 / 3001)
    assert drawn.p == pytest.approx(exact.p, abs=0.03)
    assert drawn.p_columns == pytest.approx(exact.p_columns, abs=0.03)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(0, 10_000))
def test_distances_are_symmetric_and_between_0_and_1(first, second, seed):
    generator = np.random.default_rng(seed)
    a, b = generator.dirichlet(np.ones(4), first), generator.dirichlet(np.ones(4), second)
    one, other = compare_groups(a, b, permutations=99, bootstrap=20), compare_groups(b, a, permutations=99, bootstrap=20)
    assert 0.0 <= one.distance <= 1.0
    assert one.distance == pytest.approx(other.distance)
    assert one.differences == pytest.approx(-other.differences)
    assert 0.0 < one.p <= 1.0
    assert total_variation(a - a).tolist() == [0.0] * first


@pytest.mark.parametrize(("first", "second"), [(np.ones((1, 2)), np.ones((3, 2))), (np.ones((3, 2)), np.ones((3, 1)))])
def test_groups_that_cannot_be_compared_are_an_error(first, second):
    with pytest.raises(DataError, match="two words or more"):
        compare_groups(first, second)
    with pytest.raises(DataError, match="not finite"):
        compare_groups(np.full((2, 1), np.nan), np.ones((2, 1)))


def test_the_packaged_lists_are_whole():
    lists = read_lists()
    assert {"couple", "religion", "location", "occupation"} < set(lists.attributes)
    for attribute in lists.attributes.values():
        assert min(map(len, attribute.groups.values())) >= 8
        assert len(lists.templates[attribute.templates]) >= 5
    assert "not census data" in PACKAGED.read_text(encoding="utf-8").splitlines()[0]
    for request in filled_requests(lists, "movie"):
        assert "{" not in request.text
        assert masked(request.text, lists.attributes[request.attribute]) == fill(
            lists.templates[lists.attributes[request.attribute].templates][request.template],
            lists.attributes[request.attribute].neutral,
            "movie",
        )


def test_masking_takes_whole_words_longest_first_in_any_script():
    attribute = Attribute(templates="x", neutral="someone", groups={"a": ("Ann", "Mary Ann"), "b": ("민수", "Иван")})
    assert masked("Anna met mary ann and Ann.", attribute) == "Anna met someone and someone."
    assert masked("민수에게 영화를", attribute) == "Someone에게 영화를"
    assert masked("Иванов и Иван", attribute) == "Иванов и someone"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attributes: [", "not readable YAML"),
        ("[]", "must hold 'attributes'"),
        ("templates: {a: ['{word}']}", "no attributes"),
        ("atributes: {}", "did you mean 'attributes'"),
        ("templates: {a: ['no blank']}\nattributes: {}", "write {word} once"),
        ("templates: {a: ['{word} {wrd}']}", "did you mean 'word'"),
        ("templates: {a: ['{word} {']}", "text 1"),
        ("templates: {a: []}", "empty"),
        ("attributes: {x: {templates: persn, neutral: s, groups: {a: [p, q], b: [r, s]}}}", "did you mean 'person'"),
        ("attributes: {x: {templates: person, neutral: s, groups: {a: [p, q]}}}", "two groups"),
        ("attributes: {x: {templates: person, neutral: s, groups: {a: [p], b: [r, s]}}}", "two words or more"),
        ("attributes: {x: {templates: person, neutral: s, groups: {a: [p, q], b: [P, s]}}}", "stands in 'a' and in 'b'"),
        ("attributes: {x: {templates: person, neutral: s, groups: {a: [p, ' '], b: [r, s]}}}", "empty word"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, said):
    path = write(tmp_path / "lists.yaml", text)
    with pytest.raises(ConfigError) as caught:
        read_lists(path)
    assert said in str(caught.value)
    assert "lists.yaml" in str(caught.value)


def test_own_templates_replace_the_packaged_ones(tmp_path):
    path = write(tmp_path / "mine.yaml", "templates: {person: ['{word}에게 {domain} 추천해 줘']}")
    lists = read_lists(templates=path)
    assert lists.templates["person"] == ("{word}에게 {domain} 추천해 줘",)
    assert lists.content_hash != read_lists().content_hash
    assert list(lists.only(["couple"]).attributes) == ["couple"]
    with pytest.raises(ConfigError, match="did you mean 'couple'"):
        lists.only(["cuple"])
    with pytest.raises(ConfigError, match="no such file"):
        read_lists(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_lists(tmp_path)


def test_labels_are_split_and_case_does_not_set_them_apart():
    labels = split_labels("genres", ["Drama, War", "war", "", "드라마"])
    assert labels.names == ["Drama", "War", "드라마"]
    assert [row.tolist() for row in labels.items] == [[0, 1], [1], [], [2]]
    assert labels.without == 1
    assert split_labels("class", ["Action Sci-Fi"], spaced=True).names == ["Action", "Sci-Fi"]
    assert split_labels("class", ["Power Tools"]).names == ["Power Tools"]
    with pytest.raises(DataError, match="--label-field"):
        split_labels("genres", ["", " "])
    with pytest.raises(DataError, match="--label-field"):
        label_field(ItemCatalog.from_frame(pd.DataFrame({"item_id": [1], "title": ["x"]})), None)


@pytest.mark.parametrize(
    ("column", "levels"),
    [
        (["$", "$$$$", "", "$$"], [1, 4, 0, 2]),
        (["1", "2", "3", "4"], [1, 2, 3, 4]),
        (["5", "5", "5", "5"], [1, 1, 1, 1]),
        (["12,99 €", "1.299,00 €", "2,000", "free"], [1, 2, 3, 0]),
    ],
)
def test_price_levels(column, levels):
    assert price_levels(column).tolist() == levels
    with pytest.raises(DataError, match="no price"):
        price_levels(["free", ""])


@pytest.fixture(scope="module")
def catalog():
    colours = ["red", "green", "빨강"]
    rows = [(f"{colour}-{n}", f"{colour} thing number{n}", colour, 10.0 * n) for colour in colours for n in range(4)]
    return ItemCatalog.from_frame(pd.DataFrame(rows, columns=["item_id", "title", "category", "price"]))


@pytest.fixture(scope="module")
def encoder_name(tmp_path_factory, catalog):
    return tiny_bert(tmp_path_factory.mktemp("encoder"), [*catalog.texts, "a for someone anna bert ?"])


def test_an_encoder_ranks_by_cosine(catalog, encoder_name):
    encoder = TextEncoder.from_config(EncoderConfig(name=encoder_name))
    texts = ["red thing number3 red", "빨강 thing number0 빨강"]
    best = encoder_rank(encoder, catalog)(texts, 12)
    items, requests = encoder.encode(catalog.texts), encoder.encode(texts)
    cosine = [[float(q @ v / np.linalg.norm(q) / np.linalg.norm(v)) for v in items] for q in requests]
    assert best.tolist() == (np.argsort(-np.array(cosine), axis=1) + 1).tolist()
    assert best[:, 0].tolist() == [4, 9]  # a request that is an item's text finds it


def test_a_trained_model_is_asked_as_by_a_history_of_one(catalog, encoder_name):
    users = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["red-0", "red-1"], "timestamp": [1, 2]})
    model = create("text-similarity", settings={"encoder.name": encoder_name}).fit(Interactions.from_frame(users, catalog), progress=False)
    texts = ["red thing number3 red", "a for anna"]
    encoder = TextEncoder.from_config(EncoderConfig(name=encoder_name))
    assert recommender_rank(model)(texts, 5).tolist() == encoder_rank(encoder, catalog)(texts, 5).tolist()
    assert recommender_rank(model)(texts, 50).shape == (2, 12)
    best = recommender_rank(model)(texts, 12)
    gone = replace(catalog, withdrawn=np.arange(12) == best[0, 0] - 1)
    assert recommender_rank(model.with_catalog(gone))(texts, 50).tolist() == [[item for item in row if item != best[0, 0]] for row in best]
    popular = create("popularity").fit(Interactions.from_frame(users, catalog))
    with pytest.raises(ModelError, match="cannot be asked in words"):
        recommender_rank(popular)(texts, 5)


def write_shop(folder):
    folder.mkdir()
    names = [("red kettle", "kitchen", 5), ("blue kettle", "kitchen", 7), ("oak shelf", "wood", 90), ("pine shelf", "wood", 60)]
    rows = [f"{n},{title},{kind},{price}" for n, (title, kind, price) in enumerate(names, start=1)]
    (folder / "items.csv").write_text("\n".join(["item_id,title,category,price", *rows]) + "\n", encoding="utf-8")
    pairs = [f"{user},{item},{item}" for user in range(3) for item in (1, 2, 3)]
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *pairs]) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return write_shop(tmp_path_factory.mktemp("data") / "shop")


def test_a_price_that_is_no_text_is_read_again(shop):
    from bertrec.data.load import LoadOptions, load

    catalog = load(shop).catalog
    assert "price" not in catalog.fields
    assert read_column(catalog, "price", str(shop), LoadOptions()) == ["5", "7", "90", "60"]
    with pytest.raises(DataError, match="pricey"):
        read_column(catalog, "pricey", str(shop), LoadOptions())


def test_the_command_writes_page_json_and_says_what_not_to_conclude(shop, encoder_name, tmp_path, capsys):
    out, figures = tmp_path / "report", tmp_path / "audit.json"
    words = ["audit", encoder_name, str(shop), "--attributes", "couple", "-k", "2", "--permutations", "99", "--bootstrap", "20"]
    assert main([*words, "--out", str(out), "--json", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert "same sex – opposite sex" in printed
    assert "not of harm" in printed
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert {row["measure"] for row in found["shifts"]} == {"categories", "price level"}
    assert found["protocol"]["domain"] == "item"
    assert found == json.loads((out / "audit.json").read_text(encoding="utf-8"))
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "Total variation" in page
    assert "not census data" in page


def test_a_run_is_audited_on_its_own_data(shop, encoder_name, tmp_path, capsys):
    run, figures = tmp_path / "run", tmp_path / "audit.json"
    train = ["train", str(shop), "--model", "text-similarity", "--max-words", "1", "--out", str(run)]
    assert main([*train, "--set", f"encoder.name={encoder_name}"]) == 0
    words = ["--attributes", "couple", "-k", "2", "--permutations", "99", "--bootstrap", "0", "--no-mask", "--json", str(figures)]
    assert main(["audit", str(run), *words]) == 0
    found = json.loads(figures.read_text(encoding="utf-8"))
    assert found["protocol"]["model"].startswith("text-similarity of ")
    assert found["protocol"]["prices"] == "4 of 4 items have one"
    assert main(["audit", str(run), str(shop), *words]) == 0
    again = json.loads(figures.read_text(encoding="utf-8"))
    assert again["shifts"] == found["shifts"]
    assert again["protocol"]["data_hash"] == found["protocol"]["data_hash"]  # one word of each, as for training
    capsys.readouterr()
    assert main(["audit", str(run), "--max-words", "3"]) == 2
    assert "reading options go with DATA" in capsys.readouterr().err


def test_the_page_without_masking_says_so(tmp_path):
    found = audit(biased, LABELS, LISTS, SMALL.model_copy(update={"mask": False}))
    assert "masked" not in found["shifts"][0]
    write_audit(found, tmp_path)
    assert "not repeated with masked words" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["minilm"], "name the data too"),
        (["no/such/encoder", "SHOP"], "encoder"),
        (["ENCODER", "SHOP", "--label-field", "categry"], "did you mean 'category'"),
        (["ENCODER", "SHOP", "--price-field", "cost"], "cost"),
        (["ENCODER", "SHOP", "--attributes", "religon"], "did you mean 'religion'"),
        (["ENCODER", "SHOP", "--lists", "/no/such.yaml"], "no such file"),
    ],
)
def test_bad_options_are_one_line(shop, encoder_name, capsys, words, said):
    named = [str(shop) if word == "SHOP" else encoder_name if word == "ENCODER" else word for word in words]
    assert main(["audit", *named]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
