"""A model and a ranker of someone else's package, by dotted path and by entry point: what docs/extending.md shows."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import bad_models
import my_models
import my_rankers
import numpy as np
import pages
import pytest
from tiny_encoders import tiny_masked

import bertrec
from bertrec.cli.main import main
from bertrec.core.errors import BertrecError, ConfigError, ModelError
from bertrec.data import impressions_from_sequences
from bertrec.prompts import Prompt, PromptRanker, UserVectors
from bertrec.rankers import Ensemble

PATH = "my_models:PureSVD"
SUPPORT = Path(bad_models.__file__).parent


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with the page's modules and a shop, and nothing of them imported."""
    for name, source in (("my_models", my_models.SOURCE), ("my_rankers", my_rankers.SOURCE)):
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if Path(entry).name != "support"])
    monkeypatch.chdir(tmp_path)
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = [f"{user},{(user + step) % 10},{step}" for user in range(24) for step in range(6)]
    (shop / "interactions.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]) + "\n")
    (shop / "items.csv").write_text("\n".join(["item_id,title", *(f"{item},thing {item}" for item in range(10))]) + "\n")
    return tmp_path


def call(line, **changes):
    words = [changes.get(word, word) for word in shlex.split(line)[1:]]
    return main(words)


def test_the_toys_are_short():
    assert len(my_models.SOURCE.splitlines()) < 60
    assert len(my_rankers.SOURCE.splitlines()) < 60


def test_the_decomposition_is_the_one_by_numpy(split):
    """With full rank the score of an item is that of the projection on the row space of the user-item matrix."""
    model = my_models.PureSVD(my_models.PureSVDConfig(rank=1000)).fit(split.train)
    dense = np.zeros((len(split.train.sequences), len(split.train.catalog) + 1))
    dense[split.train.sequences.rows, split.train.sequences.values] = 1
    projection = np.linalg.pinv(dense) @ dense
    scores = np.concatenate(list(model.score_all(split.train.sequences)))
    known = model.known_items()
    np.testing.assert_allclose(scores[:, known], (dense @ projection)[:, known], atol=1e-4)


@pytest.mark.slow
def test_the_commands_of_the_page_on_a_model(here, capsys):
    (here / "svd.yaml").write_text("rank: {int: [8, 64], log: true}\n")
    lines = pages.commands("Your own model")
    assert [line.split()[1] for line in lines] == ["train", "evaluate", "recommend", "tune", "compare", "settings"]
    for line in lines:
        short = line.replace("--trials 8", "--trials 2 --final-seeds 1").replace("--budget-minutes 2", "--budget-minutes 0.2")
        assert call(short, **{"ml-100k": "shop", "196": "3"}) == 0, line
        assert PATH in capsys.readouterr().out or "settings" not in line
    assert (here / "reports" / "svd" / "comparison.json").exists()
    assert (here / "tuned-svd" / "best.yaml").exists()


@pytest.mark.slow
def test_the_commands_of_the_page_on_a_ranker(here, capsys):
    news = [f"N{k}\tnews\tworld\tstory {k}\tabout {k}\thttps://x\t[]\t[]" for k in range(9)]
    (here / "data" / "mind").mkdir(parents=True)
    (here / "data" / "mind" / "news.tsv").write_text("\n".join(news) + "\n")
    for part in ("train", "valid"):
        rows = [f"{k}\tU{k}\t11/11/2019 9:05:58 AM\tN{k % 9}\tN{(k + 1) % 9}-0 N{k % 3}-1" for k in range(20) if (k + 1) % 9 != k % 3]
        (here / "data" / "mind" / part).mkdir()
        (here / "data" / "mind" / part / "behaviors.tsv").write_text("\n".join(rows) + "\n")
    assert call("bertrec train shop --model popularity --out runs/text") == 0
    for line in pages.commands("Your own ranker"):
        assert call(line) == 0, line
    printed = capsys.readouterr().out
    assert "runs/rate: valid: together" in printed
    assert "learned from" in printed


def test_a_folder_alone_chooses_no_code(here, capsys):
    assert call(f"bertrec train shop --model {PATH} --set rank=4 --out run") == 0
    del sys.modules["my_models"]
    for words in (
        "evaluate run",
        "recommend run --user 3",
        "embed run --out v.parquet",
        "index build run --out i",
        "rerank train run --out r",
    ):
        assert call(f"bertrec {words}") == 2
        err = capsys.readouterr().err
        assert f"run/model holds a pure-svd model of {PATH}, which no installed package registers: name it with --model {PATH}" in err
        assert "my_models" not in sys.modules
    assert call(f"bertrec embed run --out v.parquet --model {PATH}") == 0
    assert call("bertrec evaluate run") == 2  # what one command trusts, the next does not


def test_a_folder_is_read_by_the_class_that_was_named(split, tmp_path):
    my_models.PureSVD().fit(split.train).save_pretrained(tmp_path / "model")
    for classes in (PATH, my_models.PureSVD, [my_rankers.ClickRate, PATH]):
        found = bertrec.Recommender.from_pretrained(tmp_path / "model", classes=classes)
        assert type(found).__name__ == "PureSVD"
    assert type(my_models.PureSVD.from_pretrained(tmp_path / "model")) is my_models.PureSVD
    with pytest.raises(ModelError, match="holds a pure-svd model, not one of"):
        bertrec.UniSRec.from_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="name it with --model my_models:PureSVD"):
        bertrec.Recommender.from_pretrained(tmp_path / "model", classes="my_rankers:ClickRate")


