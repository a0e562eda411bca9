"""What the service answers is what the library and the command line answer."""

from __future__ import annotations

import json

import pytest
from served import client_of, service_of

from bertrec.cli.main import main
from bertrec.core.version import __version__
from bertrec.models.explain import explain
from bertrec.retrieval.index import ItemIndex
from bertrec.retrieval.rules import Rules


def ok(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(answer):
    return [item["id"] for item in ok(answer)["items"]]


def scores(answer):
    return [item["score"] for item in ok(answer)["items"]]


class TestRecommend:
    @pytest.mark.parametrize(
        ("rules", "more"),
        [
            (None, {}),
            (Rules(filter="price < 50"), {"filter": "price < 50"}),
            (Rules(exclude=["p4", "p5"]), {"exclude": ["p4", "p5"]}),
            (Rules(only=["p4", "p5", "p1"]), {"only": ["p4", "p5", "p1"]}),
            (Rules(at_most={"kind": 1}), {"at_most": {"kind": 1}}),
            (Rules(boost={"price": 0.1}), {"boost": {"price": 0.1}}),
            (Rules(diversity=0.7), {"diversity": 0.7}),
        ],
    )
    def test_a_history_gets_the_lists_of_the_library(self, client, model, rules, more):
        found = model.recommend([["p3", "p1"]], 4, rules=rules)
        answer = client.post("/recommend", json={"history": ["p3", "p1"], "k": 4, **more})
        assert ids(answer) == found.items[0]
        assert scores(answer) == pytest.approx(found.scores[0], rel=1e-5)
        assert ok(answer)["from"] == "history"
        assert ok(answer)["history"] == [{"id": "p3", "title": "Oak Shelf"}, {"id": "p1", "title": "Red Kettle"}]

    def test_a_user_gets_the_lists_of_the_command_line(self, client, trained, capsys):
        capsys.readouterr()
        assert main(["recommend", str(trained / "run"), "--user", "3", "-k", "3", "--format", "json"]) == 0
        said = json.loads(capsys.readouterr().out)["recommendations"][0]
        for user in ("3", 3):  # the data hold text
            answer = ok(client.post("/recommend", json={"user": user, "k": 3}))
            assert [(one["id"], one["title"], one["rank"]) for one in answer["items"]] == [
                (one["id"], one["title"], one["rank"]) for one in said["items"]
            ]
            assert [one["id"] for one in answer["history"]] == said["history"] == ["p4", "p5", "p6", "p7"]
            assert answer["from"] == "user"

    def test_an_index_gives_what_the_library_gives_with_it(self, trained, model):
        found = model.recommend([["p2"]], 5, index=ItemIndex.load(trained / "index"), rules=Rules(filter="price > 20"))
        with client_of(service_of(trained)) as client:
            assert ids(client.post("/recommend", json={"history": ["p2"], "k": 5, "filter": "price > 20"})) == found.items[0]
            assert ok(client.get("/health"))["index"] == "hnsw"

    def test_titles_stand_for_ids(self, client):
        one = client.post("/recommend", json={"titles": ["oak shelf", "Red K"]})
        assert ids(one) == ids(client.post("/recommend", json={"history": ["p3", "p1"]}))

    def test_seen_items_are_left_out_unless_asked_for(self, client, model):
        assert ids(client.post("/recommend", json={"history": ["p3"], "k": 20})) == model.recommend([["p3"]], 20).items[0]
        kept = client.post("/recommend", json={"history": ["p3"], "k": 20, "keep_seen": True})
        assert ids(kept) == model.recommend([["p3"]], 20, exclude_seen=False).items[0]
        assert "p3" in ids(kept)

    def test_nobody_known_gets_what_is_popular(self, client, model):
        answer = ok(client.post("/recommend", json={"history": [], "k": 3, "why": True}))
        assert [one["id"] for one in answer["items"]] == model.recommend([[]], 3).items[0]
        assert answer["from"] == "popularity"
        assert [one["why"] for one in answer["items"]] == [None] * 3

    def test_a_profile_is_read_where_there_is_no_history(self, client, model):
        for more in ({}, {"history": []}):
            answer = client.post("/recommend", json={"profile": "brass lamp", "k": 3, **more})
            assert ids(answer) == model.search("brass lamp", 3).items
            assert ok(answer)["from"] == "profile"
        told = ok(client.post("/recommend", json={"profile": "brass lamp", "k": 3, "why": True, "keep_seen": True}))
        assert [note.partition(" ")[0] for note in told["notes"]] == ["why", "keep_seen"]
        cheap = client.post("/recommend", json={"profile": "lamp", "k": 3, "filter": "price < 30"})
        assert not {"p3", "p6", "p7", "p8"} & set(ids(cheap))
        answer = ok(client.post("/recommend", json={"profile": "brass lamp", "history": ["p1"]}))
        assert (answer["from"], answer["notes"][0]) == ("history", "the profile was not read: the history says more")

    def test_why_names_what_the_library_names(self, client, model):
        items = ok(client.post("/recommend", json={"history": ["p3", "p1"], "k": 3, "why": True}))["items"]
        for item in items:
            reasons = explain(model, ["p3", "p1"], item["id"])
            met = next((one for one in reasons if one.kind == "history" and one.contribution > 0), None)
            part = next((one.text for one in reasons if one.kind == "field" and one.contribution > 0), "")
            assert item["why"] == (None if met is None else {"id": met.item, "title": met.text, "words": part})
        assert any(item["why"] for item in items)

    def test_attributes_and_what_is_left_out_are_said(self, client):
        answer = ok(client.post("/recommend", json={"history": ["p3", "nothing"], "exclude": ["p0"], "k": 9}))
        assert {one["id"]: one["attributes"] for one in answer["items"]}["p2"] == {"price": 12.0, "kind": "kitchen"}
        assert answer["notes"] == [
            "1 of 2 items of the history are unknown and were left out, such as 'nothing'",
            "exclude: 1 of 1 ids are no items, such as 'p0'",
            "only 7 items could be recommended where 9 were asked for",
        ]


class TestOthers:
    @pytest.mark.parametrize("by", ["text", "behaviour", "both", "auto"])
    def test_similar(self, client, model, by):
        found = model.similar("p1", 4, by=by)
        answer = client.post("/similar", json={"item": "p1", "k": 4, "by": by})
        assert ids(answer) == found.items
        assert scores(answer) == pytest.approx(found.scores, rel=1e-5)
        assert ids(client.post("/similar", json={"title": "red kettle", "k": 4, "by": by})) == found.items
        assert ok(answer)["item"] == {"id": "p1", "title": "Red Kettle"}

    def test_similar_with_a_filter_is_the_rest_in_its_order(self, client, model):
        everything = model.similar("p1", 20, by="text").items
        answer = client.post("/similar", json={"item": "p1", "k": 20, "by": "text", "filter": "price > 30", "exclude": ["p8"]})
        assert ids(answer) == [one for one in everything if one in ("p3", "p6", "p7")]

    def test_search(self, client, model):
        assert ids(client.post("/search", json={"text": "brass lamp", "k": 4})) == model.search("brass lamp", 4).items
        mine = model.search("lamp", 4, history=["p4", "p5", "p6", "p7"]).items
        assert ids(client.post("/search", json={"text": "lamp", "k": 4, "user": "3"})) == mine
        assert ids(client.post("/search", json={"text": "lamp", "k": 4, "history": ["p4", "p5", "p6", "p7"]})) == mine
        assert ids(client.post("/search", json={"text": "lamp", "only": ["p7"]})) == ["p7"]

    def test_titles_as_they_are_typed(self, client):
        assert ids(client.get("/titles?starts=ket")) == ["p1", "p2"]
        assert ids(client.get("/titles", params={"starts": "kettle BLU"})) == ["p2"]
        assert ids(client.get("/titles?starts=r&k=2")) == ["p7", "p8"] or ids(client.get("/titles?starts=r&k=1")) == ["p1"]
        assert ids(client.get("/titles?starts=zzz")) == []

    def test_one_item(self, client):
        assert ok(client.get("/items/p4")) == {
            "id": "p4",
            "title": "Pine Shelf",
            "text": "Pine Shelf wood",
            "attributes": {"price": 30.0, "kind": "wood"},
            "new": False,
            "listed": True,
        }

    def test_health(self, client, model):
        found = ok(client.get("/health"))
        assert found | {"since": ""} == {
            "status": "ok",
            "model": "unisrec",
            "items": 8,
            "users": 16,
            "model_hash": model.model_hash,
            "index": None,
            "since": "",
            "version": __version__,
            "attributes": [
                {"name": "price", "type": "double", "values": None},
                {"name": "title", "type": "large_string", "values": list(model.catalog.titles)},
                {"name": "kind", "type": "large_string", "values": ["kitchen", "wood", "light", "floor"]},
            ],
            "writes": False,
            "reads_text": True,
            "queries": None,
            "notes": [],
        }

    def test_metrics_count_answers(self, client):
        def count(text):
            return sum(
                float(line.split()[-1])
                for line in text.splitlines()
                if line.startswith('bertrec_requests_total{method="GET",path="/health"')
            )

        before = count(client.get("/metrics").text)
        client.get("/health")
        answer = client.get("/metrics")
        assert count(answer.text) == before + 1
        assert answer.headers["content-type"].startswith("text/plain")
        assert "\nbertrec_items 8.0" in answer.text

    def test_data_that_have_gone_leave_histories(self, place):
        record = json.loads((place / "run" / "run.json").read_text(encoding="utf-8"))
        record["data_path"] = str(place / "nowhere.yaml")
        record["data"] = "nowhere.yaml"
        (place / "run" / "run.json").write_text(json.dumps(record), encoding="utf-8")
        with client_of(service_of(place, index=False)) as client:
            assert ok(client.get("/health"))["users"] == 0
            assert "no longer at" in ok(client.get("/health"))["notes"][0]
            assert len(ids(client.post("/recommend", json={"history": ["p1"], "k": 3}))) == 3
            answer = client.post("/recommend", json={"user": "1"})
            assert (answer.status_code, "no user is known here" in answer.text) == (404, True)
