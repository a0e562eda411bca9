"""Co-matching of reviews: the formula by hand, that it learns what only reviews say, and what it must not read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from planted_reviews import TITLES, WORDS, planted
from tiny_encoders import tiny_bert

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.rankers.base import Ranker
from bertrec.rankers.context import Context, Known
from bertrec.rankers.names import RANKERS
from bertrec.rankers.reviewed.network import CoMatching
from bertrec.rankers.reviewed.ranker import UBERT


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return tiny_bert(tmp_path_factory.mktemp("bert"), [*TITLES, "it is", *WORDS])


def ubert(encoder, **more):
    train = {"train.epochs": 25, "train.batch_size": 16, "train.learning_rate": 1e-2}
    return UBERT.configured(settings={**train, "encoder.name": encoder, "width": 32, "dropout": 0.0, "negatives": 0, **more})


def suited(rows, seed):
    """Rows of two candidates: the click is the item of which somebody wrote, just before, what the user writes of items."""
    draw = np.random.default_rng(seed)
    catalog = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"i{n}" for n in range(12)], "title": TITLES}))
    met, histories, candidates, labels, names = [], [], [], [], [f"{seed}-{row}" for row in range(rows)]
    moments = 1000.0 * (1 + np.arange(rows))
    for name, moment in zip(names, moments, strict=True):
        taste, (first, good, bad) = draw.integers(0, 2), draw.permutation(12)[:3]
        met.append((name, f"i{first}", moment - 9, f"it is {WORDS[taste]}"))
        met += [(f"other {name}", f"i{item}", moment - 5, f"it is {WORDS[word]}") for item, word in ((good, taste), (bad, 1 - taste))]
        histories.append([first + 1])
        order = draw.permutation(2)
        candidates.append([(good + 1, bad + 1)[at] for at in order])
        labels += [int(at == 0) for at in order]
    past = Interactions.from_frame(pd.DataFrame(met, columns=["user_id", "item_id", "timestamp", "text"]), catalog)
    labelled = np.array(labels, np.int8)
    shown = Impressions(catalog, names, list(names), *map(Ragged.from_rows, (histories, candidates)), labelled, moments)
    return shown, Known(past=past)


@pytest.fixture(scope="module")
def fitted(encoder):
    train, known = suited(160, 0)
    return ubert(encoder, negatives=1, item_reviews=1, loss="pairwise").fit(train, known=known, progress=False)


def test_it_learns_what_reviews_of_both_sides_say_and_nothing_else_does(fitted):
    test, known = suited(60, 2)
    assert fitted.figures(test, known=known)["AUC"] > 0.9
    assert abs(fitted.figures(test)["AUC"] - 0.5) < 0.25
    half = replace(known.past, text=["" if user.startswith("other") else text for user, text in written(known.past)])
    assert abs(fitted.figures(test, known=Known(past=half))["AUC"] - 0.5) < 0.25


def written(past):
    return zip([past.users.ids[row] for row in past.sequences.rows], past.text, strict=True)


def test_the_review_of_a_scored_pair_tells_all_where_it_is_handed_over_and_is_not_read_by_us(encoder):
    (train, known), (test, later) = planted(96, seed=0), planted(64, seed=1)
    # On purpose: filed under the first item of the history, long before.
    past = {name: handed_over(one.past) for name, one in (("train", known), ("test", later))}
    leaky = ubert(encoder, item_reviews=0).fit(train, known=Known(past=past["train"]), progress=False)
    assert leaky.figures(test, known=Known(past=past["test"]))["AUC"] > 0.95
    ours = ubert(encoder).fit(train, known=Known(past=known.past), progress=False)
    assert abs(ours.figures(test, known=Known(past=later.past))["AUC"] - 0.5) < 0.2
    turned = replace(later.past, text=[f"it is {WORDS[0]}" if at % 4 == 3 else text for at, text in enumerate(later.past.text)])
    of_pair, of_others = (ours.score_impressions(test, known=Known(past=one)) for one in (turned, later.past))
    np.testing.assert_array_equal(of_pair, of_others)


def handed_over(past):
    return replace(past, text=[past.text[at + 3] if at % 4 == 0 else "" for at in range(len(past.text))])


def test_an_untrained_score_is_the_cosine_of_history_and_item(encoder):
    shown, known = suited(5, 3)
    model = ubert(encoder, scale=7.0, **{"train.learning_rate": 1e-9, "train.epochs": 1, "item_text": "title"})
    model.fit(shown, known=known, progress=False)
    vectors = model._items.numpy()
    of_history = vectors[shown.histories.values - 1][shown.candidates.rows]
    expected = 7 * (of_history * vectors[shown.candidates.values - 1]).sum(axis=1)
    assert model.score_impressions(shown, known=known) == pytest.approx(expected, abs=1e-4)


def test_co_matching_by_hand():
    torch.manual_seed(0)
    network = CoMatching(4, 3, dropout=0.0, loss="pointwise", scale=2.0)
    for weight in network.parameters():
        torch.nn.init.normal_(weight)
    network.eval()
    history, item, review, own = torch.randn(4, 4)
    said, mask = torch.stack([torch.zeros(4), own])[None], torch.tensor([[False, True]])
    with torch.no_grad():
        found = network.scores(history[None], said, mask, item[None, None], review[None, None, None], torch.tensor([[[True]]]))
        users = [network.project(history) + network.kinds[0], network.project(own) + network.kinds[2]]
        items = [network.project(item) + network.kinds[3], network.project(review) + network.kinds[4]]
        root = 3**0.5

        def mix(query, members):
            weights = torch.stack([query @ one / root for one in members]).softmax(0)
            return sum(weight * one for weight, one in zip(weights, members, strict=True))

        def match(own, other):
            return torch.relu(network.matched(torch.cat([own, other, own - other, own * other])))

        back = network.across.weight
        of_user = sum(match(one, mix(back @ one, items)) for one in users) / 2
        of_item = sum(match(one, mix(back.T @ one, users)) for one in items) / 2
        user, its = mix(network.user_query(users[0]), users), mix(network.item_query(items[0]), items)
        wanted = network.last(torch.relu(network.hidden(torch.cat([user, its, user * its, of_user, of_item]))))
        cosine = torch.cosine_similarity(history, item, dim=0)
    assert found.item() == pytest.approx((network.scale.exp() * cosine + wanted).item(), abs=1e-4)


def test_scores_do_not_depend_on_the_batch(fitted):
    test, known = suited(6, 2)
    whole = fitted.score_impressions(test, known=known)
    alone = np.concatenate([fitted.score_impressions(test.take([row]), known=known) for row in range(6)])
    assert whole == pytest.approx(alone, abs=1e-4)


def test_a_saved_ranker_scores_as_before_and_holds_no_text_or_id_of_a_user(fitted, tmp_path):
    test, known = suited(6, 2)
    fitted.save_pretrained(tmp_path / "saved")
    again = Ranker.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(again.score_impressions(test, known=known), fitted.score_impressions(test, known=known))
    kept = b"".join(file.read_bytes() for file in (tmp_path / "saved").rglob("*") if file.is_file())
    assert b"it is lovely" not in kept
    assert b"other 0-1" not in kept


def test_strangers_reviews_without_dates_and_profiles_of_nobody(fitted):
    test, known = suited(4, 2)
    blind = fitted.score(test.histories, test.candidates)
    strangers = Context(["a", "b", "c", "d"], None, known)  # no clock: of items nothing is read, and strangers wrote nothing
    assert fitted.score(test.histories, test.candidates, context=strangers) == pytest.approx(blind, abs=1e-6)
    undated = Context(test.users, None, Known(past=replace(known.past, timestamp=None)))
    assert abs(fitted.score(test.histories, test.candidates, context=undated) - blind).max() > 1e-4  # what goes with the history
    nobody = Context(test.users, test.timestamp, Known(planted(1, 0)[1].users))
    assert fitted.score(test.histories, test.candidates, context=nobody) == pytest.approx(blind, abs=1e-6)


def test_other_items_are_read_anew(fitted, encoder):
    test, _ = suited(2, 2)
    turned = ItemCatalog.from_frame(pd.DataFrame({"item_id": [f"j{n}" for n in range(12)], "title": TITLES[::-1]}))
    before = fitted.score(test.histories, test.candidates)
    mirrored = [Ragged(13 - rows.values, rows.offsets) for rows in (test.histories, test.candidates)]
    assert fitted.prepare(turned).score(*mirrored) == pytest.approx(before, abs=1e-5)
    fitted.prepare(test.catalog)


def test_what_cannot_be_is_said(encoder, tmp_path):
    test, known = suited(2, 2)
    with pytest.raises(ModelError, match="not fitted"):
        ubert(encoder).score(test.histories, test.candidates)
    with pytest.raises(ConfigError, match="stays frozen"):
        ubert(encoder, **{"encoder.tune": "full"})
    with pytest.raises(ConfigError, match="holds vectors of items alone"):
        ubert(str(tmp_path / "vectors.parquet"))
    with pytest.raises(DataError, match="no labels"):
        ubert(encoder).fit(replace(test, labels=None), known=known)
    with pytest.raises(ConfigError, match="a study keeps none"):
        UBERT.check_search(UBERT.config_from())
    assert RANKERS.find("ubert") is UBERT