def test_an_installed_package_makes_its_names_known(split, tmp_path, monkeypatch, capsys):
    info = tmp_path / "svd-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: svd\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[bertrec.models]\npure-svd = {PATH}\n[bertrec.rankers]\nclick-rate = my_rankers:ClickRate\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    model = bertrec.create("pure-svd", settings={"rank": 3}, seed=5).fit(split.train)
    assert (model.config.rank, model.config.seed) == (3, 5)
    model.save_pretrained(tmp_path / "model")
    assert bertrec.Recommender.from_pretrained(tmp_path / "model").model_hash == model.model_hash
    assert main(["rankers", "list"]) == 0
    assert "click-rate" in capsys.readouterr().out


class NoModel:
    """Not a recommender."""


class Half(bertrec.Recommender):
    name = "half"

    def fit(self, train, **options):
        return self


class Unnamed(my_models.PureSVD):
    name = None


class Named(my_models.PureSVD):
    name = "unisrec"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("nowhere.at_all:Mine", "nowhere.at_all:Mine: there is no module nowhere.at_all: install its package, or call from the folder"),
        ("my_models:PureSVC", "my_models:PureSVC: unknown class of my_models 'PureSVC': did you mean 'PureSVD'"),
        ("my_models:np", "is no model: derive it from bertrec.models.base:Recommender"),
        ("my_rankers:ClickRate", "is no model: derive it from bertrec.models.base:Recommender"),
        (NoModel, "NoModel is no model: derive it from bertrec.models.base:Recommender"),
        (Half, "Half is no whole model: it lacks item_embeddings, load_state_dict, state_dict, user_vectors"),
        (Unnamed, "Unnamed is no whole model: it lacks name"),
        (Named, "has the name 'unisrec', which is one of ours: give it a name of its own"),
        ("unisrec:text", "unknown model 'unisrec:text': unisrec comes in one form"),
        ("unisrek", "did you mean 'unisrec'"),
        ("unisrec:", "unknown model 'unisrec:': did you mean 'unisrec'"),
        ("recbole:", "did you mean 'recbole:SASRec'"),
        ("a..b:C", "unknown model 'a..b:C'"),
        ("", "unknown model ''"),
    ],
)
def test_what_is_no_model_is_one_line(model, message):
    with pytest.raises(ConfigError) as caught:
        bertrec.create(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "words",
    [
        "train shop --model nowhere:Mine --out x",
        "tune shop --model nowhere:Mine --space s.yaml --out x",
        "compare shop --models nowhere:Mine --baselines Pop --out x",
        "rankers train shop --ranker my_models:PureSVD --out x",
        "settings nowhere:Mine",
    ],
)
def test_every_command_says_so_and_exits_with_2(words, here, capsys):
    (here / "s.yaml").write_text("rank: {int: [8, 64]}\n")
    assert call(f"bertrec {words}") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert "nowhere:Mine: there is no module nowhere" in lines[-1] or "my_models:PureSVD is no ranker" in lines[-1]
    assert not (here / "x").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Raises", "bad_models.py, line 35: IndexError: list index out of range"),
        ("NoSettings", "its config_class is no bertrec.core.config:Config"),
        ("NoTensor", "state_dict: 'weight' is a list, and only tensors are saved"),
        ("TooFew", "item vectors have 3 rows, 10 items + 1 row of padding are needed"),
        ("NaNUsers", "scores that are not finite"),
        ("NoCatalog", "this NoCatalog is not fitted"),
    ],
)
def test_a_model_that_goes_wrong_is_one_line_and_leaves_no_run(name, message, here, capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SUPPORT), *sys.path])
    assert call(f"bertrec train shop --model bad_models:{name} --out x") == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in last
    assert not (here / "x" / "run.json").exists()
    assert not (here / "x" / "model").exists()


@pytest.mark.parametrize(("code", "message"), [("raise ValueError('a\\nb')", "ValueError: a b"), ("raise SystemExit(3)", "SystemExit: 3")])
def test_a_module_that_cannot_be_imported_is_one_line(code, message, here):
    (here / "broken.py").write_text(code)
    with pytest.raises(ConfigError, match=f"broken:Mine: module broken cannot be imported: {message}"):
        bertrec.create("broken:Mine")


