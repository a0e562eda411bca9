"""A query tower in the place of the served run's encoder: the same answers as from the library, and a new one is taken up."""

from __future__ import annotations

import json

import pytest
import torch
from products import TODAY, encoder_of_products, write_products
from served import client_of, service_of

from bertrec.cli.main import main
from bertrec.core.errors import ConfigError
from bertrec.models.base import Recommender
from bertrec.models.queries.config import QueryConfig
from bertrec.models.queries.tower import QueryTower
from bertrec.service.loaded import Loaded, Source


@pytest.fixture
def encoder(tmp_path):
    return encoder_of_products(tmp_path / "encoder")


@pytest.fixture
def tower(model, encoder, tmp_path):
    """The encoder with adapters that were moved at random, so that no other tower ranks as it does."""
    made = QueryTower.untrained(model.catalog, QueryConfig().updated({"encoder.name": str(encoder)}), progress=False)
    moved(made, seed=1)
    made.weights = {"tower": 1.0, "words": 0.0}
    made.save_pretrained(tmp_path / "queries")
    return made


@torch.no_grad()
def moved(tower, seed):
    torch.manual_seed(seed)
    for parameter in tower.network.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    tower.forget_vectors()


def found(client, text, **more):
    answer = client.post("/search", json={"text": text, "k": 8, **more})
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


@pytest.mark.parametrize("learned", [False, True])
def test_it_searches_as_in_the_library(trained, model, tower, tmp_path, learned):
    with client_of(service_of(trained, queries=tmp_path / "queries", learned=learned)) as client:
        for text in ("red kettle", "oak", "wool rug lamp"):
            assert found(client, text) == tower.searcher(model, learned=learned).search(text, 8).items
        mine = tower.searcher(model, learned=learned).search("rug", 8, history=["p3"]).items
        assert found(client, "rug", history=["p3"]) == mine
        health = client.get("/health").json()
        assert (health["queries"], health["reads_text"]) == (tower.model_hash, True)
    if learned:
        assert found_alone(tower, "oak") == tower.searcher(model, learned=True).search("oak", 8).items


def found_alone(tower, text):
    """The order of the tower's own scores, which is all that counts where words have weight 0."""
    scores = tower.scores(tower.query_vectors([text]))[0]
    return tower.catalog.ids.decode((-scores).argsort(kind="stable")[:8])


def test_a_run_of_ids_can_be_searched_with_it(trained, tower, tmp_path):
    data = json.loads((trained / "run" / "run.json").read_text(encoding="utf-8"))["data_path"]
    words = ["train", data, "--model", "idrec", "--epochs", "1", "--set", "item.width=8", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    ids = Recommender.from_pretrained(tmp_path / "run" / "model")
    with client_of(service_of(tmp_path, index=False, queries=tmp_path / "queries")) as client:
        assert found(client, "red kettle") == tower.over(ids.catalog).searcher(ids).search("red kettle", 8).items
        assert client.get("/health").json()["reads_text"] is True


def test_it_follows_the_products(place, tower, tmp_path):
    service = service_of(place, queries=tmp_path / "queries")
    with client_of(service) as client:
        table = write_products(tmp_path / "today.csv", TODAY)
        command = ["catalog", "update", str(place / "run"), "--items", str(table), "--index", str(place / "index")]
        assert main([*command, "--max-vanished", "1"]) == 0
        assert service.holder.refresh()
        ids = found(client, "copper kettle")
        assert "p9" in ids
        assert "p1" not in ids


def test_a_new_tower_is_taken_up_and_a_broken_one_is_not(trained, tower, tmp_path):
    service = service_of(trained, queries=tmp_path / "queries")
    with client_of(service) as client:
        assert not service.holder.refresh()
        moved(tower, seed=2)
        tower.save_pretrained(tmp_path / "queries")
        assert service.holder.refresh()
        assert client.get("/health").json()["queries"] == tower.model_hash
        before = found(client, "oak")
        (tmp_path / "queries" / "config.json").write_text("{}")
        assert not service.holder.refresh()
        assert str(tmp_path / "queries") in (service.holder.problem or "")
        assert found(client, "oak") == before


def test_a_word_that_the_encoder_does_not_know_is_noted(trained, tower, tmp_path):
    with client_of(service_of(trained, queries=tmp_path / "queries")) as client:
        assert "knows no word of this query" in client.post("/search", json={"text": "zzz", "k": 3}).json()["notes"][0]
        assert client.post("/search", json={"text": "oak", "k": 3}).json()["notes"] == []


def test_a_tower_that_learned_no_weights_has_none_to_take(trained, tower, tmp_path):
    from bertrec.runs.folder import Run

    tower.weights = {}
    tower.save_pretrained(tmp_path / "plain")
    with pytest.raises(ConfigError, match="has learned no weights"):
        Loaded.read(Source(Run(trained / "run"), queries=tmp_path / "plain", learned=True))


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--queries", "none"], "none"),
        (["--fusion", "learned"], "--fusion goes with a tower"),
        (["--fusion", "best", "--queries", "none"], "fusion"),
        (["--queries", "RUN"], "holds a unisrec model"),
    ],
)
def test_what_is_no_tower_is_one_line(trained, capsys, tmp_path, monkeypatch, more, said):
    monkeypatch.chdir(tmp_path)
    more = [str(trained / "run" / "model") if word == "RUN" else word for word in more]
    assert main(["serve", str(trained / "run"), "--port", "0", *more]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert "Traceback" not in err
