"""Several tasks of one encoder, on planted texts in which the answer of each can be read."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_masked

from bertrec.core.errors import ConfigError, DataError, ModelError
from bertrec.core.ragged import Ragged
from bertrec.data.catalog import ItemCatalog, UserCatalog
from bertrec.data.ids import IdMap
from bertrec.data.impressions import Impressions
from bertrec.data.interactions import Interactions
from bertrec.encoders.masked.encoder import MaskedEncoder
from bertrec.rankers.context import Context, Known
from bertrec.rankers.contract import check_ranker
from bertrec.rankers.p5.figures import task_figures
from bertrec.rankers.p5.fill import Filler
from bertrec.rankers.p5.mixed import Mixed
from bertrec.rankers.p5.network import P5Network
from bertrec.rankers.p5.questions import Asked, Questions
from bertrec.rankers.p5.ranker import P5
from bertrec.rankers.p5.task import Task, library, load_tasks

COLOURS = ("red", "blue", "green", "gold")
TITLES = [f"{colour} {thing}" for colour in COLOURS for thing in ("car", "hat", "sea", "dog", "cup")]
TASKS = ("rating", "sequential", "direct", "review", "summary", "explanation")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    words = [*TITLES, "likes it is a thing bad poor fair good fine . ; yes no 1 2 3 4 5", *(Task.load(name).text for name in library())]
    return tiny_masked(tmp_path_factory.mktemp("masked"), words)


def world(n, seed=0):
    """Users like one colour, which their profile names; the click has it and gets 5, another item 1; reviews name the item's colour."""
    draw = np.random.default_rng(seed)
    catalog = ItemCatalog(IdMap([f"n{k}" for k in range(20)]), {"title": TITLES})
    users, histories, candidates, ratings, texts, profiles = [], [], [], [], [], []
    for user in range(n):
        colour = int(draw.integers(4))
        own = 5 * colour + 1 + draw.permutation(5)
        other = int(draw.choice([k for k in range(1, 21) if (k - 1) // 5 != colour]))
        users.append(f"u{user}")
        profiles.append(f"likes {COLOURS[colour]}")
        histories.append(own[: draw.integers(1, 4)])
        candidates.append([int(own[4]), other] if user % 2 else [other, int(own[4])])
        for item in candidates[-1]:
            named = COLOURS[(item - 1) // 5]
            liked = item == own[4]
            ratings.append(5.0 if liked else 1.0)
            texts.append(f"a {named} thing. it is {named} {'fine good' if liked else 'bad poor'}")
    labels = (np.array(ratings) > 3).astype(np.int8)
    shown = Impressions(catalog, users, users, Ragged.from_rows(histories), Ragged.from_rows(candidates), labels)
    past = Interactions(catalog, IdMap(users), shown.candidates, rating=np.array(ratings, np.float32), text=texts)
    return shown, Known(UserCatalog(IdMap(users), {"text": profiles}), past)


def settings(folder, **more):
    train = {"train.encoder_learning_rate": 2e-3, "train.learning_rate": 2e-3, "train.batch_size": 32, "train.epochs": 8}
    return {"encoder.name": folder, "encoder.max_length": 60, "negatives": 0, "drawn": 1, **train, **more}


def frozen(folder, tasks, **more):
    return P5.configured(settings=settings(folder, **{"tasks": tasks, "share": 0.05, "train.epochs": 1, **more}))


@pytest.fixture(scope="module")
def shared(folder):
    """All tasks learned by a whole encoder; treat it as read-only."""
    shown, known = world(200)
    tuned = {"encoder.tune": "full", "encoder.dropout": False}
    return P5.configured(settings=settings(folder, **tuned)).fit(shown, known=known, progress=False)


def test_one_encoder_learns_what_was_planted_for_each_task(shared):
    """A constant rating has an RMSE of 2 here, chance an AUC of .5, and one of four is right by chance in a quarter."""
    shown, known = world(60, seed=1)
    found = shared.measure(shown, known=known, drawn=3)
    assert list(found) == list(shared.learned) == list(TASKS)
    assert found["rating"]["RMSE"] < 1.7
    assert found["sequential"]["AUC"] > 0.8
    assert found["direct"]["HR@1"] > 0.5
    assert found["direct"]["of"] == 4
    assert found["review"]["accuracy"] > 0.95
    assert found["summary"]["HR@1"] > 0.8
    assert found["explanation"]["HR@1"] > 0.5
    assert shared.figures(shown, known=known)["AUC"] > 0.8


def test_a_saved_one_answers_alike_and_says_what_it_took(shared, tmp_path):
    shown, known = world(10, seed=2)
    before = shared.score_impressions(shown, known=known)
    shared.save_pretrained(tmp_path / "saved")
    again = P5.from_pretrained(tmp_path / "saved")
    assert again.score_impressions(shown, known=known).tolist() == before.tolist()
    assert again.model_hash == shared.model_hash
    assert again.learned == shared.learned
    costs = again.about()["costs"]
    assert costs["tuning"] == "full"
    assert costs["of_each_task"] == dict.fromkeys(TASKS, 32)
    assert costs["trained"] == costs["encoder"] + 6 * 32
    assert costs["seconds"] > 0


def test_a_profile_is_read_by_the_direct_task_alone(shared):
    shown, known = world(6, seed=3)
    other = Known(UserCatalog(IdMap(shown.users), {"text": ["likes gold"] * 6}), known.past)
    asked = {
        name: [Asked(shown, one, 0, 1, 0).questions(shared.tasks[name]) for one in (known, other)] for name in ("direct", "sequential")
    }
    answers = {name: [shared.answers(name, one).tolist() for one in both] for name, both in asked.items()}
    assert answers["sequential"][0] == answers["sequential"][1]
    assert answers["direct"][0] != answers["direct"][1]


def test_an_answer_is_the_expected_number_over_the_answer_words(shared):
    shown, known = world(4, seed=4)
    questions = Asked(shown, known, 0, 1, 0).questions(shared.tasks["rating"])
    network, tokenizer = shared.network, shared.network.encoder.tokenizer
    for row, answer in enumerate(shared.answers("rating", questions)):
        tokens = torch.from_numpy(shared._fillers["rating"].fill(questions, np.array([row])).values)[None]
        with torch.no_grad():
            vectors = network.encoder.embed(tokens)
            vectors[0, 1] = network.tokens["rating"][0]
            hidden = network.encoder.base(inputs_embeds=vectors).last_hidden_state[0, int((tokens[0] == tokenizer.mask_token_id).nonzero())]
            likely = network.encoder.logits(hidden[None])[0, tokenizer.convert_tokens_to_ids(list("12345"))].softmax(0)
        assert answer == pytest.approx(sum((stars + 1) * float(p) for stars, p in enumerate(likely)), abs=1e-4)
    assert shared.answers("rating", questions).max() <= 5


def test_option_tuning_leaves_the_encoder_as_it_is_and_learns_by_what_tasks_have_of_their_own(folder):
    shown, known = world(120)
    ranker = frozen(folder, ("sequential", "review"), **{"train.epochs": 6, "train.learning_rate": 5e-3})
    ranker.fit(shown, known=known, progress=False)
    plain = frozen(folder, ("sequential", "review"))._build(shown.catalog, ranker.network.encoder.from_config(ranker.config.encoder))
    own, start = ranker.network.encoder.state_dict(), plain.encoder.state_dict()
    assert all(torch.equal(own[name], start[name]) for name in start)
    test, past = world(40, seed=1)
    assert ranker.measure(test, known=past)["review"]["accuracy"] > 0.95
    per_rank = 2 * 2 * (32 + 32)  # queries and values of two layers
    tokens = 9 * 32
    rank = int((0.05 * ranker.costs["encoder"] - tokens) // per_rank)
    assert rank > 1
    assert ranker.costs["of_each_task"] == dict.fromkeys(("sequential", "review"), tokens + rank * per_rank)
    assert ranker.costs["trained"] == 2 * (tokens + rank * per_rank)
    assert ranker.costs["of_each_task"]["review"] <= 0.05 * ranker.costs["encoder"]
    assert ranker.costs["tuning"] == "option"


def test_under_option_tuning_what_one_task_learns_changes_no_other(folder):
    shown, known = world(12)
    one = frozen(folder, ("sequential", "review")).fit(shown, known=known, progress=False)
    without = Known(known.users, Interactions(shown.catalog, known.past.users, known.past.sequences, rating=known.past.rating))
    other = frozen(folder, ("sequential", "review")).fit(shown, known=without, progress=False)
    assert other.notes == ("task 'review' is left out: there are no reviews with ratings",)
    states = one.state_dict(), other.state_dict()
    moved = {name.split(".")[1] for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert moved == {"review"}
    with pytest.raises(ModelError, match="task 'review' was not learned"):
        other.answers("review", Asked(shown, known, 0, 1, 0).questions(other.tasks["review"]))


def test_matrices_begin_by_adding_nothing(folder):
    shown, known = world(6)
    questions = Asked(shown, known, 0, 1, 0).questions(Task.load("sequential"))
    ranker = frozen(folder, ("sequential",))
    ranker.learned = ("sequential",)
    ranker._build(shown.catalog, MaskedEncoder.from_config(ranker.config.encoder))
    before = ranker.answers("sequential", questions)
    ranker.network.option = False  # whose turn it is then matters not
    assert ranker.answers("sequential", questions).tolist() == before.tolist()
    ranker.network.option = True
    torch.nn.init.ones_(ranker.network.matrices["sequential"].up[0])
    assert ranker.answers("sequential", questions).tolist() != before.tolist()


def test_questions_by_hand():
    shown, known = world(3)
    source = Asked(shown, known, 0, 2, 0)
    rating = source.questions(Task.load("rating"))
    assert rating.truth.tolist() == known.past.rating.tolist()
    assert rating.items.tolist() == shown.candidates.values.tolist()
    assert rating.labels(Task.load("rating")).tolist() == [int(stars) - 1 for stars in known.past.rating]
    direct = source.questions(Task.load("direct"))
    assert direct.truth.tolist() == [1, 0, 0] * 3
    for row, item in enumerate(direct.items.tolist()):
        user = row // 3
        if row % 3:
            assert item not in [*shown.histories[user], *shown.candidates[user]]
        else:
            assert item == shown.candidates[user][np.flatnonzero(shown.labels[2 * user : 2 * user + 2])[0]]
        assert direct.texts["profile"][row] == known.users.texts[user]
    summary = source.questions(Task.load("summary"))
    first = [text.split(". ")[0] + "." for text in known.past.text]
    for group in range(6):
        rows = np.flatnonzero(summary.group == group)
        offered = [summary.texts["text"][row] for row in rows]
        assert summary.truth[rows].tolist() == [1, *[0] * (len(rows) - 1)]
        assert offered[0] == first[group]
        assert len(set(offered)) == len(offered)
        assert {summary.texts["review"][row] for row in rows} == {known.past.text[group].split(". ")[1]}
    review = source.questions(Task.load("review"))
    assert review.texts["review"] == known.past.text


def test_direct_draws_what_the_user_has_in_no_row_and_in_a_fit_what_training_has():
    """User a met 1 to 5 in two rows, b met 6 and 7; items 8 to 20 occur nowhere."""
    shown, known = world(1)
    rows = {"histories": Ragged.from_rows([[1], [3], []]), "candidates": Ragged.from_rows([[2], [4, 5], [6, 7]])}
    shown = Impressions(shown.catalog, list("123"), ["a", "a", "b"], **rows, labels=np.array([1, 1, 0, 1, 0], np.int8))
    fit = Asked(shown, known, 0, 20, 0, fitting=True).questions(Task.load("direct"))
    assert [sorted(fit.items[fit.group == group].tolist()) for group in range(3)] == [[2, 6, 7], [4, 6, 7], [1, 2, 3, 4, 5, 6]]
    whole = Asked(shown, known, 0, 20, 0).questions(Task.load("direct"))
    assert sorted(whole.items[whole.group == 0].tolist()) == [2, *range(6, 21)]
    alone = shown.take([0, 1])
    with pytest.raises(DataError, match="every user met every item"):
        Asked(alone, known, 0, 20, 0, fitting=True).questions(Task.load("direct"))


def test_pairs_without_a_rating_are_counted():
    shown, known = world(3)
    rating = known.past.rating.copy()
    rating[0] = np.nan
    past = Interactions(shown.catalog, known.past.users, known.past.sequences, rating=rating)
    found = Asked(shown, Known(known.users, past), 0, 1, 0).questions(Task.load("rating"))
    assert len(found) == 5
    assert found.notes == ("1 of 6 pairs without ratings (left out)",)


@pytest.mark.parametrize(("low", "high", "fits"), [(0.5, 5.5, True), (0.4, 5, False), (1, 10, False)])
def test_ratings_far_from_all_answers_are_refused(low, high, fits):
    questions = Questions(Ragged.from_rows([[]] * 2), np.ones(2, np.int64), np.array([low, high]))
    if fits:
        return questions.check_answers(Task.load("rating"))
    with pytest.raises(DataError, match=f"ratings run from {low:g} to {high:g} and its answers are 1, 2, 3, 4, 5"):
        questions.check_answers(Task.load("rating"))


def test_ratings_of_ten_steps_are_no_answers_of_five(folder):
    shown, known = world(6)
    past = Interactions(shown.catalog, known.past.users, known.past.sequences, rating=2 * known.past.rating)
    ranker = frozen(folder, ("rating", "sequential")).fit(shown, known=Known(known.users, past), progress=False)
    assert ranker.learned == ("sequential",)
    assert ranker.notes[0].startswith("task 'rating' is left out: ratings run from 2 to 10")


def test_nothing_is_read_of_pairs_that_are_not_asked_about():
    """Beside each pair of the impressions the past holds a later one with a rating and a review of its own."""
    shown, known = world(4)
    rows = [[*shown.candidates[user], 1 + user] for user in range(4)]
    rating = np.concatenate([[*known.past.rating[2 * user : 2 * user + 2], 3] for user in range(4)]).astype(np.float32)
    text = [one for user in range(4) for one in (*known.past.text[2 * user : 2 * user + 2], "SECRET. told")]
    more = Known(known.users, Interactions(shown.catalog, known.past.users, Ragged.from_rows(rows), rating=rating, text=text))
    clash = {(user, 1 + user) for user in range(4)} & {(user, item) for user in range(4) for item in shown.candidates[user]}
    assert not clash
    for name in TASKS:
        one, other = (Asked(shown, what, 0, 3, 0).questions(Task.load(name)) for what in (known, more))
        assert (one.truth.tolist(), dict(one.texts)) == (other.truth.tolist(), dict(other.texts)), name


def test_the_nearest_answer_is_the_label():
    task = Task.load("rating")
    questions = Questions(Ragged.from_rows([[]] * 5), np.ones(5, np.int64), np.array([0.5, 2.4, 2.5, 4.6, 9]))
    assert questions.labels(task).tolist() == [0, 1, 1, 4, 4]


@pytest.fixture(scope="module")
def encoder(folder):
    return MaskedEncoder.from_config(P5.configured(settings={"encoder.name": folder}).config.encoder)


def read(encoder, task, questions, **how):
    filler = Filler(task, encoder.tokenizer, TITLES, **{"lead": 1, "max_length": 60, **how})
    return [encoder.tokenizer.decode(row) for row in filler.fill(questions, np.arange(len(questions)))]


def test_a_question_reads_as_its_template(encoder):
    questions = Questions(Ragged.from_rows([[1, 2], []]), np.array([7, 20]), np.zeros(2), {"profile": ["likes red", ""]})
    assert read(encoder, Task.load("sequential"), questions) == [
        "[CLS] [UNK] the user took : red hat ; red car ; [SEP] does the user take blue hat next ? [MASK] [SEP]",
        "[CLS] [UNK] the user took : [SEP] does the user take gold cup next ? [MASK] [SEP]",
    ]
    assert read(encoder, Task.load("direct"), questions, lead=2)[0].startswith(
        "[CLS] [UNK] [UNK] the user : likes red [SEP] is blue hat for"
    )


def test_what_is_too_long_is_cut_and_candidate_and_mask_stay(encoder):
    task = Task.load("explanation")
    long = "it is a thing . " * 50
    questions = Questions(Ragged.from_rows([[1, 2, 3] * 30]), np.array([7]), np.zeros(1), {"text": [long]})
    (found,) = read(encoder, task, questions, max_length=50)
    assert "blue hat" in found
    assert found.endswith("[MASK] [SEP]")
    assert len(encoder.tokenizer(found, add_special_tokens=False)["input_ids"]) == 50
    marked = Questions(Ragged.from_rows([[1]]), np.array([7]), np.zeros(1), {"text": ["a [MASK] [SEP] thing"]})
    assert read(encoder, task, marked)[0].count("[MASK]") == 1
    with pytest.raises(ConfigError, match="tokens fill half or more of max_length 20"):
        read(encoder, task, questions, max_length=20)


def test_batches_have_one_task_and_tasks_take_turns(encoder):
    shown, known = world(12)
    tasks = load_tasks(["sequential", "rating", "direct"])
    asked = {number: Asked(shown, known, 0, 3, 0).questions(task) for number, task in enumerate(tasks)}
    fillers = {number: Filler(task, encoder.tokenizer, TITLES, lead=1, max_length=60) for number, task in enumerate(tasks)}
    data = Mixed(asked, fillers, 0, "data")
    assert len(data) == 24 + 24 + 48
    batches = list(data.batches(0, 8, seed=1))
    assert sorted(np.concatenate(batches).tolist()) == list(range(96))
    turns = [int(data.collate(rows)["task"][0]) for rows in batches]
    assert sorted(turns) == [0] * 3 + [1] * 3 + [2] * 6
    assert all(turns[at : at + 4].count(2) == 2 for at in (0, 4, 8))
    assert [rows.tolist() for rows in data.batches(0, 8, seed=1)] == [rows.tolist() for rows in batches]
    assert [rows.tolist() for rows in data.batches(1, 8, seed=1)] != [rows.tolist() for rows in batches]
    batch = data.collate(batches[0])
    assert len(batch["labels"]) == len(batch["tokens"]) == 8


def test_the_weights_of_tasks_have_a_mean_of_one(folder, encoder):
    tasks = load_tasks(["sequential", "rating"])
    config = P5.configured(settings=settings(folder, tasks=("sequential", "rating"), weights=(1, 3))).config
    assert P5Network(encoder, tasks, config).weights == [0.5, 1.5]
    assert P5Network(encoder, tasks, config.updated({"weights": ()})).weights == [1, 1]
    assert P5Network(encoder, tasks, config, learned=("rating",)).weights == [0, 1]


def test_a_task_of_weight_0_is_left_out_and_said(folder):
    shown, known = world(6)
    ranker = frozen(folder, ("rating", "sequential", "direct"), weights=(0, 1, 3)).fit(shown, known=known, progress=False)
    assert ranker.learned == ("sequential", "direct")
    assert ranker.notes == ("task 'rating' is left out: its weight is 0",)
    assert ranker.network.weights == [0, 0.5, 1.5]


def test_the_hash_of_a_training_covers_whatever_is_asked(encoder):
    shown, known = world(6)
    tasks = dict(enumerate(load_tasks(["direct", "summary"])))
    fillers = {number: Filler(task, encoder.tokenizer, TITLES, lead=1, max_length=60) for number, task in tasks.items()}

    def hashed(known, seed=0):
        return Mixed(
            {number: Asked(shown, known, 0, 2, seed).questions(task) for number, task in tasks.items()}, fillers, 0, "x"
        ).content_hash

    users = UserCatalog(IdMap(shown.users), {"text": ["likes gold"] * 6})
    reviews = Interactions(shown.catalog, known.past.users, known.past.sequences, text=[f"{text}. good" for text in known.past.text])
    found = [hashed(known), hashed(known, seed=1), hashed(Known(users, known.past)), hashed(Known(known.users, reviews))]
    assert len(set(found)) == 4
    assert hashed(known) == found[0]


def test_figures_by_hand():
    items, nobody = np.ones(6, np.int64), Ragged.from_rows([[]] * 6)
    chosen = Questions(nobody, items, np.array([1, 0, 0, 1, 0, 0.0]), group=np.array([0, 0, 0, 1, 1, 1]))
    found = task_figures(Task.load("direct"), chosen, np.array([0.9, 0.1, 0.2, 0.4, 0.4, 0.1]))  # the second is tied, so second
    assert found == {"HR@1": 0.5, "HR@10": 1.0, "of": 3.0}
    rated = Questions(nobody, items, np.array([1, 2, 3, 4, 5, 5.0]))
    found = task_figures(Task.load("review"), rated, np.array([1, 2, 3, 4, 5, 3.0]))
    assert found == {"RMSE": pytest.approx((4 / 6) ** 0.5), "MAE": pytest.approx(2 / 6), "accuracy": pytest.approx(5 / 6)}


def test_a_task_of_ones_own_is_a_file_that_a_saved_ranker_needs_no_more(folder, tmp_path):
    path = tmp_path / "fine.yaml"
    path.write_text("asks: sequential\ntext: 'is {candidate} fine? [MASK]'\nanswers: {'0': ['bad'], '1': ['fine']}\n")
    shown, known = world(6)
    ranker = P5.configured(settings=settings(folder, **{"tasks": [str(path)], "task": "fine", "train.epochs": 1}))
    ranker.fit(shown, known=known, progress=False).save_pretrained(tmp_path / "saved")
    path.unlink()
    again = P5.from_pretrained(tmp_path / "saved")
    assert again.score_impressions(shown).tolist() == ranker.score_impressions(shown).tolist()


TASK = {"name": "mine", "asks": "sequential", "text": "{candidate}? [MASK]", "answers": {"0": ["no"], "1": ["yes"]}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"text": "{candidate}?"}, "needs \\[MASK\\] exactly once"),
        ({"text": "[MASK]"}, "sequential needs {candidate} exactly once"),
        ({"text": "{candidate} {history} {history} [MASK]"}, "needs {history} at most once"),
        ({"text": "{candidate} {user} [MASK]"}, "unknown slot 'user'"),
        ({"text": "[P1] {candidate} [MASK]"}, "P1.* is no mark here"),
        ({"answers": {"no": ["no"], "yes": ["yes"]}}, "answers need '0' and '1'"),
        ({"asks": "rating", "answers": {"3": ["good"]}}, "answers need two ratings"),
        ({"name": "a.b"}, "setting 'name'"),
    ],
)
def test_a_task_that_cannot_be_asked_is_one_line(more, said):
    with pytest.raises(ConfigError, match=said):
        Task.from_dict({**TASK, **more})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"tasks": ()}, "name one or more of"),
        ({"tasks": ("rating", "rating"), "task": "rating"}, "stands twice"),
        ({"tasks": ("ratin",), "task": "ratin"}, "did you mean 'rating'"),
        ({"tasks": ("rating",)}, "task=sequential orders candidates and is none of tasks rating"),
        ({"task": "review"}, "review is asked of texts and orders no candidates"),
        ({"tasks": ("sequential", "rating"), "weights": (1,)}, "weights: 2 numbers"),
        ({"tasks": ("sequential", "rating"), "weights": (0, 1)}, "task=sequential orders candidates and has a weight of 0"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(given, said):
    with pytest.raises(ConfigError, match=said):
        P5.configured(settings=given)


def test_without_ratings_and_reviews_the_other_tasks_are_learned(folder):
    shown, _ = world(6)
    ranker = frozen(folder, TASKS).fit(shown, progress=False)
    assert ranker.learned == ("sequential", "direct")
    assert len(ranker.notes) == 4
    assert "task 'rating' is left out: there are no ratings" in ranker.notes
    with pytest.raises(DataError, match="task 'rating', which orders candidates, has nothing to learn from: there are no ratings"):
        frozen(folder, ("rating",), task="rating").fit(shown, progress=False)


def test_candidates_can_be_ordered_by_rating(folder):
    shown, known = world(6)
    ranker = frozen(folder, ("rating", "sequential"), task="rating").fit(shown, known=known, progress=False)
    assert ranker.predicts_ratings
    assert not ranker.gives_probabilities
    scores = ranker.score(shown.histories, shown.candidates, context=Context.of(shown))
    assert ((scores >= 1) & (scores <= 5)).all()
    with pytest.raises(DataError, match="6 histories and a context of 2 rows"):
        ranker.score(shown.histories, shown.candidates, context=Context.of(shown.take([0, 1])))
    assert frozen(folder, ("sequential",)).gives_probabilities


def test_it_keeps_the_contract(folder):
    shown, known = world(4)
    check_ranker(lambda: frozen(folder, ("rating", "sequential")), shown, known=known)


def test_every_task_of_the_registry_has_a_source():
    assert sorted(library()) == sorted(TASKS)
    assert all(task.source and task.asks == task.name for task in load_tasks(TASKS))


def test_the_page_has_every_question_as_it_is():
    page = (Path(__file__).parents[3] / "docs" / "systems" / "p5.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `([a-z]+)` \| `([^`]+)` \|", page, flags=re.MULTILINE))
    assert table == {name: Task.load(name).text for name in library()}