def test_tensors_of_one_memory_are_saved_apart(split, tmp_path):
    model = bad_models.OneMemory().fit(split.train)
    model.save_pretrained(tmp_path / "model")
    loaded = bad_models.OneMemory.from_pretrained(tmp_path / "model")
    for name, value in model.state_dict().items():
        assert loaded.state[name].tolist() == value.tolist()


def test_an_entry_point_of_another_name_than_its_class_is_refused(tmp_path, monkeypatch, capsys):
    info = tmp_path / "svd-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: svd\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(
        f"[bertrec.models]\nsvd = {PATH}\n[bertrec.rankers]\nlost = nowhere:Mine\nodd = my_rankers\nclick-rate = my_rankers:ClickRate [x]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="the entry point 'svd' is my_models:PureSVD, whose name is 'pure-svd': give both one name"):
        bertrec.create("svd")
    assert main(["rankers", "list"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "there is no module nowhere" in shown
    assert main(["settings", "svd"]) == 2
    assert "give both one name" in capsys.readouterr().err
    assert main(["settings", "odd"]) == 2
    assert "the entry point 'odd' names no class" in capsys.readouterr().err


def test_a_model_inside_a_ranker_needs_the_callers_word_too(split, tmp_path):
    """A cloze prompt that starts from someone else's model."""
    svd = my_models.PureSVD().fit(split.train)
    masked = tiny_masked(tmp_path / "masked", [*split.catalog.texts, Prompt.load("item-hybrid").text, "yes no good bad"])
    config = PromptRanker.config_from(settings={"encoder.name": masked, "train.epochs": 1}, variant="item-hybrid")
    clicks = impressions_from_sequences(split.train, negatives=2, seed=0)
    ranker = PromptRanker(config, prior=UserVectors.from_model(svd)).fit(clicks, progress=False)
    Ensemble([ranker]).save_pretrained(tmp_path / "saved")
    with pytest.raises(ModelError, match="holds a pure-svd model of my_models:PureSVD"):
        bertrec.Ranker.from_pretrained(tmp_path / "saved")
    loaded = bertrec.Ranker.from_pretrained(tmp_path / "saved", classes=PATH)
    np.testing.assert_array_equal(loaded.score(clicks.histories, clicks.candidates), ranker.score(clicks.histories, clicks.candidates))


def test_a_study_of_someone_elses_class_asks_for_it_again(here, capsys):
    (here / "svd.yaml").write_text("rank: {int: [8, 64]}\n")
    assert call(f"bertrec tune shop --model {PATH} --space svd.yaml --trials 1 --final-seeds 0 --out study") == 0
    capsys.readouterr()
    for words in ("show study", "resume study --trials 2", "best study", "export study", "compare study"):
        assert call(f"bertrec tune {words}") == 2
        assert f"study tunes {PATH}, a class of another package: name it with --model {PATH}" in capsys.readouterr().err
    assert call(f"bertrec tune best study --model {PATH}") == 0
    assert "rank:" in capsys.readouterr().out


def test_a_study_whose_trials_all_failed_says_so(here, capsys):
    (here / "space.yaml").write_text("head.dropout: {float: [0.1, 0.5]}\n")
    failing = (
        "--set train.epochs=1 --set item.width=8 --set train.learning_rate=1e30 --set train.max_grad_norm=0 --set train.warmup_share=0"
    )
    code = call(f"bertrec tune shop --model idrec --space space.yaml {failing} --trials 2 --final-seeds 0 --out study")
    assert code == 2
    assert "all 2 trials failed, the last one: " in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_storage_chooses_no_code_either(here, capsys):
    """A plan that names ours alone, and a trial in the journal whose settings name another package's."""
    small = "--set train.epochs=1 --set head.layers=1 --set item.width=8"
    (here / "space.yaml").write_text("head.dropout: {float: [0.1, 0.5]}\n")
    assert call(f"bertrec tune shop --model idrec --space space.yaml {small} --trials 1 --final-seeds 0 --out study") == 0
    journal = here / "study" / "study.journal"
    journal.write_text(journal.read_text().replace('{"head.dropout":0.3}', '{"head.kind":"my_models:PureSVD","head.dropout":0.3}'))
    assert '"head.kind"' in journal.read_text()
    capsys.readouterr()
    assert call("bertrec tune best study") == 2
    assert "has settings with my_models:PureSVD, a class of another package" in capsys.readouterr().err
    assert "my_models" not in sys.modules


def test_an_error_inside_a_foreign_module_is_not_hidden(here):
    (here / "broken.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(BertrecError, match=r"module broken needs a_package_that_is_not_there, which is not installed"):
        bertrec.create("broken:Mine")
